//! Which features apply to a host: those that it has had, and not lost for good. Pure.
//!
//! A host is judged on the features that apply to it. What it never had says nothing of it, and what it had and lacks is missing.

use super::row::{Missing, MissingReason};
use crate::base::remap::Remap;
use crate::promql::Plan;
use crate::promql::eval::EvalError;
use crate::promql::plan::Spans;

/// A feature that had no value for so long does not apply any more: a collector was switched off, a device was taken out. A day,
/// so that a nightly job that a feature speaks of, and whoever repairs an exporter, come before it.
const LOST_AFTER_MS: u32 = 24 * 3_600_000;

/// A feature that does not apply.
const NEVER: u32 = u32::MAX;

/// Time since each feature of one host had a value.
#[derive(Debug, Clone)]
pub struct Applicable {
    /// By configured feature: event time since the newest value, in milliseconds; [`NEVER`] where it does not apply.
    ages_ms: Box<[u32]>,
}

impl Applicable {
    /// No feature was seen yet.
    #[must_use]
    pub fn new(n_features: usize) -> Self {
        Self { ages_ms: vec![NEVER; n_features].into() }
    }

    /// Takes the next row, of all configured features and NaN where missing, and which are without a value; rows are `step_ms`
    /// apart. A feature whose series are there and whose expression is to be mended applies too. A row without anything makes
    /// nothing older: then it is the host that is gone, and not a feature.
    pub fn observe(&mut self, values: &[f64], without: &[Missing], step_ms: i64) {
        let to_mend = without.iter().filter(|missing| missing.why.is_to_mend()).map(|missing| missing.feature);
        if values.iter().all(|value| value.is_nan()) && to_mend.clone().next().is_none() {
            return;
        }
        let step_ms = u32::try_from(step_ms.max(0)).unwrap_or(LOST_AFTER_MS);
        for (age_ms, value) in self.ages_ms.iter_mut().zip(values) {
            *age_ms = match *age_ms {
                _ if !value.is_nan() => 0,
                NEVER => NEVER,
                age_ms => Some(age_ms.saturating_add(step_ms)).filter(|ms| *ms < LOST_AFTER_MS).unwrap_or(NEVER),
            };
        }
        for feature in to_mend {
            if let Some(age_ms) = self.ages_ms.get_mut(usize::from(feature)) {
                *age_ms = 0;
            }
        }
    }

    /// Whether the feature applies.
    #[must_use]
    pub fn has(&self, feature: u16) -> bool {
        self.ages_ms.get(usize::from(feature)).is_some_and(|age_ms| *age_ms != NEVER)
    }

    /// The same of another configuration.
    pub(super) fn moved(&self, features: &Remap) -> Self {
        Self { ages_ms: features.moved(&self.ages_ms, NEVER) }
    }

    /// Parts the features without a value into those that are missing and those that do not apply. The latter is said once the
    /// host has been seen for as long as the feature reads back, and for `least_ms`.
    pub(super) fn part(
        &self,
        without: Vec<Missing>,
        plan: &Plan,
        spans: Spans,
        history_ms: i64,
        least_ms: i64,
    ) -> Lacking {
        let reach_ms = |feature: u16| {
            let leaves = plan.leaves_of.get(usize::from(feature)).map_or(&[][..], |leaves| leaves);
            leaves.iter().map(|leaf| plan.leaves[usize::from(*leaf)].reach_ms(spans)).max().unwrap_or(0)
        };
        let is_missing = |missing: &Missing| {
            self.has(missing.feature)
                || missing.why == MissingReason::Error(EvalError::JustBegun)
                || history_ms < least_ms.max(reach_ms(missing.feature))
        };
        let (missing, not_applicable): (Vec<_>, Vec<_>) = without.into_iter().partition(is_missing);
        Lacking { missing: missing.into(), not_applicable: not_applicable.into() }
    }
}

impl MissingReason {
    /// Whether the feature's series are there, and something must change for it to have a value.
    fn is_to_mend(self) -> bool {
        match self {
            Self::Error(error) => error != EvalError::JustBegun,
            Self::RangeTooShort(_) | Self::SeldomScraped | Self::OutOfBounds => true,
            Self::Unmatched(_) | Self::NoValue => false,
        }
    }
}

