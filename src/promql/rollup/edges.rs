//! `rate`, `increase` and `delta` of all series of a host over one short range, from the first sample of each pane.
//!
//! Steps cut time into panes: every border of a range that is ever asked for is a border between two panes. What these
//! functions need of a range is its first and its last sample, how many there are, and the counter resets between. So a pane
//! keeps of each series the first value and its clock, which says when the pane's samples came. Series that are scraped together
//! share their clock, so that a series costs 8 bytes a pane, not 16 a sample.

use std::collections::HashMap;

use super::column::{Column, renumbered};
use super::fall::{OPEN_RANGES, Open, is_doubtful};
use super::{Context, FrameView, Member, RangeFunction, Step, extrapolate, is_number};
use crate::promql::eval::{Element, Vector};
use crate::series::{Sample, TimestampMs};

/// Longer ranges keep their samples instead: with more panes the columns would cost more than they save.
const PANES_MAX: i64 = 8;

/// More series than this of one host keep their samples instead, so that a clock's number fits 16 bits.
pub const SERIES_MAX: usize = 20_000;

/// Resets kept of one range of a host: as many as when all its series are reset at once. A sender of counters that fall with
/// each sample gains nothing.
const RESETS_MAX: usize = SERIES_MAX;

/// Division of a range into panes by the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panes {
    /// Length of the range.
    range_ms: i64,
    /// Interval between steps.
    step_ms: i64,
    /// Panes in a range.
    n: i64,
}

impl Panes {
    /// The panes of `range_ms` at steps `step_ms` apart; `None` where there would be too many.
    #[must_use]
    pub fn new(range_ms: i64, step_ms: i64) -> Option<Self> {
        let whole = range_ms / step_ms;
        // Where the range is no multiple of the step, each step has two panes: what comes before the border of a later
        // range, and what comes after it.
        let n = if range_ms % step_ms == 0 { whole } else { 2 * whole + 1 };
        (range_ms > 0 && n <= PANES_MAX).then_some(Self { range_ms, step_ms, n })
    }

    /// The pane that `t_ms` lies in, where `grid_ms` is some step. Panes are open on the left.
    fn number(self, t_ms: TimestampMs, grid_ms: TimestampMs) -> i64 {
        // The step that ends the pane's step interval is `grid_ms - behind`.
        let since_ms = grid_ms.wrapping_sub(t_ms);
        let steps_behind = since_ms.div_euclid(self.step_ms);
        let step = -steps_behind;
        let rest_ms = self.range_ms % self.step_ms;
        if rest_ms == 0 {
            return step;
        }
        let before_step_ms = since_ms.rem_euclid(self.step_ms);
        2 * step + i64::from(before_step_ms < rest_ms)
    }
}

/// When the samples of one series in one pane came.
#[derive(Debug, Clone, Copy)]
struct Clock {
    first_ms: TimestampMs,
    last_ms: TimestampMs,
    n: u32,
}

/// A counter fell.
#[derive(Debug, Clone, Copy)]
struct Reset {
    /// Position of the series.
    series: u32,
    /// The pane of the lower sample.
    pane: i64,
    /// Whether the lower sample is the first of its pane, so that the higher one lies in an earlier one.
    is_at_border: bool,
    /// The value before.
    before: f64,
}

/// A series of a frame that fell, or rose to more than double.
struct Candidate {
    /// Position of the series.
    series: u32,
    /// Whether its sample is the first of its pane.
    is_at_border: bool,
    /// The value before.
    before: f64,
}

/// A sample that doesn't go on from the one before.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    pane: i64,
    /// Whether it is the first of its pane, so that the one before lies in an earlier one.
    is_at_border: bool,
}

/// Samples that came in one pane.
#[derive(Debug)]
struct Pane {
    /// By series: index into `clocks` plus 1; 0 where the series has no sample in the pane.
    clock: Column<u16>,
    /// When samples came.
    clocks: Vec<Clock>,
}

