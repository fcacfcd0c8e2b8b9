//! The compiled features: leaves shared between features, and a program over small per-host vectors for each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::labelset::{Grouping, GroupingId};
use super::parts;
use super::program::{LeafId, Node};
use super::range_function::RangeFunction;
use super::selector::Selector;

/// A feature as configured.
#[derive(Debug, Clone, Copy)]
pub struct FeatureSource<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its PromQL.
    pub expr: &'a str,
    /// Place of the expression: `file:line:column`.
    pub at: &'a str,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// Place of the expression: `file:line:column`.
    pub at: String,
    /// The feature's name.
    pub feature: String,
    /// Place in the expression, counted in characters from 1; `None` where all of it is meant.
    pub character: Option<usize>,
    /// The construct, and what to write instead where there is something.
    pub message: String,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: feature {}: {}", self.at, self.feature, self.message)?;
        match self.character {
            Some(character) => write!(f, " (at character {character} of the expression)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExprError {}

/// Reduction of the samples of one series to one value at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rollup {
    /// The newest sample, not older than the lookback.
    Instant,
    /// A function over a range that ends at the step.
    Range(RangeFunction, Range),
}

/// The length of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// As written, in milliseconds.
    Fixed(i64),
    /// `[$range]`: by how often the host is scraped, see [`Spans::range_ms`].
    Scrapes,
}

/// Scrape intervals in `[$range]`: with two, jitter or one missed scrape leaves `rate` without a second sample.
pub const RANGE_INTERVALS: i64 = 4;
/// The least that `[$range]` is: shorter ranges of hosts that are scraped often are noise.
const RANGE_MS_MIN: i64 = 120_000;

/// Spans that a host's leaves read back where the expression doesn't say: by how often the host is scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spans {
    /// Lookback of an instant selector, in milliseconds.
    pub lookback_ms: i64,
    /// Length of `[$range]`, in milliseconds.
    pub range_ms: i64,
}

impl Spans {
    /// Those of a host that is scraped each `interval_ms`, where instant selectors look back `lookback_ms` at least. A missed scrape
    /// of a slow host must not end its gauges, hence two and a half intervals.
    #[must_use]
    pub fn of_scrapes(interval_ms: i64, lookback_ms: i64) -> Self {
        Self {
            lookback_ms: lookback_ms.max(interval_ms.saturating_mul(5) / 2),
            range_ms: RANGE_MS_MIN.max(interval_ms.saturating_mul(RANGE_INTERVALS)),
        }
    }
}

impl Range {
    /// Its length on a host with these spans, in milliseconds.
    #[must_use]
    pub fn ms(self, spans: Spans) -> i64 {
        match self {
            Self::Fixed(ms) => ms,
            Self::Scrapes => spans.range_ms,
        }
    }
}

/// A selector with its rollup: evaluated once per host and step, whoever asks.
#[derive(Debug)]
pub struct Leaf {
    /// Series that are selected.
    pub selector: Selector,
    /// Rollup of their samples.
    pub rollup: Rollup,
    /// Time before the step at which the range ends, or the newest sample may stand: `offset`. Never negative.
    pub offset_ms: i64,
}

impl Leaf {
    /// Returns what it reads as a text: equal for leaves that give the same.
    #[must_use]
    pub fn key(&self) -> String {
        let Self { selector, rollup, offset_ms } = self;
        format!("{:?}|{selector}|{rollup:?}|{offset_ms}", selector.metric)
    }

    /// Returns the span that it reads, before the step.
    #[must_use]
    pub fn reach_ms(&self, spans: Spans) -> i64 {
        let range_ms = match self.rollup {
            Rollup::Instant => spans.lookback_ms,
            Rollup::Range(_, range) => range.ms(spans),
        };
        range_ms.saturating_add(self.offset_ms)
    }
}

/// Identity of a feature, beyond one configuration: two that agree in it give the same values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureId {
    /// Its name.
    pub name: Box<str>,
    /// Its PromQL.
    pub expr: Box<str>,
}

/// All features, compiled. Immutable; shared by every shard.
#[derive(Debug)]
pub struct Plan {
    /// The features, in the order given.
    pub ids: Vec<FeatureId>,
    /// Every distinct selector with its rollup.
    pub leaves: Vec<Leaf>,
    /// One program per feature, in the order given.
    pub features: Vec<Node>,
    /// Parts that stand in several places of the programs.
    pub parts: Vec<Node>,
    /// By feature, the leaves that it reads, in the order in which they stand.
    pub leaves_of: Vec<Box<[LeafId]>>,
    /// Every distinct grouping of aggregations and matches.
    pub groupings: Arc<[Grouping]>,
    /// The metric names that any feature reads, and `up`. An index is the `MetricId` of decode.
    pub metrics: Vec<String>,
    /// Leaves by the metric name that they select.
    leaves_by_metric: HashMap<String, Vec<LeafId>>,
    /// Leaves whose selector names no metric: every series must be looked at.
    unnamed_leaves: Vec<LeafId>,
    /// Lookback of an instant selector on a host that is scraped often enough for it.
    pub lookback_ms: i64,
}

