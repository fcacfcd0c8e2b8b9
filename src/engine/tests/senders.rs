//! Several senders of one host: replicas, of which one is heard; and senders that nobody said are replicas.

use super::*;

/// A scrape at `t_ms` with a label more, of which the counter counts from `offset`.
fn scrape_by(engine: &mut Engine, (label, value): (&str, &str), t_ms: i64, offset: f64, out: &mut Output) {
    let mut batch = SampleBatch::default();
    for metric in ["g", "c", "up"] {
        let x = if metric == "up" { 1.0 } else { t_ms as f64 / 1_000.0 + offset };
        let labels = [(METRIC_NAME, metric), ("instance", "a"), ("job", "node"), (label, value)];
        batch.push(labels, "a", 0, &[Sample { t_ms, value: x }]);
    }
    engine.apply(Input::Samples { batch: &batch, now_ms: t_ms }, out);
}

/// Returns the rows and the output of scrapes, each by its replica at its time.
fn rows_of(scrapes: &[(&str, i64)]) -> (Vec<(i64, Vec<u64>)>, Output) {
    let mut engine = engine();
    let mut out = Output::default();
    for (replica, t_ms) in scrapes {
        // The second one's counter is a little ahead: each merged pair would be a reset.
        scrape_by(&mut engine, ("replica", replica), *t_ms, if *replica == "b" { 3.0 } else { 0.0 }, &mut out);
    }
    let bits = |row: &Row| (row.t_ms, row.values.iter().map(|value| value.to_bits()).collect());
    (out.rows.iter().map(bits).collect(), out)
}

/// Scrapes each 15 s from `from_s` until before `to_s`.
fn each(replica: &'static str, from_s: i64, to_s: i64) -> impl Iterator<Item = (&'static str, i64)> {
    (from_s..to_s).step_by(15).map(move |s| (replica, s * 1_000))
}

