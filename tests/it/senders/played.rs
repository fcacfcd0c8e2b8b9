//! Bodies on their way through decode and an engine, as `serve` takes them.

use outlierd::base::proto::prometheus::{TimeSeries, WriteRequest};
use outlierd::config::Config;
use outlierd::decode::{Decoder, Encoding, TimeBounds};
use outlierd::engine::{Engine, EngineCounter, Input, Output};
use outlierd::promql::eval::EvalError;
use outlierd::setup::Setup;
use prost::Message as _;

/// A body as it was received, of one host.
#[derive(Debug, Clone)]
pub struct Sent {
    pub received_ms: i64,
    pub series: Vec<TimeSeries>,
}

/// The label by which the replicas of these tests differ.
pub const REPLICA: &str = "prometheus_replica";

impl Sent {
    /// The newest time in it.
    pub fn t_ms(&self) -> i64 {
        self.series.iter().flat_map(|one| &one.samples).map(|sample| sample.timestamp).max().unwrap_or(i64::MIN)
    }

    /// Who sent it; empty for one that isn't one of several.
    pub fn replica(&self) -> &str {
        let labels = self.series.first().map_or(&[][..], |one| &one.labels);
        labels.iter().find(|label| label.name == REPLICA).map_or("", |label| &label.value)
    }

    /// Whether it says that the scrape failed.
    pub fn is_failed(&self) -> bool {
        let is_up = |one: &TimeSeries| one.labels.iter().any(|label| label.name == "__name__" && label.value == "up");
        self.series.iter().any(|one| is_up(one) && one.samples.iter().any(|sample| sample.value == 0.0))
    }

    /// The same without the label that tells replicas apart.
    pub fn without_replica(&self) -> Self {
        let mut sent = self.clone();
        sent.series.iter_mut().for_each(|one| one.labels.retain(|label| label.name != REPLICA));
        sent
    }

    /// As remote write.
    pub fn snappy(&self) -> Vec<u8> {
        let message = WriteRequest { timeseries: self.series.clone(), metadata: Vec::new() }.encode_to_vec();
        snap::raw::Encoder::new().compress_vec(&message).unwrap()
    }
}

/// A row of the host.
#[derive(Debug)]
pub struct Row {
    pub t_ms: i64,
    pub step_ms: i64,
    pub values: Vec<f64>,
}

/// What came of all bodies.
pub struct Played {
    pub rows: Vec<Row>,
    pub interval_ms: Option<i64>,
    pub sender_changes: u64,
    /// Names of the features.
    names: Vec<String>,
}

impl Played {
    /// The value of a feature in a row.
    pub fn value(&self, row: &Row, feature: &str) -> f64 {
        row.values[self.names.iter().position(|name| name == feature).unwrap()]
    }
}

/// Plays `bodies` in the order in which they were received.
pub fn play(bodies: &[Sent], mut config: Config) -> Played {
    config.threads.shards = 1;
    let setup = Setup::new(config).unwrap();
    let wanted = setup.wanted().unwrap();
    let (mut decoder, mut engine, mut out) = (Decoder::new(), Engine::new(setup.engine()), Output::default());
    let mut now_ms = 0;
    for body in bodies {
        now_ms = now_ms.max(body.received_ms);
        let decoded = decoder.decode(&body.snappy(), Encoding::Snappy, &wanted, TimeBounds::NONE).unwrap();
        engine.apply(Input::Tick { now_ms }, &mut out);
        engine.apply(Input::Samples { batch: &decoded.batches[0], now_ms }, &mut out);
    }
    let last = out.statuses.last().unwrap().clone();
    engine.apply(Input::Tick { now_ms: now_ms + 3_600_000 }, &mut out);
    // Where the interval changes, ranges begin anew.
    out.feature_errors.retain(|(_, error)| *error != EvalError::JustBegun);
    assert_eq!(out.feature_errors, [], "the preset's features are single values");
    for event in [
        EngineCounter::Late,
        EngineCounter::SeriesPerHost,
        EngineCounter::SamplesPerHost,
        EngineCounter::FramesPerHost,
        EngineCounter::InvalidLabels,
    ] {
        assert_eq!(out.counts.get(event), 0, "{event:?}");
    }
    let row = |row: outlierd::engine::row::Row| Row { t_ms: row.t_ms, step_ms: row.step_ms, values: row.values.into() };
    Played {
        sender_changes: out.counts.get(EngineCounter::SenderChange),
        rows: out.rows.into_iter().map(row).collect(),
        interval_ms: last.interval_ms,
        names: setup.config.features.iter().map(|feature| feature.name.clone()).collect(),
    }
}
