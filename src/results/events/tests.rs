//! Rows and states → events, their metrics, and what a restart finds.

use super::*;
use crate::engine::row::{HostStatus, NotScored};
use crate::results::{FeatureInfo, Verdict};
use crate::series::Labels;

const MINUTE_MS: i64 = 60_000;
const BOUNDS: Bounds = Bounds { merge_ms: 15 * MINUTE_MS, events: 10, log_bytes: 1 << 20 };

fn schema() -> ResultSchema {
    let feature = |name: &str| FeatureInfo {
        name: name.into(),
        expr: String::new(),
        unit: format!("{name}s"),
        help: String::new(),
    };
    ResultSchema {
        features: ["cpu", "mem", "disk"].map(feature).into(),
        selectors: Vec::new(),
        scored: vec![2, 0],
        model_alias: "m".into(),
        bundle: 0,
        shadow: None,
        window: 2,
        step_ms: MINUTE_MS,
        min_history_ms: 10 * MINUTE_MS,
        stale_after_ms: 5 * MINUTE_MS,
        max_lag_ms: 1_000 * MINUTE_MS,
    }
}

fn host() -> Arc<HostId> {
    Arc::new(HostId { name: "a".into(), labels: Labels::from_pairs([("instance", "a"), ("job", "node")]) })
}

/// Row `t` (minutes): flagged since `since`, if at all.
fn row(t: i64, since: Option<i64>) -> ScoredRow {
    let verdict = Verdict {
        mse: 3.0,
        limit: 1.0,
        score: 3.0,
        flag: Some(since.is_some()),
        flagged_since_ms: since.map(|since| since * MINUTE_MS),
        expected: [0.5, f64::NAN].into(),
        contributions: [0.25, 0.75].into(),
    };
    ScoredRow {
        host: host(),
        t_ms: t * MINUTE_MS,
        values: [9.0, 8.0, 7.0].into(),
        eligibility: AlertEligibility::Full,
        verdict: Some(verdict),
        shadow: None,
    }
}

/// Row `t`, whose flag does not count.
fn under(eligibility: AlertEligibility, t: i64) -> ScoredRow {
    let row = row(t, Some(t));
    ScoredRow { eligibility, verdict: row.verdict.map(|verdict| Verdict { flag: None, ..verdict }), ..row }
}

/// `open` or `closed` with how: of every event.
fn states(events: &Events) -> String {
    let (_, mut found) = events.find(&Filter::default(), 10, 0);
    found.reverse();
    found
        .iter()
        .map(|event| event.ended.map_or("open".to_owned(), |ended| format!("{ended:?}")))
        .collect::<Vec<_>>()
        .join(" ")
}

