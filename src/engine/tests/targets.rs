//! Hosts of several targets whose series come, go and differ in their labels, against the naive evaluation.

use std::collections::BTreeMap;

use super::*;
use crate::promql::naive::{instant_value, range_value, same};
use crate::promql::rollup::RangeFunction;

const SCRAPE_MS: i64 = 15_000;
const LOOKBACK_MS: i64 = 300_000;

/// Labels that tell a series apart; an empty label is one that it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    metric: &'static str,
    job: &'static str,
    device: &'static str,
}

/// A stretch of scrapes in which a series is there.
#[derive(Debug, Clone, Copy)]
struct Life {
    name: Name,
    from: i64,
    len: i64,
    /// Whether a stale marker ends it.
    is_marked: bool,
    /// Makes its values differ from others'.
    seed: i64,
}

/// Every sample of the host, by series and time.
type Model = BTreeMap<Name, Vec<Sample>>;

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let name = (
        prop::sample::select(&["g", "c", "h"][..]),
        prop::sample::select(&["node", "other", ""][..]),
        prop::sample::select(&["x", "y", ""][..]),
    );
    let life = (name, 0..150i64, prop_oneof![1..4i64, 1..60i64], any::<bool>(), 0..100i64);
    let life = life.prop_map(|((metric, job, device), from, len, is_marked, seed)| Life {
        name: Name { metric, job, device },
        from,
        len,
        is_marked,
        seed,
    });
    prop::collection::vec(life, 1..14)
}

/// Targets are scraped at moments of their own; steps fall on those of `node`.
fn scraped_ms(job: &str, k: i64) -> i64 {
    k * SCRAPE_MS + if job == "other" { 5_000 } else { 0 }
}

/// The series that starts the grid, and of which there may be a sample with each scrape.
const HEARTBEAT: Name = Name { metric: "g", job: "node", device: "" };

fn model(lives: &[Life], has_heartbeat: bool) -> Model {
    let mut model = BTreeMap::<Name, BTreeMap<i64, f64>>::new();
    let n = if has_heartbeat { 230 } else { 1 };
    model.insert(HEARTBEAT, (0..n).map(|k| ((k - 1) * SCRAPE_MS, k as f64)).collect());
    for life in lives {
        let samples = model.entry(life.name).or_default();
        for k in life.from..life.from + life.len {
            // A counter that is reset now and then; a gauge has gaps in its values too.
            let is_nan = life.name.metric == "g" && (k + life.seed) % 19 == 0;
            let value = if is_nan { f64::NAN } else { (k * (3 + life.seed) % 97) as f64 + life.seed as f64 / 8.0 };
            samples.entry(scraped_ms(life.name.job, k)).or_insert(value);
        }
        if life.is_marked {
            let end_ms = scraped_ms(life.name.job, life.from + life.len);
            samples.entry(end_ms).or_insert(f64::from_bits(STALE_NAN_BITS));
        }
    }
    let samples = |all: BTreeMap<i64, f64>| all.into_iter().map(|(t_ms, value)| Sample { t_ms, value }).collect();
    model.into_iter().map(|(name, all)| (name, samples(all))).collect()
}

type Select = fn(&Name) -> bool;
type Expected = fn(&Model, i64) -> Option<f64>;

fn instants(model: &Model, t_ms: i64, select: Select) -> Vec<(Name, f64)> {
    let selected = model.iter().filter(|(name, _)| select(name));
    selected.filter_map(|(name, samples)| Some((*name, instant_value(samples, t_ms, LOOKBACK_MS)?))).collect()
}

fn sum(values: &[(Name, f64)]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().map(|(_, value)| value).sum())
}

fn count(n: usize) -> Option<f64> {
    (n > 0).then_some(n as f64)
}

fn sum_of(function: RangeFunction, range_ms: i64, model: &Model, t_ms: i64, metric: &str) -> Option<f64> {
    let of_metric = model.iter().filter(|(name, _)| name.metric == metric);
    let values = of_metric.filter_map(|(name, s)| Some((*name, range_value(function, s, t_ms, range_ms)?)));
    sum(&values.collect::<Vec<_>>())
}

