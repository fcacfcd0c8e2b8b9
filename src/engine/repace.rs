//! Choice of a host's pace: its first frames wait until they tell how often it is scraped, and later ones are watched.

use std::sync::Arc;

use super::Shared;
use super::frames::Frame;
use super::from_to::FromTo;
use super::host::Host;
use super::interval::{self, GROUP_MIN, Told, Watch};
use super::layout::Series;
use super::pace::{Pace, first_step_from};
use super::row::{Missing, MissingReason};
use super::selection::reach_ms;
use super::windows::Windows;
use crate::promql::eval::Vector;
use crate::promql::plan::{Leaf, Range, Rollup};
use crate::series::TimestampMs;

impl Host {
    /// Whether it is known how often the host is scraped, or nothing more is waited for. `until_ms` is where its frames are settled.
    pub(super) fn is_interval_told(&mut self, until_ms: TimestampMs, now_ms: TimestampMs, shared: &mut Shared) -> bool {
        let Some(n_seen) = self.frames_seen else { return true };
        let n_settled = self.frames.iter().take_while(|frame| frame.t_ms() <= until_ms).count();
        let is_last = self.frames.iter().next().is_some_and(|frame| frame.is_held_too_long(now_ms));
        if n_settled == n_seen && !is_last {
            return false;
        }
        self.frames_seen = Some(n_settled);
        let config = &shared.config;
        let is_same = |a: i64, b: i64| Pace::new(Some(a), config) == Pace::new(Some(b), config);
        let told = interval::of_frames(self.frames.iter().take(n_settled), self.slots.layout.len(), is_last, is_same);
        let Told::Interval(told) = told else { return false };
        self.frames_seen = None;
        self.interval_ms = told.map(|(interval_ms, _)| interval_ms);
        self.watch = Some(Watch::new(told.map(|(_, slot)| slot)));
        self.change_pace(shared);
        true
    }

    /// Looks whether a frame that was just applied tells another interval.
    pub(super) fn watch_interval(&mut self, frame: &Frame, shared: &mut Shared) {
        let Some(watch) = &mut self.watch else { return };
        // One that was forgotten between two scrapes is as good as any other of them: its samples are told apart by time alone.
        watch.slot = watch.slot.or_else(|| frame.whole_from(self.slots.layout.len()));
        let has_sample = watch.slot.is_some_and(|slot| frame.has(slot));
        if has_sample && let Some(interval_ms) = watch.see(frame.t_ms(), self.interval_ms) {
            self.interval_ms = Some(interval_ms);
            self.change_pace(shared);
        }
    }

    /// Watches a series that arrives and gives no value over `[$range]`: it may be of a target that is scraped less often than the one
    /// watched so far. `lacking` are the features without a value in the row of `t_ms`.
    pub(super) fn watch_slow(&mut self, lacking: &[Missing], t_ms: TimestampMs, shared: &Shared) {
        if self.watch.is_none() {
            return;
        }
        let (plan, paced) = (&shared.config.plan, self.paced(shared));
        let is_slow = |leaf: &u16| {
            let by_scrapes = |leaf: &Leaf| matches!(leaf.rollup, Rollup::Range(_, Range::Scrapes));
            plan.leaves.get(usize::from(*leaf)).is_some_and(by_scrapes)
                && shared.leaf_vectors.get(usize::from(*leaf)).is_some_and(Vector::is_empty)
                && self.slots.reads_live(*leaf, &paced.wiring, t_ms, paced.pace.spans.lookback_ms)
        };
        let without = lacking.iter().filter(|missing| missing.why == MissingReason::NoValue);
        let leaves = without.filter_map(|missing| plan.leaves_of.get(usize::from(missing.feature))).flatten();
        let slow: Vec<u16> = leaves.copied().filter(is_slow).collect();
        if slow.is_empty() {
            return;
        }
        let series = &self.slots.layout.series;
        let reads_slow = |series: &Series| series.leaves.iter().any(|leaf| slow.contains(leaf));
        let watched = self.watch.and_then(|watch| watch.slot).and_then(|slot| series.get(slot as usize));
        if watched.is_none_or(|series| !reads_slow(series)) {
            let is_live = |slot: &u32| self.slots.is_live(*slot, t_ms, paced.pace.spans.lookback_ms);
            let slots = (0..).zip(series).filter(|(_, series)| reads_slow(series)).map(|(slot, _)| slot);
            let live: Vec<u32> = slots.filter(is_live).collect();
            // A few series that come seldom, such as those of a batch job, say nothing of the host.
            if let Some(slot) = live.first().filter(|_| live.len() as f64 >= GROUP_MIN * series.len() as f64) {
                self.watch = Some(Watch::new(Some(*slot)));
            }
        }
    }

    /// Goes on at the pace of its interval. What is read in another way from now on has no value until all of it has been seen.
    fn change_pace(&mut self, shared: &mut Shared) {
        let pace = shared.paces.number(self.interval_ms, &shared.config);
        if pace == self.pace {
            return;
        }
        let old = std::mem::replace(&mut self.pace, pace);
        let (plan, spans) = (Arc::clone(&shared.config.plan), shared.paces[pace].pace.spans);
        let series = self.slots.layout.series.iter();
        let series = series
            .map(|series| Series { reach_ms: reach_ms(&plan, &series.leaves, spans), ..series.clone() })
            .collect();
        let layout = shared.paces[pace].layout(series);
        let (from, to) = (&shared.paces[old], &shared.paces[pace]);
        let same_slots: Vec<Option<u32>> = (0..layout.len() as u32).map(Some).collect();
        let same_leaves: Vec<Option<u16>> = (0..plan.leaves.len() as u16).map(Some).collect();
        let begins = (0..).zip(&plan.leaves).filter(|(leaf, _)| !from.wiring.reads_same(*leaf, &to.wiring, *leaf));
        // Before the first frame nothing has been missed.
        let has_frames = self.next_step_ms.is_some();
        let young: Vec<_> = begins
            .filter(|_| has_frames)
            .map(|(id, leaf)| (id, self.applied_ms.saturating_add(leaf.reach_ms(spans))))
            .collect();
        let wirings = FromTo { from: &from.wiring, to: &to.wiring };
        self.slots.rewire(wirings, layout, &same_slots, &same_leaves, young.into_iter());
        if from.pace.step_ms != to.pace.step_ms {
            self.windows = Windows::new(&to.windows);
            self.shadow = to.shadow.as_ref().map(|config| Box::new(Windows::new(config)));
            self.next_step_ms =
                self.next_step_ms.map(|next_ms| first_step_from(next_ms, self.slots.grid_ms, to.pace.step_ms));
        }
    }
}
