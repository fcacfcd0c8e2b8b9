//! Flags against labelled incidents: what was found, how soon, and what rang for nothing.
//!
//! Rows are indices. Never adjusts points: an incident does not make the rows around a hit right.

use std::ops::Range;

use super::runs;

/// Comparison of the flags of one host, or of several together, with the labels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerts {
    /// Labelled incidents.
    pub events: usize,
    /// Incidents with a flagged row.
    pub found: usize,
    /// Runs of flagged rows, close ones merged.
    pub alerts: usize,
    /// Alerts that touch no incident.
    pub false_alerts: usize,
    /// Rows with a label, 0 or 1.
    pub rows: usize,
    /// Rows outside incidents.
    pub normal_rows: usize,
    /// Rows outside incidents that were flagged. A flag that is always on would look perfect without this.
    pub normal_flagged: usize,
    /// For each incident found, rows from its start to its first flagged one.
    pub delays: Vec<usize>,
}

impl Alerts {
    /// Compares; flags at most `merged_rows` apart are one alert.
    #[must_use]
    pub fn count(flags: &[bool], labels: &[bool], merged_rows: usize) -> Self {
        let events = runs(labels, 0);
        let alerts = runs(flags, merged_rows);
        let touches =
            |alert: &Range<usize>| labels[alert.clone()].iter().zip(&flags[alert.clone()]).any(|(l, f)| *l && *f);
        let delay = |event: &Range<usize>| flags[event.clone()].iter().position(|flag| *flag);
        let delays: Vec<usize> = events.iter().filter_map(delay).collect();
        let normal = || flags.iter().zip(labels).filter(|(_, label)| !**label);
        Self {
            events: events.len(),
            found: delays.len(),
            alerts: alerts.len(),
            false_alerts: alerts.iter().filter(|alert| !touches(alert)).count(),
            rows: labels.len(),
            normal_rows: normal().count(),
            normal_flagged: normal().filter(|(flag, _)| **flag).count(),
            delays,
        }
    }

    /// Adds those of another host.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.found += other.found;
        self.alerts += other.alerts;
        self.false_alerts += other.false_alerts;
        self.rows += other.rows;
        self.normal_rows += other.normal_rows;
        self.normal_flagged += other.normal_flagged;
        self.delays.extend_from_slice(&other.delays);
    }

    /// Share of the incidents that were found; `None` without an incident.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        share(self.found, self.events)
    }

    /// Share of the alerts that touch an incident; `None` without an alert.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        share(self.alerts - self.false_alerts, self.alerts)
    }

    /// Harmonic mean of recall and precision; 0 where nothing was found, `None` without an incident.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        let (recall, precision) = (self.recall()?, self.precision().unwrap_or(0.0));
        Some(if recall > 0.0 { 2.0 * recall * precision / (recall + precision) } else { 0.0 })
    }

    /// Share of the normal rows that were flagged; `None` without a normal row.
    #[must_use]
    pub fn flagged_share(&self) -> Option<f64> {
        share(self.normal_flagged, self.normal_rows)
    }

    /// Rows from the start of an incident to its first flagged one, the median of those found; `None` where none was.
    #[must_use]
    pub fn median_delay(&self) -> Option<f64> {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        let middle = delays.len() / 2;
        let upper = *delays.get(middle)?;
        let lower = if delays.len().is_multiple_of(2) { delays[middle - 1] } else { upper };
        Some(f64::midpoint(lower as f64, upper as f64))
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ranges: &[(usize, usize)]) -> Vec<bool> {
        (0..200).map(|row| ranges.iter().any(|(start, end)| (*start..*end).contains(&row))).collect()
    }

    fn check(flags: &[(usize, usize)], labels: &[(usize, usize)], expected: Alerts) -> Alerts {
        let got = Alerts::count(&rows(flags), &rows(labels), 15);
        assert_eq!(got, Alerts { rows: 200, ..expected });
        got
    }

    #[test]
    fn events_and_alerts_are_counted() {
        // 15..25 and 30..32 are one alert: 5 rows lie between. It finds the first event after 5 rows; 5 + 2 + 10 normal rows.
        let labels = [(10, 20), (100, 110)];
        let one = Alerts {
            events: 2,
            found: 1,
            alerts: 2,
            false_alerts: 1,
            normal_rows: 180,
            normal_flagged: 17,
            delays: vec![5],
            rows: 0,
        };
        let got = check(&[(15, 25), (30, 32), (150, 160)], &labels, one);
        assert_eq!((got.recall(), got.precision(), got.f1()), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!((got.median_delay(), got.flagged_share()), (Some(5.0), Some(17.0 / 180.0)));
        // A flag that is up at the start finds it at once; two alerts 16 rows apart are two.
        let two = Alerts {
            events: 2,
            found: 2,
            alerts: 3,
            false_alerts: 1,
            normal_rows: 180,
            normal_flagged: 7,
            delays: vec![0, 9],
            rows: 0,
        };
        let got = check(&[(5, 12), (28, 30), (109, 110)], &labels, two);
        assert_eq!(got.median_delay(), Some(4.5));
        assert!((got.f1().unwrap() - 0.8).abs() < 1e-12, "2 · (1 · 2/3) / (1 + 2/3)");
    }

    #[test]
    fn an_event_between_two_merged_flags_is_not_hit() {
        let none =
            Alerts { events: 1, alerts: 1, false_alerts: 1, normal_rows: 196, normal_flagged: 8, ..Alerts::default() };
        check(&[(10, 14), (22, 26)], &[(16, 20)], none);
    }

    #[test]
    fn an_always_on_flag_is_seen() {
        let labels = [(10, 20)];
        let always = Alerts {
            events: 1,
            found: 1,
            alerts: 1,
            normal_rows: 190,
            normal_flagged: 190,
            delays: vec![0],
            ..Alerts::default()
        };
        let got = check(&[(0, 200)], &labels, always);
        assert_eq!((got.f1(), got.flagged_share()), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn what_is_not_there_has_no_share() {
        let none = Alerts::count(&[], &[], 15);
        assert_eq!((none.recall(), none.precision(), none.f1(), none.median_delay()), (None, None, None, None));
        let quiet = Alerts::count(&[false, false], &[true, false], 15);
        assert_eq!((quiet.recall(), quiet.precision(), quiet.f1()), (Some(0.0), None, Some(0.0)));
    }
}
