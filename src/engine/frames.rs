//! The frames of one host that still wait for late samples.

use std::collections::VecDeque;

use crate::promql::rollup::{ABSENT, FrameView, is_absent};
use crate::series::{TimestampMs, is_stale};

/// Longest wait of a host's first frames for more, to tell its scrape interval: one that is scraped each 15 minutes has told it.
pub const FRAME_WAIT_MS_MAX: i64 = 3_600_000;
/// Two samples of one series that are nearer than this are one scrape by two senders that nothing tells apart: nobody scrapes as often.
/// The later one is dropped: where it was read first, a counter would seem to have begun anew.
pub(super) const REPEAT_MS: i64 = 250;

/// Samples of one host with one timestamp.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The timestamp.
    t_ms: TimestampMs,
    /// When its first sample came, on the caller's clock.
    arrived_ms: TimestampMs,
    /// The lowest slot with a value.
    first_slot: u32,
    /// One value per slot from there on, [`ABSENT`] where there is none. A scrape's series stand close together.
    values: Vec<f64>,
}

/// Outcome of inserting a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    New,
    /// The series had a sample at that time already.
    Duplicate,
}

impl Frame {
    /// Returns a view of what is in it.
    pub(super) fn view(&self) -> FrameView<'_> {
        FrameView { t_ms: self.t_ms, first_place: self.first_slot, values: &self.values }
    }

    /// The timestamp.
    pub(super) fn t_ms(&self) -> TimestampMs {
        self.t_ms
    }

    /// Drops the numbers of slots for which `is_known`, stale markers not; returns how many.
    pub(super) fn drop_numbers(&mut self, is_known: impl Fn(u32) -> bool) -> u64 {
        let cells = (self.first_slot..).zip(&mut self.values);
        let known = cells.filter(|(slot, value)| !is_absent(**value) && !is_stale(**value) && is_known(*slot));
        known.map(|(_, value)| *value = ABSENT).count() as u64
    }

    /// Whether it came so long before `now_ms` that what it waits for may never come.
    pub(super) fn is_held_too_long(&self, now_ms: TimestampMs) -> bool {
        now_ms.saturating_sub(self.arrived_ms) >= FRAME_WAIT_MS_MAX
    }

    /// Its first slot, where it has most of the `n_slots` series of its host.
    pub(super) fn whole_from(&self, n_slots: usize) -> Option<u32> {
        (2 * self.values.len() >= n_slots).then_some(self.first_slot)
    }

    /// Whether it has a sample of `slot`.
    pub(super) fn has(&self, slot: u32) -> bool {
        !is_absent(self.view().get(slot))
    }

    fn insert(&mut self, slot: u32, value: f64) -> Inserted {
        if self.values.is_empty() {
            self.first_slot = slot;
        } else if slot < self.first_slot {
            let n = (self.first_slot - slot) as usize;
            self.values.splice(0..0, std::iter::repeat_n(ABSENT, n));
            self.first_slot = slot;
        }
        let at = (slot - self.first_slot) as usize;
        if at >= self.values.len() {
            self.values.resize(at, ABSENT);
            self.values.push(value);
            return Inserted::New;
        }
        let cell = &mut self.values[at];
        if is_absent(*cell) {
            *cell = value;
            return Inserted::New;
        }
        *cell = winner(*cell, value);
        Inserted::Duplicate
    }

    /// Renumbers the slots; samples of slots that are gone are dropped. `new_slots` keeps the order of slots.
    fn renumber(&mut self, new_slots: &[Option<u32>]) {
        let values = std::mem::take(&mut self.values);
        for (slot, value) in (self.first_slot..).zip(values) {
            if let Some(new) = new_slots.get(slot as usize).copied().flatten().filter(|_| !is_absent(value)) {
                self.insert(new, value);
            }
        }
    }
}

/// Which of two values of one series at one time counts, whatever their order: numbers win over NaN and stale markers, and
/// the larger number wins, as in VictoriaMetrics' deduplication.
fn winner(a: f64, b: f64) -> f64 {
    let rank = |v: f64| if is_stale(v) { 0 } else { 1 + u8::from(!v.is_nan()) };
    match rank(a).cmp(&rank(b)) {
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Equal => {
            if b.total_cmp(&a).is_gt() {
                b
            } else {
                a
            }
        }
    }
}

/// Pending frames, oldest first; at most `limits.frames_per_host` of them.
#[derive(Debug)]
pub(super) struct Frames {
    pending: VecDeque<Frame>,
    /// Cells of all of them, those without a sample included.
    n_cells: usize,
    /// Values that the newest frame will have, as the one before it had.
    n_values: usize,
}

impl Default for Frames {
    /// Room for the frame that waits and the one that comes meanwhile.
    fn default() -> Self {
        Self { pending: VecDeque::with_capacity(2), n_cells: 0, n_values: 0 }
    }
}

impl Frames {
    /// Puts a sample into the frame of its timestamp; a new frame takes its buffers from `spare`.
    pub(super) fn insert(
        &mut self,
        t_ms: TimestampMs,
        slot: u32,
        value: f64,
        now_ms: TimestampMs,
        spare: &mut Vec<Frame>,
    ) -> Inserted {
        // An ordinary NaN of its own payload would be taken for no sample.
        let value = if value.is_nan() && !is_stale(value) { f64::NAN } else { value };
        let at = self.frame_at(t_ms, now_ms, spare);
        let frame = &mut self.pending[at];
        let n_before = frame.values.len();
        let inserted = frame.insert(slot, value);
        self.n_cells += frame.values.len() - n_before;
        inserted
    }

