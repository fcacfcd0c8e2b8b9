//! The shards: threads that own one [`Engine`] each, and the queue before them.
//!
//! A push is applied to every shard that it concerns or to none: room is reserved everywhere before anything is sent.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tokio::sync::{mpsc, oneshot};

use crate::base::bounds::Bounds;
use crate::decode::{self, InvalidSeries, SampleBatch, Unused};
use crate::engine::advice::{SELDOM_ADVICE, range_advice, twins_advice};
use crate::engine::row::{HostStatus, Missing, MissingReason};
use crate::engine::{ENGINE_COUNTERS, Engine, EngineConfig, EngineCounter, Input, OutOfBounds, Output};
use crate::promql::Plan;
use crate::promql::eval::EvalError;
use crate::results::Results;
use crate::results::silences::InForce;
use crate::series::TimestampMs;
use crate::serve::scorer::{Message, ScorerQueue};

/// Command to a shard's thread.
#[derive(Debug)]
enum Command {
    Samples {
        batch: SampleBatch,
        now_ms: TimestampMs,
        /// Gets the batch back once it is applied.
        done: oneshot::Sender<SampleBatch>,
    },
    Tick {
        now_ms: TimestampMs,
    },
    /// These are in force from now on, unless later ones are already.
    Silences(InForce),
    /// To be answered when everything sent before is in the results.
    Barrier(oneshot::Sender<()>),
    /// To wait, once everything sent before is in the results, for another configuration.
    Pause {
        /// Answered when it waits.
        paused: oneshot::Sender<()>,
        /// Settings that it goes on with; as before where it is dropped.
        resume: oneshot::Receiver<Box<Resume>>,
    },
}

/// Settings that a shard runs with, or goes on with after a pause.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Of its engine.
    pub engine: EngineConfig,
    /// Silences in force.
    pub silences: InForce,
}

/// Shards that wait for another configuration; they go on with the old one if this is dropped.
#[derive(Debug)]
pub struct Paused(Vec<oneshot::Sender<Box<Resume>>>);

impl Paused {
    /// Lets them go on with `new`.
    pub fn resume(self, new: &Resume) {
        for shard in self.0 {
            // An error means that the shard is gone, which its thread's end tells.
            shard.send(Box::new(new.clone())).ok();
        }
    }
}

/// The queues to all shards.
#[derive(Debug, Clone, Default)]
pub struct Shards {
    commands: Vec<mpsc::Sender<Command>>,
    wait: Duration,
}

/// Why a push was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// A queue stayed full; nothing was applied.
    Full,
    /// The shards have stopped.
    Stopped,
}

impl Shards {
    /// Starts a thread per scorer queue in `scorers`, each with its own engine; `queue` commands may wait for each.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        begin: &Resume,
        scorers: Vec<ScorerQueue>,
        queue: usize,
        wait: Duration,
        results: &Arc<Results>,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<(Self, Vec<JoinHandle<()>>)> {
        let mut commands = Vec::new();
        let mut threads = Vec::new();
        metrics.begin(&begin.engine);
        for (i, scorer) in scorers.into_iter().enumerate() {
            let (sender, receiver) = mpsc::channel(queue);
            let mut shard = Shard {
                engine: Engine::new(begin.engine.clone()),
                scorer,
                results: Arc::clone(results),
                metrics: Arc::clone(metrics),
                out: Output::default(),
                n_hosts: 0,
                silences_version: None,
                twins_told: HashSet::new(),
                ranges_told: HashSet::new(),
                seldom_told: false,
            };
            shard.silence(&begin.silences);
            let thread = std::thread::Builder::new()
                .name(format!("shard-{i}"))
                .spawn(move || shard.run(receiver))
                .context("cannot start a shard's thread")?;
            commands.push(sender);
            threads.push(thread);
        }
        Ok((Self { commands, wait }, threads))
    }