/// Index of `up` in [`Plan::metrics`].
pub const UP: u16 = 0;

/// The metric that says whether a target could be scraped.
pub const UP_NAME: &str = "up";

impl Plan {
    /// The leaves that may select a series with the metric name `name`; to be checked by their selectors. By name, since the
    /// numbers of decode are those of the plan that it filtered with, which may have been another one.
    pub fn candidates(&self, name: &str) -> impl Iterator<Item = LeafId> {
        let named = self.leaves_by_metric.get(name).map_or(&[][..], Vec::as_slice);
        named.iter().chain(&self.unnamed_leaves).copied()
    }

    /// Returns how far back any leaf reads on a host with these spans: its range or the lookback, with its offset.
    #[must_use]
    pub fn reach_ms_max(&self, spans: Spans) -> i64 {
        self.leaves.iter().map(|leaf| leaf.reach_ms(spans)).max().unwrap_or(spans.lookback_ms)
    }

    /// Returns the longest range of a feature on a host with these spans, wherever an offset moves it; 0 where it has none.
    #[must_use]
    pub fn range_ms(&self, feature: u16, spans: Spans) -> i64 {
        let leaves = self.leaves_of.get(usize::from(feature)).into_iter().flatten();
        let leaves = leaves.filter_map(|leaf| self.leaves.get(usize::from(*leaf)));
        let range_ms = |leaf: &Leaf| match leaf.rollup {
            Rollup::Instant => 0,
            Rollup::Range(_, range) => range.ms(spans),
        };
        leaves.map(range_ms).max().unwrap_or(0)
    }

    /// Whether some selector names no metric, so that decode must keep every series.
    #[must_use]
    pub fn wants_every_metric(&self) -> bool {
        !self.unnamed_leaves.is_empty()
    }
}

/// Collects leaves and groupings while expressions are compiled.
#[derive(Debug, Default)]
pub(super) struct Builder {
    leaves: Vec<Leaf>,
    leaf_ids: HashMap<String, LeafId>,
    /// The leaves that the expression being compiled reads.
    pub(super) read: Vec<LeafId>,
    groupings: Vec<Grouping>,
}

impl Builder {
    /// The leaf for `selector`, `rollup` and `offset_ms`, shared where it is there already.
    pub(super) fn leaf(&mut self, selector: Selector, rollup: Rollup, offset_ms: i64) -> Result<LeafId, String> {
        let leaf = Leaf { selector, rollup, offset_ms };
        let key = leaf.key();
        if let Some(&id) = self.leaf_ids.get(&key) {
            self.read.push(id);
            return Ok(id);
        }
        let id = LeafId::try_from(self.leaves.len()).map_err(|_| "more than 65536 different selectors".to_owned())?;
        self.leaves.push(leaf);
        self.leaf_ids.insert(key, id);
        self.read.push(id);
        Ok(id)
    }

    /// The id of `grouping`, shared where it is there already.
    pub(super) fn grouping(&mut self, grouping: Grouping) -> Result<GroupingId, String> {
        let index = self.groupings.iter().position(|g| *g == grouping).unwrap_or_else(|| {
            self.groupings.push(grouping);
            self.groupings.len() - 1
        });
        // One number is left for a grouping of the engine's own.
        let id = GroupingId::try_from(index).ok().filter(|id| *id < GroupingId::MAX);
        id.ok_or_else(|| "more than 65535 different groupings".to_owned())
    }

    pub(super) fn finish(
        self,
        ids: Vec<FeatureId>,
        mut features: Vec<Node>,
        leaves_of: Vec<Box<[LeafId]>>,
        lookback_ms: i64,
    ) -> Plan {
        let mut metrics = vec![UP_NAME.to_owned()];
        let mut leaves_by_metric: HashMap<String, Vec<LeafId>> = HashMap::new();
        let mut unnamed_leaves = Vec::new();
        for (id, leaf) in (0..).zip(&self.leaves) {
            let Some(name) = leaf.selector.metric.as_deref() else {
                unnamed_leaves.push(id);
                continue;
            };
            if name != UP_NAME && !leaves_by_metric.contains_key(name) {
                metrics.push(name.to_owned());
            }
            leaves_by_metric.entry(name.to_owned()).or_default().push(id);
        }
        let parts = parts::take_common(&mut features);
        Plan {
            ids,
            leaves: self.leaves,
            features,
            parts,
            leaves_of,
            groupings: self.groupings.into(),
            metrics,
            leaves_by_metric,
            unnamed_leaves,
            lookback_ms,
        }
    }
}