/// The panes of one host's series over one range.
#[derive(Debug)]
pub struct Edges {
    /// `[pane × series]`: the first value.
    first: Vec<f64>,
    panes: Box<[Pane]>,
    /// Number of series.
    n_series: usize,
    /// Number of the newest pane with a sample.
    newest: i64,
    /// By time; at most [`RESETS_MAX`]. Seldom any.
    resets: Vec<Reset>,
    /// The newest pane with a reset that was not kept.
    lost: i64,
    /// By series: its newest doubtful sample in the panes.
    doubtful: HashMap<u32, Doubt, foldhash::fast::RandomState>,
    /// By series: what may yet prove wrong.
    pending: HashMap<u32, Open, foldhash::fast::RandomState>,
}

impl Edges {
    /// No series yet.
    #[must_use]
    pub fn new(panes: Panes) -> Self {
        let pane = || Pane { clock: Column::Same(0), clocks: Vec::new() };
        Self {
            first: Vec::new(),
            panes: std::iter::repeat_with(pane).take(panes.n as usize).collect(),
            n_series: 0,
            newest: i64::MIN,
            resets: Vec::new(),
            lost: i64::MIN,
            doubtful: HashMap::default(),
            pending: HashMap::default(),
        }
    }

    /// Keeps the series with `new` positions in their order; `n_series` of them will there be.
    pub fn renumber(&mut self, new: &[Option<u32>], n_series: usize) {
        let mut first = Vec::with_capacity(self.panes.len() * n_series);
        for (i, pane) in self.panes.iter_mut().enumerate() {
            let firsts = &self.first[i * self.n_series..(i + 1) * self.n_series];
            first.extend(renumbered(firsts.iter().copied(), new, n_series, || 0.0));
            if pane.clocks.is_empty() {
                pane.clock = Column::Same(0);
            } else {
                pane.clock.renumber(new, n_series, 0);
            }
        }
        self.resets.retain_mut(|reset| {
            let new = new.get(reset.series as usize).copied().flatten();
            new.map(|new| reset.series = new).is_some()
        });
        self.doubtful = moved_to(std::mem::take(&mut self.doubtful), new);
        self.pending = moved_to(std::mem::take(&mut self.pending), new);
        (self.first, self.n_series) = (first, n_series);
    }

    /// Takes the next frame.
    pub fn push(&mut self, panes: Panes, frame: FrameView<'_>, context: &mut Context<'_>) {
        let number = panes.number(frame.t_ms, context.grid_ms);
        self.open(number);
        for Candidate { series, is_at_border, before } in self.push_into(panes, number, frame, context) {
            let after = frame.get(context.places[series as usize]);
            let mut pending = self.pending.remove(&series);
            if is_doubtful(&mut pending, before, after, number) {
                self.doubtful.insert(series, Doubt { pane: number, is_at_border });
            }
            if let Some(pending) = pending {
                self.pending.insert(series, pending);
            }
        }
    }

