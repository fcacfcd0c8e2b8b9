//! From a window and what the model expected to a verdict: mse, score, flag, contributions.
//!
//! Pure: the caller owns one [`VerdictState`] per host and passes the time.

use crate::engine::row::Window;
use crate::results::Verdict;
use crate::series::TimestampMs;

/// How errors become a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The smoothed mse over which a row counts as anomalous.
    pub limit: f64,
    /// Time constant of the smoothing, in rows.
    pub smoothing_rows: f64,
    /// Rows in a row over the limit that raise the flag.
    pub for_rows: u32,
    /// The score under which the flag is cleared.
    pub clear: f64,
    /// Silence after which the smoothing starts over.
    pub reset_after_ms: i64,
}

/// What a host's next verdict needs of its earlier ones.
#[derive(Debug, Clone, Default)]
pub struct VerdictState {
    /// The smoothed mse; `None` before the first row.
    smoothed: Option<f64>,
    /// Rows in a row over the limit.
    n_over: u32,
    /// The row at which the flag rose.
    flagged_since_ms: Option<TimestampMs>,
    /// Squared residuals by feature, summed since the score went over the limit.
    error_sums: Vec<f64>,
    /// The last row judged.
    last_ms: Option<TimestampMs>,
}

impl VerdictState {
    /// Judges one window. `expected` is the model's newest row, standardised, `[F]`.
    ///
    /// ```text
    /// mse_t    = mean over present features of (target − expected)²
    /// smoothed = smoothed + (mse_t − smoothed) / smoothing_rows
    /// score    = smoothed / limit
    /// ```
    pub fn judge(&mut self, window: &Window, expected: &[f32], t_ms: TimestampMs, decision: &Decision) -> Verdict {
        if self.last_ms.is_some_and(|last| t_ms.saturating_sub(last) > decision.reset_after_ms) {
            *self = Self::default();
        }
        self.last_ms = Some(t_ms);
        let squared: Vec<f64> = window
            .target
            .iter()
            .zip(expected)
            .map(|(target, expected)| if target.is_nan() { f64::NAN } else { f64::from(target - expected).powi(2) })
            .collect();
        let present = squared.iter().filter(|e| !e.is_nan());
        let n_present = present.clone().count();
        let mse = if n_present == 0 { 0.0 } else { present.sum::<f64>() / n_present as f64 };
        let smoothed = self.smoothed.map_or(mse, |before| before + (mse - before) / decision.smoothing_rows.max(1.0));
        self.smoothed = Some(smoothed);
        let score = smoothed / decision.limit;
        self.decide(score, t_ms, &squared, decision);
        let total: f64 = self.error_sums.iter().sum();
        Verdict {
            mse: smoothed,
            limit: decision.limit,
            score,
            flag: self.flagged_since_ms.is_some(),
            flagged_since_ms: self.flagged_since_ms,
            expected: in_units(window, expected),
            contributions: self.error_sums.iter().map(|sum| if total > 0.0 { sum / total } else { 0.0 }).collect(),
        }
    }

    /// Hold-down: up after `for_rows` rows over 1, down under `clear`.
    fn decide(&mut self, score: f64, t_ms: TimestampMs, squared: &[f64], decision: &Decision) {
        let is_over = score > 1.0;
        let is_ongoing = self.flagged_since_ms.is_some() || (is_over && self.n_over > 0);
        if !is_ongoing || self.error_sums.len() != squared.len() {
            self.error_sums = vec![0.0; squared.len()];
        }
        for (sum, error) in self.error_sums.iter_mut().zip(squared) {
            *sum += if error.is_nan() { 0.0 } else { *error };
        }
        self.n_over = if is_over { self.n_over.saturating_add(1) } else { 0 };
        if self.flagged_since_ms.is_none() && self.n_over >= decision.for_rows {
            self.flagged_since_ms = Some(t_ms);
        } else if score < decision.clear {
            self.flagged_since_ms = None;
        }
    }
}

