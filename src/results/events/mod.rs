//! The events of all hosts: told of every scored row, asked by readers, stored by a thread of its own.
//!
//! Owns the one lock on the store. Scoring threads hold it for a look-up per row, readers for as long as it takes to copy pointers; the
//! disk is never touched under it. Which flags make an event is `store`'s, which of them count, the verdict.

pub mod event;
pub mod log;
pub mod store;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use crossbeam_channel::Sender;
use parking_lot::{Mutex, MutexGuard};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tokio::sync::Notify;

use crate::engine::row::{AlertEligibility, HostId};
use crate::results::state::Reason;
use crate::results::{ResultSchema, Results, ScoredRow, State};
use crate::series::TimestampMs;

pub use event::{Ending, Event, TopFeature};
use log::Log;
use store::{EventStore, Filter, Flagged};
use writer::Writer;

/// Limits of events.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A flag that rises at most so long after an event of its host ended goes on with that event.
    pub merge_ms: i64,
    /// Events kept.
    pub events: usize,
    /// Bytes of the file of events.
    pub log_bytes: u64,
}

/// The events of all hosts.
#[derive(Debug)]
pub struct Events {
    store: Arc<Mutex<EventStore>>,
    /// Wakes the writer; holds one message, since what there is to write stands in the store. `None` without storage.
    writer: Option<Sender<()>>,
    /// Told when an event begins, begins again or ends.
    turned: Notify,
    metrics: Metrics,
}

impl Events {
    /// Without events, and without storage.
    ///
    /// # Errors
    /// The registry has one of the metrics already.
    pub fn new(bounds: &Bounds, registry: &Registry) -> prometheus::Result<Self> {
        let store = Arc::new(Mutex::new(EventStore::new(bounds.merge_ms, bounds.events)));
        Ok(Self { store, writer: None, turned: Notify::new(), metrics: Metrics::new(registry)? })
    }

    /// With those that are stored in the folder `dir`, which is made where it is missing; they are kept there by the thread that is
    /// returned, which ends after the last owner of the events.
    ///
    /// # Errors
    /// The folder can't be made, or the thread can't be started.
    pub fn stored(
        bounds: &Bounds,
        registry: &Registry,
        dir: &Path,
        now_ms: TimestampMs,
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make {}: choose another with --storage.path", dir.display()))?;
        let mut events = Self::new(bounds, registry)?;
        let log = Log::new(dir, bounds.log_bytes);
        let stored = log.read();
        tracing::info!(events = stored.events.len(), skipped = stored.n_skipped, "read the stored events");
        events.metrics.skipped.with_label_values(&["line"]).inc_by(stored.n_skipped);
        events.metrics.skipped.with_label_values(&["file"]).inc_by(u64::from(stored.refused.is_some()));
        events.lock().restore(stored.events, now_ms);
        let (wake, woken) = crossbeam_channel::bounded(1);
        let writer = Writer::new(log, Arc::clone(&events.store), events.metrics.clone());
        let spawned = std::thread::Builder::new().name("events".to_owned()).spawn(move || writer.run(&woken));
        events.writer = Some(wake);
        events.metrics.open.set(events.lock().n_open() as i64);
        Ok((events, spawned.context("cannot start the thread that stores events")?))
    }

    /// Merges events that are at most so far apart from now on.
    pub fn set_merge(&self, merge_ms: i64) {
        self.lock().set_merge(merge_ms);
    }

    /// A row was scored. Rows of one host come in order.
    pub fn observe(&self, row: &ScoredRow, schema: &ResultSchema) {
        if row.eligibility == AlertEligibility::Silenced {
            return self.change(|store| store.end_of_host(&row.host.name, Ending::Silenced));
        }
        let Some(verdict) = &row.verdict else { return };
        match verdict.flag {
            // Of a backlog it says nothing of now.
            None => {}
            Some(false) => self.change(|store| store.not_flagged(&row.host.name, row.t_ms, verdict.score)),
            Some(true) => {
                let flagged = Flagged {
                    host: &row.host,
                    model: &schema.model_alias,
                    t_ms: row.t_ms,
                    since_ms: verdict.flagged_since_ms.unwrap_or(row.t_ms),
                    score: verdict.score,
                };
                self.change(|store| store.flagged(flagged, || event::top_features(row, verdict, schema)));
            }
        }
    }

