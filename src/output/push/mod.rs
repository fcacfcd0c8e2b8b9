//! Results to a database by remote write: every scored row, with its own timestamp.
//!
//! Scoring threads put rows into a bounded queue ([`queue`]) and never wait; one task ([`remote_write`]) makes blocks of them
//! ([`series`]) and sends these until they are taken, with pauses in between ([`backoff`]). Nothing of this exists unless `push`
//! is configured. Knows nothing of what is before scoring.

pub mod backoff;
pub mod metrics;
pub mod queue;
pub mod remote_write;
pub mod row;
pub mod series;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use self::metrics::Metrics;
use self::queue::Outbox;
use self::remote_write::Sender;
use self::row::QueuedRow;
use self::series::Layout;
use crate::base::clock::Clock;
use crate::config::push::Push;
use crate::results::ResultSchema;

/// A running push.
#[derive(Debug)]
pub struct Pusher {
    layout: Arc<Layout>,
    rows: mpsc::Sender<Vec<QueuedRow>>,
    /// One permit per sample that has room in the queue.
    room: Arc<Semaphore>,
    metrics: Metrics,
    /// Told to give every block but one more attempt.
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Pusher {
    /// Starts the sending task.
    ///
    /// # Errors
    /// The queue has no room for a row, a header cannot be sent, or there is no client.
    pub fn start(push: &Push, schema: &ResultSchema, metrics: Metrics, clock: Clock) -> anyhow::Result<Self> {
        let layout = Arc::new(Layout::new(push, schema));
        let row_samples = layout.n_series();
        if row_samples > push.queue_samples {
            bail!("`push.queue` must be at least {row_samples}: so many samples has each row");
        }
        metrics.set_limit(push.queue_samples);
        let queue_samples = push.queue_samples.min(Semaphore::MAX_PERMITS);
        // A message has a sample at least, so this never is what is full.
        let (rows, received) = mpsc::channel(queue_samples);
        let (closing, is_closing) = watch::channel(false);
        let sender = Sender::new(push, Arc::clone(&layout), is_closing, metrics.clone(), clock)?;
        let task = tokio::spawn(sender.run(received));
        Ok(Self { layout, rows, room: Arc::new(Semaphore::new(queue_samples)), metrics, closing, task })
    }

    /// Another end of the queue.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(&self.layout), self.rows.clone(), Arc::clone(&self.room), self.metrics.clone())
    }

    /// Sends what is left, once, and gives up after `within`. Every outbox must be gone.
    pub async fn stop(self, within: Duration) {
        let Self { rows, closing, mut task, metrics, .. } = self;
        drop(rows);
        closing.send_replace(true);
        match tokio::time::timeout(within, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the push failed"),
            Err(_) => {
                task.abort();
                tracing::warn!(samples = metrics.queue.get(), "the service stops before these could be pushed");
            }
        }
    }
}
