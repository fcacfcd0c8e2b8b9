//! The newest verdict and state of each host, for every reader.

use std::sync::Arc;

use crate::engine::row::HostId;
use crate::series::TimestampMs;

/// A closed row after scoring: the unit of history that `/api/v1/hosts/{host}` returns.
#[derive(Debug, Clone)]
pub struct ScoredRow {
    /// Whose.
    pub host: Arc<HostId>,
    /// The step.
    pub t_ms: TimestampMs,
    /// One value per configured feature, in its own unit; NaN where missing.
    pub values: Box<[f64]>,
    /// Present where the row was scored.
    pub verdict: Option<Verdict>,
}

/// What the model says of one row.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Smoothed mean over the present features of the squared standardised residual.
    pub mse: f64,
    /// The mse limit that it was compared with.
    pub limit: f64,
    /// `mse / limit`; above 1 is anomalous.
    pub score: f64,
    /// Whether the host is flagged, after hold-down. Not yet masked by `min_history`.
    pub flag: bool,
    /// The row at which the flag rose.
    pub flagged_since_ms: Option<TimestampMs>,
    /// `[F]` in the order of the bundle: what the model expected, in the feature's unit; NaN where the feature was missing.
    pub expected: Box<[f64]>,
    /// `[F]` in the order of the bundle: share of the error since the flag rose (of this row's where there is no flag);
    /// sums to 1, 0 where missing.
    pub contributions: Box<[f64]>,
}
