//! The configuration: as written (YAML) → validated. Every limit and default lives here.
//!
//! `yaml` makes a tree with places, `reader` reads typed values and collects problems, `read` knows the keys. Expressions
//! stay text: `expr` parses them and speaks of their place ([`Feature::at`]).

mod defaults;
mod errors;
mod features;
pub mod manifest;
mod overrides;
mod placeholders;
mod promote;
pub mod push;
mod read;
mod reader;
mod secret;
pub mod silence;
mod size;
mod verbatim;
pub mod webhook;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::config::silence::hosts::HostLabels;
pub use crate::promql::duration::{duration_ms, duration_text};
pub use errors::{ConfigErrors, Place, Problem};
pub use overrides::{Detect, Maintenance, Override, Rule};
pub use promote::promoted;
pub(crate) use reader::is_name;
pub use secret::Secret;
pub use size::{size_bytes, size_text};
pub use verbatim::Verbatim;

use crate::base::bounds::Bounds;

/// Reads and validates the file at `path`.
///
/// # Errors
/// All that is wrong with it, or that it can't be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let file_name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file_name, &text).map(|config| Config { file: Some(path.to_owned()), ..config }),
        Err(error) => {
            let message = format!("cannot read the file: {error}");
            Err(ConfigErrors::new(&file_name, "", vec![Problem { place: None, message }]))
        }
    }
}

/// Validates `text`; `file_name` is what messages call it. `%{NAME}` stands for the environment variable `NAME`.
///
/// # Errors
/// All that is wrong with it, each with line, column and what to write instead.
pub fn parse(file_name: &str, text: &str) -> Result<Config, ConfigErrors> {
    parse_with(file_name, text, &|name| std::env::var(name).ok())
}

/// As [`parse`], with another environment: `env` gives the value of a variable.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(file_name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    read::config(file_name, text, env)
}

/// The validated configuration. `Config::default()` is what runs without a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that it was read from.
    pub file: Option<PathBuf>,
    /// Settings by which samples are told apart by host.
    pub identity: Identity,
    /// Interval between rows; the bundle's where `None`.
    pub step_ms: Option<i64>,
    /// Which bundle, under which name.
    pub model: Model,
    /// A second bundle that scores beside and never flags.
    pub shadow: Option<Model>,
    /// From mse to flag.
    pub detection: Detection,
    /// Changes to the detection for some hosts, in the order of the file.
    pub overrides: Vec<Override>,
    /// Recurring spans in which some hosts are neither flagged nor learnt from.
    pub maintenance: Vec<Maintenance>,
    /// Changes to the bundle's constants of the running statistics, as written.
    pub standardisation: StandardisationOverrides,
    /// The features, in the order of the rows' columns; the preset unless given.
    pub features: Vec<Feature>,
    /// Event time: lateness and bounds.
    pub ingest: Ingest,
    /// Receiver that results are pushed to; none where `None`.
    pub push: Option<push::Push>,
    /// Bounds within which what people say of events may move limits.
    pub feedback: Feedback,
    /// Receiver that is told of events; nobody where `None`.
    pub webhook: Option<webhook::Webhook>,
    /// Limits of memory.
    pub limits: Limits,
    /// Content of `/metrics`.
    pub metrics: Metrics,
    /// Parallelism.
    pub threads: Threads,
}

/// Settings by which samples are told apart by host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The label whose values are the hosts. Default `instance`.
    pub label: String,
    /// Labels that replicas of one sender differ in; dropped before anything else, and one replica at a time is heard. Default
    /// `prometheus_replica`, `__replica__`, `replica`, `receive_replica`, but for those that are kept or that a feature reads.
    pub drop: Vec<String>,
    /// Whether nobody chose them.
    pub is_drop_default: bool,
    /// Further labels of a host that its results carry. Default `job`.
    pub keep: Vec<String>,
}

impl Identity {
    /// The labels that a host's results carry.
    #[must_use]
    pub fn host_labels(&self) -> HostLabels {
        HostLabels::new(&self.label, &self.keep)
    }
}

/// Which bundle, under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The `.onnx` file; the bundle that is compiled into the binary where `None`.
    pub bundle: Option<PathBuf>,
    /// Value of the label `model` of every result. Default `default`.
    pub alias: String,
    /// T, where the bundle's graph leaves the number of rows open; the bundle's where `None`.
    pub window: Option<usize>,
}

/// From mse to flag. `None` means the bundle's.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The smoothed mse over which a row counts as anomalous.
    pub limit: Option<Limit>,
    /// Time constant of the smoothing, in rows.
    pub smoothing_rows: Option<f64>,
    /// Scale that the errors of features are taken relative to.
    pub scale: Option<Scale>,
    /// Rows in a row over the limit that raise the flag.
    pub for_rows: Option<u32>,
    /// The score under which the flag is cleared. Default 0.7.
    pub clear: f64,
    /// Event time that a host must have been seen before it can be flagged. Default 6 h.
    pub min_history_ms: i64,
    /// Share of the bundle's features that may be missing from a window, and from its newest row. Default 0.5.
    pub max_missing: f64,
    /// Silence after which a host is stale. Default 5 min.
    pub stale_after_ms: i64,
    /// Flags of a host that are at most so far apart are one event. Default 15 min.
    pub merge_ms: i64,
    /// Rows closed so long after their time, by our clock, raise no flag. Default 15 min.
    pub max_lag_ms: i64,
}

