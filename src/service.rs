//! The running service: every stage, wired from back to front since each needs the next one's queue.

mod advice;
mod matching;
mod reload;
mod scorers;
mod shadow;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use prometheus::{Gauge, Registry};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::config::{self, Config, Limit, Scale};
use crate::decode::Wanted;
use crate::engine::standardise::Constants;
use crate::engine::windows::WindowConfig;
use crate::engine::{EngineConfig, EngineLimits, ScoredFeature};
use crate::events::{self, Events};
use crate::expr::plan::{UP, UP_NAME};
use crate::expr::{FeatureSource, Plan, host_selector};
use crate::feedback::{self, Feedback};
use crate::http;
use crate::ingest::{Ingest, Intake};
use crate::model::batch::Batch;
use crate::model::bundle::Bundle;
use crate::model::decision::{Decision, Decisions, FeatureRule, Override, OwnLimit};
use crate::model::manifest::Manifest;
use crate::model::session::{Runtime, Session};
use crate::results::{FeatureInfo, Meta, Results, ShadowMeta};
use crate::scorer::judge::{Model, Models};
use crate::shard::{self, Shards};
use crate::silence::{Schedule, Silence, When};
use crate::silences::control::Silences;
use crate::silences::store::Store;
use crate::{clock, decode};

use matching::{add_from_preset, in_file, load_bundle, match_features};
use reload::Reloader;
use scorers::{Scorers, start_scorers};
pub use shadow::ShadowPlan;

/// How long requests in flight may take once the service stops.
const DRAIN_MS: u64 = 5_000;
/// How long shards and scorers may then take.
const JOIN: Duration = Duration::from_secs(3);
/// How long the push may then take for what is left. All together stay under the 10 s that supervisors give.
const FLUSH: Duration = Duration::from_millis(1_500);
/// Rows in a row over the limit that raise the flag, where neither the configuration nor the bundle says.
const FOR_ROWS: u32 = 3;
/// How often shards are told the time.
const TICK: Duration = Duration::from_secs(1);
/// Requests for a reload that may wait; all that wait are answered by one.
const RELOADS_WAITING: usize = 16;

/// Everything that a configuration and its bundle come to, checked against each other.
#[derive(Debug)]
pub struct Plans {
    /// What runs.
    pub config: Config,
    /// The model.
    pub bundle: Bundle,
    /// The compiled features.
    pub plan: Arc<Plan>,
    /// For each of the bundle's features the index of the configured one.
    pub scored: Vec<u16>,
    /// `--storage.path`: the folder for what survives a restart; nothing is written without it.
    pub storage: Option<PathBuf>,
    /// Our clock.
    pub now_ms: Clock,
    /// Changes to the detection for some hosts.
    overrides: Vec<Override>,
    /// The maintenance windows.
    maintenance: Vec<Arc<Silence>>,
    /// The model that scores beside and never flags.
    pub shadow: Option<ShadowPlan>,
}

impl Plans {
    /// Compiles the features, loads the bundle and matches the two.
    ///
    /// # Errors
    /// Every expression that is refused; a bundle that cannot be used, or that needs a feature that isn't configured.
    pub fn new(mut config: Config) -> anyhow::Result<Self> {
        let bundle = load_bundle(&config.model)?;
        add_from_preset(&mut config, &bundle);
        let shadow = config.shadow.clone().map(|shadow| Ok::<_, anyhow::Error>((load_bundle(&shadow)?, shadow)));
        let shadow = shadow.transpose()?;
        shadow.iter().for_each(|(bundle, _)| add_from_preset(&mut config, bundle));
        let sources: Vec<FeatureSource<'_>> =
            config.features.iter().map(|f| FeatureSource { name: &f.name, expr: &f.expr, at: &f.at }).collect();
        let plan = Plan::compile(&sources, config.ingest.lookback_ms).map_err(|errors| {
            let lines: Vec<String> = errors.into_iter().map(|error| in_file(error, &config).to_string()).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        })?;
        advice::check_ranges(&config, &plan)?;
        advice::keep_labels_that_are_read(&mut config, &plan);
        let scored = match_features(&config, &bundle)?;
        let shadow = shadow.map(|(bundle, model)| ShadowPlan::new(&config, bundle, model)).transpose()?;
        let overrides = overrides(&config, &scored)?;
        let maintenance = maintenance(&config)?;
        let (plan, storage, now_ms) = (Arc::new(plan), None, clock::now_ms as Clock);
        let plans = Self { config, bundle, plan, scored, overrides, maintenance, shadow, storage, now_ms };
        plans.check_shadows_step()?;
        Ok(plans)
    }

