//! Another configuration for the running service: read, checked and loaded aside, then handed to every stage while all wait.
//!
//! Whatever can fail does so before anything is touched; after that nothing can. While the shards wait, everything that came
//! before is scored and in the results, so that no row meets a model that it was not made for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crossbeam_channel::Sender;
use prometheus::{Gauge, IntGauge, Registry};
use tokio::sync::mpsc;

use crate::base::clock;
use crate::config::push::Push;
use crate::config::webhook::Webhook;
use crate::config::{self, Config};
use crate::decode::Wanted;
use crate::detect::host_detector::Models;
use crate::engine::EngineConfig;
use crate::model::session::Runtime;
use crate::output::push::{self, Pusher};
use crate::output::webhook::{self, Notifier};
use crate::results::events::Events;
use crate::results::{ResultSchema, Results};
use crate::serve::http::ReloadRequest;
use crate::serve::ingest::{Ingest, Intake};
use crate::serve::scorer::{Message, NewModels};
use crate::serve::shard::{Paused, Shards};
use crate::serve::silences::Silences;
use crate::setup::Setup;

/// How long a push that was replaced may take for what it still has.
const OLD_PUSH: Duration = Duration::from_secs(60);

/// Reloads when it is asked to.
pub(super) struct Reloader {
    /// The configuration that runs.
    pub(super) running: Arc<Config>,
    /// Its distance of two rows.
    pub(super) step_ms: i64,
    pub(super) runtime: &'static Runtime,
    pub(super) shards: Shards,
    /// The queues of the scoring threads.
    pub(super) scorers: Vec<Sender<Message>>,
    pub(super) results: Arc<Results>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) silences: Silences,
    pub(super) events: Arc<Events>,
    pub(super) metrics: Metrics,
    pub(super) pushes: Pushes,
    pub(super) push: PushCell,
    pub(super) webhooks: Webhooks,
    pub(super) webhook: WebhookCell,
}

/// Where the results are pushed now, if anywhere.
pub(super) type PushCell = Arc<Mutex<Option<Pusher>>>;

/// Who is told of events now, if anybody.
pub(super) type WebhookCell = Arc<Mutex<Option<Notifier>>>;

/// Starts webhooks one after the other; their counters go on.
pub(super) struct Webhooks {
    registry: Registry,
    events: Arc<Events>,
    /// Registered by the first.
    metrics: Option<webhook::Metrics>,
}

impl Webhooks {
    pub(super) fn new(registry: Registry, events: Arc<Events>) -> Self {
        Self { registry, events, metrics: None }
    }

    /// Starts one. It tells of every event that is open; alerts that an earlier one sent elsewhere end by themselves.
    ///
    /// # Errors
    /// As [`Notifier::start`].
    pub(super) fn start(&mut self, webhook: &Webhook) -> anyhow::Result<Notifier> {
        let metrics = match &self.metrics {
            Some(metrics) => metrics.clone(),
            None => webhook::Metrics::new(&self.registry)?,
        };
        self.metrics = Some(metrics.clone());
        Notifier::start(webhook, Arc::clone(&self.events), metrics, clock::now_ms().unsigned_abs())
    }
}

/// Starts pushes one after the other; their counters go on.
#[derive(Clone)]
pub(super) struct Pushes {
    registry: Registry,
    /// Registered by the first.
    metrics: Option<push::metrics::Metrics>,
}

impl Pushes {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, metrics: None }
    }

    /// Starts one.
    ///
    /// # Errors
    /// As [`Pusher::start`].
    pub(super) fn start(&mut self, push: &Push, meta: &ResultSchema) -> anyhow::Result<Pusher> {
        let metrics = match &self.metrics {
            Some(metrics) => metrics.clone(),
            None => push::metrics::Metrics::new(&self.registry)?,
        };
        self.metrics = Some(metrics.clone());
        Pusher::start(push, meta, metrics, clock::now_ms().unsigned_abs())
    }
}

/// A configuration with all that it needs.
struct Prepared {
    setup: Setup,
    wanted: Wanted,
    /// One per scoring thread.
    models: Vec<Models>,
    meta: ResultSchema,
    /// Where results are pushed; as before where `None`.
    push: Option<Option<Pusher>>,
}

