//! Features of one host whose values are out of bounds, and how long they are not trusted for it.
//!
//! Where a counter was far too high once, the fall back to what is right looks like a restart, and gives all that it has counted since
//! the machine's start. That may be within the bounds, and is as wrong: a feature is missing until its ranges no longer hold the row, and
//! again while they hold a fall of its counters. Falls that no restart explains make every feature missing that has bounds and depends on them.

use std::sync::Arc;

use super::change::Change;
use super::row::HostId;
use super::{EngineConfig, OutOfBounds};
use crate::base::bounds::Bounds;
use crate::promql::plan::{Plan, Spans};
use crate::series::TimestampMs;

/// See the file's head; seldom any.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

#[derive(Debug, Clone, Copy)]
struct Suspect {
    /// Index of the configured feature.
    feature: u16,
    /// The row of the first value out of bounds.
    since_ms: TimestampMs,
    /// Whether it is missing from the row that is evaluated.
    is_missing: bool,
    /// The first row whose ranges begin at or after the row of the first value out of bounds.
    until_ms: TimestampMs,
    /// Until when it is missing where its counters fall.
    fall_until_ms: TimestampMs,
}

/// Longest time that a counter that was far too high may take to fall back.
const FALL_WAIT_MS: i64 = 86_400_000;

/// A value that an expression gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) host: &'a Arc<HostId>,
    /// Index of the configured feature.
    pub(super) feature: u16,
    /// Not NaN.
    pub(super) value: f64,
    /// Of the row.
    pub(super) t_ms: TimestampMs,
    /// Of the host.
    pub(super) spans: Spans,
}

impl Suspects {
    /// Begins the row at `t_ms`; `has_fall` says whether counters that a feature reads fell within its ranges.
    pub(super) fn begin(&mut self, t_ms: TimestampMs, has_fall: impl Fn(u16) -> bool) {
        self.0.retain(|suspect| t_ms < suspect.until_ms.max(suspect.fall_until_ms));
        for suspect in &mut self.0 {
            let fell = || t_ms < suspect.fall_until_ms && has_fall(suspect.feature);
            suspect.is_missing = t_ms < suspect.until_ms || fell();
        }
    }

    /// Whether a feature is missing for its bounds' sake.
    pub(super) fn has(&self, feature: u16) -> bool {
        self.0.iter().any(|suspect| suspect.feature == feature && suspect.is_missing)
    }

    /// A feature is missing from the row at `t_ms` on.
    fn add(&mut self, feature: u16, t_ms: TimestampMs, range_ms: i64) {
        let until_ms = t_ms.saturating_add(range_ms.max(1));
        let fall_until_ms = t_ms.saturating_add(FALL_WAIT_MS);
        self.0.retain(|suspect| suspect.feature != feature);
        self.0.push(Suspect { feature, since_ms: t_ms, is_missing: true, until_ms, fall_until_ms });
    }

    /// Returns what `reading` counts as in its row; NaN where that is nothing. Values out of bounds are put into `out`.
    pub(super) fn admit(&mut self, reading: Reading<'_>, config: &EngineConfig, out: &mut Vec<OutOfBounds>) -> f64 {
        let Reading { host, feature, value, t_ms, spans } = reading;
        let bounds = config.bounds.get(usize::from(feature)).copied().unwrap_or(Bounds::NONE);
        let is_suspect = self.has(feature);
        let possible = bounds.apply(value);
        if possible.is_none() {
            out.push(OutOfBounds { host: Arc::clone(host), feature, value });
        }
        if possible.is_none() && !is_suspect {
            self.add(feature, t_ms, config.plan.range_ms(feature, spans));
        }
        possible.filter(|_| !is_suspect).unwrap_or(f64::NAN)
    }

    /// Where a feature that reads one selector alone has become suspect in the row at `t_ms`, so has every other one that reads that
    /// selector: a quotient of it may well be within its bounds. `values` are those of the row.
    pub(super) fn spread(&mut self, plan: &Plan, t_ms: TimestampMs, spans: Spans, values: &mut [f64]) {
        let is_new = |suspect: &&Suspect| suspect.since_ms == t_ms;
        let leaves = |suspect: &Suspect| plan.leaves_of.get(usize::from(suspect.feature));
        let alone = |suspect: &Suspect| leaves(suspect).and_then(|leaves| <[u16; 1]>::try_from(leaves.as_ref()).ok());
        let leaves: Vec<u16> = self.0.iter().filter(is_new).filter_map(alone).flatten().collect();
        if leaves.is_empty() {
            return;
        }
        for ((feature, value), read) in (0..).zip(values).zip(&plan.leaves_of) {
            if read.iter().any(|leaf| leaves.contains(leaf)) && !self.has(feature) {
                self.add(feature, t_ms, plan.range_ms(feature, spans));
                *value = f64::NAN;
            }
        }
    }

    /// The same after another configuration.
    pub(super) fn changed(&self, change: &Change<'_>) -> Self {
        let moved = |suspect: &Suspect| Some(Suspect { feature: change.feature(suspect.feature)?, ..*suspect });
        Self(self.0.iter().filter_map(moved).collect())
    }
}
