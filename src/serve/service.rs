//! The running service: every stage, wired from back to front since each needs the next one's queue.

mod reload;
mod scorers;
mod stages;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use prometheus::{Gauge, Registry};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::clock::{self, Clock};
use crate::config::{self, Config};
use crate::decode;
use crate::model::session::Runtime;
use crate::results::Results;
use crate::results::events::{self, Events};
use crate::results::feedback::{self, Feedback};
use crate::results::silences::Store;
use crate::serve::http;
use crate::serve::ingest::{Ingest, Intake};
use crate::serve::shard::{self, Resume, Shards};
use crate::serve::silences::Silences;
use crate::setup::{Environment, Setup};

use reload::{Reloader, Running};
use scorers::{Scorers, start_scorers};
use stages::{PushCell, Pushes, Stages, WebhookCell, Webhooks};

/// Time that requests in flight may take once the service stops.
const DRAIN_MS: u64 = 5_000;
/// Time that shards and scorers may then take.
const JOIN: Duration = Duration::from_secs(3);
/// Time that the push may then take for what is left. All together stay under the 10 s that supervisors give.
const FLUSH: Duration = Duration::from_millis(1_500);
/// Interval at which shards are told the time.
const TICK: Duration = Duration::from_secs(1);
/// Requests for a reload that may wait; all that wait are answered by one.
const RELOADS_WAITING: usize = 16;

/// A running service.
#[derive(Debug)]
pub struct Service {
    shards: Shards,
    ticker: Ticker,
    /// Set to stop everything that waits for it.
    stop: watch::Sender<bool>,
    /// Readiness, as `/-/ready` says it.
    ready: Arc<AtomicBool>,
    server: tokio::task::JoinHandle<()>,
    ticking: tokio::task::JoinHandle<()>,
    reloader: tokio::task::JoinHandle<()>,
    /// Asks for a reload.
    reloads: mpsc::Sender<http::ReloadRequest>,
    /// Shards, then scorers, then what stores events: the order in which they end.
    threads: Vec<JoinHandle<()>>,
    /// Push of the results; ends after the scorers.
    push: PushCell,
    /// Webhook that tells others of events.
    webhook: WebhookCell,
}

impl Service {
    /// Starts every stage and serves on `listener`. `runtime` is `--onnxruntime.path`.
    ///
    /// # Errors
    /// ONNX Runtime or the bundle cannot be used, or a thread cannot be started.
    pub fn start(setup: &Setup, listener: TcpListener, runtime: Option<&Path>) -> anyhow::Result<Self> {
        let runtime = Runtime::load(runtime)?;
        tracing::info!(library = %runtime.library.display(), "loaded ONNX Runtime");
        let (config, Environment { storage, clock }) = (&setup.config, &setup.environment);
        let registry = Registry::new();
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let results = Arc::new(Results::new(Arc::new(setup.schema())));

        let (events, events_thread) = start_events(setup, &registry)?;
        let feedback = Arc::new(Feedback::open(storage.as_deref(), feedback_bounds(config), &registry)?);
        let (webhooks, webhook) = start_webhook(setup, &registry, &events)?;
        let mut pushes = Pushes::new(registry.clone(), clock.clone());
        let push = config.push.as_ref().map(|push| pushes.start(push, results.table().schema())).transpose()?;
        let Scorers { queues, senders, threads: scorer_threads } =
            start_scorers(setup, runtime, &results, &events, &feedback, &registry, push.as_ref())?;
        let push = Arc::new(Mutex::new(push));
        let decode_metrics = Arc::new(decode::Metrics::new(&registry)?);
        let shard_metrics = Arc::new(shard::Metrics::new(&registry, Arc::clone(&decode_metrics))?);
        let store = open_store(setup);
        let begin = Resume { engine: setup.engine(), silences: store.in_force() };
        let wait = Duration::from_millis(config.limits.queue_wait_ms);
        let (shards, mut threads) =
            Shards::start(&begin, queues, config.limits.shard_queue, wait, &results, &shard_metrics)?;
        threads.extend(scorer_threads);
        threads.extend(events_thread);

        let intake = Intake { wanted: setup.wanted()?, bounds: config.ingest.clone() };
        let ingest = Arc::new(Ingest::new(intake, shards.clone(), decode_metrics, clock.clone()));
        let silences = Silences::new(store, shards.clone());
        let (reloads, reload_requests) = mpsc::channel(RELOADS_WAITING);
        let stages = Stages {
            scorers: senders,
            results: Arc::clone(&results),
            ingest: Arc::clone(&ingest),
            silences: silences.clone(),
            events: Arc::clone(&events),
            pushes,
            push: Arc::clone(&push),
            webhooks,
            webhook: Arc::clone(&webhook),
        };
        let metrics = reload::Metrics::new(&registry, clock.clone())?;
        let running = Arc::new(Running::new(setup));
        let reloader = Reloader { running, runtime, shards: shards.clone(), stages, metrics };
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
            clock: clock.clone(),
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
        let server = tokio::spawn(serve(listener, routes, config.limits.connections, stopped.clone()));
        let ticker = Ticker { shards: shards.clone(), results, events, lag, clock: clock.clone() };
        let ticking = tokio::spawn(ticker.clone().run(stopped.clone()));
        let reloader = tokio::spawn(reloader.run(reload_requests, until(stopped)));
        ready.store(true, Ordering::Release);
        Ok(Self { shards, ticker, stop, ready, server, ticking, reloader, reloads, threads, push, webhook })
    }

