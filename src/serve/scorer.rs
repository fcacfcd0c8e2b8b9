//! Scoring threads: rows in, verdicts into the results table.
//!
//! A thread owns its models with the verdict state of its hosts. A host's rows always come to the same
//! thread, in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};
use tokio::sync::oneshot;

use crate::base::clock;
use crate::detect::host_detector::{self, Detection, HostDetector, LimitFactors, Models};
use crate::engine::row::{HostId, Row, Window};
use crate::model::batch::BATCH_WINDOWS;
use crate::output::push::queue::Outbox;
use crate::results::events::Events;
use crate::results::feedback::Feedback;
use crate::results::{Results, ScoredRow};

/// Rows per message from a shard: what makes the queue's limit in rows one in messages.
pub const ROWS_PER_MESSAGE: usize = 64;

/// Message of a shard to its scorer.
#[derive(Debug)]
pub enum Message {
    /// Closed rows, in order for each host; at most [`ROWS_PER_MESSAGE`].
    Rows(Vec<Row>),
    /// Hosts that are gone.
    Forget(Vec<Arc<HostId>>),
    /// To be answered when everything sent before is in the results.
    Barrier(oneshot::Sender<()>),
    /// Other models: every row before it is of windows for the old ones, every row after it for these.
    Reconfigure(Box<NewModels>),
}

/// Models and queue that a scoring thread runs from now on.
#[derive(Debug)]
pub struct NewModels {
    /// The models.
    pub models: Models,
    /// Queue that scored rows are pushed from; as before where `None`.
    pub outbox: Option<Option<Outbox>>,
}

/// One scoring thread's state.
#[derive(Debug)]
pub struct Scorer {
    /// The model that flags.
    live: HostDetector,
    /// One that is only looked at.
    shadow: Option<HostDetector>,
    results: Arc<Results>,
    events: Arc<Events>,
    /// Opinions of people about events; `None` where nobody can give any.
    feedback: Option<Arc<Feedback>>,
    /// Factors that limits are multiplied with because of it, as they were when the running batch began.
    factors: Arc<LimitFactors>,
    /// Queue that scored rows are pushed from; `None` where they aren't.
    outbox: Option<Outbox>,
    metrics: Metrics,
}

impl Scorer {
    /// A scorer without hosts.
    #[must_use]
    pub fn new(models: Models, results: Arc<Results>, events: Arc<Events>, metrics: Metrics) -> Self {
        let (live, shadow) = (HostDetector::new(models.live), models.shadow.map(HostDetector::new));
        let (feedback, factors, outbox) = (None, Arc::default(), None);
        Self { live, shadow, results, events, feedback, factors, outbox, metrics }
    }

    /// Heeds what people say of events.
    #[must_use]
    pub fn with_feedback(mut self, feedback: Arc<Feedback>) -> Self {
        self.feedback = Some(feedback);
        self
    }

    /// Puts what it scores into `outbox` too.
    #[must_use]
    pub fn with_outbox(mut self, outbox: Option<Outbox>) -> Self {
        self.outbox = outbox;
        self
    }

