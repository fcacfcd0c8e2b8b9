//! The newest verdict and state of each host, for every reader.
//!
//! Owns the only `DashMap`. A host is written by two threads, each its own half: the shard writes the status, the scorer
//! writes rows. Readers get owned snapshots; no guard leaves this file. What the numbers mean is `state`'s.

mod change;
pub mod events;
pub mod exposition;
pub mod feedback;
pub mod metrics_text;
pub mod silences;
pub mod state;

use std::collections::VecDeque;
use std::sync::Arc;

use change::Change;
use dashmap::DashMap;
use parking_lot::RwLock;

pub use crate::detect::verdict::Verdict;
use crate::engine::row::{AlertEligibility, HostId, HostStatus};
use crate::series::{Labels, TimestampMs};

pub use state::{Assessment, State};

/// Every host's newest verdict, status and last rows; of another configuration after a reload.
#[derive(Debug)]
pub struct Results {
    /// Replaced as a whole: who reads takes it once and sees the old or the new one.
    table: RwLock<Arc<Table>>,
}

/// The results of one configuration.
#[derive(Debug)]
pub struct Table {
    schema: Arc<ResultSchema>,
    /// By the host's name. Bounded by the engine's limit of hosts: [`Results::record_status`] alone adds one.
    hosts: DashMap<Box<str>, Entry>,
}

/// Facts that readers need to know beside the hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultSchema {
    /// The configured features: the columns of every row.
    pub features: Vec<FeatureInfo>,
    /// Selectors of the plan's leaves, as text.
    pub selectors: Vec<String>,
    /// For each of the bundle's features the index of the configured one.
    pub scored: Vec<usize>,
    /// Value of the label `model`.
    pub model_alias: String,
    /// The bundle's [`id`](crate::model::bundle::Bundle::id).
    pub bundle: u64,
    /// T: rows of a window.
    pub window: usize,
    /// Step: interval between rows, in milliseconds.
    pub step_ms: i64,
    /// Event time that a host must have been seen before its flag counts.
    pub min_history_ms: i64,
    /// Silence, by the clock of arrival, after which a host is stale.
    pub stale_after_ms: i64,
    /// Samples that arrive so long after their time raise no flag.
    pub max_lag_ms: i64,
    /// The model that is only looked at.
    pub shadow: Option<ShadowSchema>,
}

/// Facts that readers need to know of the shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowSchema {
    /// Value of the label `model`.
    pub alias: String,
    /// The bundle's [`id`](crate::model::bundle::Bundle::id).
    pub bundle: u64,
    /// For each of its features the index of the configured one.
    pub scored: Vec<usize>,
}

/// A feature as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureInfo {
    /// Unique.
    pub name: String,
    /// PromQL.
    pub expr: String,
    /// `ratio`, `bytes/s`, …; may be empty.
    pub unit: String,
    /// One line; may be empty.
    pub help: String,
}

impl ResultSchema {
    /// Identifies some of the features beyond this configuration: name and expression, as in `promql::plan::FeatureId`.
    fn ids(&self, places: impl Iterator<Item = usize>) -> Vec<(&str, &str)> {
        places.map(|place| (self.features[place].name.as_str(), self.features[place].expr.as_str())).collect()
    }
}

/// Results of one host, as its threads wrote them.
#[derive(Debug)]
struct Entry {
    labels: LabelsText,
    status: Arc<HostStatus>,
    /// When the newest frame arrived, by our clock.
    arrived_ms: TimestampMs,
    /// The newest row with a verdict.
    scored: Option<Arc<ScoredRow>>,
    /// The newest row with a verdict of the shadow.
    shadow: Option<Arc<ScoredRow>>,
    /// The last rows, oldest first, at most as many as [`Results::record_row`] is told to keep.
    rows: VecDeque<Arc<PastRow>>,
}

