//! Labels in which two senders of one host differ, where `identity.drop` doesn't have them: then sums count everything twice and
//! gauges have two values.
//!
//! Pure. Told from `up`, which has the labels of a target and of its sender and no others: two of one job and instance, of which some
//! other metric comes twice too, are two senders'. Without that they are two paths or modules of one target, such as a kubelet's. Where no
//! `up` comes, from a label that tells nearly all series apart, whatever their metric.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::layout::{Layout, Series};
use super::targets::TARGET_LABELS;
use crate::promql::labelset::{LabelSets, SHARED};
use crate::series::Labels;

/// `up` series of one host that are compared with each other.
const UPS_MAX: usize = 16;
/// Series of one of two `up` that are compared with those of the other.
const COMPARED_MAX: usize = 64;
/// Selectors that a label of senders stands in at least where no `up` comes: labels such as `cpu` stand in a few.
const METRICS_MIN: usize = 8;
/// Share of series that have a twin there.
const NEARLY_ALL: f64 = 0.9;

/// Two series of one target from two senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Twins {
    /// Their slots.
    pub(super) slots: [u32; 2],
    /// The labels in which they differ, as a list for people.
    pub(super) labels: Arc<str>,
}

impl Twins {
    /// The first two series of two senders in `layout`.
    pub(super) fn find(layout: &Layout, sets: &LabelSets) -> Option<Self> {
        if layout.ups.is_empty() {
            return Self::without_up(layout, sets);
        }
        let ups = layout.ups.iter().take(UPS_MAX);
        let labels = |slot: &u32| sets.get(layout.series[*slot as usize].labels);
        ups.clone().enumerate().find_map(|(i, a)| {
            ups.clone().skip(i + 1).find_map(|b| {
                let names = differing(labels(a), labels(b));
                let is_one_target = !names.is_empty() && !names.iter().any(|name| TARGET_LABELS.contains(name));
                let is_twin = is_one_target && has_other_twins(layout, sets, &names, [labels(a), labels(b)]);
                is_twin.then(|| Self { slots: [*a, *b], labels: names.join(", ").into() })
            })
        })
    }

    fn without_up(layout: &Layout, sets: &LabelSets) -> Option<Self> {
        let first = sets.get(layout.series.first()?.labels);
        let names = first.iter().map(|(name, _)| name).filter(|name| !TARGET_LABELS.contains(name));
        names.filter(|name| first.get(name) != Some(SHARED)).find_map(|name| {
            let slots = told_apart_by(name, layout, sets)?;
            Some(Self { slots, labels: name.into() })
        })
    }
}

/// Whether some metric that is no `up` comes twice, once with the values of `names` in each of `of_ups`.
fn has_other_twins(layout: &Layout, sets: &LabelSets, names: &[&str], of_ups: [&Labels; 2]) -> bool {
    let others = || layout.series.iter().filter(|series| !series.is_up);
    let is_of = |up: &Labels, labels: &Labels| names.iter().all(|name| labels.get(name) == up.get(name));
    let of = |up| others().filter(move |series| is_of(up, sets.get(series.labels)));
    let is_twin = |a: &Series, b: &Series| {
        a.leaves == b.leaves && rest(sets.get(a.labels), names).eq(rest(sets.get(b.labels), names))
    };
    of(of_ups[0]).take(COMPARED_MAX).any(|a| of(of_ups[1]).any(|b| is_twin(a, b)))
}

/// Two series that differ in `name` alone, where nearly all series have another one that does, of so many metrics that it is no label of
/// theirs.
fn told_apart_by(name: &str, layout: &Layout, sets: &LabelSets) -> Option<[u32; 2]> {
    let (names, mut groups) = ([name], HashMap::<(&[u16], Vec<(&str, &str)>), (u32, u32)>::new());
    for (slot, series) in (0..).zip(&layout.series) {
        let labels = sets.get(series.labels);
        labels.get(name)?;
        groups
            .entry((&series.leaves, rest(labels, &names).collect()))
            .and_modify(|slots| slots.1 = slot)
            .or_insert((slot, slot));
    }
    let metrics: HashSet<&[u16]> = groups.keys().map(|(leaves, _)| *leaves).collect();
    let n_twins = groups.values().filter(|(first, last)| first < last).count();
    let is_told = metrics.len() >= METRICS_MIN && n_twins as f64 >= NEARLY_ALL * groups.len() as f64;
    let first = groups.values().filter(|(first, last)| first < last).min()?;
    is_told.then_some([first.0, first.1])
}

/// The labels other than `names`.
fn rest<'a>(labels: &'a Labels, names: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    labels.iter().filter(|(name, _)| !names.contains(name))
}

/// The names of labels that `a` and `b` don't have in common.
fn differing<'a>(a: &'a Labels, b: &'a Labels) -> Vec<&'a str> {
    let only_in_a = a.iter().filter(|(name, value)| b.get(name) != Some(*value)).map(|(name, _)| name);
    let only_in_b = b.iter().filter(|(name, _)| a.get(name).is_none()).map(|(name, _)| name);
    only_in_a.chain(only_in_b).collect()
}
