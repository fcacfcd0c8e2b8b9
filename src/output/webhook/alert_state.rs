//! Record of what Alertmanager was told of each host, and so of what it must be told next. Pure: time is an argument.
//!
//! Follows from the open events as they are, not from a queue of changes: nothing is lost while the receiver is away, and what came and
//! went meanwhile costs nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::results::events::Event;
use crate::series::TimestampMs;

/// Alerts last so many resend intervals: two may be lost.
pub const LIFETIME_RESENDS: i64 = 3;

/// Alerts that were told last. Bounded by the events that may be open, and those that ended within an alert's lifetime.
#[derive(Debug)]
pub struct AlertState {
    /// Interval at which an open event is told again.
    resend_ms: i64,
    /// By host: alerts of one host have the same labels, so they are one for the receiver; where its labels change, the one that
    /// was told is over and another one begins.
    told: HashMap<String, Told>,
    /// Ends that could not be told before the alert had ended by itself.
    n_expired: u64,
}

/// The last that was taken of a host, which was firing.
#[derive(Debug)]
struct Told {
    event: Arc<Event>,
    ms: TimestampMs,
}

/// Alert that is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// As it is, or where it is over as it was last told.
    pub event: Arc<Event>,
    /// Whether it is over.
    pub is_over: bool,
}

impl AlertState {
    /// Nothing was told yet.
    #[must_use]
    pub fn new(resend_ms: i64) -> Self {
        Self { resend_ms, told: HashMap::new(), n_expired: 0 }
    }

    /// Returns the time that an alert lasts unless it is sent again.
    #[must_use]
    pub fn lifetime_ms(&self) -> i64 {
        self.resend_ms.saturating_mul(LIFETIME_RESENDS)
    }

    /// Returns what is to be told now, where these are the `open` events: what is over first, since it may make room for people.
    #[must_use]
    pub fn due(&mut self, open: &[Arc<Event>], now_ms: TimestampMs) -> Vec<Due> {
        let by_host: HashMap<&str, &Arc<Event>> = open.iter().map(|event| (event.host.as_str(), event)).collect();
        let (before, lifetime_ms) = (self.told.len(), self.lifetime_ms());
        self.told
            .retain(|host, told| by_host.contains_key(host.as_str()) || now_ms.saturating_sub(told.ms) <= lifetime_ms);
        self.n_expired += (before - self.told.len()) as u64;
        let is_told = |event: &Event| self.told.get(&event.host).is_some_and(|told| told.event.labels == event.labels);
        let over = self.told.iter().filter(|(host, _)| !by_host.get(host.as_str()).is_some_and(|event| is_told(event)));
        let over = over.map(|(_, told)| Due { event: Arc::clone(&told.event), is_over: true });
        let is_due = |event: &Event| {
            self.told
                .get(&event.host)
                .filter(|_| is_told(event))
                .is_none_or(|told| told.event.id != event.id || now_ms.saturating_sub(told.ms) >= self.resend_ms)
        };
        let firing = by_host.values().filter(|event| is_due(event));
        over.chain(firing.map(|event| Due { event: Arc::clone(event), is_over: false })).collect()
    }

    /// The receiver took it, or will never.
    pub fn told(&mut self, due: &Due, now_ms: TimestampMs) {
        if due.is_over {
            self.told.remove(&due.event.host);
        } else {
            self.told.insert(due.event.host.clone(), Told { event: Arc::clone(&due.event), ms: now_ms });
        }
    }

    /// When something is due though nothing changes; `None` where nothing is.
    #[must_use]
    pub fn next_ms(&self) -> Option<TimestampMs> {
        self.told.values().map(|told| told.ms).min().map(|oldest_ms| oldest_ms.saturating_add(self.resend_ms))
    }