    /// Asks for a reload, and doesn't wait for it: the log and the metrics tell what came of it.
    pub fn reload(&self) {
        // Where no more may wait, one that waits will read what is there now.
        drop(self.reloads.try_send(oneshot::channel().0));
    }

    /// Returns when all samples answered so far are in the results, scored, and events of hosts that are no longer judged are over.
    pub async fn settle(&self) {
        self.shards.settle().await;
        self.ticker.sweep();
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
        self.ticking.await.context("the ticker failed")?;
        self.reloader.await.context("the reloader failed")?;
        tracing::info!(after_ms = started.elapsed().as_millis() as u64, "requests are done");
        let webhook = self.webhook.lock().take();
        if let Some(webhook) = webhook {
            webhook.stop().await;
        }
        // The last senders go here: each thread ends when nobody can send to it any more.
        drop((self.shards, self.ticker));
        let threads = self.threads;
        let join = move || threads.into_iter().try_for_each(|thread| thread.join());
        let joined = tokio::time::timeout(JOIN, tokio::task::spawn_blocking(join));
        let joined = joined.await.context("shards and scorers did not finish what they had")??;
        tracing::info!(after_ms = started.elapsed().as_millis() as u64, "shards and scorers are done");
        let push = self.push.lock().take();
        if let Some(push) = push {
            push.stop(FLUSH).await;
            tracing::info!(after_ms = started.elapsed().as_millis() as u64, "the push is done");
        }
        joined.map_err(|_| anyhow::anyhow!("a thread panicked"))
    }
}

/// Makes what starts webhooks, and starts the first one, where there is one.
fn start_webhook(setup: &Setup, registry: &Registry, events: &Arc<Events>) -> anyhow::Result<(Webhooks, WebhookCell)> {
    let mut webhooks = Webhooks::new(registry.clone(), Arc::clone(events), setup.environment.clock.clone());
    let webhook = setup.config.webhook.as_ref().map(|webhook| webhooks.start(webhook)).transpose()?;
    Ok((webhooks, Arc::new(Mutex::new(webhook))))
}

/// The silences that were asked for, beside the maintenance windows.
fn open_store(setup: &Setup) -> Store {
    let (config, maintenance) = (&setup.config, setup.maintenance.clone());
    Store::open(
        setup.environment.storage.as_deref(),
        maintenance,
        config.identity.host_labels(),
        config.limits.silences,
    )
}

fn lag_gauge(registry: &Registry) -> prometheus::Result<Gauge> {
    let help = "How long after their time the newest samples came, of the host where that is most.";
    let lag = Gauge::new("outlierd_ingest_lag_seconds", help)?;
    registry.register(Box::new(lag.clone()))?;
    Ok(lag)
}

/// Returns the bounds within which opinions of people may move a limit.
fn feedback_bounds(config: &Config) -> feedback::Bounds {
    let config::Feedback { step, min, max } = config.feedback;
    feedback::Bounds { step, min, max, opinions: config.limits.feedback }
}

/// The events, and the thread that stores them where there is storage.
fn start_events(setup: &Setup, registry: &Registry) -> anyhow::Result<(Arc<Events>, Option<JoinHandle<()>>)> {
    let config = &setup.config;
    let bounds = events::Bounds {
        merge_ms: config.detection.merge_ms,
        events: config.limits.events,
        log_bytes: config.limits.event_log_bytes as u64,
    };
    let Environment { storage: Some(dir), clock } = &setup.environment else {
        return Ok((Arc::new(Events::new(&bounds, registry)?), None));
    };
    let (events, thread) = Events::stored(&bounds, registry, dir, clock.now_ms())?;
    Ok((Arc::new(events), Some(thread)))
}

async fn serve(listener: TcpListener, routes: http::Routes, connections: usize, stopped: watch::Receiver<bool>) {
    http::serve(listener, routes, connections, until(stopped), DRAIN_MS).await;
}

/// Tells every stage that time passes.
#[derive(Debug, Clone)]
struct Ticker {
    shards: Shards,
    results: Arc<Results>,
    events: Arc<Events>,
    lag: Gauge,
    clock: Clock,
}

impl Ticker {
    async fn run(self, stopped: watch::Receiver<bool>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stopped = std::pin::pin!(until(stopped));
        loop {
            tokio::select! {
                _ = interval.tick() => {
                    self.shards.tick(self.clock.now_ms());
                    self.sweep();
                    self.lag.set(self.results.table().lag_ms(self.clock.now_ms()) as f64 / 1_000.0);
                }
                () = &mut stopped => return,
            }
        }
    }

    /// Ends the events of hosts that are no longer judged.
    fn sweep(&self) {
        self.events.sweep(&self.results, self.clock.now_ms());
    }
}

/// Resolves once the service stops.
async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the service is gone, which is a stop too.
    drop(stopped.wait_for(|stopped| *stopped).await);
}
