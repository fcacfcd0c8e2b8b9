//! Actions of people on silences while the service runs: the store, and the shards that must know of each change.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use crate::config::silence::Silence;
use crate::results::silences::{InForce, Refused, SilenceRequest, Store, StoredSilence};
use crate::series::TimestampMs;
use crate::serve::shard::Shards;

/// Silences of a running service; clones share them.
#[derive(Debug, Clone)]
pub struct Silences {
    store: Arc<Mutex<Store>>,
    shards: Shards,
}

/// A silence that was asked for, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Silence that was asked for.
    #[serde(flatten)]
    pub asked: StoredSilence,
    /// Why it silences nothing; `None` where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A maintenance window, and until when it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Its name.
    pub name: Arc<str>,
    /// Its hosts: label matchers in braces.
    pub hosts: String,
    /// When it ends, where it is in force.
    pub until_ms: Option<TimestampMs>,
}

impl Silences {
    /// Those of `store`, told to `shards`.
    #[must_use]
    pub fn new(store: Store, shards: Shards) -> Self {
        Self { store: Arc::new(Mutex::new(store)), shards }
    }

    /// Those that were asked for and are not over, and the maintenance windows.
    #[must_use]
    pub fn list(&self, now_ms: TimestampMs) -> (Vec<Listed>, Vec<Maintenance>) {
        self.with(|store| {
            let maintenance = store.maintenance().iter().map(|silence| Maintenance {
                name: Arc::clone(&silence.name),
                hosts: silence.hosts.to_string(),
                until_ms: silence.when.until(now_ms),
            });
            let listed = |asked: &StoredSilence| Listed {
                asked: asked.clone(),
                error: store.refused(&asked.id).map(str::to_owned),
            };
            (store.list(now_ms).into_iter().map(listed).collect(), maintenance.collect())
        })
    }

    /// Makes a silence; it is in force for rows that are closed once this returns.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn add(&self, request: SilenceRequest, now_ms: TimestampMs) -> Result<StoredSilence, Refused> {
        self.change(move |store| store.add(request, now_ms)).await
    }

    /// Ends a silence; `None` where there is none of that id.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn end(&self, id: String) -> Result<Option<StoredSilence>, Refused> {
        self.change(move |store| store.end(&id).transpose()).await
    }

    /// Other maintenance windows from now on.
    pub fn set_maintenance(&self, maintenance: Vec<Arc<Silence>>) {
        self.with(|store| store.set_maintenance(maintenance));
    }

    /// Returns what shards are to be told at the start or after a pause; [`Silences::add`] and [`Silences::end`] tell them.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        self.with(|store| store.in_force())
    }

    /// Tells the shards what is in force.
    pub async fn tell(&self) {
        self.shards.silence(self.in_force()).await;
    }

    /// Changes the store beside the reactor, since that writes a file.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Store) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        let silences = self.clone();
        let changed = tokio::task::spawn_blocking(move || silences.with(change)).await;
        let changed = changed.unwrap_or_else(|error| Err(Refused::NotKept(error.to_string())));
        if changed.is_ok() {
            self.tell().await;
        }
        changed
    }

    fn with<T>(&self, f: impl FnOnce(&mut Store) -> T) -> T {
        // A panic cannot leave the store half changed: it changes last.
        f(&mut self.store.lock())
    }
}
