//! Hosts, frames, steps, rows and windows of one shard.
//!
//! Pure: no clock, thread, channel, lock, file or network; time is an argument. What comes out depends on the plan and the
//! inputs alone, and any order or repetition of samples within the lateness gives the same rows.

pub mod advice;
pub mod applicable;
mod change;
mod counts;
mod discovery;
mod feed;
mod frames;
mod from_to;
mod host;
mod interval;
mod layout;
mod new_series;
mod pace;
mod paces;
mod reconfigure;
mod repace;
pub mod row;
mod selection;
mod senders;
mod slots;
pub mod standardise;
mod suspects;
mod targets;
#[cfg(test)]
mod tests;
mod twins;
mod values;
pub mod window;
pub mod windows;
mod wiring;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use self::counts::{Counts, ENGINE_COUNTERS, EngineCounter};
pub use self::frames::FRAME_WAIT_MS_MAX;
use self::frames::Frame;
use self::host::Host;
use self::new_series::NewSeries;
use self::paces::Paces;
use self::row::{HostId, HostStatus, Row};
use self::senders::Names;
use self::windows::WindowConfig;
use crate::base::bounds::Bounds;
use crate::config::silence::{Calendar, Silence};
use crate::decode::{InvalidSeries, LabelLimits, SampleBatch};
use crate::promql::Plan;
use crate::promql::eval::{EvalError, PartValue, Vector};
use crate::promql::labelset::LabelSets;
use crate::series::{Labels, Sample, TimestampMs};

/// Configuration of an engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The compiled features.
    pub plan: Arc<Plan>,
    /// By configured feature, the values that it can take; one that has none here can take any.
    pub bounds: Arc<[Bounds]>,
    /// The label whose values are the hosts.
    pub identity: String,
    /// Labels that replicas of one sender differ in: a series is the same without them, and one replica at a time is heard.
    pub drop: Vec<String>,
    /// Labels, beside the identity label, that a host's results carry.
    pub keep: Vec<String>,
    /// Interval between rows, in milliseconds; of hosts that are scraped less often, their scrape interval instead.
    pub step_ms: i64,
    /// Scrape interval of hosts; told by each host's own samples where `None`.
    pub interval_ms: Option<i64>,
    /// Time that a frame waits for late samples, in event time and since it came.
    pub lateness_ms: i64,
    /// Rows that are closed so long after their time, by the caller's clock, may raise no flag.
    pub max_lag_ms: i64,
    /// Event time that a host must have been seen before its flag counts.
    pub min_history_ms: i64,
    /// Settings that rows are standardised and windows made with.
    pub windows: WindowConfig,
    /// The same for a second model, whose windows are made beside; none, and no cost, where `None`.
    pub shadow: Option<WindowConfig>,
    /// Limits of memory.
    pub limits: EngineLimits,
}

/// A feature that the model sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredFeature {
    /// Index of the configured feature.
    pub feature: u16,
    /// Least deviation in the feature's unit; 0 for none.
    pub floor: f64,
    /// Rows that one sample can show in: the longest range of its expression. 0 where that is not known.
    pub range_rows: u32,
}

/// Limits of an engine's memory.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// Hosts of this engine.
    pub hosts: usize,
    /// Wanted series per host.
    pub series_per_host: usize,
    /// Frames of one host that wait.
    pub frames_per_host: usize,
    /// Samples that one host's range selectors hold.
    pub samples_per_host: usize,
    /// Of a series' labels.
    pub labels: LabelLimits,
    /// Bytes of all labels of a series.
    pub series_label_bytes: usize,
    /// Silence on the caller's clock after which a host is forgotten.
    pub host_idle_ms: i64,
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Samples came.
    Samples {
        /// Of any of this shard's hosts.
        batch: &'a SampleBatch,
        /// The caller's clock.
        now_ms: TimestampMs,
    },
    /// Time passed.
    Tick {
        /// The caller's clock.
        now_ms: TimestampMs,
    },
    /// These silences are in force from now on, and no others.
    Silences(&'a [Arc<Silence>]),
}

