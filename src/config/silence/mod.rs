//! Spans of time in which some hosts are neither flagged nor learnt from: maintenance windows of the configuration, and silences
//! that somebody asked for.
//!
//! Pure: time is an argument. [`mod@hosts`] says whom it may be for; [`mod@crate::results::silences`] keeps what was asked for.

pub mod hosts;

use std::sync::Arc;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};

use crate::promql::selector::Selector;
use crate::series::{Labels, TimestampMs};

/// Hosts, and when they are silenced.
#[derive(Debug)]
pub struct Silence {
    /// Name that people call it by; the id of one that was asked for.
    pub name: Arc<str>,
    /// Which hosts.
    pub hosts: Selector,
    /// When.
    pub when: When,
}

/// A time or times.
#[derive(Debug)]
pub enum When {
    /// Once, from the first until before the second.
    Once(TimestampMs, TimestampMs),
    /// For so many milliseconds from each start.
    Each(Schedule, i64),
}

/// The starts of a recurring span, as cron has them.
#[derive(Debug)]
pub struct Schedule(Crontab);

impl Schedule {
    /// Reads `minute hour day month weekday`, with a time zone's name at the end where it is not UTC.
    ///
    /// # Errors
    /// The text is no schedule; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let schedule = parse_crontab_with(text, options).map(Self).map_err(|error| error.to_string())?;
        // From a fixed time on: what a text is does not depend on when it is read. The search goes no further than four years.
        if schedule.next(0).is_none() {
            return Err("it does not start within four years: is there such a day?".to_owned());
        }
        Ok(schedule)
    }

    /// The first start after `t_ms`; `None` where there is none, or none that can be told.
    fn next(&self, t_ms: TimestampMs) -> Option<TimestampMs> {
        let after = MakeTimestamp::from_millisecond(t_ms).ok()?;
        Some(self.0.find_next(after).ok()?.timestamp().as_millisecond())
    }
}

/// A silence that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silenced {
    /// See [`Silence::name`].
    pub name: Arc<str>,
    /// When it ends.
    pub until_ms: TimestampMs,
}

/// All silences, with what was last found out about each.
#[derive(Debug, Default)]
pub struct Calendar {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    silence: Arc<Silence>,
    /// From the first until before the second it is known whether the silence is in force.
    known: (TimestampMs, TimestampMs),
    is_active: bool,
}

impl Calendar {
    /// Of these silences.
    #[must_use]
    pub fn new(silences: &[Arc<Silence>]) -> Self {
        let entry = |silence: &Arc<Silence>| Entry { silence: Arc::clone(silence), known: (0, 0), is_active: false };
        Self { entries: silences.iter().map(entry).collect() }
    }

    /// The silences, by their places, that are for a host with these labels.
    #[must_use]
    pub fn matching(&self, labels: &Labels) -> Box<[u16]> {
        let labels: Vec<(&str, &str)> = labels.iter().collect();
        (0..).zip(&self.entries).filter(|(_, entry)| entry.silence.hosts.is_match(&labels)).map(|(i, _)| i).collect()
    }

    /// The silence of those at `places` that is in force at `t_ms` and ends last.
    pub fn active(&mut self, places: &[u16], t_ms: TimestampMs) -> Option<Silenced> {
        let mut longest: Option<Silenced> = None;
        for place in places {
            let Some(entry) = self.entries.get_mut(usize::from(*place)) else { continue };
            if let Some(until_ms) = entry.until(t_ms)
                && longest.as_ref().is_none_or(|longest| until_ms > longest.until_ms)
            {
                longest = Some(Silenced { name: Arc::clone(&entry.silence.name), until_ms });
            }
        }
        longest
    }
}

impl Entry {
    fn until(&mut self, t_ms: TimestampMs) -> Option<TimestampMs> {
        if t_ms < self.known.0 || t_ms >= self.known.1 {
            (self.known, self.is_active) = self.silence.when.around(t_ms);
        }
        self.is_active.then_some(self.known.1)
    }
}

impl When {
    /// When it ends, where it is in force at `t_ms`.
    #[must_use]
    pub fn until(&self, t_ms: TimestampMs) -> Option<TimestampMs> {
        let ((_, until_ms), is_active) = self.around(t_ms);
        is_active.then_some(until_ms)
    }

