//! A database's history, given to engines as `serve` gives an engine what it receives: host by host, each in order of time.
//!
//! History has no times of receipt: the clock is the samples' own. An engine has one host and its whole span; the next host's is
//! a new one, so that memory does not grow with the fleet.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::engine_driver::{DriverConfig, EngineDriver, Totals};
use super::slices::Slices;
use super::source::reader::{Piece, Reader, Request};
use super::source::selection::Selection;
use crate::decode::Wanted;
use crate::engine::Output;
use crate::setup::Setup;

/// Progress of reading.
#[derive(Debug, Default, Clone)]
pub struct Progress {
    /// Hosts whose rows are all out.
    pub hosts_done: usize,
    /// All of them.
    pub hosts: usize,
    /// History that is through the engine, summed over hosts.
    pub done_ms: i64,
    /// All of it: hosts by the span.
    pub all_ms: i64,
    /// Samples read.
    pub samples: u64,
    /// Bytes read, decompressed.
    pub bytes: u64,
}

/// A database's history on its way through engines. Holds a chunk that is being worked on, and the reader one more.
pub struct Backfill {
    reader: Reader,
    /// With one shard.
    wanted: Wanted,
    config: DriverConfig,
    /// Length of what is read of every host.
    span_ms: i64,
    /// The running host and its engine.
    host: Option<(Arc<str>, EngineDriver)>,
    /// Rest of the newest chunk, and how much history it is.
    chunk: Option<(Slices, i64)>,
    /// Whether the end was reached and everything pending is closed.
    is_finished: bool,
    absent: Vec<String>,
    progress: Progress,
    totals: Totals,
}

impl Backfill {
    /// Starts reading. `setup` must be for one shard. Once `cancelled` is true nothing more comes.
    ///
    /// # Errors
    /// As [`Reader::start`]. What the database says comes with the first call of [`Backfill::advance`].
    pub fn start(request: Request, setup: &Setup, cancelled: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let span_ms = request.span.len_ms();
        let (wanted, config) = (setup.wanted()?, DriverConfig::new(setup));
        let selection = Selection::new(&config.engine.plan, &config.engine.identity);
        let reader = Reader::start(request, selection, cancelled)?;
        Ok(Self {
            reader,
            wanted,
            config,
            span_ms,
            host: None,
            chunk: None,
            is_finished: false,
            absent: Vec::new(),
            progress: Progress::default(),
            totals: Totals::default(),
        })
    }

    /// Takes the next piece, some dozen frames at most, and appends what comes of it to `out`: rows of one host, in order of time.
    /// Returns whether there was anything to do; `false` at the end, and early once cancelled.
    ///
    /// # Errors
    /// The database cannot be read. The caller stops there.
    pub fn advance(&mut self, out: &mut Output) -> anyhow::Result<bool> {
        if let (Some((slices, _)), Some((host, driver))) = (&mut self.chunk, &mut self.host)
            && let Some(slice) = slices.next(host)
        {
            self.totals.decoded.kept_samples += slice.batch.samples() as u64;
            driver.take(&[slice.batch], slice.from_ms, slice.now_ms, &mut self.totals, out);
            return Ok(true);
        }
        if let Some((_, len_ms)) = self.chunk.take() {
            self.progress.done_ms += len_ms;
        }
        if self.is_finished {
            return Ok(false);
        }
        let Some(piece) = self.reader.next() else { return Ok(false) };
        match piece? {
            Piece::End => {
                self.is_finished = true;
                self.finish_host(out);
            }
            Piece::Opened { hosts, absent } => {
                self.absent = absent;
                self.progress.hosts = hosts;
                self.progress.all_ms = self.span_ms.saturating_mul(i64::try_from(hosts)?);
            }
            Piece::Chunk { host, index, span, series, n_bytes } => {
                if self.host.as_ref().is_none_or(|(running, _)| **running != *host) {
                    self.finish_host(out);
                    self.progress.hosts_done = index;
                    self.host = Some((host, EngineDriver::new(self.config.clone())));
                }
                let n_samples = series.iter().map(|series| series.samples.len() as u64).sum::<u64>();
                let n_series = series.len() as u64;
                let slices = Slices::new(series, &self.wanted, &self.config.engine.limits);
                let decoded = &mut self.totals.decoded;
                decoded.series += n_series;
                decoded.received_samples += n_samples;
                decoded.ignored_samples += slices.ignored_samples;
                decoded.decompressed_bytes += n_bytes;
                self.totals.bodies += 1;
                self.progress.samples += n_samples;
                self.progress.bytes += n_bytes;
                self.chunk = Some((slices, span.len_ms()));
            }
        }
        Ok(true)
    }

    /// Closes everything that the running host has pending.
    fn finish_host(&mut self, out: &mut Output) {
        if let Some((_, mut driver)) = self.host.take() {
            driver.finish(&mut self.totals, out);
            self.progress.hosts_done += 1;
        }
    }

    /// Returns the progress; known from the first call of [`Backfill::advance`] on.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Metric names that features read and no host has.
    #[must_use]
    pub fn absent(&self) -> &[String] {
        &self.absent
    }

    /// Returns the totals so far.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}