/// Results of an input.
#[derive(Debug, Default)]
pub struct Output {
    /// Rows that were closed, in order for each host.
    pub rows: Vec<Row>,
    /// The state of every host that changed.
    pub statuses: Vec<HostStatus>,
    /// Hosts that were forgotten.
    pub forgotten: Vec<Arc<HostId>>,
    /// Number of times that each event happened.
    pub counts: Counts,
    /// Series whose labels are not valid, by `InvalidSeries as usize`.
    pub invalid_series: [u64; InvalidSeries::ALL.len()],
    /// Features that had no value because of their expression.
    pub feature_errors: Vec<(u16, EvalError)>,
    /// Values that their feature cannot take, and that are missing from their rows for it.
    pub out_of_bounds: Vec<OutOfBounds>,
}

/// A value that its feature cannot take.
#[derive(Debug, Clone)]
pub struct OutOfBounds {
    /// The host whose row lacks it.
    pub host: Arc<HostId>,
    /// Index of the configured feature.
    pub feature: u16,
    /// Value that the expression gave.
    pub value: f64,
}

impl Output {
    /// Empties it for reuse.
    pub fn clear(&mut self) {
        *self = Self {
            rows: std::mem::take(&mut self.rows),
            statuses: std::mem::take(&mut self.statuses),
            ..Self::default()
        };
        self.rows.clear();
        self.statuses.clear();
    }
}

/// The hosts of one shard.
#[derive(Debug)]
pub struct Engine {
    hosts: Vec<Host>,
    by_name: HashMap<Arc<str>, usize, foldhash::fast::RandomState>,
    shared: Shared,
    /// Hosts that the running `apply` met.
    touched: Vec<usize>,
    /// Positions in the batch of a run's series that the host doesn't know.
    unknown: Vec<usize>,
    /// Bytes of label sets at which unused ones are looked for.
    label_bytes_max: usize,
}

/// State that all hosts of a shard use in turn.
#[derive(Debug)]
pub(crate) struct Shared {
    config: EngineConfig,
    /// Settings that differ by how often a host is scraped.
    paces: Paces,
    /// See [`targets::scored_leaves`].
    scored_leaves: Box<[bool]>,
    /// The caller's clock.
    now_ms: TimestampMs,
    calendar: Calendar,
    sets: LabelSets,
    sender_names: Names,
    /// Series that no feature reads, by their own hash and their host's selection class; bounded.
    ignored: HashSet<u64, foldhash::fast::RandomState>,
    clock_scratch: Vec<u16>,
    leaf_vectors: Vec<Vector>,
    /// By leaf: why some of its samples are not known.
    incomplete_leaves: Vec<Option<EvalError>>,
    spare_vectors: Vec<Vector>,
    values_of_parts: Vec<PartValue>,
    spare_frames: Vec<Frame>,
}

/// Unused label sets are first looked for at this many bytes; a fleet of one kind has a few megabytes.
const LABEL_BYTES_MIN: usize = 64 << 20;

