//! Features of one host whose values are out of bounds, and how long they are not trusted for it.
//!
//! Where a counter was far too high once, the fall back to what is right looks like a restart, and gives all that it has counted since
//! the machine's start. That may be within the bounds, and is as wrong: a feature is missing until its ranges no longer hold the row.

use std::sync::Arc;

use super::change::Change;
use super::row::HostId;
use super::{EngineConfig, OutOfBounds};
use crate::bounds::Bounds;
use crate::expr::plan::{Plan, Spans};
use crate::series::TimestampMs;

/// See the file's head; seldom any.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

#[derive(Debug, Clone, Copy)]
struct Suspect {
    /// Index of the configured feature.
    feature: u16,
    /// The first row whose ranges begin at or after the row of the first value out of bounds.
    until_ms: TimestampMs,
}

/// A value that an expression gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) host: &'a Arc<HostId>,
    /// Index of the configured feature.
    pub(super) feature: u16,
    /// Finite.
    pub(super) value: f64,
    /// Of the row.
    pub(super) t_ms: TimestampMs,
    /// Of the host.
    pub(super) spans: Spans,
}

impl Suspects {
    /// Forgets those whose ranges, of a row at `t_ms`, begin later.
    pub(super) fn forget_before(&mut self, t_ms: TimestampMs) {
        self.0.retain(|suspect| t_ms < suspect.until_ms);
    }

    /// Whether a feature is missing for its bounds' sake.
    pub(super) fn has(&self, feature: u16) -> bool {
        self.0.iter().any(|suspect| suspect.feature == feature)
    }

    /// What `reading` counts as in its row; NaN where that is nothing. Values out of bounds are put into `out`.
    pub(super) fn admit(&mut self, reading: Reading<'_>, config: &EngineConfig, out: &mut Vec<OutOfBounds>) -> f64 {
        let Reading { host, feature, value, t_ms, spans } = reading;
        let bounds = config.bounds.get(usize::from(feature)).copied().unwrap_or(Bounds::NONE);
        let is_suspect = self.has(feature);
        let possible = bounds.apply(value);
        if possible.is_none() {
            out.push(OutOfBounds { host: Arc::clone(host), feature, value });
        }
        if possible.is_none() && !is_suspect {
            let until_ms = t_ms.saturating_add(config.plan.range_ms(feature, spans).max(1));
            self.0.push(Suspect { feature, until_ms });
        }
        possible.filter(|_| !is_suspect).unwrap_or(f64::NAN)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where a feature that reads one selector alone has become suspect, which `n_known` were not, so has every other one that reads that
    /// selector: a quotient of it may well be within its bounds. `values` are those of the row at `t_ms`.
    pub(super) fn spread(
        &mut self,
        n_known: usize,
        plan: &Plan,
        (t_ms, spans): (TimestampMs, Spans),
        values: &mut [f64],
    ) {
        for i in n_known..self.0.len() {
            let [leaf] = plan.leaves_of[usize::from(self.0[i].feature)][..] else { continue };
            for (feature, value) in (0..).zip(&mut *values) {
                if plan.leaves_of[usize::from(feature)].contains(&leaf) && !self.has(feature) {
                    let until_ms = t_ms.saturating_add(plan.range_ms(feature, spans).max(1));
                    self.0.push(Suspect { feature, until_ms });
                    *value = f64::NAN;
                }
            }
        }
    }

    /// The same after another configuration.
    pub(super) fn changed(&self, change: &Change<'_>) -> Self {
        let moved = |suspect: &Suspect| Some(Suspect { feature: change.feature(suspect.feature)?, ..*suspect });
        Self(self.0.iter().filter_map(moved).collect())
    }
}
