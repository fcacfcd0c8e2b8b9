//! The wanted series of one host: who they are, their newest sample, and what the plan's leaves keep of them.

use std::collections::HashMap;

use crate::expr::eval::{Element, Vector};
use crate::expr::labelset::LabelSetId;
use crate::expr::plan::{Plan, Rollup, UP};
use crate::expr::rollup::RangeState;
use crate::series::{Sample, TimestampMs, is_stale};

/// In `by_hash`: a series that passes the name filter but that no leaf selects.
const UNSELECTED: u32 = u32::MAX;

/// One wanted series.
#[derive(Debug)]
struct Slot {
    /// Hash of its label bytes as they last came.
    labels_hash: u64,
    /// All its labels but the identity label: what makes it the same series under any spelling.
    identity: LabelSetId,
    /// The newest applied sample.
    last: Sample,
    /// Range leaves that keep its samples: leaf and position in the leaf's list.
    ranges: Box<[(u16, u32)]>,
    /// Whether it is an `up`.
    is_up: bool,
}

/// The series that one leaf selects.
#[derive(Debug)]
enum LeafSeries {
    Instant(Vec<(u32, LabelSetId)>),
    Range(Vec<(u32, LabelSetId, RangeState)>),
}

/// What is known of a series from its bytes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It is this slot.
    Slot(u32),
    /// No leaf wants it.
    Unselected,
    /// Not seen yet.
    Unknown,
}

/// A series seen for the first time.
#[derive(Debug)]
pub(super) struct NewSeries {
    /// Hash of its label bytes.
    pub(super) labels_hash: u64,
    /// All its labels but the identity label.
    pub(super) identity: LabelSetId,
    /// The same without the metric name.
    pub(super) labels: LabelSetId,
    /// Whether it is an `up`.
    pub(super) is_up: bool,
}

/// The wanted series of one host.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Hash of label bytes → slot or [`UNSELECTED`]. A series has an entry per spelling; bounded by `trim`.
    by_hash: HashMap<u64, u32, foldhash::fast::RandomState>,
    /// The slot that the next sample probably belongs to: senders keep their order.
    expected: usize,
    /// One entry per leaf of the plan.
    leaves: Box<[LeafSeries]>,
    /// Samples held by range leaves; bounded by `limits.samples_per_host`.
    n_range_samples: usize,
}

impl Slots {
    /// No series yet.
    pub(super) fn new(plan: &Plan) -> Self {
        let leaves = plan.leaves.iter().map(|leaf| match leaf.rollup {
            Rollup::Instant => LeafSeries::Instant(Vec::new()),
            Rollup::Range(..) => LeafSeries::Range(Vec::new()),
        });
        Self {
            slots: Vec::new(),
            by_hash: HashMap::default(),
            expected: 0,
            leaves: leaves.collect(),
            n_range_samples: 0,
        }
    }

    /// Finds a series by the hash of its label bytes. Equal hashes are taken for equal bytes: the hash is keyed per process,
    /// and 64 bits make a chance collision among a host's series a matter of 1e-13.
    pub(super) fn find(&mut self, labels_hash: u64) -> Lookup {
        if let Some(slot) = self.slots.get(self.expected)
            && slot.labels_hash == labels_hash
        {
            self.expected += 1;
            return Lookup::Slot(self.expected as u32 - 1);
        }
        match self.by_hash.get(&labels_hash) {
            None => Lookup::Unknown,
            Some(&UNSELECTED) => Lookup::Unselected,
            Some(&slot) => {
                self.slots[slot as usize].labels_hash = labels_hash;
                self.expected = slot as usize + 1;
                Lookup::Slot(slot)
            }
        }
    }

    /// Remembers that no leaf wants the series with these bytes, see [`Slots::trim`] for `n_max`.
    pub(super) fn ignore(&mut self, labels_hash: u64, n_max: usize) {
        self.by_hash.insert(labels_hash, UNSELECTED);
        self.trim(n_max);
    }

    /// Remembers a series. A known one in another spelling keeps its slot; a new one has none where there are `n_slots_max`.
    pub(super) fn add(&mut self, series: &NewSeries, selected: &[u16], n_slots_max: usize) -> Option<u32> {
        let known = self.slots.iter().position(|slot| slot.identity == series.identity);
        let slot = match known {
            Some(slot) => slot,
            None if self.slots.len() >= n_slots_max => return None,
            None => self.add_slot(series, selected),
        };
        self.by_hash.insert(series.labels_hash, slot as u32);
        self.slots[slot].labels_hash = series.labels_hash;
        self.expected = slot + 1;
        self.trim(2 * n_slots_max);
        Some(slot as u32)
    }

    fn add_slot(&mut self, series: &NewSeries, selected: &[u16]) -> usize {
        let slot = self.slots.len();
        let mut ranges = Vec::new();
        for &leaf in selected {
            match &mut self.leaves[leaf as usize] {
                LeafSeries::Instant(list) => list.push((slot as u32, series.labels)),
                LeafSeries::Range(list) => {
                    ranges.push((leaf, list.len() as u32));
                    list.push((slot as u32, series.labels, RangeState::default()));
                }
            }
        }
        self.slots.push(Slot {
            labels_hash: series.labels_hash,
            identity: series.identity,
            last: Sample { t_ms: TimestampMs::MIN, value: f64::NAN },
            ranges: ranges.into(),
            is_up: series.is_up,
        });
        slot
    }

    /// Number of wanted series.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Number of spellings and unselected series remembered.
    #[cfg(test)]
    pub(super) fn n_spellings(&self) -> usize {
        self.by_hash.len()
    }

    /// Samples held by range leaves.
    pub(super) fn n_range_samples(&self) -> usize {
        self.n_range_samples
    }

