//! A recording, given to one engine as `serve` gives it what it receives.
//!
//! The clock is the recording's: a body's time is when it was received or, where that isn't known, the newest sample in it. So
//! the age of a recording makes no difference.

use anyhow::Context;

use super::recording::{Body, Recording};
use crate::config::Ingest;
use crate::decode::{DecodeStats, Decoder, TimeBounds, Wanted};
use crate::engine::{Counts, EVENTS, Engine, EngineConfig, Input, Output};
use crate::series::TimestampMs;

/// Without a time of receipt nothing says which sample is too old.
const ANY_TIME: TimeBounds = TimeBounds { min_ms: TimestampMs::MIN, max_ms: TimestampMs::MAX };

/// A recording on its way through an engine. Holds one body at a time.
pub struct Replay {
    recording: Recording,
    decoder: Decoder,
    /// With one shard.
    wanted: Wanted,
    engine: Engine,
    bounds: Ingest,
    /// The recording's clock, which never goes back; `None` before the first body with samples.
    now_ms: Option<TimestampMs>,
    /// Time of the newest sample so far.
    newest_ms: TimestampMs,
    /// Whether the end was reached and everything pending is closed.
    is_finished: bool,
    totals: Totals,
}

/// What came of a recording so far.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    /// Bodies, those without samples among them.
    pub bodies: u64,
    /// What decode found, summed over the bodies; series that the engine found invalid are among the invalid ones.
    pub decoded: DecodeStats,
    /// What the engine counted.
    pub counts: Counts,
    /// Hosts that were ever seen; one that was forgotten and came back counts twice.
    pub hosts: u64,
}

impl Replay {
    /// `wanted` must be for one shard.
    #[must_use]
    pub fn new(recording: Recording, wanted: Wanted, config: EngineConfig, bounds: Ingest) -> Self {
        Self {
            recording,
            decoder: Decoder::new(),
            wanted,
            engine: Engine::new(config),
            bounds,
            now_ms: None,
            newest_ms: TimestampMs::MIN,
            is_finished: false,
            totals: Totals::default(),
        }
    }

    /// Takes the next body and appends what comes of it to `out`; after the last one closes everything that is pending. Returns
    /// whether there was anything to do.
    ///
    /// # Errors
    /// A body cannot be read or is malformed. The caller stops there: rows with a hole where a body should be would pass for what
    /// the hosts did.
    pub fn advance(&mut self, out: &mut Output) -> anyhow::Result<bool> {
        match self.recording.next() {
            Some(body) => self.take(&body?, out)?,
            None if self.is_finished => return Ok(false),
            None => self.finish(out),
        }
        Ok(true)
    }

    /// What came of it so far.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    fn take(&mut self, body: &Body, out: &mut Output) -> anyhow::Result<()> {
        let bounds = body.received_ms.map_or(ANY_TIME, |received_ms| TimeBounds {
            min_ms: received_ms.saturating_sub(self.bounds.max_age_ms),
            max_ms: received_ms.saturating_add(self.bounds.max_future_ms),
        });
        let decoded = self.decoder.decode(&body.bytes, body.encoding, &self.wanted, bounds).with_context(|| {
            format!("cannot use {}; record it again, or take it out of the index", body.path.display())
        })?;
        self.totals.bodies += 1;
        add(&mut self.totals.decoded, &decoded.stats);
        let times = decoded.batches.iter().flat_map(|batch| batch.iter()).flat_map(|series| series.samples);
        let newest_ms = times.map(|sample| sample.t_ms).max();
        self.newest_ms = self.newest_ms.max(newest_ms.unwrap_or(TimestampMs::MIN));
        let Some(now_ms) = body.received_ms.or(newest_ms).max(self.now_ms) else { return Ok(()) };
        // As in `serve`, where the time passes between two bodies.
        if self.now_ms.is_some_and(|before_ms| before_ms < now_ms) {
            self.apply(Input::Tick { now_ms }, out);
        }
        self.now_ms = Some(now_ms);
        for batch in &decoded.batches {
            self.apply(Input::Samples { batch, now_ms }, out);
        }
        Ok(())
    }

    /// Lets the lateness of every frame pass.
    fn finish(&mut self, out: &mut Output) {
        self.is_finished = true;
        if let Some(now_ms) = self.now_ms {
            let now_ms = now_ms.max(self.newest_ms).saturating_add(self.bounds.lateness_ms).saturating_add(1);
            self.apply(Input::Tick { now_ms }, out);
        }
    }

    /// Applies an input and counts what came of it.
    fn apply(&mut self, input: Input<'_>, out: &mut Output) {
        let before = (out.counts, out.invalid_series, out.forgotten.len() as u64);
        let n_hosts = self.engine.n_hosts() as u64;
        self.engine.apply(input, out);
        for event in EVENTS {
            self.totals.counts.add(event, out.counts.get(event) - before.0.get(event));
        }
        let invalid = self.totals.decoded.invalid_series.iter_mut().zip(out.invalid_series).zip(before.1);
        invalid.for_each(|((total, after), before)| *total += after - before);
        let n_forgotten = out.forgotten.len() as u64 - before.2;
        self.totals.hosts += self.engine.n_hosts() as u64 + n_forgotten - n_hosts;
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
