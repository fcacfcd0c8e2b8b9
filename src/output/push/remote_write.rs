//! The one task that sends: rows off the queue, into blocks, to the receiver, again until it takes or refuses them.
//!
//! Rows leave in the order in which they came, so a host's samples stay in order of time. A block that fails holds up those
//! behind it; the queue's limit bounds what that costs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::metrics::Metrics;
use super::row::QueuedRow;
use super::series::{Block, Layout};
use crate::base::clock::{self, Clock};
use crate::base::outbound::{self, DeliveryOutcome};
use crate::config::push::{Credentials, Push};

/// The sending task's state.
#[derive(Debug)]
pub struct Sender {
    client: reqwest::Client,
    url: reqwest::Url,
    credentials: Option<Credentials>,
    interval: Duration,
    batch_samples: usize,
    backoff: Backoff,
    block: Block,
    /// Rows of a message that did not fit into the block before.
    pending: VecDeque<QueuedRow>,
    /// Whether the last block was refused: the first refusal alone is logged as a warning.
    is_refused: bool,
    /// True once the service stops: every block has one more attempt.
    closing: watch::Receiver<bool>,
    metrics: Metrics,
    clock: Clock,
}

impl Sender {
    /// Sends what `push` says.
    ///
    /// # Errors
    /// A header cannot be sent, or there is no client.
    pub fn new(
        push: &Push,
        layout: Arc<Layout>,
        closing: watch::Receiver<bool>,
        metrics: Metrics,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let timeout = Duration::from_millis(push.timeout_ms);
        let client = outbound::client().timeout(timeout).default_headers(headers(push)?);
        Ok(Self {
            client: client.build().context("cannot make a client")?,
            url: push.url.clone(),
            credentials: push.credentials.clone(),
            interval: Duration::from_millis(push.interval_ms),
            batch_samples: push.batch_samples,
            backoff: Backoff::new(push.retry_min_ms, push.retry_max_ms, clock.now_ms().unsigned_abs()),
            block: Block::new(layout),
            pending: VecDeque::new(),
            is_refused: false,
            closing,
            metrics,
            clock,
        })
    }

    /// Sends until every other end of `rows` is gone and nothing is left, or the receiver fails while the service stops.
    pub async fn run(mut self, mut rows: mpsc::Receiver<Vec<QueuedRow>>) {
        while let Some(taken) = self.fill(&mut rows).await {
            let n_samples: usize = taken.iter().map(|row| row.room.num_permits()).sum();
            let goes_on = match self.encode(&taken) {
                Ok(body) => self.deliver(body, n_samples).await,
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "cannot encode a block of the push; it is dropped");
                    self.metrics.dropped("refused", n_samples);
                    true
                }
            };
            // The rows keep their room until here.
            self.metrics.queue.sub(n_samples as i64);
            drop(taken);
            if !goes_on {
                break;
            }
        }
        rows.close();
        let mut n_lost = 0;
        let rest = std::iter::from_fn(|| rows.try_recv().ok()).flatten();
        for row in self.pending.into_iter().chain(rest) {
            n_lost += row.room.num_permits();
        }
        self.metrics.queue.sub(n_lost as i64);
        self.metrics.dropped("shutdown", n_lost);
        if n_lost > 0 {
            tracing::warn!(samples = n_lost, "the service stopped before these could be pushed");
        }
    }

    /// Waits for a row, then for a full block or the interval. `None` once nothing will come any more.
    async fn fill(&mut self, rows: &mut mpsc::Receiver<Vec<QueuedRow>>) -> Option<Vec<QueuedRow>> {
        if self.pending.is_empty() {
            self.pending.extend(rows.recv().await?);
        }
        let due = Instant::from_std(clock::monotonic()) + self.interval;
        let mut n_samples = 0;
        let mut taken = Vec::new();
        while n_samples < self.batch_samples {
            if let Some(row) = self.pending.pop_front() {
                n_samples += row.room.num_permits();
                taken.push(row);
                continue;
            }
            match tokio::time::timeout_at(due, rows.recv()).await {
                Ok(Some(more)) => self.pending.extend(more),
                // Nothing more to come, or not in time.
                Ok(None) | Err(_) => break,
            }
        }
        Some(taken)
    }

    fn encode(&mut self, rows: &[QueuedRow]) -> anyhow::Result<Bytes> {
        rows.iter().try_for_each(|row| self.block.push(row))?;
        Ok(self.block.take()?.into())
    }

    /// Tries until the receiver takes or refuses it. False where it failed while the service stops: then there is no later.
    async fn deliver(&mut self, body: Bytes, n_samples: usize) -> bool {
        loop {
            // Nobody who could tell us is as good as being told.
            let is_last = *self.closing.borrow() || self.closing.has_changed().is_err();
            match self.attempt(body.clone()).await {
                DeliveryOutcome::Taken => {
                    if std::mem::take(&mut self.is_refused) || self.backoff.n_failures() > 0 {
                        tracing::info!(url = %self.url_shown(), "the push goes on");
                    }
                    self.backoff.succeeded();
                    self.metrics.sent.inc_by(n_samples as u64);
                    self.metrics.last_success.set(self.clock.now_ms() as f64 / 1_000.0);
                    return true;
                }
                DeliveryOutcome::Refused { code, said } => {
                    self.metrics.failed.with_label_values(&[&code]).inc();
                    self.metrics.dropped("refused", n_samples);
                    if !std::mem::replace(&mut self.is_refused, true) {
                        tracing::warn!(url = %self.url_shown(), code, said, "the push is refused, its samples are dropped");
                    }
                    self.backoff.succeeded();
                    return true;
                }
                DeliveryOutcome::Failed { code, said, retry_after } => {
                    self.metrics.failed.with_label_values(&[&code]).inc();
                    if self.backoff.n_failures() == 0 {
                        tracing::warn!(url = %self.url_shown(), code, said, "cannot push, trying again");
                    }
                    if is_last {
                        self.metrics.dropped("shutdown", n_samples);
                        return false;
                    }
                    let now_ms = self.clock.now_ms();
                    let due_ms = self.backoff.failed(now_ms, retry_after.as_deref());
                    let pause = Duration::from_millis(due_ms.saturating_sub(now_ms).unsigned_abs());
                    let closing = self.closing.wait_for(|closing| *closing);
                    drop(tokio::time::timeout(pause, closing).await);
                }
            }
        }
    }

    async fn attempt(&self, body: Bytes) -> DeliveryOutcome {
        let request = self.client.post(self.url.clone()).body(body);
        let request = Credentials::sign(self.credentials.as_ref(), request);
        let started = clock::monotonic();
        let fate = outbound::deliver(request).await;
        self.metrics.seconds.observe(started.elapsed().as_secs_f64());
        fate
    }

    fn url_shown(&self) -> String {
        outbound::shown(&self.url)
    }
}

fn headers(push: &Push) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &push.headers {
        let mut value =
            HeaderValue::try_from(value.reveal()).with_context(|| format!("cannot send the header {name}"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
    headers.insert("content-encoding", HeaderValue::from_static("snappy"));
    headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static("0.1.0"));
    Ok(headers)
}