    /// Gives the series that fell or rose to more than double.
    fn push_into(
        &mut self,
        panes: Panes,
        number: i64,
        frame: FrameView<'_>,
        context: &mut Context<'_>,
    ) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let index = number.rem_euclid(panes.n) as usize;
        let first = &mut self.first[index * self.n_series..(index + 1) * self.n_series];
        let Pane { clock, clocks } = &mut self.panes[index];
        let values = || context.places.iter().map(|place| (*place, frame.get(*place)));
        let mut fell = |series: usize, value: f64, place: u32, is_at_border: bool| {
            let before = context.last[place as usize];
            if value < before || value > 2.0 * before {
                candidates.push(Candidate { series: series as u32, is_at_border, before });
            }
            if value < before && self.resets.len() < RESETS_MAX {
                self.resets.push(Reset { series: series as u32, pane: number, is_at_border, before });
            } else if value < before {
                self.lost = number;
            }
        };
        if let Column::Same(clock) = clock
            && values().all(|(_, value)| is_number(value))
        {
            let is_at_border = *clock == 0;
            for (series, ((place, value), first)) in values().zip(first).enumerate() {
                fell(series, value, place, is_at_border);
                if is_at_border {
                    *first = value;
                }
            }
            tick(clock, clocks, frame.t_ms);
            // All series are at this clock: a pane may have more frames than a clock's number can count.
            clocks.drain(..clocks.len() - 1);
            *clock = 1;
            return candidates;
        }
        if clocks.len() > 2 * SERIES_MAX {
            forget_unused(clocks, clock.each(self.n_series));
        }
        // What each clock becomes with a sample at this frame's time; 0 until the first series asks.
        context.scratch.clear();
        context.scratch.resize(clocks.len() + 1, 0);
        let each = first.iter_mut().zip(clock.each(self.n_series));
        for (series, ((place, value), (first, clock))) in values().zip(each).enumerate() {
            if !is_number(value) {
                continue;
            }
            fell(series, value, place, *clock == 0);
            if *clock == 0 {
                *first = value;
            }
            let next = &mut context.scratch[*clock as usize];
            if *next == 0 {
                *next = *clock;
                tick(next, clocks, frame.t_ms);
            }
            *clock = *next;
        }
        candidates
    }

    /// Empties the panes that come before `number` and after the newest.
    fn open(&mut self, number: i64) {
        if number <= self.newest {
            return;
        }
        let n = self.panes.len() as i64;
        let from = self.newest.saturating_add(1).max(number - n + 1);
        for emptied in from..=number {
            let pane = &mut self.panes[emptied.rem_euclid(n) as usize];
            pane.clocks.clear();
            pane.clock = Column::Same(0);
        }
        self.newest = number;
        if !self.resets.is_empty() {
            self.resets.retain(|reset| reset.pane > number - n);
        }
        if !self.doubtful.is_empty() {
            self.doubtful.retain(|_, doubt| doubt.pane > number - n);
        }
        if !self.pending.is_empty() {
            self.pending.retain(|_, pending| pending.at > number - OPEN_RANGES * n);
        }
    }

    /// `function` of each of `members` over the range that ends at the step, appended to `out` where it has a value. `last` is as
    /// in [`Context`].
    pub fn evaluate(
        &self,
        panes: Panes,
        function: RangeFunction,
        step: Step,
        members: &[Member],
        last: &[f64],
        out: &mut Vector,
    ) {
        let end = panes.number(step.t_ms, step.grid_ms);
        let from = end - panes.n + 1;
        let mut resets: Vec<&Reset> =
            if function == RangeFunction::Delta { Vec::new() } else { self.resets.iter().collect() };
        resets.sort_by_key(|reset| reset.series);
        for member in members {
            let series = member.position as usize;
            let mut range: Option<(i64, Sample)> = None;
            let (mut last_ms, mut n) = (0, 0);
            for number in from..=end.min(self.newest) {
                let index = number.rem_euclid(panes.n) as usize;
                let pane = &self.panes[index];
                let Some(clock) = (pane.clock.get(series) as usize).checked_sub(1) else { continue };
                let clock = pane.clocks[clock];
                let value = self.first[index * self.n_series + series];
                range.get_or_insert((number, Sample { t_ms: clock.first_ms, value }));
                last_ms = clock.last_ms;
                n += clock.n as usize;
            }
            let Some((first_pane, first)) = range else { continue };
            let last = Sample { t_ms: last_ms, value: last[member.place as usize] };
            let mut increase = last.value - first.value;
            if !resets.is_empty() {
                // One after the other as Prometheus does it: another order would round otherwise.
                increase = of_series(&resets, member.position, first_pane)
                    .fold(increase, |increase, reset| increase + reset.before);
            }
            if let Some(value) = extrapolate(function, first, last, n, increase, step.t_ms, panes.range_ms) {
                out.push(Element { labels: member.labels, value });
            }
        }
    }

    /// Whether a counter among `members` fell within the range that ends at the step.
    pub fn has_fall(&self, panes: Panes, step: Step, members: &[Member]) -> bool {
        if self.resets.is_empty() {
            return false;
        }
        let end = panes.number(step.t_ms, step.grid_ms);
        let mut resets: Vec<&Reset> = self.resets.iter().collect();
        resets.sort_by_key(|reset| reset.series);
        members.iter().any(|member| {
            let first = self.first_pane(panes, end, member.position);
            first.is_some_and(|first| of_series(&resets, member.position, first).next().is_some())
        })
    }

    /// Gives `found` each of `members` that has a sample in the range that ends at the step which doesn't go on from the one before,
    /// where that is in the range too.
    pub fn doubtful(&self, panes: Panes, step: Step, members: &[Member], found: impl FnMut(&Member)) {
        if self.doubtful.is_empty() {
            return;
        }
        let end = panes.number(step.t_ms, step.grid_ms);
        let is_doubtful = |member: &&Member| {
            let Some(doubt) = self.doubtful.get(&member.position) else { return false };
            let first = self.first_pane(panes, end, member.position);
            first.is_some_and(|first| doubt.pane > first || doubt.pane == first && !doubt.is_at_border)
        };
        members.iter().filter(is_doubtful).for_each(found);
    }

    /// The first pane of the range whose last one is `end` in which a series has a sample.
    fn first_pane(&self, panes: Panes, end: i64, series: u32) -> Option<i64> {
        let has_sample = |number: &i64| {
            let pane = &self.panes[number.rem_euclid(panes.n) as usize];
            pane.clock.get(series as usize) > 0
        };
        (end - panes.n + 1..=end.min(self.newest)).find(has_sample)
    }

    /// Whether all resets in the range that ends at the step `end_ms` were kept.
    #[must_use]
    pub fn has_all_resets(&self, panes: Panes, grid_ms: TimestampMs, end_ms: TimestampMs) -> bool {
        self.lost <= panes.number(end_ms, grid_ms) - panes.n
    }
}

