//! Labels in which two senders of one host differ, where `identity.drop` doesn't have them: then sums count everything twice and
//! gauges have two values.
//!
//! Pure. Told from `up`, which has the labels of a target and of its sender and no others: two of one job and instance are two
//! senders'.

use std::sync::Arc;

use super::layout::Layout;
use super::targets::TARGET_LABELS;
use crate::expr::labelset::LabelSets;
use crate::series::Labels;

/// `up` series of one host that are compared with each other.
const UPS_MAX: usize = 16;

/// Two series of one target from two senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Twins {
    /// Their slots.
    pub(super) slots: [u32; 2],
    /// The labels in which they differ, as a list for people.
    pub(super) labels: Arc<str>,
}

impl Twins {
    /// The first two `up` of one target in `layout`.
    pub(super) fn find(layout: &Layout, sets: &LabelSets) -> Option<Self> {
        let ups = layout.ups.iter().take(UPS_MAX);
        let labels = |slot: &u32| sets.get(layout.series[*slot as usize].labels);
        ups.clone().enumerate().find_map(|(i, a)| {
            ups.clone().skip(i + 1).find_map(|b| {
                let names = differing(labels(a), labels(b));
                let is_one_target = !names.is_empty() && !names.iter().any(|name| TARGET_LABELS.contains(name));
                is_one_target.then(|| Self { slots: [*a, *b], labels: names.join(", ").into() })
            })
        })
    }
}

/// The names of labels that `a` and `b` don't have in common.
fn differing<'a>(a: &'a Labels, b: &'a Labels) -> Vec<&'a str> {
    let only_in_a = a.iter().filter(|(name, value)| b.get(name) != Some(*value)).map(|(name, _)| name);
    let only_in_b = b.iter().filter(|(name, _)| a.get(name).is_none()).map(|(name, _)| name);
    only_in_a.chain(only_in_b).collect()
}
