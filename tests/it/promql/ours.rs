//! What outlierd makes of a case: decode and engine, as the service drives them.

use std::collections::BTreeMap;

use outlierd::base::bounds::Bounds;
use outlierd::config::{Config, Feature};
use outlierd::decode::{Decoder, Encoding, TimeBounds, Wanted};
use outlierd::engine::{Engine, EngineCounter, Input, Output};
use outlierd::promql::{FeatureSource, Plan};
use outlierd::setup::Setup;

use super::case::{Body, Case, HOSTS};

/// The rows of one host.
#[derive(Default)]
pub(super) struct Rows {
    /// When; a step apart.
    pub(super) times_ms: Vec<i64>,
    /// One per row: a value per expression, NaN where masked.
    pub(super) values: Vec<Box<[f64]>>,
}

/// Why outlierd refuses `expr`, if it does.
pub(super) fn refusal(expr: &str) -> Option<String> {
    let source = FeatureSource { name: "f", expr, at: "test" };
    let errors = Plan::compile(&[source], 300_000).err()?;
    Some(errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; "))
}

/// The rows of every host, in order of [`HOSTS`]; all of `expressions` are features of one engine.
pub(super) fn rows(case: &Case, bodies: &[Vec<Body>], expressions: &[String]) -> Vec<Rows> {
    let mut config = Config { step_ms: Some(case.step_ms), ..Config::default() };
    let model = config.features[0].clone();
    let feature = |(i, expr): (usize, &String)| Feature {
        name: format!("f{i}"),
        expr: expr.clone(),
        bounds: Bounds::NONE,
        ..model.clone()
    };
    config.features = expressions.iter().enumerate().map(feature).collect();
    // Rows may be closer than scrapes here, and ranges too short: nothing follows the interval.
    config.ingest.interval_ms = Some(1);
    config.ingest.lateness_ms = case.lateness_ms;
    config.ingest.lookback_ms = case.lookback_ms;
    config.threads.shards = 1;
    // All these expressions together hold more than a configuration should.
    config.limits.samples_per_host = usize::MAX;
    let setup = Setup::new(config).unwrap();
    let mut wanted =
        Wanted::new(setup.plan.metrics.iter().map(String::as_str), "instance", 1, &setup.config.limits).unwrap();
    if setup.plan.wants_every_metric() {
        wanted = wanted.all_names();
    }

    let mut engine = Engine::new(setup.engine());
    let mut decoder = Decoder::new();
    let mut out = Output::default();
    let mut all: Vec<&Body> = bodies.iter().flatten().collect();
    all.sort_by_key(|body| body.at_ms);
    let bounds = TimeBounds::NONE;
    for body in &all {
        let decoded = decoder.decode(&body.bytes, Encoding::Snappy, &wanted, bounds).unwrap();
        engine.apply(Input::Samples { batch: &decoded.batches[0], now_ms: body.at_ms }, &mut out);
    }
    let end_ms = all.last().map_or(0, |body| body.at_ms);
    engine.apply(Input::Tick { now_ms: end_ms + case.lateness_ms }, &mut out);

    // What is compared is semantics: nothing may have been lost to lateness or limits.
    for event in [
        EngineCounter::Late,
        EngineCounter::SeriesPerHost,
        EngineCounter::SamplesPerHost,
        EngineCounter::FramesPerHost,
        EngineCounter::StepSkipped,
    ] {
        assert_eq!(out.counts.get(event), 0, "{event:?}");
    }
    assert!(out.counts.get(EngineCounter::Duplicate) > 0, "some bodies repeat samples");

    let mut by_host: BTreeMap<String, Rows> = BTreeMap::new();
    for row in out.rows {
        let rows = by_host.entry(row.host.name.to_string()).or_default();
        rows.times_ms.push(row.t_ms);
        rows.values.push(row.values);
    }
    let rows: Vec<Rows> = HOSTS.iter().map(|host| by_host.remove(*host).unwrap_or_default()).collect();
    for (host, rows) in HOSTS.iter().zip(&rows) {
        let is_grid = rows.times_ms.windows(2).all(|pair| pair[1] - pair[0] == case.step_ms);
        assert!(is_grid && rows.times_ms.len() >= 200, "{host}: at least 200 rows a step apart: {:?}", rows.times_ms);
    }
    rows
}
