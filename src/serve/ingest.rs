//! From the body of a request to the shards: decode, then push, or refuse with nothing applied.
//!
//! Beside that it keeps account of which jobs send what, and says in the log what has no effect.

mod distinct;
mod jobs;
mod notice;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::Serialize;

use crate::base::clock::Clock;
use crate::config::Ingest as Bounds;
use crate::decode::{self, Decoder, Encoding, TimeBounds, Unused, Wanted};
use crate::serve::shard::{PushError, Shards};

use self::jobs::Jobs;
pub use self::jobs::{JobReport, JobsReport, LackingReport, PrefixReport};

/// Time that a sender is told to wait when a queue is full: long enough for a queue of batches to drain.
const RETRY_AFTER_S: u64 = 5;

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// It can never succeed: 400, with this text.
    Bad(String),
    /// Too much to do and nothing was applied: 429.
    Overloaded {
        /// When to come back.
        retry_after_s: u64,
    },
    /// Shutting down and nothing was applied: 503.
    Stopping,
}

/// Decodes bodies and hands them to the shards.
pub struct Ingest {
    intake: RwLock<Arc<Intake>>,
    shards: Shards,
    /// Decoders with their buffers; as many as requests were ever decoded at once.
    decoders: Mutex<Vec<Decoder>>,
    metrics: Arc<decode::Metrics>,
    /// Record of who sends what.
    jobs: Jobs,
    clock: Clock,
}

/// Report of what arrives.
#[derive(Debug, Serialize)]
pub struct Report {
    /// By job.
    #[serde(flatten)]
    pub jobs: JobsReport,
    /// Samples since the start, by the reason for which they do nothing.
    pub unused_samples: BTreeMap<&'static str, u64>,
}

/// Part of a body that is taken.
#[derive(Debug)]
pub struct Intake {
    /// Which series.
    pub wanted: Wanted,
    /// From when.
    pub bounds: Bounds,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Takes what decode keeps to `shards`.
    #[must_use]
    pub fn new(intake: Intake, shards: Shards, metrics: Arc<decode::Metrics>, clock: Clock) -> Self {
        let jobs = Jobs::new(&intake.wanted);
        let (intake, decoders) = (RwLock::new(Arc::new(intake)), Mutex::default());
        Self { intake, shards, decoders, metrics, jobs, clock }
    }

    /// Takes something else of bodies from now on. The number of shards must be as it was.
    pub fn reconfigure(&self, intake: Intake) {
        let intake = Arc::new(intake);
        *self.intake.write() = Arc::clone(&intake);
        self.jobs.reconfigure(&intake.wanted);
    }

    /// Reports who sends what, and what of it does nothing.
    #[must_use]
    pub fn report(&self) -> Report {
        let unused = |reason: Unused| (reason.as_str(), self.metrics.unused(reason).get());
        Report { unused_samples: Unused::ALL.map(unused).into(), jobs: self.jobs.report() }
    }

    /// Takes one body; returns when its samples are applied.
    ///
    /// # Errors
    /// The body is malformed, or a queue is full; nothing was applied.
    pub async fn write(&self, body: &[u8], encoding: Encoding) -> Result<(), WriteError> {
        let now_ms = self.clock.now_ms();
        let intake = Arc::clone(&self.intake.read());
        let bounds = TimeBounds {
            min_ms: now_ms.saturating_sub(intake.bounds.max_age_ms),
            max_ms: now_ms.saturating_add(intake.bounds.max_future_ms),
        };
        let mut decoder = self.lock_decoders().pop().unwrap_or_default();
        let (decoded, notices) =
            self.jobs.look(now_ms, |look| decoder.decode_and_look(body, encoding, &intake.wanted, bounds, look));
        self.lock_decoders().push(decoder);
        for notice in notices {
            if notice.is_warning() {
                tracing::warn!("{notice}");
            } else {
                tracing::info!("{notice}");
            }
        }
        let decoded = decoded.map_err(|error| WriteError::Bad(error.to_string()))?;
        let batches = self.shards.push(decoded.batches, now_ms).await.map_err(|error| match error {
            PushError::Full => WriteError::Overloaded { retry_after_s: RETRY_AFTER_S },
            PushError::Stopped => WriteError::Stopping,
        })?;
        if let Some(decoder) = self.lock_decoders().last_mut() {
            decoder.recycle(batches);
        }
        // Only now: what was refused is sent again, and would count twice.
        self.metrics.observe(&decoded.stats);
        Ok(())
    }

    fn lock_decoders(&self) -> parking_lot::MutexGuard<'_, Vec<Decoder>> {
        self.decoders.lock()
    }
}