    /// The host is gone.
    pub fn forget(&self, host: &HostId) {
        self.change(|store| store.end_of_host(&host.name, Ending::Forgotten));
    }

    /// Ends the events of hosts that are no longer judged.
    pub fn sweep(&self, results: &Results, now_ms: TimestampMs) {
        let (open, table) = (self.lock().open(), results.table());
        for event in open {
            let Some(view) = table.view(&event.host) else {
                self.change(|store| store.end_abandoned(&event.id, Ending::Forgotten, now_ms));
                continue;
            };
            let seen = view.assess(table.schema(), now_ms);
            match (seen.state, seen.reason) {
                // Rows are on the way: they will say.
                (State::Ok | State::Anomalous, _) | (_, Reason::ScoringBehind(_) | Reason::Backlog(_)) => {}
                (State::Stale, _) => self.change(|store| store.end(&event.id, Ending::Stale)),
                (State::Down, _) => self.change(|store| store.end(&event.id, Ending::Down)),
                (State::Partial, _) => self.change(|store| store.end(&event.id, Ending::Partial)),
                (State::Warming, _) => {
                    self.change(|store| store.end_abandoned(&event.id, Ending::Warming, now_ms));
                }
            }
        }
    }

    /// Counts the events that `filter` lets through, and gives `limit` of them after the first `offset`, last begun first.
    #[must_use]
    pub fn find(&self, filter: &Filter, limit: usize, offset: usize) -> (usize, Vec<Arc<Event>>) {
        self.lock().find(filter, limit, offset)
    }

    /// One event.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Event>> {
        self.lock().get(id)
    }

    /// Every event that is not over.
    #[must_use]
    pub fn open(&self) -> Vec<Arc<Event>> {
        self.lock().open()
    }

    /// Returns when an event has begun, begun again or ended since the last call; for one caller.
    pub async fn changed(&self) {
        self.turned.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, EventStore> {
        self.store.lock()
    }

    fn change(&self, act: impl FnOnce(&mut EventStore)) {
        let mut store = self.lock();
        let ((n_begun, n_dropped), n_turns) = (store.counts(), store.n_turns());
        act(&mut store);
        let after = store.counts();
        let (has_unsaved, has_turned) = (store.has_unsaved(), store.n_turns() != n_turns);
        self.metrics.open.set(store.n_open() as i64);
        drop(store);
        self.metrics.begun.inc_by(after.0 - n_begun);
        self.metrics.dropped.with_label_values(&["limit"]).inc_by(after.1 - n_dropped);
        if has_turned {
            self.turned.notify_one();
        }
        if let Some(writer) = self.writer.as_ref().filter(|_| has_unsaved) {
            // Full means that it is awake.
            let _ = writer.try_send(());
        }
    }
}

/// Counters of events; clones share them.
#[derive(Debug, Clone)]
struct Metrics {
    begun: IntCounter,
    open: IntGauge,
    dropped: IntCounterVec,
    failures: IntCounter,
    skipped: IntCounterVec,
}

impl Metrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            begun: IntCounter::new("outlierd_events_total", "Events that began.")?,
            open: IntGauge::new("outlierd_events_open", "Events that are not over.")?,
            dropped: IntCounterVec::new(
                Opts::new(
                    "outlierd_events_dropped_total",
                    "Events dropped from the history or its file, or not begun while as many as are kept are open.",
                ),
                &["reason"],
            )?,
            failures: IntCounter::new(
                "outlierd_events_write_failures_total",
                "Times that events could not be written to --storage.path; it is tried again.",
            )?,
            skipped: IntCounterVec::new(
                Opts::new("outlierd_events_unreadable_total", "Stored lines or files of events that were of no use."),
                &["reason"],
            )?,
        };
        for counter in [&metrics.begun, &metrics.failures] {
            registry.register(Box::new(counter.clone()))?;
        }
        for counters in [&metrics.dropped, &metrics.skipped] {
            registry.register(Box::new(counters.clone()))?;
        }
        registry.register(Box::new(metrics.open.clone()))?;
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests;
