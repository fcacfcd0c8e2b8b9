//! A host with 20 series as node_exporter has them, the features over them, and a configuration that judges it quickly.

use outlierd::base::proto::prometheus::TimeSeries;
use outlierd::series::STALE_NAN_BITS;

use super::bodies::series;

/// The first scrape.
pub const START_MS: i64 = 1_700_000_000_000;
/// Distance of two scrapes: two to a row.
pub const SCRAPE_MS: i64 = 30_000;
/// Scrapes of an hour.
pub const HOUR: usize = 120;

/// Rows of a minute, windows of ten, judged after twelve minutes of history. The lateness is so long that no clock can close a row
/// while a test runs: event time alone does.
pub const CONFIG: &str = r#"
step: 60s
model: {window: 10}
detection: {max_lag: 100y, limit: 4, smoothing: 1, for: 3, min_history: 12m}
standardisation: {warmup: 5m}
ingest: {lateness: 2m, max_age: 100y}
threads: {shards: 2, scorers: 1}
features:
- {name: cpu_busy, expr: '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m]))'}
- {name: cpu_user, expr: 'sum by (instance) (rate(node_cpu_seconds_total{mode="user"}[2m]))'}
- {name: load1, expr: node_load1}
- {name: load5, expr: node_load5}
- {name: mem_used, expr: 1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes}
- {name: disk_reads, expr: 'sum by (instance) (rate(node_disk_reads_completed_total[2m]))'}
- {name: net_in, expr: 'sum by (instance) (rate(node_network_receive_bytes_total{device!="lo"}[2m]))'}
- {name: filesystem_used, expr: max by (instance) (1 - node_filesystem_avail_bytes / node_filesystem_size_bytes)}
"#;

/// The features of [`CONFIG`], in its order.
pub const FEATURES: [&str; 8] =
    ["cpu_busy", "cpu_user", "load1", "load5", "mem_used", "disk_reads", "net_in", "filesystem_used"];

/// The features that a jump moves: all but the last two.
pub const JUMPING: usize = 6;

/// Name, a label, whether it is a counter, the usual value (of a counter: per second), by how much a jump multiplies it.
type Kind = (&'static str, (&'static str, &'static str), bool, f64, f64);

const KINDS: [Kind; 16] = [
    ("node_cpu_seconds_total", ("mode", "idle"), true, 0.8, 0.2),
    ("node_cpu_seconds_total", ("mode", "user"), true, 0.1, 6.0),
    ("node_cpu_seconds_total", ("mode", "system"), true, 0.05, 2.0),
    ("node_cpu_seconds_total", ("mode", "iowait"), true, 0.05, 1.0),
    ("node_load1", ("", ""), false, 1.0, 8.0),
    ("node_load5", ("", ""), false, 1.0, 8.0),
    ("node_memory_MemAvailable_bytes", ("", ""), false, 4e9, 0.2),
    ("node_memory_MemTotal_bytes", ("", ""), false, 8e9, 1.0),
    ("node_disk_reads_completed_total", ("device", "sda"), true, 20.0, 10.0),
    ("node_disk_reads_completed_total", ("device", "sdb"), true, 5.0, 10.0),
    ("node_network_receive_bytes_total", ("device", "lo"), true, 1e6, 3.0),
    ("node_network_receive_bytes_total", ("device", "eth0"), true, 9e4, 1.0),
    ("node_network_receive_bytes_total", ("device", "eth1"), true, 1e4, 1.0),
    ("node_filesystem_avail_bytes", ("mountpoint", "/"), false, 5e10, 1.0),
    ("node_filesystem_size_bytes", ("mountpoint", "/"), false, 1e11, 1.0),
    ("up", ("", ""), false, 1.0, 1.0),
];

/// Constant whatever happens.
const CONSTANT: [&str; 3] = ["node_memory_MemTotal_bytes", "node_filesystem_size_bytes", "up"];

/// A host that is scraped.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    pub name: &'static str,
    /// The scrape from which on it behaves differently.
    pub jumps_at: usize,
    /// Series that it lacks, by the beginning of their names.
    pub lacks: &'static [&'static str],
}

impl Node {
    /// One that never jumps and lacks nothing.
    pub fn calm(name: &'static str) -> Self {
        Self { name, jumps_at: usize::MAX, lacks: &[] }
    }

    /// Every series with its sample of scrape `k`.
    pub fn scrape(&self, k: usize) -> Vec<TimeSeries> {
        self.series(k..k + 1)
    }

    /// Every series with its samples of some scrapes.
    pub fn series(&self, scrapes: std::ops::Range<usize>) -> Vec<TimeSeries> {
        let samples = |value: &dyn Fn(usize) -> f64| -> Vec<(i64, f64)> {
            scrapes.clone().map(|k| (START_MS + k as i64 * SCRAPE_MS, value(k))).collect()
        };
        let mut all = Vec::new();
        for (seed, (name, label, is_counter, usual, factor)) in (0..).zip(KINDS) {
            let rate = |k: usize| {
                let jumped = if k >= self.jumps_at { factor } else { 1.0 };
                let noise = if CONSTANT.contains(&name) { 0.0 } else { noise(seed, k) };
                usual * jumped * (1.0 + 0.05 * noise)
            };
            let value = |k: usize| match is_counter {
                true => (0..=k).map(|past| rate(past) * SCRAPE_MS as f64 / 1_000.0).sum(),
                false => rate(k),
            };
            // Two CPUs, so that there are 20 series.
            let cpus = if name.starts_with("node_cpu") { &["0", "1"][..] } else { &[""] };
            for cpu in cpus.iter().filter(|_| !self.lacks.iter().any(|lacked| name.starts_with(lacked))) {
                let labels = [("__name__", name), label, ("cpu", cpu), ("instance", self.name), ("job", "node")];
                let labels: Vec<_> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
                all.push(series(&labels, &samples(&value)));
            }
        }
        all
    }

    /// What a sender says of a scrape that failed: `up` is 0, everything else ended.
    pub fn failed_scrape(&self, k: usize) -> Vec<TimeSeries> {
        let mut all = self.scrape(k);
        for series in &mut all {
            let is_up = series.labels.iter().any(|label| label.value == "up");
            series.samples[0].value = if is_up { 0.0 } else { f64::from_bits(STALE_NAN_BITS) };
        }
        all
    }
}

/// Reproducible, in ± 1.
fn noise(seed: u64, k: usize) -> f64 {
    let mut x = (seed << 32 | k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}
