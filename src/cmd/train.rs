//! `outlierd train`: history → engine → rows → LSTM → bundle.
//!
//! Owns the command's flags, what a terminal shows meanwhile, and Ctrl-C: the first ends the training and keeps the best so far, the
//! second quits.

use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;

use super::history::FromFlags;
use super::output::OutputFile;
use super::train_report::Report;
use crate::base::clock;
use crate::base::outbound;
use crate::config::duration_ms;
use crate::engine::Output;
use crate::engine::standardise::Constants;
use crate::model::manifest::Kind;
use crate::offline::history::History;
use crate::offline::train::bundle::bundle;
use crate::offline::train::dataset::{Collector, Dataset, Scale};
use crate::offline::train::fit::{Options, Progress, fit};
use crate::offline::train::network::NetworkConfig;
use crate::offline::train::sample::{Augmentation, Shape};
use crate::offline::train::source::{column, read_csv, read_labelled};
use crate::offline::train::split::HeldBack;
use crate::offline::train::usable::keep_usable;
use crate::setup::Setup;

/// Step, in milliseconds, where nothing says otherwise.
const STEP_MS: i64 = 60_000;
/// The longest window; beyond, the service's memory per host would be absurd.
const WINDOW_MAX: u64 = 1_000;
/// Values of the flags where nothing is given.
const DEFAULT: Options = Options::DEFAULT;
/// Data that a path may hold.
const HELD: &str = "recording (index.json), labelled data (<host>.npz) or one CSV";
/// Sources of the public data of labelled servers.
const WHERE: &str = "the Server Machine Dataset is published by NetManAIOps/OmniAnomaly and zhhlee/InterFusion (MIT), the Application \
     Server Dataset by zhhlee/InterFusion, JumpStarter's by NetManAIOps/JumpStarter: <host>.npz holds float32 `train` and `test` \
     [rows, columns] and uint8 `label` [rows of test]";

/// Flags of `train`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// A database, a recording, a CSV as `outlierd features` prints it, or a folder of labelled data, of which the unlabelled
    /// halves are taken.
    #[command(flatten)]
    pub history: FromFlags,
    /// Distance of two rows. Without it the configuration's, or 60s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub step: Option<i64>,
    /// The bundle to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The configuration file. Without it the built-in preset.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Name of the bundle; the file's without it.
    #[arg(long)]
    pub name: Option<String>,
    /// Where to write a report, as one HTML file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// What the model does: forecast the newest row, or reconstruct the window.
    #[arg(long = "type", value_enum, default_value_t = Type::of(DEFAULT.network.kind))]
    pub kind: Type,
    /// LSTM layers.
    #[arg(long, default_value_t = DEFAULT.network.layers, value_parser = count(1..=8))]
    pub layers: usize,
    /// Units of each layer.
    #[arg(long, default_value_t = DEFAULT.network.hidden, value_parser = count(1..=1024))]
    pub hidden: usize,
    /// T: rows of a window, the newest included.
    #[arg(long, default_value_t = DEFAULT.shape.window, value_parser = count(2..=WINDOW_MAX))]
    pub window: usize,
    /// Batches to learn from.
    #[arg(long, default_value_t = DEFAULT.steps)]
    pub steps: usize,
    /// Instead of --steps: how often all rows are seen, on average.
    #[arg(long, conflicts_with = "steps")]
    pub epochs: Option<f64>,
    /// Windows of a batch.
    #[arg(long, default_value_t = DEFAULT.shape.batch, value_parser = count(1..=4096))]
    pub batch: usize,
    /// Decides every random choice: the same rows and seed give the same bundle.
    #[arg(long, default_value_t = DEFAULT.seed)]
    pub seed: u64,
    /// At the start; falls to 0 with a cosine.
    #[arg(long, default_value_t = DEFAULT.learning_rate, value_parser = positive)]
    pub learning_rate: f64,
    /// What the head of a forecaster predicts.
    #[arg(long, value_enum, default_value_t = Predict::of(DEFAULT.network.predicts_change))]
    pub predict: Predict,
    /// Each feature of a training window is scaled by exp(this · N) and shifted by this · N'; 0 for neither.
    #[arg(long, default_value_t = DEFAULT.augmentation.scale, value_parser = share_of_two)]
    pub vary: f32,
    /// Don't leave features, families of features and spans of rows out of training windows at random.
    #[arg(long)]
    pub whole: bool,
    /// Share of the hosts that is held back to judge on.
    #[arg(long, default_value_t = DEFAULT.held_back.hosts, value_parser = share)]
    pub held_back_hosts: f64,
    /// Share of the other hosts' time, from its end, that is held back to judge on.
    #[arg(long, default_value_t = DEFAULT.held_back.time, value_parser = share)]
    pub held_back_time: f64,
}