    /// What may not work as it was meant, and what to write instead.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        advice::warnings(&self.config, &self.plan, self.step_ms())
    }

    /// T.
    #[must_use]
    pub fn window(&self) -> usize {
        self.config.model.window.unwrap_or(self.bundle.manifest.window)
    }

    /// Distance of two rows.
    #[must_use]
    pub fn step_ms(&self) -> i64 {
        self.config.step_ms.unwrap_or(self.bundle.manifest.step_ms)
    }

    /// What decode keeps of a body, and into how many batches it splits it.
    ///
    /// # Errors
    /// As [`Wanted::new`].
    pub fn wanted(&self) -> anyhow::Result<Wanted> {
        let (config, names) = (&self.config, self.plan.metrics.iter().map(String::as_str));
        let wanted = Wanted::new(names, &config.identity.label, config.threads.shards, &config.limits)?;
        let is_up_read = self.plan.candidates(UP_NAME).next().is_some();
        let wanted = if is_up_read { wanted } else { wanted.beside_features(UP) };
        Ok(if self.plan.wants_every_metric() { wanted.all_names() } else { wanted })
    }

    /// Constants of the running statistics: the bundle's, as far as the configuration gives no others.
    #[must_use]
    pub fn statistics(&self) -> Constants {
        self.statistics_over(self.bundle.manifest.standardisation.clone())
    }

    /// `statistics` with what the configuration gives of them. A new model has none from another's bundle.
    #[must_use]
    pub fn statistics_over(&self, mut statistics: Constants) -> Constants {
        let overrides = &self.config.standardisation;
        for (target, given) in [
            (&mut statistics.memory_s, overrides.memory_s),
            (&mut statistics.warmup_s, overrides.warmup_s),
            (&mut statistics.floor, overrides.floor),
            (&mut statistics.takeover_hold_s, overrides.takeover_hold_s),
        ] {
            *target = given.unwrap_or(*target);
        }
        statistics
    }

    /// What each shard's engine is built with.
    #[must_use]
    pub fn engine(&self) -> EngineConfig {
        let config = &self.config;
        let limits = &config.limits;
        let shadow = self.shadow.as_ref();
        EngineConfig {
            plan: Arc::clone(&self.plan),
            bounds: config.features.iter().map(|feature| feature.bounds).collect(),
            identity: config.identity.label.clone(),
            drop: config.identity.drop.clone(),
            keep: config.identity.keep.clone(),
            step_ms: self.step_ms(),
            interval_ms: config.ingest.interval_ms,
            lateness_ms: config.ingest.lateness_ms,
            max_lag_ms: config.detection.max_lag_ms,
            silences: self.maintenance.clone(),
            windows: self.windows(&self.bundle, &self.scored, self.window()),
            shadow: shadow.map(|shadow| self.windows(&shadow.bundle, &shadow.scored, shadow.window)),
            limits: EngineLimits {
                hosts: limits.hosts.div_ceil(config.threads.shards),
                series_per_host: limits.series_per_host,
                frames_per_host: limits.frames_per_host,
                samples_per_host: limits.samples_per_host,
                labels: decode::LabelLimits::from(limits),
                series_label_bytes: limits.series_label_bytes,
                host_idle_ms: limits.host_idle_ms,
            },
        }
    }

    /// What windows of `bundle` are made with.
    fn windows(&self, bundle: &Bundle, scored: &[u16], window_rows: usize) -> WindowConfig {
        let (config, manifest) = (&self.config, &bundle.manifest);
        let feature = |&feature: &u16| ScoredFeature { feature, floor: config.features[feature as usize].floor };
        WindowConfig {
            window_rows,
            scored: scored.iter().map(feature).collect(),
            input_clip: manifest.input_clip,
            target_clip: manifest.target_clip,
            statistics: self.statistics_over(manifest.standardisation.clone()).in_rows(self.step_ms()),
            max_missing: config.detection.max_missing,
        }
    }

    /// The models of one scoring thread.
    ///
    /// # Errors
    /// ONNX Runtime cannot run a bundle, or its graph is not what its manifest says.
    pub fn models(&self, runtime: &Runtime) -> anyhow::Result<Models> {
        let model = |bundle: &Bundle, window: usize, decisions: Decisions| {
            let features: Vec<String> = bundle.manifest.features.iter().map(|f| f.name.clone()).collect();
            let batch = Batch::new(Session::open(runtime, bundle, window)?, window, features.len());
            anyhow::Ok(Model { batch, decisions, features, bundle: bundle.id() })
        };
        let shadow = self.shadow.as_ref().map(|shadow| {
            let decisions = self.decisions_of(&shadow.bundle, (shadow.window, &shadow.scored), &shadow.overrides);
            model(&shadow.bundle, shadow.window, decisions)
        });
        Ok(Models { live: model(&self.bundle, self.window(), self.decisions())?, shadow: shadow.transpose()? })
    }

    /// How errors become a flag, by host.
    #[must_use]
    pub fn decisions(&self) -> Decisions {
        self.decisions_of(&self.bundle, (self.window(), &self.scored), &self.overrides)
    }

    fn decisions_of(&self, bundle: &Bundle, (window, scored): (usize, &[u16]), overrides: &[Override]) -> Decisions {
        let base = decision(&self.config.detection, &bundle.manifest, window, self.step_ms());
        let rule = |feature: &u16| FeatureRule::default().with(&self.config.features[usize::from(*feature)].rule);
        let rules: Vec<FeatureRule> = scored.iter().map(rule).collect();
        let all_count = rules.iter().all(|rule| *rule == FeatureRule::default());
        let rules = if all_count { Arc::default() } else { rules.into() };
        Decisions::new(Decision { rules, ..base }, overrides.to_vec())
    }

    /// What readers of the results are told.
    #[must_use]
    pub fn meta(&self) -> Meta {
        let config = &self.config;
        let feature = |f: &crate::config::Feature| FeatureInfo {
            name: f.name.clone(),
            expr: f.expr.clone(),
            unit: f.unit.clone(),
            help: f.help.clone(),
        };
        Meta {
            features: config.features.iter().map(feature).collect(),
            selectors: self.plan.leaves.iter().map(|leaf| leaf.selector.to_string()).collect(),
            scored: self.scored.iter().map(|&i| usize::from(i)).collect(),
            model_alias: config.model.alias.clone(),
            bundle: self.bundle.id(),
            shadow: self.shadow.as_ref().map(|shadow| ShadowMeta {
                alias: shadow.alias.clone(),
                bundle: shadow.bundle.id(),
                scored: shadow.scored.iter().map(|&i| usize::from(i)).collect(),
            }),
            window: self.window(),
            step_ms: self.step_ms(),
            min_history_ms: config.detection.min_history_ms,
            stale_after_ms: config.detection.stale_after_ms,
            max_lag_ms: config.detection.max_lag_ms,
        }
    }
}

