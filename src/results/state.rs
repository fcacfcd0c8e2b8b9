//! From the facts known of a host: its state, why, and what of its verdict may be shown. Pure.

use std::fmt;
use std::str::FromStr;

use crate::engine::row::{AlertEligibility, HostStatus, Missing, NotScored};
use crate::promql::duration::duration_short;
use crate::promql::plan::Spans;
use crate::series::TimestampMs;

use super::{ResultSchema, ScoredRow, Verdict};

/// Names of missing features that a reason lists.
const FEATURES_NAMED: usize = 3;

/// State of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not judged yet: too few rows, or too little history.
    Warming,
    /// Judged and not flagged, or silenced.
    Ok,
    /// Flagged.
    Anomalous,
    /// Too many of the features that it had are missing to be judged, or the model knows none of its features.
    Partial,
    /// Nothing arrives.
    Stale,
    /// `up` is 0: the scrape fails.
    Down,
}

/// A host's state and what of its verdict may be shown.
#[derive(Debug)]
pub struct Assessment<'a> {
    /// The state.
    pub state: State,
    /// Why; empty where the state says it all.
    pub reason: Reason<'a>,
    /// `None` unless the host is judged: a flag is never a false 0.
    pub flag: Option<bool>,
    /// The newest scored row with its verdict; `None` where they would be out of date.
    pub scored: Option<(&'a ScoredRow, &'a Verdict)>,
    /// The same of the shadow's verdict.
    pub shadow: Option<(&'a ScoredRow, &'a Verdict)>,
}

/// Why a host is in its state; `Display` gives the words.
#[derive(Debug, Clone, Copy)]
pub enum Reason<'a> {
    /// Nothing to add.
    None,
    /// Nothing has arrived for so many milliseconds.
    Silent(i64),
    /// The scrape fails.
    UpIsZero,
    /// Too few rows: how many there are, and must be.
    Rows(u32, usize),
    /// The running statistics have just begun.
    Statistics,
    /// Too much is missing: indices of features, of how many, and what they are called.
    Missing(&'a [Missing], usize, &'a ResultSchema),
    /// The model knows none of the host's features.
    NoneApplicable,
    /// A window is there, its verdict isn't yet.
    NoVerdict,
    /// The newest verdict is older than a host may be silent: by so many milliseconds of event time.
    ScoringBehind(i64),
    /// It is silenced: by what, and for how many milliseconds more of event time.
    Silenced(&'a str, i64),
    /// Its newest samples came so many milliseconds after their time.
    Backlog(i64),
    /// Too little history: milliseconds that there are, and must be.
    History(i64, i64),
    /// Time that the flag has been up at the newest scored row, in milliseconds of event time.
    Flagged(i64),
}

/// The state of a host. `arrived_ms` and `now_ms` are of our clock, everything else is event time; `scored` is the newest
/// row that has a verdict.
#[must_use]
pub fn assess<'a>(
    status: &'a HostStatus,
    arrived_ms: TimestampMs,
    scored: Option<&'a ScoredRow>,
    schema: &'a ResultSchema,
    now_ms: TimestampMs,
) -> Assessment<'a> {
    let scored = scored.and_then(|row| Some((row, row.verdict.as_ref()?)));
    let unjudged = |state, reason| Assessment { state, reason, flag: None, scored: None, shadow: None };
    let silent_ms = now_ms.saturating_sub(arrived_ms);
    if silent_ms > stale_after_ms(status, schema) {
        return unjudged(State::Stale, Reason::Silent(silent_ms));
    }
    if status.up == Some(false) {
        return unjudged(State::Down, Reason::UpIsZero);
    }
    if status.not_scored == Some(NotScored::TooMuchMissing) {
        let n_features = schema.features.len().saturating_sub(status.not_applicable.len());
        return unjudged(State::Partial, Reason::Missing(&status.missing, n_features, schema));
    }
    if status.not_scored == Some(NotScored::NoneApplicable) {
        return unjudged(State::Partial, Reason::NoneApplicable);
    }
    if status.not_scored == Some(NotScored::TooFewRows) || (status.window_rows as usize) < schema.window {
        return unjudged(State::Warming, Reason::Rows(status.window_rows, schema.window));
    }
    if status.not_scored == Some(NotScored::StatisticsWarmingUp) {
        return unjudged(State::Warming, Reason::Statistics);
    }
    let Some((row, verdict)) = scored else { return unjudged(State::Warming, Reason::NoVerdict) };
    let behind_ms = status.last_sample_ms.saturating_sub(row.t_ms);
    if behind_ms > stale_after_ms(status, schema).saturating_add(status.step_ms) {
        return unjudged(State::Warming, Reason::ScoringBehind(behind_ms));
    }
    if let Some(silenced) = &status.silenced {
        let reason = Reason::Silenced(&silenced.name, silenced.until_ms.saturating_sub(status.last_sample_ms));
        return Assessment { state: State::Ok, reason, flag: None, scored, shadow: None };
    }
    let lag_ms = arrived_ms.saturating_sub(status.last_sample_ms);
    if lag_ms > schema.max_lag_ms {
        return Assessment { state: State::Warming, reason: Reason::Backlog(lag_ms), flag: None, scored, shadow: None };
    }
    if row.eligibility == AlertEligibility::Young || status.history_ms < schema.min_history_ms {
        let reason = Reason::History(status.history_ms, schema.min_history_ms);
        return Assessment { state: State::Warming, reason, flag: None, scored, shadow: None };
    }
    // Of a row under a silence that has just ended there is none: not flagged, until the next row says.
    let flag = verdict.flag.unwrap_or(false);
    let flagged_ms = verdict.flagged_since_ms.map(|since| row.t_ms.saturating_sub(since));
    let (state, reason) = match (flag, flagged_ms) {
        (false, _) => (State::Ok, Reason::None),
        (true, None) => (State::Anomalous, Reason::None),
        (true, Some(for_ms)) => (State::Anomalous, Reason::Flagged(for_ms)),
    };
    Assessment { state, reason, flag: Some(flag), scored, shadow: None }
}