/// Limit that the smoothed mse is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The same for ever.
    Fixed(f64),
    /// A bounded quantile of the host's own smoothed mse.
    Auto,
}

/// Scale that the squared errors of features are taken relative to before their mean is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Usual error of the feature on the host, by time of day.
    Residual,
    /// Nothing.
    None,
}

/// Constants of [`crate::engine::standardise::Constants`] that the file gives; times in seconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StandardisationOverrides {
    /// Memory of mean and variance.
    pub memory_s: Option<f64>,
    /// Rows before anything is standardised.
    pub warmup_s: Option<f64>,
    /// Floor of the deviation as a share of the range.
    pub floor: Option<f64>,
    /// Time that a level shift must hold until it is learnt.
    pub takeover_hold_s: Option<f64>,
}

/// A feature as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// Unique; `[a-zA-Z_][a-zA-Z0-9_]*`.
    pub name: String,
    /// PromQL.
    pub expr: String,
    /// `ratio`, `bytes/s`, …; empty where not given.
    pub unit: String,
    /// One line for people; empty where not given.
    pub help: String,
    /// Least deviation in the feature's own unit. Default 0: none.
    pub floor: f64,
    /// The values that it can take; others are missing. Default all.
    pub bounds: Bounds,
    /// Which of its errors count. Default all.
    pub rule: Rule,
    /// Place of the expression, for messages: `file:line:column`.
    pub at: String,
    /// The lines of the file that hold the expression; none where the file writes it in another way.
    pub lines: Vec<Verbatim>,
}

impl Feature {
    /// Returns the place of a character of the expression, counted from 1: `file:line:column`; `None` where that can't be told.
    #[must_use]
    pub fn at_character(&self, character: usize) -> Option<String> {
        let (line, column) = verbatim::place_of(&self.lines, character)?;
        let file = self.at.rsplitn(3, ':').nth(2)?;
        Some(format!("{file}:{line}:{column}"))
    }
}

/// Event time: lateness and bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// Scrape interval of hosts; by each host's own samples where `None`.
    pub interval_ms: Option<i64>,
    /// Time that a step waits for late samples. Default 10 s.
    pub lateness_ms: i64,
    /// Lookback of an instant selector. Default 5 min.
    pub lookback_ms: i64,
    /// Samples further than this ahead of the clock are refused. Default 10 min.
    pub max_future_ms: i64,
    /// Samples older than this are refused. Default 7 d.
    pub max_age_ms: i64,
}

/// Bounds within which what people say of events may move the limit of a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Feedback {
    /// Factor that one opinion multiplies or divides the limit with. Default 1.1.
    pub step: f64,
    /// The least that all of them multiply the limit with. Default 0.5.
    pub min: f64,
    /// The most. Default 3.
    pub max: f64,
}

/// Limits of memory. Reaching one moves a counter with a `reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body, compressed and decompressed each. Default 32 MiB.
    pub body_bytes: usize,
    /// Requests decoded at once; more wait. Default 2 × cores.
    pub concurrent_requests: usize,
    /// Time that a request waits for a place before it is answered 429. Default 10 s.
    pub queue_wait_ms: u64,
    /// Connections open at once; more wait to be accepted. Default 10,000.
    pub connections: usize,
    /// Hosts kept, spread evenly over the shards. Default 100,000.
    pub hosts: usize,
    /// Wanted series kept per host. Default 5,000.
    pub series_per_host: usize,
    /// Labels of a series. Default 64.
    pub labels_per_series: usize,
    /// Bytes of a label name. Default 256.
    pub label_name_bytes: usize,
    /// Bytes of a label value. Default 4,096.
    pub label_value_bytes: usize,
    /// Bytes of all labels of a wanted series. Default 8 KiB.
    pub series_label_bytes: usize,
    /// Frames of one host that wait for their lateness to pass. Default 256.
    pub frames_per_host: usize,
    /// Samples that one host's range selectors may hold. Default 200,000.
    pub samples_per_host: usize,
    /// Batches that may wait for a shard. Default 64.
    pub shard_queue: usize,
    /// Closed rows that may wait for a scorer. Default 8,192.
    pub scorer_queue: usize,
    /// Silence after which a host is forgotten. Default 24 h.
    pub host_idle_ms: i64,
    /// Silences that were asked for and are not over. Default 1,000.
    pub silences: usize,
    /// Events kept. Default 10,000.
    pub events: usize,
    /// Opinions about events that are in force. Default 10,000.
    pub feedback: usize,
    /// Bytes of the file of events in `--storage.path`. Default 64 MiB.
    pub event_log_bytes: usize,
}

/// Content of `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Detail of each host. Default full.
    pub detail: Detail,
    /// Series of hosts; past it the page is compact, and past it still the rest is left out. Default 1,000,000.
    pub max_series: usize,
}

/// Detail in which `/metrics` shows each host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Full,
    /// Flag, mse and state.
    Compact,
}

/// Parallelism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threads {
    /// Threads that own hosts. Default: cores, at most 4.
    pub shards: usize,
    /// Threads that score. Default: half the cores, at least 1.
    pub scorers: usize,
}