/// How errors become a flag, as the configuration has it and else the bundle, for windows of `window` rows `step_ms` apart.
#[must_use]
pub fn decision(detection: &config::Detection, manifest: &Manifest, window: usize, step_ms: i64) -> Decision {
    let bundle = &manifest.detection;
    let (limit, own_limit) = match detection.limit {
        None => (bundle.limit, None),
        Some(Limit::Fixed(limit)) => (limit, None),
        Some(Limit::Auto) => (bundle.limit, Some(OwnLimit::around(bundle.limit))),
    };
    Decision {
        limit,
        own_limit,
        smoothing_rows: detection.smoothing_rows.unwrap_or(bundle.smoothing_rows),
        short_smoothing_rows: bundle.short_smoothing_rows.unwrap_or(f64::INFINITY),
        short_weight: bundle.short_weight.unwrap_or(1.0),
        residual: match detection.scale {
            None => bundle.residual.clone(),
            Some(Scale::Residual) => Some(bundle.residual.clone().unwrap_or_default()),
            Some(Scale::None) => None,
        },
        for_rows: detection.for_rows.or(bundle.for_rows).unwrap_or(FOR_ROWS),
        clear: detection.clear,
        step_ms,
        reset_after_ms: window as i64 * step_ms,
        feedback: 1.0,
        rules: Arc::default(),
    }
}

