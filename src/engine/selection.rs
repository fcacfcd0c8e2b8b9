//! Which leaves of the plan select a series, and what of its labels decides that. Pure.

use crate::decode::label_hash;
use crate::promql::Plan;
use crate::promql::plan::Spans;
use crate::series::Labels;

/// The leaves that select a series called `name` with `labels`, `__name__` and the identity label among them.
pub(super) fn select(plan: &Plan, name: &str, labels: &[(&str, &str)]) -> Vec<u16> {
    plan.candidates(name).filter(|leaf| plan.leaves[*leaf as usize].selector.is_match(labels)).collect()
}

/// A hash of those labels that selectors read, of the labels that all series of a host share: two hosts that agree in it agree in what
/// is selected.
pub(super) fn selection_class(plan: &Plan, shared_labels: &Labels) -> u64 {
    class_of(plan, shared_labels.iter())
}

pub(super) fn class_of<'a>(plan: &Plan, labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    let is_read = |name: &str| plan.leaves.iter().any(|leaf| leaf.selector.reads(name));
    hash_of(labels.filter(|(name, _)| is_read(name)))
}

pub(super) fn hash_of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    labels.fold(0, |hash, (name, value)| hash.wrapping_add(label_hash(name, value)))
}

/// Returns how far back `leaves` read: at least the lookback, else a series that is scraped less often than its range would come
/// and go.
pub(super) fn reach_ms(plan: &Plan, leaves: &[u16], spans: Spans) -> i64 {
    let reaches = leaves.iter().map(|leaf| plan.leaves[*leaf as usize].reach_ms(spans));
    reaches.fold(spans.lookback_ms, i64::max)
}
