//! Remote-write bodies: drawn ones with all that a host's life has, and the captured ones, moved into the past.

use std::path::Path;

use outlierd::base::proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use outlierd::base::random::SplitMix64;
use outlierd::series::STALE_NAN_BITS;
use prost::Message as _;

/// The first of January 2025. Databases refuse what is from the future by their clock.
pub const START_MS: i64 = 1_735_689_600_000;

pub const HOSTS: [&str; 3] = ["a:9100", "b\"\\:9100", "c:9100"];

/// Scrapes of a host.
const SCRAPES: i64 = 4 * 240;

/// One body per scrape of one host, compressed, in order of time.
pub fn drawn() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for scrape in 0..SCRAPES {
        for host in 0..HOSTS.len() {
            bodies.extend(scraped(host, scrape));
        }
    }
    bodies
}

/// A scrape; `None` where it was missed. Each host has its own offset, its own rhythm of what goes wrong.
fn scraped(host: usize, scrape: i64) -> Option<Vec<u8>> {
    let t_ms = START_MS + 15_000 * scrape + 4_321 * host as i64;
    let mut draw = SplitMix64::new(scrape as u64 * 31 + host as u64);
    let name = HOSTS[host];
    // A silence of 25 minutes, which is longer than the lookback; single lost scrapes everywhere.
    if (300..400).contains(&scrape) && host == 1 || draw.bits().is_multiple_of(50) {
        return None;
    }
    let mut series = Vec::new();
    let mut push = |metric: &str, labels: &[(&str, &str)], value: f64| {
        let common = [("__name__", metric), ("instance", name), ("job", "node")];
        let label = |(name, value): &(&str, &str)| Label { name: (*name).into(), value: (*value).into() };
        let mut labels: Vec<Label> = common.iter().chain(labels).map(label).collect();
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        series.push(TimeSeries { labels, samples: vec![Sample { value, timestamp: t_ms }], ..TimeSeries::default() });
    };
    let stale = f64::from_bits(STALE_NAN_BITS);
    // The exporter of the third host fails for a while: markers at once, then only `up`.
    let is_down = host == 2 && (500..560).contains(&scrape);
    push("up", &[], if is_down { 0.0 } else { 1.0 });
    let all = |value: f64| if is_down { stale } else { value };
    if !is_down || scrape == 500 {
        push("node_load1", &[], all((draw.bits() % 1_000) as f64 / 100.0));
        // Restarted twice: counters begin again.
        let since_boot = scrape - if scrape > 700 { 700 } else { 0 } - if scrape > 150 && host == 0 { 150 } else { 0 };
        push("node_boot_time_seconds", &[], all((START_MS / 1_000 + scrape - since_boot) as f64));
        for cpu in ["0", "1"] {
            let idle = 15.0 * since_boot as f64 * 0.9 + (draw.bits() % 100) as f64 / 100.0;
            push("node_cpu_seconds_total", &[("cpu", cpu), ("mode", "idle")], all(idle));
            push("node_cpu_seconds_total", &[("cpu", cpu), ("mode", "user")], all(15.0 * since_boot as f64 - idle));
        }
        push("node_network_receive_bytes_total", &[("device", "eth0")], all((1 << 20) as f64 * since_boot as f64));
        // A device that comes and goes, with a marker when it goes.
        match scrape % 200 {
            20..80 => push("node_network_receive_bytes_total", &[("device", "veth1")], all(scrape as f64)),
            80 => push("node_network_receive_bytes_total", &[("device", "veth1")], stale),
            _ => {}
        }
        push("node_nobody_reads_this", &[], all(scrape as f64));
    }
    Some(compressed(WriteRequest { timeseries: series, metadata: Vec::new() }))
}

/// The captured bodies in snappy, at [`START_MS`].
pub fn captured() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures");
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let entries = index.as_array().unwrap().iter().filter(|entry| entry["content_encoding"] == "snappy");
    let read = |entry: &serde_json::Value| {
        let body = std::fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap();
        WriteRequest::decode(&*snap::raw::Decoder::new().decompress_vec(&body).unwrap()).unwrap()
    };
    let mut requests: Vec<WriteRequest> = entries.map(read).collect();
    requests.retain(|request| !request.timeseries.is_empty());
    let samples = |request: &mut WriteRequest, by: &mut dyn FnMut(&mut i64)| {
        request.timeseries.iter_mut().flat_map(|s| &mut s.samples).for_each(|s| by(&mut s.timestamp));
    };
    let mut oldest = i64::MAX;
    requests.iter_mut().for_each(|request| samples(request, &mut |t_ms| oldest = oldest.min(*t_ms)));
    requests.iter_mut().for_each(|request| samples(request, &mut |t_ms| *t_ms += START_MS - oldest));
    requests.into_iter().map(compressed).collect()
}

/// Writes a recording.
pub fn write(folder: &Path, bodies: &[Vec<u8>]) {
    let mut index = Vec::new();
    for (i, body) in bodies.iter().enumerate() {
        std::fs::write(folder.join(i.to_string()), body).unwrap();
        index.push(format!(r#"{{"file": "{i}", "content_encoding": "snappy"}}"#));
    }
    std::fs::write(folder.join("index.json"), format!("[{}]", index.join(","))).unwrap();
}

fn compressed(request: WriteRequest) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}
