//! The engine's promises, in simulated time.

mod bounds;
mod eligibility;
mod hosts;
mod intervals;
mod labels;
mod limits;
mod reconfigure;
mod senders;
mod targets;

use proptest::prelude::*;

use super::row::NotScored;
use super::standardise::Constants;
use super::*;
use crate::promql::FeatureSource;
use crate::series::{METRIC_NAME, STALE_NAN_BITS, Sample};

const STEP_MS: i64 = 60_000;
const LATENESS_MS: i64 = 10_000;
const T: usize = 4;
/// The last scrape of the random runs.
const END_MS: i64 = 60 * 15_000;

/// Features over a gauge `g`, a counter `c{device}` and `up`.
const FEATURES: [&str; 3] = ["g", "sum(rate(c[2m]))", "count(c)"];

fn engine_with(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let sources = FEATURES.map(|expr| FeatureSource { name: "f", expr, at: "test" });
    let plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
    let labels = LabelLimits { labels_per_series: 8, name_bytes: 64, value_bytes: 64 };
    let mut config = EngineConfig {
        plan,
        bounds: Arc::default(),
        identity: "instance".into(),
        drop: vec!["replica".into()],
        keep: vec!["job".into()],
        step_ms: STEP_MS,
        interval_ms: Some(15_000),
        max_lag_ms: i64::MAX,
        min_history_ms: 0,
        lateness_ms: LATENESS_MS,
        windows: WindowConfig {
            window_rows: T,
            scored: vec![
                ScoredFeature { feature: 0, floor: 0.0, range_rows: 0 },
                ScoredFeature { feature: 1, floor: 0.0, range_rows: 0 },
            ],
            input_clip: 5.0,
            target_clip: 20.0,
            statistics: Constants { warmup_s: 120.0, ..Constants::default() }.in_rows(STEP_MS),
            max_missing: 0.5,
        },
        shadow: None,
        limits: EngineLimits {
            hosts: 10,
            series_per_host: 10,
            frames_per_host: 20,
            samples_per_host: 1_000,
            labels,
            series_label_bytes: 1_000,
            host_idle_ms: 3_600_000,
        },
    };
    change(&mut config);
    Engine::new(config)
}

fn engine() -> Engine {
    engine_with(|_| {})
}

/// A sample of `metric` of `host`; `device` is empty for metrics without one.
#[derive(Debug, Clone, Copy)]
struct Point {
    host: &'static str,
    metric: &'static str,
    device: &'static str,
    t_ms: i64,
    value: f64,
}

fn point(metric: &'static str, device: &'static str, t_ms: i64, value: f64) -> Point {
    Point { host: "a", metric, device, t_ms, value }
}

fn batch(engine: &Engine, points: &[Point]) -> SampleBatch {
    let mut batch = SampleBatch::default();
    for p in points {
        let metric = engine.shared.config.plan.metrics.iter().position(|m| m == p.metric).unwrap();
        let labels = [(METRIC_NAME, p.metric), ("device", p.device), ("instance", p.host), ("job", "node")];
        batch.push(labels, p.host, metric as u16, &[Sample { t_ms: p.t_ms, value: p.value }]);
    }
    batch
}

fn send(engine: &mut Engine, points: &[Point], now_ms: i64, out: &mut Output) {
    let batch = batch(engine, points);
    engine.apply(Input::Samples { batch: &batch, now_ms }, out);
}

/// One scrape: gauge 5, two devices counting 1 per second.
fn scrape(t_ms: i64) -> Vec<Point> {
    let count = t_ms as f64 / 1000.0;
    vec![
        point("g", "", t_ms, 5.0),
        point("c", "x", t_ms, count),
        point("c", "y", t_ms, count),
        point("up", "", t_ms, 1.0),
    ]
}

fn run(engine: &mut Engine, from_ms: i64, to_ms: i64) -> Output {
    let mut out = Output::default();
    for t_ms in (from_ms..=to_ms).step_by(15_000) {
        send(engine, &scrape(t_ms), t_ms, &mut out);
    }
    out
}

