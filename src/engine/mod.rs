//! Hosts, frames, steps, rows and windows of one shard.
//!
//! Pure: no clock, thread, channel, lock, file or network; time is an argument. What comes out depends on the plan and the
//! inputs alone, and any order or repetition of samples within the lateness gives the same rows.

mod counts;
mod frames;
mod host;
pub mod row;
mod slots;
pub mod standardise;
#[cfg(test)]
mod tests;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

pub use self::counts::{Counts, EVENTS, Event};
use self::frames::Frame;
use self::host::Host;
use self::row::{HostId, HostStatus, Row};
use self::slots::{Lookup, NewSeries};
use self::standardise::RowConstants;
use crate::decode::{InvalidSeries, LabelLimits, parse_labels};
use crate::decode::{SampleBatch, SeriesView};
use crate::expr::Plan;
use crate::expr::eval::{EvalError, Vector};
use crate::expr::labelset::LabelSets;
use crate::series::{Labels, METRIC_NAME, TimestampMs};

/// What an engine is built with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The compiled features.
    pub plan: Arc<Plan>,
    /// The label whose values are the hosts.
    pub identity: String,
    /// Labels that replicas of one sender differ in: a series is the same without them.
    pub drop: Vec<String>,
    /// Labels, beside the identity label, that a host's results carry.
    pub keep: Vec<String>,
    /// Distance of two rows.
    pub step_ms: i64,
    /// How long a frame waits for late samples, in event time and since it came.
    pub lateness_ms: i64,
    /// T.
    pub window_rows: usize,
    /// The features that the model sees, in its order.
    pub scored: Vec<ScoredFeature>,
    /// Inputs are clipped to ± this.
    pub input_clip: f32,
    /// The newest row is clipped to ± this.
    pub target_clip: f32,
    /// Constants of the running statistics.
    pub statistics: RowConstants,
    /// Share of a window, and of its newest row, that may be missing.
    pub max_missing: f64,
    /// What bounds memory.
    pub limits: EngineLimits,
}

/// A feature that the model sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredFeature {
    /// Index of the configured feature.
    pub feature: u16,
    /// Least deviation in the feature's unit; 0 for none.
    pub floor: f64,
}

/// What bounds an engine's memory.
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
}

/// What came of an input.
#[derive(Debug, Default)]
pub struct Output {
    /// Rows that were closed, in order for each host.
    pub rows: Vec<Row>,
    /// The state of every host that changed.
    pub statuses: Vec<HostStatus>,
    /// Hosts that were forgotten.
    pub forgotten: Vec<Arc<HostId>>,
    /// How often what happened.
    pub counts: Counts,
    /// Series whose labels are not valid, by `InvalidSeries as usize`.
    pub invalid_series: [u64; InvalidSeries::ALL.len()],
    /// Features that had no value because of their expression.
    pub feature_errors: Vec<(u16, EvalError)>,
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
    /// Bytes of label sets at which unused ones are looked for.
    label_bytes_max: usize,
}

/// What all hosts of a shard use in turn.
#[derive(Debug)]
pub(crate) struct Shared {
    config: EngineConfig,
    sets: LabelSets,
    leaf_vectors: Vec<Vector>,
    spare_vectors: Vec<Vector>,
    spare_frames: Vec<Frame>,
}

/// Unused label sets are first looked for at this many bytes; a fleet of one kind has a few megabytes.
const LABEL_BYTES_MIN: usize = 64 << 20;

