//! The wanted series of one host: which they are, and what is kept of them.

use std::sync::Arc;

use super::feed::Feed;
use super::from_to::FromTo;
use super::layout::{FeedLayout, Layout, Series};
use super::new_series::SenderKey;
use super::wiring::{FeedPlan, Source, Wiring};
use crate::promql::eval::{EvalError, Vector};
use crate::promql::rollup::{FrameView, Member, RangeState, Step};
use crate::series::TimestampMs;

/// Offsets of either kind: one, and one more per replica of the sender. Beyond this series are read anew each time.
const OFFSETS_MAX: usize = 8;

/// The wanted series of one host.
#[derive(Debug)]
pub(super) struct Slots {
    /// Which series there are.
    pub(super) layout: Arc<Layout>,
    /// The slot that the next sample probably belongs to: senders keep their order.
    expected: u32,
    /// Part of a series' hash that the labels that all series of the host share, and those that are dropped, add to it, with the
    /// sender that the dropped ones tell. One per replica.
    offsets: Vec<(u64, SenderKey)>,
    /// The one of the newest sample.
    offset: usize,
    /// The same of ignored series that lack some of the shared labels, with the selection class of those that they have. A
    /// wanted series is never found by them: without a shared label it would be another series.
    partial_offsets: Vec<(u64, u64)>,
    /// By feed of the wiring.
    feeds: Box<[Feed]>,
    /// Samples held by ranges and offsets; bounded by `limits.samples_per_host`.
    n_samples: usize,
    /// Time of the newest frame that was kept from them because they held too many: what reaches back to it has no value.
    gap_ms: TimestampMs,
    /// Leaves that began later than the host, and the first step at which each has seen all that it reads.
    young: Vec<(u16, TimestampMs)>,
    /// Any step of the host; set with the first frame.
    pub(super) grid_ms: TimestampMs,
}

impl Slots {
    /// No series yet.
    pub(super) fn new(layout: Arc<Layout>, wiring: &Wiring) -> Self {
        Self {
            layout,
            expected: 0,
            offsets: Vec::new(),
            offset: 0,
            partial_offsets: Vec::new(),
            feeds: wiring.feeds.iter().map(Feed::new).collect(),
            n_samples: 0,
            gap_ms: TimestampMs::MIN,
            young: Vec::new(),
            grid_ms: 0,
        }
    }

    /// The slot of a series by the hash of its labels, and its sender. The hash is the sum of its own labels' and of the rest's.
    /// Equal hashes are taken for equal labels: they are keyed per process, and with 64 bits a chance collision among a host's
    /// series is a matter of 1e-13.
    pub(super) fn find(&mut self, labels_hash: u64) -> Option<(u32, SenderKey)> {
        if let (Some(hash), Some((offset, sender))) = (self.layout.hash(self.expected), self.offsets.get(self.offset))
            && hash.wrapping_add(*offset) == labels_hash
        {
            self.expected += 1;
            return Some((self.expected - 1, *sender));
        }
        for (i, (offset, sender)) in self.offsets.iter().enumerate() {
            if let Some(slot) = self.layout.find(labels_hash.wrapping_sub(*offset)) {
                self.offset = i;
                self.expected = slot + 1;
                return Some((slot, *sender));
            }
        }
        None
    }

    /// Yields the keys that a series with `labels_hash` may be remembered as if no feature reads it; `class` is that of all shared
    /// labels.
    pub(super) fn ignored_keys(&self, labels_hash: u64, class: u64) -> impl Iterator<Item = u64> {
        let whole = self.offsets.iter().map(move |(offset, _)| (*offset, class));
        let all = whole.chain(self.partial_offsets.iter().copied());
        all.map(move |(offset, class)| labels_hash.wrapping_sub(offset).wrapping_add(class))
    }

    /// Remembers what else there is in the hash of a series than its own labels.
    pub(super) fn add_offset(&mut self, offset: u64, sender: SenderKey) {
        push_bounded(&mut self.offsets, (offset, sender));
    }

    /// The same of an ignored series that lacks shared labels; `class` is that of those that it has.
    pub(super) fn add_partial_offset(&mut self, offset: u64, class: u64) {
        push_bounded(&mut self.partial_offsets, (offset, class));
    }

    /// Some labels are no longer shared by all series: their `hash` moves from the offsets to the series' own.
    pub(super) fn shrink_offsets(&mut self, hash: u64) {
        self.offsets.iter_mut().for_each(|(offset, _)| *offset = offset.wrapping_sub(hash));
        self.partial_offsets.clear();
    }