fn n_different(values: &[(Name, f64)], label: fn(&Name) -> &'static str) -> Option<f64> {
    count(values.iter().map(|(name, _)| label(name)).collect::<HashSet<_>>().len())
}

/// Features of every kind of state, with what they must be.
const CASES: [(&str, Expected); 18] = [
    ("sum(g)", |m, t| sum(&instants(m, t, |s| s.metric == "g"))),
    ("count(c)", |m, t| count(instants(m, t, |s| s.metric == "c").len())),
    ("sum(h{job='node'})", |m, t| sum(&instants(m, t, |s| s.metric == "h" && s.job == "node"))),
    ("count(h{job=~'node|',device!='x'})", |m, t| {
        count(instants(m, t, |s| s.metric == "h" && s.job != "other" && s.device != "x").len())
    }),
    ("count(group by (job) (c))", |m, t| n_different(&instants(m, t, |s| s.metric == "c"), |s| s.job)),
    ("count(group without (job) (g))", |m, t| n_different(&instants(m, t, |s| s.metric == "g"), |s| s.device)),
    ("count(g and on (job, device) c)", |m, t| {
        let c: Vec<Name> = instants(m, t, |s| s.metric == "c").into_iter().map(|(name, _)| name).collect();
        let g = instants(m, t, |s| s.metric == "g");
        count(g.iter().filter(|(g, _)| c.contains(&Name { metric: "c", ..*g })).count())
    }),
    ("sum(rate(c[37s]))", |m, t| sum_of(RangeFunction::Rate, 37_000, m, t, "c")),
    ("sum(increase(c[2m30s]))", |m, t| sum_of(RangeFunction::Increase, 150_000, m, t, "c")),
    ("sum(rate(c[5m]))", |m, t| sum_of(RangeFunction::Rate, 300_000, m, t, "c")),
    ("sum(delta(g[2m]))", |m, t| sum_of(RangeFunction::Delta, 120_000, m, t, "g")),
    ("sum(rate(c[11m]))", |m, t| sum_of(RangeFunction::Rate, 660_000, m, t, "c")),
    ("sum(max_over_time(c[3m]))", |m, t| sum_of(RangeFunction::Max, 180_000, m, t, "c")),
    ("sum(count_over_time(g[97s]))", |m, t| sum_of(RangeFunction::Count, 97_000, m, t, "g")),
    ("sum(changes(c[4m]))", |m, t| sum_of(RangeFunction::Changes, 240_000, m, t, "c")),
    ("sum(g offset 2m)", |m, t| sum(&instants(m, t - 120_000, |s| s.metric == "g"))),
    ("sum(rate(c[2m] offset 90s))", |m, t| sum_of(RangeFunction::Rate, 120_000, m, t - 90_000, "c")),
    ("sum(sum_over_time(c[2m] offset 7s))", |m, t| sum_of(RangeFunction::Sum, 120_000, m, t - 7_000, "c")),
];