fn value(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let metric = &families.iter().find(|family| family.name() == name).unwrap().get_metric()[0];
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

#[test]
fn only_flags_that_count_are_events() {
    let registry = Registry::new();
    let events = Events::new(&BOUNDS, &registry).unwrap();
    let schema = schema();
    events.observe(&under(AlertEligibility::Young, 8), &schema);
    events.observe(&under(AlertEligibility::Young, 9), &schema);
    assert_eq!(states(&events), "", "too little history");
    events.observe(&row(10, Some(8)), &schema);
    let event = &events.open()[0];
    assert_eq!((event.start_ms, event.host.as_str(), event.model.as_str()), (10 * MINUTE_MS, "a", "m"));
    let top = |feature: &str, share, actual, expected| TopFeature {
        feature: feature.into(),
        unit: format!("{feature}s"),
        share,
        actual: Some(actual),
        expected,
    };
    assert_eq!(event.features, [top("cpu", 0.75, 9.0, None), top("disk", 0.25, 7.0, Some(0.5))]);
    assert_eq!((value(&registry, "outlierd_events_total"), value(&registry, "outlierd_events_open")), (1.0, 1.0));
    let no_verdict = ScoredRow { verdict: None, ..row(11, None) };
    events.observe(&no_verdict, &schema);
    assert_eq!(states(&events), "open", "a row that says nothing changes nothing");
    events.observe(&row(12, None), &schema);
    assert_eq!((states(&events).as_str(), value(&registry, "outlierd_events_open")), ("Cleared", 0.0));
}

#[test]
fn states_that_end_events() {
    let check = |change: fn(&mut HostStatus), later_ms: i64, expected: &str| {
        let events = Events::new(&BOUNDS, &Registry::new()).unwrap();
        let results = Results::new(Arc::new(schema()));
        let mut status = HostStatus {
            step_ms: 60_000,
            interval_ms: Some(60_000),
            twin_labels: None,
            senders: None,
            host: host(),
            last_sample_ms: 20 * MINUTE_MS,
            up: Some(true),
            window_rows: 2,
            history_ms: 20 * MINUTE_MS,
            missing: Box::default(),
            not_applicable: Box::default(),
            not_scored: None,
            silenced: None,
        };
        let flagged = row(20, Some(20));
        events.observe(&flagged, results.table().schema());
        results.record_status(&status, 0);
        results.record_row(flagged, 2);
        events.sweep(&results, 0);
        assert_eq!(states(&events), "open");
        change(&mut status);
        results.record_status(&status, 0);
        events.sweep(&results, later_ms);
        assert_eq!(states(&events), expected);
    };
    check(|_| {}, 0, "open");
    check(|_| {}, 6 * MINUTE_MS, "Stale");
    check(|status| status.up = Some(false), 0, "Down");
    check(|status| status.not_scored = Some(NotScored::TooMuchMissing), 0, "Partial");
    check(|status| status.window_rows = 1, 0, "Warming");
    // Many rows at once: those that come will say.
    check(|status| status.last_sample_ms = 200 * MINUTE_MS, 0, "open");

    let events = Events::new(&BOUNDS, &Registry::new()).unwrap();
    events.observe(&row(20, Some(20)), &schema());
    events.forget(&host());
    assert_eq!(states(&events), "Forgotten");
}

#[test]
fn rows_that_may_not_flag() {
    let events = Events::new(&BOUNDS, &Registry::new()).unwrap();
    events.observe(&row(20, Some(20)), &schema());
    // Late rows never have the flag; the event goes on until rows say what is now.
    events.observe(&under(AlertEligibility::Backlog, 21), &schema());
    assert_eq!(states(&events), "open");
    events.observe(&under(AlertEligibility::Silenced, 22), &schema());
    assert_eq!(states(&events), "Silenced");
}

#[test]
fn a_restart_finds_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/one");
    let registry = Registry::new();
    let (events, thread) = Events::stored(&BOUNDS, &registry, &dir, 0).unwrap();
    events.observe(&row(20, Some(20)), &schema());
    events.observe(&row(21, None), &schema());
    events.observe(&row(60, Some(60)), &schema());
    let before = events.find(&Filter::default(), 10, 0);
    drop(events);
    thread.join().unwrap();
    assert_eq!(value(&registry, "outlierd_events_write_failures_total"), 0.0);

    let registry = Registry::new();
    let (events, thread) = Events::stored(&BOUNDS, &registry, &dir, 1_000).unwrap();
    assert_eq!(events.find(&Filter::default(), 10, 0), before);
    assert_eq!((value(&registry, "outlierd_events_total"), value(&registry, "outlierd_events_open")), (0.0, 1.0));
    // Its host is not known yet.
    let nobody = Results::new(Arc::new(schema()));
    events.sweep(&nobody, 1_000 + 15 * MINUTE_MS);
    assert_eq!(states(&events), "Cleared open");
    events.sweep(&nobody, 1_001 + 15 * MINUTE_MS);
    assert_eq!(states(&events), "Cleared Restart");
    drop(events);
    thread.join().unwrap();
}

#[test]
fn storage_that_fails_costs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    // In the way of the new file, as a full disk is.
    std::fs::create_dir_all(folder.path().join("events.jsonl.new")).unwrap();
    let registry = Registry::new();
    let (events, thread) = Events::stored(&BOUNDS, &registry, folder.path(), 0).unwrap();
    events.observe(&row(20, Some(20)), &schema());
    assert_eq!(states(&events), "open");
    drop(events);
    thread.join().unwrap();
    assert_eq!(value(&registry, "outlierd_events_write_failures_total"), 2.0, "at the start and at the end");
    // What was in the way is gone: everything that is in the store is written.
    let mut store = EventStore::new(0, 10);
    store.restore(vec![Event::clone(&stored_event())], 0);
    let log = Log::new(folder.path(), BOUNDS.log_bytes);
    let mut writer = Writer::new(log, Arc::new(Mutex::new(store)), Metrics::new(&Registry::new()).unwrap());
    writer.write(false);
    std::fs::remove_dir(folder.path().join("events.jsonl.new")).unwrap();
    writer.write(false);
    assert_eq!(Log::new(folder.path(), BOUNDS.log_bytes).read().events.len(), 1);

    let taken = folder.path().join("file");
    std::fs::write(&taken, "").unwrap();
    let refused = Events::stored(&BOUNDS, &Registry::new(), &taken.join("below"), 0).unwrap_err();
    assert!(format!("{refused:#}").contains("--storage.path"), "{refused:#}");
}

fn stored_event() -> Arc<Event> {
    let events = Events::new(&BOUNDS, &Registry::new()).unwrap();
    events.observe(&row(20, Some(20)), &schema());
    events.open().remove(0)
}