    /// Moves to `layout`; `new_slots` has the new slot of each old one.
    pub(super) fn move_to(&mut self, layout: Arc<Layout>, new_slots: &[Option<u32>]) {
        for (feed, (old, new)) in self.feeds.iter_mut().zip(self.layout.feeds.iter().zip(&layout.feeds)) {
            feed.move_to(old, new, new_slots);
        }
        self.n_samples = self.feeds.iter().map(Feed::n_samples).sum();
        self.layout = layout;
        self.expected = 0;
    }

    /// Serves another wiring from now on, with what the `old` one kept and `new` keeps too. `layout` and `new_slots` are as in
    /// [`Slots::move_to`]; `young` has the leaves that begin now, see [`Slots::young`], and `moved` the new one of each old leaf.
    pub(super) fn rewire(
        &mut self,
        wirings: FromTo<&Wiring>,
        layout: Arc<Layout>,
        new_slots: &[Option<u32>],
        moved: &[Option<u16>],
        young: impl Iterator<Item = (u16, TimestampMs)>,
    ) {
        let FromTo { from: old, to: new } = wirings;
        let mut feeds: Vec<Option<Feed>> = std::mem::take(&mut self.feeds).into_iter().map(Some).collect();
        let feed = |(plan, to): (&FeedPlan, &FeedLayout)| {
            let at = old.feeds.iter().position(|feed| feed.offset_ms == plan.offset_ms);
            let known = at.and_then(|at| Some((feeds[at].take()?, &old.feeds[at], &self.layout.feeds[at])));
            let empty = FeedLayout::empty(plan.ranges.len());
            let (mut feed, old_plan, from) = known.unwrap_or_else(|| (Feed::new(plan), plan, &empty));
            feed.rewire(FromTo { from: old_plan, to: plan }, FromTo { from, to }, new_slots);
            feed
        };
        self.feeds = new.feeds.iter().zip(&layout.feeds).map(feed).collect();
        self.n_samples = self.feeds.iter().map(Feed::n_samples).sum();
        let still_young = std::mem::take(&mut self.young).into_iter();
        let still_young = still_young.filter_map(|(leaf, from_ms)| Some((moved[leaf as usize]?, from_ms)));
        self.young = young.chain(still_young).collect();
        self.layout = layout;
        self.expected = 0;
        // They stand for what the old selectors decided.
        self.partial_offsets.clear();
    }

    /// Samples held by ranges and offsets.
    pub(super) fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn counted_samples(&self) -> usize {
        self.feeds.iter().map(Feed::n_samples).sum()
    }

    /// Applies the next frame. Where `may_grow` is false, ranges and offsets that keep samples don't see it.
    pub(super) fn apply(&mut self, frame: FrameView<'_>, wiring: &Wiring, may_grow: bool, scratch: &mut Vec<u16>) {
        if !may_grow {
            self.gap_ms = frame.t_ms;
        }
        let feeds = self.feeds.iter_mut().zip(wiring.feeds.iter().zip(&self.layout.feeds));
        for (feed, (plan, layout)) in feeds {
            self.n_samples += match plan.offset_ms {
                0 => feed.apply(frame, layout, self.grid_ms, may_grow, scratch),
                offset_ms if may_grow => feed.delay(frame, offset_ms, layout),
                _ => 0,
            };
        }
    }

    /// Every leaf's vector at step `t_ms`, into `vectors`, and into `incomplete` why some of its samples are not known.
    pub(super) fn evaluate(
        &mut self,
        wiring: &Wiring,
        lookback_ms: i64,
        t_ms: TimestampMs,
        (vectors, incomplete): (&mut Vec<Vector>, &mut Vec<Option<EvalError>>),
        scratch: &mut Vec<u16>,
    ) {
        for (feed, (plan, layout)) in self.feeds.iter_mut().zip(wiring.feeds.iter().zip(&self.layout.feeds)) {
            let change = feed.apply_delayed(t_ms, layout, self.grid_ms, scratch);
            self.n_samples = self.n_samples.saturating_add_signed(change);
            self.n_samples -= feed.drop_old(t_ms, plan);
        }
        incomplete.clear();
        vectors.resize_with(wiring.leaves.len(), Vector::new);
        self.young.retain(|(_, from_ms)| t_ms < *from_ms);
        for (id, ((leaf, members), vector)) in (0..).zip(wiring.leaves.iter().zip(&self.layout.leaves).zip(vectors)) {
            vector.clear();
            let reach_ms = wiring.samples_reach(leaf, lookback_ms);
            let has_gap = reach_ms.is_some_and(|reach_ms| self.gap_ms > t_ms.saturating_sub(reach_ms));
            let feed = &self.feeds[leaf.feed];
            let is_complete = match leaf.source {
                Source::Range { index, function, .. } => feed.is_complete(index, function, self.grid_ms, t_ms),
                Source::Instant => true,
            };
            let is_young = self.young.iter().any(|(young, _)| *young == id);
            let not_kept = (has_gap || !is_complete).then_some(EvalError::SamplesNotKept);
            incomplete.push(if is_young { Some(EvalError::JustBegun) } else { not_kept });
            match leaf.source {
                Source::Instant => feed.instant(members, t_ms, lookback_ms, vector),
                Source::Range { index, function, range_ms } => {
                    feed.range(index, function, range_ms, self.step(t_ms), members, vector);
                }
            }
        }
    }

