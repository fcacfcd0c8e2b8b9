//! Bodies as a sender with these habits would make them of one machine.

use std::collections::BTreeSet;

use outlierd::base::proto::prometheus::{Label, Sample, TimeSeries};
use outlierd::series::STALE_NAN_BITS;

use super::played::{REPLICA, Sent};
use crate::preset::machine::{Machine, Page};

const START_MS: i64 = 1_700_000_007_123;
const DAY_MS: i64 = 86_400_000;
/// Bodies of one scrape.
const PIECES: usize = 3;

/// Habits of a sender.
pub struct Sender {
    pub interval_ms: i64,
    /// Scrapes come up to so much before their time.
    pub early_ms: i64,
    /// Scrapes come up to so much after their time.
    pub jitter_ms: i64,
    /// So many scrapes fail at first.
    pub n_failed_first: i64,
    /// Of so many scrapes one fails.
    pub lost: Option<i64>,
    /// The scrape before which the exporter's machine restarts.
    pub restart: Option<i64>,
    /// Of all scrapes, from those of another replica.
    pub offset_ms: i64,
    /// Its replica label; none where empty.
    pub replica: &'static str,
    /// The job of its exporter.
    pub job: &'static str,
    /// Which metrics it sends.
    pub sends: fn(&str) -> bool,
    /// Scrapes.
    pub n: i64,
}

impl Default for Sender {
    fn default() -> Self {
        Self {
            interval_ms: 15_000,
            early_ms: 0,
            jitter_ms: 0,
            n_failed_first: 0,
            lost: None,
            restart: None,
            offset_ms: 0,
            replica: "",
            job: "node",
            sends: |_| true,
            n: 60,
        }
    }
}

/// The bodies in the order in which they come: of each scrape several, within the lateness. Scrapes that are closer than rows are
/// more, so that there are some rows.
pub fn bodies(sender: &Sender, seed: u64) -> Vec<Sent> {
    let mut state = seed;
    let mut next = |n: i64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64 % n.max(1)
    };
    let more = (60_000 / sender.interval_ms).max(1);
    let mut exported = BTreeSet::new();
    let mut all = Vec::new();
    let mut machine = Machine::new(START_MS - DAY_MS);
    for k in 0..sender.n * more / 2 {
        let off_ms = next(sender.early_ms + sender.jitter_ms + 1) - sender.early_ms;
        let t_ms = START_MS + sender.offset_ms + k * sender.interval_ms + off_ms;
        if sender.restart == Some(k) {
            machine = Machine::new(t_ms - sender.interval_ms / 2);
        }
        let is_lost = k < sender.n_failed_first || sender.lost.is_some_and(|lost| k % lost == lost - 1);
        let mut page = if is_lost { Page::new() } else { lively(&machine, t_ms) };
        page.retain(|(name, _), _| (sender.sends)(name));
        let mut series: Vec<TimeSeries> =
            page.iter().map(|((name, labels), value)| one(name, labels, *value, t_ms, sender)).collect();
        let now: BTreeSet<_> = page.keys().cloned().collect();
        let gone = exported.difference(&now).map(|(name, labels): &(String, Vec<(String, String)>)| {
            one(name, labels, f64::from_bits(STALE_NAN_BITS), t_ms, sender)
        });
        series.extend(gone);
        exported = now;
        series.push(one("up", &[], f64::from(u8::from(!is_lost)), t_ms, sender));
        let n = series.len();
        series.rotate_left(next(n as i64) as usize);
        // The pieces of one scrape overtake each other, and the next one where that is near.
        let spread_ms = sender.interval_ms.min(8_000);
        for piece in series.chunks(n.div_ceil(PIECES)) {
            all.push(Sent { received_ms: t_ms + 20 + next(spread_ms), series: piece.to_vec() });
        }
    }
    all.sort_by_key(|sent| sent.received_ms);
    all
}

/// A machine that is busier at some times than at others.
fn lively(machine: &Machine, t_ms: i64) -> Page {
    let warped_ms = t_ms + (40_000.0 * (t_ms as f64 / 300_000.0).sin()) as i64;
    let mut page = machine.page(warped_ms);
    for ((name, _), value) in &mut page {
        if name.starts_with("node_load") || name.ends_with("_Shmem_bytes") {
            *value *= 1.0 + (t_ms / 1_000 % 97) as f64 / 100.0;
        }
    }
    page
}

fn one(name: &str, labels: &[(String, String)], value: f64, timestamp: i64, sender: &Sender) -> TimeSeries {
    let target = [("__name__", name), ("instance", "a:9100"), ("job", sender.job), (REPLICA, sender.replica)];
    let own = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let present = target.into_iter().filter(|(_, value)| !value.is_empty());
    let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
    let samples = vec![Sample { value, timestamp }];
    TimeSeries { labels: present.chain(own).map(label).collect(), samples, exemplars: Vec::new() }
}
