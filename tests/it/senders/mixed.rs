//! Senders that differ from the usual ones in several ways at once, and several of them together.

use outlierd::config::Config;

use super::made::{Sender, bodies};
use super::played::{Sent, play};
use super::{EXPECTED, NEVER, compare, taken_over};
use crate::promql::comparison::Comparison;

/// What `senders` send, in the order in which it comes.
pub(super) fn together(senders: &[Sender]) -> Vec<Sent> {
    let mut all: Vec<Sent> = (1..).zip(senders).flat_map(|(seed, sender)| bodies(sender, seed)).collect();
    all.sort_by_key(|sent| sent.received_ms);
    all
}

/// The rows of what `senders` send together are those of `heard` alone, where scrapes `interval_s` apart give `expected`; at most
/// `n_lacking` of them lack a value.
pub(super) fn check(place: &str, senders: &[Sender], heard: &[Sent], expected: (i64, i64, i64), n_lacking: usize) {
    let mut comparison = Comparison::default();
    let heard: Vec<Sent> = heard.iter().map(Sent::without_replica).collect();
    let played = play(&together(senders), Config::default());
    let lacking = compare(&mut comparison, place, (&played, &heard), expected);
    assert!(lacking <= n_lacking, "{place}: {lacking} rows lack a value");
    comparison.check(&[], 1, NEVER, &[]);
}

/// As [`check`], with one sender.
pub(super) fn check_one(place: &str, sender: Sender, expected: (i64, i64, i64), n_lacking: usize) {
    let heard = bodies(&sender, 1);
    check(place, &[sender], &heard, expected, n_lacking);
}

pub(super) fn expected(interval_s: i64) -> (i64, i64, i64) {
    let (_, step_s, range_s, lookback_s) = EXPECTED.into_iter().find(|row| row.0 == interval_s).unwrap();
    (step_s, range_s, lookback_s)
}

#[test]
fn scrapes_before_and_after_their_time() {
    for (interval_s, ..) in EXPECTED {
        for off_ms in [3, 100, 50 * interval_s.min(40)] {
            let sender =
                Sender { interval_ms: interval_s * 1_000, early_ms: off_ms, jitter_ms: off_ms, ..Sender::default() };
            check_one(&format!("each {interval_s} s, {off_ms} ms off"), sender, expected(interval_s), 0);
        }
    }
}

#[test]
fn intervals_that_few_people_choose() {
    let of_interval = [
        (2, (60, 120, 300)),
        (7, (60, 120, 300)),
        (37, (60, 148, 300)),
        (45, (60, 180, 300)),
        (75, (60, 300, 300)),
        (84, (84, 336, 300)),
        (100, (100, 400, 300)),
        (420, (420, 1_680, 1_050)),
        (900, (900, 3_600, 2_250)),
    ];
    for (interval_s, expected) in of_interval {
        let sender = Sender { interval_ms: interval_s * 1_000, jitter_ms: 5, ..Sender::default() };
        check_one(&format!("each {interval_s} s"), sender, expected, 0);
    }
}

#[test]
fn the_first_scrapes_fail() {
    for interval_s in [15, 60, 300] {
        for n_failed_first in [1, 3, 14] {
            let sender = Sender { interval_ms: interval_s * 1_000, jitter_ms: 5, n_failed_first, ..Sender::default() };
            let place = format!("each {interval_s} s, {n_failed_first} fail at first");
            check_one(&place, sender, expected(interval_s), n_failed_first as usize);
        }
    }
}

#[test]
fn replicas_that_both_lose_scrapes() {
    for interval_s in [15, 60, 120] {
        let interval_ms = interval_s * 1_000;
        let one = |replica, offset_ms, lost| Sender {
            interval_ms,
            jitter_ms: 5,
            offset_ms,
            lost: Some(lost),
            replica,
            ..Sender::default()
        };
        let senders = [one("a", 0, 10), one("b", interval_ms / 3, 7)];
        let heard = bodies(&senders[0], 1);
        let place = format!("two replicas each {interval_s} s, both lose scrapes");
        check(&place, &senders, &heard, expected(interval_s), 6);
    }
}

#[test]
fn three_replicas_of_which_two_stop() {
    let interval_ms = 15_000;
    let one = |replica, offset_ms, n| Sender { interval_ms, offset_ms, replica, n, ..Sender::default() };
    let senders = [one("a", 0, 20), one("b", 4_000, 40), one("c", 8_000, 60)];
    let [a, b, c] = [(0, 1), (1, 2), (2, 3)].map(|(i, seed)| bodies(&senders[i], seed));
    let b = taken_over(&a, &b, interval_ms);
    let c = taken_over(&b, &c, interval_ms);
    check("three replicas, two stop", &senders, &[a, b, c].concat(), expected(15), 0);
}

#[test]
fn exporters_at_intervals_of_their_own() {
    let is_network: fn(&str) -> bool = |name| name.starts_with("node_network");
    let node = Sender { interval_ms: 60_000, sends: |name| !name.starts_with("node_network"), ..Sender::default() };
    let network = Sender { offset_ms: 7_000, job: "network", sends: is_network, ..Sender::default() };
    let senders = [node, network];
    check("60 s and 15 s", &senders, &together(&senders), expected(60), 0);
}
