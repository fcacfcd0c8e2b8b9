//! Incremental rollups: a step costs the samples that enter and leave a range, never a rescan of it.
//!
//! Owns what is kept of the series of one host per range. Frames come in order of time; which series stands where is the
//! caller's.

pub mod column;
mod edges;
mod fall;
mod fold;
mod ring;

use self::column::renumbered;
use self::edges::{Edges, Panes};
use self::fold::Fold;
use self::ring::Ring;
use super::eval::{Element, Vector};
use super::labelset::LabelSetId;
pub use super::range_function::RangeFunction;
use crate::series::{Sample, TimestampMs, is_stale};

/// A value that stands for "no sample" in a frame. A NaN that no sender writes: samples' NaNs are made ordinary before.
pub const ABSENT: f64 = f64::from_bits(0x7ff4_6162_7365_6e74);

/// Whether a cell of a frame has no sample.
#[must_use]
pub fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

/// Whether a cell of a frame has a sample that is no stale marker.
#[must_use]
pub fn is_number(value: f64) -> bool {
    !is_absent(value) && !is_stale(value)
}

/// All samples of one host with one timestamp.
#[derive(Debug, Clone, Copy)]
pub struct FrameView<'a> {
    /// The timestamp.
    pub t_ms: TimestampMs,
    /// The place of the first value.
    pub first_place: u32,
    /// One value per place, [`ABSENT`] where there is none.
    pub values: &'a [f64],
}

impl FrameView<'_> {
    /// The value at `place`, or [`ABSENT`].
    #[must_use]
    pub fn get(&self, place: u32) -> f64 {
        // A place before the first wraps to one far behind the last.
        self.values.get(place.wrapping_sub(self.first_place) as usize).copied().unwrap_or(ABSENT)
    }
}

/// A step at which ranges end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its time.
    pub t_ms: TimestampMs,
    /// Any step of the same grid.
    pub grid_ms: TimestampMs,
}

/// A series that a leaf selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its place in frames.
    pub place: u32,
    /// Its position in the range's state.
    pub position: u32,
    /// Its labels.
    pub labels: LabelSetId,
}

/// Form in which a range is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first sample of each pane.
    Edges(Panes),
    /// Folds of samples.
    Folds,
    /// Samples.
    Rings,
}

impl Kind {
    /// Chooses what `function` over `range_ms` needs at steps `step_ms` apart, with at most `n_series_max` series in a host.
    #[must_use]
    pub fn new(function: RangeFunction, range_ms: i64, step_ms: i64, n_series_max: usize) -> Self {
        match (function, Panes::new(range_ms, step_ms)) {
            (RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Delta, Some(panes))
                if n_series_max <= edges::SERIES_MAX =>
            {
                Self::Edges(panes)
            }
            (
                RangeFunction::Sum
                | RangeFunction::Avg
                | RangeFunction::Min
                | RangeFunction::Max
                | RangeFunction::Count,
                _,
            ) => Self::Folds,
            _ => Self::Rings,
        }
    }
}

/// State that all leaves with one range and kind keep of a host's series.
#[derive(Debug)]
pub enum RangeState {
    /// See [`Kind::Edges`].
    Edges(Panes, Edges),
    /// One per series.
    Folds(Vec<Fold>),
    /// One per series.
    Rings(Vec<Ring>),
}

/// Input of [`RangeState::push`] beside the frame.
#[derive(Debug)]
pub struct Context<'a> {
    /// Some step, always the same one.
    pub grid_ms: TimestampMs,
    /// The place of each series.
    pub places: &'a [u32],
    /// By place: the newest number before this frame.
    pub last: &'a [f64],
    /// Whether more samples may be kept.
    pub may_grow: bool,
    /// Any buffer.
    pub scratch: &'a mut Vec<u16>,
}

