//! The clocks. Only the edges ask them; everything else is given the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::series::TimestampMs;

/// Where a service has the time from: [`now_ms`], or one that runs through days in seconds.
pub type Clock = fn() -> TimestampMs;

/// Now, in milliseconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now_ms() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs::try_from(since_epoch.as_millis()).unwrap_or(TimestampMs::MAX)
}

/// A point to measure durations from.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}