/// See [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Type {
    /// The newest row from the rows before it.
    Forecast,
    /// The window from itself, through one state: an LSTM autoencoder.
    Reconstruct,
}

/// What the head of a forecaster predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Predict {
    /// The change from the newest row: hosts unlike those in training get persistence at worst.
    Change,
    /// The row itself.
    Level,
}

impl Type {
    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Forecast => Self::Forecast,
            Kind::Reconstruct => Self::Reconstruct,
        }
    }
}

impl Predict {
    const fn of(predicts_change: bool) -> Self {
        if predicts_change { Self::Change } else { Self::Level }
    }
}

/// Trains and writes the bundle; the report goes to stdout, and as a page to `--report`.
///
/// # Errors
/// The history cannot be read, nothing in it can be learnt from, or the bundle cannot be written.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let started = clock::monotonic();
    let output = OutputFile::new(&flags.output)?;
    let page = flags.report.as_deref().map(OutputFile::new).transpose()?;
    ensure!(flags.report.as_ref() != Some(&flags.output), "--report and --output name the same file");
    let interrupted = Interrupt::watch()?;
    let collector = read(flags, &interrupted)?;
    if collector.n_out_of_order > 0 {
        let n = collector.n_out_of_order;
        say(&format!("{n} rows left out, which were not newer than the host's row before: sort them by time\n"));
    }
    let mut data = collector.finish();
    ensure!(!interrupted.is_set(), "interrupted before the training began: nothing is written");
    let findings = keep_usable(&mut data, flags.window)?;
    say(&format!(
        "read {} rows of {} hosts, {} features\n{}",
        data.n_rows(),
        data.hosts.len(),
        data.columns.len(),
        findings.text()
    ));
    let options = options(flags, &data);
    let mut progress = Meter::new(options.shape.batch);
    let fitted = fit(&data, &options, &mut |now| {
        progress.show(now);
        if interrupted.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    progress.end();
    let trained = bundle(&name(flags), &source(flags), &data, &options, &fitted)?;
    output.write(&trained.bytes)?;
    let report = Report {
        from: shown(from(flags)?),
        data: &data,
        findings: &findings,
        options: &options,
        fitted: &fitted,
        trained: &trained,
        seconds: started.elapsed().as_secs_f64(),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}wrote {} ({} bytes)", report.text(), flags.output.display(), trained.bytes.len())?;
    if let Some((page, file)) = page.zip(flags.report.as_ref()) {
        page.write(report.page().as_bytes())?;
        writeln!(out, "wrote {}", file.display())?;
    }
    Ok(())
}

fn duration(text: &str) -> Result<i64, String> {
    duration_ms(text).filter(|ms| *ms > 0).ok_or_else(|| "must be a duration such as 60s or 14d".to_owned())
}

fn count(range: std::ops::RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x| range.contains(x));
    number.ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
}

fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0..=0.9)
}

fn share_of_two(text: &str) -> Result<f32, String> {
    number(text, 0.0..=2.0).map(|x| x as f32)
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, 1e-9..=1.0)
}

