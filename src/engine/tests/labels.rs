//! Which series a sample belongs to, whatever labels a host's series share, lack or gain.

use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn engine_of(features: &[&str]) -> Engine {
    let sources: Vec<FeatureSource<'_>> =
        features.iter().map(|expr| FeatureSource { name: "f", expr, at: "test" }).collect();
    let plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
    engine_with(|config| {
        config.plan = plan;
        config.windows.scored = Vec::new();
        config.limits.series_per_host = 100;
    })
}

/// Sends series of host `a`, each with one sample at `t_ms`, as one body.
fn scrape_of(engine: &mut Engine, t_ms: i64, series: &[(Pairs<'_>, f64)], out: &mut Output) {
    let mut batch = SampleBatch::default();
    for (labels, value) in series {
        let of = |wanted: &str| labels.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| *value);
        let metric = engine.shared.config.plan.metrics.iter().position(|m| m == of(METRIC_NAME));
        let metric = metric.map_or(u16::MAX, |metric| metric as u16);
        batch.push(labels.iter().copied(), of("instance"), metric, &[Sample { t_ms, value: *value }]);
    }
    engine.apply(Input::Samples { batch: &batch, now_ms: t_ms }, out);
}

/// The rows of host `a` after `scrapes` a step apart, and one more that closes the last of them.
fn rows_of(features: &[&str], scrapes: &[&[(Pairs<'_>, f64)]]) -> Vec<Vec<f64>> {
    let mut engine = engine_of(features);
    let mut out = Output::default();
    for (k, series) in (0..).zip(scrapes) {
        scrape_of(&mut engine, k * STEP_MS, series, &mut out);
    }
    engine.apply(Input::Tick { now_ms: scrapes.len() as i64 * STEP_MS }, &mut out);
    out.rows.iter().filter(|row| row.host.name.as_ref() == "a").map(|row| row.values.to_vec()).collect()
}

const G: (&str, &str) = (METRIC_NAME, "g");
const A: (&str, &str) = ("instance", "a");
const NODE: (&str, &str) = ("job", "node");

#[test]
fn a_series_without_a_shared_label_is_another_one_after_an_ignored_one_that_lacks_it_too() {
    let ignored: Pairs<'_> = &[(METRIC_NAME, "h"), A, ("job", "other")];
    let rows = rows_of(
        &["count(g)", "sum(g)", "h{job='node'}"],
        &[&[(&[G, A, NODE], 1.0), (ignored, 9.0)], &[(&[G, A, NODE], 1.0), (&[G, A], 2.0)]],
    );
    assert_eq!(rows[1][..2], [2.0, 3.0]);
}

#[test]
fn a_series_is_not_ignored_because_another_one_lacks_the_label_that_selects_it() {
    let h: (&str, &str) = (METRIC_NAME, "h");
    let rows = rows_of(
        &["g", "h{job='node'}"],
        &[&[(&[G, A, NODE], 1.0), (&[h, A], 9.0)], &[(&[G, A, NODE], 1.0), (&[h, A], 9.0), (&[h, A, NODE], 2.0)]],
    );
    assert_eq!(rows[1], [1.0, 2.0]);
}

#[test]
fn a_series_that_one_host_ignores_is_another_hosts_own() {
    let h: (&str, &str) = (METRIC_NAME, "h");
    let b: (&str, &str) = ("instance", "b");
    let rows = rows_of(
        &["g", "h{job='node'}"],
        &[
            &[(&[G, b, NODE], 1.0), (&[h, b], 9.0)],
            &[(&[G, A, NODE], 1.0)],
            &[(&[G, A, NODE], 1.0), (&[h, A, NODE], 2.0)],
        ],
    );
    assert_eq!(rows[1], [1.0, 2.0]);
}

#[test]
fn more_spellings_than_are_remembered_lose_no_sample() {
    let values: Vec<String> = (0..20).map(|k| k.to_string()).collect();
    let names: Vec<String> = (0..20).map(|k| format!("empty{k}")).collect();
    let series: Vec<Vec<(&str, &str)>> =
        values.iter().zip(&names).map(|(value, name)| vec![G, A, NODE, ("device", value), (name, "")]).collect();
    let scrape: Vec<(Pairs<'_>, f64)> = series.iter().map(|labels| (labels.as_slice(), 1.0)).collect();
    let rows = rows_of(&["count(g)"], &[&scrape, &scrape]);
    assert_eq!(rows, [[20.0], [20.0]]);
}

#[test]
fn hosts_of_two_kinds_by_turns_share_two_layouts() {
    let mut engine = engine_of(&["g"]);
    engine.shared.config.limits.hosts = 100;
    let mut out = Output::default();
    for k in 0..20 {
        let name = format!("host{k}");
        let dc = if k % 2 == 0 { ("dc", "x") } else { ("zone", "x") };
        scrape_of(&mut engine, 0, &[(&[G, ("instance", &name), NODE, dc], 1.0)], &mut out);
    }
    let layout = |host: usize| Arc::as_ptr(&engine.hosts[host].slots.layout);
    assert_ne!(layout(0), layout(1));
    assert!((0..20).all(|host| layout(host) == layout(host % 2)));
}

#[test]
fn a_first_body_of_one_series_shares_all_its_labels_until_others_come() {
    let (x, y) = (("device", "x"), ("device", "y"));
    let rows = rows_of(
        &["sum(g)", "count(g)", "max(g{device='x'})", "count by (job) (g)"],
        &[
            &[(&[G, A, NODE, x], 1.0)],
            &[(&[G, A, NODE, x], 1.0), (&[G, A, NODE, y], 2.0)],
            &[(&[G, A, NODE], 4.0), (&[G, A, NODE, y], 2.0), (&[G, A, NODE, x], 1.0)],
            &[(&[G, A, NODE, x], 8.0), (&[G, A], 16.0), (&[("site", "s"), G, A, NODE, y], 32.0)],
        ],
    );
    assert_eq!(rows[0], [1.0; 4]);
    assert_eq!(rows[1], [3.0, 2.0, 1.0, 2.0]);
    assert_eq!(rows[2], [7.0, 3.0, 1.0, 3.0]);
    // g{y} and g{} of the step before are within the lookback.
    assert_eq!(rows[3][..3], [8.0 + 16.0 + 32.0 + 2.0 + 4.0, 5.0, 8.0]);
    assert!(rows[3][3].is_nan(), "two values");
}

#[test]
fn any_time_is_borne() {
    for step_ms in [1, 7, 60_000, 86_400_000] {
        for times in [
            [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1, i64::MAX],
            [i64::MAX, 0, i64::MIN, 5, i64::MAX],
            [-90_000, -60_000, -30_001, -1, 0],
            [i64::MIN + 1, i64::MAX, 0, 1, 2],
        ] {
            let features = [
                "g offset 1h",
                "rate(c[37s])",
                "rate(c[24d])",
                "avg_over_time(g[5m] offset 30s)",
                "deriv(g[1d])",
                "hour()",
            ];
            let sources = features.map(|expr| FeatureSource { name: "f", expr, at: "test" });
            let plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
            let mut engine = engine_with(|config| (config.plan, config.step_ms) = (plan, step_ms));
            let mut out = Output::default();
            for t_ms in times {
                for now_ms in [t_ms, 0, i64::MAX, i64::MIN] {
                    send(&mut engine, &[point("g", "", t_ms, 1.0), point("c", "x", t_ms, 1.0)], now_ms, &mut out);
                    engine.apply(Input::Tick { now_ms }, &mut out);
                }
            }
        }
    }
}