/// The overrides, with features by their place in the bundle.
fn overrides(config: &Config, scored: &[u16]) -> anyhow::Result<Vec<Override>> {
    let of_feature = |(name, rule): &(String, config::Rule)| {
        let column = config.features.iter().position(|feature| feature.name == *name);
        let column = column.with_context(|| format!("`overrides` names `{name}`, which is no feature"))?;
        // What the bundle doesn't score raises no flag anyway.
        let place = scored.iter().position(|scored| usize::from(*scored) == column);
        Ok(place.map(|place| (place, *rule)))
    };
    let one = |written: &config::Override| {
        let features: anyhow::Result<Vec<_>> = written.features.iter().map(of_feature).collect();
        Ok(Override {
            hosts: host_selector(&written.hosts).map_err(anyhow::Error::msg)?,
            limit: written.limit,
            for_rows: written.for_rows,
            clear: written.clear,
            features: features?.into_iter().flatten().collect(),
        })
    };
    config.overrides.iter().map(one).collect()
}

fn maintenance(config: &Config) -> anyhow::Result<Vec<Arc<Silence>>> {
    let one = |written: &config::Maintenance| {
        let schedule = Schedule::parse(&written.schedule).map_err(anyhow::Error::msg)?;
        Ok(Arc::new(Silence {
            name: written.name.as_str().into(),
            hosts: host_selector(&written.hosts).map_err(anyhow::Error::msg)?,
            when: When::Each(schedule, written.duration_ms),
        }))
    };
    config.maintenance.iter().map(one).collect()
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    shards: Shards,
    /// Set to stop everything that waits for it.
    stop: watch::Sender<bool>,
    /// What `/-/ready` says.
    ready: Arc<AtomicBool>,
    server: tokio::task::JoinHandle<()>,
    ticker: tokio::task::JoinHandle<()>,
    reloader: tokio::task::JoinHandle<()>,
    /// Asks for a reload.
    reloads: mpsc::Sender<http::ReloadRequest>,
    /// Shards, then scorers, then what stores events: the order in which they end.
    threads: Vec<JoinHandle<()>>,
    /// Where results are pushed; ends after the scorers.
    push: reload::PushCell,
    /// Who tells others of events.
    webhook: reload::WebhookCell,
}

