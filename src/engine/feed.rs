//! The samples of one host as one offset sees them: the newest of each series, and what ranges keep.

use std::collections::VecDeque;

use super::from_to::FromTo;
use super::layout::FeedLayout;
use super::wiring::FeedPlan;
use crate::promql::eval::{Element, Vector};
use crate::promql::rollup::column::{Column, renumbered};
use crate::promql::rollup::{ABSENT, Context, FrameView, Kind, Member, RangeFunction, RangeState, Step, is_absent};
use crate::series::{TimestampMs, is_stale};

/// See the file's head. Columns are by place.
#[derive(Debug)]
pub(super) struct Feed {
    /// The newest number; [`ABSENT`] before the first.
    last: Vec<f64>,
    /// The low 32 bits of the newest sample's time: enough to tell ages under 49 days, and older series are forgotten.
    seen: Column<u32>,
    /// One bit per place: whether the newest sample is a stale marker.
    ended: Vec<u64>,
    /// By range of the plan.
    ranges: Box<[RangeState]>,
    /// Frames whose offset has not passed, oldest first: their time with the offset, one value per place.
    delayed: VecDeque<(TimestampMs, Box<[f64]>)>,
}

impl Feed {
    /// No series yet.
    pub(super) fn new(plan: &FeedPlan) -> Self {
        let ranges = plan.ranges.iter().map(|(_, kind)| RangeState::new(*kind)).collect();
        Self { last: Vec::new(), seen: Column::Same(0), ended: Vec::new(), ranges, delayed: VecDeque::new() }
    }

    /// Moves to `layout`; `new_slots` has the new slot of each old one.
    pub(super) fn move_to(&mut self, old: &FeedLayout, layout: &FeedLayout, new_slots: &[Option<u32>]) {
        let new_places = renumbering(&old.slots, &layout.slots, new_slots);
        for (state, (old_places, places)) in self.ranges.iter_mut().zip(old.ranges.iter().zip(&layout.ranges)) {
            state.renumber(&renumbering(old_places, places, &new_places), places.len());
        }
        let n = layout.slots.len();
        let ended: Vec<bool> = (0..old.slots.len()).map(|place| self.has_ended(place)).collect();
        self.ended = vec![0; n.div_ceil(64)];
        for (new, ended) in new_places.iter().zip(ended) {
            if let Some(new) = new {
                self.set_ended(*new as usize, ended);
            }
        }
        self.last = renumbered(self.last.iter().copied(), &new_places, n, || ABSENT);
        self.seen.renumber(&new_places, n, 0);
        for (_, values) in &mut self.delayed {
            *values = renumbered(values.iter().copied(), &new_places, n, || ABSENT).into();
        }
    }

    /// Goes from one plan to another, with the ranges that both have; the others begin empty. Layouts are as in
    /// [`Feed::move_to`].
    pub(super) fn rewire(&mut self, plans: FromTo<&FeedPlan>, layouts: FromTo<&FeedLayout>, new_slots: &[Option<u32>]) {
        let (FromTo { from: old, to: plan }, FromTo { from: old_layout, to: layout }) = (plans, layouts);
        let mut states: Vec<Option<RangeState>> = std::mem::take(&mut self.ranges).into_iter().map(Some).collect();
        let known = |range: &(i64, Kind)| old.ranges.iter().position(|known| known == range);
        let state = |range: &(i64, Kind)| known(range).and_then(|i| states[i].take());
        self.ranges = plan
            .ranges
            .iter()
            .map(state)
            .zip(&plan.ranges)
            .map(|(state, (_, kind))| state.unwrap_or_else(|| RangeState::new(*kind)))
            .collect();
        let places = |range| known(range).map_or_else(Box::default, |i| old_layout.ranges[i].clone());
        let ranges = plan.ranges.iter().map(places).collect();
        self.move_to(&FeedLayout { slots: old_layout.slots.clone(), ranges }, layout, new_slots);
    }

    /// Samples held beyond the newest of each series.
    pub(super) fn n_samples(&self) -> usize {
        let delayed: usize = self.delayed.iter().map(|(_, values)| values.len()).sum();
        delayed + self.ranges.iter().map(RangeState::n_samples).sum::<usize>()
    }

    /// Takes a frame that is to be applied `offset_ms` later; returns how many samples more are held.
    pub(super) fn delay(&mut self, frame: FrameView<'_>, offset_ms: i64, layout: &FeedLayout) -> usize {
        let values: Box<[f64]> = layout.slots.iter().map(|slot| frame.get(*slot)).collect();
        if values.iter().all(|value| is_absent(*value)) {
            return 0;
        }
        let n = values.len();
        self.delayed.push_back((frame.t_ms.saturating_add(offset_ms), values));
        n
    }

