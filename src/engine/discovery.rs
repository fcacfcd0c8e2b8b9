//! Series that are met for the first time: read, matched with the selectors, given a place in their host's layout.

use std::sync::Arc;

use super::counts::EngineCounter;
use super::host::Host;
use super::layout::Series;
use super::new_series::NewSeries;
use super::selection::{class_of, hash_of, reach_ms, select, selection_class};
use super::senders::key_of;
use super::{Output, Shared};
use crate::decode::{InvalidSeries, SeriesView, parse_labels};
use crate::promql::labelset::SHARED;
use crate::promql::plan::UP_NAME;
use crate::series::{Labels, METRIC_NAME};

/// Series that no feature reads are remembered up to this many per shard; then all are looked at again.
const IGNORED_MAX: usize = 1 << 20;

/// Reads a series; `None` where its labels are not valid.
pub(super) fn read<'a>(series: &SeriesView<'a>, shared: &mut Shared, out: &mut Output) -> Option<NewSeries<'a>> {
    let config = &shared.config;
    let mut labels = Vec::new();
    let parsed = parse_labels([series.labels, series.tail], config.limits.labels, &mut labels);
    let is_small = series.labels.len() + series.tail.len() <= config.limits.series_label_bytes;
    if let Err(reason) = parsed.and(if is_small { Ok(()) } else { Err(InvalidSeries::LabelTooLong) }) {
        out.invalid_series[reason as usize] += 1;
        out.counts.add(EngineCounter::InvalidLabels, series.samples.len() as u64);
        return None;
    }
    let is_dropped = |(name, _): &(&str, &str)| config.drop.iter().any(|dropped| dropped == name);
    let (dropped, labels): (Vec<_>, Vec<_>) = labels.into_iter().partition(is_dropped);
    let sender = key_of(&dropped);
    shared.sender_names.add(sender, &dropped);
    let name = labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| *value);
    let leaves = select(&config.plan, name, &labels);
    let is_up = name == UP_NAME;
    let (labels_hash, samples) = (series.labels_hash, series.samples);
    Some(NewSeries { labels_hash, own_hash: 0, labels, dropped, sender, is_heard: true, leaves, is_up, samples })
}

/// Settles which of `found` are heard, the series of one run that their host doesn't know.
pub(super) fn hear(host: &mut Host, found: &mut [NewSeries<'_>], shared: &Shared, out: &mut Output) {
    let own_labels: Vec<usize> = (0..found.len())
        .filter(|i| host.senders.is_own_label(&found[*i], found))
        .filter(|i| host.slots.layout.find(own_hash(host, &found[*i].labels)).is_none())
        .collect();
    for i in own_labels {
        let found = &mut found[i];
        found.labels.append(&mut found.dropped);
        found.labels.sort_unstable();
        found.sender = 0;
        let name = found.labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| *value);
        found.leaves = select(&shared.config.plan, name, &found.labels);
    }
    for i in 0..found.len() {
        if found[i].is_wanted() {
            found[i].is_heard = host.hear_new(&found[i], found, shared, out);
        }
    }
}

/// The hash of those of `labels` that the host's series don't all share.
fn own_hash(host: &Host, labels: &[(&str, &str)]) -> u64 {
    hash_of(labels.iter().copied().filter(|(name, value)| host.shared_labels.get(name) != Some(*value)))
}