impl Service {
    /// Starts every stage and serves on `listener`. `runtime` is `--onnxruntime.path`.
    ///
    /// # Errors
    /// ONNX Runtime or the bundle cannot be used, or a thread cannot be started.
    pub fn start(plans: &Plans, listener: TcpListener, runtime: Option<&Path>) -> anyhow::Result<Self> {
        let runtime = Runtime::load(runtime)?;
        tracing::info!(library = %runtime.library.display(), "loaded ONNX Runtime");
        let config = &plans.config;
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let results = Arc::new(Results::new(Arc::new(plans.meta())));

        let (events, events_thread) = start_events(plans, &registry)?;
        let feedback = Arc::new(Feedback::open(plans.storage.as_deref(), feedback_bounds(config), &registry)?);
        let (webhooks, webhook) = start_webhook(config, &registry, &events)?;
        let mut pushes = reload::Pushes::new(registry.clone());
        let push = config.push.as_ref().map(|push| pushes.start(push, results.table().meta())).transpose()?;
        let Scorers { queues, senders, threads: scorer_threads } =
            start_scorers(plans, runtime, (&results, &events, &feedback), &registry, push.as_ref())?;
        let push = Arc::new(Mutex::new(push));
        let decode_metrics = Arc::new(decode::Metrics::new(&registry)?);
        let shard_metrics = Arc::new(shard::Metrics::new(&registry, Arc::clone(&decode_metrics))?);
        let store = open_store(plans);
        let engine = EngineConfig { silences: store.in_force().0.to_vec(), ..plans.engine() };
        let wait = Duration::from_millis(config.limits.queue_wait_ms);
        let (shards, mut threads) =
            Shards::start(&engine, queues, config.limits.shard_queue, wait, &results, &shard_metrics)?;
        threads.extend(scorer_threads);
        threads.extend(events_thread);

        let intake = Intake { wanted: plans.wanted()?, bounds: config.ingest.clone() };
        let ingest = Arc::new(Ingest::new(intake, shards.clone(), decode_metrics).with_clock(plans.now_ms));
        let silences = Silences::new(store, shards.clone());
        let (reloads, reload_requests) = mpsc::channel(RELOADS_WAITING);
        let reloader = Reloader {
            running: Arc::new(config.clone()),
            step_ms: plans.step_ms(),
            runtime,
            shards: shards.clone(),
            scorers: senders,
            results: Arc::clone(&results),
            ingest: Arc::clone(&ingest),
            silences: silences.clone(),
            events: Arc::clone(&events),
            metrics: reload::Metrics::new(&registry)?,
            pushes,
            webhooks,
            webhook: Arc::clone(&webhook),
            push: Arc::clone(&push),
        };
        let lag = lag_gauge(&registry)?;
        let ready = Arc::new(AtomicBool::new(false));
        let deps = http::Deps {
            silences,
            results: Arc::clone(&results),
            events: Arc::clone(&events),
            feedback,
            ingest: Arc::clone(&ingest),
            registry,
            ready: Arc::clone(&ready),
            now_ms: plans.now_ms,
            write: move |body: bytes::Bytes, encoding| {
                let ingest = Arc::clone(&ingest);
                async move { ingest.write(&body, encoding).await }
            },
            limits: config.limits.clone(),
            metrics: config.metrics.clone(),
            reload: Some(reloads.clone()),
        };
        let routes = http::routes(deps)?;
        let (stop, stopped) = watch::channel(false);
        let connections = config.limits.connections;
        let server = tokio::spawn(serve(listener, routes, connections, stopped.clone()));
        let ticker = tokio::spawn(tick(shards.clone(), results, events, lag, (plans.now_ms, stopped.clone())));
        let reloader = tokio::spawn(reloader.run(reload_requests, until(stopped)));
        ready.store(true, Ordering::Release);
        Ok(Self { shards, stop, ready, server, ticker, reloader, reloads, threads, push, webhook })
    }

    /// Asks for a reload, and doesn't wait for it: the log and the metrics tell what came of it.
    pub fn reload(&self) {
        // Where no more may wait, one that waits will read what is there now.
        drop(self.reloads.try_send(oneshot::channel().0));
    }

    /// Returns when all samples answered so far are in the results, scored.
    pub async fn settle(&self) {
        self.shards.settle().await;
    }

    /// Returns when a thread has ended, which none does by itself: it panicked, and what it owned is lost.
    pub async fn failed(&self) {
        let mut interval = tokio::time::interval(TICK);
        while !self.threads.iter().any(JoinHandle::is_finished) {
            interval.tick().await;
        }
        self.ready.store(false, Ordering::Release);
    }