    /// Applies the next sample of a series; samples come in order of time. Where `keep_ranges` is false, range leaves
    /// don't see it.
    pub(super) fn apply(&mut self, slot: u32, sample: Sample, keep_ranges: bool) {
        let slot = &mut self.slots[slot as usize];
        slot.last = sample;
        if is_stale(sample.value) || !keep_ranges {
            return;
        }
        for &(leaf, position) in &slot.ranges {
            if let LeafSeries::Range(list) = &mut self.leaves[leaf as usize] {
                list[position as usize].2.push(sample);
                self.n_range_samples += 1;
            }
        }
    }

    /// Every leaf's vector at step `t_ms`, into `vectors`.
    pub(super) fn evaluate(&mut self, plan: &Plan, t_ms: TimestampMs, vectors: &mut Vec<Vector>) {
        vectors.resize_with(plan.leaves.len(), Vector::new);
        for ((leaf, series), vector) in plan.leaves.iter().zip(&mut self.leaves).zip(vectors) {
            vector.clear();
            match (leaf.rollup, series) {
                (Rollup::Instant, LeafSeries::Instant(list)) => {
                    for &(slot, labels) in list.iter() {
                        let last = self.slots[slot as usize].last;
                        if last.t_ms > t_ms.saturating_sub(plan.lookback_ms) && !is_stale(last.value) {
                            vector.push(Element { labels, value: last.value });
                        }
                    }
                }
                (Rollup::Range(function, range_ms), LeafSeries::Range(list)) => {
                    for (_, labels, state) in list {
                        self.n_range_samples -= state.drop_until(t_ms.saturating_sub(range_ms));
                        if let Some(value) = state.value(function, t_ms, range_ms) {
                            vector.push(Element { labels: *labels, value });
                        }
                    }
                }
                (Rollup::Instant | Rollup::Range(..), _) => {}
            }
        }
    }

    /// `Some(false)` where every `up` newer than `since_ms` is 0, `Some(true)` where one is not, `None` where there is none.
    pub(super) fn up(&self, since_ms: TimestampMs) -> Option<bool> {
        let live = self.slots.iter().filter(|s| s.is_up && s.last.t_ms > since_ms && !is_stale(s.last.value));
        live.map(|slot| slot.last.value != 0.0).reduce(|a, b| a || b)
    }

    /// Forgets series without a sample after `before_ms`, but for those that `is_pending`. Gives the new number of each old
    /// slot, where something changed.
    pub(super) fn expire(
        &mut self,
        before_ms: TimestampMs,
        is_pending: impl Fn(u32) -> bool,
    ) -> Option<Vec<Option<u32>>> {
        let mut n_live = 0;
        let mut number = |(i, slot): (u32, &Slot)| {
            let is_live = slot.last.t_ms > before_ms || is_pending(i);
            n_live += u32::from(is_live);
            is_live.then(|| n_live - 1)
        };
        let new_slots: Vec<Option<u32>> = (0..).zip(&self.slots).map(&mut number).collect();
        if n_live as usize == self.slots.len() {
            return None;
        }
        let mut live = new_slots.iter().map(Option::is_some);
        self.slots.retain(|_| live.next().unwrap_or(true));
        self.by_hash.retain(|_, slot| {
            *slot == UNSELECTED
                || new_slots[*slot as usize].is_some_and(|new| {
                    *slot = new;
                    true
                })
        });
        self.renumber_leaves(&new_slots);
        self.expected = 0;
        Some(new_slots)
    }

    fn renumber_leaves(&mut self, new_slots: &[Option<u32>]) {
        let mut ranges: Vec<Vec<(u16, u32)>> = vec![Vec::new(); self.slots.len()];
        for (leaf, series) in (0..).zip(&mut self.leaves) {
            match series {
                LeafSeries::Instant(list) => {
                    list.retain_mut(|(slot, _)| new_slots[*slot as usize].map(|new| *slot = new).is_some());
                }
                LeafSeries::Range(list) => {
                    let n_range_samples = &mut self.n_range_samples;
                    list.retain_mut(|(slot, _, state)| {
                        let new = new_slots[*slot as usize];
                        *n_range_samples -= if new.is_none() { state.len() } else { 0 };
                        new.map(|new| *slot = new).is_some()
                    });
                    for (position, (slot, _, _)) in (0..).zip(list.iter()) {
                        ranges[*slot as usize].push((leaf, position));
                    }
                }
            }
        }
        for (slot, ranges) in self.slots.iter_mut().zip(ranges) {
            slot.ranges = ranges.into();
        }
    }

    /// Keeps the memory of spellings and unselected series within `n_max` entries: beyond it only the slots' own stay,
    /// and the others are looked at again when they come again.
    fn trim(&mut self, n_max: usize) {
        if self.by_hash.len() > n_max.max(2 * self.slots.len()) {
            self.by_hash = (0..).zip(&self.slots).map(|(i, slot)| (slot.labels_hash, i)).collect();
        }
    }

    /// Replaces every label set by `renew` of it.
    pub(super) fn renew_label_sets(&mut self, mut renew: impl FnMut(LabelSetId) -> LabelSetId) {
        for slot in &mut self.slots {
            slot.identity = renew(slot.identity);
        }
        for leaf in &mut self.leaves {
            match leaf {
                LeafSeries::Instant(list) => list.iter_mut().for_each(|(_, labels)| *labels = renew(*labels)),
                LeafSeries::Range(list) => list.iter_mut().for_each(|(_, labels, _)| *labels = renew(*labels)),
            }
        }
    }
}

/// Whether decode's metric is `up`.
pub(super) fn is_up(metric: u16, name: &str) -> bool {
    metric == UP || name == "up"
}
