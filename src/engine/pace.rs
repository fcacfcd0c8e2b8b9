//! Consequences of how often a host is scraped: how far apart its rows are, how far `[$range]` and the lookback reach. Pure.

use super::EngineConfig;
use crate::promql::plan::Spans;
use crate::series::TimestampMs;

/// Rows are as far apart as scrapes where those are at least 7/5 of a step apart: nearer ones are taken for jitter.
const STEP_RATIO: (i64, i64) = (7, 5);

/// Settings that follow from a scrape interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Interval between rows, in milliseconds.
    pub(super) step_ms: i64,
    /// Spans that leaves read whose expression doesn't say.
    pub(super) spans: Spans,
}

impl Pace {
    /// That of scrapes `interval_ms` apart; where that is not known, they are taken to be as far apart as rows.
    pub(super) fn new(interval_ms: Option<i64>, config: &EngineConfig) -> Self {
        let interval_ms = interval_ms.unwrap_or(config.step_ms);
        let (more, than) = STEP_RATIO;
        let is_slow = interval_ms.saturating_mul(than) >= config.step_ms.saturating_mul(more);
        Self {
            step_ms: if is_slow { interval_ms } else { config.step_ms },
            spans: Spans::of_scrapes(interval_ms, config.plan.lookback_ms),
        }
    }
}

/// The first step at or after `t_ms`; `grid_ms` is any step.
pub(super) fn first_step_from(t_ms: TimestampMs, grid_ms: TimestampMs, step_ms: i64) -> TimestampMs {
    t_ms.saturating_add(grid_ms.saturating_sub(t_ms).rem_euclid(step_ms))
}