/// A host as a reader sees it: a consistent copy.
#[derive(Debug, Clone)]
pub struct HostView {
    /// Its labels as the text format has them, escaped, with `model`, without braces.
    pub labels_text: Arc<str>,
    /// The same with the shadow's name, where there is a shadow.
    pub shadow_labels_text: Option<Arc<str>>,
    /// Status that its shard reports.
    pub status: Arc<HostStatus>,
    /// When its newest frame arrived, by our clock.
    pub arrived_ms: TimestampMs,
    /// Its newest row with a verdict.
    pub scored: Option<Arc<ScoredRow>>,
    /// Its newest row with a verdict of the shadow.
    pub shadow: Option<Arc<ScoredRow>>,
}

/// A host's labels as text.
#[derive(Debug, Clone)]
struct LabelsText {
    /// With the live model's name.
    live: Arc<str>,
    /// With the shadow's, where there is one.
    shadow: Option<Arc<str>>,
}

impl LabelsText {
    fn new(labels: &Labels, schema: &ResultSchema) -> Self {
        let with = |alias: &str| metrics_text::labels_text(labels, alias).into();
        Self { live: with(&schema.model_alias), shadow: schema.shadow.as_ref().map(|shadow| with(&shadow.alias)) }
    }
}

/// A row of history. Single precision: 60 rows of 100,000 hosts must fit, and a chart shows no more.
#[derive(Debug, PartialEq)]
pub struct PastRow {
    /// The step.
    pub t_ms: TimestampMs,
    /// One value per configured feature; NaN where missing.
    pub values: Box<[f32]>,
    /// Present where the row was scored.
    pub verdict: Option<PastVerdict>,
    /// Present where the shadow scored the row.
    pub shadow: Option<PastVerdict>,
}

/// Part of a verdict that is kept.
#[derive(Debug, PartialEq)]
pub struct PastVerdict {
    /// Smoothed mse.
    pub mse: f64,
    /// `mse / limit`.
    pub score: f64,
    /// See [`Verdict::flag`].
    pub flag: Option<bool>,
    /// `[F]` in the order of the bundle; NaN where the feature was missing.
    pub expected: Box<[f32]>,
}

impl Results {
    /// Without hosts.
    #[must_use]
    pub fn new(schema: Arc<ResultSchema>) -> Self {
        Self { table: RwLock::new(Arc::new(Table { schema, hosts: DashMap::new() })) }
    }

    /// Returns the present table, consistent in itself. Not to be held: another one may come.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// Has other features, another model or other bounds from now on. What is known of features that stay goes along. Nobody may
    /// write meanwhile: what it wrote would be lost.
    pub fn reconfigure(&self, schema: Arc<ResultSchema>) {
        let old = self.table();
        let change = Change::new(&old.schema, &schema);
        let hosts = old.hosts.iter().map(|entry| (entry.key().clone(), change.entry(&entry))).collect();
        *self.table.write() = Arc::new(Table { schema, hosts });
    }

    /// Called by the host's shard thread; adds the host where it is new.
    pub fn record_status(&self, status: &HostStatus, now_ms: TimestampMs) {
        let table = self.table();
        let status = Arc::new(status.clone());
        if let Some(mut entry) = table.hosts.get_mut(status.host.name.as_ref()) {
            if entry.status.last_sample_ms != status.last_sample_ms {
                entry.arrived_ms = now_ms;
            }
            if entry.status.host.labels != status.host.labels {
                entry.labels = LabelsText::new(&status.host.labels, &table.schema);
            }
            entry.status = status;
            return;
        }
        let name = status.host.name.clone();
        let labels = LabelsText::new(&status.host.labels, &table.schema);
        let entry = Entry { labels, status, arrived_ms: now_ms, scored: None, shadow: None, rows: VecDeque::new() };
        table.hosts.insert(name, entry);
    }

    /// Called by the host's scorer thread, rows in order; keeps the last `keep_rows`. A row of a host that has no status is
    /// dropped: it was forgotten while its last row was on the way.
    pub fn record_row(&self, row: ScoredRow, keep_rows: usize) {
        let table = self.table();
        let Some(mut entry) = table.hosts.get_mut(row.host.name.as_ref()) else { return };
        while entry.rows.len() >= keep_rows.max(1) {
            entry.rows.pop_front();
        }
        entry.rows.push_back(Arc::new(PastRow::from(&row)));
        let row = Arc::new(row);
        if row.shadow.is_some() {
            entry.shadow = Some(Arc::clone(&row));
        }
        if row.verdict.is_some() {
            entry.scored = Some(row);
        }
    }