/// Silence after which the host is stale: what is configured, and of a host that is scraped seldom as long as its gauges are seen.
#[must_use]
pub fn stale_after_ms(status: &HostStatus, schema: &ResultSchema) -> i64 {
    let at = |interval_ms| Spans::of_scrapes(interval_ms, schema.stale_after_ms).lookback_ms;
    status.interval_ms.map_or(schema.stale_after_ms, at)
}

/// The newest verdict of the shadow, if it is not out of date. Whether the live model can judge the host is no matter.
#[must_use]
pub fn of_shadow<'a>(
    status: &HostStatus,
    arrived_ms: TimestampMs,
    row: Option<&'a ScoredRow>,
    schema: &ResultSchema,
    now_ms: TimestampMs,
) -> Option<(&'a ScoredRow, &'a Verdict)> {
    let row = row?;
    let is_silent = now_ms.saturating_sub(arrived_ms) > stale_after_ms(status, schema) || status.up == Some(false);
    let behind_ms = status.last_sample_ms.saturating_sub(row.t_ms);
    let is_old = behind_ms > stale_after_ms(status, schema).saturating_add(status.step_ms);
    if is_silent || is_old { None } else { Some((row, row.shadow.as_ref()?)) }
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Warming, Self::Ok, Self::Anomalous, Self::Partial, Self::Stale, Self::Down];

    /// The word that labels and the API have.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Ok => "ok",
            Self::Anomalous => "anomalous",
            Self::Partial => "partial",
            Self::Stale => "stale",
            Self::Down => "down",
        }
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => Ok(()),
            Self::Silent(ms) => write!(f, "nothing received for {}", duration_short(ms)),
            Self::UpIsZero => f.write_str("up is 0: the scrape fails"),
            Self::Rows(have, need) => write!(f, "{have} of {need} rows"),
            Self::Statistics => f.write_str("mean and deviation of its features are still being learnt"),
            Self::Missing(missing, n_features, schema) => write_missing(f, missing, n_features, schema),
            Self::NoneApplicable => f.write_str(
                "the model knows none of the features that this host has; train a model of them (outlierd train) and name it in \
                 model.bundle",
            ),
            Self::NoVerdict => f.write_str("waits for its first score"),
            Self::ScoringBehind(ms) => write!(f, "scoring is {} behind", duration_short(ms)),
            Self::Silenced(name, left_ms) => write!(f, "silenced by {name} for another {}", duration_short(left_ms)),
            Self::Backlog(ms) => write!(f, "its samples come {} late: learnt, not flagged", duration_short(ms)),
            Self::History(have_ms, need_ms) => write!(f, "{} of {} history", duration_short(have_ms), duration_short(need_ms)),
            Self::Flagged(for_ms) => write!(f, "for {}", duration_short(for_ms)),
        }
    }
}

fn write_missing(
    f: &mut fmt::Formatter<'_>,
    missing: &[Missing],
    n_features: usize,
    schema: &ResultSchema,
) -> fmt::Result {
    if missing.is_empty() {
        return f.write_str("too much of its window is missing");
    }
    write!(f, "{} of {} features missing: ", missing.len(), n_features)?;
    for (i, missing) in missing.iter().take(FEATURES_NAMED).enumerate() {
        let name = schema.features.get(usize::from(missing.feature)).map_or("?", |feature| feature.name.as_str());
        write!(f, "{}{name}", if i == 0 { "" } else { ", " })?;
    }
    match missing.len().saturating_sub(FEATURES_NAMED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