impl Reloader {
    /// Answers requests until `stopped`. All that wait are answered by one reload, so a storm of signals costs two.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<ReloadRequest>, stopped: impl Future<Output = ()>) {
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                n = requests.recv_many(&mut waiting, super::RELOADS_WAITING) => if n == 0 { return },
                () = &mut stopped => return,
            }
            let done = tokio::select! {
                done = self.reload() => done.map_err(|error| format!("{error:#}")),
                () = &mut stopped => return,
            };
            self.metrics.observe(done.is_ok());
            match &done {
                Ok(()) => tracing::info!("reloaded the configuration"),
                Err(error) => {
                    tracing::error!(
                        error,
                        "cannot reload, the old configuration stays; mend the file and reload again"
                    );
                }
            }
            for request in waiting {
                // Whoever sent a signal doesn't wait for the answer.
                request.send(done.clone()).ok();
            }
        }
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let (running, runtime, n) = (Arc::clone(&self.running), self.runtime, self.scorers.len());
        let prepared = tokio::task::spawn_blocking(move || prepare(&running, runtime, n)).await;
        let mut prepared = prepared.context("the configuration could not be read")??;
        prepared.push = self.new_push(&prepared)?;
        if prepared.setup.step_ms() != self.step_ms {
            tracing::warn!("`step` has changed: windows and statistics of every host start over");
        }
        let new_webhook = self.new_webhook(&prepared)?;
        (self.running, self.step_ms) = self.hand_over(prepared).await?;
        if let Some(new) = new_webhook {
            let old = std::mem::replace(&mut *self.webhook.lock().unwrap_or_else(PoisonError::into_inner), new);
            if let Some(old) = old {
                old.stop().await;
            }
        }
        Ok(())
    }

    /// The push of the new configuration, where it sends elsewhere or other series.
    fn new_push(&mut self, prepared: &Prepared) -> anyhow::Result<Option<Option<Pusher>>> {
        let (table, new) = (self.results.table(), &prepared.meta);
        let old = table.meta();
        let is_same_meta =
            old.features == new.features && old.scored == new.scored && old.model_alias == new.model_alias;
        let push = prepared.setup.config.push.as_ref();
        if push == self.running.push.as_ref() && (push.is_none() || is_same_meta) {
            return Ok(None);
        }
        Ok(Some(push.map(|push| self.pushes.start(push, new)).transpose()?))
    }

    /// The webhook of the new configuration, where it is another.
    fn new_webhook(&mut self, prepared: &Prepared) -> anyhow::Result<Option<Option<Notifier>>> {
        let webhook = prepared.setup.config.webhook.as_ref();
        if webhook == self.running.webhook.as_ref() {
            return Ok(None);
        }
        Ok(Some(webhook.map(|webhook| self.webhooks.start(webhook)).transpose()?))
    }

    /// Gives what is prepared to every stage. Gives back what runs then.
    async fn hand_over(&self, prepared: Prepared) -> anyhow::Result<(Arc<Config>, i64)> {
        let paused = self.shards.pause().await;
        let Ok(paused) = paused else { bail!("a thread of the service is gone: restart it") };
        let stages = Stages {
            results: Arc::clone(&self.results),
            ingest: Arc::clone(&self.ingest),
            scorers: self.scorers.clone(),
            silences: self.silences.clone(),
            events: Arc::clone(&self.events),
            push: Arc::clone(&self.push),
        };
        // To its end, even if the service stops meanwhile.
        let applied = tokio::task::spawn_blocking(move || stages.apply(prepared, paused));
        let (running, old_push) = applied.await.context("the new configuration could not be applied")?;
        if let Some(old) = old_push {
            // What it still has is sent beside what comes next.
            tokio::spawn(old.stop(OLD_PUSH));
        }
        // They know; this is for what was asked for meanwhile.
        self.silences.tell().await;
        Ok(running)
    }
}

/// The configuration in the file of the running one, checked against it and loaded.
fn prepare(running: &Config, runtime: &Runtime, n_scorers: usize) -> anyhow::Result<Prepared> {
    let file = running.file.as_deref();
    let file: &Path = file.context("it runs without a configuration file: start it with --config.file to have one")?;
    let config = config::load(file)?;
    let setup = Setup::new(config)?;
    check_fixed(running, &setup.config)?;
    setup.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let models = (0..n_scorers).map(|_| setup.models(runtime)).collect::<anyhow::Result<_>>()?;
    Ok(Prepared { wanted: setup.wanted()?, meta: setup.meta(), setup, models, push: None })
}