    /// Applies one batch per shard; gives them back when all are applied.
    ///
    /// # Errors
    /// Nothing was applied, see [`PushError`].
    pub async fn push(&self, batches: Vec<SampleBatch>, now_ms: TimestampMs) -> Result<Vec<SampleBatch>, PushError> {
        let concerned = self.commands.iter().zip(batches).filter(|(_, batch)| !batch.is_empty());
        // Reserved in the order of shards, so that two pushes cannot wait for each other.
        let reserve = async {
            let mut reserved = Vec::new();
            for (commands, batch) in concerned {
                reserved.push((commands.reserve().await.map_err(|_| PushError::Stopped)?, batch));
            }
            Ok(reserved)
        };
        let reserved = tokio::time::timeout(self.wait, reserve).await.map_err(|_| PushError::Full)??;
        let mut applied = Vec::new();
        for (permit, batch) in reserved {
            let (done, is_done) = oneshot::channel();
            permit.send(Command::Samples { batch, now_ms, done });
            applied.push(is_done);
        }
        let mut batches = Vec::with_capacity(applied.len());
        for is_done in applied {
            batches.push(is_done.await.map_err(|_| PushError::Stopped)?);
        }
        Ok(batches)
    }

    /// Tells every shard the time; one whose queue is full will learn it from its samples.
    pub fn tick(&self, now_ms: TimestampMs) {
        for commands in &self.commands {
            // A full queue has samples in it, which carry the time themselves.
            drop(commands.try_send(Command::Tick { now_ms }));
        }
    }

    /// Tells every shard what is silenced from now on; of two that are told at once the later version stays.
    pub async fn silence(&self, silences: InForce) {
        for commands in &self.commands {
            // An error means that the shard stopped: then there is nothing to be silenced.
            drop(commands.send(Command::Silences(silences.clone())).await);
        }
    }

    /// Makes every shard wait. When this returns, everything pushed before is in the results and nobody writes to them; what is
    /// pushed from now on waits.
    ///
    /// # Errors
    /// A shard or its scorer is gone; the others go on.
    pub async fn pause(&self) -> Result<Paused, PushError> {
        let (mut waiting, mut resumes) = (Vec::new(), Vec::new());
        for commands in &self.commands {
            let (paused, is_paused) = oneshot::channel();
            let (resume, resumed) = oneshot::channel();
            let command = Command::Pause { paused, resume: resumed };
            commands.send(command).await.map_err(|_| PushError::Stopped)?;
            waiting.push(is_paused);
            resumes.push(resume);
        }
        for is_paused in waiting {
            is_paused.await.map_err(|_| PushError::Stopped)?;
        }
        Ok(Paused(resumes))
    }

    /// Returns when everything pushed before is in the results.
    pub async fn settle(&self) {
        for commands in &self.commands {
            let (done, is_done) = oneshot::channel();
            if commands.send(Command::Barrier(done)).await.is_ok() {
                // An error means that the shard stopped: then nothing is left to wait for.
                drop(is_done.await);
            }
        }
    }
}

/// One shard's thread.
struct Shard {
    engine: Engine,
    scorer: ScorerQueue,
    results: Arc<Results>,
    metrics: Arc<Metrics>,
    out: Output,
    /// Hosts that the gauge counts for this shard.
    n_hosts: i64,
    /// Of the silences in force; `None` before the first are told.
    silences_version: Option<u64>,
    /// Labels of twins that were logged.
    twins_told: HashSet<Arc<str>>,
    /// Features of which it was logged that their range is too short.
    ranges_told: HashSet<u16>,
    /// Whether it was logged that a host is scraped less often than the configuration says.
    seldom_told: bool,
}

/// Labels of twins that are logged, per shard.
const TWINS_TOLD_MAX: usize = 20;

