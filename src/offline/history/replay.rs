//! A recording, given to one engine as `serve` gives it what it receives.
//!
//! The clock is the recording's: a body's time is when it was received or, where that isn't known, the newest sample in it. So
//! the age of a recording makes no difference.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::engine_driver::{DriverConfig, EngineDriver, Totals, newest_ms};
use super::recording::{Body, Recording};
use crate::config::Ingest;
use crate::decode::{DecodeStats, Decoder, TimeBounds, Wanted};
use crate::engine::Output;
use crate::setup::Setup;

/// A recording on its way through an engine. Holds one body at a time.
pub struct Replay {
    recording: Recording,
    decoder: Decoder,
    /// With one shard.
    wanted: Wanted,
    driver: EngineDriver,
    bounds: Ingest,
    /// Bodies in all.
    n_bodies: usize,
    /// Whether the end was reached and everything pending is closed.
    is_finished: bool,
    /// Ends it early.
    cancelled: Arc<AtomicBool>,
    totals: Totals,
}

impl Replay {
    /// `setup` must be for one shard.
    ///
    /// # Errors
    /// As [`Setup::wanted`].
    pub fn new(recording: Recording, setup: &Setup, cancelled: Arc<AtomicBool>) -> anyhow::Result<Self> {
        Ok(Self {
            n_bodies: recording.len(),
            recording,
            decoder: Decoder::new(),
            wanted: setup.wanted()?,
            driver: EngineDriver::new(DriverConfig::new(setup)),
            bounds: setup.config.ingest.clone(),
            is_finished: false,
            cancelled,
            totals: Totals::default(),
        })
    }

    /// Takes the next body and appends what comes of it to `out`; after the last one closes everything that is pending. Returns
    /// whether there was anything to do.
    ///
    /// # Errors
    /// A body cannot be read or is malformed. The caller stops there: rows with a hole where a body should be would pass for what
    /// the hosts did.
    pub fn advance(&mut self, out: &mut Output) -> anyhow::Result<bool> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match self.recording.next() {
            Some(body) => self.take(&body?, out)?,
            None if self.is_finished => return Ok(false),
            None => {
                self.is_finished = true;
                self.driver.finish(&mut self.totals, out);
            }
        }
        Ok(true)
    }

    /// Returns the number of bodies; [`Totals::bodies`] says how many were taken.
    #[must_use]
    pub fn n_bodies(&self) -> usize {
        self.n_bodies
    }

    /// Returns the totals so far.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    fn take(&mut self, body: &Body, out: &mut Output) -> anyhow::Result<()> {
        let bounds = body.received_ms.map_or(TimeBounds::NONE, |received_ms| TimeBounds {
            min_ms: received_ms.saturating_sub(self.bounds.max_age_ms),
            max_ms: received_ms.saturating_add(self.bounds.max_future_ms),
        });
        let decoded = self.decoder.decode(&body.bytes, body.encoding, &self.wanted, bounds).with_context(|| {
            format!("cannot use {}; record it again, or take it out of the index", body.path.display())
        })?;
        self.totals.bodies += 1;
        add(&mut self.totals.decoded, &decoded.stats);
        if let Some(now_ms) = body.received_ms.or_else(|| newest_ms(&decoded.batches)) {
            self.driver.take(&decoded.batches, now_ms, now_ms, &mut self.totals, out);
        }
        Ok(())
    }
}

fn add(total: &mut DecodeStats, one: &DecodeStats) {
    for (total, n) in [
        (&mut total.series, one.series),
        (&mut total.received_samples, one.received_samples),
        (&mut total.kept_samples, one.kept_samples),
        (&mut total.ignored_samples, one.ignored_samples),
        (&mut total.future_samples, one.future_samples),
        (&mut total.too_old_samples, one.too_old_samples),
        (&mut total.histograms, one.histograms),
        (&mut total.exemplars, one.exemplars),
        (&mut total.metadata, one.metadata),
        (&mut total.compressed_bytes, one.compressed_bytes),
        (&mut total.decompressed_bytes, one.decompressed_bytes),
    ] {
        *total += n;
    }
    for (total, n) in total.invalid_series.iter_mut().zip(one.invalid_series) {
        *total += n;
    }
}
