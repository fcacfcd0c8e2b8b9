//! `outlierd evaluate`: how well a bundle finds the incidents of labelled data, beside simple baselines.
//!
//! Rows are standardised, windows made, scored and judged by what `serve` runs.

mod host;
mod leave_out;
mod report;
mod subject;
mod system;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, anyhow, ensure};

use self::host::HostReport;
use self::subject::Subject;
use super::output::OutputFile;
use crate::model::bundle::Bundle;
use crate::model::session::Runtime;
use crate::offline::evaluate::baseline::Kind;
use crate::offline::evaluate::rows::Statistics;
use crate::offline::labelled::{LabelledHost, read_hosts};

/// Value of `--bundle` for none.
const NO_BUNDLE: &str = "none";

/// Flags of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Folder of labelled data, a file per host: X.npz with `train`, `test` and `label` (and X.json), or X.csv with a column per
    /// feature and a column `label`.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Where to write the score and flag of every labelled row, as CSV.
    #[arg(long, value_name = "FILE")]
    pub scores: Option<PathBuf>,
    /// The bundle; `none` for the baselines alone. Without it the built-in one.
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// Compare with simple forecasts under the same rule.
    #[arg(long)]
    pub baselines: bool,
    /// Where mean and deviation come from: the running statistics of the service, or each host's rows without a label, which is what
    /// papers do.
    #[arg(long, value_enum, default_value = "running")]
    pub statistics: StatisticsFlag,
    /// Train on these hosts, and score each by a model that has not seen it: hosts are left out in K groups, or one by one.
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "0", conflicts_with_all = ["bundle", "system"])]
    pub leave_hosts_out: Option<usize>,
    /// Through a whole service: the data is played as node_exporters over remote write, and the flags are read from its API.
    #[arg(long, conflicts_with = "baselines")]
    pub system: bool,
    /// The ONNX Runtime library. Without it the usual places are looked through.
    #[arg(long = "onnxruntime.path", value_name = "FILE")]
    pub onnxruntime_path: Option<PathBuf>,
}

/// How the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table.
    Text,
    /// One JSON object.
    Json,
}

/// See [`Statistics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StatisticsFlag {
    /// As the service.
    Running,
    /// As papers.
    Batch,
}

/// Writes the metrics to stdout, and to stderr what a reader must know to trust them.
///
/// # Errors
/// The data, the bundle or ONNX Runtime cannot be used, or the data has none of the bundle's features.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let hosts = read_hosts(&flags.dir)?;
    let is_bare = flags.bundle.as_ref().is_some_and(|path| path.as_os_str() == NO_BUNDLE);
    ensure!(!is_bare || flags.baselines, "`--bundle none` leaves nothing to measure: add --baselines");
    ensure!(!is_bare || flags.scores.is_none(), "`--bundle none` has no scores to write: leave --scores out");
    let scores = flags.scores.as_deref().map(OutputFile::new).transpose()?;
    let step_ms = common_step(&hosts)?;
    let statistics = match flags.statistics {
        StatisticsFlag::Running => Statistics::Running,
        StatisticsFlag::Batch => Statistics::Batch,
    };
    if flags.system {
        return run_system(flags, &hosts, step_ms, scores.as_ref());
    }
    let kinds: &[Kind] = if flags.baselines { &Kind::ALL } else { &[] };
    let runtime = if is_bare { None } else { Some(Runtime::load(flags.onnxruntime_path.as_deref())?) };
    let subjects = subjects(flags, &hosts, step_ms, is_bare)?;
    for note in subjects.notes(&hosts)? {
        report::warn(&note);
    }
    let judge = |n: usize| {
        let host = &hosts[n];
        let judged = host::judge(host, subjects.of(n), runtime, statistics, kinds);
        judged.with_context(|| format!("cannot evaluate the host {}", host.name))
    };
    let hosts = on_all_cores(hosts.len(), &judge)?;
    if let Some(scores) = scores {
        scores.write(report::scores(&hosts).as_bytes())?;
    }
    let report = report::Report::new(subjects.title(statistics), &hosts, kinds);
    report.warnings().iter().for_each(|warning| report::warn(warning));
    report.write(flags.format)
}

