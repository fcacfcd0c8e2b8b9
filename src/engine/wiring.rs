//! Which state serves which leaf of the plan: leaves that differ in their function alone share it.

use super::pace::Pace;
use crate::promql::Plan;
use crate::promql::plan::Rollup;
use crate::promql::rollup::{Kind, RangeFunction};

/// The series' samples as one offset sees them: `x offset 1h` at a step is `x` at a step an hour later.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FeedPlan {
    /// Time by which its samples come later.
    pub(super) offset_ms: i64,
    /// Range and kind of every state that it keeps.
    pub(super) ranges: Vec<(i64, Kind)>,
}

/// Feed, and part of it, that a leaf reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LeafPlan {
    /// Index of the feed.
    pub(super) feed: usize,
    /// Part of the feed that is read.
    pub(super) source: Source,
}

/// Part of a feed that a leaf reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    /// The newest samples.
    Instant,
    /// `function` over the range with this index in the feed, of `range_ms`.
    Range { index: usize, function: RangeFunction, range_ms: i64 },
}

/// The wiring of a plan at one pace.
#[derive(Debug, PartialEq)]
pub(super) struct Wiring {
    /// The first has no offset; it is always there.
    pub(super) feeds: Vec<FeedPlan>,
    /// By leaf.
    pub(super) leaves: Vec<LeafPlan>,
}

impl Wiring {
    /// For hosts of `pace` with at most `n_series_max` series each.
    pub(super) fn new(plan: &Plan, pace: Pace, n_series_max: usize) -> Self {
        let mut feeds = vec![FeedPlan { offset_ms: 0, ranges: Vec::new() }];
        let leaf = |leaf: &crate::promql::plan::Leaf| {
            let feed = position_or_push(
                &mut feeds,
                |feed| feed.offset_ms == leaf.offset_ms,
                || FeedPlan { offset_ms: leaf.offset_ms, ranges: Vec::new() },
            );
            let source = match leaf.rollup {
                Rollup::Instant => Source::Instant,
                Rollup::Range(function, range) => {
                    let range_ms = range.ms(pace.spans);
                    let range = (range_ms, Kind::new(function, range_ms, pace.step_ms, n_series_max));
                    let index = position_or_push(&mut feeds[feed].ranges, |other| *other == range, || range);
                    Source::Range { index, function, range_ms }
                }
            };
            LeafPlan { feed, source }
        };
        let leaves = plan.leaves.iter().map(leaf).collect();
        Self { feeds, leaves }
    }

    /// Returns what `leaf` reads, beyond one wiring: the feed's offset, and what of it is kept.
    fn state(&self, leaf: &LeafPlan) -> (i64, Option<(i64, Kind)>) {
        let feed = &self.feeds[leaf.feed];
        let range = match leaf.source {
            Source::Instant => None,
            Source::Range { index, .. } => Some(feed.ranges[index]),
        };
        (feed.offset_ms, range)
    }

    /// Whether two leaves, the first of this wiring, read the same state.
    pub(super) fn reads_same(&self, leaf: u16, other: &Self, of_other: u16) -> bool {
        self.state(&self.leaves[leaf as usize]) == other.state(&other.leaves[of_other as usize])
    }

    /// Returns how far back `leaf` reads samples that `limits.samples_per_host` bounds; `None` where it reads none.
    pub(super) fn samples_reach(&self, leaf: &LeafPlan, lookback_ms: i64) -> Option<i64> {
        let feed = &self.feeds[leaf.feed];
        let reach_ms = match leaf.source {
            Source::Instant => lookback_ms,
            Source::Range { range_ms, .. } => range_ms,
        };
        let is_bounded = feed.offset_ms > 0
            || matches!(leaf.source, Source::Range { index, .. } if !matches!(feed.ranges[index].1, Kind::Edges(_)));
        is_bounded.then(|| reach_ms.saturating_add(feed.offset_ms))
    }
}

fn position_or_push<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    all.iter().position(is_it).unwrap_or_else(|| {
        all.push(new());
        all.len() - 1
    })
}
