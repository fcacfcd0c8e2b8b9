//! Rows with and without the flag, and the events that they come to.

use super::*;
use crate::series::Labels;

const MINUTE_MS: i64 = 60_000;

fn host(name: &str) -> HostId {
    HostId { name: name.into(), labels: Labels::from_pairs([("instance", name)]) }
}

fn feature(score: f64) -> Vec<TopFeature> {
    vec![TopFeature { feature: format!("f{score}"), unit: String::new(), share: 1.0, actual: None, expected: None }]
}

/// A row of host `name` in minute `t` whose flag rose in minute `since`.
fn flag(store: &mut EventStore, name: &str, t: i64, since: i64, score: f64) {
    let row = Flagged { host: &host(name), model: "m", t_ms: t * MINUTE_MS, since_ms: since * MINUTE_MS, score };
    store.flagged(row, || feature(score));
}

/// Plays `rows` (one a minute; `!` flagged, `.` not, a space none) of one host and renders its events, oldest first: minutes from
/// start to end, how it ended.
fn play(store: &mut EventStore, from: i64, rows: &str) {
    let mut since = None;
    for (t, row) in (from..).zip(rows.chars()) {
        match row {
            '!' => flag(store, "a", t, *since.get_or_insert(t), 2.0),
            '.' => {
                since = None;
                store.not_flagged("a", t * MINUTE_MS, 0.5);
            }
            _ => {}
        }
    }
}