impl Engine {
    /// An engine without hosts.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let sets = targets::label_sets(&config);
        let paces = Paces::new(&config);
        Self {
            hosts: Vec::new(),
            by_name: HashMap::default(),
            shared: Shared {
                calendar: Calendar::new(&[]),
                scored_leaves: targets::scored_leaves(&config),
                config,
                paces,
                now_ms: TimestampMs::MIN,
                sets,
                sender_names: Names::default(),
                ignored: HashSet::default(),
                clock_scratch: Vec::new(),
                leaf_vectors: Vec::new(),
                incomplete_leaves: Vec::new(),
                spare_vectors: Vec::new(),
                values_of_parts: Vec::new(),
                spare_frames: Vec::new(),
            },
            touched: Vec::new(),
            unknown: Vec::new(),
            label_bytes_max: LABEL_BYTES_MIN,
        }
    }

    /// Takes an input and appends what comes of it to `out`.
    pub fn apply(&mut self, input: Input<'_>, out: &mut Output) {
        match input {
            Input::Samples { batch, now_ms } => {
                self.shared.now_ms = now_ms;
                self.apply_samples(batch, now_ms, out);
            }
            Input::Tick { now_ms } => {
                self.shared.now_ms = now_ms;
                self.tick(now_ms, out);
            }
            Input::Silences(silences) => {
                self.shared.calendar = Calendar::new(silences);
                self.hosts.iter_mut().for_each(|host| host.match_silences(&self.shared));
            }
        }
    }

    /// The features that run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.shared.config.plan
    }

    /// Number of hosts.
    #[must_use]
    pub fn n_hosts(&self) -> usize {
        self.hosts.len()
    }

    fn apply_samples(&mut self, batch: &SampleBatch, now_ms: TimestampMs, out: &mut Output) {
        for (host, run) in batch.runs() {
            self.apply_run(host, run, batch, now_ms, out);
        }
        let mut touched = std::mem::take(&mut self.touched);
        for host in touched.drain(..) {
            let host = &mut self.hosts[host];
            host.is_touched = false;
            host.advance(now_ms, &mut self.shared, out);
            out.statuses.push(host.status(&mut self.shared));
        }
        self.touched = touched;
        self.forget_unused_label_sets();
    }

    /// Series of one host that follow each other.
    fn apply_run(
        &mut self,
        name: &str,
        run: std::ops::Range<usize>,
        batch: &SampleBatch,
        now_ms: TimestampMs,
        out: &mut Output,
    ) {
        self.unknown.clear();
        let known = self.by_name.get(name).copied();
        if let Some(host) = known {
            self.touch(host);
            for i in run {
                if let Some((labels_hash, samples)) = batch.known(i)
                    && !self.apply_series(host, labels_hash, samples, now_ms, out)
                {
                    self.unknown.push(i);
                }
            }
        } else {
            self.unknown.extend(run);
        }
        if self.unknown.is_empty() {
            return;
        }
        let unknown = std::mem::take(&mut self.unknown);
        let read = |i: &usize| discovery::read(&batch.get(*i)?, &mut self.shared, out);
        let mut found: Vec<NewSeries<'_>> = unknown.iter().filter_map(read).collect();
        if let Some(host) = known.or_else(|| self.add_host(name, &found, out)) {
            self.touch(host);
            discovery::hear(&mut self.hosts[host], &mut found, &self.shared, out);
            discovery::add(&mut self.hosts[host], &mut found, &mut self.shared, out);
            for found in &found {
                if let Some(slot) = discovery::slot(found, &self.hosts[host]) {
                    self.insert(host, slot, found.samples, now_ms, out);
                }
            }
        }
        self.unknown = unknown;
    }

    /// A new host. It is made by its first series that a feature reads: `up`, which every target has, makes none, so that
    /// exporters of another kind don't become hosts without features. `None` where there is none.
    fn add_host(&mut self, name: &str, found: &[NewSeries<'_>], out: &mut Output) -> Option<usize> {
        let n_samples = || found.iter().map(NewSeries::n_samples).sum();
        let Some(selected) = found.iter().find(|found| !found.leaves.is_empty()) else {
            out.counts.add(EngineCounter::NoHost, n_samples());
            return None;
        };
        let config = &self.shared.config;
        if self.hosts.len() >= config.limits.hosts {
            out.counts.add(EngineCounter::Hosts, n_samples());
            return None;
        }
        let is_kept = |name: &str| name == config.identity || config.keep.iter().any(|k| k == name);
        let labels = Labels::from_pairs(selected.labels.iter().filter(|(name, _)| is_kept(name)).copied());
        let id = Arc::new(HostId { name: name.into(), labels });
        let shared_labels = discovery::shared_labels(found);
        self.hosts.push(Host::new(id, shared_labels, &mut self.shared));
        let host = self.hosts.len() - 1;
        self.by_name.insert(name.into(), host);
        Some(host)
    }

    /// Takes the samples of a series; whether it is known.
    #[inline]
    fn apply_series(
        &mut self,
        index: usize,
        labels_hash: u64,
        samples: &[Sample],
        now_ms: TimestampMs,
        out: &mut Output,
    ) -> bool {
        let host = &mut self.hosts[index];
        let Some((slot, sender)) = host.slots.find(labels_hash) else {
            let mut keys = host.slots.ignored_keys(labels_hash, host.selection_class);
            if keys.any(|key| self.shared.ignored.contains(&key)) {
                return true;
            }
            // A series of which all samples are late is not worth remembering.
            let is_late = host.is_late(samples);
            if is_late {
                out.counts.add(EngineCounter::Late, samples.len() as u64);
            }
            return is_late;
        };
        if host.hear(slot, sender, samples, &self.shared, out) {
            self.insert(index, slot, samples, now_ms, out);
        }
        true
    }

    fn insert(&mut self, host: usize, slot: u32, samples: &[Sample], now_ms: TimestampMs, out: &mut Output) {
        let host = &mut self.hosts[host];
        for sample in samples {
            host.insert(slot, *sample, now_ms, &mut self.shared, out);
        }
        // Only now: applying frames may renumber the slots.
        host.limit_frames(&mut self.shared, out);
    }

    fn touch(&mut self, host: usize) {
        if !self.hosts[host].is_touched {
            self.hosts[host].is_touched = true;
            self.touched.push(host);
        }
    }

    fn tick(&mut self, now_ms: TimestampMs, out: &mut Output) {
        let lateness_ms = self.shared.config.lateness_ms;
        for host in &mut self.hosts {
            if host.is_due(now_ms, lateness_ms) {
                host.advance(now_ms, &mut self.shared, out);
                out.statuses.push(host.status(&mut self.shared));
            }
        }
        self.forget_idle_hosts(now_ms, out);
    }

    fn forget_idle_hosts(&mut self, now_ms: TimestampMs, out: &mut Output) {
        let idle_since_ms = now_ms.saturating_sub(self.shared.config.limits.host_idle_ms);
        let mut host = 0;
        while host < self.hosts.len() {
            if self.hosts[host].arrived_ms() >= idle_since_ms {
                host += 1;
                continue;
            }
            let gone = self.hosts.swap_remove(host);
            self.by_name.remove(gone.id.name.as_ref());
            if let Some(moved) = self.hosts.get(host) {
                self.by_name.insert(moved.id.name.as_ref().into(), host);
            }
            out.forgotten.push(gone.id);
        }
    }

    /// Label sets of series that are gone stay interned until there are twice as many as were in use; then all are interned
    /// anew, which costs one pass over every series.
    fn forget_unused_label_sets(&mut self) {
        if self.shared.sets.bytes() < self.label_bytes_max {
            return;
        }
        let old = std::mem::replace(&mut self.shared.sets, targets::label_sets(&self.shared.config));
        let Shared { sets, paces, .. } = &mut self.shared;
        paces.iter_mut().for_each(|paced| paced.layouts.clear());
        let mut renewed: HashMap<*const layout::Layout, Arc<layout::Layout>> = HashMap::new();
        for host in &mut self.hosts {
            let (slots, paced) = (&mut host.slots, &mut paces[host.pace]);
            let mut renew = |set| sets.intern(Labels::clone(old.get(set)));
            let layout = renewed.entry(Arc::as_ptr(&slots.layout)).or_insert_with(|| {
                let renew = |s: &layout::Series| layout::Series { labels: renew(s.labels), ..s.clone() };
                paced.layout(slots.layout.series.iter().map(renew).collect())
            });
            slots.layout = Arc::clone(layout);
        }
        self.label_bytes_max = LABEL_BYTES_MIN.max(2 * self.shared.sets.bytes());
    }
}
