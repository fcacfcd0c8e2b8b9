//! States with their reasons, and the table.

mod page;

use super::*;
use crate::engine::row::{Missing, MissingReason, NotScored};
use crate::series::Labels;

const NOW_MS: i64 = 1_700_000_000_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn schema() -> ResultSchema {
    let feature =
        |name: &str| FeatureInfo { name: name.into(), expr: String::new(), unit: String::new(), help: String::new() };
    ResultSchema {
        features: ["cpu", "mem", "disk", "net"].map(feature).into(),
        selectors: Vec::new(),
        scored: vec![0, 2],
        model_alias: "default".into(),
        bundle: 0,
        shadow: None,
        window: 60,
        step_ms: MINUTE_MS,
        min_history_ms: 6 * HOUR_MS,
        stale_after_ms: 5 * MINUTE_MS,
        max_lag_ms: 15 * 60_000,
    }
}

fn host(name: &str) -> Arc<HostId> {
    Arc::new(HostId { name: name.into(), labels: Labels::from_pairs([("instance", name), ("job", "node")]) })
}

fn without_value(feature: u16) -> Missing {
    Missing { feature, why: MissingReason::NoValue }
}

/// A host that can be judged.
fn status(name: &str) -> HostStatus {
    HostStatus {
        step_ms: 60_000,
        interval_ms: Some(60_000),
        twin_labels: None,
        senders: None,
        host: host(name),
        last_sample_ms: NOW_MS - 1_500,
        up: Some(true),
        window_rows: 60,
        history_ms: 7 * HOUR_MS,
        missing: Box::default(),
        not_applicable: Box::default(),
        not_scored: None,
        silenced: None,
    }
}

fn scored(name: &str, t_ms: i64, flag: bool) -> ScoredRow {
    let verdict = Verdict {
        mse: 1.5,
        limit: 1.0,
        score: 1.5,
        flag: Some(flag),
        flagged_since_ms: flag.then_some(t_ms - 2 * MINUTE_MS),
        expected: [0.25, f64::NAN].into(),
        contributions: [1.0, 0.0].into(),
    };
    ScoredRow {
        host: host(name),
        t_ms,
        values: [0.75, 4e9, f64::NAN, 0.0].into(),
        eligibility: AlertEligibility::Full,
        verdict: Some(verdict),
        shadow: None,
    }
}

#[test]
fn the_lag_is_that_of_the_latest_host_that_is_heard() {
    let results = Results::new(Arc::new(schema()));
    assert_eq!(results.table().lag_ms(NOW_MS), 0);
    let record = |name: &str, last_sample_ms: i64, arrived_ms: i64| {
        let status = HostStatus { last_sample_ms, ..status(name) };
        results.record_status(&status, arrived_ms);
    };
    record("ahead", NOW_MS + 5_000, NOW_MS);
    assert_eq!(results.table().lag_ms(NOW_MS), 0);
    record("a", NOW_MS - 90_000, NOW_MS - 60_000);
    record("b", NOW_MS - 10_000, NOW_MS);
    record("silent", NOW_MS - 86_400_000, NOW_MS - 3_600_000);
    assert_eq!(results.table().lag_ms(NOW_MS), 30_000);
}

#[test]
fn states_with_reasons() {
    use NotScored::{NoneApplicable, StatisticsWarmingUp, TooFewRows, TooMuchMissing};
    let schema = schema();
    let row = scored("a", NOW_MS - MINUTE_MS, false);
    let flagged = scored("a", NOW_MS - MINUTE_MS, true);
    let old = scored("a", NOW_MS - 10 * MINUTE_MS, true);
    let ok = || status("a");
    let missing =
        |n: u16| HostStatus { missing: (0..n).map(without_value).collect(), not_scored: Some(TooMuchMissing), ..ok() };
    // State, reason, flag, and whether the verdict is shown.
    #[track_caller]
    fn check(schema: &ResultSchema, status: &HostStatus, silent_ms: i64, scored: Option<&ScoredRow>, expected: &str) {
        let seen = state::assess(status, NOW_MS - silent_ms, scored, schema, NOW_MS);
        let rendered =
            format!("{} | {} | {:?} | {}", seen.state.as_str(), seen.reason, seen.flag, seen.scored.is_some());
        assert_eq!(rendered, expected);
    }
    let check = |status: &HostStatus, silent_ms, scored, expected| check(&schema, status, silent_ms, scored, expected);
    check(&ok(), 0, Some(&row), "ok |  | Some(false) | true");
    check(&ok(), 0, Some(&flagged), "anomalous | for 2m | Some(true) | true");
    check(&ok(), 5 * MINUTE_MS, Some(&row), "ok |  | Some(false) | true");
    check(&ok(), 5 * MINUTE_MS + 1, Some(&flagged), "stale | nothing received for 5m | None | false");
    check(&ok(), -MINUTE_MS, Some(&row), "ok |  | Some(false) | true");
    let down = HostStatus { up: Some(false), ..ok() };
    check(&down, 0, Some(&flagged), "down | up is 0: the scrape fails | None | false");
    check(&down, HOUR_MS, Some(&flagged), "stale | nothing received for 1h | None | false");
    check(&HostStatus { up: None, ..ok() }, 0, Some(&row), "ok |  | Some(false) | true");
    check(&missing(2), 0, Some(&row), "partial | 2 of 4 features missing: cpu, mem | None | false");
    check(&missing(4), 0, Some(&row), "partial | 4 of 4 features missing: cpu, mem, disk and 1 more | None | false");
    check(&missing(0), 0, Some(&row), "partial | too much of its window is missing | None | false");
    let two_of_three = HostStatus { not_applicable: [without_value(3)].into(), ..missing(2) };
    check(&two_of_three, 0, Some(&row), "partial | 2 of 3 features missing: cpu, mem | None | false");
    let foreign = HostStatus { not_scored: Some(NoneApplicable), ..ok() };
    let expected = "partial | the model knows none of the features that this host has; train a model of them (outlierd train) \
                    and name it in model.bundle | None | false";
    check(&foreign, 0, None, expected);
    let rows = HostStatus { window_rows: 31, not_scored: Some(TooFewRows), ..ok() };
    check(&rows, 0, None, "warming | 31 of 60 rows | None | false");
    let statistics = HostStatus { not_scored: Some(StatisticsWarmingUp), ..ok() };
    check(&statistics, 0, None, "warming | mean and deviation of its features are still being learnt | None | false");
    check(&ok(), 0, None, "warming | waits for its first score | None | false");
    check(&ok(), 0, Some(&old), "warming | scoring is 9m58s behind | None | false");
    let young = HostStatus { history_ms: 2 * HOUR_MS + 10 * MINUTE_MS + 5_000, ..ok() };
    let of_young = ScoredRow { eligibility: AlertEligibility::Young, ..flagged.clone() };
    check(&young, 0, Some(&of_young), "warming | 2h10m of 6h history | None | true");
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
}