#[test]
fn steps_close_on_the_hosts_own_grid() {
    let out = run(&mut engine(), 7_000, 7_000 + 10 * STEP_MS);
    let times: Vec<i64> = out.rows.iter().map(|row| row.t_ms).collect();
    // The step at the last scrape waits for late samples.
    assert_eq!(times, (0..10).map(|k| 7_000 + k * STEP_MS).collect::<Vec<_>>());
    let row = &out.rows[5];
    assert_eq!(row.values[0], 5.0);
    assert!((row.values[1] - 2.0).abs() < 1e-9, "{:?}", row.values);
    assert_eq!(row.values[2], 2.0);
    assert_eq!(row.host.labels.to_string(), r#"{instance="a", job="node"}"#);
}

#[test]
fn a_row_completes_a_window_once_t_rows_are_there_and_the_statistics_are_warm() {
    let out = run(&mut engine(), 0, 10 * STEP_MS);
    let with_window: Vec<bool> = out.rows.iter().map(|row| row.window.is_some()).collect();
    // The statistics are warm after two rows (three for the rate, which needs a second scrape): half of a window is there
    // from the fifth row on.
    assert_eq!(with_window[..6], [false, false, false, false, true, true]);
    let window = out.rows[6].window.as_ref().unwrap();
    assert_eq!(window.input.len(), T * 2);
    assert_eq!(window.target.len(), 2);
    assert_eq!(out.statuses.last().unwrap().not_scored, None);
    assert_eq!(out.statuses[0].not_scored, Some(NotScored::TooFewRows));
    assert!(out.statuses.iter().any(|status| status.not_scored == Some(NotScored::StatisticsWarmingUp)));
}

#[test]
fn time_on_the_callers_clock_closes_the_step_of_the_last_frame() {
    let mut engine = engine();
    let mut out = Output::default();
    send(&mut engine, &scrape(0), 1_000_000, &mut out);
    engine.apply(Input::Tick { now_ms: 1_000_000 + LATENESS_MS - 1 }, &mut out);
    assert!(out.rows.is_empty());
    engine.apply(Input::Tick { now_ms: 1_000_000 + LATENESS_MS }, &mut out);
    assert_eq!(out.rows.len(), 1);
    // Nothing more comes of time alone: rows need frames.
    engine.apply(Input::Tick { now_ms: 2_000_000 }, &mut out);
    assert_eq!(out.rows.len(), 1);
    // A sample of the closed step is late.
    send(&mut engine, &scrape(0), 2_000_000, &mut out);
    assert_eq!(out.counts.get(EngineCounter::Late), 4);
}

#[test]
fn a_long_gap_starts_over_and_a_short_one_leaves_missing_rows() {
    let mut engine = engine();
    run(&mut engine, 0, 5 * STEP_MS);
    let short = run(&mut engine, 7 * STEP_MS, 9 * STEP_MS);
    assert_eq!(short.rows.first().unwrap().t_ms, 5 * STEP_MS);
    assert_eq!(short.counts.get(EngineCounter::StepSkipped), 0);
    let long = run(&mut engine, 60 * STEP_MS + 1, 62 * STEP_MS + 1);
    // The step of the last frame before the gap is closed, then the first one after the gap; the grid stays.
    let times: Vec<i64> = long.rows.iter().map(|row| row.t_ms).collect();
    assert_eq!(times, [9 * STEP_MS, 61 * STEP_MS]);
    assert_eq!(long.statuses.last().unwrap().window_rows, 1);
    // Ten rows before the gap, one after it: the gap alone is not counted.
    assert_eq!(long.statuses.last().unwrap().history_ms, 10 * STEP_MS);
}

#[test]
fn a_failed_scrape_is_down_and_missing_never_zero() {
    let mut engine = engine();
    run(&mut engine, 0, 5 * STEP_MS);
    let stale = f64::from_bits(STALE_NAN_BITS);
    let mut out = Output::default();
    for t_ms in (5 * STEP_MS + 15_000..=8 * STEP_MS).step_by(15_000) {
        let failed: Vec<Point> =
            scrape(t_ms).iter().map(|p| Point { value: if p.metric == "up" { 0.0 } else { stale }, ..*p }).collect();
        send(&mut engine, &failed, t_ms, &mut out);
    }
    assert_eq!(out.statuses.last().unwrap().up, Some(false));
    let last = out.rows.last().unwrap();
    assert!(last.values.iter().all(|v| v.is_nan()), "{:?}", last.values);
    assert!(last.window.is_none());
    let missing = |status: &HostStatus| status.missing.iter().map(|missing| missing.feature).collect::<Vec<_>>();
    assert_eq!(missing(out.statuses.last().unwrap()), [0, 1, 2]);
}

#[test]
fn a_series_is_the_same_under_any_spelling() {
    let mut engine = engine();
    let mut out = Output::default();
    for (t_ms, labels) in [
        (0, [(METRIC_NAME, "c"), ("instance", "a"), ("job", "node"), ("device", "")]),
        (15_000, [("device", ""), ("job", "node"), ("instance", "a"), (METRIC_NAME, "c")]),
        (30_000, [(METRIC_NAME, "c"), ("instance", "a"), ("job", "node"), ("note", "")]),
        (90_000, [(METRIC_NAME, "c"), ("job", "node"), ("replica", ""), ("instance", "a")]),
    ] {
        let mut batch = SampleBatch::default();
        batch.push(labels, "a", 2, &[Sample { t_ms, value: t_ms as f64 }]);
        engine.apply(Input::Samples { batch: &batch, now_ms: t_ms }, &mut out);
    }
    assert_eq!(out.rows.last().unwrap().values[2], 1.0, "one series, not several");
    assert!(out.rows.last().unwrap().values[1] > 0.0);
}

#[test]
fn limits_are_counted_and_the_rest_goes_on() {
    let mut engine = engine_with(|config| {
        config.limits.hosts = 1;
        config.limits.series_per_host = 3;
        config.limits.frames_per_host = 2;
    });
    let mut out = Output::default();
    send(&mut engine, &scrape(0), 0, &mut out);
    assert_eq!(out.counts.get(EngineCounter::SeriesPerHost), 1);
    send(&mut engine, &[Point { host: "b", ..point("g", "", 0, 1.0) }], 0, &mut out);
    assert_eq!(out.counts.get(EngineCounter::Hosts), 1);
    let many: Vec<Point> = (1..6).map(|t_ms| point("g", "", t_ms, 1.0)).collect();
    send(&mut engine, &many, 0, &mut out);
    assert_eq!(out.counts.get(EngineCounter::FramesPerHost), 4);
    send(&mut engine, &scrape(STEP_MS), STEP_MS, &mut out);
    send(&mut engine, &scrape(2 * STEP_MS), 2 * STEP_MS, &mut out);
    assert_eq!(out.rows.len(), 2);
    assert_eq!(engine.n_hosts(), 1);
}

#[test]
fn what_reads_more_samples_than_a_host_may_keep_is_missing_and_not_wrong() {
    let sources = ["sum_over_time(g[10m])", "sum(rate(c[2m]))", "g offset 5m"];
    let mut engine = engine_with(|config| {
        let sources = sources.map(|expr| FeatureSource { name: "f", expr, at: "test" });
        config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
        config.windows.scored = Vec::new();
        config.limits.samples_per_host = 30;
    });
    let out = run(&mut engine, 0, 40 * STEP_MS);
    assert!(out.counts.get(EngineCounter::SamplesPerHost) > 0);
    for row in &out.rows {
        let n_samples = (row.t_ms / 15_000 + 1).min(40) as f64;
        let [sum, rate, delayed] = row.values[..] else { panic!() };
        assert!(sum.is_nan() || sum == 5.0 * n_samples, "{} at {}", sum, row.t_ms);
        assert!(delayed.is_nan() || delayed == 5.0, "{} at {}", delayed, row.t_ms);
        assert!(row.t_ms < 120_000 || (rate - 2.0).abs() < 1e-9, "{} at {}", rate, row.t_ms);
    }
    // Ten minutes hold 40 samples of `g`, five minutes of delay 20 more.
    assert!(out.rows.last().unwrap().values[0].is_nan());
}

#[test]
fn a_series_with_many_samples_keeps_its_place_while_frames_are_applied() {
    let mut engine = engine();
    let mut out = Output::default();
    send(&mut engine, &[point("c", "x", 0, 1.0), point("g", "", 0, 5.0)], 0, &mut out);
    let samples: Vec<Sample> = (1..600).map(|k| Sample { t_ms: k * 15_000, value: 5.0 }).collect();
    let mut batch = SampleBatch::default();
    let metric = engine.shared.config.plan.metrics.iter().position(|m| m == "g").unwrap() as u16;
    batch.push([(METRIC_NAME, "g"), ("instance", "a"), ("job", "node")], "a", metric, &samples);
    engine.apply(Input::Samples { batch: &batch, now_ms: 600 * 15_000 }, &mut out);
    assert!(out.rows.len() > 100);
    assert!(out.rows.iter().all(|row| row.values[0] == 5.0));
    // The counter had one sample, and is seen for the lookback of 5 minutes.
    assert_eq!(out.rows.iter().filter(|row| row.values[2] == 1.0).count(), 5);
}

#[test]
fn a_sample_from_the_future_waits_for_its_time() {
    let mut engine = engine();
    let mut out = run(&mut engine, 0, 2 * STEP_MS);
    let future_ms = 20 * STEP_MS;
    send(&mut engine, &[point("g", "", future_ms, 9.0)], 2 * STEP_MS, &mut out);
    engine.apply(Input::Tick { now_ms: 2 * STEP_MS + 12_000 }, &mut out);
    out.clear();
    let after = run(&mut engine, 2 * STEP_MS + 15_000, 6 * STEP_MS);
    assert_eq!(after.counts.get(EngineCounter::Late), 0);
    assert_eq!(after.rows.last().unwrap().values[0], 5.0);
}

#[test]
fn what_nothing_selects_takes_no_memory() {
    let mut engine = engine_with(|config| config.limits.series_per_host = 5);
    let mut out = run(&mut engine, 0, STEP_MS);
    let bytes = engine.shared.sets.bytes();
    for k in 0..10_000 {
        let device = format!("d{k}");
        for t_ms in [STEP_MS, 0] {
            let mut batch = SampleBatch::default();
            let labels = [(METRIC_NAME, "other"), ("device", &device), ("instance", "a")];
            batch.push(labels, "a", u16::MAX, &[Sample { t_ms, value: 1.0 }]);
            engine.apply(Input::Samples { batch: &batch, now_ms: STEP_MS }, &mut out);
        }
    }
    assert_eq!(engine.shared.sets.bytes(), bytes);
    assert!(engine.shared.ignored.len() <= 20_000);
    assert_eq!(out.counts.get(EngineCounter::SeriesPerHost), 0);
}

#[test]
fn up_alone_makes_no_host() {
    let mut engine = engine();
    let mut out = Output::default();
    send(&mut engine, &[point("up", "", 0, 1.0)], 0, &mut out);
    assert_eq!((engine.n_hosts(), out.statuses.len()), (0, 0));
    send(&mut engine, &scrape(15_000), 15_000, &mut out);
    assert_eq!(engine.n_hosts(), 1);
}

#[test]
fn an_idle_host_is_forgotten_and_may_return() {
    let mut engine = engine();
    let mut out = Output::default();
    send(&mut engine, &[Point { host: "b", ..point("g", "", 0, 1.0) }], 0, &mut out);
    run(&mut engine, 0, 4_000_000);
    engine.apply(Input::Tick { now_ms: 4_000_000 }, &mut out);
    assert_eq!(out.forgotten.iter().map(|id| id.name.as_ref()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(engine.n_hosts(), 1);
    out.clear();
    send(&mut engine, &[Point { host: "b", ..point("g", "", 4_000_000, 1.0) }], 4_000_000, &mut out);
    assert_eq!(out.statuses[0].window_rows, 0);
}

#[test]
fn series_that_vanished_make_room() {
    let mut engine = engine_with(|config| config.limits.series_per_host = 6);
    let mut out = Output::default();
    let devices = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9"];
    for (i, device) in devices.iter().enumerate() {
        for k in 0..24 {
            let t_ms = (i as i64 * 24 + k) * 15_000;
            send(&mut engine, &[point("g", "", t_ms, 5.0), point("c", device, t_ms, 1.0)], t_ms, &mut out);
        }
    }
    assert_eq!(out.counts.get(EngineCounter::SeriesPerHost), 0);
    assert!(engine.hosts[0].slots.layout.len() <= 3, "{}", engine.hosts[0].slots.layout.len());
}

fn points() -> impl Strategy<Value = Vec<Point>> {
    let value = prop_oneof![
        6 => (0..50u32).prop_map(f64::from),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::from_bits(STALE_NAN_BITS)), Just(-0.0)],
    ];
    let series = prop_oneof![Just(("g", "")), Just(("c", "x")), Just(("c", "y")), Just(("up", ""))];
    let one = (series, 0..40i64, 0..3i64, value);
    prop::collection::vec(one, 1..120).prop_map(|all| {
        let mut points: Vec<Point> = all
            .into_iter()
            .map(|((metric, device), k, jitter, value)| point(metric, device, k * 15_000 + jitter, value))
            .collect();
        points.sort_by_key(|p| p.t_ms);
        points
    })
}

/// Every row as comparable text.
fn rows(engine: &mut Engine, batches: &[Vec<Point>]) -> Vec<String> {
    let mut out = Output::default();
    // Arrival is never what closes a step here: only event time is.
    let now_ms = END_MS;
    for points in batches {
        send(engine, points, now_ms, &mut out);
    }
    send(engine, &scrape(END_MS), now_ms, &mut out);
    out.rows.iter().map(|row| format!("{} {:?} {:?}", row.t_ms, row.values, row.window)).collect()
}

proptest! {
    #[test]
    fn order_and_repetition_within_the_lateness_change_nothing(points in points(), seed in 0..u64::MAX) {
        // The grid starts at the first frame that is applied, so both runs begin with the same scrape.
        let start = scrape(-15_000);
        let mut in_order = vec![start.clone()];
        in_order.extend(points.iter().map(|p| vec![*p]));
        // So late that scrapes overtake each other.
        let lateness_ms = 40_000;
        let patient = || engine_with(|config| config.lateness_ms = lateness_ms);
        let expected = rows(&mut patient(), &in_order);

        // Send each sample once or twice, up to `lateness_ms` after its turn, in batches of up to 7.
        let mut state = seed;
        let mut next = |n: u64| { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); (state >> 33) % n };
        let mut delayed: Vec<(i64, Point)> = Vec::new();
        for p in &points {
            for _ in 0..=next(2) {
                delayed.push((p.t_ms + next(lateness_ms as u64 + 1) as i64, *p));
            }
        }
        delayed.sort_by_key(|(at_ms, _)| *at_ms);
        let mut batches = vec![start];
        let mut rest: Vec<Point> = delayed.into_iter().map(|(_, p)| p).collect();
        while !rest.is_empty() {
            let n = (1 + next(7) as usize).min(rest.len());
            batches.push(rest.drain(..n).collect());
        }
        prop_assert_eq!(rows(&mut patient(), &batches), expected);
    }

    #[test]
    fn rows_equal_the_naive_evaluation(points in points()) {
        let mut engine = engine();
        let start = scrape(-15_000);
        let mut all = start.clone();
        all.extend(&points);
        let mut out = Output::default();
        send(&mut engine, &start, END_MS, &mut out);
        for p in &points {
            send(&mut engine, &[*p], END_MS, &mut out);
        }
        send(&mut engine, &scrape(END_MS), END_MS, &mut out);
        for row in out.rows.iter().filter(|row| row.t_ms < 50 * 15_000) {
            let expected = naive_row(&all, row.t_ms);
            for (got, expected) in row.values.iter().zip(expected) {
                // Two rates may cancel out: then what is left is rounding.
                let same = got.is_nan() && expected.is_nan() || (got - expected).abs() <= 1e-9 * expected.abs() + 1e-12;
                prop_assert!(same, "at {}: {:?}, naive {:?}", row.t_ms, row.values, naive_row(&all, row.t_ms));
            }
        }
    }
}

