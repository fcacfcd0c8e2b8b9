//! The queue from scoring to the push: bounded in samples, never waited for. What finds no room is dropped and counted.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::metrics::Metrics;
use super::row::QueuedRow;
use super::series::{self, Layout};
use crate::detect::verdict::FeatureScore;
use crate::results::ScoredRow;

/// A scoring thread's end of the queue.
#[derive(Debug)]
pub struct Outbox {
    layout: Arc<Layout>,
    rows: mpsc::Sender<Vec<QueuedRow>>,
    /// One permit per sample that has room.
    room: Arc<Semaphore>,
    metrics: Metrics,
    /// Rows that have room, not sent yet: of one batch of windows.
    batch: Vec<QueuedRow>,
    /// Whether this was logged.
    is_dropping: bool,
}

impl Outbox {
    /// Sends to `rows`, whose capacity in messages is at least the number of samples that have `room`.
    #[must_use]
    pub fn new(
        layout: Arc<Layout>,
        rows: mpsc::Sender<Vec<QueuedRow>>,
        room: Arc<Semaphore>,
        metrics: Metrics,
    ) -> Self {
        Self { layout, rows, room, metrics, batch: Vec::new(), is_dropping: false }
    }

    /// Whether [`Outbox::add`] needs what each feature alone comes to.
    #[must_use]
    pub fn has_features(&self) -> bool {
        self.layout.has_features()
    }

    /// Takes what is pushed of a row; see [`Layout::values`]. It goes with the next [`Outbox::send`].
    pub fn add(&mut self, row: &ScoredRow, alone: &[FeatureScore]) {
        let Some(values) = self.layout.values(row, alone) else { return };
        let n_samples = series::count(&values);
        let n_permits = u32::try_from(n_samples).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(n_permits) else {
            self.metrics.dropped("queue_full", n_samples);
            if !std::mem::replace(&mut self.is_dropping, true) {
                tracing::warn!(
                    "the push cannot keep up, its newest samples are dropped; see outlierd_push_* on /metrics"
                );
            }
            return;
        };
        self.is_dropping = false;
        if n_samples > 0 {
            self.metrics.queue.add(n_samples as i64);
            self.batch.push(QueuedRow { host: Arc::clone(&row.host), t_ms: row.t_ms, values, room });
        }
    }

    /// Hands over what was added.
    pub fn send(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Err(unsent) = self.rows.try_send(std::mem::take(&mut self.batch)) {
            // Never full, since every row has its room; closed where the service stops faster than scoring ends.
            let n_samples = unsent.into_inner().iter().map(|row| row.room.num_permits()).sum();
            self.metrics.queue.sub(n_samples as i64);
            self.metrics.dropped("shutdown", n_samples);
        }
    }
}
