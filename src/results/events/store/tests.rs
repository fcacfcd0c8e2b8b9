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
fn flag(book: &mut EventStore, name: &str, t: i64, since: i64, score: f64) {
    let row = Flagged { host: &host(name), model: "m", t_ms: t * MINUTE_MS, since_ms: since * MINUTE_MS, score };
    book.flagged(row, || feature(score));
}

/// Plays `rows` (one a minute; `!` flagged, `.` not, a space none) of one host and renders its events, oldest first: minutes from
/// start to end, how it ended.
fn play(book: &mut EventStore, from: i64, rows: &str) {
    let mut since = None;
    for (t, row) in (from..).zip(rows.chars()) {
        match row {
            '!' => flag(book, "a", t, *since.get_or_insert(t), 2.0),
            '.' => {
                since = None;
                book.not_flagged("a", t * MINUTE_MS, 0.5);
            }
            _ => {}
        }
    }
}

fn brief(book: &EventStore) -> String {
    let (_, mut events) = book.find(&Filter::default(), usize::MAX, 0);
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
    let mut book = EventStore::new(5 * MINUTE_MS, 100);
    play(&mut book, 0, rows);
    assert_eq!(brief(&book), expected, "{rows}");
}

#[test]
fn an_open_event_has_the_newest_labels() {
    let mut book = EventStore::new(5 * MINUTE_MS, 100);
    let flag = |book: &mut EventStore, team: &str, t: i64| {
        let labels = Labels::from_pairs([("instance", "a"), ("team", team)]);
        let host = HostId { name: "a".into(), labels };
        let row = Flagged { host: &host, model: "m", t_ms: t * MINUTE_MS, since_ms: 0, score: 2.0 };
        book.flagged(row, || feature(2.0));
        let told = (book.n_turns(), book.take_unsaved().len());
        (book.open()[0].labels["team"].clone(), told)
    };
    assert_eq!(flag(&mut book, "x", 0), ("x".to_owned(), (1, 1)));
    assert_eq!(flag(&mut book, "x", 1), ("x".to_owned(), (1, 0)));
    assert_eq!(flag(&mut book, "y", 2), ("y".to_owned(), (2, 1)), "told, and stored");
    assert_eq!(flag(&mut book, "y", 3), ("y".to_owned(), (2, 0)));
    book.not_flagged("a", 4 * MINUTE_MS, 0.5);
    let (n, events) = book.find(&Filter::default(), 9, 0);
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
    let mut book = EventStore::new(5 * MINUTE_MS, 100);
    play(&mut book, 0, "!!");
    play(&mut book, 10, "!.");
    assert_eq!(brief(&book), "0-1 Stale, 10-11 Cleared");
}

#[test]
fn nothing_is_merged_with_merge_0() {
    let mut book = EventStore::new(0, 100);
    play(&mut book, 0, "!.!.");
    assert_eq!(brief(&book), "0-1 Cleared, 2-3 Cleared");
}

#[test]
fn the_peak_is_kept_with_its_features() {
    let mut book = EventStore::new(5 * MINUTE_MS, 100);
    for (t, score) in [(0, 2.0), (1, 7.0), (2, 3.0), (3, f64::NAN)] {
        flag(&mut book, "a", t, 0, score);
    }
    let event = &book.open()[0];
    assert_eq!((event.peak_score, event.peak_ms), (f64::MAX, 3 * MINUTE_MS));
    let mut book = EventStore::new(5 * MINUTE_MS, 100);
    for (t, score) in [(0, 2.0), (1, 7.0), (2, 3.0)] {
        flag(&mut book, "a", t, 0, score);
    }
    let event = &book.open()[0];
    assert_eq!((event.peak_score, event.peak_ms, event.score), (7.0, MINUTE_MS, 3.0));
    assert_eq!((event.start_ms, event.last_ms, &event.features), (0, 2 * MINUTE_MS, &feature(7.0)));
    assert_eq!(event.labels, BTreeMap::from([("instance".to_owned(), "a".to_owned())]));
    assert_eq!(book.get(&event.id).as_ref(), Some(event));
}

#[test]
fn the_oldest_closed_are_dropped() {
    let mut book = EventStore::new(0, 2);
    flag(&mut book, "open", 0, 0, 2.0);
    play(&mut book, 1, "!.!.!.");
    assert_eq!((brief(&book).as_str(), book.counts()), ("0-, 5-6 Cleared", (4, 2)));
    flag(&mut book, "b", 7, 7, 2.0);
    assert_eq!((brief(&book).as_str(), book.counts(), book.n_open()), ("0-, 7-", (5, 3), 2));
    assert!(book.take_unsaved().len() == 2 && !book.has_unsaved());
}

