//! Rows of hosts whose senders are as real ones: any interval, jitter, missed scrapes, replicas. Every feature of the preset in
//! every row is compared with Prometheus' own answer over the same samples at the row's time.
//!
//! Once with bodies made here, once with what a real Prometheus and real vmagents sent (`scripts/record-senders.sh`).

mod apart;
mod made;
mod mixed;
mod played;
mod recorded;

use outlierd::config::Config;

use self::made::{Sender, bodies};
use self::played::{Played, Sent, play};
use crate::promql::comparison::Comparison;
use crate::promql::reference::{self, Reference};

/// The preset's features that have a value in each row of the machine, unless a rate lacks a sample.
const ALWAYS: [&str; 6] = ["cpu_busy", "context_switches", "net_rx_bytes", "tcp_in_segments", "mem_used", "load1"];

/// What follows from a scrape interval, in seconds: distance of rows, `[$range]`, lookback.
const EXPECTED: [(i64, i64, i64, i64); 8] = [
    (5, 60, 120, 300),
    (10, 60, 120, 300),
    (15, 60, 120, 300),
    (30, 60, 120, 300),
    (60, 60, 240, 300),
    (90, 90, 360, 300),
    (120, 120, 480, 300),
    (300, 300, 1_200, 750),
];

/// Compares the rows of `played` with the answers of Prometheus over `heard`, the samples that were to be used; returns how many
/// rows lack one of [`ALWAYS`].
fn compare(
    comparison: &mut Comparison,
    place: &str,
    (played, heard): (&Played, &[Sent]),
    (step_s, range_s, lookback_s): (i64, i64, i64),
) -> usize {
    let step_ms = step_s * 1_000;
    // The first scrapes tell the interval, before any row is closed.
    let rows = &played.rows;
    assert!(rows.len() >= 3, "{place}: only {} rows", rows.len());
    assert!(
        rows.windows(2).all(|pair| pair[1].t_ms - pair[0].t_ms == step_ms)
            && rows.iter().all(|row| row.step_ms == step_ms),
        "{place}: rows are not {step_s} s apart"
    );
    // Of a quick sender only a few metrics were recorded.
    let is_there = |name: &&&str| played.rows.iter().any(|row| !played.value(row, name).is_nan());
    let always: Vec<&&str> = ALWAYS.iter().filter(is_there).collect();
    assert!(always.len() >= 4, "{place}: {always:?}");
    let lacks = |row: &&played::Row| always.iter().any(|name| played.value(row, name).is_nan());
    // A rate needs two scrapes.
    let n_lacking = rows.iter().skip(2).filter(lacks).count();

    let Some(program) = reference::program() else { return n_lacking };
    let reference = Reference::start(&program, lookback_s * 1_000);
    heard.iter().for_each(|sent| reference.write("host", &sent.snappy()));
    let times: Vec<i64> = rows.iter().map(|row| row.t_ms).collect();
    for (column, feature) in Config::default().features.iter().enumerate() {
        let expr = feature.expr.replace("$range", &format!("{range_s}s"));
        let values: Vec<f64> = rows.iter().map(|row| row.values[column]).collect();
        let answer = reference.answer("host", &expr, &times, step_ms);
        comparison.add(place, &feature.name, &times, &values, &answer);
    }
    n_lacking
}

/// Every interval with this jitter and these losses; `n_lacking` rows may lack something.
fn check(jitter_ms: impl Fn(i64) -> i64, lost: Option<i64>, is_regular: bool) {
    let mut comparison = Comparison::default();
    for (interval_s, step_s, range_s, lookback_s) in EXPECTED {
        let jitter_ms = jitter_ms(interval_s);
        let place = format!("each {interval_s} s, jitter {jitter_ms} ms, lost {lost:?}");
        let sent = bodies(
            &Sender { interval_ms: interval_s * 1_000, jitter_ms, lost, ..Sender::default() },
            interval_s as u64,
        );
        let played = play(&sent, Config::default());
        if is_regular {
            assert_eq!(played.interval_ms, Some(interval_s * 1_000), "{place}");
            let lacking = compare(&mut comparison, &place, (&played, &sent), (step_s, range_s, lookback_s));
            // A failed scrape ends every series: a row at its time lacks what is no rate.
            let n_lost = sent.iter().filter(|sent| sent.is_failed()).count();
            assert!(lacking <= n_lost, "{place}: {lacking} rows that lack a value");
        } else {
            // What follows is of the interval that was seen, which is near the real one.
            let seen_s = played.interval_ms.unwrap() as f64 / 1_000.0;
            assert!((0.7..1.4).contains(&(seen_s / interval_s as f64)), "{place}: taken for each {seen_s} s");
            let settled = played.rows.iter().skip(played.rows.len() / 3);
            let lacking = settled.filter(|row| ALWAYS.iter().any(|name| played.value(row, name).is_nan())).count();
            assert_eq!(lacking, 0, "{place}: rows that lack a value");
        }
    }
    comparison.check(&[], 1, NEVER, &[]);
}

