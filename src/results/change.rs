//! The results of one configuration as those of the next: columns moved to their new places.

use std::sync::Arc;

use super::{Entry, LabelsText, PastRow, PastVerdict, ResultSchema, ScoredRow, Verdict};
use crate::engine::row::{HostStatus, Missing, MissingReason};
use crate::promql::program::LeafId;

/// What becomes of every host's entry.
pub(super) struct Change<'a> {
    old: &'a ResultSchema,
    new: &'a ResultSchema,
    /// For each feature now its index before.
    features: Vec<Option<usize>>,
    /// For each feature of the live model its place among that model's before.
    live: Vec<Option<usize>>,
    /// The same of the shadow; `None` where there is none now.
    shadow: Option<Vec<Option<usize>>>,
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
        let same = |index: &usize| {
            let feature = &new.features[*index];
            old.features.iter().position(|old| old.name == feature.name && old.expr == feature.expr)
        };
        let columns = |new: &[usize], old: Option<&Vec<usize>>| -> Vec<Option<usize>> {
            let column = |index: &usize| same(index).and_then(|i| old?.iter().position(|old| *old == i));
            new.iter().map(column).collect()
        };
        let mut change = Self {
            old,
            new,
            features: (0..new.features.len()).map(|index| same(&index)).collect(),
            live: columns(&new.scored, of_live),
            shadow: new.shadow.as_ref().map(|shadow| columns(&shadow.scored, of_shadow)),
            is_promotion,
            is_same: false,
        };
        change.is_same = !is_promotion
            && old.selectors == new.selectors
            && is_identity(&change.features, old.features.len())
            && is_identity(&change.live, old.scored.len())
            && match (&change.shadow, shadow) {
                (Some(columns), Some(old)) => is_identity(columns, old.len()),
                (new, old) => new.is_none() && old.is_none(),
            };
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
        let index = |old: u16| {
            let new = self.features.iter().position(|column| *column == Some(usize::from(old)))?;
            u16::try_from(new).ok()
        };
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
        let verdict = |old: &Verdict, columns: &[Option<usize>]| Verdict {
            expected: moved(&old.expected, columns, f64::NAN),
            contributions: moved(&old.contributions, columns, 0.0),
            ..old.clone()
        };
        ScoredRow {
            host: Arc::clone(&old.host),
            t_ms: old.t_ms,
            values: moved(&old.values, &self.features, f64::NAN),
            verdict: live.map(|old| verdict(old, &self.live)),
            shadow: shadow.zip(self.shadow.as_ref()).map(|(old, columns)| verdict(old, columns)),
        }
    }

    fn past_row(&self, old: &PastRow) -> PastRow {
        let (live, shadow) = self.in_roles(old.verdict.as_ref(), old.shadow.as_ref());
        let verdict = |old: &PastVerdict, columns: &[Option<usize>]| PastVerdict {
            mse: old.mse,
            score: old.score,
            flag: old.flag,
            expected: moved(&old.expected, columns, f32::NAN),
        };
        PastRow {
            t_ms: old.t_ms,
            values: moved(&old.values, &self.features, f32::NAN),
            verdict: live.map(|old| verdict(old, &self.live)),
            shadow: shadow.zip(self.shadow.as_ref()).map(|(old, columns)| verdict(old, columns)),
        }
    }

    /// What is the live model's now, and the shadow's.
    fn in_roles<T>(&self, live: T, shadow: T) -> (T, T) {
        if self.is_promotion { (shadow, live) } else { (live, shadow) }
    }
}

fn is_identity(columns: &[Option<usize>], n_old: usize) -> bool {
    columns.len() == n_old && columns.iter().zip(0..).all(|(column, i)| *column == Some(i))
}

/// The values in their new places; `missing` where there was none.
fn moved<T: Copy>(old: &[T], columns: &[Option<usize>], missing: T) -> Box<[T]> {
    columns.iter().map(|column| column.and_then(|i| old.get(i).copied()).unwrap_or(missing)).collect()
}