/// The rows of whatever `--from` names.
fn read(flags: &Flags, interrupted: &Interrupt) -> anyhow::Result<Collector> {
    let from = from(flags)?;
    let mut config = super::serve::load(flags.config_file.as_deref())?;
    let step_ms = flags.step.or(config.step_ms).unwrap_or(STEP_MS);
    config.step_ms = Some(step_ms);
    config.threads.shards = 1;
    let setup = Setup::new(config)?;
    let scale = Scale::new(step_ms, setup.statistics_over(Constants::default()));
    if from.contains("://") {
        return read_history(flags, &setup, scale, interrupted);
    }
    let path = Path::new(from);
    let has = |name: &str| path.join(name).exists();
    let has_npz = || {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|extension| extension == "npz"))
    };
    ensure!(
        path.exists(),
        "there is no {}: --from takes a URL such as http://victoriametrics:8428, or a {HELD}; {WHERE}",
        path.display()
    );
    if path.extension().is_some_and(|extension| extension == "csv") {
        read_csv(path, &setup.config.features, scale)
    } else if path.is_file() || has("index.json") {
        read_history(flags, &setup, scale, interrupted)
    } else if has_npz() {
        read_labelled(path, &setup.config.features, scale)
    } else {
        bail!("{} holds none of what --from takes: a {HELD}", path.display())
    }
}

/// Gives raw samples to an engine, and takes the rows that it closes.
fn read_history(flags: &Flags, setup: &Setup, scale: Scale, interrupted: &Interrupt) -> anyhow::Result<Collector> {
    let features = &setup.config.features;
    let columns = features.iter().map(|feature| column(&feature.name, features)).collect();
    let mut collector = Collector::new(columns, scale);
    let mut history = flags.history.open(setup, Arc::clone(&interrupted.0))?;
    let mut out = Output::default();
    let mut hosts_said = 0;
    while history.advance(&mut out)? {
        for row in &out.rows {
            collector.push(&row.host.name, row.t_ms, &row.values);
        }
        out.clear();
        hosts_said = say_read(&history, hosts_said);
    }
    for metric in history.absent() {
        say(&format!("no host has {metric}, which features read\n"));
    }
    Ok(collector)
}

/// Says how far the reading of a database is, host by host; gives the hosts done.
fn say_read(history: &History, hosts_said: usize) -> usize {
    match history.progress() {
        Some(now) if now.hosts_done > hosts_said => {
            say(&format!("read {} of {} hosts, {} samples\n", now.hosts_done, now.hosts, now.samples));
            now.hosts_done
        }
        _ => hosts_said,
    }
}

fn from(flags: &Flags) -> anyhow::Result<&str> {
    flags
        .history
        .from
        .as_deref()
        .context("--from is missing: name a database by its URL, a recording, a CSV or labelled data")
}

fn options(flags: &Flags, data: &Dataset) -> Options {
    let kind = match flags.kind {
        Type::Forecast => Kind::Forecast,
        Type::Reconstruct => Kind::Reconstruct,
    };
    let (window, batch) = (flags.window, flags.batch);
    let of_epochs = |epochs: f64| (epochs * data.n_rows() as f64 / (window * batch) as f64).ceil().max(1.0) as usize;
    Options {
        seed: flags.seed,
        network: NetworkConfig {
            kind,
            layers: flags.layers,
            hidden: flags.hidden,
            predicts_change: flags.predict == Predict::Change,
        },
        shape: Shape { window, batch, kind },
        augmentation: Augmentation { scale: flags.vary, shift: flags.vary, thins_out: !flags.whole },
        steps: flags.epochs.map_or(flags.steps, of_epochs),
        learning_rate: flags.learning_rate,
        held_back: HeldBack { hosts: flags.held_back_hosts, time: flags.held_back_time },
    }
}

fn name(flags: &Flags) -> String {
    let stem = || flags.output.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    flags.name.clone().or_else(stem).unwrap_or_else(|| "mine".to_owned())
}

