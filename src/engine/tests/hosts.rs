//! Identity of a host, and whether it is down: by the series that scored features read, in whatever order they came.

use super::*;
use crate::config::silence::{Silence, When};
use crate::engine::row::AlertEligibility;
use crate::promql::host_selector;

const STALE: f64 = f64::from_bits(STALE_NAN_BITS);

/// A series of host `a` with its value: its metric, its job, its team and its device.
type One = (&'static str, &'static str, &'static str, &'static str, f64);

/// `sum(g)` is scored, `sum(h)` is not.
fn engine() -> Engine {
    let sources = ["sum(g)", "sum(h)"].map(|expr| FeatureSource { name: "f", expr, at: "test" });
    let plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
    engine_with(|config| {
        config.plan = plan;
        config.keep = vec!["job".into(), "team".into()];
        config.windows.scored = vec![ScoredFeature { feature: 0, floor: 0.0, range_rows: 0 }];
    })
}

/// Sends a scrape, its series in `n_bodies` bodies.
fn send_all(engine: &mut Engine, t_ms: i64, series: &[One], n_bodies: usize, out: &mut Output) {
    for series in series.chunks(series.len().div_ceil(n_bodies).max(1)) {
        let mut batch = SampleBatch::default();
        for (metric, job, team, device, value) in series {
            let labels = [(METRIC_NAME, metric), ("instance", &"a"), ("job", job), ("team", team), ("device", device)];
            let labels = labels.into_iter().map(|(name, value)| (name, *value)).filter(|(_, value)| !value.is_empty());
            batch.push(labels, "a", 0, &[Sample { t_ms, value: *value }]);
        }
        engine.apply(Input::Samples { batch: &batch, now_ms: t_ms }, out);
    }
}

/// Labels and `up` after scrapes each 15 s, each of so many, and of the first status.
fn after(scrapes: &[(i64, &[One])], n_bodies: usize) -> (String, Option<bool>, String) {
    let (mut engine, mut out) = (engine(), Output::default());
    let mut t_ms = 0;
    for (n, series) in scrapes {
        for _ in 0..*n {
            send_all(&mut engine, t_ms, series, n_bodies, &mut out);
            t_ms += 15_000;
        }
    }
    engine.apply(Input::Tick { now_ms: t_ms + LATENESS_MS }, &mut out);
    let last = out.statuses.last().unwrap();
    let n_alike = out.rows.iter().filter(|row| Arc::ptr_eq(&row.host, &last.host)).count();
    assert!(n_alike > 0, "the newest row has the labels of the newest status");
    (last.host.labels.to_string(), last.up, out.statuses[0].host.labels.to_string())
}

#[track_caller]
fn check_labels(series: &[One], expected: &str) {
    let reversed: Vec<One> = series.iter().rev().copied().collect();
    for series in [series, &reversed] {
        for n_bodies in [1, 2, series.len()] {
            let (labels, _, first) = after(&[(9, series)], n_bodies);
            assert_eq!(labels, format!("{{instance=\"a\", {expected}}}"), "{series:?} in {n_bodies} bodies");
            assert!(n_bodies > 1 || first == labels, "from the first on: {first}");
        }
    }
}