    /// The place of the frame of `t_ms`, made where there is none.
    #[inline]
    fn frame_at(&mut self, t_ms: TimestampMs, now_ms: TimestampMs, spare: &mut Vec<Frame>) -> usize {
        // Samples nearly always belong to the newest frame.
        if self.pending.back().is_some_and(|newest| newest.t_ms == t_ms) {
            return self.pending.len() - 1;
        }
        let after = self.pending.iter().rposition(|frame| frame.t_ms <= t_ms);
        if let Some(at) = after.filter(|at| self.pending[*at].t_ms == t_ms) {
            return at;
        }
        let mut frame = spare.pop().unwrap_or_default();
        (frame.t_ms, frame.arrived_ms) = (t_ms, now_ms);
        // Not where frames come with less than expected: room is not held to any limit, values are.
        if self.pending.back().is_none_or(|newest| 2 * newest.values.len() >= self.n_values) {
            frame.values.reserve_exact(self.n_values);
        }
        let at = after.map_or(0, |i| i + 1);
        self.pending.insert(at, frame);
        at
    }

    /// The pending frames, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.pending.iter()
    }

    /// The oldest frame's time.
    pub(super) fn oldest_ms(&self) -> Option<TimestampMs> {
        self.pending.front().map(|frame| frame.t_ms)
    }

    /// The newest time among frames that came at least `lateness_ms` before `now_ms` and are not in its future.
    pub(super) fn settled_ms(&self, now_ms: TimestampMs, lateness_ms: i64) -> Option<TimestampMs> {
        self.pending
            .iter()
            .rev()
            .find(|frame| frame.t_ms <= now_ms && now_ms.saturating_sub(frame.arrived_ms) >= lateness_ms)
            .map(|frame| frame.t_ms)
    }

    /// Says how many values to expect in a frame.
    pub(super) fn expect(&mut self, n_values: usize) {
        self.n_values = n_values;
    }

    /// Takes the oldest frame.
    pub(super) fn take(&mut self) -> Option<Frame> {
        let frame = self.pending.pop_front();
        self.n_values = frame.as_ref().map_or(0, |frame| frame.values.len());
        self.n_cells -= self.n_values;
        frame
    }

    /// Whether a sample of `slot` is pending.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.pending.iter().any(|frame| frame.has(slot))
    }

    /// Cells of all pending frames, those without a sample included.
    pub(super) fn n_cells(&self) -> usize {
        self.n_cells
    }

    /// Number of pending frames.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Renumbers the slots of every pending sample.
    pub(super) fn renumber(&mut self, new_slots: &[Option<u32>]) {
        self.pending.iter_mut().for_each(|frame| frame.renumber(new_slots));
        self.n_cells = self.pending.iter().map(|frame| frame.values.len()).sum();
    }
}

/// Frames kept for reuse per shard: enough for a block of hosts, and little memory.
const SPARE_FRAMES_MAX: usize = 16;

/// Puts an applied frame's buffers aside for the next one.
pub(super) fn recycle(mut frame: Frame, spare: &mut Vec<Frame>) {
    if spare.len() < SPARE_FRAMES_MAX {
        frame.values.clear();
        spare.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::STALE_NAN_BITS;

    fn cells(frame: &Frame) -> Vec<(u32, f64)> {
        (frame.first_slot..).zip(frame.values.iter().copied()).filter(|(_, value)| !is_absent(*value)).collect()
    }

    #[test]
    fn any_order_gives_the_same_frames() {
        let samples = [(2, 0, 1.0), (1, 1, 2.0), (2, 1, 3.0), (1, 0, 4.0), (1, 1, 5.0), (3, 7, 6.0)];
        let collect = |order: &[usize]| {
            let (mut frames, mut spare) = (Frames::default(), Vec::new());
            for &i in order {
                let (t_ms, slot, value) = samples[i];
                frames.insert(t_ms, slot, value, 0, &mut spare);
            }
            let mut all = Vec::new();
            while let Some(frame) = frames.take() {
                all.push((frame.t_ms, cells(&frame)));
            }
            all
        };
        let expected = vec![(1, vec![(0, 4.0), (1, 5.0)]), (2, vec![(0, 1.0), (1, 3.0)]), (3, vec![(7, 6.0)])];
        assert_eq!(collect(&[0, 1, 2, 3, 4, 5]), expected);
        assert_eq!(collect(&[5, 4, 3, 2, 1, 0]), expected);
        assert_eq!(collect(&[4, 0, 5, 1, 3, 2, 2, 0, 4]), expected);
    }

    #[test]
    fn frames_of_one_sample_take_little_room() {
        let (mut frames, mut spare) = (Frames::default(), Vec::new());
        frames.expect(5_000);
        for t_ms in 0..200 {
            frames.insert(t_ms, 0, 1.0, 0, &mut spare);
        }
        let room: usize = frames.pending.iter().map(|frame| frame.values.capacity()).sum();
        assert!(room < 10_000, "{room}");
    }

    #[test]
    fn numbers_win_over_stale_markers_and_larger_over_smaller() {
        let stale = f64::from_bits(STALE_NAN_BITS);
        assert_eq!(winner(stale, 1.0), 1.0);
        assert_eq!(winner(1.0, stale), 1.0);
        assert_eq!(winner(f64::NAN, 1.0), 1.0);
        assert_eq!(winner(2.0, 1.0), 2.0);
        assert_eq!(winner(f64::NAN, stale).to_bits(), f64::NAN.to_bits());
    }
}
