//! Which of several senders speaks for a host: replicas of a Prometheus or vmagent scrape the same exporters, each at its own time,
//! and tell themselves apart by the labels of `identity.drop`. Merged, their samples would jump back and forth.
//!
//! As Mimir's HA tracker does: one is heard, until it has been silent for a while and another one speaks.

use std::collections::HashMap;
use std::sync::Arc;

use super::discovery::Found;
use super::row::Sender;
use crate::decode::label_hash;
use crate::series::{Quoted, TimestampMs};

/// What a sender's replica labels come to; 0 for one without any.
pub(super) type SenderKey = u64;

/// The least silence of the elected sender, in event time, after which another one is heard.
const SILENCE_MS_MIN: i64 = 30_000;
/// The same in scrape intervals: one missed scrape is no silence. `[$range]` holds twice as many, so nothing is lost.
const SILENCE_INTERVALS: i64 = 2;
/// The same while it is not known how often the host is scraped: each five minutes perhaps.
const SILENCE_MS_UNKNOWN: i64 = 900_000;
/// Senders that are remembered beside the elected one.
const OTHERS_MAX: usize = 7;
/// Names of senders that an engine remembers; more are made up.
const NAMES_MAX: usize = 10_000;

/// The senders of one host.
#[derive(Debug, Default)]
pub(super) struct Senders {
    /// The one that is heard.
    elected: SenderKey,
    /// Those that are not.
    others: Vec<SenderKey>,
    /// What readers are told; `None` while there is one.
    shown: Option<Arc<[Sender]>>,
}

/// What becomes of a sender's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    Heard,
    /// It is heard from now on.
    Elected,
    /// Another one speaks for the host.
    Refused,
}

impl Senders {
    /// `elected` alone.
    pub(super) fn new(elected: SenderKey) -> Self {
        Self { elected, ..Self::default() }
    }

    /// Whether `sender` is heard, of which the newest sample is of `t_ms`; the newest one of the host so far is of `newest_ms`.
    #[inline]
    pub(super) fn hear(
        &mut self,
        sender: SenderKey,
        (t_ms, newest_ms): (TimestampMs, TimestampMs),
        interval_ms: Option<i64>,
        names: &Names,
    ) -> Hearing {
        if sender == self.elected {
            return Hearing::Heard;
        }
        let silence_ms = interval_ms.map_or(SILENCE_MS_UNKNOWN, |interval_ms| {
            SILENCE_MS_MIN.max(interval_ms.saturating_mul(SILENCE_INTERVALS))
        });
        // One without replica labels is no replica: it writes what the database shows under the host's own labels.
        if sender == 0 || t_ms > newest_ms.saturating_add(silence_ms) {
            let before = std::mem::replace(&mut self.elected, sender);
            self.others.retain(|other| *other != sender);
            self.remember(before);
            self.show(names);
            return Hearing::Elected;
        }
        if !self.others.contains(&sender) {
            self.remember(sender);
            self.show(names);
        }
        Hearing::Refused
    }

    fn remember(&mut self, sender: SenderKey) {
        if self.others.len() >= OTHERS_MAX {
            self.others.remove(0);
        }
        self.others.push(sender);
    }

    fn show(&mut self, names: &Names) {
        let sender = |key: &SenderKey| Sender { labels: names.get(*key), is_heard: *key == self.elected };
        self.shown = Some(std::iter::once(&self.elected).chain(&self.others).map(sender).collect());
    }

    /// What readers are told; `None` where there is one sender.
    pub(super) fn shown(&self) -> Option<Arc<[Sender]>> {
        self.shown.clone()
    }

    /// Whether the labels of `found` are those of a series and not of its sender: where series come without any replica label, a
    /// sender has none, unless it is known as one or marks its `up` too.
    pub(super) fn is_own_label(&self, found: &Found<'_>, run: &[Found<'_>]) -> bool {
        let marks_up = || run.iter().any(|other| other.is_up && other.sender == found.sender);
        self.elected == 0 && found.sender != 0 && !self.others.contains(&found.sender) && !marks_up()
    }
}

/// The sender that speaks for a new host: the one of its `up`, else of most of its series.
pub(super) fn first_elected(found: &[Found<'_>]) -> SenderKey {
    if let Some(up) = found.iter().find(|found| found.is_up) {
        return up.sender;
    }
    let mut counts: Vec<(SenderKey, usize)> = Vec::new();
    for found in found.iter().filter(|found| found.is_wanted()) {
        match counts.iter_mut().find(|(sender, _)| *sender == found.sender) {
            Some((_, n)) => *n += 1,
            None => counts.push((found.sender, 1)),
        }
    }
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(0, |(sender, _)| *sender)
}

/// The key of a sender with these replica labels.
pub(super) fn key_of(labels: &[(&str, &str)]) -> SenderKey {
    labels.iter().fold(0, |key, (name, value)| key.wrapping_add(label_hash(name, value)))
}

/// The replica labels of senders, as text.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<SenderKey, Arc<str>>);

impl Names {
    /// Remembers a sender by its labels.
    pub(super) fn add(&mut self, key: SenderKey, labels: &[(&str, &str)]) {
        if key != 0 && self.0.len() < NAMES_MAX {
            self.0.entry(key).or_insert_with(|| {
                let pairs: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={}", Quoted(value))).collect();
                pairs.join(",").into()
            });
        }
    }

    fn get(&self, key: SenderKey) -> Arc<str> {
        match self.0.get(&key) {
            Some(name) => Arc::clone(name),
            None if key == 0 => "without replica labels".into(),
            None => format!("sender {key:016x}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of senders 1 and 2 (and 0) at these seconds with scrapes each 15 s: which are heard.
    fn check(samples: &[(SenderKey, i64)], expected: &str) {
        let (mut senders, mut newest_ms) = (Senders::new(1), 0);
        let names = Names::default();
        let heard: String = samples
            .iter()
            .map(|(sender, t_s)| {
                let t_ms = t_s * 1_000;
                let hearing = senders.hear(*sender, (t_ms, newest_ms), Some(15_000), &names);
                if hearing != Hearing::Refused {
                    newest_ms = newest_ms.max(t_ms);
                }
                match hearing {
                    Hearing::Heard => '.',
                    Hearing::Elected => '!',
                    Hearing::Refused => '-',
                }
            })
            .collect();
        assert_eq!(heard, expected, "{samples:?}");
    }

    #[test]
    fn one_sender_is_heard_until_it_is_silent() {
        check(&[(1, 0), (2, 7), (1, 15), (2, 22), (1, 30)], ".-.-.");
        // A missed scrape is no silence.
        check(&[(1, 0), (2, 7), (2, 22), (1, 30), (2, 37)], ".--.-");
        check(&[(1, 0), (2, 22), (2, 37), (1, 38), (2, 52), (1, 53)], ".-!-.-");
        // Equal timestamps.
        check(&[(1, 15), (2, 15), (2, 15)], ".--");
        // A sender without replica labels is no replica.
        check(&[(1, 0), (0, 1), (1, 15), (0, 16)], ".!-.");
    }
}
