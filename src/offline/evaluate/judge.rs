//! From what a forecast expects of each row to scores and flags, by the service's own verdicts.

use super::explanation::Explanation;
use crate::detect::decision::Decision;
use crate::detect::verdict::VerdictState;
use crate::engine::row::{AlertEligibility, Window};
use crate::offline::labelled::Blame;
use crate::series::TimestampMs;

/// Part of an incident that is looked at for its explanation.
const EXPLAINED_MS: i64 = 15 * 60_000;

/// Row of a host, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// Counted from the host's first one.
    pub row: usize,
    /// Its time.
    pub t_ms: TimestampMs,
    /// Time for which the host is known by then.
    pub history_ms: i64,
}

/// From verdicts to what readers are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The service's decision.
    pub decision: Decision,
    /// Time for which a host must be known before it can be flagged.
    pub min_history_ms: i64,
}

/// The scores and flags of the labelled rows of one host.
#[derive(Debug)]
pub struct Judge<'a> {
    rule: &'a Rule,
    state: VerdictState,
    n_unlabelled: usize,
    blames: &'a [Blame],
    /// By blame and feature, the squared residuals at the incident's start.
    errors: Vec<Vec<f64>>,
    /// By labelled row; 0 where the row had no verdict.
    pub scores: Vec<f64>,
    /// By labelled row.
    pub flags: Vec<bool>,
    /// Labelled rows without a verdict.
    pub n_unscored: usize,
}

impl<'a> Judge<'a> {
    /// A judge of a host that has `n_unlabelled` and then `n_labelled` rows; `blames` speak of the model's features.
    #[must_use]
    pub fn new(rule: &'a Rule, n_unlabelled: usize, n_labelled: usize, blames: &'a [Blame]) -> Self {
        Self {
            rule,
            state: VerdictState::default(),
            n_unlabelled,
            blames,
            errors: vec![Vec::new(); blames.len()],
            scores: vec![0.0; n_labelled],
            flags: vec![false; n_labelled],
            n_unscored: n_labelled,
        }
    }

    /// Judges a row that completed `window`; rows come in order. `expected` is the newest row as forecast, standardised.
    pub fn judge(&mut self, timed: Timed, window: &Window, expected: &[f32]) {
        let Some(verdict) = self.state.judge(window, expected, timed.t_ms, AlertEligibility::Full, &self.rule.decision)
        else {
            return;
        };
        let Some(row) = timed.row.checked_sub(self.n_unlabelled).filter(|row| *row < self.scores.len()) else { return };
        self.scores[row] = verdict.score;
        self.flags[row] = verdict.is_flagged() && timed.history_ms >= self.rule.min_history_ms;
        self.n_unscored -= 1;
        let n_explained = (EXPLAINED_MS / self.rule.decision.step_ms.max(1)).max(1) as usize;
        for (blame, errors) in self.blames.iter().zip(&mut self.errors) {
            if !blame.rows.contains(&row) || row >= blame.rows.start + n_explained {
                continue;
            }
            errors.resize(expected.len(), 0.0);
            for (sum, (target, expected)) in errors.iter_mut().zip(window.target.iter().zip(expected)) {
                *sum += if target.is_nan() { 0.0 } else { f64::from(target - expected).powi(2) };
            }
        }
    }

    /// Measures how well the largest errors at the start of the incidents agree with what was blamed.
    #[must_use]
    pub fn explanation(&self) -> Explanation {
        let mut explanation = Explanation::default();
        for (blame, errors) in self.blames.iter().zip(&self.errors) {
            explanation.add(errors, &blame.columns);
        }
        explanation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::decision::tests::decision;

    const MINUTE_MS: i64 = 60_000;

    #[test]
    fn flags_come_from_verdicts_and_not_before_the_host_is_known() {
        let decision = Decision { for_rows: 2, step_ms: MINUTE_MS, reset_after_ms: 60 * MINUTE_MS, ..decision(1.0) };
        let rule = Rule { decision, min_history_ms: 5 * MINUTE_MS };
        let blames = [Blame { rows: 1..4, columns: vec![1] }];
        let mut judge = Judge::new(&rule, 2, 6, &blames);
        for row in (0..8).filter(|row| *row != 6) {
            let (t_ms, history_ms) = (row as i64 * MINUTE_MS, row as i64 * MINUTE_MS);
            let window = Window {
                input: Box::default(),
                target: [1.0, 2.0].into(),
                mean: [0.0; 2].into(),
                deviation: [1.0; 2].into(),
            };
            judge.judge(Timed { row, t_ms, history_ms }, &window, &[0.0, 0.0]);
        }
        assert_eq!(judge.n_unscored, 1);
        // From 5 minutes on; the row that is not there has no score and no flag.
        assert_eq!(judge.flags, [false, false, false, true, false, true]);
        assert!(judge.scores[4] == 0.0 && judge.scores[3] > 1.0);
        assert_eq!((judge.explanation().events, judge.explanation().top1()), (1, Some(1.0)));
    }
}
