//! Counters and gauges that show what cannot be: it costs the rows whose range holds it, and no others.

use outlierd::config::Config;

use super::machine::{EXPECTED, Page};
use super::pipeline::Pipeline;
use super::{INTERVALS_MS, MINUTE_MS, START_MS, close, machine, range_ms, times};

/// The scrape in which it happens: the one of a row, where no other is told.
const GLITCH_MS: i64 = START_MS + 5 * MINUTE_MS;
/// From the first to the last row.
const SPAN_MS: i64 = 12 * MINUTE_MS;

/// What happens to a series.
#[derive(Debug, Clone, Copy)]
enum Glitch {
    /// It falls this far below its value of the scrape before, and goes on from there.
    Back(f64),
    /// It grows by this, and goes on from there.
    Jump(f64),
    /// One sample is this, the next one is right again.
    Once(f64),
}

/// A metric, the value of a label where it has several series, and the features that are missing because of a glitch of it.
type Case = (&'static str, &'static str, &'static [&'static str]);

/// A series that has a glitch in one scrape.
struct Glitched {
    key: (String, Vec<(String, String)>),
    glitch: Glitch,
    at_ms: i64,
    /// By how much it grows in the scrape.
    growth: f64,
}

impl Glitched {
    fn new((metric, label, _): Case, glitch: Glitch, at_ms: i64, interval_ms: i64) -> Self {
        let (before, at) = (machine().page(at_ms - interval_ms), machine().page(at_ms));
        let has_label = |labels: &[(String, String)]| labels.iter().any(|(_, value)| value == label);
        let mut named = at.keys().filter(|(name, _)| *name == format!("node_{metric}"));
        let key = named.find(|(_, labels)| label.is_empty() || has_label(labels)).unwrap().clone();
        let growth = at[&key] - before[&key];
        Self { key, glitch, at_ms, growth }
    }

    fn change(&self, t_ms: i64, page: &mut Page) {
        let value = page.get_mut(&self.key).unwrap();
        match self.glitch {
            Glitch::Back(by) if t_ms >= self.at_ms => *value -= self.growth + by,
            Glitch::Jump(by) if t_ms >= self.at_ms => *value += by,
            Glitch::Once(once) if t_ms == self.at_ms => *value = once,
            Glitch::Back(_) | Glitch::Jump(_) | Glitch::Once(_) => {}
        }
    }
}

/// `glitch` of the series at `at_ms` makes their features missing in the rows that hold it, at least in one, and changes nothing
/// of any other row or feature.
fn check_at(at_ms: i64, interval_ms: i64, glitch: Glitch, cases: &[Case]) {
    let glitched: Vec<_> = cases.iter().map(|case| Glitched::new(*case, glitch, at_ms, interval_ms)).collect();
    let mut pipeline = Pipeline::new(Config::default(), MINUTE_MS);
    pipeline.has_glitches = true;
    for t_ms in times(interval_ms, SPAN_MS / interval_ms + 1) {
        let mut page = machine().page(t_ms);
        glitched.iter().for_each(|glitched| glitched.change(t_ms, &mut page));
        pipeline.scrape(t_ms, &page);
    }
    pipeline.finish();
    assert_eq!(pipeline.rows.len() as i64, SPAN_MS / MINUTE_MS + 1);
    let features: Vec<&str> = cases.iter().flat_map(|case| case.2.iter().copied()).collect();
    let mut missing: Vec<&str> = Vec::new();
    for row in pipeline.rows.iter().filter(|row| row.0 >= START_MS + range_ms(interval_ms)) {
        for (feature, usual) in EXPECTED {
            let got = pipeline.value(row, feature);
            // A range is open on the left.
            let holds_it = (at_ms..at_ms + range_ms(interval_ms)).contains(&row.0);
            if got.is_nan() && holds_it && features.contains(&feature) {
                missing.push(feature);
            } else {
                // A counter of 1e12 counts in steps of 1e-4.
                let is_right = (got - usual).abs() <= 1e-3 * usual;
                assert!(is_right, "{feature} {got} {} s after {glitch:?}", (row.0 - at_ms) / 1_000);
            }
        }
    }
    let not_missing: Vec<_> = features.iter().filter(|feature| !missing.contains(feature)).collect();
    assert!(not_missing.is_empty(), "{not_missing:?} after {glitch:?}");
}

/// The same in the scrape of a row, at every interval.
fn check(glitch: Glitch, cases: &[Case]) {
    for interval_ms in INTERVALS_MS {
        check_at(GLITCH_MS, interval_ms, glitch, cases);
    }
}

#[test]
fn counters_that_step_back_a_little() {
    let idle: Case = ("cpu_seconds_total", "idle", &["cpu_busy"]);
    check(Glitch::Back(0.02), &[idle]);
    let others: [Case; 5] = [
        ("cpu_seconds_total", "iowait", &["cpu_iowait"]),
        ("cpu_seconds_total", "user", &["cpu_user"]),
        ("cpu_seconds_total", "system", &["cpu_system"]),
        ("disk_io_time_seconds_total", "sda", &["disk_utilisation", "disk_service_time"]),
        ("pressure_io_waiting_seconds_total", "", &["pressure_io"]),
    ];
    check(Glitch::Back(0.01), &others);
    check(Glitch::Back(1.0), &COUNTERS);
    for offset_ms in [15_000, 30_000, 45_000] {
        check_at(GLITCH_MS + offset_ms, 15_000, Glitch::Back(1.0), &COUNTERS);
    }
}

