//! The clocks. Only the edges ask them; everything else is given the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::series::TimestampMs;

/// Source of the time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clock.
    #[default]
    System,
    /// Time that was set last, in milliseconds since the Unix epoch: days pass in seconds.
    Simulated(Arc<AtomicI64>),
}

impl Clock {
    /// Now, in milliseconds since the Unix epoch.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn now_ms(&self) -> TimestampMs {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                TimestampMs::try_from(since_epoch.as_millis()).unwrap_or(TimestampMs::MAX)
            }
            Self::Simulated(t_ms) => t_ms.load(Ordering::SeqCst),
        }
    }
}

/// A point to measure durations from.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}