    /// Called by the host's scoring thread, after all its rows, when the shard has dropped the host.
    pub fn forget(&self, host: &str) {
        self.table().hosts.remove(host);
    }
}

impl Table {
    /// Facts that readers need to know beside the hosts.
    #[must_use]
    pub fn schema(&self) -> &Arc<ResultSchema> {
        &self.schema
    }

    /// Number of hosts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is no host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// One host.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<HostView> {
        self.hosts.get(name).map(|entry| entry.view())
    }

    /// Returns how long after their time the newest samples came, of the host where that is most; hosts silent at `now_ms` don't
    /// count.
    #[must_use]
    pub fn lag_ms(&self, now_ms: TimestampMs) -> i64 {
        let is_heard = |entry: &Entry| {
            now_ms.saturating_sub(entry.arrived_ms) <= state::stale_after_ms(&entry.status, &self.schema)
        };
        let heard = self.hosts.iter().filter(|entry| is_heard(entry));
        heard.map(|entry| entry.arrived_ms.saturating_sub(entry.status.last_sample_ms).max(0)).max().unwrap_or(0)
    }

    /// Every host, sorted by name.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostView> {
        let mut views: Vec<HostView> = self.hosts.iter().map(|entry| entry.view()).collect();
        views.sort_unstable_by(|a, b| a.status.host.name.cmp(&b.status.host.name));
        views
    }

    /// Which hosts there are, sorted by name.
    #[must_use]
    pub fn host_ids(&self) -> Vec<Arc<HostId>> {
        let mut ids: Vec<Arc<HostId>> = self.hosts.iter().map(|entry| Arc::clone(&entry.status.host)).collect();
        ids.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        ids
    }

    /// One host with its last rows, oldest first.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<(HostView, Vec<Arc<PastRow>>)> {
        let entry = self.hosts.get(name)?;
        Some((entry.view(), entry.rows.iter().cloned().collect()))
    }
}

impl Entry {
    fn view(&self) -> HostView {
        HostView {
            labels_text: Arc::clone(&self.labels.live),
            shadow_labels_text: self.labels.shadow.clone(),
            status: Arc::clone(&self.status),
            arrived_ms: self.arrived_ms,
            scored: self.scored.clone(),
            shadow: self.shadow.clone(),
        }
    }
}

impl HostView {
    /// The host's state and what may be shown of its verdict.
    #[must_use]
    pub fn assess<'a>(&'a self, schema: &'a ResultSchema, now_ms: TimestampMs) -> Assessment<'a> {
        let shadow = state::of_shadow(&self.status, self.arrived_ms, self.shadow.as_deref(), schema, now_ms);
        let assessment = state::assess(&self.status, self.arrived_ms, self.scored.as_deref(), schema, now_ms);
        Assessment { shadow, ..assessment }
    }
}

impl From<&ScoredRow> for PastRow {
    fn from(row: &ScoredRow) -> Self {
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect();
        let past = |verdict: &Verdict| PastVerdict {
            mse: verdict.mse,
            score: verdict.score,
            flag: verdict.flag,
            expected: single(&verdict.expected),
        };
        let (verdict, shadow) = (row.verdict.as_ref().map(past), row.shadow.as_ref().map(past));
        Self { t_ms: row.t_ms, values: single(&row.values), verdict, shadow }
    }
}

/// A closed row after scoring: the unit of history that `/api/v1/hosts/{host}` returns.
#[derive(Debug, Clone)]
pub struct ScoredRow {
    /// Host of the row.
    pub host: Arc<HostId>,
    /// The step.
    pub t_ms: TimestampMs,
    /// One value per configured feature, in its own unit; NaN where missing.
    pub values: Box<[f64]>,
    /// Effects that the row may have beside a score.
    pub eligibility: AlertEligibility,
    /// Present where the row was scored.
    pub verdict: Option<Verdict>,
    /// Present where the shadow scored the row. Its flag counts nowhere.
    pub shadow: Option<Verdict>,
}

#[cfg(test)]
mod tests;