/// Counters of bytes, packets and the like.
const COUNTERS: [Case; 16] = [
    ("network_receive_bytes_total", "eth0", &["net_rx_bytes"]),
    ("network_transmit_bytes_total", "eth0", &["net_tx_bytes"]),
    ("network_receive_packets_total", "eth0", &["net_rx_packets"]),
    ("network_receive_errs_total", "eth0", &["net_errors"]),
    ("network_transmit_drop_total", "eth0", &["net_drops"]),
    ("disk_read_bytes_total", "sda", &["disk_read_bytes"]),
    ("disk_written_bytes_total", "sda", &["disk_written_bytes"]),
    ("netstat_Tcp_InSegs", "", &["tcp_in_segments"]),
    ("netstat_Tcp_RetransSegs", "", &["tcp_retransmits"]),
    ("netstat_Tcp_PassiveOpens", "", &["tcp_passive_opens"]),
    ("netstat_Udp_InDatagrams", "", &["udp_in_datagrams"]),
    ("vmstat_pswpin", "", &["swap_in"]),
    ("vmstat_pgmajfault", "", &["major_faults"]),
    ("vmstat_oom_kill", "", &["oom_kills"]),
    ("context_switches_total", "", &["context_switches"]),
    ("forks_total", "", &["forks"]),
];

#[test]
fn counters_that_jump() {
    // As one that stays so high is only known to an eighth.
    check(Glitch::Jump(1e15), &COUNTERS[..1]);
    check(Glitch::Jump(1e12), &COUNTERS[7..]);
    check(Glitch::Jump(1e12), &[("disk_io_time_weighted_seconds_total", "sda", &["disk_queue"])]);
    for size in [1e15, 1e18, 1e30, 1e100, 1e200, 1e300] {
        check(Glitch::Once(size), &COUNTERS);
    }
    for offset_ms in [15_000, 30_000, 45_000] {
        check_at(GLITCH_MS + offset_ms, 15_000, Glitch::Jump(1e15), &COUNTERS[..1]);
        check_at(GLITCH_MS + offset_ms, 15_000, Glitch::Once(1e15), &COUNTERS);
    }
}

#[test]
fn counters_that_fall_below_0() {
    for size in [2_f64.powi(32), 1e15, 1e100, 1e300] {
        check(Glitch::Once(-size), &COUNTERS);
    }
    // One that is below 2^32 goes on below 0; one above it restarts, as far as anybody can tell.
    check(Glitch::Jump(-(2_f64.powi(32))), &COUNTERS[..1]);
}

#[test]
fn gauges_that_show_what_cannot_be() {
    let gauges: [Case; 11] = [
        ("load1", "", &["load1", "load_per_core"]),
        ("load5", "", &["load5"]),
        ("memory_MemAvailable_bytes", "", &["mem_used"]),
        ("memory_MemFree_bytes", "", &["mem_used_with_cache"]),
        ("memory_Shmem_bytes", "", &["mem_shared"]),
        ("memory_SwapFree_bytes", "", &["swap_used"]),
        ("netstat_Tcp_CurrEstab", "", &["tcp_established"]),
        ("sockstat_TCP_tw", "", &["tcp_time_wait"]),
        ("procs_blocked", "", &["processes_blocked"]),
        ("nf_conntrack_entries", "", &["conntrack_used"]),
        ("filefd_allocated", "", &["file_descriptors_used"]),
    ];
    for size in [1e18, 1e30, 1e100, 1e300, -1e6, -1e15, -1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        check(Glitch::Once(size), &gauges);
    }
    check(Glitch::Once(1e6), &gauges[..1]);
    check(Glitch::Once(-1.0), &[("memory_MemAvailable_bytes", "", &["mem_used"])]);
    // Of two file systems the fullest counts.
    check(Glitch::Once(-1e15), &[("filesystem_avail_bytes", "/mnt/1", &["filesystem_used"])]);
    check(Glitch::Once(-1e9), &[("filesystem_size_bytes", "/mnt/0", &["filesystem_used"])]);
    check(Glitch::Once(0.0), &[("memory_MemTotal_bytes", "", &["mem_used", "mem_used_with_cache"])]);
}

#[test]
fn noise_of_the_measurement_is_the_bound() {
    // A CPU that is idle all the time, and a disk that is busy all the time, by clocks that disagree by a thousandth.
    for interval_ms in INTERVALS_MS {
        let mut pipeline = Pipeline::new(Config::default(), MINUTE_MS);
        for t_ms in times(interval_ms, SPAN_MS / interval_ms + 1) {
            let mut page = machine().page(t_ms);
            for ((name, labels), value) in &mut page {
                let busy_s = 1.001 * (t_ms - START_MS + 86_400_000) as f64 / 1e3;
                if name == "node_cpu_seconds_total" {
                    *value = if labels.iter().any(|(_, mode)| mode == "idle") { busy_s } else { 0.0 };
                } else if name == "node_disk_io_time_seconds_total" {
                    *value = busy_s;
                }
            }
            pipeline.scrape(t_ms, &page);
        }
        pipeline.finish();
        for row in pipeline.rows.iter().filter(|row| row.0 >= START_MS + range_ms(interval_ms)) {
            let values = ["cpu_busy", "cpu_user", "disk_utilisation"].map(|feature| pipeline.value(row, feature));
            assert_eq!(values, [0.0, 0.0, 1.0]);
            assert!(close(pipeline.value(row, "disk_service_time"), 2.002 / 60.0));
        }
    }
}