#[test]
fn open_events_do_not_drop_each_other() {
    let mut book = EventStore::new(0, 2);
    for t in 7..20 {
        ["b", "c", "d", "e"].into_iter().for_each(|name| flag(&mut book, name, t, 7, 2.0));
    }
    assert_eq!((brief(&book).as_str(), book.counts(), book.n_turns()), ("7-, 7-", (2, 2), 2));
    // The flag of another is still up when one ends: there is room for it.
    book.not_flagged("c", 20 * MINUTE_MS, 0.5);
    flag(&mut book, "d", 20, 7, 2.0);
    assert_eq!((brief(&book).as_str(), book.counts()), ("7-, 20-", (3, 3)));
}

#[test]
fn hosts_that_are_no_longer_judged() {
    let check = |end: fn(&mut EventStore, &str), expected: &str| {
        let mut book = EventStore::new(5 * MINUTE_MS, 100);
        play(&mut book, 0, "!!!");
        let id = book.open()[0].id.clone();
        end(&mut book, &id);
        assert_eq!(brief(&book), expected);
        end(&mut book, &id);
        assert_eq!(brief(&book), expected, "twice");
    };
    check(|book, id| book.end(id, Ending::Down), "0-2 Down");
    check(|book, id| book.end_abandoned(id, Ending::Forgotten, 0), "0-2 Forgotten");
    check(|book, _| book.end_of_host("a", Ending::Silenced), "0-2 Silenced");
    check(|book, _| book.end_of_host("b", Ending::Silenced), "0-");
}

/// A book after a restart at `now` with an event from minute 0 to 2 that was open.
fn restarted() -> EventStore {
    let mut before = EventStore::new(5 * MINUTE_MS, 100);
    play(&mut before, 0, "!!!");
    let stored = before.take_all().iter().map(|event| Event::clone(event)).collect();
    let mut book = EventStore::new(5 * MINUTE_MS, 100);
    book.restore(stored, 1_000);
    assert_eq!((brief(&book).as_str(), book.counts(), book.has_unsaved()), ("0-", (0, 0), false));
    book
}

#[test]
fn open_events_go_on_after_a_restart_or_end() {
    let check = |play_on: fn(&mut EventStore), expected: &str| {
        let mut book = restarted();
        play_on(&mut book);
        assert_eq!(brief(&book), expected);
    };
    check(|book| play(book, 7, "!"), "0-");
    check(|book| play(book, 8, "!"), "0-2 Restart, 8-");
    check(|book| play(book, 7, "."), "0-7 Cleared");
    check(|book| play(book, 8, "."), "0-2 Restart");
    // The host is not there, or not judged yet.
    let abandon = |book: &mut EventStore, now_ms: i64| {
        let id = book.open()[0].id.clone();
        book.end_abandoned(&id, Ending::Warming, now_ms);
    };
    let mut book = restarted();
    abandon(&mut book, 1_000 + 5 * MINUTE_MS);
    assert_eq!(brief(&book), "0-");
    abandon(&mut book, 1_001 + 5 * MINUTE_MS);
    assert_eq!(brief(&book), "0-2 Restart");
    // Down is not a matter of time.
    check(
        |book| {
            let id = book.open()[0].id.clone();
            book.end(&id, Ending::Down);
        },
        "0-2 Down",
    );
}

#[test]
fn what_is_worth_storing() {
    let mut book = EventStore::new(5 * MINUTE_MS, 100);
    let check = |book: &mut EventStore, expected: usize| assert_eq!(book.take_unsaved().len(), expected);
    flag(&mut book, "a", 0, 0, 2.0);
    check(&mut book, 1);
    flag(&mut book, "a", 1, 0, 3.0);
    flag(&mut book, "a", 4, 0, 4.0);
    check(&mut book, 0);
    flag(&mut book, "a", 5, 0, 5.0);
    check(&mut book, 1);
    flag(&mut book, "a", 11, 0, 5.0);
    check(&mut book, 0);
    book.not_flagged("a", 12 * MINUTE_MS, 0.1);
    check(&mut book, 1);
    book.not_flagged("a", 13 * MINUTE_MS, 0.1);
    check(&mut book, 0);
    flag(&mut book, "a", 14, 14, 2.0);
    check(&mut book, 1);
}

#[test]
fn filters_and_pages() {
    let mut book = EventStore::new(0, 100);
    play(&mut book, 0, "!.!!.");
    flag(&mut book, "b", 9, 9, 2.0);
    let check = |filter: Filter, expected: &[i64]| {
        let (total, events) = book.find(&filter, 10, 0);
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
    assert_eq!(book.find(&Filter::default(), 1, 1).1[0].start_ms, 2 * MINUTE_MS);
}

#[test]
fn ids_differ_by_host_and_start() {
    let ids = [id_of(&host("a"), 1), id_of(&host("a"), 2), id_of(&host("b"), 1)];
    assert_eq!(ids[0], "af63dc4c8601ec8c-1");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
}
