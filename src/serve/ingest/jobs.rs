//! Which jobs send what, and what of it features read: for who asks why a sender has no effect.
//!
//! Fed with every series of a few bodies (see [`Look`](crate::decode::Look)), never with all. Owns its bounds, knows no clock and
//! writes no log: what is worth a line comes out as a [`Notice`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use super::distinct::Distinct;
use super::notice::{Notice, Notices};
use crate::decode::{Look, Seen, SeriesSummary, Wanted, label_hash};
use crate::promql::plan::UP_NAME;
use crate::series::TimestampMs;

/// A body without anything new is looked at so often, to find a second job that sends what the first does.
const LOOK_EVERY_MS: i64 = 30_000;
/// Jobs known at once.
const JOBS_MAX: usize = 200;
/// Prefixes of a job's metrics known at once.
const PREFIXES_MAX: usize = 30;
/// Names of labels kept of the series of a job that lack the identity label.
const LABELS_MAX: usize = 20;
/// A job that was not seen for so long makes place for another one: bodies are sampled, so a small job is seen seldom.
const FORGET_MS: i64 = 6 * 3_600_000;
/// A job whose metrics might belong to an exporter that features read is called unused only after so long: its first body may be
/// a part of a scrape.
const DOUBT_MS: i64 = 60_000;
/// Longer names of jobs, prefixes and labels are cut.
const TEXT_BYTES_MAX: usize = 128;

/// Prefixes that exporters of every kind have: they tell nothing about the kind.
const GENERIC: [&str; 6] = ["go_", "process_", "promhttp_", "python_", "scrape_", UP_NAME];

/// Prefixes of the series that every scrape has, whatever the exporter.
const OF_SCRAPES: [&str; 2] = ["scrape_", UP_NAME];

/// Of our own metrics: whoever sends all that is scraped sends them too, and that needs no line.
const OWN_PREFIX: &str = "outlierd_";

/// The jobs that send to this process.
#[derive(Debug)]
pub(super) struct Jobs {
    seen: Seen,
    /// When a body is looked at next although nothing is new.
    next_look_ms: AtomicI64,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// The identity label.
    identity: String,
    /// Beginnings of the names that features read.
    read_prefixes: BTreeSet<String>,
    /// By name; at most [`JOBS_MAX`].
    jobs: BTreeMap<String, Job>,
    /// Jobs for which there was no place.
    left_out: Distinct,
    notices: Notices,
    looked_at_ms: Option<TimestampMs>,
}

/// A value of the label `job`.
#[derive(Debug)]
struct Job {
    first_ms: TimestampMs,
    last_ms: TimestampMs,
    /// By the beginning of the metric name, see [`prefix_of`].
    prefixes: BTreeMap<String, Prefix>,
    /// Prefixes for which there was no place.
    left_out: Distinct,
    /// The series of those.
    others: Prefix,
    without_identity: WithoutIdentity,
    /// Which notices there were: that it is unused, that it lacks the identity label.
    noticed: Noticed,
}

#[derive(Debug, Default)]
struct Noticed {
    is_unused: bool,
    lacks_identity: bool,
}

#[derive(Debug, Default)]
struct Prefix {
    series: Distinct,
    /// Those that a feature reads and that have a host.
    used: Distinct,
}

#[derive(Debug, Default)]
struct WithoutIdentity {
    series: Distinct,
    /// Those that a feature would read.
    read: Distinct,
    /// Number of times that each label was met instead.
    labels: BTreeMap<String, u64>,
}

impl Jobs {
    /// Without any job.
    pub(super) fn new(wanted: &Wanted) -> Self {
        let (next_look_ms, table) = (AtomicI64::new(TimestampMs::MIN), Mutex::new(Table::new(wanted)));
        Self { seen: Seen::default(), next_look_ms, table }
    }

    /// Begins anew: other features make other jobs useful.
    pub(super) fn reconfigure(&self, wanted: &Wanted) {
        let mut table = self.lock();
        *table = Table::new(wanted);
        self.seen.clear();
        self.next_look_ms.store(TimestampMs::MIN, Relaxed);
    }

