//! Which series a host has, and in which slots: shared by all hosts that have the same.
//!
//! A fleet has few kinds of hosts. What is the same for a kind (hashes, label sets, which leaf selects what) stands here once,
//! so that a host itself holds little more than numbers. Layouts never change; a host that gains or loses a series moves to
//! another one.

use std::collections::HashMap;
use std::sync::Arc;

use super::wiring::{Source, Wiring};
use crate::promql::labelset::LabelSetId;
use crate::promql::rollup::Member;

/// A wanted series without its host's own labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    /// Keyed hash of its labels but those that all series of its host share.
    pub(super) hash: u64,
    /// Its labels without the metric name, [`SHARED`](crate::promql::labelset::SHARED) for the value of shared ones.
    pub(super) labels: LabelSetId,
    /// The leaves that select it.
    pub(super) leaves: Box<[u16]>,
    /// Longest span that those leaves read, before the step: without a sample for so long it is forgotten.
    pub(super) reach_ms: i64,
    /// Whether it is an `up`.
    pub(super) is_up: bool,
}

/// The series of a host, by slot.
#[derive(Debug)]
pub(super) struct Layout {
    /// By slot, in the order in which a host's first sender wrote them.
    pub(super) series: Box<[Series]>,
    /// By slot: [`Series::hash`] again, close together, for the prediction of the next series.
    hashes: Box<[u64]>,
    by_hash: HashMap<u64, u32, foldhash::fast::RandomState>,
    /// By feed of the wiring.
    pub(super) feeds: Box<[FeedLayout]>,
    /// By leaf of the plan: the series that it selects.
    pub(super) leaves: Box<[Box<[Member]>]>,
    /// Slots of `up`.
    pub(super) ups: Box<[u32]>,
}

/// Which series a feed has.
#[derive(Debug)]
pub(super) struct FeedLayout {
    /// The slot of each place. In the first feed place and slot are the same.
    pub(super) slots: Box<[u32]>,
    /// By range of the feed: the places of its series.
    pub(super) ranges: Box<[Box<[u32]>]>,
}

impl FeedLayout {
    /// The layout of a feed without series, which has `n_ranges`.
    pub(super) fn empty(n_ranges: usize) -> Self {
        Self { slots: Box::default(), ranges: vec![Box::default(); n_ranges].into() }
    }
}

impl Layout {
    fn new(series: Vec<Series>, wiring: &Wiring) -> Self {
        let feeds: Box<[FeedLayout]> = (0..wiring.feeds.len()).map(|feed| feed_layout(feed, &series, wiring)).collect();
        let leaves = (0..).zip(&wiring.leaves).map(|(id, leaf)| {
            let feed = &feeds[leaf.feed];
            let places = (0..).zip(&feed.slots).map(|(place, slot)| (place, &series[*slot as usize]));
            let member = |(place, series): (u32, &Series)| {
                let position = match leaf.source {
                    Source::Instant => place,
                    Source::Range { index, .. } => feed.ranges[index].binary_search(&place).unwrap_or_default() as u32,
                };
                Member { place, position, labels: series.labels }
            };
            places.filter(|(_, series)| series.leaves.contains(&id)).map(member).collect()
        });
        Self {
            hashes: series.iter().map(|series| series.hash).collect(),
            by_hash: (0..).zip(&series).map(|(slot, series)| (series.hash, slot)).collect(),
            leaves: leaves.collect(),
            ups: (0..).zip(&series).filter(|(_, series)| series.is_up).map(|(slot, _)| slot).collect(),
            feeds,
            series: series.into(),
        }
    }

    /// Number of series.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// The hash at `slot`.
    pub(super) fn hash(&self, slot: u32) -> Option<u64> {
        self.hashes.get(slot as usize).copied()
    }

    /// The slot of a series.
    pub(super) fn find(&self, hash: u64) -> Option<u32> {
        self.by_hash.get(&hash).copied()
    }
}

fn feed_layout(feed: usize, series: &[Series], wiring: &Wiring) -> FeedLayout {
    let reads = |series: &Series, range: Option<usize>| {
        series.leaves.iter().any(|leaf| {
            let leaf = wiring.leaves[*leaf as usize];
            let is_range = match (range, leaf.source) {
                (None, _) => true,
                (Some(range), Source::Range { index, .. }) => index == range,
                (Some(_), Source::Instant) => false,
            };
            leaf.feed == feed && is_range
        })
    };
    let slots: Box<[u32]> =
        (0..).zip(series).filter(|(_, series)| feed == 0 || reads(series, None)).map(|(slot, _)| slot).collect();
    let places = |range: usize| {
        let of_range = (0..).zip(&slots).filter(|(_, slot)| reads(&series[**slot as usize], Some(range)));
        of_range.map(|(place, _)| place).collect()
    };
    let ranges = (0..wiring.feeds[feed].ranges.len()).map(places).collect();
    FeedLayout { slots, ranges }
}

/// The layouts of a shard.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    /// By a hash of all series. A layout that no host has any more is dropped by [`Layouts::sweep`].
    by_series: HashMap<u64, Arc<Layout>, foldhash::fast::RandomState>,
    /// Layouts at which the next sweep is due.
    swept_at: usize,
}

/// Fewer layouts than this are not swept.
const LAYOUTS_MIN: usize = 64;

impl Layouts {
    /// The layout of `series`.
    pub(super) fn intern(&mut self, series: Vec<Series>, wiring: &Wiring) -> Arc<Layout> {
        // The labels too: hosts of two kinds may differ in the names of their shared labels alone.
        let key = series.iter().fold(0_u64, |key, series| {
            let series = series.hash.wrapping_add(u64::from(series.labels.number()) << 32);
            key.rotate_left(5).wrapping_mul(0x9e37_79b9).wrapping_add(series)
        });
        match self.by_series.get(&key) {
            Some(known) if *known.series == *series => Arc::clone(known),
            _ => {
                self.sweep();
                let layout = Arc::new(Layout::new(series, wiring));
                self.by_series.insert(key, Arc::clone(&layout));
                layout
            }
        }
    }

    /// Forgets all; hosts keep theirs.
    pub(super) fn clear(&mut self) {
        self.by_series.clear();
    }

    /// Drops what no host has, once there are twice as many layouts as were in use.
    fn sweep(&mut self) {
        if self.by_series.len() >= self.swept_at.max(LAYOUTS_MIN) {
            self.by_series.retain(|_, layout| Arc::strong_count(layout) > 1);
            self.swept_at = 2 * self.by_series.len();
        }
    }
}
