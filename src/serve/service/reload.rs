//! Another configuration for the running service: read, checked and loaded aside, then handed to every stage while all wait.
//!
//! Whatever can fail does so before anything is touched; after that nothing can. While the shards wait, everything that came
//! before is scored and in the results, so that no row meets a model that it was not made for.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use prometheus::{Gauge, IntGauge, Registry};
use tokio::sync::mpsc;

use super::stages::Stages;
use crate::base::clock::Clock;
use crate::config::{self, Config};
use crate::detect::host_detector::Models;
use crate::model::session::Runtime;
use crate::serve::http::ReloadRequest;
use crate::serve::shard::{Resume, Shards};
use crate::setup::{Environment, Setup};

/// Reloads when it is asked to.
pub(super) struct Reloader {
    pub(super) running: Arc<Running>,
    pub(super) runtime: &'static Runtime,
    pub(super) shards: Shards,
    pub(super) stages: Stages,
    pub(super) metrics: Metrics,
}

/// Part of the running setup that is kept, to hold the next one to.
pub(super) struct Running {
    config: Config,
    environment: Environment,
    step_ms: i64,
}

impl Running {
    pub(super) fn new(setup: &Setup) -> Self {
        let (config, environment) = (setup.config.clone(), setup.environment.clone());
        Self { config, environment, step_ms: setup.step_ms() }
    }
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
        let (running, runtime, n) = (Arc::clone(&self.running), self.runtime, self.stages.scorers.len());
        let prepared = tokio::task::spawn_blocking(move || prepare(&running, runtime, n)).await;
        let (setup, models) = prepared.context("the configuration could not be read")??;
        let changes = self.stages.prepare(&self.running.config, &setup, models)?;
        if setup.step_ms() != self.running.step_ms {
            tracing::warn!("`step` has changed: windows and statistics of every host start over");
        }
        let Ok(paused) = self.shards.pause().await else { bail!("a thread of the service is gone: restart it") };
        let (engine, silences) = (setup.engine(), self.stages.silences.clone());
        let apply = move || {
            changes.into_iter().for_each(|change| change());
            paused.resume(&Resume { engine, silences: silences.in_force() });
        };
        // To its end, even if the service stops meanwhile.
        tokio::task::spawn_blocking(apply).await.context("the new configuration could not be applied")?;
        self.running = Arc::new(Running::new(&setup));
        // They know; this is for what was asked for meanwhile.
        self.stages.silences.tell().await;
        Ok(())
    }
}

/// The configuration in the file of the running one, checked against it and loaded, with the models of `n_scorers` threads.
fn prepare(running: &Running, runtime: &Runtime, n_scorers: usize) -> anyhow::Result<(Setup, Vec<Models>)> {
    let file = running.config.file.as_deref();
    let file: &Path = file.context("it runs without a configuration file: start it with --config.file to have one")?;
    let setup = Setup::in_environment(config::load(file)?, running.environment.clone())?;
    check_fixed(&running.config, &setup.config)?;
    setup.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let models = (0..n_scorers).map(|_| setup.models(runtime)).collect::<anyhow::Result<_>>()?;
    Ok((setup, models))
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

/// Outcome of the last reload, named as Prometheus names it.
pub(super) struct Metrics {
    successful: IntGauge,
    succeeded_at: Gauge,
    clock: Clock,
}

impl Metrics {
    /// Registers them; the start counts as a reload.
    pub(super) fn new(registry: &Registry, clock: Clock) -> prometheus::Result<Self> {
        let metrics = Self {
            successful: IntGauge::new(
                "outlierd_config_last_reload_successful",
                "1 where the last reload of the configuration succeeded.",
            )?,
            succeeded_at: Gauge::new(
                "outlierd_config_last_reload_success_timestamp_seconds",
                "When the configuration was last loaded.",
            )?,
            clock,
        };
        registry.register(Box::new(metrics.successful.clone()))?;
        registry.register(Box::new(metrics.succeeded_at.clone()))?;
        metrics.observe(true);
        Ok(metrics)
    }

    fn observe(&self, is_successful: bool) {
        self.successful.set(i64::from(is_successful));
        if is_successful {
            self.succeeded_at.set(self.clock.now_ms() as f64 / 1_000.0);
        }
    }
}