/// The configured features that the newest row lacks, each in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Lacking {
    /// Those that apply to the host, or may yet.
    pub(super) missing: Box<[Missing]>,
    /// Those that don't.
    pub(super) not_applicable: Box<[Missing]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::FeatureSource;

    const HOUR_MS: i64 = 3_600_000;
    const NAN: f64 = f64::NAN;

    /// After these rows, an hour apart and each so many times: which features apply.
    #[track_caller]
    fn check(rows: &[([f64; 2], usize)], expected: [bool; 2]) {
        let mut applicable = Applicable::new(2);
        for (row, times) in rows {
            (0..*times).for_each(|_| applicable.observe(row, &[], HOUR_MS));
        }
        assert_eq!([applicable.has(0), applicable.has(1)], expected, "{rows:?}");
    }

    #[test]
    fn what_was_had_applies_until_it_is_lost_for_a_day() {
        check(&[], [false; 2]);
        check(&[([1.0, NAN], 1_000)], [true, false]);
        check(&[([1.0, 1.0], 1), ([1.0, NAN], 23)], [true, true]);
        check(&[([1.0, 1.0], 1), ([1.0, NAN], 24)], [true, false]);
        check(&[([1.0, 1.0], 1), ([1.0, NAN], 30), ([1.0, 1.0], 1)], [true, true]);
        check(&[([1.0, 1.0], 1), ([1.0, NAN], 23), ([1.0, 1.0], 1), ([1.0, NAN], 23)], [true, true]);
    }

    #[test]
    fn a_host_that_is_gone_loses_nothing() {
        check(&[([1.0, 1.0], 1), ([NAN, NAN], 1_000), ([1.0, NAN], 23)], [true, true]);
    }

    #[test]
    fn what_is_there_and_to_be_mended_applies() {
        let check = |why: MissingReason, expected: bool| {
            let mut applicable = Applicable::new(2);
            applicable.observe(&[NAN, NAN], &[Missing { feature: 1, why }], HOUR_MS);
            assert_eq!([applicable.has(0), applicable.has(1)], [false, expected], "{why:?}");
        };
        check(MissingReason::Error(EvalError::ManyValues), true);
        check(MissingReason::Error(EvalError::SamplesNotKept), true);
        check(MissingReason::RangeTooShort(0), true);
        check(MissingReason::OutOfBounds, true);
        check(MissingReason::Error(EvalError::JustBegun), false);
        check(MissingReason::Unmatched(0), false);
        check(MissingReason::NoValue, false);
    }

    #[test]
    fn any_step_is_borne() {
        for step_ms in [i64::MIN, 0, 1, i64::MAX] {
            let mut applicable = Applicable::new(1);
            applicable.observe(&[1.0], &[], step_ms);
            assert!(applicable.has(0) && !applicable.has(1), "{step_ms}");
        }
    }

    #[test]
    fn another_configuration() {
        let mut applicable = Applicable::new(3);
        applicable.observe(&[1.0, NAN, 2.0], &[], HOUR_MS);
        let moved = applicable.moved(&Remap::new(&["a", "b", "c"], &["b", "x", "y", "a"]));
        assert_eq!([0, 1, 2, 3].map(|feature| moved.has(feature)), [false, false, false, true]);
    }

    #[test]
    fn it_is_said_once_all_that_a_feature_reads_has_been_seen() {
        let sources = ["g", "sum(rate(c[15m]))"].map(|expr| FeatureSource { name: "f", expr, at: "test" });
        let plan = Plan::compile(&sources, 300_000).unwrap();
        let spans = Spans { lookback_ms: 300_000, range_ms: 120_000 };
        let mut applicable = Applicable::new(2);
        let check = |applicable: &Applicable, why: MissingReason, minutes: i64, expected: (&[u16], &[u16])| {
            let without = vec![Missing { feature: 0, why }, Missing { feature: 1, why }];
            let Lacking { missing, not_applicable } = applicable.part(without, &plan, spans, minutes * 60_000, 600_000);
            let names = |all: &[Missing]| all.iter().map(|missing| missing.feature).collect::<Vec<_>>();
            assert_eq!((names(&missing), names(&not_applicable)), (expected.0.to_vec(), expected.1.to_vec()));
        };
        check(&applicable, MissingReason::NoValue, 9, (&[0, 1], &[]));
        check(&applicable, MissingReason::NoValue, 10, (&[1], &[0]));
        check(&applicable, MissingReason::NoValue, 15, (&[], &[0, 1]));
        check(&applicable, MissingReason::Error(EvalError::JustBegun), 15, (&[0, 1], &[]));
        applicable.observe(&[NAN, 1.0], &[], 60_000);
        check(&applicable, MissingReason::NoValue, 15, (&[1], &[0]));
    }
}
