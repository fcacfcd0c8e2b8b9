//! From the body of a request to the shards: decode, then push, or refuse with nothing applied.

use std::sync::{Mutex, PoisonError};

use prometheus::Registry;

use crate::clock;
use crate::config::Ingest as Bounds;
use crate::decode::{self, Decoder, Encoding, TimeBounds, Wanted};
use crate::http::WriteError;
use crate::shard::{PushError, Shards};

/// What a sender is told to wait when a queue is full: long enough for a queue of batches to drain.
const RETRY_AFTER_S: u64 = 5;

/// Decodes bodies and hands them to the shards.
pub struct Ingest {
    wanted: Wanted,
    bounds: Bounds,
    shards: Shards,
    /// Decoders with their buffers; as many as requests were ever decoded at once.
    decoders: Mutex<Vec<Decoder>>,
    metrics: decode::Metrics,
}

impl Ingest {
    /// Registers decode's metrics too.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(wanted: Wanted, bounds: Bounds, shards: Shards, registry: &Registry) -> prometheus::Result<Self> {
        let metrics = decode::Metrics::new(registry)?;
        Ok(Self { wanted, bounds, shards, decoders: Mutex::default(), metrics })
    }

    /// Takes one body; returns when its samples are applied.
    ///
    /// # Errors
    /// The body is malformed, or a queue is full; nothing was applied.
    pub async fn write(&self, body: &[u8], encoding: Encoding) -> Result<(), WriteError> {
        let now_ms = clock::now_ms();
        let bounds = TimeBounds {
            min_ms: now_ms.saturating_sub(self.bounds.max_age_ms),
            max_ms: now_ms.saturating_add(self.bounds.max_future_ms),
        };
        let mut decoder = self.lock_decoders().pop().unwrap_or_default();
        let decoded = decoder.decode(body, encoding, &self.wanted, bounds);
        self.lock_decoders().push(decoder);
        let decoded = decoded.map_err(|error| WriteError::Bad(error.to_string()))?;
        self.metrics.observe(&decoded.stats);
        self.shards.push(decoded.batches, now_ms).await.map_err(|error| match error {
            PushError::Full => WriteError::Overloaded { retry_after_s: RETRY_AFTER_S },
            PushError::Stopped => WriteError::Stopping,
        })
    }

    fn lock_decoders(&self) -> std::sync::MutexGuard<'_, Vec<Decoder>> {
        self.decoders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
