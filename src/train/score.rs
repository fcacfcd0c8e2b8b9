//! From errors to scores, and how well scores find labelled incidents. Pure; rows are indices.
//!
//! Never adjusts points: an incident does not make the rows around a hit right.

use std::ops::Range;

/// Alerts closer than this are one, in rows.
const MERGED_ROWS: usize = 15;

/// When a score becomes a flag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// The smoothed mse over which a row counts.
    pub limit: f64,
    /// Rows in a row over the limit that raise the flag.
    pub hold_rows: usize,
    /// Share of the limit under which the flag falls.
    pub clear: f64,
}

/// How a rule did on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// Labelled incidents.
    pub events: usize,
    /// Incidents with a flagged row.
    pub found: usize,
    /// Alerts, close ones merged.
    pub alerts: usize,
    /// Alerts that touch no incident.
    pub false_alerts: usize,
    /// Rows outside incidents.
    pub normal_rows: usize,
    /// Rows outside incidents that were flagged. A flag that is always on would look perfect without this.
    pub normal_flagged: usize,
}

/// Mean squared difference of `actual` and `expected` over what is not NaN; 0 where nothing is there.
#[must_use]
pub fn mean_squared_error(actual: &[f32], expected: &[f32]) -> f64 {
    let squares = actual.iter().zip(expected).filter(|(a, _)| a.is_finite()).map(|(a, e)| f64::from(a - e).powi(2));
    let (n, sum) = squares.fold((0, 0.0), |(n, sum), square| (n + 1, sum + square));
    sum / f64::from(n.max(1))
}

/// `s += (x - s) / rows`, from the first value on.
#[must_use]
pub fn smooth(values: &[f64], rows: f64) -> Vec<f64> {
    let mut state = values.first().copied().unwrap_or_default();
    values
        .iter()
        .map(|value| {
            state += (value - state) / rows;
            state
        })
        .collect()
}

/// Area under the precision-recall curve as average precision: `Σ (recallₙ - recallₙ₋₁) · precisionₙ` over falling scores, equal
/// scores at once. NaN without a positive label.
#[must_use]
pub fn average_precision(scores: &[f64], labels: &[bool]) -> f64 {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut hits, mut sum) = (0_usize, 0_usize, 0.0);
    for equal in ranked.chunk_by(|a, b| a.0 == b.0) {
        let new_hits = equal.iter().filter(|(_, label)| *label).count();
        seen += equal.len();
        hits += new_hits;
        sum += new_hits as f64 * hits as f64 / seen as f64;
    }
    sum / hits as f64
}

/// Applies `rule` row by row and compares with the labels.
#[must_use]
pub fn detect(scores: &[f64], labels: &[bool], rule: Rule) -> Detection {
    let flags = flags(scores, rule);
    let events = runs(labels, 0);
    let alerts = runs(&flags, MERGED_ROWS);
    let touched = |range: &Range<usize>, rows: &[bool]| rows[range.clone()].contains(&true);
    let normal = || labels.iter().zip(&flags).filter(|(label, _)| !**label);
    Detection {
        events: events.len(),
        found: events.iter().filter(|event| touched(event, &flags)).count(),
        alerts: alerts.len(),
        false_alerts: alerts.iter().filter(|alert| !touched(alert, labels)).count(),
        normal_rows: normal().count(),
        normal_flagged: normal().filter(|(_, flag)| **flag).count(),
    }
}

fn flags(scores: &[f64], rule: Rule) -> Vec<bool> {
    let (mut over, mut flag) = (0, false);
    scores
        .iter()
        .map(|&score| {
            over = if score > rule.limit { over + 1 } else { 0 };
            flag = over >= rule.hold_rows || (flag && score >= rule.clear * rule.limit);
            flag
        })
        .collect()
}

/// Spans of true rows; spans at most `merged` rows apart are one.
fn runs(rows: &[bool], merged: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for n in (0..rows.len()).filter(|&n| rows[n]) {
        match runs.last_mut() {
            Some(run) if n - run.end <= merged => run.end = n + 1,
            _ => runs.push(n..n + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_of_known_rankings() {
        let check = |scores: &[f64], labels: &[u8], expected: f64| {
            let labels: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
            assert!((average_precision(scores, &labels) - expected).abs() < 1e-12);
        };
        check(&[0.9, 0.8, 0.2, 0.1], &[1, 1, 0, 0], 1.0);
        check(&[0.9, 0.8, 0.2, 0.1], &[0, 1, 0, 1], 0.5);
        // The example of scikit-learn's documentation.
        check(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1], 0.833_333_333_333_333_3);
        check(&[0.5; 8], &[0, 1, 0, 0, 0, 0, 0, 1], 0.25);
    }

    #[test]
    fn a_flag_rises_after_three_rows_and_falls_under_the_clear_level() {
        let rule = Rule { limit: 1.0, hold_rows: 3, clear: 0.7 };
        let scores = [0.0, 2.0, 2.0, 0.9, 2.0, 2.0, 2.0, 0.8, 0.7, 0.6, 2.0];
        let flagged: Vec<usize> =
            flags(&scores, rule).iter().enumerate().filter(|(_, f)| **f).map(|(n, _)| n).collect();
        assert_eq!(flagged, [6, 7, 8]);
    }

    #[test]
    fn events_and_alerts_are_counted() {
        let span =
            |ranges: &[Range<usize>]| (0..200).map(|n| ranges.iter().any(|r| r.contains(&n))).collect::<Vec<_>>();
        let labels = span(&[10..20, 100..110]);
        let scores: Vec<f64> = span(&[15..25, 30..32, 150..160]).iter().map(|&on| if on { 2.0 } else { 0.0 }).collect();
        let got = detect(&scores, &labels, Rule { limit: 1.0, hold_rows: 1, clear: 0.7 });
        let expected =
            Detection { events: 2, found: 1, alerts: 2, false_alerts: 1, normal_rows: 180, normal_flagged: 17 };
        assert_eq!(got, expected);
    }

    #[test]
    fn missing_cells_take_no_part() {
        assert_eq!(mean_squared_error(&[1.0, f32::NAN, 3.0], &[0.0, 0.0, 0.0]), 5.0);
        assert_eq!(mean_squared_error(&[f32::NAN], &[0.0]), 0.0);
    }
}