impl Engine {
    /// An engine without hosts.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let sets = LabelSets::new(Arc::clone(&config.plan.groupings));
        Self {
            hosts: Vec::new(),
            by_name: HashMap::default(),
            shared: Shared {
                config,
                sets,
                leaf_vectors: Vec::new(),
                spare_vectors: Vec::new(),
                spare_frames: Vec::new(),
            },
            touched: Vec::new(),
            label_bytes_max: LABEL_BYTES_MIN,
        }
    }

    /// Takes an input and appends what comes of it to `out`.
    pub fn apply(&mut self, input: Input<'_>, out: &mut Output) {
        match input {
            Input::Samples { batch, now_ms } => self.apply_samples(batch, now_ms, out),
            Input::Tick { now_ms } => self.tick(now_ms, out),
        }
    }

    /// Number of hosts.
    #[must_use]
    pub fn n_hosts(&self) -> usize {
        self.hosts.len()
    }

    fn apply_samples(&mut self, batch: &SampleBatch, now_ms: TimestampMs, out: &mut Output) {
        let mut current: Option<(&str, usize)> = None;
        for series in batch.iter() {
            let host = match current {
                Some((name, host)) if name == series.host => host,
                _ => match self.host(&series, out) {
                    Some(host) => host,
                    None => continue,
                },
            };
            current = Some((series.host, host));
            self.apply_series(host, &series, now_ms, out);
        }
        let mut touched = std::mem::take(&mut self.touched);
        for host in touched.drain(..) {
            let host = &mut self.hosts[host];
            host.is_touched = false;
            host.advance(now_ms, &mut self.shared, out);
            out.statuses.push(host.status(&self.shared));
        }
        self.touched = touched;
        self.forget_unused_label_sets();
    }

    /// The host of a series. It is made by its first series that a feature reads: `up`, which every target has, makes none, so
    /// that exporters of another kind don't become hosts without features. `None` where there is none.
    fn host(&mut self, series: &SeriesView<'_>, out: &mut Output) -> Option<usize> {
        if let Some(&host) = self.by_name.get(series.host) {
            return Some(host);
        }
        let config = &self.shared.config;
        config.plan.candidates(series.metric).next()?;
        let mut labels = Vec::new();
        if let Err(reason) = parse_labels(series.labels, config.limits.labels, &mut labels) {
            refuse(reason, series, out);
            return None;
        }
        if select(&config.plan, series.metric, &labels).is_empty() {
            return None;
        }
        if self.hosts.len() >= config.limits.hosts {
            out.counts.add(Event::Hosts, series.samples.len() as u64);
            return None;
        }
        labels.retain(|(name, _)| *name == config.identity || config.keep.iter().any(|k| k == name));
        let id = HostId { name: series.host.into(), labels: Labels::from_pairs(labels) };
        self.hosts.push(Host::new(Arc::new(id), &self.shared));
        let host = self.hosts.len() - 1;
        self.by_name.insert(series.host.into(), host);
        Some(host)
    }

    fn apply_series(&mut self, host_idx: usize, series: &SeriesView<'_>, now_ms: TimestampMs, out: &mut Output) {
        let host = &mut self.hosts[host_idx];
        let slot = match host.find(series.labels_hash) {
            Lookup::Slot(slot) => slot,
            Lookup::Unselected => return,
            // A series of which all samples are late is not worth remembering.
            Lookup::Unknown if host.is_late(series.samples) => {
                out.counts.add(Event::Late, series.samples.len() as u64);
                return;
            }
            Lookup::Unknown => match add_series(host, series, &mut self.shared, out) {
                Some(slot) => slot,
                None => return,
            },
        };
        if !host.is_touched {
            host.is_touched = true;
            self.touched.push(host_idx);
        }
        for sample in series.samples {
            host.insert(slot, *sample, now_ms, &mut self.shared, out);
        }
        // Only now: applying frames may renumber the slots.
        host.limit_frames(&mut self.shared, out);
    }

    fn tick(&mut self, now_ms: TimestampMs, out: &mut Output) {
        let lateness_ms = self.shared.config.lateness_ms;
        for host in &mut self.hosts {
            if host.is_due(now_ms, lateness_ms) {
                host.advance(now_ms, &mut self.shared, out);
                out.statuses.push(host.status(&self.shared));
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
        let old =
            std::mem::replace(&mut self.shared.sets, LabelSets::new(Arc::clone(&self.shared.config.plan.groupings)));
        for host in &mut self.hosts {
            host.slots.renew_label_sets(|set| self.shared.sets.intern(Labels::clone(old.get(set))));
        }
        self.label_bytes_max = LABEL_BYTES_MIN.max(2 * self.shared.sets.bytes());
    }
}

/// Looks at a series for the first time; `None` where nothing wants it or it is refused.
fn add_series(host: &mut Host, series: &SeriesView<'_>, shared: &mut Shared, out: &mut Output) -> Option<u32> {
    let config = &shared.config;
    let mut labels = Vec::new();
    let parsed = parse_labels(series.labels, config.limits.labels, &mut labels);
    let is_small = series.labels.len() <= config.limits.series_label_bytes;
    if let Err(reason) = parsed.and(if is_small { Ok(()) } else { Err(InvalidSeries::LabelTooLong) }) {
        refuse(reason, series, out);
        return None;
    }
    labels.retain(|(name, _)| !config.drop.iter().any(|dropped| dropped == name));
    let selected = select(&config.plan, series.metric, &labels);
    let name = labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| *value);
    let is_up = slots::is_up(series.metric, name);
    if selected.is_empty() && !is_up {
        // Nothing of it is interned: unselected series may be of any number.
        host.slots.ignore(series.labels_hash, 2 * config.limits.series_per_host);
        return None;
    }
    labels.retain(|(name, _)| *name != config.identity);
    let identity = shared.sets.intern(Labels::from_pairs(labels.iter().copied()));
    labels.retain(|(name, _)| *name != METRIC_NAME);
    let labels = shared.sets.intern(Labels::from_pairs(labels));
    let new = NewSeries { labels_hash: series.labels_hash, identity, labels, is_up };
    let slot = host.slots.add(&new, &selected, config.limits.series_per_host);
    if slot.is_none() {
        out.counts.add(Event::SeriesPerHost, series.samples.len() as u64);
    }
    slot
}

/// The leaves that select a series of `metric` with `labels`, `__name__` and the identity label among them.
fn select(plan: &Plan, metric: u16, labels: &[(&str, &str)]) -> Vec<u16> {
    plan.candidates(metric).filter(|leaf| plan.leaves[*leaf as usize].selector.is_match(labels)).collect()
}

fn refuse(reason: InvalidSeries, series: &SeriesView<'_>, out: &mut Output) {
    out.invalid_series[reason as usize] += 1;
    out.counts.add(Event::InvalidLabels, series.samples.len() as u64);
}
