//! From a window and what the model expected to a verdict: mse, score, flag, contributions.
//!
//! Pure: the caller owns one [`VerdictState`] per host and passes the time.

use super::residual::{Constants, ResidualLevels};
use crate::engine::row::Window;
use crate::series::TimestampMs;

/// What the model says of one row.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Smoothed mean over the present features of the squared standardised residual, each relative to what is usual for it.
    pub mse: f64,
    /// The mse limit that it was compared with.
    pub limit: f64,
    /// `mse / limit`; above 1 is anomalous.
    pub score: f64,
    /// Whether the host is flagged, after hold-down. Not yet masked by `min_history`.
    pub flag: bool,
    /// The row at which the flag rose.
    pub flagged_since_ms: Option<TimestampMs>,
    /// `[F]` in the order of the bundle: what the model expected, in the feature's unit; NaN where the feature was missing.
    pub expected: Box<[f64]>,
    /// `[F]` in the order of the bundle: share of the error since the flag rose (of this row's where there is no flag);
    /// sums to 1, 0 where missing.
    pub contributions: Box<[f64]>,
}

/// How errors become a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The smoothed mse over which a row counts as anomalous.
    pub limit: f64,
    /// Time constant of the smoothing, in rows.
    pub smoothing_rows: f64,
    /// Time constant of a second, shorter smoothing for incidents that are over before the first has risen; none where it is not
    /// shorter.
    pub short_smoothing_rows: f64,
    /// What the mse of the shorter smoothing is multiplied with before the larger one counts.
    pub short_weight: f64,
    /// What errors are relative to; the plain squares count where `None`.
    pub residual: Option<Constants>,
    /// Rows in a row over the limit that raise the flag.
    pub for_rows: u32,
    /// The score under which the flag is cleared.
    pub clear: f64,
    /// Distance of two rows.
    pub step_ms: i64,
    /// Silence after which the smoothing starts over.
    pub reset_after_ms: i64,
}

/// What a host's next verdict needs of its earlier ones.
#[derive(Debug, Clone, Default)]
pub struct VerdictState {
    /// The mse by the long and by the short smoothing; `None` before the first row.
    smoothed: Option<[f64; 2]>,
    /// How wrong the model usually is. Outlives silences.
    levels: ResidualLevels,
    /// Rows in a row over the limit.
    n_over: u32,
    /// The row at which the flag rose.
    flagged_since_ms: Option<TimestampMs>,
    /// Errors by feature, summed since the score went over the limit.
    error_sums: Vec<f64>,
    /// The last row judged.
    last_ms: Option<TimestampMs>,
}

impl VerdictState {
    /// Judges one window. `expected` is the model's newest row, standardised, `[F]`. `None` where nothing of the newest row is
    /// present, or the model's answer is not finite: then the state is as before.
    ///
    /// ```text
    /// error_f = (target − expected)², relative to what is usual ([`ResidualLevels::relative`])
    /// mse_t   = mean of error_f over present features
    /// long    = long + (mse_t − long) / smoothing_rows, and short alike
    /// mse     = max(long, short · short_weight)
    /// score   = mse / limit
    /// ```
    /// A mean of n rows scatters as 1/√n, so the weight is about √(short_smoothing_rows / smoothing_rows).
    pub fn judge(
        &mut self,
        window: &Window,
        expected: &[f32],
        t_ms: TimestampMs,
        decision: &Decision,
    ) -> Option<Verdict> {
        let n_present = window.target.iter().filter(|target| target.is_finite()).count();
        if n_present == 0 || expected.iter().any(|e| !e.is_finite()) {
            return None;
        }
        if self.last_ms.is_some_and(|last| t_ms.saturating_sub(last) > decision.reset_after_ms) {
            *self = Self { levels: std::mem::take(&mut self.levels), ..Self::default() };
        }
        let errors = self.errors(&window.target, expected, t_ms, decision);
        let mse = errors.iter().filter(|error| !error.is_nan()).sum::<f64>() / n_present as f64;
        if self.last_ms.is_some_and(|last| t_ms.saturating_sub(last) > decision.step_ms) {
            // Rows in a row: one that was not scored breaks the run.
            self.n_over = 0;
        }
        self.last_ms = Some(t_ms);
        let smoothed = self.smooth(mse, decision);
        let score = smoothed / decision.limit;
        self.decide(score, t_ms, &errors, decision);
        let total: f64 = self.error_sums.iter().sum();
        Some(Verdict {
            mse: smoothed,
            limit: decision.limit,
            score,
            flag: self.flagged_since_ms.is_some(),
            flagged_since_ms: self.flagged_since_ms,
            expected: in_units(window, expected),
            contributions: self.error_sums.iter().map(|sum| if total > 0.0 { sum / total } else { 0.0 }).collect(),
        })
    }