    /// Alerts that ended by themselves because their end could not be told, in all.
    #[must_use]
    pub fn n_expired(&self) -> u64 {
        self.n_expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists the due of `open` (`host/id`, or `host/id@team`) at `now_ms`, sorted: `+a/1` firing, `-a/1` over. Taken if `is_taken`.
    fn due(alert_state: &mut AlertState, open: &str, now_ms: i64, is_taken: bool) -> String {
        let open: Vec<_> = open.split_whitespace().filter_map(|one| one.split_once('/')).collect();
        let event = |host: &str, rest: &str| {
            let (id, team) = rest.split_once('@').unwrap_or((rest, ""));
            let labels = [("team".to_owned(), team.to_owned())].into_iter().filter(|_| !team.is_empty());
            Arc::new(Event { labels: labels.collect(), ..Event::of(host, id) })
        };
        let open: Vec<_> = open.into_iter().map(|(host, rest)| event(host, rest)).collect();
        let due = alert_state.due(&open, now_ms);
        if is_taken {
            due.iter().for_each(|due| alert_state.told(due, now_ms));
        }
        let mut texts: Vec<String> = due
            .iter()
            .map(|due| {
                let team: String = due.event.labels.values().map(|team| format!("@{team}")).collect();
                format!("{}{}/{}{team}", if due.is_over { "-" } else { "+" }, due.event.host, due.event.id)
            })
            .collect();
        texts.sort();
        texts.join(" ")
    }

    #[test]
    fn an_alert_of_other_labels_is_another_one() {
        let mut alert_state = AlertState::new(60);
        let mut check = |open: &str, now_ms: i64, is_taken: bool, expected: &str| {
            assert_eq!(due(&mut alert_state, open, now_ms, is_taken), expected, "at {now_ms}");
        };
        check("a/1@x b/1@x", 1, true, "+a/1@x +b/1@x");
        check("a/1@y b/1@x", 2, false, "+a/1@y -a/1@x");
        check("a/1@y b/1@x", 3, true, "+a/1@y -a/1@x");
        check("a/1@y b/1@x", 4, true, "");
        check("a/1@y b/1@x", 61, true, "+b/1@x");
        check("", 62, true, "-a/1@y -b/1@x");
    }

    #[test]
    fn a_life_of_an_alert() {
        let mut alert_state = AlertState::new(60);
        let mut check = |open: &str, now_ms: i64, is_taken: bool, expected: &str| {
            assert_eq!(due(&mut alert_state, open, now_ms, is_taken), expected, "at {now_ms}");
        };
        check("", 0, true, "");
        check("a/1", 1, true, "+a/1");
        check("a/1", 60, true, "");
        check("a/1 b/1", 61, true, "+a/1 +b/1");
        check("a/1 b/1", 100, true, "");
        check("b/1", 101, true, "-a/1");
        check("b/1", 102, true, "");
        // The same host again.
        check("a/2 b/1", 103, true, "+a/2");
        check("a/2", 104, true, "-b/1");
        // A new event of a host whose last one's end was not told is no end: the receiver takes both for one.
        check("a/3", 105, true, "+a/3");
        check("", 106, true, "-a/3");
        check("", 1_000, true, "");
    }

    #[test]
    fn what_is_not_taken_is_due_again_until_it_says_nothing_more() {
        let mut alert_state = AlertState::new(60);
        assert_eq!(due(&mut alert_state, "a/1", 0, false), "+a/1");
        assert_eq!(due(&mut alert_state, "a/1", 5_000, false), "+a/1");
        // Came and went while nobody listened.
        assert_eq!(due(&mut alert_state, "", 5_001, false), "");
        assert_eq!(due(&mut alert_state, "a/2", 6_000, true), "+a/2");
        assert_eq!(due(&mut alert_state, "", 6_180, false), "-a/2");
        assert_eq!((due(&mut alert_state, "", 6_181, false).as_str(), alert_state.n_expired()), ("", 1));
        assert_eq!(alert_state.next_ms(), None);
    }

    #[test]
    fn the_next_time() {
        let mut alert_state = AlertState::new(60);
        let _ = due(&mut alert_state, "a/1", 10, true);
        let _ = due(&mut alert_state, "a/1 b/1", 20, true);
        assert_eq!((alert_state.next_ms(), alert_state.lifetime_ms()), (Some(70), 180));
    }
}
