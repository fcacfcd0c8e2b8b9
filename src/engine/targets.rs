//! Targets that a host's series are scraped from: which labels its results carry, and whether it is down.
//!
//! Both follow from the live series that features read, those of scored features where there are some, and not from the order in
//! which series came. A target is known by `job` and `instance`: its `up` speaks for what was scraped from it, and for nothing else.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::EngineConfig;
use super::layout::{Layout, Series};
use super::slots::Slots;
use crate::decode::label_hash;
use crate::promql::labelset::{Grouping, GroupingId, LabelSetId, LabelSets, SHARED};
use crate::series::{Labels, TimestampMs};

/// The labels that a target is known by.
pub(super) const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// Targets that are remembered though nothing is heard of them, in case their next sample is an `up` of 0.
const SILENT_MAX: usize = 16;

/// The targets of one host.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Layout that the groups are of; `None` where it is not known.
    layout: Option<Arc<Layout>>,
    /// Series that agree in the labels that matter here.
    groups: Vec<Group>,
    /// By slot: its group; empty where there is one.
    group_of: Box<[u16]>,
    /// Targets that feed features, or did until their scrape failed.
    fed: Vec<Fed>,
}

/// Series that agree in their target and in the labels that a host's results carry.
#[derive(Debug)]
struct Group {
    target: u64,
    /// Those that the results would carry.
    labels: Labels,
    /// Number of its series that are live, by what they feed.
    n_live: Live,
}

/// A number of live series.
#[derive(Debug, Clone, Copy, Default)]
struct Live {
    /// Those that a scored feature reads.
    scored: u32,
    /// Those that only others read.
    read: u32,
}

/// A target that feeds features.
#[derive(Debug)]
struct Fed {
    target: u64,
    feeds: Feeds,
}

/// Features that a series or a target feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Feeds {
    Nothing,
    /// Features that the model doesn't see.
    Read,
    Scored,
}

/// By leaf of the plan: whether a feature that the live model sees reads it.
pub(super) fn scored_leaves(config: &EngineConfig) -> Box<[bool]> {
    let mut scored = vec![false; config.plan.leaves.len()];
    for feature in &config.windows.scored {
        let leaves = config.plan.leaves_of.get(usize::from(feature.feature));
        for leaf in leaves.into_iter().flatten() {
            scored[usize::from(*leaf)] = true;
        }
    }
    scored.into()
}

/// The labels that a host's results carry.
fn carried(config: &EngineConfig) -> impl Iterator<Item = &str> {
    std::iter::once(config.identity.as_str()).chain(config.keep.iter().map(String::as_str))
}

/// No label sets yet; they know beside the plan's groupings the one that groups series here, which costs an array read per series.
pub(super) fn label_sets(config: &EngineConfig) -> LabelSets {
    let labels = TARGET_LABELS.into_iter().chain(carried(config)).map(str::to_owned);
    let own = Grouping::By(labels.collect());
    LabelSets::new(config.plan.groupings.iter().cloned().chain([own]).collect())
}

/// That grouping.
fn grouping(config: &EngineConfig) -> GroupingId {
    config.plan.groupings.len() as GroupingId
}

fn feeds(series: &Series, scored_leaves: &[bool]) -> Feeds {
    let is_scored = |leaf: &u16| scored_leaves.get(usize::from(*leaf)).is_some_and(|scored| *scored);
    match series.leaves.iter().any(is_scored) {
        true => Feeds::Scored,
        false if series.leaves.is_empty() => Feeds::Nothing,
        false => Feeds::Read,
    }
}

/// A moment, and how far back a sample may lie for its series to be live then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) t_ms: TimestampMs,
    pub(super) age_ms: i64,
}

impl Targets {
    /// Forgets what is known of series, which is then looked at again, since what features are scored has changed.
    pub(super) fn forget_layout(&mut self) {
        self.layout = None;
    }

    /// Looks at the host's series where they have changed since; whether they have. `shared_labels` are the values behind [`SHARED`].
    pub(super) fn refresh(
        &mut self,
        layout: &Arc<Layout>,
        shared_labels: &Labels,
        sets: &mut LabelSets,
        config: &EngineConfig,
    ) -> bool {
        if self.layout.as_ref().is_some_and(|known| Arc::ptr_eq(known, layout)) {
            return false;
        }
        self.layout = Some(Arc::clone(layout));
        self.groups.clear();
        let mut known: HashMap<LabelSetId, u16, foldhash::fast::RandomState> = HashMap::default();
        let mut newest = None;
        let mut group = |series: &Series| {
            let set = sets.project(series.labels, grouping(config));
            // The series of a target follow each other.
            if let Some((_, group)) = newest.filter(|(newest, _)| *newest == set) {
                return group;
            }
            let group = *known.entry(set).or_insert_with(|| {
                self.groups.push(Group::new(sets.get(set), shared_labels, config));
                // A host has fewer series than this by far; the last group would stand for the rest.
                u16::try_from(self.groups.len() - 1).unwrap_or(u16::MAX)
            });
            newest = Some((set, group));
            group
        };
        let group_of: Vec<u16> = layout.series.iter().map(&mut group).collect();
        self.group_of = if self.groups.len() > 1 { group_of.into() } else { Box::default() };
        true
    }

