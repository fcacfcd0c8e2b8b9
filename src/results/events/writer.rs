//! The thread that stores events: takes what has changed from the store, and writes it without holding the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::{Mutex, MutexGuard};

use super::Metrics;
use super::log::Log;
use super::store::EventStore;
use crate::base::clock;

/// Time after a failure until it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Owns the file.
#[derive(Debug)]
pub(super) struct Writer {
    log: Log,
    store: Arc<Mutex<EventStore>>,
    metrics: Metrics,
    /// When writing last failed; `None` where it went well since.
    failed: Option<Instant>,
}

impl Writer {
    pub(super) fn new(log: Log, store: Arc<Mutex<EventStore>>, metrics: Metrics) -> Self {
        Self { log, store, metrics, failed: None }
    }

    /// Writes whenever it is woken, and everything once at the start and at the end, when nobody can wake it any more.
    pub(super) fn run(mut self, woken: &Receiver<()>) {
        self.write(true);
        loop {
            match woken.recv_timeout(RETRY) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {
                    if self.failed.is_none_or(|failed| failed.elapsed() >= RETRY) {
                        self.write(false);
                    }
                }
            }
        }
        self.write(true);
    }

    /// Appends what has changed, or writes all of it anew.
    pub(super) fn write(&mut self, anew: bool) {
        let left_out = self.log.n_left_out();
        let written = if anew || !self.log.can_append() {
            let all = self.lock().take_all();
            self.log.rewrite(&all)
        } else {
            let changed = self.lock().take_unsaved();
            if changed.is_empty() { Ok(()) } else { self.log.append(&changed) }
        };
        self.metrics.dropped.with_label_values(&["file_size"]).inc_by(self.log.n_left_out().saturating_sub(left_out));
        match written {
            Ok(()) if self.failed.take().is_some() => tracing::info!("events are stored again"),
            Ok(()) => {}
            Err(error) => {
                self.metrics.failures.inc();
                if self.failed.replace(clock::monotonic()).is_none() {
                    tracing::error!(
                        %error,
                        "cannot store events; they are kept in memory and written once it works, free room in --storage.path"
                    );
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, EventStore> {
        self.store.lock()
    }
}
