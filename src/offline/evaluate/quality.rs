//! All metrics of one host, and of several together.

use serde::Serialize;

use super::alerts::Alerts;
use super::explanation::Explanation;
use super::judge::Judge;
use super::ranking::{average_precision, best_f1};
use super::vus::{BUFFER_ROWS, vus_pr};

/// Alerts at most this far apart are one.
const MERGED_MS: i64 = 15 * 60_000;
const DAY_MS: f64 = 86_400_000.0;
const MINUTE_MS: f64 = 60_000.0;

/// Quality of scores and flags. A number that cannot be told, such as a recall where nothing happened, is `None`.
///
/// Of several hosts there are two: [`Quality::mean`], in which every host weighs the same, and [`Quality::pooled`], in which every
/// incident does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// Volume under the range-based precision-recall surface.
    pub vus_pr: Option<f64>,
    /// Average precision by row.
    pub auc_pr: Option<f64>,
    /// The best F1 by row that any threshold reaches.
    pub best_f1: Option<f64>,
    /// Share of incidents with a flagged row.
    pub event_recall: Option<f64>,
    /// Share of alerts that touch an incident.
    pub event_precision: Option<f64>,
    /// Harmonic mean of the two.
    pub event_f1: Option<f64>,
    /// Alerts that touch no incident, per day of normal rows of a host.
    pub false_alerts_per_host_day: Option<f64>,
    /// Share of normal rows that were flagged.
    pub normal_rows_flagged: Option<f64>,
    /// From the start of an incident to its first flagged row; the median of a host.
    pub median_delay_minutes: Option<f64>,
    /// Share of incidents whose largest error is of a blamed feature.
    pub explanation_top1: Option<f64>,
    /// Share of the blamed features among as many of the largest errors.
    pub explanation_hit_rate_100: Option<f64>,
    /// Labelled incidents.
    pub events: usize,
    /// Alerts.
    pub alerts: usize,
    /// Counts that it was computed from.
    #[serde(skip)]
    counts: Alerts,
    #[serde(skip)]
    explanation: Explanation,
    /// Step, in milliseconds.
    #[serde(skip)]
    step_ms: i64,
}

impl Quality {
    /// Of one host, whose labelled rows `judge` has seen.
    #[must_use]
    pub fn of_host(judge: &Judge<'_>, labels: &[bool], step_ms: i64) -> Self {
        let explanation = judge.explanation();
        Self {
            explanation_top1: explanation.top1(),
            explanation_hit_rate_100: explanation.hit_rate(),
            explanation,
            ..Self::of_rows(&judge.scores, &judge.flags, labels, step_ms)
        }
    }

    /// Of the scores and flags of the labelled rows of one host, without their explanation.
    #[must_use]
    pub fn of_rows(scores: &[f64], flags: &[bool], labels: &[bool], step_ms: i64) -> Self {
        let merged_rows = (MERGED_MS / step_ms.max(1)).max(1) as usize;
        let counts = Alerts::count(flags, labels, merged_rows);
        let one = Self {
            vus_pr: vus_pr(scores, labels, BUFFER_ROWS),
            auc_pr: average_precision(scores, labels),
            best_f1: best_f1(scores, labels),
            normal_rows_flagged: counts.flagged_share(),
            median_delay_minutes: counts.median_delay().map(|rows| rows * step_ms as f64 / MINUTE_MS),
            ..Self::nothing(step_ms)
        };
        one.with_counts(counts, Explanation::default())
    }

    /// The mean over those of `hosts` that have the number; incidents and alerts are summed.
    #[must_use]
    pub fn mean(hosts: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> Option<f64>| {
            let known: Vec<f64> = hosts.iter().filter_map(of).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        Self {
            vus_pr: mean(|host| host.vus_pr),
            auc_pr: mean(|host| host.auc_pr),
            best_f1: mean(|host| host.best_f1),
            event_recall: mean(|host| host.event_recall),
            event_precision: mean(|host| host.event_precision),
            event_f1: mean(|host| host.event_f1),
            false_alerts_per_host_day: mean(|host| host.false_alerts_per_host_day),
            normal_rows_flagged: mean(|host| host.normal_rows_flagged),
            median_delay_minutes: mean(|host| host.median_delay_minutes),
            explanation_top1: mean(|host| host.explanation_top1),
            explanation_hit_rate_100: mean(|host| host.explanation_hit_rate_100),
            ..Self::pooled(hosts)
        }
    }

    /// Incidents, alerts and explanations of `hosts` counted together; what is told by row, and the delay, is `None`. Their rows are
    /// equally far apart.
    #[must_use]
    pub fn pooled(hosts: &[Self]) -> Self {
        let (mut counts, mut explanation) = (Alerts::default(), Explanation::default());
        for host in hosts {
            counts.add(&host.counts);
            explanation.add_all(&host.explanation);
        }
        Self::nothing(hosts.first().map_or(1, |host| host.step_ms)).with_counts(counts, explanation)
    }

    fn with_counts(self, counts: Alerts, explanation: Explanation) -> Self {
        let normal_days = counts.normal_rows as f64 * self.step_ms as f64 / DAY_MS;
        Self {
            event_recall: counts.recall(),
            event_precision: counts.precision(),
            event_f1: counts.f1(),
            false_alerts_per_host_day: (normal_days > 0.0).then(|| counts.false_alerts as f64 / normal_days),
            explanation_top1: explanation.top1(),
            explanation_hit_rate_100: explanation.hit_rate(),
            events: counts.events,
            alerts: counts.alerts,
            counts,
            explanation,
            ..self
        }
    }

    fn nothing(step_ms: i64) -> Self {
        Self {
            vus_pr: None,
            auc_pr: None,
            best_f1: None,
            event_recall: None,
            event_precision: None,
            event_f1: None,
            false_alerts_per_host_day: None,
            normal_rows_flagged: None,
            median_delay_minutes: None,
            explanation_top1: None,
            explanation_hit_rate_100: None,
            events: 0,
            alerts: 0,
            counts: Alerts::default(),
            explanation: Explanation::default(),
            step_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(vus_pr: Option<f64>, events: usize, found: usize, alerts: usize, false_alerts: usize) -> Quality {
        let counts = Alerts {
            events,
            found,
            alerts,
            false_alerts,
            normal_rows: 1440,
            delays: vec![3; found],
            ..Alerts::default()
        };
        Quality { vus_pr, ..Quality::nothing(60_000) }.with_counts(counts, Explanation::default())
    }

    #[test]
    fn hosts_weigh_the_same_or_incidents_do() {
        let hosts = [host(Some(0.5), 8, 4, 4, 0), host(Some(0.7), 2, 2, 4, 2), host(None, 0, 0, 0, 0)];
        let mean = Quality::mean(&hosts);
        // A host without incidents has no recall, one without alerts no precision.
        assert_eq!((mean.vus_pr, mean.event_recall, mean.event_precision), (Some(0.6), Some(0.75), Some(0.75)));
        let pooled = Quality::pooled(&hosts);
        assert_eq!((pooled.vus_pr, pooled.event_recall, pooled.event_precision), (None, Some(0.6), Some(0.75)));
        for all in [mean, pooled] {
            // Two false alerts in three days of hosts.
            assert_eq!((all.false_alerts_per_host_day, all.explanation_top1), (Some(2.0 / 3.0), None));
            assert_eq!((all.events, all.alerts), (10, 8));
        }
    }
}