impl RangeState {
    /// No series yet.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Edges(panes) => Self::Edges(panes, Edges::new(panes)),
            Kind::Folds => Self::Folds(Vec::new()),
            Kind::Rings => Self::Rings(Vec::new()),
        }
    }

    /// Gives each series its position in `new`, those without one are forgotten; `n_series` of them will there be.
    pub fn renumber(&mut self, new: &[Option<u32>], n_series: usize) {
        match self {
            Self::Edges(_, edges) => edges.renumber(new, n_series),
            Self::Folds(folds) => *folds = renumbered(folds.drain(..), new, n_series, Fold::default),
            Self::Rings(rings) => *rings = renumbered(rings.drain(..), new, n_series, Ring::default),
        }
    }

    /// Takes the next frame; returns how many samples more are held.
    pub fn push(&mut self, frame: FrameView<'_>, context: &mut Context<'_>) -> usize {
        if let Self::Edges(panes, edges) = self {
            edges.push(*panes, frame, context);
            return 0;
        }
        if !context.may_grow {
            return 0;
        }
        let mut n = 0;
        for (position, &place) in context.places.iter().enumerate() {
            let value = frame.get(place);
            if !is_number(value) {
                continue;
            }
            let sample = Sample { t_ms: frame.t_ms, value };
            match self {
                Self::Folds(folds) => folds[position].push(sample),
                Self::Rings(rings) => rings[position].push(sample),
                Self::Edges(..) => {}
            }
            n += 1;
        }
        n
    }

    /// Whether all that `function` needs of the range that ends at the step was kept.
    #[must_use]
    pub fn is_complete(&self, function: RangeFunction, grid_ms: TimestampMs, end_ms: TimestampMs) -> bool {
        match self {
            Self::Edges(panes, edges) if function != RangeFunction::Delta => {
                edges.has_all_resets(*panes, grid_ms, end_ms)
            }
            Self::Edges(..) | Self::Folds(_) | Self::Rings(_) => true,
        }
    }

    /// Whether a counter among `members` fell within the range that ends at the step `end_ms`. `grid_ms` is as in [`Context`].
    #[must_use]
    pub fn has_fall(&self, step: Step, members: &[Member]) -> bool {
        match self {
            Self::Edges(panes, edges) => edges.has_fall(*panes, step, members),
            Self::Folds(_) => false,
            Self::Rings(rings) => members.iter().any(|member| rings[member.position as usize].has_fall()),
        }
    }

    /// Gives `found` each of `members` that is a counter of which a value in the range was wrong, as far as its falls tell.
    pub fn doubtful(&self, step: Step, members: &[Member], mut found: impl FnMut(&Member)) {
        match self {
            Self::Edges(panes, edges) => edges.doubtful(*panes, step, members, found),
            Self::Folds(_) => {}
            Self::Rings(rings) => {
                members.iter().filter(|member| rings[member.position as usize].is_doubtful()).for_each(&mut found);
            }
        }
    }

    /// Drops samples at or before `start_ms`, where the range of `range_ms` begins; returns how many.
    pub fn drop_until(&mut self, start_ms: TimestampMs, range_ms: i64) -> usize {
        match self {
            Self::Edges(..) => 0,
            Self::Folds(folds) => folds.iter_mut().map(|fold| fold.drop_until(start_ms)).sum(),
            Self::Rings(rings) => rings.iter_mut().map(|ring| ring.drop_until(start_ms, range_ms)).sum(),
        }
    }

    /// Number of samples held, of which a host may have only so many; [`Kind::Edges`] is bounded by the number of series.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        match self {
            Self::Edges(..) => 0,
            Self::Folds(folds) => folds.iter().map(Fold::len).sum(),
            Self::Rings(rings) => rings.iter().map(Ring::len).sum(),
        }
    }

    /// `function` of each of `members` over the `range_ms` that end at the step, appended to `out` where it has a value.
    /// `last` is as in [`Context`]; everything until the step and nothing later has been pushed.
    pub fn evaluate(
        &self,
        function: RangeFunction,
        range_ms: i64,
        step: Step,
        members: &[Member],
        last: &[f64],
        out: &mut Vector,
    ) {
        if let Self::Edges(panes, edges) = self {
            return edges.evaluate(*panes, function, step, members, last, out);
        }
        for member in members {
            let position = member.position as usize;
            let value = match self {
                Self::Folds(folds) => folds[position].value(function),
                Self::Rings(rings) => rings[position].value(function, step.t_ms, range_ms),
                Self::Edges(..) => None,
            };
            if let Some(value) = value {
                out.push(Element { labels: member.labels, value });
            }
        }
    }
}

/// Prometheus' extrapolation of `rate`, `increase` and `delta` to the borders of the range (promql/functions.go,
/// `extrapolatedRate`).
///
/// `increase` is last − first, for a counter with its resets added back. `None` with fewer than two samples.
pub(super) fn extrapolate(
    function: RangeFunction,
    first: Sample,
    last: Sample,
    n_samples: usize,
    increase: f64,
    end_ms: TimestampMs,
    range_ms: i64,
) -> Option<f64> {
    if n_samples < 2 {
        return None;
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sampled_s = seconds(last.t_ms - first.t_ms);
    let mean_interval_s = sampled_s / (n_samples - 1) as f64;
    // A border further away than this is not reached: the series probably began or ended inside the range.
    let threshold_s = mean_interval_s * 1.1;

    let mut to_start_s = seconds(first.t_ms - (end_ms - range_ms));
    if to_start_s >= threshold_s {
        to_start_s = mean_interval_s / 2.0;
    }
    if function.is_counter() && increase > 0.0 && first.value >= 0.0 {
        // A counter cannot have been negative: it is not extrapolated beyond the point where it would be zero.
        to_start_s = to_start_s.min(sampled_s * (first.value / increase));
    }
    let mut to_end_s = seconds(end_ms - last.t_ms);
    if to_end_s >= threshold_s {
        to_end_s = mean_interval_s / 2.0;
    }
    let mut factor = (sampled_s + to_start_s + to_end_s) / sampled_s;
    if function == RangeFunction::Rate {
        factor /= seconds(range_ms);
    }
    Some(increase * factor)
}

#[cfg(test)]
mod tests;
