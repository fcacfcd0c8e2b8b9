//! The values of a host's features at a step, and why a feature has none.

use std::sync::Arc;

use super::host::Host;
use super::row::{Missing, MissingReason};
use super::suspects::Reading;
use super::{Output, Shared};
use crate::base::bounds::Bounds;
use crate::promql::eval::{Element, EvalError, Evaluation, Vector, give_back_parts};
use crate::promql::plan::{Range, Rollup};
use crate::promql::program::LeafId;
use crate::series::TimestampMs;

impl Host {
    /// One value per configured feature; NaN where it has none, no finite one, one out of bounds, or one of a counter that was wrong.
    pub(super) fn evaluate(&mut self, t_ms: TimestampMs, shared: &mut Shared, out: &mut Output) -> Vec<f64> {
        let plan = Arc::clone(&shared.config.plan);
        let (vectors, scratch) = ((&mut shared.leaf_vectors, &mut shared.incomplete_leaves), &mut shared.clock_scratch);
        let paced = &shared.paces[self.pace];
        self.slots.evaluate(&paced.wiring, paced.pace.spans.lookback_ms, t_ms, vectors, scratch);
        let slots = &self.slots;
        let has_fall = |feature: u16| {
            let mut leaves = plan.leaves_of.get(usize::from(feature)).into_iter().flatten();
            leaves.any(|leaf| slots.has_fall(*leaf, &paced.wiring, t_ms))
        };
        self.suspects.begin(t_ms, has_fall);
        let without_doubtful = self.without_doubtful(t_ms, shared);
        let spans = shared.paces[self.pace].pace.spans;
        let mut evaluation = Evaluation {
            t_ms,
            leaves: &shared.leaf_vectors,
            incomplete: &shared.incomplete_leaves,
            parts: &plan.parts,
            values_of_parts: &mut shared.values_of_parts,
            shared_labels: &self.shared_labels,
            sets: &mut shared.sets,
            spare: &mut shared.spare_vectors,
        };
        let features = (0..).zip(&plan.features);
        let has_twins = self.twins.is_some();
        let is_doubtful = |feature: u16, value: f64| {
            let without = without_doubtful.iter().find(|(of, _)| *of == feature);
            without.is_some_and(|(_, without)| without.to_bits() != value.to_bits())
        };
        let value = |(feature, node)| match evaluation.value(node) {
            Ok(Some(value)) if !value.is_nan() => {
                let reading = Reading { host: &self.id, feature, value, t_ms, spans };
                let admitted = self.suspects.admit(reading, &shared.config, &mut out.out_of_bounds);
                if !admitted.is_nan() && is_doubtful(feature, value) {
                    out.feature_errors.push((feature, EvalError::CounterFellBack));
                    return f64::NAN;
                }
                if admitted.is_finite() { admitted } else { f64::NAN }
            }
            Ok(_) => f64::NAN,
            Err(error) => {
                let is_by_senders = matches!(error, EvalError::ManyValues | EvalError::ManyToMany) && has_twins;
                out.feature_errors.push((feature, if is_by_senders { EvalError::TwoSenders } else { error }));
                f64::NAN
            }
        };
        let mut values: Vec<f64> = features.map(value).collect();
        self.suspects.spread(&plan, t_ms, spans, &mut values);
        give_back_parts(&mut shared.values_of_parts, &mut shared.spare_vectors);
        values
    }