    /// Lets `decode` run with a look; what it tells of is added. Gives what is worth a line in the log.
    pub(super) fn look<T>(&self, now_ms: TimestampMs, decode: impl FnOnce(Look<'_>) -> T) -> (T, Vec<Notice>) {
        let is_due = now_ms >= self.next_look_ms.load(Relaxed);
        // Locked by the first series that is told of: most bodies have none.
        let mut table: Option<MutexGuard<'_, Table>> = None;
        let mut visit = |series: &SeriesSummary<'_>| table.get_or_insert_with(|| self.lock()).add(series, now_ms);
        let decoded = decode(Look { seen: &self.seen, is_due, visit: &mut visit });
        let Some(mut table) = table else { return (decoded, Vec::new()) };
        self.next_look_ms.store(now_ms.saturating_add(LOOK_EVERY_MS), Relaxed);
        (decoded, table.finish(now_ms))
    }

    /// Reports what is known.
    pub(super) fn report(&self) -> JobsReport {
        self.lock().report()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }
}

impl Table {
    fn new(wanted: &Wanted) -> Self {
        Self {
            identity: wanted.identity().to_owned(),
            read_prefixes: wanted.read_names().map(|name| prefix_of(name.as_bytes())).collect(),
            jobs: BTreeMap::new(),
            left_out: Distinct::default(),
            notices: Notices::default(),
            looked_at_ms: None,
        }
    }

    fn add(&mut self, series: &SeriesSummary<'_>, now_ms: TimestampMs) {
        let name = text(series.job);
        if !self.jobs.contains_key(&name) && !self.has_place(now_ms, series.is_read) {
            self.left_out.add(label_hash("job", &name));
            return;
        }
        self.looked_at_ms = Some(now_ms);
        let job = self.jobs.entry(name).or_insert_with(|| Job::new(now_ms));
        job.last_ms = job.last_ms.max(now_ms);
        let prefix = prefix_of(series.name);
        let has_place = job.prefixes.len() < PREFIXES_MAX || job.prefixes.contains_key(&prefix);
        let prefix = if has_place {
            job.prefixes.entry(prefix).or_default()
        } else {
            job.left_out.add(label_hash("prefix", &prefix));
            &mut job.others
        };
        prefix.series.add(series.hash);
        if series.is_read && series.has_identity {
            prefix.used.add(series.hash);
        }
        if !series.has_identity {
            job.without_identity.add(series, &self.identity);
        }
    }

    /// Whether there is room for one more job, made by forgetting one that has long been silent, or for one that features read by
    /// forgetting one that they don't.
    fn has_place(&mut self, now_ms: TimestampMs, is_read: bool) -> bool {
        if self.jobs.len() < JOBS_MAX {
            return true;
        }
        let silent = |(_, job): &(&String, &Job)| job.last_ms < now_ms.saturating_sub(FORGET_MS);
        let unread = |(_, job): &(&String, &Job)| is_read && !job.is_used() && job.without_identity.read.is_empty();
        let Some(name) =
            self.jobs.iter().find(silent).or_else(|| self.jobs.iter().find(unread)).map(|(name, _)| name.clone())
        else {
            return false;
        };
        self.jobs.remove(&name);
        true
    }

    /// Ends a look: what is to be said of the jobs that were met.
    fn finish(&mut self, now_ms: TimestampMs) -> Vec<Notice> {
        let mut found = Vec::new();
        for (name, job) in self.jobs.iter_mut().filter(|(_, job)| job.last_ms == now_ms) {
            if !job.without_identity.read.is_empty() && !job.noticed.lacks_identity {
                job.noticed.lacks_identity = true;
                let (labels, is_some) = (job.without_identity.labels(), job.is_used());
                found.push(Notice::NoIdentity { job: name.clone(), identity: self.identity.clone(), labels, is_some });
            }
            if job.is_used() {
                if std::mem::take(&mut job.noticed.is_unused) {
                    found.push(Notice::UsedAfterAll { job: name.clone() });
                }
            } else if !job.noticed.is_unused && job.is_surely_unused(&self.read_prefixes, now_ms) {
                job.noticed.is_unused = true;
                found.push(Notice::Unused { job: name.clone(), prefixes: job.telling_prefixes() });
            }
        }
        self.notices.limit(found, now_ms)
    }