/// The expected row in the features' own units; NaN where the feature is missing.
fn in_units(window: &Window, expected: &[f32]) -> Box<[f64]> {
    let statistics = window.mean.iter().zip(&window.deviation);
    expected.iter().zip(statistics).map(|(z, (mean, deviation))| mean + f64::from(*z) * deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECISION: Decision =
        Decision { limit: 2.0, smoothing_rows: 1.0, for_rows: 3, clear: 0.7, reset_after_ms: 600_000 };

    fn window(target: &[f32]) -> Window {
        let n = target.len();
        let mean = target.iter().map(|z| if z.is_nan() { f64::NAN } else { 100.0 }).collect();
        Window { input: Box::default(), target: target.into(), mean, deviation: vec![10.0; n].into() }
    }

    #[test]
    fn mse_leaves_missing_features_out_and_contributions_sum_to_one() {
        let verdict = VerdictState::default().judge(&window(&[3.0, f32::NAN, 0.0]), &[0.0, 9.0, 1.0], 0, &DECISION);
        assert_eq!((verdict.mse, verdict.score, verdict.flag), (5.0, 2.5, false));
        assert_eq!(verdict.contributions.as_ref(), [0.9, 0.0, 0.1]);
        assert_eq!(verdict.expected[0], 100.0);
        assert!(verdict.expected[1].is_nan());
        assert_eq!(verdict.expected[2], 110.0);
    }

    /// Rows with these scores (limit 2, one feature): the flag after each.
    fn check(decision: &Decision, scores: &[f32], expected: &str) {
        let mut state = VerdictState::default();
        let flags: String = (0..)
            .zip(scores)
            .map(|(k, score)| {
                let residual = (2.0 * score).sqrt();
                let verdict = state.judge(&window(&[residual]), &[0.0], k * 60_000, decision);
                if verdict.flag { '!' } else { '.' }
            })
            .collect();
        assert_eq!(flags, expected, "{scores:?}");
    }

    #[test]
    fn the_flag_rises_after_three_rows_and_falls_under_clear() {
        check(&DECISION, &[2.0, 2.0, 2.0, 2.0], "..!!");
        check(&DECISION, &[2.0, 2.0, 0.9, 2.0, 2.0, 2.0], ".....!");
        check(&DECISION, &[2.0, 2.0, 2.0, 0.9, 0.8, 0.6, 0.9], "..!!!..");
        check(&DECISION, &[1.0, 1.0, 1.0, 1.0], "....");
    }

    #[test]
    fn one_outlier_is_smoothed_away() {
        let smooth = Decision { smoothing_rows: 10.0, ..DECISION };
        check(&smooth, &[0.1, 9.0, 0.1, 0.1, 0.1], ".....");
        check(&smooth, &[0.1, 9.0, 9.0, 9.0, 9.0], "....!");
    }

    #[test]
    fn contributions_are_summed_since_the_score_went_over() {
        let mut state = VerdictState::default();
        state.judge(&window(&[9.0, 0.0]), &[0.0, 0.0], 0, &DECISION);
        state.judge(&window(&[0.0, 0.0]), &[0.0, 0.0], 60_000, &DECISION);
        state.judge(&window(&[3.0, 0.0]), &[0.0, 0.0], 120_000, &DECISION);
        let verdict = state.judge(&window(&[0.0, 3.0]), &[0.0, 0.0], 180_000, &DECISION);
        assert_eq!(verdict.contributions.as_ref(), [0.5, 0.5]);
    }

    #[test]
    fn a_long_silence_starts_over() {
        let mut state = VerdictState::default();
        for k in 0..3 {
            state.judge(&window(&[9.0]), &[0.0], k * 60_000, &DECISION);
        }
        let verdict = state.judge(&window(&[9.0]), &[0.0], 10_000_000, &DECISION);
        assert!(!verdict.flag);
    }
}