    /// By feature that has bounds and reads a counter of which a value was wrong: what it gives where that counter has a rate of 0, which is
    /// NaN where it gives nothing. Another value means that it depends on the counter. Empty where there is none, as nearly always.
    fn without_doubtful(&self, t_ms: TimestampMs, shared: &mut Shared) -> Vec<(u16, f64)> {
        let plan = Arc::clone(&shared.config.plan);
        let wiring = &shared.paces[self.pace].wiring;
        let (mut leaves, mut without): (Vec<LeafId>, Vec<Vector>) = (Vec::new(), Vec::new());
        for leaf in 0..plan.leaves.len() as LeafId {
            let mut doubtful = Vec::new();
            self.slots.doubtful(leaf, wiring, t_ms, |member| doubtful.push(member.labels));
            if doubtful.is_empty() {
                continue;
            }
            if without.is_empty() {
                without = shared.leaf_vectors.clone();
            }
            doubtful.sort_unstable();
            let elements = without[usize::from(leaf)].iter_mut();
            let is_doubtful = |element: &&mut Element| doubtful.binary_search(&element.labels).is_ok();
            elements.filter(is_doubtful).for_each(|element| element.value = 0.0);
            leaves.push(leaf);
        }
        if leaves.is_empty() {
            return Vec::new();
        }
        let mut evaluation = Evaluation {
            t_ms,
            leaves: &without,
            incomplete: &shared.incomplete_leaves,
            parts: &plan.parts,
            values_of_parts: &mut shared.values_of_parts,
            shared_labels: &self.shared_labels,
            sets: &mut shared.sets,
            spare: &mut shared.spare_vectors,
        };
        let has_bounds = |feature: usize| shared.config.bounds.get(feature).is_some_and(|b| *b != Bounds::NONE);
        let reads = |feature: usize| plan.leaves_of[feature].iter().any(|leaf| leaves.contains(leaf));
        let features = plan.features.iter().enumerate().filter(|(feature, _)| has_bounds(*feature) && reads(*feature));
        let mut value = |node| evaluation.value(node).ok().flatten().unwrap_or(f64::NAN);
        let values = features.map(|(feature, node)| (feature as u16, value(node))).collect();
        give_back_parts(&mut shared.values_of_parts, &mut shared.spare_vectors);
        values
    }

    /// The features without a value in the row just evaluated.
    pub(super) fn without(
        &self,
        t_ms: TimestampMs,
        values: &[f64],
        errors: &[(u16, EvalError)],
        shared: &Shared,
    ) -> Vec<Missing> {
        let plan = &shared.config.plan;
        let is_empty = |leaf: &&LeafId| shared.leaf_vectors.get(usize::from(**leaf)).is_none_or(Vector::is_empty);
        let interval_ms = self.interval_ms(shared);
        // One more than it needs: with fewer, jitter alone leaves it without.
        let is_short = |leaf: LeafId| match plan.leaves.get(usize::from(leaf)).map(|leaf| leaf.rollup) {
            Some(Rollup::Range(function, Range::Fixed(range_ms))) => {
                interval_ms.is_some_and(|interval_ms| range_ms < interval_ms.saturating_mul(function.samples_min() + 1))
            }
            _ => false,
        };
        let paced = self.paced(shared);
        // A host that has just begun has had one scrape.
        let is_settled = self.windows.n_rows() > 2 && shared.config.interval_ms.is_some();
        let is_seldom = |leaf: LeafId| {
            let leaf = plan.leaves.get(usize::from(leaf));
            is_settled && leaf.is_some_and(|leaf| matches!(leaf.rollup, Rollup::Range(_, Range::Scrapes)))
        };
        let arrives = |leaf| self.slots.reads_live(leaf, &paced.wiring, t_ms, paced.pace.spans.lookback_ms);
        let why = |feature: u16| {
            if let Some((_, error)) = errors.iter().find(|(failed, _)| *failed == feature) {
                return MissingReason::Error(*error);
            }
            if self.suspects.has(feature) {
                return MissingReason::OutOfBounds;
            }
            let leaves = plan.leaves_of.get(usize::from(feature));
            match leaves.and_then(|leaves| leaves.iter().find(is_empty)) {
                None => MissingReason::NoValue,
                Some(leaf) if !arrives(*leaf) => MissingReason::Unmatched(*leaf),
                Some(leaf) if is_short(*leaf) => MissingReason::RangeTooShort(*leaf),
                Some(leaf) if is_seldom(*leaf) => MissingReason::SeldomScraped,
                Some(_) => MissingReason::NoValue,
            }
        };
        let without = (0..).zip(values).filter(|(_, value)| value.is_nan());
        without.map(|(feature, _)| Missing { feature, why: why(feature) }).collect()
    }
}