fn naive_row(points: &[Point], t_ms: i64) -> [f64; 3] {
    use crate::promql::naive;
    use crate::promql::rollup::RangeFunction;
    let series = |metric: &str, device: &str| {
        let mut samples: Vec<Sample> = Vec::new();
        for p in points.iter().filter(|p| p.metric == metric && p.device == device) {
            match samples.last_mut() {
                Some(last) if last.t_ms == p.t_ms => {
                    let keep_new = !(crate::series::is_stale(p.value)
                        || p.value.is_nan() && !crate::series::is_stale(last.value)
                        || p.value.total_cmp(&last.value).is_lt() && !last.value.is_nan());
                    if keep_new {
                        last.value = p.value;
                    }
                }
                _ => samples.push(Sample { t_ms: p.t_ms, value: p.value }),
            }
        }
        // One scrape by two senders.
        let mut kept: Vec<Sample> = Vec::new();
        for sample in samples {
            let is_number = |sample: &Sample| !crate::series::is_stale(sample.value);
            let near = kept.last().filter(|last| is_number(last) && sample.t_ms - last.t_ms < frames::REPEAT_MS);
            if near.is_none() || !is_number(&sample) {
                kept.push(sample);
            }
        }
        kept
    };
    let finite = |v: Option<f64>| v.filter(|v| v.is_finite()).unwrap_or(f64::NAN);
    let devices = [series("c", "x"), series("c", "y")];
    let rates: Vec<f64> =
        devices.iter().filter_map(|s| naive::range_value(RangeFunction::Rate, s, t_ms, 120_000)).collect();
    let n_live = devices.iter().filter_map(|s| naive::instant_value(s, t_ms, 300_000)).count();
    [
        finite(naive::instant_value(&series("g", ""), t_ms, 300_000)),
        finite((!rates.is_empty()).then(|| rates.iter().sum())),
        finite((n_live > 0).then_some(n_live as f64)),
    ]
}

#[test]
fn a_long_range_of_one_metric_keeps_no_series_of_another() {
    let mut engine = engine_with(|config| {
        let sources = ["sum(max_over_time(g[1d]))", "sum(rate(c[2m]))"];
        let sources = sources.map(|expr| FeatureSource { name: "f", expr, at: "test" });
        config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
        config.windows.scored = Vec::new();
    });
    let mut out = Output::default();
    for (i, device) in ["d0", "d1", "d2", "d3", "d4", "d5"].into_iter().enumerate() {
        for k in 0..40 {
            let t_ms = (i as i64 * 40 + k) * 15_000;
            send(&mut engine, &[point("g", "", t_ms, 5.0), point("c", device, t_ms, 1.0)], t_ms, &mut out);
        }
    }
    assert!(engine.hosts[0].slots.layout.len() <= 3, "{}", engine.hosts[0].slots.layout.len());
}