    /// Takes messages until every sender is gone. Rows that wait are scored together.
    pub fn run(mut self, messages: &Receiver<Message>) {
        let mut rows: Vec<Row> = Vec::new();
        while let Ok(first) = messages.recv() {
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Rows(more) => rows.extend(more),
                    other => {
                        self.score(&mut rows);
                        self.answer(other);
                    }
                }
                next = if rows.len() < BATCH_WINDOWS { messages.try_recv().ok() } else { None };
            }
            self.score(&mut rows);
        }
    }

    fn answer(&mut self, message: Message) {
        match message {
            Message::Forget(hosts) => {
                for host in hosts {
                    self.live.forget(&host.name);
                    self.shadow.iter_mut().for_each(|shadow| shadow.forget(&host.name));
                    self.results.forget(&host.name);
                    self.events.forget(&host);
                }
            }
            // Whoever asked may have stopped waiting: nothing depends on the answer.
            Message::Barrier(done) => {
                done.send(()).ok();
            }
            Message::Reconfigure(new) => {
                host_detector::reconfigure(&mut self.live, &mut self.shadow, new.models);
                if let Some(outbox) = new.outbox {
                    self.outbox = outbox;
                }
            }
            Message::Rows(_) => {}
        }
    }

    /// Scores the rows that have a window, and records all of them in order.
    fn score(&mut self, rows: &mut Vec<Row>) {
        let mut rest = std::mem::take(rows).into_iter().peekable();
        while rest.peek().is_some() {
            let batch: Vec<Row> = rest.by_ref().take(BATCH_WINDOWS).collect();
            self.score_batch(batch);
        }
    }

    fn score_batch(&mut self, rows: Vec<Row>) {
        let started = clock::monotonic();
        if let Some(feedback) = &self.feedback {
            self.factors = feedback.factors();
        }
        let n_windows = rows.iter().filter(|row| row.window.is_some()).count();
        let has_features = self.outbox.as_ref().is_some_and(Outbox::has_features);
        let verdicts =
            judged(&mut self.live, &rows, &self.factors, |row| row.window.as_ref(), has_features, &self.metrics);
        if n_windows > 0 && verdicts.is_some() {
            self.metrics.scored.inc_by(n_windows as u64);
            self.metrics.batch.observe(n_windows as f64);
            self.metrics.seconds.observe(started.elapsed().as_secs_f64());
        }
        let shadow = self.shadow.as_mut();
        let shadows =
            shadow.map(|shadow| judged(shadow, &rows, &self.factors, |row| row.shadow.as_ref(), false, &self.metrics));
        let mut verdicts = verdicts.unwrap_or_default().into_iter();
        let mut shadows = shadows.flatten().unwrap_or_default().into_iter();
        let (keep_rows, table) = (self.live.window_rows(), self.results.table());
        for row in rows {
            let (verdict, alone) =
                verdicts.next().flatten().map_or_else(Default::default, |(v, alone)| (Some(v), alone));
            let shadow = shadows.next().flatten().map(|(verdict, _)| verdict);
            let Row { host, t_ms, values, eligibility, .. } = row;
            let scored = ScoredRow { host, t_ms, values, eligibility, verdict, shadow };
            if let Some(outbox) = &mut self.outbox {
                outbox.add(&scored, &alone);
            }
            self.events.observe(&scored, table.schema());
            self.results.record_row(scored, keep_rows);
        }
        if let Some(outbox) = &mut self.outbox {
            outbox.send();
        }
    }
}

/// The verdicts of `judge` by row; `None` where the batch can't be scored.
fn judged(
    judge: &mut HostDetector,
    rows: &[Row],
    factors: &LimitFactors,
    window: fn(&Row) -> Option<&Window>,
    with_alone: bool,
    metrics: &Metrics,
) -> Option<Vec<Option<Detection>>> {
    let error = match judge.judge(rows, factors, window, with_alone) {
        Ok(verdicts) => return Some(verdicts),
        Err(error) => error,
    };
    tracing::error!(error = format!("{error:#}"), "cannot score a batch; its rows have no verdict");
    metrics.failed.inc_by(rows.iter().filter_map(window).count() as u64);
    None
}

/// A shard's end of the queue to its scorer.
#[derive(Debug)]
pub struct ScorerQueue {
    messages: Sender<Message>,
    metrics: Metrics,
    /// Time that a full queue is waited for, in all.
    shed_after: Duration,
    /// Since when there was no room to speak of; `None` while there is.
    full_since: Option<Instant>,
    /// Whether this was logged.
    is_shedding: bool,
}

/// Time that a full queue makes a shard wait, in all, before it sheds: the queue holds seconds of work, so a scorer that is
/// still behind after this much longer will not catch up by waiting, and ingest must go on.
const SHED_AFTER: Duration = Duration::from_secs(2);

impl ScorerQueue {
    /// A queue that sends to `messages`.
    #[must_use]
    pub fn new(messages: Sender<Message>, metrics: Metrics) -> Self {
        Self { messages, metrics, shed_after: SHED_AFTER, full_since: None, is_shedding: false }
    }

