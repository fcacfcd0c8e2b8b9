//! Output of the engine: closed rows, completed windows, and what is known of a host.

use std::sync::Arc;

use crate::config::silence::Silenced;
use crate::promql::eval::EvalError;
use crate::promql::program::LeafId;
use crate::series::{Labels, TimestampMs};

/// Host that a row belongs to; shared. A host whose labels change has another one of the same name from then on.
#[derive(Debug, PartialEq, Eq)]
pub struct HostId {
    /// The value of the identity label.
    pub name: Box<str>,
    /// The labels that its results carry: the identity label and the configured ones, as most of its live series have them.
    pub labels: Labels,
}

/// One closed step of one host. Emitted once per host and step, in order.
#[derive(Debug, Clone)]
pub struct Row {
    /// Host of the row.
    pub host: Arc<HostId>,
    /// The step, `phase + k·step`.
    pub t_ms: TimestampMs,
    /// Distance of the host's rows.
    pub step_ms: i64,
    /// One value per configured feature, in its own unit; NaN where missing.
    pub values: Box<[f64]>,
    /// Present where T rows are there and enough of them is not missing.
    pub window: Option<Window>,
    /// The same for the shadow's model, where there is one.
    pub shadow: Option<Window>,
    /// Effects that it may have beside a score.
    pub eligibility: AlertEligibility,
}

/// Effects that a row may have beside a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertEligibility {
    /// Everything.
    Full,
    /// A flag that it raises counts once the host has been seen for long enough: then as if it had been raised there.
    Young,
    /// It is learnt, but raises no flag: it came so late that nobody should be woken by it.
    Backlog,
    /// Nothing is flagged and nothing is learnt: the host is under maintenance.
    Silenced,
}

impl AlertEligibility {
    /// Whether the model may raise a flag at the row, be it one that doesn't count yet.
    #[must_use]
    pub fn may_flag(self) -> bool {
        matches!(self, Self::Full | Self::Young)
    }
}

/// The last T rows of a host as the model sees them. F counts the bundle's features.
#[derive(Debug, Clone)]
pub struct Window {
    /// `[T × F]`, oldest row first: standardised, clipped to the bundle's input clip; missing cells are filled.
    pub input: Box<[f32]>,
    /// `[F]`: the newest row, standardised, clipped to the target clip; NaN where missing.
    pub target: Box<[f32]>,
    /// `[F]`: the mean that the newest row was standardised with, in the feature's unit.
    pub mean: Box<[f64]>,
    /// `[F]`: the deviation that the newest row was standardised with, in the feature's unit.
    pub deviation: Box<[f64]>,
}

/// Status of a host, known beside its rows. Emitted at most once per `apply`, for every host that the input concerned.
#[derive(Debug, Clone)]
pub struct HostStatus {
    /// Host of the status.
    pub host: Arc<HostId>,
    /// Timestamp of its newest frame.
    pub last_sample_ms: TimestampMs,
    /// Distance of its rows.
    pub step_ms: i64,
    /// Scrape interval; `None` where its samples don't tell yet.
    pub interval_ms: Option<i64>,
    /// Labels in which senders differ that write it at once and are both used, as a list for people; `None` where there are none.
    pub twin_labels: Option<Arc<str>>,
    /// The senders that write it; `None` where that is one.
    pub senders: Option<Arc<[Sender]>>,
    /// The newest `up` of the targets that feed scored features: `Some(false)` where every live one is 0, `None` where there is none.
    pub up: Option<bool>,
    /// Rows in its window, at most T. Where they are too few, those of a gap don't count.
    pub window_rows: u32,
    /// Event time from its first to its newest closed row, less the gaps that emptied the window.
    pub history_ms: i64,
    /// The configured features that the newest closed row lacks, in their order, but for those that do not apply.
    pub missing: Box<[Missing]>,
    /// The configured features that do not apply to the host, in their order: it never had them, or lost them for good.
    pub not_applicable: Box<[Missing]>,
    /// Why the newest row completed no window; `None` where it did.
    pub not_scored: Option<NotScored>,
    /// The silence that the newest closed row fell into.
    pub silenced: Option<Arc<Silenced>>,
}

/// One of several senders of a host, such as a replica of a Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The labels that tell it apart, such as `replica="a"`.
    pub labels: Arc<str>,
    /// Whether its samples are used; those of all others are not.
    pub is_heard: bool,
}

/// A feature that a row lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Index of the configured feature.
    pub feature: u16,
    /// Why it has no value.
    pub why: MissingReason,
}

/// Why a feature has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingReason {
    /// Its expression has no single value.
    Error(EvalError),
    /// It reads a selector that matched nothing: the first such leaf.
    Unmatched(LeafId),
    /// It reads a range that is too short for how often the host is scraped: the first such leaf.
    RangeTooShort(LeafId),
    /// Its `[$range]`, which follows `ingest.interval`, holds too few samples: the host is scraped less often than that says.
    SeldomScraped,
    /// Its series are there, and its expression gives nothing of them.
    NoValue,
    /// Its expression gives a value that the feature cannot take, or gave one in a row that its range reaches back to.
    OutOfBounds,
}

/// Why a row without a window has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotScored {
    /// Fewer than T rows so far, or most of them lie in a gap.
    TooFewRows,
    /// More of the window, or of its newest row, is missing than configured.
    TooMuchMissing,
    /// None of the features that the model knows applies to the host.
    NoneApplicable,
    /// The running statistics of too many features are still in their warm-up.
    StatisticsWarmingUp,
}