    /// A span around `t_ms` in which it is in force throughout, or not at all.
    fn around(&self, t_ms: TimestampMs) -> ((TimestampMs, TimestampMs), bool) {
        match self {
            Self::Once(from_ms, _) if t_ms < *from_ms => ((TimestampMs::MIN, *from_ms), false),
            Self::Once(from_ms, until_ms) if t_ms < *until_ms => ((*from_ms, *until_ms), true),
            Self::Once(_, until_ms) => ((*until_ms, TimestampMs::MAX), false),
            Self::Each(schedule, duration_ms) => {
                // The first start of which the span may not be over.
                match schedule.next(t_ms.saturating_sub(*duration_ms)) {
                    Some(start_ms) if start_ms <= t_ms => ((start_ms, start_ms.saturating_add(*duration_ms)), true),
                    Some(start_ms) => ((t_ms, start_ms), false),
                    None => ((t_ms, TimestampMs::MAX), false),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::host_selector;

    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    const DAY_MS: i64 = 24 * HOUR_MS;
    /// Monday 2026-11-23, 00:00 UTC.
    const MONDAY_MS: i64 = 1_795_392_000_000;

    fn calendar(when: When) -> Calendar {
        let hosts = host_selector(r#"{job="db"}"#).unwrap();
        Calendar::new(&[Arc::new(Silence { name: "backup".into(), hosts, when })])
    }

    /// From Monday on, at so many minutes: the minutes until the silence ends.
    #[track_caller]
    fn check(calendar: &mut Calendar, minutes: i64, expected: Option<i64>) {
        let t_ms = MONDAY_MS + minutes * MINUTE_MS;
        let found = calendar.active(&[0], t_ms).map(|silenced| (silenced.until_ms - t_ms) / MINUTE_MS);
        assert_eq!(found, expected, "at {minutes}");
    }

    #[test]
    fn once() {
        let mut once = calendar(When::Once(MONDAY_MS, MONDAY_MS + 30 * MINUTE_MS));
        for (minutes, expected) in [(0, Some(30)), (29, Some(1)), (30, None), (-1, None), (5, Some(25))] {
            check(&mut once, minutes, expected);
        }
    }

    #[test]
    fn each_night() {
        let mut nightly = calendar(When::Each(Schedule::parse("30 2 * * *").unwrap(), HOUR_MS));
        for day in [0, 1, 5, 3] {
            let at = |minutes: i64| day * 1440 + minutes;
            for (minutes, expected) in [(149, None), (150, Some(60)), (209, Some(1)), (210, None), (160, Some(50))] {
                check(&mut nightly, at(minutes), expected);
            }
        }
    }

    #[test]
    fn over_midnight_on_weekdays_and_in_a_time_zone() {
        let mut weekly = calendar(When::Each(Schedule::parse("0 23 * * MON").unwrap(), 3 * HOUR_MS));
        check(&mut weekly, 22 * 60, None);
        check(&mut weekly, 24 * 60 + 90, Some(30));
        check(&mut weekly, 47 * 60, None);
        check(&mut weekly, 7 * 1440 + 23 * 60, Some(180));
        let mut zoned = calendar(When::Each(Schedule::parse("0 2 * * * Europe/Berlin").unwrap(), HOUR_MS));
        check(&mut zoned, 60, Some(60));
        check(&mut zoned, 120, None);
        // In summer an hour earlier.
        check(&mut zoned, 240 * 1440, Some(60));
    }

    #[test]
    fn every_minute_of_two_years_agrees_with_the_schedule() {
        let schedule = Schedule::parse("15 1,13 1-7 * SUN Europe/Berlin").unwrap();
        let mut starts = Vec::new();
        let mut t_ms = MONDAY_MS - DAY_MS;
        while t_ms < MONDAY_MS + 730 * DAY_MS {
            t_ms = schedule.next(t_ms).unwrap();
            starts.push(t_ms);
        }
        let mut calendar = calendar(When::Each(schedule, 20 * HOUR_MS));
        for minute in (0..700 * 1440).step_by(7) {
            let t_ms = MONDAY_MS + minute * MINUTE_MS;
            let expected = starts.iter().any(|start| (*start..start + 20 * HOUR_MS).contains(&t_ms));
            assert_eq!(calendar.active(&[0], t_ms).is_some(), expected, "{minute}");
        }
    }

    #[test]
    fn hosts_are_matched_by_their_labels() {
        let calendar = calendar(When::Once(0, 1));
        let matching = |job: &str| calendar.matching(&Labels::from_pairs([("job", job), ("instance", "a")])).len();
        assert_eq!((matching("db"), matching("web")), (1, 0));
    }

    #[test]
    fn what_is_no_schedule() {
        for text in ["", "* * *", "61 * * * *", "* * * * * Moon/Base", "\u{0}", "* * * * * *", "0 0 30 2 *"] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        // Days that are rare.
        for text in ["0 0 29 2 *", "0 0 29 2 SUN", "0 0 31 12 *", "0 0 * 5 MON#5"] {
            assert!(Schedule::parse(text).is_ok(), "{text}");
        }
    }
}
