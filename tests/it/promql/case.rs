//! A case: three hosts with their own habits, as the remote write bodies that both sides receive.

use outlierd::base::proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use outlierd::series::{STALE_NAN_BITS, is_stale};
use prost::Message as _;

use super::draw::Draw;
use super::series;

/// Monday, 5 January 2026, 22:00 UTC: a long case sees midnight.
const START_MS: i64 = 1_767_650_400_000;

/// The hosts: their `instance`.
pub(super) const HOSTS: [&str; 3] = ["exact:9100", "almost:9100", "ragged:9100"];

/// What happens, and how outlierd is set.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) step_ms: i64,
    pub(super) lookback_ms: i64,
    pub(super) lateness_ms: i64,
    scrape_ms: i64,
    n_scrapes: u64,
}

/// The 15 seconds and the minute that most fleets have.
pub(super) const LONG: Case = Case {
    name: "long",
    step_ms: 60_000,
    lookback_ms: 300_000,
    lateness_ms: 20_000,
    scrape_ms: 15_000,
    n_scrapes: 4 * 215,
};

/// Rows closer than scrapes, and a lookback of its own.
pub(super) const SPARSE: Case = Case {
    name: "sparse",
    step_ms: 15_000,
    lookback_ms: 150_000,
    lateness_ms: 70_000,
    scrape_ms: 60_000,
    n_scrapes: 100,
};

/// One request.
#[derive(Clone)]
pub(super) struct Body {
    /// When it comes.
    pub(super) at_ms: i64,
    /// A `WriteRequest` in snappy.
    pub(super) bytes: Vec<u8>,
}

impl Case {
    /// The bodies of one host, in order of arrival.
    ///
    /// Left out on purpose, because the two sides differ in them by design: two values for one series and time (Prometheus
    /// keeps the first that comes, outlierd the larger, so that the order makes no difference), and stale markers that come
    /// after newer samples of their series.
    pub(super) fn bodies(&self, host: usize) -> Vec<Body> {
        let mut draw = Draw::new(7_919 * (host as u64 + 1) + self.step_ms as u64);
        let mut all = series::of_host();
        let mut bodies = Vec::new();
        for k in 0..self.n_scrapes {
            let Some(t_ms) = self.scrape_time(host, k, &mut draw) else { continue };
            let mut now = Vec::new();
            let mut delayed = Vec::new();
            // The first scrape begins the grid of rows and comes whole.
            let is_torn = host != 1 && k > 0 && draw.below(6) == 0;
            let has_failed = host == 1 && k % 250 > 245;
            for (i, series) in all.iter_mut().enumerate() {
                let is_up = series.labels[0].1 == "up";
                let value = series.scrape(k, &mut draw);
                let value = match (has_failed, is_up) {
                    (true, true) => Some(0.0),
                    (true, false) => value.map(|_| f64::from_bits(STALE_NAN_BITS)),
                    (false, _) => value,
                };
                let Some(value) = value else { continue };
                let one = time_series(&series.labels, HOSTS[host], t_ms, value);
                let list = if is_torn && i % 3 == 0 && !is_stale(value) { &mut delayed } else { &mut now };
                list.push(one);
            }
            if draw.below(10) == 0 {
                // Senders repeat what was not answered: the same samples again.
                now.extend(now[..now.len() / 2].to_vec());
            }
            bodies.push(Body { at_ms: t_ms + 200, bytes: encode(now) });
            if !delayed.is_empty() {
                // Later than the next scrape, and just in time.
                bodies.push(Body { at_ms: t_ms + self.lateness_ms - 1_000, bytes: encode(delayed) });
            }
        }
        bodies.sort_by_key(|body| body.at_ms);
        bodies
    }

    /// When `host` is scraped for the `k`-th time; `None` where it isn't.
    ///
    /// The first host's scrapes lie on the grid of its rows, so that ranges begin exactly at samples; the second one's miss it by
    /// a millisecond either way; the third one's are as irregular as a busy machine's, and it is silent for a while.
    fn scrape_time(&self, host: usize, k: u64, draw: &mut Draw) -> Option<i64> {
        let on_grid_ms = START_MS + k as i64 * self.scrape_ms;
        match host {
            0 => Some(on_grid_ms),
            1 => Some(on_grid_ms + 7_123 + if k == 0 { 0 } else { draw.below(3) as i64 - 1 }),
            _ => {
                let jitter_ms = draw.below(800) as i64;
                let is_silent = k * 100 / self.n_scrapes >= 60 && k * 100 / self.n_scrapes < 65;
                (!is_silent).then_some(on_grid_ms + 11_000 + jitter_ms)
            }
        }
    }
}

fn time_series(labels: &[(String, String)], host: &str, t_ms: i64, value: f64) -> TimeSeries {
    let mut labels: Vec<Label> = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain([("instance", host), ("job", "node")])
        .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() })
        .collect();
    labels.sort_by(|a, b| a.name.cmp(&b.name));
    TimeSeries { labels, samples: vec![Sample { value, timestamp: t_ms }], exemplars: Vec::new() }
}

fn encode(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    let request = WriteRequest { timeseries, metadata: Vec::new() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}