    fn report(&self) -> JobsReport {
        let mut labels: BTreeMap<String, u64> = BTreeMap::new();
        let (mut series, mut read) = (0, 0);
        for lacking in self.jobs.values().map(|job| &job.without_identity) {
            series += lacking.series.count();
            read += lacking.read.count();
            lacking.labels.iter().for_each(|(label, n)| *labels.entry(label.clone()).or_default() += n);
        }
        let reason = (series > 0).then(|| {
            let labels = most_frequent(&labels);
            let identity = self.identity.clone();
            Notice::NoIdentity { job: String::new(), identity, labels, is_some: false }.advice()
        });
        JobsReport {
            identity: self.identity.clone(),
            looked_at_ms: self.looked_at_ms,
            jobs: self.jobs.iter().map(|(name, job)| job.report(name, &self.identity)).collect(),
            jobs_left_out: self.left_out.count(),
            without_identity: LackingReport { series, read_series: read, labels: most_frequent(&labels), reason },
        }
    }
}

impl Job {
    fn new(now_ms: TimestampMs) -> Self {
        Self {
            first_ms: now_ms,
            last_ms: now_ms,
            prefixes: BTreeMap::new(),
            left_out: Distinct::default(),
            others: Prefix::default(),
            without_identity: WithoutIdentity::default(),
            noticed: Noticed::default(),
        }
    }

    fn all_prefixes(&self) -> impl Iterator<Item = &Prefix> {
        self.prefixes.values().chain([&self.others])
    }

    fn is_used(&self) -> bool {
        self.all_prefixes().any(|prefix| !prefix.used.is_empty())
    }

    /// Whether it is safe to say that no feature reads it. Where its series lack the identity label, that is what is said.
    fn is_surely_unused(&self, read_prefixes: &BTreeSet<String>, now_ms: TimestampMs) -> bool {
        if !self.without_identity.read.is_empty()
            || self.prefixes.contains_key(OWN_PREFIX)
            || self.sends_scrape_metrics_alone()
        {
            return false;
        }
        let is_of_other_kind = |name: &String| !GENERIC.contains(&name.as_str()) && !read_prefixes.contains(name);
        let is_doubtful = self.prefixes.keys().any(|name| read_prefixes.contains(name))
            || !self.prefixes.keys().any(is_of_other_kind);
        !is_doubtful || now_ms.saturating_sub(self.first_ms) >= DOUBT_MS
    }

    /// Whether nothing comes but what Prometheus and vmagent say of the scrape itself, as where a sender keeps `up|node_.*`: nobody
    /// need do anything about it.
    fn sends_scrape_metrics_alone(&self) -> bool {
        self.prefixes.keys().all(|name| OF_SCRAPES.contains(&name.as_str()))
    }

    /// Its prefixes, those with most series first, generic ones last.
    fn telling_prefixes(&self) -> Vec<String> {
        let mut prefixes: Vec<(&String, u64)> =
            self.prefixes.iter().map(|(name, prefix)| (name, prefix.series.count())).collect();
        prefixes.sort_by_key(|(name, n)| (GENERIC.contains(&name.as_str()), std::cmp::Reverse(*n)));
        prefixes.into_iter().map(|(name, _)| name.clone()).collect()
    }