    /// Counts the series that are live at a moment; all of them where it is `None`, before the first row.
    pub(super) fn count(&mut self, slots: &Slots, at: Option<Moment>, scored_leaves: &[bool]) {
        let Some(layout) = &self.layout else { return };
        self.groups.iter_mut().for_each(|group| group.n_live = Live::default());
        for (slot, series) in (0..).zip(&layout.series) {
            let feeds = feeds(series, scored_leaves);
            let is_live = || at.is_none_or(|at| slots.is_live(slot, at.t_ms, at.age_ms));
            if feeds == Feeds::Nothing || !is_live() {
                continue;
            }
            let group = self.group_of.get(slot as usize).copied().unwrap_or_default();
            let Some(group) = self.groups.get_mut(usize::from(group)) else { continue };
            match feeds {
                Feeds::Scored => group.n_live.scored += 1,
                Feeds::Read | Feeds::Nothing => group.n_live.read += 1,
            }
            if self.group_of.is_empty() && feeds == Feeds::Scored {
                // With one group it is enough to know that there is one.
                break;
            }
        }
    }

    /// Remembers which targets feed features, as was just counted. One of which the scrape fails still does: its series are gone
    /// because of that. One that is up and gives nothing does not.
    pub(super) fn remember(&mut self, slots: &Slots, at: Moment) {
        for group in self.groups.iter().filter(|group| group.feeds() > Feeds::Nothing) {
            if self.fed.iter().all(|fed| fed.target != group.target) {
                self.fed.push(Fed { target: group.target, feeds: group.feeds() });
            }
        }
        let mut fed = std::mem::take(&mut self.fed);
        let mut n_silent = 0;
        // The newest of those that are silent stay.
        for fed in fed.iter_mut().rev() {
            let of_target = self.groups.iter().filter(|group| group.target == fed.target);
            let feeds = of_target.map(Group::feeds).max().unwrap_or(Feeds::Nothing);
            let up = self.up_of(slots, at, |target| target == fed.target);
            n_silent += usize::from(up.is_none() && feeds == Feeds::Nothing);
            fed.feeds = match up {
                Some(true) => feeds,
                None if feeds == Feeds::Nothing && n_silent > SILENT_MAX => Feeds::Nothing,
                Some(false) | None => feeds.max(fed.feeds),
            };
        }
        fed.retain(|fed| fed.feeds > Feeds::Nothing);
        self.fed = fed;
    }

    /// `Some(false)` where every live `up` of the targets that feed scored features is 0, `Some(true)` where one is not, `None` where
    /// there is none. Where no target feeds scored features, those decide that feed others.
    pub(super) fn up(&self, slots: &Slots, at: Moment) -> Option<bool> {
        let decides = self.fed.iter().map(|fed| fed.feeds).max()?;
        self.up_of(slots, at, |target| self.fed.iter().any(|fed| fed.target == target && fed.feeds == decides))
    }

    fn up_of(&self, slots: &Slots, at: Moment, is_asked: impl Fn(u64) -> bool) -> Option<bool> {
        let layout = self.layout.as_ref()?;
        let is_asked = |slot: &u32| {
            let group = self.group_of.get(*slot as usize).copied().unwrap_or_default();
            self.groups.get(usize::from(group)).is_some_and(|group| is_asked(group.target))
        };
        let live = layout.ups.iter().filter(|slot| is_asked(slot));
        let live = live.filter_map(|slot| slots.live_value(*slot, at.t_ms, at.age_ms));
        live.map(|up| up != 0.0).reduce(|a, b| a || b)
    }

    /// The labels that the host's results carry by what was just counted; `None` where that says nothing, such as while its scrape
    /// fails. Of each label the value that most series have, the smallest of several.
    pub(super) fn labels(&self) -> Option<Cow<'_, Labels>> {
        let has_scored = self.groups.iter().any(|group| group.n_live.scored > 0);
        if !has_scored && self.fed.iter().any(|fed| fed.feeds == Feeds::Scored) {
            return None;
        }
        let weight = |group: &Group| if has_scored { group.n_live.scored } else { group.n_live.read };
        let live: Vec<(&Group, u32)> =
            self.groups.iter().map(|group| (group, weight(group))).filter(|(_, n)| *n > 0).collect();
        if let [] | [_] = live[..] {
            return live.first().map(|(group, _)| Cow::Borrowed(&group.labels));
        }
        let mut counts: Vec<(&str, &str, u32)> = Vec::new();
        for (name, value, n) in live.iter().flat_map(|(group, n)| group.labels.iter().map(|(a, b)| (a, b, *n))) {
            match counts.iter_mut().find(|known| (known.0, known.1) == (name, value)) {
                Some(known) => known.2 += n,
                None => counts.push((name, value, n)),
            }
        }
        counts.sort_unstable_by(|a, b| (a.0, b.2, a.1).cmp(&(b.0, a.2, b.1)));
        counts.dedup_by(|next, kept| next.0 == kept.0);
        Some(Cow::Owned(Labels::from_pairs(counts.iter().map(|(name, value, _)| (*name, *value)))))
    }
}

impl Group {
    /// The group of series that have the labels `own` of those that matter here, with their values in `shared_labels` where they are
    /// [`SHARED`].
    fn new(own: &Labels, shared_labels: &Labels, config: &EngineConfig) -> Self {
        let value = |name: &str| match own.get(name) {
            Some(SHARED) => shared_labels.get(name).unwrap_or_default(),
            value => value.unwrap_or_default(),
        };
        let hash = |hash: u64, name: &str| hash.rotate_left(5).wrapping_add(label_hash(name, value(name)));
        let target = TARGET_LABELS.into_iter().fold(0, hash);
        let pairs = carried(config).map(|name| (name, value(name))).filter(|(_, value)| !value.is_empty());
        Self { target, labels: Labels::from_pairs(pairs), n_live: Live::default() }
    }

    fn feeds(&self) -> Feeds {
        match self.n_live {
            Live { scored: 0, read: 0 } => Feeds::Nothing,
            Live { scored: 0, .. } => Feeds::Read,
            _ => Feeds::Scored,
        }
    }
}