    /// Hands rows over. A full queue is waited for, but for `SHED_AFTER` in all until it is half empty again: what finds no
    /// room by then is dropped and counted.
    pub fn send_rows(&mut self, rows: &mut Vec<Row>) {
        while !rows.is_empty() {
            let chunk: Vec<Row> = rows.drain(..rows.len().min(ROWS_PER_MESSAGE)).collect();
            let n_rows = chunk.len();
            if self.messages.len() <= self.messages.capacity().unwrap_or(0) / 2 {
                self.full_since = None;
                self.is_shedding = false;
            } else if self.messages.is_full() {
                self.full_since.get_or_insert_with(clock::monotonic);
            }
            let patience =
                self.full_since.map_or(self.shed_after, |since| self.shed_after.saturating_sub(since.elapsed()));
            if self.messages.send_timeout(Message::Rows(chunk), patience).is_err() {
                self.shed(n_rows);
            }
        }
    }

    fn shed(&mut self, n_rows: usize) {
        self.metrics.shed.inc_by(n_rows as u64);
        if !std::mem::replace(&mut self.is_shedding, true) {
            tracing::warn!("scoring cannot keep up, rows are shed; raise threads.scorers or use a longer step");
        }
    }

    /// Hands anything else over; waits for room. Lost only if the scorer is gone.
    pub fn send(&self, message: Message) {
        if self.messages.send(message).is_err() {
            tracing::error!("a scoring thread is gone");
        }
    }
}

/// Counters of scoring; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    scored: IntCounter,
    failed: IntCounter,
    shed: IntCounter,
    batch: Histogram,
    seconds: Histogram,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            scored: IntCounter::new("outlierd_windows_scored_total", "Windows that were scored.")?,
            failed: IntCounter::new("outlierd_windows_failed_total", "Windows that ONNX Runtime could not score.")?,
            shed: IntCounter::new("outlierd_rows_shed_total", "Rows dropped because scoring could not keep up.")?,
            batch: Histogram::with_opts(
                HistogramOpts::new("outlierd_scoring_batch_windows", "Windows scored in one run.")
                    .buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new("outlierd_scoring_duration_seconds", "Duration of one run.")
                    .buckets(vec![0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]),
            )?,
        };
        for counter in [&metrics.scored, &metrics.failed, &metrics.shed] {
            registry.register(Box::new(counter.clone()))?;
        }
        for histogram in [&metrics.batch, &metrics.seconds] {
            registry.register(Box::new(histogram.clone()))?;
        }
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::row::AlertEligibility;
    use crate::series::Labels;

    fn rows(n: usize) -> Vec<Row> {
        let host = Arc::new(HostId { name: "a".into(), labels: Labels::default() });
        let row = |t_ms| Row {
            host: Arc::clone(&host),
            t_ms,
            step_ms: 60_000,
            values: Box::default(),
            window: None,
            shadow: None,
            eligibility: AlertEligibility::Full,
        };
        (0..n as i64).map(row).collect()
    }

    #[test]
    fn a_scorer_that_is_behind_costs_rows_not_ingest() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let (sender, receiver) = crossbeam_channel::bounded(4);
        let mut queue = ScorerQueue::new(sender, metrics.clone());
        queue.shed_after = Duration::ZERO;
        queue.send_rows(&mut rows(10 * ROWS_PER_MESSAGE));
        assert_eq!(metrics.shed.get(), 6 * ROWS_PER_MESSAGE as u64);
        // One place that became free is not room: the rest of what comes is shed without waiting for each.
        drop(receiver.recv());
        queue.send_rows(&mut rows(2 * ROWS_PER_MESSAGE));
        assert_eq!(metrics.shed.get(), 7 * ROWS_PER_MESSAGE as u64);
        // Half empty again: nothing is lost.
        (0..3).for_each(|_| drop(receiver.recv()));
        queue.send_rows(&mut rows(ROWS_PER_MESSAGE));
        assert_eq!(metrics.shed.get(), 7 * ROWS_PER_MESSAGE as u64);
        assert!(!queue.is_shedding);
    }
}