/// The labels that all of `found` have, but the metric name. The identity label is among them.
pub(super) fn shared_labels(found: &[NewSeries<'_>]) -> Labels {
    let mut wanted = found.iter().filter(|found| found.is_wanted());
    let mut common = wanted.next().map_or(Vec::new(), |first| first.labels.clone());
    common.retain(|(name, _)| *name != METRIC_NAME);
    for other in wanted {
        common.retain(|label| other.labels.contains(label));
    }
    Labels::from_pairs(common)
}

/// The slot of a series in its host, once it was added; `None` where it is ignored or beyond the limit.
pub(super) fn slot(new: &NewSeries<'_>, host: &Host) -> Option<u32> {
    // Not by the hash as it came: more spellings may have come at once than are remembered.
    if new.is_wanted() && new.is_heard { host.slots.layout.find(new.own_hash) } else { None }
}

/// Gives the wanted ones of `found` a slot in the host's layout and remembers the others as ignored.
pub(super) fn add(host: &mut Host, found: &mut [NewSeries<'_>], shared: &mut Shared, out: &mut Output) {
    share_less(host, found, shared);
    let n_max = shared.config.limits.series_per_host;
    let mut series: Vec<Series> = host.slots.layout.series.to_vec();
    let n_before = series.len();
    for found in found {
        let is_shared = |(name, value): &(&str, &str)| host.shared_labels.get(name) == Some(*value);
        let (common, own): (Vec<_>, Vec<_>) = found.labels.iter().copied().partition(is_shared);
        let hash = hash_of(own.iter().copied());
        found.own_hash = hash;
        let offset = found.labels_hash.wrapping_sub(hash);
        if !found.is_wanted() {
            // Nothing of it is interned: unselected series may be of any number.
            if shared.ignored.len() >= IGNORED_MAX {
                shared.ignored.clear();
            }
            let class = class_of(&shared.config.plan, common.iter().copied());
            shared.ignored.insert(hash.wrapping_add(class));
            if common.len() == host.shared_labels.iter().count() {
                host.slots.add_offset(offset, found.sender);
            } else {
                host.slots.add_partial_offset(offset, class);
            }
            continue;
        }
        let is_known = host.slots.layout.find(hash).is_some() || series[n_before..].iter().any(|s| s.hash == hash);
        if !is_known && !found.is_heard {
            continue;
        }
        if !is_known && series.len() >= n_max {
            out.counts.add(EngineCounter::SeriesPerHost, found.n_samples());
            continue;
        }
        host.slots.add_offset(offset, found.sender);
        if !is_known {
            let own = own.into_iter().filter(|(name, _)| *name != METRIC_NAME);
            let placeholders = host.shared_labels.iter().map(|(name, _)| (name, SHARED));
            let labels = shared.sets.intern(Labels::from_pairs(own.chain(placeholders)));
            let reach_ms = reach_ms(&shared.config.plan, &found.leaves, shared.paces[host.pace].pace.spans);
            series.push(Series { reach_ms, hash, labels, leaves: found.leaves.clone().into(), is_up: found.is_up });
        }
    }
    if series.len() > n_before {
        let same: Vec<Option<u32>> = (0..n_before as u32).map(Some).collect();
        host.move_to(shared.paces[host.pace].layout(series), &same);
        host.find_senders(shared);
    }
}

/// Gives labels that some of `found` lack back to the series that have them.
fn share_less(host: &mut Host, found: &[NewSeries<'_>], shared: &mut Shared) {
    let is_lacking =
        |label: &(&str, &str)| found.iter().any(|f| f.is_wanted() && f.is_heard && !f.labels.contains(label));
    let lacking: Vec<(Box<str>, Box<str>)> =
        host.shared_labels.iter().filter(is_lacking).map(|(name, value)| (name.into(), value.into())).collect();
    if lacking.is_empty() {
        return;
    }
    let lacking: Vec<(&str, &str)> = lacking.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let hash = hash_of(lacking.iter().copied());
    let value_of = |name: &str| lacking.iter().find(|(lacking, _)| *lacking == name).map(|(_, value)| *value);
    let mut changed = |series: &Series| {
        let labels = Arc::clone(shared.sets.get(series.labels));
        let with_values = labels.iter().map(|(name, value)| (name, value_of(name).unwrap_or(value)));
        let labels = shared.sets.intern(Labels::from_pairs(with_values));
        Series { hash: series.hash.wrapping_add(hash), labels, ..series.clone() }
    };
    let series: Vec<Series> = host.slots.layout.series.iter().map(&mut changed).collect();
    let same: Vec<Option<u32>> = (0..series.len() as u32).map(Some).collect();
    host.move_to(shared.paces[host.pace].layout(series), &same);
    host.slots.shrink_offsets(hash);
    let rest = host.shared_labels.iter().filter(|label| !lacking.contains(label));
    host.shared_labels = Labels::from_pairs(rest);
    host.selection_class = selection_class(&shared.config.plan, &host.shared_labels);
}