/// See [`system`].
fn run_system(
    flags: &Flags,
    hosts: &[LabelledHost],
    step_ms: Option<i64>,
    scores: Option<&OutputFile>,
) -> anyhow::Result<()> {
    ensure!(
        flags.statistics == StatisticsFlag::Running,
        "--system has the statistics of the service: leave --statistics out"
    );
    let judged = system::judge(hosts, flags.bundle.as_deref(), step_ms, flags.onnxruntime_path.as_deref())?;
    if let Some(scores) = scores {
        scores.write(report::scores(&judged).as_bytes())?;
    }
    let title = "the whole service, over remote write and its API".to_owned();
    let report = report::Report::new(title, &judged, &[]);
    report.warnings().iter().for_each(|warning| report::warn(warning));
    report.write(flags.format)
}

/// Subjects that judge each host.
struct Subjects {
    all: Vec<Subject>,
    /// By host, which of them.
    by_host: Vec<usize>,
    /// Description of them, for the title.
    source: String,
}

impl Subjects {
    fn of(&self, host: usize) -> &Subject {
        &self.all[self.by_host[host]]
    }

    fn notes(&self, hosts: &[LabelledHost]) -> anyhow::Result<Vec<String>> {
        self.all.first().map_or_else(|| Ok(Vec::new()), |subject| subject.notes(hosts))
    }

    fn title(&self, statistics: Statistics) -> String {
        let statistics = match statistics {
            Statistics::Running => "running statistics, as in the service",
            Statistics::Batch => "statistics of each host's unlabelled rows, as in papers",
        };
        format!("{}; {statistics}", self.source)
    }
}

fn subjects(flags: &Flags, hosts: &[LabelledHost], step_ms: Option<i64>, is_bare: bool) -> anyhow::Result<Subjects> {
    if let Some(n_groups) = flags.leave_hosts_out {
        return leave_out::subjects(hosts, n_groups, step_ms);
    }
    let bundle = match flags.bundle.as_deref() {
        Some(path) if !is_bare => Bundle::load(path)?,
        _ => Bundle::built_in()?,
    };
    let by_host = vec![0; hosts.len()];
    let (subject, source) = if is_bare {
        (Subject::bare(&bundle, hosts, step_ms), "baselines alone".to_owned())
    } else {
        let source = bundle.source.clone();
        (Subject::new(bundle, hosts, step_ms), source)
    };
    Ok(Subjects { all: vec![subject], by_host, source })
}

/// The distance of rows that all hosts have, where files say one.
fn common_step(hosts: &[LabelledHost]) -> anyhow::Result<Option<i64>> {
    let first = hosts.iter().find(|host| host.step_ms.is_some());
    let Some((first, step_ms)) = first.and_then(|host| Some((host, host.step_ms?))) else { return Ok(None) };
    if let Some(other) = hosts.iter().find(|host| host.step_ms.is_some_and(|other| other != step_ms)) {
        anyhow::bail!(
            "the rows of {} are {} apart, those of {} {}: evaluate hosts of one step at a time",
            first.name,
            crate::config::duration_text(step_ms),
            other.name,
            crate::config::duration_text(other.step_ms.unwrap_or_default()),
        );
    }
    Ok(Some(step_ms))
}

/// `judge` of each of `n` hosts, in order.
fn on_all_cores(
    n: usize,
    judge: &(impl Fn(usize) -> anyhow::Result<HostReport> + Sync),
) -> anyhow::Result<Vec<HostReport>> {
    let n_threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(n);
    let next = AtomicUsize::new(0);
    let take = || {
        let mine = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|host| *host < n));
        mine.map(|host| judge(host).map(|report| (host, report))).collect::<anyhow::Result<Vec<_>>>()
    };
    let by_thread = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(take)).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread ended by itself"))?);
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut reports: Vec<(usize, HostReport)> = by_thread.into_iter().flatten().collect();
    reports.sort_by_key(|(host, _)| *host);
    Ok(reports.into_iter().map(|(_, report)| report).collect())
}
