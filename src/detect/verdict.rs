//! From a window and what the model expected to a verdict: mse, score, flag, contributions.
//!
//! Pure: the caller owns one [`VerdictState`] per host and passes the time.

use super::decision::Decision;
use crate::base::remap::Remap;
use crate::engine::row::{AlertEligibility, Window};
use crate::model::residual::ResidualLevels;
use crate::series::TimestampMs;

/// Verdict of the model on one row.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Smoothed mean over the present features of the squared standardised residual, each relative to what is usual for it.
    pub mse: f64,
    /// The mse limit that it was compared with.
    pub limit: f64,
    /// `mse / limit`; above 1 is anomalous.
    pub score: f64,
    /// Whether the host is flagged, after hold-down; `None` where the row may not cause that.
    pub flag: Option<bool>,
    /// The row at which the flag rose, be it one that doesn't count yet.
    pub flagged_since_ms: Option<TimestampMs>,
    /// `[F]` in the order of the bundle: what the model expected, in the feature's unit; NaN where the feature was missing.
    pub expected: Box<[f64]>,
    /// `[F]` in the order of the bundle: share of the error since the flag rose (of this row's where there is no flag);
    /// sums to 1, 0 where missing.
    pub contributions: Box<[f64]>,
}

impl Verdict {
    /// Whether the host is flagged, and that counts.
    #[must_use]
    pub fn is_flagged(&self) -> bool {
        self.flag == Some(true)
    }
}

/// Score of one feature of a row, were all others as expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureScore {
    /// Its part of the row's score before smoothing; NaN where missing.
    pub score: f64,
    /// Distance below and above the expected value that it may have before `score` is over 1, in the feature's unit; infinite on a
    /// side that does not count.
    pub reach: [f64; 2],
}