#[test]
fn the_table() {
    let results = Results::new(Arc::new(schema()));
    results.record_row(scored("a", 0, false), 60);
    assert!(results.table().is_empty(), "a row alone makes no host");
    results.record_status(&status("b"), 5);
    results.record_status(&status("a"), 5);
    results.record_status(&status("a"), 9);
    let names = || results.table().hosts().iter().map(|h| h.status.host.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(), ["a", "b"]);
    assert_eq!(results.table().hosts()[0].arrived_ms, 5, "the same frame again is no arrival");
    results.record_status(&HostStatus { last_sample_ms: NOW_MS, ..status("a") }, 11);
    assert_eq!(results.table().hosts()[0].arrived_ms, 11);
    for t_ms in 0..5 {
        results.record_row(scored("a", t_ms, false), 3);
    }
    results.record_row(ScoredRow { verdict: None, ..scored("a", 5, false) }, 3);
    let (view, rows) = results.table().host("a").unwrap();
    assert_eq!(rows.iter().map(|row| row.t_ms).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(view.scored.map(|row| row.t_ms), Some(4));
    results.forget("a");
    assert_eq!((results.table().host("a").is_none(), results.table().len()), (true, 1));
}

#[test]
fn another_configuration_moves_columns_and_nobody_sees_half_of_it() {
    let results = Results::new(Arc::new(schema()));
    let lacking = [2, 3].map(without_value);
    results.record_status(
        &HostStatus { missing: lacking.into(), not_applicable: [0, 1].map(without_value).into(), ..status("a") },
        5,
    );
    results.record_row(scored("a", 1, true), 60);
    let before = results.table();
    // cpu is gone, net first, one new; the model sees disk and net.
    let mut new = schema();
    new.features.rotate_right(1);
    new.features.remove(1);
    new.features.push(FeatureInfo { name: "new".into(), ..new.features[0].clone() });
    new.model_alias = "b".into();
    new.scored = vec![2, 0];
    results.reconfigure(Arc::new(new.clone()));
    let table = results.table();
    let names: Vec<&str> = table.schema().features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["net", "mem", "disk", "new"]);
    let (view, rows) = table.host("a").unwrap();
    assert_eq!(view.status.missing.as_ref(), [2, 0].map(without_value));
    assert_eq!(view.status.not_applicable.as_ref(), [1].map(without_value), "cpu is gone");
    assert!(view.labels_text.ends_with("model=\"b\""), "{}", view.labels_text);
    assert_eq!(format!("{:?}", rows[0].values), "[0.0, 4000000000.0, NaN, NaN]");
    let verdict = view.scored.as_ref().unwrap().verdict.as_ref().unwrap();
    assert_eq!(
        (format!("{:?}", verdict.expected), verdict.contributions.as_ref()),
        ("[NaN, NaN]".into(), &[0.0, 0.0][..])
    );
    assert_eq!((verdict.mse, verdict.flagged_since_ms), (1.5, Some(1 - 2 * MINUTE_MS)));
    // Who reads the old one goes on with it, and the same again shares everything.
    assert_eq!((before.schema().features.len(), before.host("a").unwrap().1[0].values[0]), (4, 0.75));
    results.reconfigure(Arc::new(new));
    assert!(Arc::ptr_eq(&results.table().host("a").unwrap().1[0], &rows[0]));
}