    /// `[F]`; NaN where missing.
    fn errors(&mut self, target: &[f32], expected: &[f32], t_ms: TimestampMs, decision: &Decision) -> Vec<f64> {
        if let Some(constants) = &decision.residual {
            return self.levels.relative((target, expected), (t_ms, decision.step_ms), constants);
        }
        let squared = |(target, expected): (&f32, &f32)| f64::from(target - expected).powi(2);
        target.iter().zip(expected).map(squared).collect()
    }

    fn smooth(&mut self, mse: f64, decision: &Decision) -> f64 {
        let (long_rows, short_rows) = (decision.smoothing_rows.max(1.0), decision.short_smoothing_rows.max(1.0));
        let [long, short] = self
            .smoothed
            .map_or([mse; 2], |[long, short]| [long + (mse - long) / long_rows, short + (mse - short) / short_rows]);
        self.smoothed = Some([long, short]);
        if short_rows < long_rows { long.max(short * decision.short_weight) } else { long }
    }

    /// Hold-down: up after `for_rows` rows over 1, down under `clear`.
    fn decide(&mut self, score: f64, t_ms: TimestampMs, errors: &[f64], decision: &Decision) {
        let is_over = score > 1.0;
        let is_ongoing = self.flagged_since_ms.is_some() || (is_over && self.n_over > 0);
        if !is_ongoing || self.error_sums.len() != errors.len() {
            self.error_sums = vec![0.0; errors.len()];
        }
        for (sum, error) in self.error_sums.iter_mut().zip(errors) {
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

    const DECISION: Decision = Decision {
        limit: 2.0,
        smoothing_rows: 1.0,
        short_smoothing_rows: 1.0,
        short_weight: 1.0,
        residual: None,
        for_rows: 3,
        clear: 0.7,
        step_ms: 60_000,
        reset_after_ms: 600_000,
    };

    fn window(target: &[f32]) -> Window {
        let n = target.len();
        let mean = target.iter().map(|z| if z.is_nan() { f64::NAN } else { 100.0 }).collect();
        Window { input: Box::default(), target: target.into(), mean, deviation: vec![10.0; n].into() }
    }

    #[test]
    fn mse_leaves_missing_features_out_and_contributions_sum_to_one() {
        let verdict =
            VerdictState::default().judge(&window(&[3.0, f32::NAN, 0.0]), &[0.0, 9.0, 1.0], 0, &DECISION).unwrap();
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
                let verdict = state.judge(&window(&[residual]), &[0.0], k * 60_000, decision).unwrap();
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
        let smooth = Decision { smoothing_rows: 10.0, short_smoothing_rows: 10.0, ..DECISION };
        check(&smooth, &[0.1, 9.0, 0.1, 0.1, 0.1], ".....");
        check(&smooth, &[0.1, 9.0, 9.0, 9.0, 9.0], "....!");
    }

    #[test]
    fn contributions_are_summed_since_the_score_went_over() {
        let mut state = VerdictState::default();
        state.judge(&window(&[9.0, 0.0]), &[0.0, 0.0], 0, &DECISION);
        state.judge(&window(&[0.0, 0.0]), &[0.0, 0.0], 60_000, &DECISION);
        state.judge(&window(&[3.0, 0.0]), &[0.0, 0.0], 120_000, &DECISION);
        let verdict = state.judge(&window(&[0.0, 3.0]), &[0.0, 0.0], 180_000, &DECISION).unwrap();
        assert_eq!(verdict.contributions.as_ref(), [0.5, 0.5]);
    }

    #[test]
    fn a_long_silence_starts_over() {
        let mut state = VerdictState::default();
        for k in 0..3 {
            state.judge(&window(&[9.0]), &[0.0], k * 60_000, &DECISION);
        }
        let verdict = state.judge(&window(&[9.0]), &[0.0], 10_000_000, &DECISION).unwrap();
        assert!(!verdict.flag);
    }

    #[test]
    fn rows_that_were_not_scored_break_the_run() {
        let mut state = VerdictState::default();
        let flags = [0, 1, 4, 5, 6].map(|k| state.judge(&window(&[9.0]), &[0.0], k * 60_000, &DECISION).unwrap().flag);
        assert_eq!(flags, [false, false, false, false, true]);
    }

    #[test]
    fn nothing_to_compare_is_no_verdict() {
        let mut state = VerdictState::default();
        assert!(state.judge(&window(&[f32::NAN]), &[0.0], 0, &DECISION).is_none());
        assert!(state.judge(&window(&[1.0, f32::NAN]), &[0.0, f32::NAN], 0, &DECISION).is_none());
        assert!(state.judge(&window(&[1.0]), &[f32::INFINITY], 0, &DECISION).is_none());
        assert!(state.last_ms.is_none());
    }
}