/// Returns what is known by series, moved to their `new` positions.
fn moved_to<T>(
    all: HashMap<u32, T, foldhash::fast::RandomState>,
    new: &[Option<u32>],
) -> HashMap<u32, T, foldhash::fast::RandomState> {
    let moved = |(series, value): (u32, T)| Some((new.get(series as usize).copied().flatten()?, value));
    all.into_iter().filter_map(moved).collect()
}

/// The resets of one series since the first sample of `first_pane`, in order of time; `resets` are by series.
fn of_series<'a>(resets: &[&'a Reset], series: u32, first_pane: i64) -> impl Iterator<Item = &'a Reset> {
    let from = resets.partition_point(|reset| reset.series < series);
    let of_series = resets[from..].iter().copied().take_while(move |reset| reset.series == series);
    of_series.filter(move |r| r.pane > first_pane || r.pane == first_pane && !r.is_at_border)
}

/// Turns `clock` into the one that has a sample at `t_ms` more.
fn tick(clock: &mut u16, clocks: &mut Vec<Clock>, t_ms: TimestampMs) {
    let old = (*clock as usize).checked_sub(1).map(|old| clocks[old]);
    let (first_ms, n) = old.map_or((t_ms, 0), |old| (old.first_ms, old.n));
    clocks.push(Clock { first_ms, last_ms: t_ms, n: n + 1 });
    *clock = clocks.len() as u16;
}

/// Drops the clocks that no series is at any more.
fn forget_unused(clocks: &mut Vec<Clock>, of_series: &mut [u16]) {
    let mut new = vec![0_u16; clocks.len() + 1];
    let mut kept = Vec::new();
    for clock in of_series.iter_mut().filter(|clock| **clock > 0) {
        let new = &mut new[*clock as usize];
        if *new == 0 {
            kept.push(clocks[*clock as usize - 1]);
            *new = kept.len() as u16;
        }
        *clock = *new;
    }
    *clocks = kept;
}
