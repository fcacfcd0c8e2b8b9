//! Differences between two configurations, for the windows of hosts: which features and columns stay, and where they stand.

use super::applicable::{Applicable, Lacking};
use super::pace::first_step_from;
use super::paces::Paced;
use super::row::{Missing, MissingReason};
use super::windows::{Column, WindowConfig, Windows};
use super::{EngineConfig, ScoredFeature};
use crate::base::remap::Remap;
use crate::promql::Plan;
use crate::promql::program::LeafId;
use crate::series::TimestampMs;

/// Settings that windows are made by, before or after the change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side<'a> {
    plan: &'a Plan,
    step_ms: i64,
    /// Of the live model and of the shadow.
    models: [Option<&'a WindowConfig>; 2],
}

impl<'a> Side<'a> {
    pub(super) fn new(config: &'a EngineConfig, paced: &'a Paced) -> Self {
        let models = [Some(&paced.windows), paced.shadow.as_ref()];
        Self { plan: &config.plan, step_ms: paced.pace.step_ms, models }
    }
}

/// Change of the windows of every host that goes from one pace to another.
#[derive(Debug)]
pub(super) struct Change<'a> {
    old: Side<'a>,
    new: Side<'a>,
    /// Of the configured features.
    features: Remap,
    /// By model, the live one and the shadow; `None` where there is no such model now, or nothing changes for it.
    columns: [Option<Vec<Column>>; 2],
}

impl<'a> Change<'a> {
    pub(super) fn new(old: Side<'a>, new: Side<'a>) -> Self {
        let features = Remap::new(&old.plan.ids, &new.plan.ids);
        let mut change = Self { old, new, features, columns: [None, None] };
        for role in [0, 1] {
            let config = new.models[role];
            change.columns[role] = config.and_then(|config| change.columns(role, config));
        }
        change
    }

    /// Returns where the windows of the model in this role take their columns from; `None` if they stay as they are.
    fn columns(&self, role: usize, config: &WindowConfig) -> Option<Vec<Column>> {
        if self.new.step_ms != self.old.step_ms {
            return Some(vec![None; config.scored.len()]);
        }
        let same_columns = |old: &WindowConfig| {
            let moved = old.scored.iter().map(|s| self.feature(s.feature));
            moved.eq(config.scored.iter().map(|s| Some(s.feature)))
                && (old.window_rows, old.input_clip.to_bits()) == (config.window_rows, config.input_clip.to_bits())
                && old.statistics == config.statistics
        };
        let old = self.old.models;
        if old[role].is_some_and(same_columns) {
            return None;
        }
        // Of both models those of the one that is most like it, so that a shadow takes its windows along when it goes live.
        let like = (0..old.len()).find(|model| old[*model].is_some_and(same_columns)).unwrap_or(role);
        let column = |feature: u16, model: usize| {
            let is_it = |old: &ScoredFeature| self.feature(old.feature) == Some(feature);
            old[model]?.scored.iter().position(is_it).map(|column| (model, column))
        };
        let scored = config.scored.iter().map(|s| s.feature);
        Some(scored.map(|feature| column(feature, like).or_else(|| column(feature, 1 - like))).collect())
    }

    /// The new index of configured features.
    pub(super) fn feature(&self, old: u16) -> Option<u16> {
        self.features.new_place(usize::from(old)).and_then(|new| u16::try_from(new).ok())
    }

    /// Which features a host has: what is new was never had.
    pub(super) fn applicable(&self, old: &Applicable) -> Applicable {
        old.moved(&self.features)
    }

    /// Returns what a host lacks, by its new indices.
    pub(super) fn lacking(&self, old: &Lacking) -> Lacking {
        let moved = |all: &[Missing]| all.iter().filter_map(|missing| self.missing(*missing)).collect();
        Lacking { missing: moved(&old.missing), not_applicable: moved(&old.not_applicable) }
    }

    /// Returns what is missing, by its new indices: the same expression has its leaves in the same order.
    fn missing(&self, old: Missing) -> Option<Missing> {
        let feature = self.feature(old.feature)?;
        let new_leaf = |leaf: LeafId| {
            let leaves = self.old.plan.leaves_of.get(usize::from(old.feature))?;
            let place = leaves.iter().position(|other| *other == leaf)?;
            self.new.plan.leaves_of.get(usize::from(feature))?.get(place).copied()
        };
        let why = match old.why {
            MissingReason::Unmatched(leaf) => MissingReason::Unmatched(new_leaf(leaf)?),
            MissingReason::RangeTooShort(leaf) => MissingReason::RangeTooShort(new_leaf(leaf)?),
            why @ (MissingReason::Error(_)
            | MissingReason::SeldomScraped
            | MissingReason::NoValue
            | MissingReason::OutOfBounds) => why,
        };
        Some(Missing { feature, why })
    }

    /// The first step at or after `t_ms`, which was one by the old distance; `grid_ms` is any step.
    pub(super) fn step_from(&self, t_ms: TimestampMs, grid_ms: TimestampMs) -> TimestampMs {
        first_step_from(t_ms, grid_ms, self.new.step_ms)
    }

    /// Whether the distance of steps is another.
    pub(super) fn is_step_new(&self) -> bool {
        self.new.step_ms != self.old.step_ms
    }

    /// New windows of the live model and of the shadow, where they are other ones; those there were are `live` and `shadow`. The
    /// inner `None` is no shadow. `t_ms` is the time of the newest row.
    pub(super) fn windows(
        &self,
        live: &Windows,
        shadow: Option<&Windows>,
        t_ms: TimestampMs,
    ) -> (Option<Windows>, Option<Option<Windows>>) {
        let old_configs = self.old.models;
        let old = [old_configs[0].map(|config| (live, config)), shadow.zip(old_configs[1])];
        let assembled = |role: usize| {
            let columns = self.columns[role].as_ref()?;
            let config = self.new.models[role]?;
            Some(Windows::assembled(old, columns, t_ms, config))
        };
        let no_shadow = self.new.models[1].is_none();
        (assembled(0), if no_shadow { Some(None) } else { assembled(1).map(Some) })
    }
}