    /// Stops front to back: no new requests, then the shards, then the scorers, each after finishing what it has.
    ///
    /// # Errors
    /// A stage panicked, which is a bug, or has not finished after `JOIN`.
    pub async fn stop(self) -> anyhow::Result<()> {
        let started = clock::monotonic();
        self.ready.store(false, Ordering::Release);
        self.stop.send_replace(true);
        self.server.await.context("the server failed")?;
        self.ticker.await.context("the ticker failed")?;
        self.reloader.await.context("the reloader failed")?;
        tracing::info!(after_ms = started.elapsed().as_millis() as u64, "requests are done");
        let webhook = self.webhook.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(webhook) = webhook {
            webhook.stop().await;
        }
        // The last senders go here: each thread ends when nobody can send to it any more.
        drop(self.shards);
        let threads = self.threads;
        let join = move || threads.into_iter().try_for_each(|thread| thread.join());
        let joined = tokio::time::timeout(JOIN, tokio::task::spawn_blocking(join));
        let joined = joined.await.context("shards and scorers did not finish what they had")??;
        tracing::info!(after_ms = started.elapsed().as_millis() as u64, "shards and scorers are done");
        let push = self.push.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(push) = push {
            push.stop(FLUSH).await;
            tracing::info!(after_ms = started.elapsed().as_millis() as u64, "the push is done");
        }
        joined.map_err(|_| anyhow::anyhow!("a thread panicked"))
    }
}

/// What starts webhooks, and the first one, where there is one.
fn start_webhook(
    config: &Config,
    registry: &Registry,
    events: &Arc<Events>,
) -> anyhow::Result<(reload::Webhooks, reload::WebhookCell)> {
    let mut webhooks = reload::Webhooks::new(registry.clone(), Arc::clone(events));
    let webhook = config.webhook.as_ref().map(|webhook| webhooks.start(webhook)).transpose()?;
    Ok((webhooks, Arc::new(Mutex::new(webhook))))
}

/// The silences that were asked for, beside the maintenance windows.
fn open_store(plans: &Plans) -> Store {
    let (config, maintenance) = (&plans.config, plans.maintenance.clone());
    Store::open(plans.storage.as_deref(), maintenance, config.identity.host_labels(), config.limits.silences)
}

fn lag_gauge(registry: &Registry) -> prometheus::Result<Gauge> {
    let help = "How long after their time the newest samples came, of the host where that is most.";
    let lag = Gauge::new("outlierd_ingest_lag_seconds", help)?;
    registry.register(Box::new(lag.clone()))?;
    Ok(lag)
}

/// How far what people say may move a limit.
fn feedback_bounds(config: &Config) -> feedback::Bounds {
    let config::Feedback { step, min, max } = config.feedback;
    feedback::Bounds { step, min, max, opinions: config.limits.feedback }
}

/// The events, and the thread that stores them where there is storage.
fn start_events(plans: &Plans, registry: &Registry) -> anyhow::Result<(Arc<Events>, Option<JoinHandle<()>>)> {
    let config = &plans.config;
    let bounds = events::Bounds {
        merge_ms: config.detection.merge_ms,
        events: config.limits.events,
        log_bytes: config.limits.event_log_bytes as u64,
    };
    let Some(dir) = &plans.storage else { return Ok((Arc::new(Events::new(&bounds, registry)?), None)) };
    let (events, thread) = Events::stored(&bounds, registry, dir, (plans.now_ms)())?;
    Ok((Arc::new(events), Some(thread)))
}

async fn serve(listener: TcpListener, routes: http::Routes, connections: usize, stopped: watch::Receiver<bool>) {
    http::serve(listener, routes, connections, until(stopped), DRAIN_MS).await;
}

async fn tick(
    shards: Shards,
    results: Arc<Results>,
    events: Arc<Events>,
    lag: Gauge,
    (now_ms, stopped): (Clock, watch::Receiver<bool>),
) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stopped = std::pin::pin!(until(stopped));
    loop {
        tokio::select! {
            _ = interval.tick() => {
                shards.tick(now_ms());
                events.sweep(&results, now_ms());
                lag.set(results.table().lag_ms(now_ms()) as f64 / 1_000.0);
            }
            () = &mut stopped => return,
        }
    }
}

/// Resolves once the service stops.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the service is gone, which is a stop too.
    drop(stopped.wait_for(|stopped| *stopped).await);
}