impl Shard {
    fn run(&mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            match command {
                Command::Samples { batch, now_ms, done } => {
                    self.engine.apply(Input::Samples { batch: &batch, now_ms }, &mut self.out);
                    self.publish(now_ms);
                    // The sender may have gone away; its samples are applied all the same.
                    done.send(batch).ok();
                }
                Command::Tick { now_ms } => {
                    self.engine.apply(Input::Tick { now_ms }, &mut self.out);
                    self.publish(now_ms);
                }
                Command::Silences(silences) => self.silence(&silences),
                Command::Barrier(done) => self.scorer.send(Message::Barrier(done)),
                Command::Pause { paused, resume } => self.pause(paused, resume),
            }
        }
    }

    fn pause(&mut self, paused: oneshot::Sender<()>, resume: oneshot::Receiver<Box<Resume>>) {
        let (done, is_done) = oneshot::channel();
        self.scorer.send(Message::Barrier(done));
        let is_scored = is_done.blocking_recv().is_ok();
        // Without an answer whoever asked gives up, and everything goes on as it was.
        if is_scored
            && paused.send(()).is_ok()
            && let Ok(new) = resume.blocking_recv()
        {
            self.metrics.begin(&new.engine);
            self.engine.reconfigure(new.engine);
            self.silence(&new.silences);
            // Numbers of features may stand for others now.
            self.ranges_told.clear();
            self.seldom_told = false;
        }
    }

    /// Silences what `in_force` says, unless later silences are in force.
    fn silence(&mut self, in_force: &InForce) {
        if self.silences_version < Some(in_force.version) {
            self.silences_version = Some(in_force.version);
            self.engine.apply(Input::Silences(&in_force.silences), &mut self.out);
        }
    }

    /// Says once what is wrong with what hosts are sent: by the labels in which two senders differ, and by feature of which the range
    /// is too short.
    fn warn(&mut self) {
        let plan = self.engine.plan();
        for HostStatus { host, twin_labels, missing, interval_ms, step_ms, .. } in &self.out.statuses {
            if let Some(labels) = twin_labels
                && self.twins_told.len() < TWINS_TOLD_MAX
                && self.twins_told.insert(Arc::clone(labels))
            {
                tracing::warn!(host = %host.name, "{}", twins_advice(labels));
            }
            for Missing { feature, why } in missing {
                if *why == MissingReason::SeldomScraped && !std::mem::replace(&mut self.seldom_told, true) {
                    let name = plan.ids.get(usize::from(*feature)).map_or("", |id| id.name.as_ref());
                    tracing::warn!(feature = name, host = %host.name, "a feature has no value: {SELDOM_ADVICE}");
                }
                let MissingReason::RangeTooShort(leaf) = why else { continue };
                if self.ranges_told.insert(*feature)
                    && let Some(leaf) = plan.leaves.get(usize::from(*leaf))
                {
                    let advice = range_advice(&leaf.selector.to_string(), interval_ms.unwrap_or(*step_ms));
                    let name = plan.ids.get(usize::from(*feature)).map_or("", |id| id.name.as_ref());
                    tracing::warn!(feature = name, host = %host.name, "{advice}");
                }
            }
        }
    }

    fn publish(&mut self, now_ms: TimestampMs) {
        self.warn();
        for status in &self.out.statuses {
            self.results.record_status(status, now_ms);
        }
        self.metrics.observe(&self.out, self.engine.plan());
        self.scorer.send_rows(&mut self.out.rows);
        if !self.out.forgotten.is_empty() {
            self.scorer.send(Message::Forget(std::mem::take(&mut self.out.forgotten)));
        }
        let n_hosts = self.engine.n_hosts() as i64;
        self.metrics.hosts.add(n_hosts - self.n_hosts);
        self.n_hosts = n_hosts;
        self.out.clear();
    }
}