#[test]
fn labels_do_not_depend_on_the_order_of_series() {
    let g = |job, device| ("g", job, "", device, 1.0);
    let h = |job, device| ("h", job, "", device, 1.0);
    check_labels(&[g("node", ""), h("app", "x"), h("app", "y")], r#"job="node""#);
    check_labels(&[h("app", "x"), h("app", "y"), h("web", "x")], r#"job="app""#);
    // Both are scored: that of more series, then the smallest.
    check_labels(&[g("node", ""), g("other", "x"), g("other", "y")], r#"job="other""#);
    check_labels(&[g("two", ""), g("one", "")], r#"job="one""#);
    // `up` and what nothing reads say nothing.
    check_labels(&[("up", "a", "t", "", 1.0), ("up", "b", "t", "", 1.0), g("node", "")], r#"job="node""#);
    // Each label by itself.
    let teams = [("g", "node", "x", "", 1.0), ("g", "other", "x", "", 1.0), ("g", "other", "y", "d", 1.0)];
    check_labels(&teams, r#"job="other", team="x""#);
}

#[test]
fn labels_are_those_of_the_series_that_live() {
    let g = |team| ("g", "node", team, "", 1.0);
    let (old, new) = ([g("x"), ("up", "node", "x", "", 1.0)], [g("y"), ("up", "node", "y", "", 1.0)]);
    let ended = [g("y"), ("g", "node", "x", "", STALE), ("up", "node", "x", "", STALE)];
    let team = |scrapes: &[(i64, &[One])]| after(scrapes, 1).0;
    let (x, y) = (r#"{instance="a", job="node", team="x"}"#, r#"{instance="a", job="node", team="y"}"#);
    assert_eq!(team(&[(20, &old)]), x);
    // At once where the old ones end, after the lookback of five minutes where they stop, and back.
    assert_eq!(team(&[(20, &old), (1, &ended), (5, &new)]), y);
    assert_eq!(team(&[(20, &old), (26, &new)]), y);
    assert_eq!(team(&[(20, &old), (40, &new), (26, &old)]), x);
    assert_eq!(team(&[(20, &old), (400, &new)]), y);
    // A label that is new, and one that goes.
    let without = [g("")];
    assert_eq!(team(&[(20, &without), (40, &new)]), y);
    assert_eq!(team(&[(20, &old), (40, &without)]), r#"{instance="a", job="node"}"#);
}

#[test]
fn silences_follow_the_labels() {
    let (mut engine, mut out) = (engine(), Output::default());
    let silence = |team: &str| {
        let hosts = host_selector(&format!("{{team=\"{team}\"}}")).unwrap();
        Arc::new(Silence { name: team.into(), hosts, when: When::Once(i64::MIN, i64::MAX) })
    };
    engine.apply(Input::Silences(&[silence("y")]), &mut out);
    for k in 0..80 {
        let team = if k < 40 { "x" } else { "y" };
        let ends: &[One] = if k == 40 { &[("g", "node", "x", "", STALE)] } else { &[] };
        send_all(&mut engine, k * 15_000, &[&[("g", "node", team, "", 1.0)], ends].concat(), 1, &mut out);
    }
    let silenced =
        |row: &Row| (row.eligibility == AlertEligibility::Silenced, row.host.labels.get("team") == Some("y"));
    assert!(out.rows.iter().all(|row| silenced(row).0 == silenced(row).1));
    assert_eq!(out.rows.iter().map(|row| silenced(row).0).collect::<Vec<_>>()[8..13], [false, false, true, true, true]);
}

#[track_caller]
fn check_up(scrapes: &[(i64, &[One])], expected: Option<bool>) {
    for n_bodies in [1, 2] {
        assert_eq!(after(scrapes, n_bodies).1, expected, "{scrapes:?}");
        let reversed: Vec<(i64, Vec<One>)> =
            scrapes.iter().map(|(n, series)| (*n, series.iter().rev().copied().collect())).collect();
        let reversed: Vec<(i64, &[One])> = reversed.iter().map(|(n, series)| (*n, series.as_slice())).collect();
        assert_eq!(after(&reversed, n_bodies).1, expected, "{reversed:?}");
    }
}

#[test]
fn a_host_is_down_by_the_targets_that_feed_scored_features() {
    let up = |job, value| ("up", job, "", "", value);
    let g = |job, value| ("g", job, "", "", value);
    let h = |job, value| ("h", job, "", "", value);
    let well = [g("node", 1.0), up("node", 1.0), up("app", 1.0)];
    check_up(&[(9, &well)], Some(true));
    // The exporter fails; another job's `up` says nothing, neither way.
    let fails = [g("node", STALE), up("node", 0.0), up("app", 1.0)];
    check_up(&[(9, &well), (1, &fails)], Some(false));
    check_up(&[(9, &[g("node", 1.0), up("node", 1.0), up("app", 0.0)])], Some(true));
    check_up(&[(9, &[g("node", 1.0), up("app", 0.0)])], None);
    // For hours, when its series are long forgotten, and without stale markers; then it is back.
    let failing = [up("node", 0.0), up("app", 1.0)];
    check_up(&[(9, &well), (1_000, &failing)], Some(false));
    check_up(&[(9, &well), (1_000, &failing), (9, &well)], Some(true));
    // All of it is silent for an hour, and the next that is heard is that the scrape fails.
    check_up(&[(9, &well), (240, &[h("app", 1.0)]), (9, &failing)], Some(false));
    // A job that feeds other features alone decides only where none feeds scored ones.
    let fed = [g("node", 1.0), up("node", 1.0), h("app", 1.0), up("app", 0.0)];
    check_up(&[(9, &fed)], Some(true));
    check_up(&[(9, &fed), (9, &[up("node", 0.0), h("app", 1.0), up("app", 1.0)])], Some(false));
    check_up(&[(9, &[h("app", 1.0), up("app", 0.0), up("node", 1.0)])], Some(false));
    // Two that feed scored features: down if both are.
    let two = [g("one", 1.0), up("one", 1.0), g("two", 1.0), up("two", 1.0)];
    check_up(&[(9, &two), (9, &[g("one", 1.0), up("one", 1.0), up("two", 0.0)])], Some(true));
    check_up(&[(9, &two), (9, &[up("one", 0.0), up("two", 0.0)])], Some(false));
    // One that is up and gives nothing any more decides nothing.
    check_up(
        &[(9, &two), (40, &[up("one", 1.0), g("two", 1.0), up("two", 1.0)]), (9, &[up("one", 1.0), up("two", 0.0)])],
        Some(false),
    );
}

#[test]
fn the_labels_stay_while_the_scrape_fails() {
    let well = [("g", "node", "x", "", 1.0), ("up", "node", "x", "", 1.0), ("h", "app", "y", "", 1.0)];
    let fails = [("g", "node", "x", "", STALE), ("up", "node", "x", "", 0.0), ("h", "app", "y", "", 1.0)];
    let (labels, up, _) = after(&[(9, &well), (300, &fails)], 1);
    assert_eq!((labels.as_str(), up), (r#"{instance="a", job="node", team="x"}"#, Some(false)));
}
