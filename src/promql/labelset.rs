//! Label sets as small numbers: vectors of one host carry ids, and grouping a series is one array read.
//!
//! Owns the interned sets of one shard. The metric name is left out before a set comes here: it takes no part in matching. Labels
//! that all series of a host share, the identity label among them, come with [`SHARED`] for their value, so that a fleet shares
//! its sets: within one host that says as much.

use std::collections::HashMap;
use std::sync::Arc;

use crate::series::Labels;

/// Stands for the value of a label that all series of a host share.
pub const SHARED: &str = "(shared)";

/// An interned label set; valid within one [`LabelSets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSetId(u32);

impl LabelSetId {
    /// A number that is this set's alone.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Which labels an aggregation or a match keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// `by (…)`, `on (…)`.
    By(Vec<String>),
    /// `without (…)`, `ignoring (…)`.
    Without(Vec<String>),
}

impl Grouping {
    fn keeps(&self, label: &str) -> bool {
        match self {
            Self::By(labels) => labels.iter().any(|l| l == label),
            Self::Without(labels) => !labels.iter().any(|l| l == label),
        }
    }
}

/// Index of a [`Grouping`] in the plan.
pub type GroupingId = u16;

/// The interned sets of one shard, with the projection of each on each grouping of the plan.
#[derive(Debug)]
pub struct LabelSets {
    groupings: Arc<[Grouping]>,
    ids: HashMap<Arc<Labels>, u32, foldhash::fast::RandomState>,
    sets: Vec<Arc<Labels>>,
    /// Bytes of all names and values.
    bytes: usize,
    /// `[set × grouping]`: the projected set, [`UNKNOWN`] until asked for.
    projections: Vec<u32>,
    /// Results of [`LabelSets::join`]: the many's set, the included labels of the one, the grouping that includes them.
    joins: HashMap<(u32, u32, GroupingId), u32, foldhash::fast::RandomState>,
}

const UNKNOWN: u32 = u32::MAX;

/// Memory of a set beside its text: its entries in three tables.
const SET_OVERHEAD_BYTES: usize = 200;

/// Memory of a known join.
const JOIN_BYTES: usize = 32;

impl LabelSets {
    /// No sets yet; `groupings` are the plan's.
    #[must_use]
    pub fn new(groupings: Arc<[Grouping]>) -> Self {
        Self {
            groupings,
            ids: HashMap::default(),
            sets: Vec::new(),
            bytes: 0,
            projections: Vec::new(),
            joins: HashMap::default(),
        }
    }

    /// The id of `labels`, the same for equal sets.
    pub fn intern(&mut self, labels: Labels) -> LabelSetId {
        if let Some(&id) = self.ids.get(&labels) {
            return LabelSetId(id);
        }
        let id = u32::try_from(self.sets.len()).unwrap_or(UNKNOWN);
        self.bytes += SET_OVERHEAD_BYTES + labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let labels = Arc::new(labels);
        self.ids.insert(Arc::clone(&labels), id);
        self.sets.push(labels);
        self.projections.resize(self.projections.len() + self.groupings.len(), UNKNOWN);
        LabelSetId(id)
    }

    /// As [`LabelSets::intern`], for a set that is probably there.
    pub fn intern_known(&mut self, labels: &Labels) -> LabelSetId {
        match self.ids.get(labels) {
            Some(&id) => LabelSetId(id),
            None => self.intern(labels.clone()),
        }
    }

    /// `many` with the labels of `included`, a [`Grouping::By`], as `one` has them: without those that it lacks.
    pub fn join(&mut self, many: LabelSetId, one: LabelSetId, included: GroupingId) -> LabelSetId {
        let from_one = self.project(one, included);
        let key = (many.0, from_one.0, included);
        if let Some(&id) = self.joins.get(&key) {
            return LabelSetId(id);
        }
        let groupings = Arc::clone(&self.groupings);
        let (many, from_one) = (Arc::clone(self.get(many)), Arc::clone(self.get(from_one)));
        let kept = many.iter().filter(|(name, _)| !groupings[included as usize].keeps(name));
        let joined = self.intern(Labels::from_pairs(kept.chain(from_one.iter())));
        self.joins.insert(key, joined.0);
        self.bytes += JOIN_BYTES;
        joined
    }

    /// The labels of `set` that `grouping` keeps.
    pub fn project(&mut self, set: LabelSetId, grouping: GroupingId) -> LabelSetId {
        let cell = set.0 as usize * self.groupings.len() + grouping as usize;
        if self.projections[cell] == UNKNOWN {
            let groupings = Arc::clone(&self.groupings);
            let labels = Arc::clone(&self.sets[set.0 as usize]);
            let kept = labels.iter().filter(|(name, _)| groupings[grouping as usize].keeps(name));
            self.projections[cell] = self.intern(Labels::from_pairs(kept)).0;
        }
        LabelSetId(self.projections[cell])
    }

    /// The labels behind `set`.
    #[must_use]
    pub fn get(&self, set: LabelSetId) -> &Arc<Labels> {
        &self.sets[set.0 as usize]
    }

    /// Memory of all sets, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_share_an_id_and_project_alike() {
        let groupings = [Grouping::By(vec!["mode".into()]), Grouping::Without(vec!["mode".into()])];
        let mut sets = LabelSets::new(groupings.into());
        let a = sets.intern(Labels::from_pairs([("cpu", "0"), ("mode", "idle")]));
        let b = sets.intern(Labels::from_pairs([("mode", "idle"), ("cpu", "1")]));
        assert_eq!(sets.intern(Labels::from_pairs([("mode", "idle"), ("cpu", "0")])), a);
        assert_eq!(sets.project(a, 0), sets.project(b, 0));
        let by_mode = sets.project(a, 0);
        assert_eq!(sets.get(by_mode).to_string(), r#"{mode="idle"}"#);
        let without_mode = sets.project(b, 1);
        assert_eq!(sets.get(without_mode).to_string(), r#"{cpu="1"}"#);
    }

    #[test]
    fn a_join_takes_the_included_labels_from_the_one() {
        let mut sets = LabelSets::new([Grouping::By(vec!["model".into(), "site".into()])].into());
        let many = sets.intern(Labels::from_pairs([("device", "sda"), ("model", "old"), ("site", "x")]));
        let one = sets.intern(Labels::from_pairs([("device", "sdb"), ("model", "new")]));
        let joined = sets.join(many, one, 0);
        assert_eq!(sets.get(joined).to_string(), r#"{device="sda", model="new"}"#);
        let bytes = sets.bytes();
        assert_eq!(sets.join(many, one, 0), joined);
        assert_eq!(sets.bytes(), bytes);
    }
}
