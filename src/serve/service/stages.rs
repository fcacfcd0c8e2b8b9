//! The stages of the running service, in the order in which they take a new setup.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::Mutex;
use prometheus::Registry;

use crate::base::clock::Clock;
use crate::config::Config;
use crate::config::push::Push;
use crate::config::webhook::Webhook;
use crate::detect::host_detector::Models;
use crate::output::push::{self, Pusher};
use crate::output::webhook::{self, Notifier};
use crate::results::events::Events;
use crate::results::{ResultSchema, Results};
use crate::serve::ingest::{Ingest, Intake};
use crate::serve::scorer::{Message, NewModels};
use crate::serve::silences::Silences;
use crate::setup::Setup;

/// Time that a push that was replaced may take for what it still has.
const OLD_PUSH: Duration = Duration::from_secs(60);

/// Remaining work of a stage: it cannot fail, and runs while the shards wait and nobody else writes.
pub(super) type Change = Box<dyn FnOnce() + Send>;

/// All stages behind the shards, and what they were started with.
pub(super) struct Stages {
    /// The queues of the scoring threads.
    pub(super) scorers: Vec<Sender<Message>>,
    pub(super) results: Arc<Results>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) silences: Silences,
    pub(super) events: Arc<Events>,
    pub(super) pushes: Pushes,
    pub(super) push: PushCell,
    pub(super) webhooks: Webhooks,
    pub(super) webhook: WebhookCell,
}

/// Push of the results that runs now, if any.
pub(super) type PushCell = Arc<Mutex<Option<Pusher>>>;

/// Webhook that is told of events now, if any.
pub(super) type WebhookCell = Arc<Mutex<Option<Notifier>>>;

/// Starts webhooks one after the other; their counters go on.
pub(super) struct Webhooks {
    registry: Registry,
    events: Arc<Events>,
    clock: Clock,
    /// Registered by the first.
    metrics: Option<webhook::Metrics>,
}

impl Webhooks {
    pub(super) fn new(registry: Registry, events: Arc<Events>, clock: Clock) -> Self {
        Self { registry, events, clock, metrics: None }
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
        Notifier::start(webhook, Arc::clone(&self.events), metrics, self.clock.clone())
    }
}

/// Starts pushes one after the other; their counters go on.
pub(super) struct Pushes {
    registry: Registry,
    clock: Clock,
    /// Registered by the first.
    metrics: Option<push::metrics::Metrics>,
}

impl Pushes {
    pub(super) fn new(registry: Registry, clock: Clock) -> Self {
        Self { registry, clock, metrics: None }
    }

    /// Starts one.
    ///
    /// # Errors
    /// As [`Pusher::start`].
    pub(super) fn start(&mut self, push: &Push, schema: &ResultSchema) -> anyhow::Result<Pusher> {
        let metrics = match &self.metrics {
            Some(metrics) => metrics.clone(),
            None => push::metrics::Metrics::new(&self.registry)?,
        };
        self.metrics = Some(metrics.clone());
        Pusher::start(push, schema, metrics, self.clock.clone())
    }
}

impl Stages {
    /// Does whatever can fail for `setup` to follow `running`; gives what is left, stage by stage.
    pub(super) fn prepare(
        &mut self,
        running: &Config,
        setup: &Setup,
        models: Vec<Models>,
    ) -> anyhow::Result<Vec<Change>> {
        let schema = setup.schema();
        // First, so that nothing has been started where this fails.
        let ingest = self.change_ingest(setup)?;
        let push = self.new_push(running, setup, &schema)?;
        let webhook = self.new_webhook(running, setup)?;
        let mut changes = vec![self.change_results(schema), self.change_scorers(models, push.as_ref())];
        changes.extend(push.map(|new| self.replace_push(new)));
        changes.extend(webhook.map(|new| self.replace_webhook(new)));
        changes.extend([ingest, self.change_events(setup), self.change_silences(setup)]);
        Ok(changes)
    }

    fn change_results(&self, schema: ResultSchema) -> Change {
        let results = Arc::clone(&self.results);
        Box::new(move || results.reconfigure(Arc::new(schema)))
    }

    /// `push` is another one to send rows to, or none; the same as before where it is `None`.
    fn change_scorers(&self, models: Vec<Models>, push: Option<&Option<Pusher>>) -> Change {
        let outbox = || push.map(|push| push.as_ref().map(Pusher::outbox));
        let new: Vec<NewModels> = models.into_iter().map(|models| NewModels { models, outbox: outbox() }).collect();
        let scorers = self.scorers.clone();
        Box::new(move || {
            for (scorer, new) in scorers.into_iter().zip(new) {
                // Before any shard goes on. An error means that the thread is gone, which its end tells.
                scorer.send(Message::Reconfigure(Box::new(new))).ok();
            }
        })
    }

    /// The push of the new configuration, where it sends elsewhere or other series.
    fn new_push(
        &mut self,
        running: &Config,
        setup: &Setup,
        schema: &ResultSchema,
    ) -> anyhow::Result<Option<Option<Pusher>>> {
        let table = self.results.table();
        let old = table.schema();
        let is_same_schema =
            old.features == schema.features && old.scored == schema.scored && old.model_alias == schema.model_alias;
        let push = setup.config.push.as_ref();
        if push == running.push.as_ref() && (push.is_none() || is_same_schema) {
            return Ok(None);
        }
        Ok(Some(push.map(|push| self.pushes.start(push, schema)).transpose()?))
    }

    fn replace_push(&self, new: Option<Pusher>) -> Change {
        let push = Arc::clone(&self.push);
        Box::new(move || {
            let old = std::mem::replace(&mut *push.lock(), new);
            if let Some(old) = old {
                // What it still has is sent beside what comes next.
                tokio::spawn(old.stop(OLD_PUSH));
            }
        })
    }

    /// The webhook of the new configuration, where it is another.
    fn new_webhook(&mut self, running: &Config, setup: &Setup) -> anyhow::Result<Option<Option<Notifier>>> {
        let webhook = setup.config.webhook.as_ref();
        if webhook == running.webhook.as_ref() {
            return Ok(None);
        }
        Ok(Some(webhook.map(|webhook| self.webhooks.start(webhook)).transpose()?))
    }

    fn replace_webhook(&self, new: Option<Notifier>) -> Change {
        let webhook = Arc::clone(&self.webhook);
        Box::new(move || {
            let old = std::mem::replace(&mut *webhook.lock(), new);
            if let Some(old) = old {
                tokio::spawn(old.stop());
            }
        })
    }

    fn change_ingest(&self, setup: &Setup) -> anyhow::Result<Change> {
        let intake = Intake { wanted: setup.wanted()?, bounds: setup.config.ingest.clone() };
        let ingest = Arc::clone(&self.ingest);
        Ok(Box::new(move || ingest.reconfigure(intake)))
    }

    fn change_events(&self, setup: &Setup) -> Change {
        let (events, merge_ms) = (Arc::clone(&self.events), setup.config.detection.merge_ms);
        Box::new(move || events.set_merge(merge_ms))
    }

    /// The shards hear of it when they go on.
    fn change_silences(&self, setup: &Setup) -> Change {
        let (silences, maintenance) = (self.silences.clone(), setup.maintenance.clone());
        Box::new(move || silences.set_maintenance(maintenance))
    }
}