    /// Whether the series in `slot` is an `up`.
    pub(super) fn is_up(&self, slot: u32) -> bool {
        self.layout.series.get(slot as usize).is_some_and(|series| series.is_up)
    }

    /// Whether some series that `leaf` selects has a sample that is younger than `age_ms` at `t_ms`, and has not ended.
    pub(super) fn reads_live(&self, leaf: u16, wiring: &Wiring, t_ms: TimestampMs, age_ms: i64) -> bool {
        let leaf = usize::from(leaf);
        let feed = wiring.leaves.get(leaf).and_then(|leaf| self.feeds.get(leaf.feed));
        let members = self.layout.leaves.get(leaf);
        feed.zip(members)
            .is_some_and(|(feed, members)| members.iter().any(|member| feed.live(member.place, t_ms, age_ms).is_some()))
    }

    fn step(&self, t_ms: TimestampMs) -> Step {
        Step { t_ms, grid_ms: self.grid_ms }
    }

    /// Whether a counter that `leaf` selects fell within its range that ends at the step `t_ms`.
    pub(super) fn has_fall(&self, leaf: u16, wiring: &Wiring, t_ms: TimestampMs) -> bool {
        let counters = self.counters(leaf, wiring);
        counters.is_some_and(|(state, members)| state.has_fall(self.step(t_ms), members))
    }

    /// Gives `found` each counter that `leaf` selects of which a value in the range that ends at the step `t_ms` was wrong, as far as its
    /// falls tell.
    pub(super) fn doubtful(&self, leaf: u16, wiring: &Wiring, t_ms: TimestampMs, found: impl FnMut(&Member)) {
        if let Some((state, members)) = self.counters(leaf, wiring) {
            state.doubtful(self.step(t_ms), members, found);
        }
    }

    /// The range that `leaf` reads, and the series that it selects, where they are read as counters.
    fn counters(&self, leaf: u16, wiring: &Wiring) -> Option<(&RangeState, &[Member])> {
        let (leaf, members) = (wiring.leaves.get(usize::from(leaf))?, self.layout.leaves.get(usize::from(leaf))?);
        let Source::Range { index, function, .. } = leaf.source else { return None };
        let feed = self.feeds.get(leaf.feed).filter(|_| function.is_counter())?;
        Some((feed.state(index), members))
    }

    /// The newest number of the series in `slot`, where it has a sample that is younger than `age_ms` at `t_ms`, and has not ended.
    pub(super) fn live_value(&self, slot: u32, t_ms: TimestampMs, age_ms: i64) -> Option<f64> {
        self.feeds[0].live(slot, t_ms, age_ms)
    }

    /// Whether there is one.
    pub(super) fn is_live(&self, slot: u32, t_ms: TimestampMs, age_ms: i64) -> bool {
        self.live_value(slot, t_ms, age_ms).is_some()
    }

    /// The new slot of each old one without the series of which no sample is within reach at `t_ms` and none is pending;
    /// `None` where all stay.
    pub(super) fn live_slots(&self, t_ms: TimestampMs, is_pending: impl Fn(u32) -> bool) -> Option<Vec<Option<u32>>> {
        let mut n_live = 0;
        let mut number = |(slot, series): (u32, &Series)| {
            let is_live = self.feeds[0].is_seen(slot as usize, t_ms, series.reach_ms) || is_pending(slot);
            n_live += u32::from(is_live);
            is_live.then(|| n_live - 1)
        };
        let new_slots: Vec<Option<u32>> = (0..).zip(&self.layout.series).map(&mut number).collect();
        ((n_live as usize) < self.layout.len()).then_some(new_slots)
    }

    /// Forgets every sample, of series that stay.
    pub(super) fn forget_samples(&mut self, wiring: &Wiring) {
        let none = vec![None; self.layout.len()];
        self.feeds = wiring.feeds.iter().map(Feed::new).collect();
        let layout = Arc::clone(&self.layout);
        for (feed, layout) in self.feeds.iter_mut().zip(&layout.feeds) {
            feed.move_to(&super::layout::FeedLayout::empty(layout.ranges.len()), layout, &none);
        }
        self.n_samples = 0;
    }
}

/// Appends `new` unless it is there; the oldest makes room.
fn push_bounded<T: PartialEq>(all: &mut Vec<T>, new: T) {
    if !all.contains(&new) {
        if all.len() >= OFFSETS_MAX {
            all.remove(0);
        }
        all.push(new);
    }
}
