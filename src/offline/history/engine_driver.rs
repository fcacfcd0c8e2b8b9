//! An engine that is given history, with the clock that the samples make.
//!
//! Owns that clock, which never goes back. Knows no source.

use std::sync::Arc;

use crate::config::silence::Silence;
use crate::decode::{DecodeStats, SampleBatch};
use crate::engine::{Counts, ENGINE_COUNTERS, Engine, EngineConfig, FRAME_WAIT_MS_MAX, Input, Output};
use crate::series::TimestampMs;
use crate::setup::Setup;

/// Totals of a history so far.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    /// Bodies of a recording, those without samples among them; chunks of a database.
    pub bodies: u64,
    /// Statistics of decode, summed over the bodies; series that the engine found invalid are among the invalid ones.
    pub decoded: DecodeStats,
    /// Counts of the engine.
    pub counts: Counts,
    /// Hosts that were ever seen; one that was forgotten and came back counts twice.
    pub hosts: u64,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct EngineDriver {
    engine: Engine,
    /// `ingest.lateness`.
    lateness_ms: i64,
    /// `None` before the first samples.
    now_ms: Option<TimestampMs>,
    /// Time of the newest sample so far.
    newest_ms: TimestampMs,
}

/// Settings of an engine and of its clock.
#[derive(Clone)]
pub(super) struct DriverConfig {
    pub(super) engine: EngineConfig,
    /// The maintenance windows.
    maintenance: Vec<Arc<Silence>>,
    /// `ingest.lateness`.
    lateness_ms: i64,
}

impl DriverConfig {
    pub(super) fn new(setup: &Setup) -> Self {
        let (engine, maintenance) = (setup.engine(), setup.maintenance.clone());
        Self { engine, maintenance, lateness_ms: setup.config.ingest.lateness_ms }
    }
}

impl EngineDriver {
    /// One without hosts.
    pub(super) fn new(config: DriverConfig) -> Self {
        let mut engine = Engine::new(config.engine);
        engine.apply(Input::Silences(&config.maintenance), &mut Output::default());
        Self { engine, lateness_ms: config.lateness_ms, now_ms: None, newest_ms: TimestampMs::MIN }
    }

    /// Takes what came at once: at `from_ms` the time since the last call has passed, at `now_ms` all of it is there.
    pub(super) fn take(
        &mut self,
        batches: &[SampleBatch],
        from_ms: TimestampMs,
        now_ms: TimestampMs,
        totals: &mut Totals,
        out: &mut Output,
    ) {
        self.newest_ms = self.newest_ms.max(newest_ms(batches).unwrap_or(TimestampMs::MIN));
        // As in `serve`, where the time passes between two bodies.
        if self.now_ms.is_some_and(|before_ms| before_ms < from_ms) {
            self.apply(Input::Tick { now_ms: from_ms }, totals, out);
        }
        let now_ms = self.now_ms.map_or(now_ms, |before_ms| before_ms.max(now_ms));
        self.now_ms = Some(now_ms);
        for batch in batches {
            self.apply(Input::Samples { batch, now_ms }, totals, out);
        }
    }

    /// Lets the lateness of every frame pass, and whatever else frames may wait for.
    pub(super) fn finish(&mut self, totals: &mut Totals, out: &mut Output) {
        if let Some(now_ms) = self.now_ms {
            let wait_ms = self.lateness_ms.max(FRAME_WAIT_MS_MAX);
            let now_ms = now_ms.max(self.newest_ms).saturating_add(wait_ms).saturating_add(1);
            self.apply(Input::Tick { now_ms }, totals, out);
        }
    }

    /// Applies an input and counts what came of it.
    fn apply(&mut self, input: Input<'_>, totals: &mut Totals, out: &mut Output) {
        let before = (out.counts, out.invalid_series, out.forgotten.len() as u64);
        let n_hosts = self.engine.n_hosts() as u64;
        self.engine.apply(input, out);
        for event in ENGINE_COUNTERS {
            totals.counts.add(event, out.counts.get(event) - before.0.get(event));
        }
        let invalid = totals.decoded.invalid_series.iter_mut().zip(out.invalid_series).zip(before.1);
        invalid.for_each(|((total, after), before)| *total += after - before);
        let n_forgotten = out.forgotten.len() as u64 - before.2;
        totals.hosts += self.engine.n_hosts() as u64 + n_forgotten - n_hosts;
    }
}

/// Time of the newest sample; `None` where there is none.
pub(super) fn newest_ms(batches: &[SampleBatch]) -> Option<TimestampMs> {
    let times = batches.iter().flat_map(SampleBatch::iter).flat_map(|series| series.samples);
    times.map(|sample| sample.t_ms).max()
}