fn merged(mut scrapes: Vec<(&'static str, i64)>) -> Vec<(&'static str, i64)> {
    scrapes.sort_by_key(|(_, t_ms)| *t_ms);
    scrapes
}

#[test]
fn two_replicas_are_as_one_alone() {
    for behind_s in [0, 1, 7, 14] {
        let alone: Vec<_> = each("a", 0, 900).collect();
        let both = merged(each("a", 0, 900).chain(each("b", behind_s, 900)).collect());
        let (rows, out) = rows_of(&both);
        assert_eq!(rows, rows_of(&alone).0, "{behind_s} s behind");
        assert_eq!(out.counts.get(EngineCounter::Replica), 3 * each("b", behind_s, 900).count() as u64);
        let senders = out.statuses.last().unwrap().senders.clone().unwrap();
        let shown: Vec<_> = senders.iter().map(|sender| (sender.labels.as_ref(), sender.is_heard)).collect();
        assert_eq!(shown, [("replica=\"a\"", true), ("replica=\"b\"", false)]);
    }
}

#[test]
fn another_replica_takes_over_and_no_row_is_lost() {
    let both = merged(each("a", 0, 600).chain(each("b", 7, 1_200)).chain(each("a", 900, 1_200)).collect());
    let (rows, out) = rows_of(&both);
    assert_eq!(out.counts.get(EngineCounter::SenderChange), 1);
    let times: Vec<i64> = rows.iter().map(|(t_ms, _)| *t_ms).collect();
    assert_eq!(times, (0..20).map(|k| k * STEP_MS).collect::<Vec<_>>());
    for row in &out.rows[1..] {
        // One counts the same seconds as the other.
        assert!(row.values.iter().all(|value| !value.is_nan()), "{row:?}");
        assert!(row.values[1] < 1.1, "no reset: {row:?}");
    }
}

#[test]
fn a_label_of_a_series_is_no_label_of_a_sender() {
    let mut engine = engine();
    let mut out = Output::default();
    for t_ms in (0..600_000).step_by(15_000) {
        let mut batch = SampleBatch::default();
        for (metric, replica) in [("up", ""), ("g", ""), ("c", "0"), ("c", "1")] {
            let labels = [(METRIC_NAME, metric), ("instance", "a"), ("job", "node"), ("replica", replica)];
            batch.push(labels, "a", 0, &[Sample { t_ms, value: t_ms as f64 }]);
        }
        engine.apply(Input::Samples { batch: &batch, now_ms: t_ms }, &mut out);
    }
    let last = out.rows.last().unwrap();
    assert_eq!((last.values[2], out.counts.get(EngineCounter::Replica)), (2.0, 0), "both are counted");
}

#[test]
fn senders_that_differ_in_an_unknown_label_are_named() {
    let mut engine = engine();
    let mut out = Output::default();
    for t_ms in (0..600_000).step_by(15_000) {
        scrape_by(&mut engine, ("prom", "one"), t_ms, 0.0, &mut out);
        scrape_by(&mut engine, ("prom", "two"), t_ms + 7_000, 0.0, &mut out);
    }
    assert_eq!(out.statuses.last().unwrap().twin_labels.as_deref(), Some("prom"));
    // So often that what was applied is older than two scrapes.
    let (mut engine, mut out) = (super::engine(), Output::default());
    for t_ms in (0..600_000).step_by(5_000) {
        scrape_by(&mut engine, ("prom", "one"), t_ms, 0.0, &mut out);
        scrape_by(&mut engine, ("prom", "two"), t_ms + 2_000, 0.0, &mut out);
    }
    assert_eq!(out.statuses.last().unwrap().twin_labels.as_deref(), Some("prom"));
    assert!(out.feature_errors.iter().all(|(_, error)| *error != EvalError::ManyValues), "{:?}", out.feature_errors);
    // A label that changed is no second sender.
    let mut engine = super::engine();
    for t_ms in (0..600_000).step_by(15_000) {
        scrape_by(&mut engine, ("team", if t_ms < 300_000 { "old" } else { "new" }), t_ms, 0.0, &mut out);
    }
    assert_eq!(out.statuses.last().unwrap().twin_labels, None);
}

/// As a kubelet has, or a blackbox exporter with several modules.
#[test]
fn two_paths_of_one_target_are_no_two_senders() {
    let (mut engine, mut out) = (engine(), Output::default());
    for t_ms in (0..600_000).step_by(15_000) {
        let mut batch = SampleBatch::default();
        for (metric, path) in [("up", "/metrics"), ("g", "/metrics"), ("up", "/probes"), ("c", "/probes")] {
            let labels = [(METRIC_NAME, metric), ("instance", "a"), ("job", "node"), ("metrics_path", path)];
            batch.push(labels, "a", 0, &[Sample { t_ms, value: t_ms as f64 }]);
        }
        engine.apply(Input::Samples { batch: &batch, now_ms: t_ms }, &mut out);
    }
    assert_eq!(out.statuses.last().unwrap().twin_labels, None);
}

#[test]
fn senders_are_told_apart_without_up_where_many_metrics_come_twice() {
    let sources: Vec<String> = (0..9).map(|i| format!("m{i}")).collect();
    let sources: Vec<_> = sources.iter().map(|expr| FeatureSource { name: "f", expr, at: "test" }).collect();
    let twins = |n_metrics: usize| {
        let mut engine = engine_with(|config| {
            config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
            config.windows.scored = Vec::new();
            config.limits.series_per_host = 100;
        });
        let mut out = Output::default();
        for t_ms in (0..600_000).step_by(15_000) {
            let mut batch = SampleBatch::default();
            for (i, prom) in (0..n_metrics).flat_map(|i| [(i, "one"), (i, "two")]) {
                let metric = format!("m{i}");
                let labels = [(METRIC_NAME, metric.as_str()), ("instance", "a"), ("prom", prom)];
                batch.push(labels, "a", 0, &[Sample { t_ms, value: t_ms as f64 }]);
            }
            engine.apply(Input::Samples { batch: &batch, now_ms: t_ms }, &mut out);
        }
        out.statuses.last().unwrap().twin_labels.clone()
    };
    assert_eq!(twins(9).as_deref(), Some("prom"));
    // As `cpu` of node_cpu_seconds_total and a few others.
    assert_eq!(twins(3), None);
}