fn brief(store: &EventStore) -> String {
    let (_, mut events) = store.find(&Filter::default(), usize::MAX, 0);
    events.reverse();
    let one = |event: &Arc<Event>| {
        let minute = |t_ms: i64| t_ms / MINUTE_MS;
        match (event.end_ms, event.ended) {
            (Some(end_ms), Some(ending)) => format!("{}-{} {ending:?}", minute(event.start_ms), minute(end_ms)),
            _ => format!("{}-", minute(event.start_ms)),
        }
    };
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(rows: &str, expected: &str) {
    let mut store = EventStore::new(5 * MINUTE_MS, 100);
    play(&mut store, 0, rows);
    assert_eq!(brief(&store), expected, "{rows}");
}

#[test]
fn an_open_event_has_the_newest_labels() {
    let mut store = EventStore::new(5 * MINUTE_MS, 100);
    let flag = |store: &mut EventStore, team: &str, t: i64| {
        let labels = Labels::from_pairs([("instance", "a"), ("team", team)]);
        let host = HostId { name: "a".into(), labels };
        let row = Flagged { host: &host, model: "m", t_ms: t * MINUTE_MS, since_ms: 0, score: 2.0 };
        store.flagged(row, || feature(2.0));
        let told = (store.n_turns(), store.take_unsaved().len());
        (store.open()[0].labels["team"].clone(), told)
    };
    assert_eq!(flag(&mut store, "x", 0), ("x".to_owned(), (1, 1)));
    assert_eq!(flag(&mut store, "x", 1), ("x".to_owned(), (1, 0)));
    assert_eq!(flag(&mut store, "y", 2), ("y".to_owned(), (2, 1)), "told, and stored");
    assert_eq!(flag(&mut store, "y", 3), ("y".to_owned(), (2, 0)));
    store.not_flagged("a", 4 * MINUTE_MS, 0.5);
    let (n, events) = store.find(&Filter::default(), 9, 0);
    assert_eq!((n, events[0].labels["team"].as_str()), (1, "y"));
}

#[test]
fn flags_make_events() {
    check("....", "");
    check("..!", "2-");
    check("..!!!.", "2-5 Cleared");
    check("!.....", "0-1 Cleared");
    // Closer than five minutes from the end to the next rise: one.
    check("!.....!", "0-");
    check("!.....!.", "0-7 Cleared");
    check("!......!.", "0-1 Cleared, 7-8 Cleared");
    check("!.!.!.!.!.", "0-9 Cleared");
    // Rows that are missing don't end it while the flag is the same; a flag that rose anew after a long gap is another.
    check("!!        !!.", "0-12 Cleared");
    let mut store = EventStore::new(5 * MINUTE_MS, 100);
    play(&mut store, 0, "!!");
    play(&mut store, 10, "!.");
    assert_eq!(brief(&store), "0-1 Stale, 10-11 Cleared");
}

#[test]
fn nothing_is_merged_with_merge_0() {
    let mut store = EventStore::new(0, 100);
    play(&mut store, 0, "!.!.");
    assert_eq!(brief(&store), "0-1 Cleared, 2-3 Cleared");
}

#[test]
fn the_peak_is_kept_with_its_features() {
    let mut store = EventStore::new(5 * MINUTE_MS, 100);
    for (t, score) in [(0, 2.0), (1, 7.0), (2, 3.0), (3, f64::NAN)] {
        flag(&mut store, "a", t, 0, score);
    }
    let event = &store.open()[0];
    assert_eq!((event.peak_score, event.peak_ms), (f64::MAX, 3 * MINUTE_MS));
    let mut store = EventStore::new(5 * MINUTE_MS, 100);
    for (t, score) in [(0, 2.0), (1, 7.0), (2, 3.0)] {
        flag(&mut store, "a", t, 0, score);
    }
    let event = &store.open()[0];
    assert_eq!((event.peak_score, event.peak_ms, event.score), (7.0, MINUTE_MS, 3.0));
    assert_eq!((event.start_ms, event.last_ms, &event.features), (0, 2 * MINUTE_MS, &feature(7.0)));
    assert_eq!(event.labels, BTreeMap::from([("instance".to_owned(), "a".to_owned())]));
    assert_eq!(store.get(&event.id).as_ref(), Some(event));
}

#[test]
fn the_oldest_closed_are_dropped() {
    let mut store = EventStore::new(0, 2);
    flag(&mut store, "open", 0, 0, 2.0);
    play(&mut store, 1, "!.!.!.");
    assert_eq!((brief(&store).as_str(), store.counts()), ("0-, 5-6 Cleared", (4, 2)));
    flag(&mut store, "b", 7, 7, 2.0);
    assert_eq!((brief(&store).as_str(), store.counts(), store.n_open()), ("0-, 7-", (5, 3), 2));
    assert!(store.take_unsaved().len() == 2 && !store.has_unsaved());
}

#[test]
fn open_events_do_not_drop_each_other() {
    let mut store = EventStore::new(0, 2);
    for t in 7..20 {
        ["b", "c", "d", "e"].into_iter().for_each(|name| flag(&mut store, name, t, 7, 2.0));
    }
    assert_eq!((brief(&store).as_str(), store.counts(), store.n_turns()), ("7-, 7-", (2, 2), 2));
    // The flag of another is still up when one ends: there is room for it.
    store.not_flagged("c", 20 * MINUTE_MS, 0.5);
    flag(&mut store, "d", 20, 7, 2.0);
    assert_eq!((brief(&store).as_str(), store.counts()), ("7-, 20-", (3, 3)));
}

#[test]
fn hosts_that_are_no_longer_judged() {
    let check = |end: fn(&mut EventStore, &str), expected: &str| {
        let mut store = EventStore::new(5 * MINUTE_MS, 100);
        play(&mut store, 0, "!!!");
        let id = store.open()[0].id.clone();
        end(&mut store, &id);
        assert_eq!(brief(&store), expected);
        end(&mut store, &id);
        assert_eq!(brief(&store), expected, "twice");
    };
    check(|store, id| store.end(id, Ending::Down), "0-2 Down");
    check(|store, id| store.end_abandoned(id, Ending::Forgotten, 0), "0-2 Forgotten");
    check(|store, _| store.end_of_host("a", Ending::Silenced), "0-2 Silenced");
    check(|store, _| store.end_of_host("b", Ending::Silenced), "0-");
}

/// A store after a restart at `now` with an event from minute 0 to 2 that was open.
fn restarted() -> EventStore {
    let mut before = EventStore::new(5 * MINUTE_MS, 100);
    play(&mut before, 0, "!!!");
    let stored = before.take_all().iter().map(|event| Event::clone(event)).collect();
    let mut store = EventStore::new(5 * MINUTE_MS, 100);
    store.restore(stored, 1_000);
    assert_eq!((brief(&store).as_str(), store.counts(), store.has_unsaved()), ("0-", (0, 0), false));
    store
}

#[test]
fn open_events_go_on_after_a_restart_or_end() {
    let check = |play_on: fn(&mut EventStore), expected: &str| {
        let mut store = restarted();
        play_on(&mut store);
        assert_eq!(brief(&store), expected);
    };
    check(|store| play(store, 7, "!"), "0-");
    check(|store| play(store, 8, "!"), "0-2 Restart, 8-");
    check(|store| play(store, 7, "."), "0-7 Cleared");
    check(|store| play(store, 8, "."), "0-2 Restart");
    // The host is not there, or not judged yet.
    let abandon = |store: &mut EventStore, now_ms: i64| {
        let id = store.open()[0].id.clone();
        store.end_abandoned(&id, Ending::Warming, now_ms);
    };
    let mut store = restarted();
    abandon(&mut store, 1_000 + 5 * MINUTE_MS);
    assert_eq!(brief(&store), "0-");
    abandon(&mut store, 1_001 + 5 * MINUTE_MS);
    assert_eq!(brief(&store), "0-2 Restart");
    // Down is not a matter of time.
    check(
        |store| {
            let id = store.open()[0].id.clone();
            store.end(&id, Ending::Down);
        },
        "0-2 Down",
    );
}

#[test]
fn what_is_worth_storing() {
    let mut store = EventStore::new(5 * MINUTE_MS, 100);
    let check = |store: &mut EventStore, expected: usize| assert_eq!(store.take_unsaved().len(), expected);
    flag(&mut store, "a", 0, 0, 2.0);
    check(&mut store, 1);
    flag(&mut store, "a", 1, 0, 3.0);
    flag(&mut store, "a", 4, 0, 4.0);
    check(&mut store, 0);
    flag(&mut store, "a", 5, 0, 5.0);
    check(&mut store, 1);
    flag(&mut store, "a", 11, 0, 5.0);
    check(&mut store, 0);
    store.not_flagged("a", 12 * MINUTE_MS, 0.1);
    check(&mut store, 1);
    store.not_flagged("a", 13 * MINUTE_MS, 0.1);
    check(&mut store, 0);
    flag(&mut store, "a", 14, 14, 2.0);
    check(&mut store, 1);
}

#[test]
fn filters_and_pages() {
    let mut store = EventStore::new(0, 100);
    play(&mut store, 0, "!.!!.");
    flag(&mut store, "b", 9, 9, 2.0);
    let check = |filter: Filter, expected: &[i64]| {
        let (total, events) = store.find(&filter, 10, 0);
        let starts: Vec<i64> = events.iter().map(|event| event.start_ms / MINUTE_MS).collect();
        assert_eq!((total, starts.as_slice()), (expected.len(), expected), "{filter:?}");
    };
    check(Filter::default(), &[9, 2, 0]);
    check(Filter { host: Some("a".into()), ..Filter::default() }, &[2, 0]);
    check(Filter { is_open: Some(true), ..Filter::default() }, &[9]);
    check(Filter { is_open: Some(false), ..Filter::default() }, &[2, 0]);
    check(Filter { since_ms: Some(2 * MINUTE_MS), ..Filter::default() }, &[9, 2]);
    check(Filter { since_ms: Some(99 * MINUTE_MS), ..Filter::default() }, &[9]);
    check(Filter { until_ms: Some(MINUTE_MS), ..Filter::default() }, &[0]);
    assert_eq!(store.find(&Filter::default(), 1, 1).1[0].start_ms, 2 * MINUTE_MS);
}

#[test]
fn ids_differ_by_host_and_start() {
    let ids = [id_of(&host("a"), 1), id_of(&host("a"), 2), id_of(&host("b"), 1)];
    assert_eq!(ids[0], "af63dc4c8601ec8c-1");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
}