/// Holds `new` to what cannot change while the service runs.
fn check_fixed(running: &Config, new: &Config) -> anyhow::Result<()> {
    let (a, b) = (&running.limits, &new.limits);
    let (before, after) = (&running.identity, &new.identity);
    // Nobody has touched the key: a feature reads a label of it now, or none does any more.
    let is_by_features = before.is_drop_default && after.is_drop_default;
    let fixed = [
        ("identity.label", before.label == after.label),
        ("identity.keep", before.keep == after.keep),
        ("identity.drop", is_by_features || before.drop == after.drop),
        (
            "the default of identity.drop, less the labels that features read,",
            !is_by_features || before.drop == after.drop,
        ),
        ("threads.shards", running.threads.shards == new.threads.shards),
        ("threads.scorers", running.threads.scorers == new.threads.scorers),
        ("limits.body", a.body_bytes == b.body_bytes),
        ("limits.concurrent_requests", a.concurrent_requests == b.concurrent_requests),
        ("limits.queue_wait", a.queue_wait_ms == b.queue_wait_ms),
        ("limits.connections", a.connections == b.connections),
        ("limits.shard_queue", a.shard_queue == b.shard_queue),
        ("limits.scorer_queue", a.scorer_queue == b.scorer_queue),
        ("limits.silences", a.silences == b.silences),
        ("limits.events", a.events == b.events),
        ("limits.event_log", a.event_log_bytes == b.event_log_bytes),
        ("limits.feedback", a.feedback == b.feedback),
        ("feedback", running.feedback == new.feedback),
        ("metrics", running.metrics == new.metrics),
    ];
    let changed: Vec<String> = fixed.iter().filter(|(_, same)| !same).map(|(key, _)| quoted(key)).collect();
    ensure!(
        changed.is_empty(),
        "{} cannot change while it runs: restart outlierd, or take the change back",
        changed.join(", ")
    );
    Ok(())
}

fn quoted(key: &str) -> String {
    if key.contains(' ') { key.to_owned() } else { format!("`{key}`") }
}

/// What is told of a new configuration.
struct Stages {
    results: Arc<Results>,
    ingest: Arc<Ingest>,
    scorers: Vec<Sender<Message>>,
    silences: Silences,
    events: Arc<Events>,
    push: PushCell,
}

impl Stages {
    /// Lets all run with what is prepared. Nothing here can fail, and nobody else writes meanwhile. Gives what runs now, and the push
    /// that was replaced.
    fn apply(self, prepared: Prepared, paused: Paused) -> ((Arc<Config>, i64), Option<Pusher>) {
        let Prepared { setup, wanted, models, meta, push: new_push } = prepared;
        self.results.reconfigure(Arc::new(meta));
        for (scorer, models) in self.scorers.into_iter().zip(models) {
            let outbox = new_push.as_ref().map(|push| push.as_ref().map(Pusher::outbox));
            // Before any shard goes on. An error means that the thread is gone, which its end tells.
            scorer.send(Message::Reconfigure(Box::new(NewModels { models, outbox }))).ok();
        }
        let old_push = new_push.and_then(|new| {
            let mut push = self.push.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *push, new)
        });
        self.ingest.reconfigure(Intake { wanted, bounds: setup.config.ingest.clone() });
        self.events.set_merge(setup.config.detection.merge_ms);
        let silences = self.silences.set_maintenance(setup.maintenance.clone());
        paused.resume(&EngineConfig { silences, ..setup.engine() });
        let step_ms = setup.step_ms();
        ((Arc::new(setup.config), step_ms), old_push)
    }
}

/// How the last reload went, named as Prometheus names it.
pub(super) struct Metrics {
    successful: IntGauge,
    succeeded_at: Gauge,
}

impl Metrics {
    /// Registers them; the start counts as a reload.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            successful: IntGauge::new(
                "outlierd_config_last_reload_successful",
                "1 where the last reload of the configuration succeeded.",
            )?,
            succeeded_at: Gauge::new(
                "outlierd_config_last_reload_success_timestamp_seconds",
                "When the configuration was last loaded.",
            )?,
        };
        registry.register(Box::new(metrics.successful.clone()))?;
        registry.register(Box::new(metrics.succeeded_at.clone()))?;
        metrics.observe(true);
        Ok(metrics)
    }

    fn observe(&self, is_successful: bool) {
        self.successful.set(i64::from(is_successful));
        if is_successful {
            self.succeeded_at.set(clock::now_ms() as f64 / 1_000.0);
        }
    }
}
