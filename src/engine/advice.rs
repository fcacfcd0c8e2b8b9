//! Advice on what hosts are sent, in words: for the log and for readers. Pure.

use crate::promql::duration::duration_text;
use crate::promql::plan::RANGE_INTERVALS;

/// Returns advice on a host whose senders differ in `labels`.
#[must_use]
pub fn twins_advice(labels: &str) -> String {
    format!(
        "two senders write this host at once, and their series differ in {labels} alone: add it to `identity.drop` and restart (a list \
         there replaces the default one)"
    )
}

/// Advice on a host that is scraped less often than the configuration says.
pub const SELDOM_ADVICE: &str = "its range, which follows `ingest.interval`, holds too few scrapes: set that to how often the host is scraped, \
                                 or leave it out and it is told from what arrives";

/// Returns advice on a range of `selector` that is too short for a host that is scraped each `interval_ms`.
#[must_use]
pub fn range_advice(selector: &str, interval_ms: i64) -> String {
    let (interval, range) = (duration_text(interval_ms), duration_text(RANGE_INTERVALS.saturating_mul(interval_ms)));
    format!(
        "the range of {selector} is too short for a host that is scraped each {interval}: write [$range], which follows the \
         interval, or [{range}]"
    )
}
