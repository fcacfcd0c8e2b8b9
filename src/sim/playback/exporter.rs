//! A labelled host as the node_exporter whose series give its rows back: the inverse of the preset's expressions.
//!
//! Rates are integrated to counters and ratios split into their parts. A column of data scaled to 0..1 is spread over a range
//! that its feature might have on a server, since the preset's floors are in natural units; statistics are the same for
//! `a + b·x` as for `x`.

use anyhow::ensure;

use crate::base::proto::prometheus::TimeSeries;
use crate::series::{STALE_NAN_BITS, TimestampMs};
use crate::sim::demo::exposition::Page;

/// Disks of the host. Utilisation is that of the busiest and service time counts all: enough of them leave both free.
const N_DISKS: usize = 20;
const MEMORY_BYTES: f64 = 64e9;
/// A counter starts as if it had gone up at full rate for so long, since Prometheus extrapolates none to below zero.
const UPTIME_S: f64 = 86_400.0;
/// More than any rate of the features that share series.
const JOINT_RATE: f64 = 1000.0;

/// Names and values.
type Labels = [(&'static str, &'static str)];

const SDA: &Labels = &[("device", "sda")];
const ETH0: &Labels = &[("device", "eth0")];

/// A feature whose series has a rate or a value of `x · unit`, with nothing else to it.
struct Plain {
    feature: &'static str,
    metric: &'static str,
    labels: &'static Labels,
    /// Amount that 1 stands for.
    unit: f64,
    is_rate: bool,
}

const fn gauge(feature: &'static str, metric: &'static str, unit: f64) -> Plain {
    Plain { feature, metric, labels: &[], unit, is_rate: false }
}

const fn rate(feature: &'static str, metric: &'static str, unit: f64) -> Plain {
    Plain { feature, metric, labels: &[], unit, is_rate: true }
}

const fn of_device(feature: &'static str, metric: &'static str, device: &'static Labels, unit: f64) -> Plain {
    Plain { feature, metric, labels: device, unit, is_rate: true }
}

const PLAIN: &[Plain] = &[
    gauge("load1", "node_load1", 100.0),
    gauge("load5", "node_load5", 100.0),
    gauge("load15", "node_load15", 100.0),
    gauge("mem_shared", "node_memory_Shmem_bytes", 16e9),
    of_device("disk_queue", "node_disk_io_time_weighted_seconds_total", SDA, 100.0),
    of_device("disk_read_bytes", "node_disk_read_bytes_total", SDA, 1e9),
    of_device("disk_written_bytes", "node_disk_written_bytes_total", SDA, 1e9),
    rate("swap_in", "node_vmstat_pswpin", 1e4),
    rate("swap_out", "node_vmstat_pswpout", 1e4),
    of_device("net_rx_bytes", "node_network_receive_bytes_total", ETH0, 1e9),
    of_device("net_tx_bytes", "node_network_transmit_bytes_total", ETH0, 1e9),
    of_device("net_rx_packets", "node_network_receive_packets_total", ETH0, 1e6),
    of_device("net_tx_packets", "node_network_transmit_packets_total", ETH0, 1e6),
    gauge("tcp_time_wait", "node_sockstat_TCP_tw", 1e4),
    gauge("tcp_in_use", "node_sockstat_TCP_inuse", 1e4),
    gauge("tcp_established", "node_netstat_Tcp_CurrEstab", 1e4),
    rate("tcp_active_opens", "node_netstat_Tcp_ActiveOpens", 1e4),
    rate("tcp_passive_opens", "node_netstat_Tcp_PassiveOpens", 1e4),
    rate("tcp_in_errors", "node_netstat_Tcp_InErrs", 1e4),
    rate("tcp_in_segments", "node_netstat_Tcp_InSegs", 1e6),
    rate("tcp_out_segments", "node_netstat_Tcp_OutSegs", 1e6),
    rate("tcp_listen_overflows", "node_netstat_TcpExt_ListenOverflows", 1e4),
    rate("tcp_out_resets", "node_netstat_Tcp_OutRsts", 1e4),
    rate("tcp_retransmits", "node_netstat_Tcp_RetransSegs", 1e4),
    rate("tcp_timeouts", "node_netstat_TcpExt_TCPTimeouts", 1e4),
    rate("udp_in_datagrams", "node_netstat_Udp_InDatagrams", 1e5),
    rate("udp_out_datagrams", "node_netstat_Udp_OutDatagrams", 1e5),
    rate("udp_receive_buffer_errors", "node_netstat_Udp_RcvbufErrors", 1e4),
    rate("udp_send_buffer_errors", "node_netstat_Udp_SndbufErrors", 1e4),
];

/// Features that share series with others.
const JOINT: [&str; 8] = [
    "cpu_busy",
    "mem_used",
    "mem_used_with_cache",
    "disk_utilisation",
    "disk_reads",
    "disk_writes",
    "disk_service_time",
    "disk_await",
];

/// Plays one host.
#[derive(Debug)]
pub struct Exporter {
    page: Page,
    /// By entry of [`PLAIN`], the column; `None` where the data has none.
    plain: Vec<Option<usize>>,
    /// By entry of [`JOINT`], the column.
    joint: [Option<usize>; JOINT.len()],
    /// The counters in the order of a scrape.
    counters: Vec<f64>,
    /// Time of the last scrape.
    last_ms: Option<TimestampMs>,
}

