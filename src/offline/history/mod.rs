//! History: what was recorded or stored before, given to an engine as `serve` would have given it.
//!
//! Needs no clock: the time is the samples' own. Only [`source`] knows the network.

pub mod backfill;
mod engine_driver;
pub mod recorder;
pub mod recording;
pub mod replay;
mod slices;
pub mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use self::backfill::{Backfill, Progress};
pub use self::engine_driver::Totals;
use self::recording::Recording;
use self::replay::Replay;
use self::source::reader::Request;
use crate::engine::Output;
use crate::setup::Setup;

/// Location of history.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A folder of remote-write bodies with an index, or one body.
    Recording {
        /// The folder or file.
        path: PathBuf,
        /// `limits.body`.
        body_bytes_max: usize,
    },
    /// VictoriaMetrics or Prometheus.
    Database(Request),
}

/// History on its way through an engine, wherever it comes from. A recording's hosts come all at once, as they were received; a
/// database's one after the other. In both cases the rows of each host are in order of time.
pub enum History {
    /// See [`Replay`].
    Recording(Box<Replay>),
    /// See [`Backfill`].
    Database(Box<Backfill>),
}

impl History {
    /// Begins to read for the features of `setup`, which must have one shard; once `cancelled` is true [`History::advance`] ends.
    ///
    /// # Errors
    /// There is no such recording, or the URL cannot be used.
    pub fn open(origin: Origin, setup: &Setup, cancelled: Arc<AtomicBool>) -> anyhow::Result<Self> {
        Ok(match origin {
            Origin::Recording { path, body_bytes_max } => {
                let recording = Recording::open(&path, body_bytes_max)?;
                Self::Recording(Box::new(Replay::new(recording, setup, cancelled)?))
            }
            Origin::Database(request) => Self::Database(Box::new(Backfill::start(request, setup, cancelled)?)),
        })
    }

    /// Takes the next piece and appends what comes of it to `out`; returns whether there was anything to do. To be called until
    /// it returns `false`, with `out` cleared in between.
    ///
    /// # Errors
    /// The origin is unreachable or malformed. The caller stops there: rows with a hole would pass for what the hosts did.
    pub fn advance(&mut self, out: &mut Output) -> anyhow::Result<bool> {
        match self {
            Self::Recording(replay) => replay.advance(out),
            Self::Database(backfill) => backfill.advance(out),
        }
    }

    /// Returns the totals so far.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        match self {
            Self::Recording(replay) => replay.totals(),
            Self::Database(backfill) => backfill.totals(),
        }
    }

    /// Returns the progress; a recording's length isn't known in hosts, only in bodies: see [`Replay::n_bodies`].
    #[must_use]
    pub fn progress(&self) -> Option<&Progress> {
        match self {
            Self::Recording(_) => None,
            Self::Database(backfill) => Some(backfill.progress()),
        }
    }

    /// Metric names that features read and a database has of no host; empty for a recording, which isn't asked.
    #[must_use]
    pub fn absent(&self) -> &[String] {
        match self {
            Self::Recording(_) => &[],
            Self::Database(backfill) => backfill.absent(),
        }
    }
}