/// Returns the source of the rows, without the path that leads there: that is nobody's business, and would change the bytes.
fn source(flags: &Flags) -> String {
    let from = flags.history.from.as_deref().unwrap_or_default();
    let last = from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match last {
        _ if from.contains("://") => "a database".to_owned(),
        "smd" => "Server Machine Dataset, unlabelled halves".to_owned(),
        file => file.to_owned(),
    }
}

/// Returns what `--from` names as a report may show it: a URL without user, password and query.
fn shown(from: &str) -> String {
    if !from.contains("://") {
        return from.to_owned();
    }
    let Ok(mut url) = from.parse::<reqwest::Url>() else { return "a database".to_owned() };
    url.set_query(None);
    outbound::shown(&url)
}

/// To a person, who may have gone.
fn say(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}

/// Whether Ctrl-C was pressed.
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first Ctrl-C sets it, and a second one quits.
    fn watch() -> anyhow::Result<Self> {
        let pressed = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let watched = Arc::clone(&pressed);
        // Before the thread: a Ctrl-C from here on is seen.
        let mut interrupts = {
            let _guard = runtime.enter();
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?
        };
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            runtime.block_on(async {
                interrupts.recv().await;
                say("\nstopping; the best so far is kept (Ctrl-C again quits without)\n");
                watched.store(true, Ordering::Relaxed);
                interrupts.recv().await;
                std::process::exit(130);
            });
        })?;
        Ok(Self(pressed))
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Display of a training: a bar with the time left on a terminal, else a line for each tenth.
struct Meter {
    started: std::time::Instant,
    /// Windows of a batch.
    batch: usize,
    is_terminal: bool,
    /// Of the last line or bar: tenths, or whole percents on a terminal.
    shown: usize,
}

impl Meter {
    /// Characters of a full bar.
    const WIDTH: usize = 24;

    fn new(batch: usize) -> Self {
        Self { started: clock::monotonic(), batch, is_terminal: std::io::stderr().is_terminal(), shown: 0 }
    }

    fn show(&mut self, now: Progress) {
        let parts = if self.is_terminal { 200 } else { 10 };
        let part = now.step * parts / now.steps.max(1);
        if part > self.shown {
            self.shown = part;
            say(&line(now, self.started.elapsed().as_secs_f64(), self.batch, self.is_terminal));
        }
    }

    fn end(&self) {
        if self.is_terminal && self.shown > 0 {
            say("\n");
        }
    }
}

fn line(now: Progress, seconds: f64, batch: usize, is_terminal: bool) -> String {
    let Progress { step, steps, loss, best } = now;
    let left = seconds / step.max(1) as f64 * (steps - step.min(steps)) as f64;
    let rate = (step * batch) as f64 / seconds.max(1e-9);
    let best = best.map_or_else(String::new, |best| format!(", held back {best:.4}"));
    let text = format!("{step}/{steps} batches, loss {loss:.4}{best}, {rate:.0} windows/s, {left:.0} s left");
    if is_terminal {
        let full = step * Meter::WIDTH / steps.max(1);
        format!("\r\x1b[K[{}{}] {text}", "#".repeat(full), " ".repeat(Meter::WIDTH - full))
    } else {
        format!("{text}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_what_is_left() {
        let now = Progress { step: 25, steps: 100, loss: 0.51234, best: Some(0.4) };
        let text = "25/100 batches, loss 0.5123, held back 0.4000, 160 windows/s, 30 s left";
        assert_eq!(line(now, 10.0, 64, false), format!("{text}\n"));
        assert_eq!(line(now, 10.0, 64, true), format!("\r\x1b[K[######                  ] {text}"));
    }

    #[test]
    fn a_report_shows_no_password() {
        let check = |from: &str, expected: &str| assert_eq!(shown(from), expected);
        check("http://ann:secret@vm:8428/select/0?token=secret", "http://vm:8428/select/0");
        check("recordings/a b", "recordings/a b");
        check("http://:secret@", "a database");
    }
}