/// Counters of all shards.
#[derive(Debug)]
pub struct Metrics {
    hosts: IntGauge,
    rows: IntCounter,
    steps_skipped: IntCounter,
    duplicates: IntCounter,
    sender_changes: IntCounter,
    dropped: IntCounterVec,
    frames_early: IntCounterVec,
    feature_errors: IntCounterVec,
    out_of_bounds: IntCounterVec,
    /// Decode's: they count the series that turn out invalid, and the samples that turn out unused, when an engine meets them.
    decode: Arc<decode::Metrics>,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &Registry, decode: Arc<decode::Metrics>) -> prometheus::Result<Self> {
        let metrics = Self {
            hosts: IntGauge::new("outlierd_hosts", "Hosts known.")?,
            rows: IntCounter::new("outlierd_rows_closed_total", "Rows that were closed.")?,
            steps_skipped: IntCounter::new(
                "outlierd_steps_skipped_total",
                "Steps in gaps so long that the window was emptied.",
            )?,
            duplicates: IntCounter::new(
                "outlierd_samples_duplicate_total",
                "Samples whose series had one at that time already.",
            )?,
            sender_changes: IntCounter::new(
                "outlierd_host_sender_changes_total",
                "How often another replica began to speak for a host, because the one before was silent.",
            )?,
            dropped: IntCounterVec::new(
                Opts::new("outlierd_samples_dropped_total", "Wanted samples that were not used."),
                &["reason"],
            )?,
            frames_early: IntCounterVec::new(
                Opts::new("outlierd_frames_limited_total", "Frames applied early or in part because of a limit."),
                &["reason"],
            )?,
            feature_errors: IntCounterVec::new(
                Opts::new("outlierd_feature_errors_total", "Rows in which a feature's expression had no single value."),
                &["feature", "reason"],
            )?,
            out_of_bounds: IntCounterVec::new(
                Opts::new(
                    "outlierd_feature_values_out_of_bounds_total",
                    "Values outside of their feature's bounds, which are missing from their rows.",
                ),
                &["feature"],
            )?,
            decode,
        };
        registry.register(Box::new(metrics.hosts.clone()))?;
        for counter in [&metrics.rows, &metrics.steps_skipped, &metrics.duplicates, &metrics.sender_changes] {
            registry.register(Box::new(counter.clone()))?;
        }
        for counters in [&metrics.dropped, &metrics.frames_early, &metrics.feature_errors, &metrics.out_of_bounds] {
            registry.register(Box::new(counters.clone()))?;
        }
        // From the beginning, or the first of a kind would be no increase to who scrapes them.
        for event in ENGINE_COUNTERS {
            metrics.of(event);
        }
        Ok(metrics)
    }

    /// Shows the counters of features that have bounds, for the same reason.
    fn begin(&self, config: &EngineConfig) {
        for (id, bounds) in config.plan.ids.iter().zip(config.bounds.iter()) {
            if *bounds != Bounds::NONE {
                self.out_of_bounds.with_label_values(&[id.name.as_ref()]);
            }
        }
    }

    /// Returns the counter of `event`.
    fn of(&self, event: EngineCounter) -> IntCounter {
        match event {
            EngineCounter::RowClosed => self.rows.clone(),
            EngineCounter::StepSkipped => self.steps_skipped.clone(),
            EngineCounter::Duplicate => self.duplicates.clone(),
            EngineCounter::SenderChange => self.sender_changes.clone(),
            EngineCounter::Late
            | EngineCounter::Replica
            | EngineCounter::Hosts
            | EngineCounter::SeriesPerHost
            | EngineCounter::InvalidLabels => self.dropped.with_label_values(&[event.as_str()]),
            EngineCounter::NoHost => self.decode.unused(Unused::NoHost).clone(),
            EngineCounter::FramesPerHost | EngineCounter::SamplesPerHost => {
                self.frames_early.with_label_values(&[event.as_str()])
            }
        }
    }

    fn observe(&self, out: &Output, plan: &Plan) {
        for event in ENGINE_COUNTERS {
            let n = out.counts.get(event);
            if n == 0 {
                continue;
            }
            self.of(event).inc_by(n);
        }
        for reason in InvalidSeries::ALL {
            let n = out.invalid_series[reason as usize];
            if n > 0 {
                self.decode.observe_invalid(reason, n);
            }
        }
        for (feature, error) in &out.feature_errors {
            let name = plan.ids.get(*feature as usize).map_or("", |id| id.name.as_ref());
            let counter = self.feature_errors.with_label_values(&[name, error.as_str()]);
            // What has just begun comes by itself, and senders are told of with their label.
            if counter.get() == 0 && !matches!(error, EvalError::JustBegun | EvalError::TwoSenders) {
                tracing::warn!(feature = name, "a feature has no value on some host: {}", error.advice());
            }
            counter.inc();
        }
        for OutOfBounds { host, feature, value } in &out.out_of_bounds {
            let name = plan.ids.get(usize::from(*feature)).map_or("", |id| id.name.as_ref());
            let counter = self.out_of_bounds.with_label_values(&[name]);
            if counter.get() == 0 {
                tracing::warn!(
                    feature = name,
                    host = host.name.as_ref(),
                    value,
                    "a value is out of its feature's bounds: it is missing from the row and not learnt; further ones are only \
                     counted, in outlierd_feature_values_out_of_bounds_total"
                );
            }
            counter.inc();
        }
    }
}
