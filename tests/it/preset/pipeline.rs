//! One scraped host through decode and an engine with the built-in preset.

use std::collections::BTreeSet;

use outlierd::base::proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use outlierd::config::Config;
use outlierd::decode::{Decoder, Encoding, TimeBounds, Wanted};
use outlierd::engine::{Counts, ENGINE_COUNTERS, Engine, EngineCounter, Input, Output};
use outlierd::promql::eval::EvalError;
use outlierd::series::STALE_NAN_BITS;
use outlierd::setup::Setup;
use prost::Message;

use super::machine::Page;

const ANY_TIME: TimeBounds = TimeBounds::NONE;

/// A closed row: its time and its values by feature.
pub type Row = (i64, Vec<f64>);

pub struct Pipeline {
    /// Whether counters are made to fall.
    pub has_glitches: bool,
    decoder: Decoder,
    wanted: Wanted,
    engine: Engine,
    out: Output,
    /// What the last scrape had; gets a stale marker once it is gone, as vmagent and Prometheus do.
    exported: BTreeSet<(String, Vec<(String, String)>)>,
    /// Names of the features.
    names: Vec<String>,
    now_ms: i64,
    pub rows: Vec<Row>,
    counts: Counts,
}

impl Pipeline {
    pub fn new(mut config: Config, step_ms: i64) -> Self {
        config.step_ms = Some(step_ms);
        config.threads.shards = 1;
        let setup = Setup::new(config).unwrap();
        Self {
            decoder: Decoder::new(),
            wanted: setup.wanted().unwrap(),
            engine: Engine::new(setup.engine()),
            out: Output::default(),
            exported: BTreeSet::new(),
            names: setup.config.features.iter().map(|feature| feature.name.clone()).collect(),
            now_ms: 0,
            has_glitches: false,
            rows: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A scrape that gave `page`.
    pub fn scrape(&mut self, t_ms: i64, page: &Page) {
        let mut series: Vec<_> = page.iter().map(|((name, labels), value)| one(name, labels, *value, t_ms)).collect();
        series.push(one("up", &[], 1.0, t_ms));
        self.end(t_ms, page, &mut series);
        self.send(t_ms, series);
    }

    /// A scrape that failed.
    pub fn fail(&mut self, t_ms: i64) {
        let mut series = vec![one("up", &[], 0.0, t_ms)];
        self.end(t_ms, &Page::new(), &mut series);
        self.send(t_ms, series);
    }

    /// Closes what is pending.
    pub fn finish(&mut self) {
        let now_ms = self.now_ms + 3_600_000;
        self.apply(|engine, out| engine.apply(Input::Tick { now_ms }, out));
    }

    /// The value of a feature in a row.
    pub fn value(&self, row: &Row, feature: &str) -> f64 {
        row.1[self.names.iter().position(|name| name == feature).unwrap()]
    }

    /// How often `event` happened.
    pub fn count(&self, event: EngineCounter) -> u64 {
        self.counts.get(event)
    }

    /// Stale markers for the series that `page` no longer has.
    fn end(&mut self, t_ms: i64, page: &Page, series: &mut Vec<TimeSeries>) {
        let before = std::mem::replace(&mut self.exported, page.keys().cloned().collect());
        let gone = before.iter().filter(|key| !page.contains_key(key));
        series.extend(gone.map(|(name, labels)| one(name, labels, f64::from_bits(STALE_NAN_BITS), t_ms)));
    }

    fn send(&mut self, now_ms: i64, timeseries: Vec<TimeSeries>) {
        let message = WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        let decoded = self.decoder.decode(&body, Encoding::Snappy, &self.wanted, ANY_TIME).unwrap();
        self.now_ms = now_ms;
        self.apply(|engine, out| {
            engine.apply(Input::Tick { now_ms }, out);
            engine.apply(Input::Samples { batch: &decoded.batches[0], now_ms }, out);
        });
    }

    fn apply(&mut self, input: impl FnOnce(&mut Engine, &mut Output)) {
        input(&mut self.engine, &mut self.out);
        self.rows.extend(self.out.rows.iter().map(|row| (row.t_ms, row.values.to_vec())));
        if self.has_glitches {
            self.out.feature_errors.retain(|(_, error)| *error != EvalError::CounterFellBack);
        }
        assert_eq!(self.out.feature_errors, [], "the preset's features are single values");
        for event in ENGINE_COUNTERS {
            self.counts.add(event, self.out.counts.get(event));
        }
        self.out.clear();
    }
}

fn one(name: &str, labels: &[(String, String)], value: f64, timestamp: i64) -> TimeSeries {
    let target = [("__name__", name), ("instance", "a:9100"), ("job", "node")];
    let own = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
    TimeSeries {
        labels: target.into_iter().chain(own).map(label).collect(),
        samples: vec![Sample { value, timestamp }],
        exemplars: Vec::new(),
    }
}
