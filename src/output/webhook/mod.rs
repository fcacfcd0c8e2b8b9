//! Alerts to Alertmanager: every open event, again and again while it is open, and its end.
//!
//! One task sends; nobody waits for it, and what it holds is bounded by the events that may be open. [`alert_state`] says what is due,
//! [`alert`] what it looks like. Nothing of this exists unless `webhook` is configured.

pub mod alert;
pub mod alert_state;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};
use reqwest::redirect::Policy;
use tokio::task::JoinHandle;

use self::alert::{Alert, AlertSettings};
use self::alert_state::{AlertState, Due};
use crate::base::clock::{self, Clock};
use crate::base::outbound::{self, DeliveryOutcome};
use crate::config::push::Credentials;
use crate::config::webhook::Webhook;
use crate::output::push::backoff::Backoff;
use crate::results::events::Events;
use crate::series::TimestampMs;

/// The running sender.
#[derive(Debug)]
pub struct Notifier {
    task: JoinHandle<()>,
}

impl Notifier {
    /// Starts the task that tells `webhook` of `events`.
    ///
    /// # Errors
    /// There is no client.
    pub fn start(webhook: &Webhook, events: Arc<Events>, metrics: Metrics, clock: Clock) -> anyhow::Result<Self> {
        let timeout = Duration::from_millis(webhook.timeout_ms);
        // A redirect would turn the POST into a GET, and lose the credentials.
        let client = outbound::client().timeout(timeout).redirect(Policy::none());
        let alert_state = AlertState::new(webhook.resend_ms);
        let settings = AlertSettings {
            labels: webhook.labels.clone(),
            external_url: webhook.external_url.clone(),
            lifetime_ms: alert_state.lifetime_ms(),
        };
        let sender = Sender {
            client: client.build().context("cannot make a client")?,
            webhook: webhook.clone(),
            events,
            settings,
            alert_state,
            backoff: Backoff::new(webhook.retry_min_ms, webhook.retry_max_ms, clock.now_ms().unsigned_abs()),
            paused_until_ms: TimestampMs::MIN,
            metrics,
            clock,
        };
        Ok(Self { task: tokio::spawn(sender.run()) })
    }

    /// Stops at once. Alerts that are firing go on until they end by themselves or are sent again after a restart.
    pub async fn stop(mut self) {
        self.task.abort();
        // It was told to end: how it did says nothing.
        drop((&mut self.task).await);
    }
}

impl Drop for Notifier {
    /// One that was started for a configuration that is then refused must not go on.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task's state.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    webhook: Webhook,
    events: Arc<Events>,
    settings: AlertSettings,
    alert_state: AlertState,
    backoff: Backoff,
    /// After a failure, when it is tried again.
    paused_until_ms: TimestampMs,
    metrics: Metrics,
    clock: Clock,
}

