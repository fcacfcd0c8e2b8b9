//! What real senders sent, as `outlierd record` wrote it down: zip files of a recording's folder, made by
//! `scripts/record-senders.sh`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use outlierd::base::proto::prometheus::{TimeSeries, WriteRequest};
use prost::Message as _;
use serde_json::Value;

use super::played::Sent;
use super::{EXPECTED, taken_over};

/// A recording.
pub struct Recording {
    /// Under tests/fixtures/senders.
    pub file: &'static str,
    pub interval_s: i64,
    /// How often another replica takes over.
    pub sender_changes: u64,
    /// Rows that may lack a value: one for each missed scrape.
    pub n_lacking: usize,
}

pub const ALL: &[Recording] = &[
    Recording { file: "prometheus-15s.zip", interval_s: 15, sender_changes: 0, n_lacking: 0 },
    Recording { file: "prometheus-60s.zip", interval_s: 60, sender_changes: 0, n_lacking: 0 },
    Recording { file: "prometheus-90s.zip", interval_s: 90, sender_changes: 0, n_lacking: 0 },
    Recording { file: "prometheus-2m.zip", interval_s: 120, sender_changes: 0, n_lacking: 0 },
    Recording { file: "vmagent-1.79-60s.zip", interval_s: 60, sender_changes: 0, n_lacking: 0 },
    Recording { file: "vmagents-5s.zip", interval_s: 5, sender_changes: 1, n_lacking: 0 },
    Recording { file: "vmagents-60s.zip", interval_s: 60, sender_changes: 1, n_lacking: 0 },
    Recording { file: "vmagent-60s-failing.zip", interval_s: 60, sender_changes: 0, n_lacking: 3 },
];

/// Features of which nothing was recorded, or that the machine doesn't have.
pub const NEVER: &[&str] = &["conntrack_used", "filesystem_used", "swap_used", "tcp_in_use", "tcp_time_wait"];

impl Recording {
    /// Distance of rows, `[$range]` and lookback, in seconds.
    pub fn expected(&self) -> (i64, i64, i64) {
        let (_, step_s, range_s, lookback_s) = EXPECTED.into_iter().find(|row| row.0 == self.interval_s).unwrap();
        (step_s, range_s, lookback_s)
    }

    /// The samples that are to be used: those of the first sender, and of the second one once that is silent.
    pub fn heard(&self, sent: &[Sent]) -> Vec<Sent> {
        let first = sent[0].replica().to_owned();
        let (a, b): (Vec<Sent>, Vec<Sent>) = sent.iter().cloned().partition(|sent| sent.replica() == first);
        let more = if self.sender_changes > 0 { taken_over(&a, &b, self.interval_s * 1_000) } else { Vec::new() };
        [a, more].concat().iter().map(Sent::without_replica).collect()
    }
}

/// The bodies of a recording by host, each in the order in which it was received.
pub fn read(file: &str) -> BTreeMap<String, Vec<Sent>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/senders").join(file);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut bytes = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let index: Value = serde_json::from_slice(&bytes("index.json")).unwrap();
    let mut hosts: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
    for entry in index.as_array().unwrap() {
        let body = bytes(entry["file"].as_str().unwrap());
        let message = match entry["content_encoding"].as_str() {
            Some("zstd") => zstd::stream::decode_all(&body[..]).unwrap(),
            _ => snap::raw::Decoder::new().decompress_vec(&body).unwrap(),
        };
        let received_ms = entry["received_ms"].as_i64().unwrap();
        // A body may be of several hosts, and of several replicas only where something relays them.
        let mut by_host: BTreeMap<String, Vec<TimeSeries>> = BTreeMap::new();
        for series in WriteRequest::decode(&message[..]).unwrap().timeseries {
            let host = series.labels.iter().find(|label| label.name == "instance").map(|label| label.value.clone());
            by_host.entry(host.unwrap_or_default()).or_default().push(series);
        }
        for (host, series) in by_host {
            hosts.entry(host).or_default().push(Sent { received_ms, series });
        }
    }
    hosts
}