/// The bodies that two replicas make of the model, of which the first speaks for the host: spellings, order and cuts as `seed` says, nothing later than the
/// lateness.
fn bodies(host: &str, model: &Model, metrics: &[String], has_heartbeat: bool, seed: u64) -> Vec<SampleBatch> {
    let mut state = seed;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % n
    };
    let mut scrapes: BTreeMap<i64, Vec<(Name, Sample)>> = BTreeMap::new();
    for (name, samples) in model {
        for sample in samples {
            scrapes.entry(sample.t_ms.div_euclid(SCRAPE_MS)).or_default().push((*name, *sample));
        }
    }
    let mut bodies: BTreeMap<(i64, u64), SampleBatch> = BTreeMap::new();
    for (k, mut samples) in scrapes {
        // The first scrape is one sample, which starts the grid.
        let is_first = k < 0;
        let n = samples.len();
        samples.rotate_left(next(n as u64) as usize);
        for (name, sample) in samples {
            // The second half of a scrape may come with or after the next one.
            let body = if is_first { (k, 0) } else { [(k, 0), (k, 0), (k, 1), (k + 1, 2)][next(4) as usize] };
            // The second replica comes where the job has no gaps: after one it may speak for it.
            let n_ways = if has_heartbeat && name.job == HEARTBEAT.job { 3 } else { 1 };
            for replica in [["1"].as_slice(), &["1", "2"], &["1", "2", "1"]][next(n_ways) as usize] {
                let all = [
                    (METRIC_NAME, name.metric),
                    ("instance", host),
                    ("job", name.job),
                    ("device", name.device),
                    ("replica", replica),
                    ("note", ""),
                ];
                let mut labels: Vec<_> =
                    all.into_iter().filter(|(_, value)| !value.is_empty() || next(4) == 0).collect();
                let n = labels.len() as u64;
                labels.rotate_left(if next(3) == 0 { next(n) as usize } else { 0 });
                let metric = metrics.iter().position(|m| m == name.metric).unwrap() as u16;
                bodies.entry(body).or_default().push(labels, host, metric, &[sample]);
            }
        }
    }
    bodies.into_values().collect()
}

/// Two hosts of one engine, whose bodies come by turns.
fn check(lives: [&[Life]; 2], has_heartbeat: bool, seed: u64) {
    let sources = CASES.map(|(expr, _)| FeatureSource { name: "f", expr, at: "test" });
    let plan = Arc::new(Plan::compile(&sources, LOOKBACK_MS).unwrap());
    let mut engine = engine_with(|config| {
        config.plan = Arc::clone(&plan);
        config.windows.scored = Vec::new();
        config.lateness_ms = 40_000;
        config.limits.series_per_host = 50;
        config.limits.samples_per_host = 100_000;
        config.limits.frames_per_host = 100;
    });
    let models = lives.map(|lives| model(lives, has_heartbeat));
    let mut out = Output::default();
    // Arrival is never what closes a step here: only event time is.
    let now_ms = 1_000 * SCRAPE_MS;
    let [a, b] =
        [("a", &models[0]), ("b", &models[1])].map(|(host, m)| bodies(host, m, &plan.metrics, has_heartbeat, seed));
    for k in 0..a.len().max(b.len()) {
        for batch in [a.get(k), b.get(k)].into_iter().flatten() {
            engine.apply(Input::Samples { batch, now_ms }, &mut out);
        }
        for host in &engine.hosts {
            assert_eq!(host.slots.n_samples(), host.slots.counted_samples());
        }
        if k as u64 % 16 == seed % 16 {
            // As if there were too many of both.
            engine.label_bytes_max = 0;
            engine.shared.ignored.clear();
        }
    }
    engine.apply(Input::Tick { now_ms: now_ms + 60_000 }, &mut out);
    assert_eq!((out.counts.get(EngineCounter::Late), out.counts.get(EngineCounter::SeriesPerHost)), (0, 0));
    assert_eq!(out.feature_errors, []);
    for (host, model) in ["a", "b"].into_iter().zip(&models) {
        let rows: Vec<&Row> = out.rows.iter().filter(|row| row.host.name.as_ref() == host).collect();
        assert!(!rows.is_empty());
        for row in rows {
            check_row(row, model);
        }
    }
}

fn check_row(row: &Row, model: &Model) {
    for ((expr, expected), value) in CASES.iter().zip(&row.values) {
        let expected = expected(model, row.t_ms).filter(|v| v.is_finite());
        let value = Some(*value).filter(|v| !v.is_nan());
        // Sums of values that cancel out are 0 but for rounding.
        let is_zero = |v: Option<f64>| v.is_some_and(|v| v.abs() < 1e-9);
        let same = same(value, expected) || is_zero(value) && is_zero(expected);
        assert!(same, "{expr} at {}: {value:?} instead of {expected:?}", row.t_ms);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_of_many_targets_equal_the_naive_evaluation(
        a in lives(),
        b in lives(),
        has_heartbeat in any::<bool>(),
        seed in any::<u64>(),
    ) {
        check([&a, &b], has_heartbeat, seed);
    }
}