impl Sender {
    async fn run(mut self) {
        loop {
            self.tell().await;
            let now_ms = self.clock.now_ms();
            let next_ms = self.alert_state.next_ms().unwrap_or(now_ms.saturating_add(self.webhook.resend_ms));
            let is_paused = self.paused_until_ms > now_ms;
            let due_ms = if is_paused { self.paused_until_ms } else { next_ms };
            let pause = Duration::from_millis(due_ms.saturating_sub(now_ms).max(1).unsigned_abs());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.events.changed(), if !is_paused => {}
            }
        }
    }

    /// Sends what is due, in batches, until one fails.
    async fn tell(&mut self) {
        let expired = self.alert_state.n_expired();
        let due = self.alert_state.due(&self.events.open(), self.clock.now_ms());
        self.metrics.dropped.with_label_values(&["expired"]).inc_by(self.alert_state.n_expired() - expired);
        self.metrics.pending.set(due.len() as i64);
        for batch in due.chunks(self.webhook.batch_alerts.max(1)) {
            let now_ms = self.clock.now_ms();
            match self.send(batch, now_ms).await {
                DeliveryOutcome::Taken => {
                    if self.backoff.n_failures() > 0 {
                        tracing::info!(url = %outbound::shown(&self.webhook.url), "alerts are sent again");
                    }
                    self.metrics.taken(batch);
                    self.metrics.last_success.set(self.clock.now_ms() as f64 / 1_000.0);
                }
                DeliveryOutcome::Refused { code, said } => {
                    self.metrics.failed.with_label_values(&[&code]).inc();
                    self.metrics.dropped.with_label_values(&["refused"]).inc_by(batch.len() as u64);
                    tracing::warn!(url = %outbound::shown(&self.webhook.url), code, said, "alerts are refused");
                }
                DeliveryOutcome::Failed { code, said, retry_after } => {
                    self.metrics.failed.with_label_values(&[&code]).inc();
                    if self.backoff.n_failures() == 0 {
                        tracing::warn!(url = %outbound::shown(&self.webhook.url), code, said, "cannot send alerts, trying again");
                    }
                    self.paused_until_ms = self.backoff.failed(self.clock.now_ms(), retry_after.as_deref());
                    return;
                }
            }
            self.backoff.succeeded();
            // A refusal too: the same would be refused again, until something else is to be said.
            batch.iter().for_each(|due| self.alert_state.told(due, now_ms));
            self.metrics.pending.sub(batch.len() as i64);
        }
    }

    async fn send(&self, batch: &[Due], now_ms: TimestampMs) -> DeliveryOutcome {
        let alerts: Vec<Alert> = batch.iter().map(|due| self.alert(due, now_ms)).collect();
        let body = match serde_json::to_vec(&alerts) {
            Ok(body) => body,
            Err(error) => return DeliveryOutcome::Refused { code: "encoding".to_owned(), said: error.to_string() },
        };
        let request = self.client.post(self.webhook.url.clone()).header("content-type", "application/json").body(body);
        let request = Credentials::sign(self.webhook.credentials.as_ref(), request);
        let started = clock::monotonic();
        let fate = outbound::deliver(request).await;
        self.metrics.seconds.observe(started.elapsed().as_secs_f64());
        fate
    }

    fn alert(&self, due: &Due, now_ms: TimestampMs) -> Alert {
        if due.is_over {
            // How it ended, unless others have taken its place since, or it goes on under other labels.
            let over = self.events.get(&due.event.id).filter(|event| event.labels == due.event.labels);
            return Alert::resolved(over.as_ref().unwrap_or(&due.event), &self.settings, now_ms);
        }
        Alert::firing(&due.event, &self.settings, now_ms)
    }
}

/// Counters of alerts; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    sent: IntCounterVec,
    dropped: IntCounterVec,
    failed: IntCounterVec,
    pending: IntGauge,
    last_success: Gauge,
    seconds: Histogram,
}

impl Metrics {
    fn taken(&self, batch: &[Due]) {
        let n_over = batch.iter().filter(|due| due.is_over).count();
        self.sent.with_label_values(&["resolved"]).inc_by(n_over as u64);
        self.sent.with_label_values(&["firing"]).inc_by((batch.len() - n_over) as u64);
    }

    /// Registers them.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            sent: IntCounterVec::new(
                Opts::new(
                    "outlierd_webhook_alerts_total",
                    "Alerts that the receiver took; firing ones again and again.",
                ),
                &["status"],
            )?,
            dropped: IntCounterVec::new(
                Opts::new(
                    "outlierd_webhook_alerts_dropped_total",
                    "Alerts that the receiver refused, or that ended by themselves because it could not be told.",
                ),
                &["reason"],
            )?,
            failed: IntCounterVec::new(
                Opts::new(
                    "outlierd_webhook_failed_requests_total",
                    "Requests to the webhook that failed or were refused.",
                ),
                &["code"],
            )?,
            pending: IntGauge::new("outlierd_webhook_pending_alerts", "Alerts that are to be sent now.")?,
            last_success: Gauge::new(
                "outlierd_webhook_last_success_timestamp_seconds",
                "When the receiver last took alerts.",
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "outlierd_webhook_request_duration_seconds",
                    "Duration of a request to the webhook.",
                )
                .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
            )?,
        };
        for counters in [&metrics.sent, &metrics.dropped, &metrics.failed] {
            registry.register(Box::new(counters.clone()))?;
        }
        for status in ["firing", "resolved"] {
            metrics.sent.with_label_values(&[status]);
        }
        for reason in ["refused", "expired"] {
            metrics.dropped.with_label_values(&[reason]);
        }
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.last_success.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }
}
