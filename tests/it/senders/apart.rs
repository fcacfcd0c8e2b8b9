//! Senders that have less to do with each other than it seems: other jobs, other exporters, other intervals.

use super::made::Sender;
use super::mixed::{check, expected, together};
use super::taken_over;

fn one(replica: &'static str, interval_s: i64, offset_ms: i64) -> Sender {
    Sender { interval_ms: interval_s * 1_000, offset_ms, replica, ..Sender::default() }
}

#[test]
fn another_job_without_replica_labels_does_not_silence_replicas() {
    let other = Sender { job: "blackbox", sends: |_| false, ..one("", 60, 17_000) };
    let senders = [one("a", 60, 0), one("b", 60, 20_000), other];
    let mut heard = super::bodies(&senders[0], 1);
    heard.extend(super::bodies(&senders[2], 3));
    check("two replicas, `up` of another job", &senders, &heard, expected(60), 0);
}

#[test]
fn two_pairs_of_replicas_each_with_its_exporter() {
    let node =
        |replica, offset_ms| Sender { sends: |name| !name.starts_with("node_network"), ..one(replica, 60, offset_ms) };
    let network = |replica, offset_ms| Sender {
        job: "network",
        sends: |name| name.starts_with("node_network"),
        ..one(replica, 60, offset_ms)
    };
    let senders = [node("a", 0), node("b", 20_000), network("c", 9_000), network("d", 29_000)];
    let mut heard = super::bodies(&senders[0], 1);
    heard.extend(super::bodies(&senders[2], 3));
    check("two pairs of replicas", &senders, &heard, expected(60), 0);
}

#[test]
fn a_slow_exporter_beside_a_quick_one() {
    for (slow_s, quick_s) in [(60, 5), (90, 10), (120, 15), (300, 60)] {
        let slow = Sender { sends: |name| !name.starts_with("node_network"), ..one("", slow_s, 0) };
        let quick = Sender {
            job: "network",
            sends: |name| name.starts_with("node_network"),
            // As long as the slow one.
            n: slow_s,
            ..one("", quick_s, 1_700)
        };
        let senders = [slow, quick];
        let heard = together(&senders);
        check(&format!("{slow_s} s beside {quick_s} s"), &senders, &heard, expected(slow_s), 0);
    }
}

#[test]
fn scrapes_each_half_hour() {
    let senders = [one("", 1_800, 0)];
    check("each 30 min", &senders, &together(&senders), (1_800, 7_200, 4_500), 0);
}

#[test]
fn scrapes_become_ten_times_as_rare() {
    let first = Sender { n: 40, ..one("", 60, 0) };
    let then = Sender { n: 120, ..one("", 600, 40 / 2 * 60_000) };
    let played = super::play(&together(&[first, then]), outlierd::config::Config::default());
    assert_eq!(played.interval_ms, Some(600_000));
    let rates = played.rows.iter().rev().take(20).filter(|row| !played.value(row, "cpu_busy").is_nan());
    assert_eq!(rates.count(), 20);
}

#[test]
fn a_replica_that_stops_after_its_first_scrape() {
    for interval_s in [15, 60, 120] {
        let senders = [Sender { n: 2, ..one("a", interval_s.max(60), 0) }, one("b", interval_s, interval_s * 400)];
        let (a, b) = (super::bodies(&senders[0], 1), super::bodies(&senders[1], 2));
        let heard = [a.clone(), taken_over(&a, &b, interval_s * 1_000)].concat();
        // Until the second one speaks there is one scrape, which gives no rate.
        check(&format!("each {interval_s} s, the first stops at once"), &senders, &heard, expected(interval_s), 1);
    }
}