/// State that a host's next verdict needs of its earlier ones.
#[derive(Debug, Clone, Default)]
pub struct VerdictState {
    /// The mse by the long and by the short smoothing; `None` before the first row.
    smoothed: Option<[f64; 2]>,
    /// The same since the running silence began; `None` outside of one.
    silenced: Option<[f64; 2]>,
    /// Usual errors of the model. Outlives silences.
    levels: ResidualLevels,
    /// Quantile that the host's own limit follows; `None` where it has none or before the first row.
    quantile: Option<f64>,
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
        eligibility: AlertEligibility,
        decision: &Decision,
    ) -> Option<Verdict> {
        let n_present = window.target.iter().filter(|target| target.is_finite()).count();
        if n_present == 0 || expected.iter().any(|e| !e.is_finite()) {
            return None;
        }
        if self.last_ms.is_some_and(|last| t_ms.saturating_sub(last) > decision.reset_after_ms) {
            let (levels, quantile) = (std::mem::take(&mut self.levels), self.quantile);
            *self = Self { levels, quantile, ..Self::default() };
        }
        let learns = eligibility != AlertEligibility::Silenced;
        let errors = self.errors(window, expected, t_ms, learns, decision);
        let mse = errors.iter().filter(|error| !error.is_nan()).sum::<f64>() / n_present as f64;
        if self.last_ms.is_some_and(|last| t_ms.saturating_sub(last) > decision.step_ms) {
            // Rows in a row: one that was not scored breaks the run.
            self.n_over = 0;
        }
        self.last_ms = Some(t_ms);
        let smoothed = self.smooth(mse, learns, decision);
        let limit = self.limit(decision);
        let score = smoothed / limit;
        if learns {
            self.quantile = decision.own_limit.map(|own| own.next(self.quantile, smoothed));
        }
        self.decide(score, t_ms, eligibility, &errors, decision);
        let total: f64 = self.error_sums.iter().sum();
        Some(Verdict {
            mse: smoothed,
            limit,
            score,
            flag: (eligibility == AlertEligibility::Full).then_some(self.flagged_since_ms.is_some()),
            flagged_since_ms: self.flagged_since_ms,
            expected: in_units(window, expected),
            contributions: self.error_sums.iter().map(|sum| if total > 0.0 { sum / total } else { 0.0 }).collect(),
        })
    }

    /// Returns the limit that the smoothed mse is compared with.
    fn limit(&self, decision: &Decision) -> f64 {
        decision.own_limit.map_or(decision.limit, |own| own.limit(self.quantile)) * decision.feedback
    }

    /// Computes what each feature alone would come to, `[F]` in the order of the bundle. To be asked before the row is judged,
    /// which changes what is usual.
    ///
    /// ```text
    /// gain_f  = what relative errors multiply a squared residual with; 1 where the plain squares count
    /// score_f = gain_f · (target − expected)² / (limit · n_present)
    /// reach_f = deviation_f · √(limit · n_present / gain_f), or what the feature's rule asks for where that is more
    /// ```
    /// Over the present features `score_f` sums to the row's `mse / limit` before smoothing, but for the bound of a burst; at a
    /// distance of `reach_f` from the expected value it is 1, or begins to count. So a feature that stays beyond it raises the flag
    /// with no help. A score is 0 where the feature's rule says that the error does not count.
    #[must_use]
    pub fn alone(
        &self,
        window: &Window,
        expected: &[f32],
        t_ms: TimestampMs,
        decision: &Decision,
    ) -> Box<[FeatureScore]> {
        let n_present = window.target.iter().filter(|target| target.is_finite()).count();
        let gains = match &decision.residual {
            Some(constants) => self.levels.gains(window.target.len(), t_ms, constants),
            None => vec![1.0; window.target.len()],
        };
        let most = self.limit(decision) * n_present as f64;
        let in_unit = |feature: usize, z: f32| window.mean[feature] + f64::from(z) * window.deviation[feature];
        let alone = |(feature, gain): (usize, f64)| {
            let (target, expected) = (window.target[feature], expected[feature]);
            let score = gain * f64::from(target - expected).powi(2) / most;
            let reach = window.deviation[feature] * (most / gain).sqrt();
            let Some(rule) = decision.rules.get(feature) else { return FeatureScore { score, reach: [reach; 2] } };
            let (target, expected) = (in_unit(feature, target), in_unit(feature, expected));
            let score = if score.is_nan() || rule.counts(target, expected) { score } else { 0.0 };
            FeatureScore { score, reach: rule.reach(expected).map(|least| reach.max(least)) }
        };
        gains.into_iter().enumerate().map(alone).collect()
    }

    /// The state of a model whose features are these columns of this one's: the flag stays until that model clears it.
    #[must_use]
    pub fn moved(&self, columns: &Remap) -> Self {
        Self {
            levels: self.levels.moved(columns),
            error_sums: match self.error_sums[..] {
                [] => Vec::new(),
                _ => columns.moved(&self.error_sums, 0.0).into_vec(),
            },
            ..*self
        }
    }

    /// The same, of the levels alone.
    #[must_use]
    pub fn levels_of(&self, columns: &Remap) -> Self {
        Self { levels: self.levels.moved(columns), ..Self::default() }
    }

    /// `[F]`; NaN where missing, 0 where the feature's rule says that the error does not count.
    fn errors(
        &mut self,
        window: &Window,
        expected: &[f32],
        t_ms: TimestampMs,
        learns: bool,
        decision: &Decision,
    ) -> Vec<f64> {
        let mut errors = match &decision.residual {
            Some(constants) => {
                // Silences are rare enough for a copy.
                let mut copy = (!learns).then(|| self.levels.clone());
                let levels = copy.as_mut().unwrap_or(&mut self.levels);
                levels.relative(&window.target, expected, t_ms, decision.step_ms, constants)
            }
            None => {
                let squared = |(target, expected): (&f32, &f32)| f64::from(target - expected).powi(2);
                window.target.iter().zip(expected).map(squared).collect()
            }
        };
        for (feature, (error, rule)) in errors.iter_mut().zip(decision.rules.iter()).enumerate() {
            let in_unit = |z: f32| window.mean[feature] + f64::from(z) * window.deviation[feature];
            if !error.is_nan() && !rule.counts(in_unit(window.target[feature]), in_unit(expected[feature])) {
                *error = 0.0;
            }
        }
        errors
    }

    /// A silence is smoothed apart. After it the lower of both counts: neither what was wrong in the silence nor what was wrong
    /// before it, and is over, is to be flagged when it ends.
    fn smooth(&mut self, mse: f64, learns: bool, decision: &Decision) -> f64 {
        let (long_rows, short_rows) = (decision.smoothing_rows.max(1.0), decision.short_smoothing_rows.max(1.0));
        let next = |before: Option<[f64; 2]>| {
            before
                .map_or([mse; 2], |[long, short]| [long + (mse - long) / long_rows, short + (mse - short) / short_rows])
        };
        let [long, short] = if learns {
            if let (Some(before), Some(silenced)) = (&mut self.smoothed, self.silenced.take()) {
                *before = [before[0].min(silenced[0]), before[1].min(silenced[1])];
            }
            *self.smoothed.insert(next(self.smoothed))
        } else {
            *self.silenced.insert(next(self.silenced.or(self.smoothed)))
        };
        if short_rows < long_rows { long.max(short * decision.short_weight) } else { long }
    }

    /// Hold-down: up after `for_rows` rows over 1, down under `clear`; a row that may not flag counts as neither and takes the flag
    /// down.
    fn decide(
        &mut self,
        score: f64,
        t_ms: TimestampMs,
        eligibility: AlertEligibility,
        errors: &[f64],
        decision: &Decision,
    ) {
        if !eligibility.may_flag() {
            (self.flagged_since_ms, self.n_over) = (None, 0);
        }
        let is_over = eligibility.may_flag() && score > 1.0;
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
    use super::super::decision::tests::decision;
    use super::super::decision::{Detect, FeatureRule, OwnLimit};
    use super::*;

    const FULL: AlertEligibility = AlertEligibility::Full;

    fn window(target: &[f32]) -> Window {
        let n = target.len();
        let mean = target.iter().map(|z| if z.is_nan() { f64::NAN } else { 100.0 }).collect();
        Window { input: Box::default(), target: target.into(), mean, deviation: vec![10.0; n].into() }
    }

    #[test]
    fn what_each_feature_alone_comes_to_adds_up_to_the_score_of_the_row() {
        let residual = Some(crate::model::residual::Constants::default());
        for decision in [decision(2.0), Decision { residual, ..decision(2.0) }] {
            let mut state = VerdictState::default();
            for row in 0..500 {
                let z = |f: i64| (((row * 7 + f * 13) % 11) as f32 - 5.0) / 3.0;
                let (window, expected) = (window(&[z(0), f32::NAN, z(1), z(2)]), [z(0) * 0.9, 1.0, 0.3, 0.0]);
                let alone = state.alone(&window, &expected, row * 60_000, &decision);
                let verdict = state.judge(&window, &expected, row * 60_000, FULL, &decision).unwrap();
                let sum: f64 = [0, 2, 3].map(|f| alone[f].score).iter().sum();
                assert!((sum - verdict.score).abs() < 1e-9, "row {row}: {sum} {}", verdict.score);
                assert!(alone[1].score.is_nan());
                for f in [0, 2, 3] {
                    // The window's deviation is 10.
                    let distance = 10.0 * f64::from(window.target[f] - expected[f]);
                    assert!(((distance / alone[f].reach[1]).powi(2) - alone[f].score).abs() < 1e-9, "row {row}");
                }
            }
        }
        let alone = VerdictState::default().alone(&window(&[3.0, 0.0]), &[0.0; 2], 0, &decision(2.0));
        assert_eq!(alone[0], FeatureScore { score: 9.0 / 4.0, reach: [20.0; 2] });
    }

    #[test]
    fn what_a_feature_alone_comes_to_is_by_its_rule() {
        // The feature is 30 above the 100 that are expected, and 20 are its reach.
        let check = |detect, min_dev, min_rel_dev, expected: (f64, [f64; 2])| {
            let rules = [FeatureRule { detect, min_dev, min_rel_dev }].into();
            let decision = Decision { rules, ..decision(2.0) };
            let mut state = VerdictState::default();
            let (window, row) = (window(&[3.0, 0.0]), [0.0; 2]);
            let alone = state.alone(&window, &row, 0, &decision);
            assert_eq!((alone[0].score, alone[0].reach), expected, "{detect:?} {min_dev} {min_rel_dev}");
            assert_eq!(state.judge(&window, &row, 0, FULL, &decision).unwrap().score, expected.0);
        };
        check(Detect::Both, 0.0, 0.0, (2.25, [20.0; 2]));
        check(Detect::Both, 25.0, 0.0, (2.25, [25.0; 2]));
        check(Detect::Both, 0.0, 0.5, (0.0, [50.0; 2]));
        check(Detect::Above, 0.0, 0.0, (2.25, [f64::INFINITY, 20.0]));
        check(Detect::Below, 0.0, 0.0, (0.0, [20.0, f64::INFINITY]));
        check(Detect::Never, 0.0, 0.0, (0.0, [f64::INFINITY; 2]));
    }

    #[test]
    fn mse_leaves_missing_features_out_and_contributions_sum_to_one() {
        let verdict = VerdictState::default()
            .judge(&window(&[3.0, f32::NAN, 0.0]), &[0.0, 9.0, 1.0], 0, FULL, &decision(2.0))
            .unwrap();
        assert_eq!((verdict.mse, verdict.score, verdict.is_flagged()), (5.0, 2.5, false));
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
                let verdict = state.judge(&window(&[residual]), &[0.0], k * 60_000, FULL, decision).unwrap();
                if verdict.is_flagged() { '!' } else { '.' }
            })
            .collect();
        assert_eq!(flags, expected, "{scores:?}");
    }

    #[test]
    fn the_flag_rises_after_three_rows_and_falls_under_clear() {
        check(&decision(2.0), &[2.0, 2.0, 2.0, 2.0], "..!!");
        check(&decision(2.0), &[2.0, 2.0, 0.9, 2.0, 2.0, 2.0], ".....!");
        check(&decision(2.0), &[2.0, 2.0, 2.0, 0.9, 0.8, 0.6, 0.9], "..!!!..");
        check(&decision(2.0), &[1.0, 1.0, 1.0, 1.0], "....");
    }

    #[test]
    fn one_outlier_is_smoothed_away() {
        let smooth = Decision { smoothing_rows: 10.0, short_smoothing_rows: 10.0, ..decision(2.0) };
        check(&smooth, &[0.1, 9.0, 0.1, 0.1, 0.1], ".....");
        check(&smooth, &[0.1, 9.0, 9.0, 9.0, 9.0], "....!");
    }

    #[test]
    fn contributions_are_summed_since_the_score_went_over() {
        let mut state = VerdictState::default();
        state.judge(&window(&[9.0, 0.0]), &[0.0, 0.0], 0, FULL, &decision(2.0));
        state.judge(&window(&[0.0, 0.0]), &[0.0, 0.0], 60_000, FULL, &decision(2.0));
        state.judge(&window(&[3.0, 0.0]), &[0.0, 0.0], 120_000, FULL, &decision(2.0));
        let verdict = state.judge(&window(&[0.0, 3.0]), &[0.0, 0.0], 180_000, FULL, &decision(2.0)).unwrap();
        assert_eq!(verdict.contributions.as_ref(), [0.5, 0.5]);
    }

    #[test]
    fn a_long_silence_starts_over() {
        let mut state = VerdictState::default();
        for k in 0..3 {
            state.judge(&window(&[9.0]), &[0.0], k * 60_000, FULL, &decision(2.0));
        }
        let verdict = state.judge(&window(&[9.0]), &[0.0], 10_000_000, FULL, &decision(2.0)).unwrap();
        assert!(!verdict.is_flagged());
    }

    #[test]
    fn rows_that_were_not_scored_break_the_run() {
        let mut state = VerdictState::default();
        let flags = [0, 1, 4, 5, 6]
            .map(|k| state.judge(&window(&[9.0]), &[0.0], k * 60_000, FULL, &decision(2.0)).unwrap().is_flagged());
        assert_eq!(flags, [false, false, false, false, true]);
    }

    #[test]
    fn what_a_rule_leaves_out_is_no_error() {
        let rules = [
            FeatureRule { detect: Detect::Below, ..FeatureRule::default() },
            FeatureRule { min_dev: 21.0, ..FeatureRule::default() },
            FeatureRule::default(),
        ];
        let decision = Decision { rules: rules.into(), ..decision(2.0) };
        let judge = |target: &[f32]| {
            VerdictState::default().judge(&window(target), &[0.0, 0.0, 0.0], 0, FULL, &decision).unwrap()
        };
        // Above what is expected by 10, 20 and 30 in their unit; then below.
        let verdict = judge(&[1.0, 2.0, 3.0]);
        assert_eq!((verdict.mse, verdict.contributions.as_ref()), (3.0, [0.0, 0.0, 1.0].as_slice()));
        assert_eq!(judge(&[-1.0, -2.5, -3.0]).mse, (1.0 + 6.25 + 9.0) / 3.0);
        assert_eq!(judge(&[1.0, 2.0, f32::NAN]).contributions.as_ref(), [0.0; 3]);
    }

    #[test]
    fn a_silenced_row_changes_nothing() {
        let decision = Decision {
            residual: Some(Default::default()),
            own_limit: Some(OwnLimit::around(2.0)),
            smoothing_rows: 5.0,
            ..decision(2.0)
        };
        let run = |silenced: &[f32]| {
            let mut state = VerdictState::default();
            let rows = [0.1, 0.2, 0.1].iter().map(|z| (*z, FULL));
            let rows = rows.chain(silenced.iter().map(|z| (*z, AlertEligibility::Silenced))).chain([(0.3, FULL)]);
            let judge = |(k, (z, eligibility)): (i64, (f32, AlertEligibility))| {
                state.judge(&window(&[z]), &[0.0], k * 60_000, eligibility, &decision).unwrap()
            };
            (0..).zip(rows).map(judge).map(|verdict| (verdict.score, verdict.is_flagged())).collect::<Vec<_>>()
        };
        let (none, loud) = (run(&[]), run(&[20.0; 5]));
        assert!(loud[5].0 > 1.0, "the score is shown: {loud:?}");
        assert!(loud.iter().all(|(_, flag)| !flag));
        assert_eq!(none.last(), loud.last());
    }

    #[test]
    fn what_ends_within_a_silence_is_over() {
        let decision = Decision { smoothing_rows: 5.0, ..decision(2.0) };
        let last = |silenced: f32, after: f32| {
            let mut state = VerdictState::default();
            let rows = [(9.0, FULL); 5]
                .into_iter()
                .chain([(silenced, AlertEligibility::Silenced); 25])
                .chain([(after, FULL); 3]);
            let judge = |(k, (z, eligibility)): (i64, (f32, AlertEligibility))| {
                state.judge(&window(&[z]), &[0.0], k * 60_000, eligibility, &decision).unwrap()
            };
            let verdicts: Vec<Verdict> = (0..).zip(rows).map(judge).collect();
            assert!(verdicts[4].is_flagged() && verdicts[5..30].iter().all(|verdict| !verdict.is_flagged()));
            ((verdicts[29].score > 1.0, verdicts[30].score > 1.0), verdicts[32].is_flagged())
        };
        assert_eq!(last(0.1, 0.1), ((false, false), false), "not shown, and not flagged again");
        assert_eq!(last(9.0, 9.0), ((true, true), true), "it goes on");
        assert_eq!(last(9.0, 0.1), ((true, true), true), "it has just ended: as without a silence");
    }

    #[test]
    fn a_backlog_is_learnt_and_raises_no_flag() {
        let mut state = VerdictState::default();
        let mut judge = |k: i64, eligibility| {
            state.judge(&window(&[9.0]), &[0.0], k * 60_000, eligibility, &decision(2.0)).unwrap().is_flagged()
        };
        let flags: Vec<bool> = (0..6).map(|k| judge(k, AlertEligibility::Backlog)).collect();
        assert_eq!(flags, [false; 6]);
        // Rows in a row count from the first that may flag.
        let flags: Vec<bool> = (6..9).map(|k| judge(k, FULL)).collect();
        assert_eq!(flags, [false, false, true]);
        assert!(!judge(9, AlertEligibility::Backlog), "and take a flag down");
    }

    #[test]
    fn another_model_knows_what_it_shares_with_the_one_before() {
        let relative = Decision { residual: Some(Default::default()), ..decision(2.0) };
        let mut state = VerdictState::default();
        let mut last = None;
        for k in 0..500 {
            let swing = if k % 2 == 0 { 1.0 } else { -1.0 };
            let row = [swing, 0.0, if k < 490 { 0.0 } else { 9.0 }];
            last = state.judge(&window(&row), &[0.0, 0.0, 0.0], k * 60_000, FULL, &relative);
        }
        let last = last.unwrap();
        assert!(last.is_flagged());
        // The same columns: as if nothing had happened.
        let next = |state: &VerdictState, row: &[f32]| {
            let expected = vec![0.0; row.len()];
            state.clone().judge(&window(row), &expected, 500 * 60_000, FULL, &relative).unwrap()
        };
        let remap = |new: &str| Remap::new(b"abc", new.as_bytes());
        let same = state.moved(&remap("abc"));
        let (a, b) = (next(&state, &[1.0, 0.0, 9.0]), next(&same, &[1.0, 0.0, 9.0]));
        assert_eq!((a.mse, a.flagged_since_ms, a.contributions), (b.mse, b.flagged_since_ms, b.contributions));
        // In another order, with one that is new and one that is gone.
        let other = next(&state.moved(&remap("cxa")), &[9.0, 0.0, 1.0]);
        assert_eq!(other.flagged_since_ms, last.flagged_since_ms, "a new model doesn't clear a flag by coming");
        assert!(other.contributions[0] > 0.9 && other.contributions[1] == 0.0, "{:?}", other.contributions);
        // For a shadow the levels alone.
        let shadow = next(&state.levels_of(&remap("ac")), &[0.9, 9.0]);
        let fresh = next(&VerdictState::default(), &[0.9, 9.0]);
        // What was forecast well until now counts more.
        assert!(shadow.flagged_since_ms.is_none() && shadow.mse > 2.0 * fresh.mse, "{} {}", shadow.mse, fresh.mse);
        assert_eq!(next(&state.levels_of(&remap("xy")), &[0.9, 9.0]).mse, fresh.mse);
    }

    #[test]
    fn nothing_to_compare_is_no_verdict() {
        let mut state = VerdictState::default();
        assert!(state.judge(&window(&[f32::NAN]), &[0.0], 0, FULL, &decision(2.0)).is_none());
        assert!(state.judge(&window(&[1.0, f32::NAN]), &[0.0, f32::NAN], 0, FULL, &decision(2.0)).is_none());
        assert!(state.judge(&window(&[1.0]), &[f32::INFINITY], 0, FULL, &decision(2.0)).is_none());
        assert!(state.last_ms.is_none());
    }
}