    fn report(&self, name: &str, identity: &str) -> JobReport {
        let used = self.is_used();
        let prefixes = self.prefixes.iter().map(|(name, prefix)| PrefixReport {
            prefix: name.clone(),
            series: prefix.series.count(),
            // Whether a host is down is read from `up` where it has features at all.
            used: !prefix.used.is_empty() || used && name == UP_NAME,
        });
        let reason = if used {
            None
        } else if !self.without_identity.read.is_empty() {
            let (job, identity) = (name.to_owned(), identity.to_owned());
            Some(Notice::NoIdentity { job, identity, labels: self.without_identity.labels(), is_some: false }.advice())
        } else if self.sends_scrape_metrics_alone() {
            Some(
                "only `up` and `scrape_*` arrive from this job, and no feature reads them: nothing needs to be done"
                    .to_owned(),
            )
        } else {
            Some(Notice::Unused { job: name.to_owned(), prefixes: self.telling_prefixes() }.advice())
        };
        JobReport {
            job: name.to_owned(),
            used,
            reason,
            series: self.all_prefixes().map(|prefix| prefix.series.count()).sum(),
            used_series: self.all_prefixes().map(|prefix| prefix.used.count()).sum(),
            without_identity: self.without_identity.series.count(),
            prefixes: prefixes.collect(),
            prefixes_left_out: self.left_out.count(),
            first_seen_ms: self.first_ms,
            last_seen_ms: self.last_ms,
        }
    }
}

impl WithoutIdentity {
    fn add(&mut self, series: &SeriesSummary<'_>, identity: &str) {
        self.series.add(series.hash);
        if series.is_read {
            self.read.add(series.hash);
        }
        // The identity label may be there and be empty.
        let is_other = |label: &&&[u8]| **label != b"__name__" && **label != identity.as_bytes();
        for label in series.labels.iter().filter(is_other) {
            let label = text(label);
            if self.labels.len() < LABELS_MAX || self.labels.contains_key(&label) {
                *self.labels.entry(label).or_default() += 1;
            }
        }
    }

    fn labels(&self) -> Vec<String> {
        most_frequent(&self.labels)
    }
}

/// Names of labels, the most frequent first, without those that are seldom there: one that every series has may name the host.
fn most_frequent(labels: &BTreeMap<String, u64>) -> Vec<String> {
    let most = labels.values().max().copied().unwrap_or_default();
    let mut labels: Vec<(&String, &u64)> = labels.iter().filter(|(_, n)| 2 * **n >= most).collect();
    labels.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    labels.into_iter().map(|(label, _)| label.clone()).take(LABELS_MAX).collect()
}

/// The part of a metric name up to and including the first `_` (`windows_`), or `:` as recorded metrics have it; all of a name
/// without one.
fn prefix_of(name: &[u8]) -> String {
    let end = name.iter().position(|byte| matches!(byte, b'_' | b':')).map_or(name.len(), |at| at + 1);
    text(&name[..end])
}

/// As text, cut where it is long.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]);
    text.into_owned()
}

/// Series that arrive, by job. Numbers of series are of all that was looked at, exact up to about a hundred, an estimate beyond.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobsReport {
    /// The label whose values are the hosts.
    pub identity: String,
    /// When a body was looked at last; `None` before the first.
    pub looked_at_ms: Option<TimestampMs>,
    /// Sorted by name; series without the label `job` are those of the job "".
    pub jobs: Vec<JobReport>,
    /// Jobs for which there was no place.
    pub jobs_left_out: u64,
    /// Series that belong to no host.
    pub without_identity: LackingReport,
}

/// A value of the label `job`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobReport {
    /// The value; "" where series have none.
    pub job: String,
    /// Whether some feature reads any of its series.
    pub used: bool,
    /// Why none does, and what to do.
    pub reason: Option<String>,
    /// All series.
    pub series: u64,
    /// Those that features read.
    pub used_series: u64,
    /// Those without the identity label.
    pub without_identity: u64,
    /// By the beginning of the metric name.
    pub prefixes: Vec<PrefixReport>,
    /// Prefixes for which there was no place.
    pub prefixes_left_out: u64,
    /// When it was looked at first.
    pub first_seen_ms: TimestampMs,
    /// When it was looked at last.
    pub last_seen_ms: TimestampMs,
}

/// Metrics that begin alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrefixReport {
    /// Up to and including the first `_`.
    pub prefix: String,
    /// All series.
    pub series: u64,
    /// Whether some feature reads any of them.
    pub used: bool,
}

/// Series without the identity label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LackingReport {
    /// All of them.
    pub series: u64,
    /// Those whose metric features read.
    pub read_series: u64,
    /// The labels that they have instead, the most frequent first.
    pub labels: Vec<String>,
    /// Advice about them; `None` where there are none.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests;
