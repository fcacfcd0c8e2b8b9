//! The results of one configuration as those of the next: columns moved to their new places.

use std::sync::Arc;

use super::{Entry, LabelsText, PastRow, PastVerdict, ResultSchema, ScoredRow, Verdict};
use crate::base::remap::Remap;
use crate::engine::row::{HostStatus, Missing, MissingReason};
use crate::promql::program::LeafId;

/// Change of every host's entry.
pub(super) struct Change<'a> {
    old: &'a ResultSchema,
    new: &'a ResultSchema,
    /// Of the configured features.
    features: Remap,
    /// Of the live model's.
    live: Remap,
    /// Of the shadow's; `None` where there is none now.
    shadow: Option<Remap>,
    /// Whether the shadow is what was live, and the other way round: then their verdicts change places.
    is_promotion: bool,
    /// Whether no column moves.
    is_same: bool,
}

impl<'a> Change<'a> {
    pub(super) fn new(old: &'a ResultSchema, new: &'a ResultSchema) -> Self {
        let is_promotion =
            old.shadow.as_ref().is_some_and(|shadow| shadow.bundle == new.bundle) && old.bundle != new.bundle;
        let (live, shadow) = (Some(&old.scored), old.shadow.as_ref().map(|shadow| &shadow.scored));
        let (of_live, of_shadow) = if is_promotion { (shadow, live) } else { (live, shadow) };
        let columns = |now: &[usize], before: Option<&Vec<usize>>| {
            let before = before.map_or(&[][..], Vec::as_slice);
            Remap::new(&old.ids(before.iter().copied()), &new.ids(now.iter().copied()))
        };
        let mut change = Self {
            old,
            new,
            features: Remap::new(&old.ids(0..old.features.len()), &new.ids(0..new.features.len())),
            live: columns(&new.scored, of_live),
            shadow: new.shadow.as_ref().map(|shadow| columns(&shadow.scored, of_shadow)),
            is_promotion,
            is_same: false,
        };
        change.is_same = !is_promotion
            && old.selectors == new.selectors
            && change.features.is_identity()
            && change.live.is_identity()
            && change.shadow.is_some() == shadow.is_some()
            && change.shadow.as_ref().is_none_or(Remap::is_identity);
        change
    }

    pub(super) fn entry(&self, old: &Entry) -> Entry {
        let labels = LabelsText::new(&old.status.host.labels, self.new);
        let (scored, shadow) = if self.is_promotion { (&old.shadow, &old.scored) } else { (&old.scored, &old.shadow) };
        let row = |row: &Arc<ScoredRow>| if self.is_same { Arc::clone(row) } else { Arc::new(self.scored_row(row)) };
        let past = |row: &Arc<PastRow>| if self.is_same { Arc::clone(row) } else { Arc::new(self.past_row(row)) };
        Entry {
            labels,
            status: if self.is_same { Arc::clone(&old.status) } else { Arc::new(self.status(&old.status)) },
            arrived_ms: old.arrived_ms,
            scored: scored.as_ref().map(row),
            shadow: shadow.as_ref().filter(|_| self.shadow.is_some()).map(row),
            rows: old.rows.iter().map(past).collect(),
        }
    }

    fn status(&self, old: &HostStatus) -> HostStatus {
        let index = |old: u16| u16::try_from(self.features.new_place(usize::from(old))?).ok();
        let selector = |old: LeafId| {
            let text = self.old.selectors.get(usize::from(old))?;
            LeafId::try_from(self.new.selectors.iter().position(|new| new == text)?).ok()
        };
        let missing = |old: &Missing| {
            let why = match old.why {
                MissingReason::Unmatched(leaf) => MissingReason::Unmatched(selector(leaf)?),
                MissingReason::RangeTooShort(leaf) => MissingReason::RangeTooShort(selector(leaf)?),
                why @ (MissingReason::Error(_)
                | MissingReason::SeldomScraped
                | MissingReason::NoValue
                | MissingReason::OutOfBounds) => why,
            };
            Some(Missing { feature: index(old.feature)?, why })
        };
        let moved = |all: &[Missing]| all.iter().filter_map(missing).collect();
        HostStatus { missing: moved(&old.missing), not_applicable: moved(&old.not_applicable), ..old.clone() }
    }

    fn scored_row(&self, old: &ScoredRow) -> ScoredRow {
        let (live, shadow) = self.in_roles(old.verdict.as_ref(), old.shadow.as_ref());
        let verdict = |old: &Verdict, columns: &Remap| Verdict {
            expected: columns.moved(&old.expected, f64::NAN),
            contributions: columns.moved(&old.contributions, 0.0),
            ..old.clone()
        };
        ScoredRow {
            host: Arc::clone(&old.host),
            t_ms: old.t_ms,
            eligibility: old.eligibility,
            values: self.features.moved(&old.values, f64::NAN),
            verdict: live.map(|old| verdict(old, &self.live)),
            shadow: shadow.zip(self.shadow.as_ref()).map(|(old, columns)| verdict(old, columns)),
        }
    }

    fn past_row(&self, old: &PastRow) -> PastRow {
        let (live, shadow) = self.in_roles(old.verdict.as_ref(), old.shadow.as_ref());
        let verdict = |old: &PastVerdict, columns: &Remap| PastVerdict {
            mse: old.mse,
            score: old.score,
            flag: old.flag,
            expected: columns.moved(&old.expected, f32::NAN),
        };
        PastRow {
            t_ms: old.t_ms,
            values: self.features.moved(&old.values, f32::NAN),
            verdict: live.map(|old| verdict(old, &self.live)),
            shadow: shadow.zip(self.shadow.as_ref()).map(|(old, columns)| verdict(old, columns)),
        }
    }

    /// Returns which of the two is the live model's now, and which the shadow's.
    fn in_roles<T>(&self, live: T, shadow: T) -> (T, T) {
        if self.is_promotion { (shadow, live) } else { (live, shadow) }
    }
}