/// Without a value on the machine of these tests.
const NEVER: &[&str] = &[];

#[test]
fn scrapes_on_time() {
    check(|_| 0, None, true);
}

#[test]
fn a_few_milliseconds_of_jitter() {
    check(|_| 5, None, true);
    check(|_| 100, None, true);
}

#[test]
fn jitter_of_two_seconds() {
    check(|interval_s| if interval_s >= 30 { 2_000 } else { 50 * interval_s }, None, true);
}

#[test]
fn jitter_just_under_half_an_interval() {
    check(|interval_s| 490 * interval_s, None, false);
}

#[test]
fn one_scrape_in_ten_fails() {
    check(|_| 5, Some(10), true);
}

#[test]
fn a_sender_that_drifts() {
    let mut comparison = Comparison::default();
    let sent = bodies(&Sender { interval_ms: 60_050, ..Sender::default() }, 3);
    let played = play(&sent, Config::default());
    assert_eq!(compare(&mut comparison, "each 60.05 s", (&played, &sent), (60, 240, 300)), 0);
    comparison.check(&[], 1, NEVER, &[]);
}

#[test]
fn an_exporter_that_restarts() {
    let mut comparison = Comparison::default();
    for (interval_s, step_s, range_s, lookback_s) in EXPECTED {
        let sender = Sender { interval_ms: interval_s * 1_000, jitter_ms: 5, restart: Some(15), ..Sender::default() };
        let sent = bodies(&sender, 7);
        let played = play(&sent, Config::default());
        let place = format!("each {interval_s} s, a restart");
        compare(&mut comparison, &place, (&played, &sent), (step_s, range_s, lookback_s));
    }
    comparison.check(&[], 1, NEVER, &[]);
}

/// The samples of `b` that are used where `a` speaks until it is silent for two intervals, at least 30 s.
fn taken_over(a: &[Sent], b: &[Sent], interval_ms: i64) -> Vec<Sent> {
    let last_ms = a.iter().map(Sent::t_ms).max().unwrap();
    b.iter().filter(|sent| sent.t_ms() > last_ms + (2 * interval_ms).max(30_000)).cloned().collect()
}

#[test]
fn replicas_are_as_one_alone_and_take_over() {
    let mut comparison = Comparison::default();
    for (interval_s, step_s, range_s, lookback_s) in EXPECTED {
        let interval_ms = interval_s * 1_000;
        for (offset_ms, stops) in
            [(0, None), (interval_ms / 3, None), (interval_ms - 1, None), (interval_ms / 2, Some(20))]
        {
            let place = format!("two replicas each {interval_s} s, {offset_ms} ms apart, the first stops at {stops:?}");
            let one = |replica, offset_ms, n| {
                let sender = Sender { interval_ms, jitter_ms: 3, offset_ms, replica, n, ..Sender::default() };
                bodies(&sender, 11)
            };
            let n = Sender::default().n;
            let (a, b) = (one("a", 0, stops.unwrap_or(n)), one("b", offset_ms, n));
            let mut all = [a.clone(), b.clone()].concat();
            all.sort_by_key(|sent| sent.received_ms);
            let played = play(&all, Config::default());
            let heard = if stops.is_some() { [a.clone(), taken_over(&a, &b, interval_ms)].concat() } else { a };
            assert_eq!(played.sender_changes, u64::from(stops.is_some()), "{place}");
            let heard: Vec<Sent> = heard.iter().map(Sent::without_replica).collect();
            let lacking = compare(&mut comparison, &place, (&played, &heard), (step_s, range_s, lookback_s));
            assert_eq!(lacking, 0, "{place}: rows that lack a value");
        }
    }
    comparison.check(&[], 1, NEVER, &[]);
}

#[test]
fn what_real_senders_sent() {
    let mut comparison = Comparison::default();
    for recording in recorded::ALL {
        for (host, sent) in recorded::read(recording.file) {
            let place = format!("{} of {}", host, recording.file);
            let played = play(&sent, Config::default());
            assert_eq!(played.interval_ms, Some(recording.interval_s * 1_000), "{place}");
            let heard = recording.heard(&sent);
            assert_eq!(played.sender_changes, recording.sender_changes, "{place}");
            let lacking = compare(&mut comparison, &place, (&played, &heard), recording.expected());
            assert!(lacking <= recording.n_lacking, "{place}: {lacking} rows lack a value");
        }
    }
    comparison.check(&[], 1, recorded::NEVER, &[]);
}
