//! One absurd value: it raises nothing, costs the rows that hold it, and blinds nobody to what comes later.

use outlierd::base::proto::prometheus::TimeSeries;
use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::Role;
use serde_json::Value;

use super::body::Body;
use super::machine::Machine;
use super::{HOUR, World, time_of, told};

const CALM: Strain = Strain { busy: 0.0, memory: 0.0, disk: 0.0, packets: 0.0, loss: 0.0 };
const FLOOD: Strain = Strain { packets: 14.0, ..CALM };
/// When it happens: past `min_history`.
const GLITCH: i64 = 8 * HOUR;
/// When a real fault begins, a day after.
const FAULT: i64 = GLITCH + 24 * HOUR;

/// What happens to a series.
#[derive(Debug, Clone, Copy)]
enum Glitch {
    /// It falls this far below its value of the scrape before, and goes on from there.
    Back(f64),
    /// It grows by this, and goes on from there.
    Jump(f64),
    /// One sample is this, the next one is right again.
    Once(f64),
    /// One sample is this much too high, the next one is right again.
    Over(f64),
}

use Glitch::{Back, Jump, Once, Over};

/// A metric, the value of a label where its name alone does not tell the series, what happens to it, and the feature that is missing
/// then; empty where none is, since the host could be so.
type Case = (&'static str, &'static str, Glitch, &'static str);

/// A host each.
const CASES: [Case; 27] = [
    ("node_cpu_seconds_total", "idle", Back(0.02), "cpu_busy"),
    ("node_cpu_seconds_total", "idle", Once(-1e300), "cpu_busy"),
    ("node_network_receive_bytes_total", "eth0", Jump(1e15), "net_rx_bytes"),
    ("node_network_receive_bytes_total", "eth0", Once(1e15), "net_rx_bytes"),
    ("node_network_receive_bytes_total", "eth0", Once(-1e15), "net_rx_bytes"),
    ("node_network_transmit_packets_total", "eth0", Once(1e300), "net_tx_packets"),
    ("node_disk_io_time_seconds_total", "", Back(0.01), "disk_utilisation"),
    ("node_disk_written_bytes_total", "", Jump(1e15), "disk_written_bytes"),
    ("node_netstat_Tcp_InSegs", "", Once(1e18), "tcp_in_segments"),
    ("node_netstat_Tcp_RetransSegs", "", Once(-1e6), "tcp_retransmits"),
    ("node_load1", "", Once(1e6), "load1"),
    ("node_load1", "", Once(f64::INFINITY), "load1"),
    ("node_memory_MemAvailable_bytes", "", Once(1e15), "mem_used"),
    ("node_memory_MemAvailable_bytes", "", Once(-1e6), "mem_used"),
    ("node_memory_Shmem_bytes", "", Once(f64::NAN), "mem_shared"),
    ("node_netstat_Tcp_CurrEstab", "", Once(1e100), "tcp_established"),
    // Within the bounds: known for what it was when it falls back.
    ("node_network_receive_bytes_total", "eth0", Over(1e9), "net_rx_bytes"),
    ("node_network_receive_bytes_total", "eth0", Over(1e11), "net_rx_bytes"),
    ("node_network_receive_bytes_total", "eth0", Over(1e13), "net_rx_bytes"),
    ("node_network_transmit_packets_total", "eth0", Over(1e8), "net_tx_packets"),
    ("node_disk_written_bytes_total", "", Over(1e12), "disk_written_bytes"),
    ("node_netstat_Tcp_InSegs", "", Over(1e8), "tcp_in_segments"),
    ("node_netstat_Tcp_RetransSegs", "", Over(1e7), "tcp_retransmits"),
    // Never known for what it was.
    ("node_load1", "", Once(9e3), ""),
    ("node_memory_MemAvailable_bytes", "", Once(0.0), ""),
    ("node_memory_Shmem_bytes", "", Once(3e9), ""),
    ("node_netstat_Tcp_CurrEstab", "", Once(9e5), ""),
];

/// A host; without a case nothing happens to it.
struct Host {
    machine: Machine,
    case: Option<Case>,
    /// The value of the scrape before.
    before: f64,
    /// Added to every sample from the glitch on.
    offset: f64,
}

impl Host {
    /// All live alike.
    fn new(name: &str, case: Option<Case>) -> Self {
        Self { machine: Machine::new(name, Role::Web, 51), case, before: 0.0, offset: 0.0 }
    }

    fn scrape(&mut self, minute: i64, strain: Strain) -> Vec<TimeSeries> {
        let mut scrape = self.machine.scrape(minute, strain);
        let Some((metric, label, glitch, _)) = self.case else { return scrape };
        let has = |one: &TimeSeries, value: &str| one.labels.iter().any(|label| label.value == value);
        let is_it = |one: &&mut TimeSeries| has(one, metric) && (label.is_empty() || has(one, label));
        let value = &mut scrape.iter_mut().find(is_it).unwrap().samples[0].value;
        let right = *value;
        if minute == GLITCH {
            match glitch {
                Back(by) => self.offset = self.before - by - right,
                Jump(by) => self.offset = by,
                Once(once) => *value = once,
                Over(by) => *value += by,
            }
        }
        *value += self.offset;
        self.before = right;
        scrape
    }
}

/// The features that the rows from `minute` on lack: `minute feature`.
fn lacking(host: &Value, minute: i64) -> Vec<(i64, String)> {
    let features = host["features"].as_array().unwrap();
    let mut lacking = Vec::new();
    for row in host["rows"].as_array().unwrap() {
        let of_row = (row["t_ms"].as_i64().unwrap() - time_of(0, 0)) / 60_000;
        let values = row["values"].as_array().unwrap().iter().zip(features);
        let missing = values.filter(|(value, _)| value.is_null() && of_row >= minute);
        lacking.extend(missing.map(|(_, feature)| (of_row, feature["name"].as_str().unwrap().to_owned())));
    }
    lacking
}

#[tokio::test]
async fn absurd_values() {
    let world = World::start("").await;
    let name = |i: usize| format!("host{i}:9100");
    let mut hosts: Vec<Host> = CASES.iter().enumerate().map(|(i, case)| Host::new(&name(i), Some(*case))).collect();
    hosts.push(Host::new("calm:9100", None));
    let mut scrape = |minute: i64, body: &mut Body| {
        let strain = if minute >= FAULT { FLOOD } else { CALM };
        hosts.iter_mut().for_each(|host| body.add(&host.scrape(minute, strain)));
    };
    world.play(0..GLITCH + 30, &mut scrape).await;
    // What the simulated hosts never have is missing everywhere.
    let (from, calm) = (GLITCH - 20, world.host("calm:9100").await);
    let never = lacking(&calm, from);
    for (i, case) in CASES.iter().enumerate() {
        let host = world.host(&name(i)).await;
        let lacks: Vec<_> = lacking(&host, from).into_iter().filter(|one| !never.contains(one)).collect();
        // Their range is four scrapes long.
        assert!(lacks.iter().all(|(minute, _)| (GLITCH..GLITCH + 4).contains(minute)), "{case:?}: {lacks:?}");
        assert!(case.3.is_empty() == lacks.is_empty(), "{case:?}: {lacks:?}");
        assert!(lacks.is_empty() || lacks.iter().any(|(_, feature)| feature == case.3), "{case:?}: {lacks:?}");
        let others = lacks.iter().filter(|(_, feature)| feature != case.3 && !feature.starts_with("load_per_core"));
        assert!(others.clone().all(|(_, feature)| feature == "disk_service_time"), "{case:?}: {lacks:?}");
        world.assert_calm(&name(i)).await;
    }
    let metrics = world.metrics().await;
    let counted = |feature: &str| {
        let series = format!("outlierd_feature_values_out_of_bounds_total{{feature=\"{feature}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok())
    };
    assert_eq!((counted("cpu_steal"), counted("load1"), counted("tcp_established")), (Some(0), Some(2), Some(1)));
    assert!(counted("net_rx_bytes") >= Some(3), "{metrics}");

    world.play(GLITCH + 30..FAULT + 30, &mut scrape).await;
    let expected = world.events("calm:9100").await;
    assert!(expected.len() == 1 && (FAULT..FAULT + 10).contains(&expected[0].from), "{}", told(&expected));
    for (i, case) in CASES.iter().enumerate() {
        let events = world.events(&name(i)).await;
        let both = format!("{case:?}:\n{}\nwithout a glitch:\n{}", told(&events), told(&expected));
        assert!(events.len() == 1 && (events[0].from - expected[0].from).abs() <= 1, "{both}");
        // A value within the bounds was scored and learnt in one row, which is remembered for this time of day.
        let most = if matches!(case.2, Over(_)) || case.3.is_empty() { 0.15 } else { 0.05 };
        assert!((events[0].peak / expected[0].peak - 1.0).abs() < most, "{both}");
    }
    world.stop().await;
}