impl Exporter {
    /// A host named `instance` whose rows have the columns `features`.
    ///
    /// # Errors
    /// None of them is a feature that can be played.
    pub fn new(instance: &str, features: &[String]) -> anyhow::Result<Self> {
        let column = |name: &str| features.iter().position(|feature| feature == name);
        let plain: Vec<_> = PLAIN.iter().map(|plain| column(plain.feature)).collect();
        let joint = JOINT.map(column);
        ensure!(
            plain.iter().chain(&joint).any(Option::is_some),
            "no column of {instance} is a feature of the preset: name its columns as the preset's features, such as cpu_busy"
        );
        Ok(Self { page: Page::new(instance, "node"), plain, joint, counters: Vec::new(), last_ms: None })
    }

    /// The scrape at `t_ms` after which the features are `values`, one per column; the series of what is not finite are stale.
    pub fn scrape(&mut self, values: &[f64], t_ms: TimestampMs) -> &[TimeSeries] {
        let seconds = self.last_ms.map_or(0.0, |last_ms| (t_ms - last_ms) as f64 / 1000.0);
        self.last_ms = Some(t_ms);
        let of = |column: &Option<usize>| column.and_then(|column| values.get(column)).copied().unwrap_or(f64::NAN);
        let mut counters = Counters { values: &mut self.counters, next: 0, seconds };
        let plain = PLAIN.iter().zip(&self.plain).map(|(plain, column)| (plain, of(column)));
        let joint = self.joint.each_ref().map(of);
        self.page.write(t_ms, |page| {
            for (plain, x) in plain {
                let value =
                    if plain.is_rate { counters.count(x * plain.unit, plain.unit) } else { or_stale(x * plain.unit) };
                page.put(plain.metric, plain.labels, value);
            }
            joint_series(page, joint, &mut counters);
        })
    }
}

/// The counters of a scrape that is being written.
struct Counters<'a> {
    values: &'a mut Vec<f64>,
    next: usize,
    /// Since the last scrape.
    seconds: f64,
}

impl Counters<'_> {
    /// The next counter after it has gone up by `rate` a second, of which `full_rate` is the most; a stale marker where the rate is
    /// missing.
    fn count(&mut self, rate: f64, full_rate: f64) -> f64 {
        if self.next == self.values.len() {
            self.values.push(UPTIME_S * full_rate);
        }
        let counter = &mut self.values[self.next];
        self.next += 1;
        if rate.is_finite() {
            *counter += rate * self.seconds;
        }
        or_stale(if rate.is_finite() { *counter } else { rate })
    }
}

/// A scrape has the same series each time; one that has no value is marked as gone.
fn or_stale(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::from_bits(STALE_NAN_BITS) }
}

fn joint_series(page: &mut Page, values: [f64; JOINT.len()], counters: &mut Counters<'_>) {
    let [cpu_busy, mem_used, mem_used_with_cache, disks @ ..] = values;
    page.put("node_cpu_seconds_total", &[("cpu", "0"), ("mode", "idle")], counters.count(1.0 - cpu_busy, JOINT_RATE));
    page.put("node_memory_MemTotal_bytes", &[], MEMORY_BYTES);
    page.put("node_memory_MemAvailable_bytes", &[], or_stale(MEMORY_BYTES * (1.0 - mem_used)));
    page.put("node_memory_MemFree_bytes", &[], or_stale(MEMORY_BYTES * (1.0 - mem_used_with_cache)));
    disk_series(page, disks, counters);
}

/// Utilisation is the busy time of the busiest disk, service time that of all disks per request: with 0.2 to 0.9 for the busiest
/// and 80 to 160 requests of 11 to 23 ms a second, the other disks have 0 to 0.2 each, which is never more than the busiest.
fn disk_series(page: &mut Page, [utilisation, reads, writes, service, wait]: [f64; 5], counters: &mut Counters<'_>) {
    let busiest = 0.2 + 0.7 * utilisation;
    let (reads, writes) = (40.0 * (1.0 + reads), 40.0 * (1.0 + writes));
    let busy = 0.011_25 * (1.0 + service) * (reads + writes);
    let waiting = (0.01 + 0.1 * wait) * (reads + writes);
    for (metric, rate) in [
        ("node_disk_reads_completed_total", reads),
        ("node_disk_writes_completed_total", writes),
        ("node_disk_read_time_seconds_total", 0.5 * waiting),
        ("node_disk_write_time_seconds_total", 0.5 * waiting),
        ("node_disk_io_time_seconds_total", busiest),
    ] {
        page.put(metric, SDA, counters.count(rate, JOINT_RATE));
    }
    let other = (busy - busiest) / (N_DISKS - 1) as f64;
    for disk in 1..N_DISKS {
        let name = format!("sd{}", char::from(b'a' + disk as u8));
        page.put("node_disk_io_time_seconds_total", &[("device", &name)], counters.count(other, JOINT_RATE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_goes_on_where_a_value_is_missing() {
        let features = ["load1", "disk_reads"].map(str::to_owned);
        let mut exporter = Exporter::new("a", &features).unwrap();
        let value = |series: &[TimeSeries], name: &str| {
            let one = series.iter().find(|series| series.labels[0].value == name).unwrap();
            one.samples[0].value
        };
        let first = exporter.scrape(&[0.5, 0.0], 60_000).to_vec();
        assert_eq!(value(&first, "node_load1"), 50.0);
        let gone = exporter.scrape(&[f64::NAN, 0.0], 120_000).to_vec();
        assert_eq!(value(&gone, "node_load1").to_bits(), STALE_NAN_BITS);
        assert_eq!(first.len(), gone.len());
    }

    #[test]
    fn data_without_a_feature_of_the_preset_is_refused() {
        assert!(Exporter::new("a", &["c0".to_owned()]).is_err());
    }
}