    /// Applies the delayed frames whose offset has passed at `t_ms`; returns by how many the samples held have changed.
    pub(super) fn apply_delayed(
        &mut self,
        t_ms: TimestampMs,
        layout: &FeedLayout,
        grid_ms: TimestampMs,
        scratch: &mut Vec<u16>,
    ) -> isize {
        let mut change = 0;
        while self.delayed.front().is_some_and(|(due_ms, _)| *due_ms <= t_ms) {
            let Some((t_ms, values)) = self.delayed.pop_front() else { break };
            change -= values.len() as isize;
            let frame = FrameView { t_ms, first_place: 0, values: &values };
            change += self.apply(frame, layout, grid_ms, true, scratch) as isize;
        }
        change
    }

    /// Applies the next frame; returns how many samples more are held.
    pub(super) fn apply(
        &mut self,
        frame: FrameView<'_>,
        layout: &FeedLayout,
        grid_ms: TimestampMs,
        may_grow: bool,
        scratch: &mut Vec<u16>,
    ) -> usize {
        let mut n = 0;
        for (state, places) in self.ranges.iter_mut().zip(&layout.ranges) {
            n += state.push(frame, &mut Context { grid_ms, places, last: &self.last, may_grow, scratch });
        }
        let n_places = self.last.len();
        let is_whole = frame.values.len() == n_places && !frame.values.iter().any(|value| is_absent(*value));
        if is_whole {
            self.seen = Column::Same(frame.t_ms as u32);
        }
        let first = frame.first_place as usize;
        for (place, &value) in (first..).zip(frame.values) {
            if is_absent(value) {
                continue;
            }
            if !is_whole {
                self.seen.each(n_places)[place] = frame.t_ms as u32;
            }
            let ended = is_stale(value);
            if !ended {
                self.last[place] = value;
            }
            if ended || self.has_ended(place) {
                self.set_ended(place, ended);
            }
        }
        n
    }

    /// Drops what no range that ends at `t_ms` or later reaches; returns how many samples.
    pub(super) fn drop_old(&mut self, t_ms: TimestampMs, plan: &FeedPlan) -> usize {
        let ranges = self.ranges.iter_mut().zip(&plan.ranges);
        ranges.map(|(state, (range_ms, _))| state.drop_until(t_ms.saturating_sub(*range_ms), *range_ms)).sum()
    }

    /// The newest samples of `members` at `t_ms` that are younger than the lookback, into `out`.
    pub(super) fn instant(&self, members: &[Member], t_ms: TimestampMs, lookback_ms: i64, out: &mut Vector) {
        for member in members {
            if let Some(value) = self.live(member.place, t_ms, lookback_ms) {
                out.push(Element { labels: member.labels, value });
            }
        }
    }

    /// `function` of `members` over the range with this `index` that ends at the step, into `out`.
    pub(super) fn range(
        &self,
        index: usize,
        function: RangeFunction,
        range_ms: i64,
        step: Step,
        members: &[Member],
        out: &mut Vector,
    ) {
        self.ranges[index].evaluate(function, range_ms, step, members, &self.last, out);
    }

    /// The range with this `index`.
    pub(super) fn state(&self, index: usize) -> &RangeState {
        &self.ranges[index]
    }

    /// Whether the range with this `index` has kept all that `function` needs of it at `t_ms`.
    pub(super) fn is_complete(
        &self,
        index: usize,
        function: RangeFunction,
        grid_ms: TimestampMs,
        t_ms: TimestampMs,
    ) -> bool {
        self.ranges[index].is_complete(function, grid_ms, t_ms)
    }

    /// The newest number at `place`, where a sample is younger than `age_ms` at `t_ms` and no stale marker.
    pub(super) fn live(&self, place: u32, t_ms: TimestampMs, age_ms: i64) -> Option<f64> {
        let place = place as usize;
        (self.is_seen(place, t_ms, age_ms) && !self.has_ended(place)).then(|| self.last[place])
    }

    /// Whether a sample at `place`, stale markers included, is younger than `age_ms` at `t_ms`.
    pub(super) fn is_seen(&self, place: usize, t_ms: TimestampMs, age_ms: i64) -> bool {
        let age = (t_ms as u32).wrapping_sub(self.seen.get(place));
        i64::from(age) < age_ms && (!is_absent(self.last[place]) || self.has_ended(place))
    }

    fn has_ended(&self, place: usize) -> bool {
        self.ended.get(place / 64).is_some_and(|bits| bits >> (place % 64) & 1 == 1)
    }

    fn set_ended(&mut self, place: usize, ended: bool) {
        if let Some(bits) = self.ended.get_mut(place / 64) {
            *bits = *bits & !(1 << (place % 64)) | u64::from(ended) << (place % 64);
        }
    }
}

/// For each of `old` its position in `new`, where `new_of` translates the values of `old` to those of `new`.
fn renumbering(old: &[u32], new: &[u32], new_of: &[Option<u32>]) -> Vec<Option<u32>> {
    let position = |old: &u32| new.binary_search(&new_of.get(*old as usize).copied().flatten()?).ok().map(|i| i as u32);
    old.iter().map(position).collect()
}
