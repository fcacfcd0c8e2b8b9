//! `outlierd model show` and `outlierd model import`: what a bundle says of itself, and a bundle made of a model trained elsewhere.
//!
//! `show` needs no ONNX Runtime; `import` runs the model once, since what only loads may still not be what its manifest says.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Subcommand, ValueEnum};
use ndarray::{Array3, Axis, Slice};

use super::output::OutputFile;
use crate::config::{self, duration_text, manifest};
use crate::engine::standardise::Constants;
use crate::model::bundle::Bundle;
use crate::model::manifest::{Detection, Kind, Losses, Manifest, ManifestFeature, Training};
use crate::model::onnx::with_manifest;
use crate::model::session::{Runtime, Session};
use crate::setup::Setup;

/// Windows of the batch that an imported model is tried with.
const TRIED_WINDOWS: usize = 5;
/// A window alone and in a batch must be answered alike.
const BATCH_TOLERANCE: f32 = 1e-4;

/// What to do with a model.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show what a bundle says of itself: features, clips, limits, errors, where it comes from.
    Show(ShowFlags),
    /// Make a bundle of a model trained elsewhere (PyTorch, Keras): check it, try it, add the manifest.
    Import(ImportFlags),
    /// Exchange `model` and `shadow` in a configuration file: the shadow goes live, and the live one can come back the same way.
    Promote(PromoteFlags),
}

/// Flags of `model promote`.
#[derive(Debug, clap::Args)]
pub struct PromoteFlags {
    /// The configuration file. The service takes it with the next reload.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: PathBuf,
}

/// Flags of `model show`.
#[derive(Debug, clap::Args)]
pub struct ShowFlags {
    /// The bundle. Without it the built-in one.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// The manifest itself.
    Json,
}

/// Flags of `model import`.
#[derive(Debug, clap::Args)]
pub struct ImportFlags {
    /// The model, with the input `window` and the output `expected`: docs/models.md has the contract.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What the service must know of it, as YAML.
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// The bundle to write.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The ONNX Runtime library.
    #[arg(long = "onnxruntime.path", value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
}

/// Shows or imports.
///
/// # Errors
/// The file is no bundle, or the model and its manifest do not fit each other.
pub fn run(action: &Action) -> anyhow::Result<()> {
    match action {
        Action::Show(flags) => show(flags),
        Action::Import(flags) => import(flags),
        Action::Promote(flags) => promote(flags),
    }
}

fn show(flags: &ShowFlags) -> anyhow::Result<()> {
    let bundle = flags.file.as_deref().map_or_else(Bundle::built_in, Bundle::load)?;
    let text = match flags.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&bundle.manifest)?),
        Format::Text => text(&bundle.manifest),
    };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// The file is what counts at every start, so it is what changes; nothing is written that could not run.
fn promote(flags: &PromoteFlags) -> anyhow::Result<()> {
    let file = &flags.config_file;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let promoted = config::promoted(&text).map_err(anyhow::Error::msg).with_context(|| format!("cannot use {name}"))?;
    let setup = Setup::new(config::parse(&name, &promoted)?)
        .with_context(|| format!("{name} is left as it is, since with `model` and `shadow` exchanged it cannot run"))?;
    OutputFile::new(file)?.write(promoted.as_bytes())?;
    let shadow = setup.shadow.as_ref().map_or("none", |shadow| &shadow.bundle.source);
    let (live, alias) = (&setup.bundle.source, &setup.config.model.alias);
    let mut out = std::io::stdout().lock();
    writeln!(out, "live: {live} (as {alias})\nshadow: {shadow}\nreload to let it run: SIGHUP, or POST /-/reload")?;
    Ok(())
}

fn import(flags: &ImportFlags) -> anyhow::Result<()> {
    let output = OutputFile::new(&flags.output)?;
    let manifest = of_file(manifest::load(&flags.manifest)?);
    let graph = std::fs::read(&flags.file).with_context(|| format!("cannot read {}", flags.file.display()))?;
    let bytes = with_manifest(&graph, &manifest).with_context(|| format!("cannot use {}", flags.file.display()))?;
    let bundle = Bundle::from_bytes(bytes, &flags.file.display().to_string())?;
    let runtime = Runtime::load(flags.onnxruntime.as_deref())?;
    let advice = || {
        format!(
            "{} and {} do not fit each other; docs/models.md has the contract",
            flags.file.display(),
            flags.manifest.display()
        )
    };
    try_out(runtime, &bundle).with_context(advice)?;
    output.write(&bundle.bytes)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}wrote {} ({} bytes)", text(&bundle.manifest), flags.output.display(), bundle.bytes.len())?;
    Ok(())
}

fn of_file(file: manifest::ModelManifest) -> Manifest {
    let feature = |f: manifest::ModelFeature| ManifestFeature { name: f.name, expr: f.expr, floor: f.floor };
    let features = file.features.into_iter().map(feature).collect();
    let untrained = Manifest::untrained(file.name, features);
    Manifest {
        kind: if file.reconstructs { Kind::Reconstruct } else { Kind::Forecast },
        step_ms: file.step_ms,
        window: file.window,
        input_clip: file.input_clip as f32,
        target_clip: file.target_clip as f32,
        detection: Detection { limit: file.limit, smoothing_rows: file.smoothing_rows, ..Detection::default() },
        training: Training { id: "imported".to_owned(), data: file.trained_on, ..untrained.training },
        ..untrained
    }
}

/// Runs zeros and varied windows: the answers must be numbers, and a window's answer its own.
fn try_out(runtime: &'static Runtime, bundle: &Bundle) -> anyhow::Result<()> {
    let (window, features) = (bundle.manifest.window, bundle.manifest.features.len());
    let mut session = Session::open(runtime, bundle, window)?;
    let mut expected = Vec::new();
    session.run(Array3::zeros((1, window, features)).view(), &mut expected).context("it fails on a window of zeros")?;
    ensure!(expected.iter().all(|x| x.is_finite()), "of a window of zeros it expects {expected:?}, which is no number");
    let clip = bundle.manifest.input_clip;
    // Any values will do that are neither regular nor alike.
    let varied = |(n, row, feature): (usize, usize, usize)| clip * ((1 + n * 7 + row * 13 + feature * 29) as f32).sin();
    let windows = Array3::from_shape_fn((TRIED_WINDOWS, window, features), varied);
    let mut together = Vec::new();
    session
        .run(windows.view(), &mut together)
        .with_context(|| format!("it fails on {TRIED_WINDOWS} windows at once"))?;
    ensure!(together.iter().all(|x| x.is_finite()), "of varied windows it expects something that is no number");
    for n in 0..TRIED_WINDOWS {
        session.run(windows.slice_axis(Axis(0), Slice::from(n..n + 1)), &mut expected)?;
        let alone = &together[n * features..(n + 1) * features];
        let apart = expected.iter().zip(alone).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max);
        ensure!(
            apart < BATCH_TOLERANCE,
            "it answers a window in a batch otherwise than alone (by {apart}): the first axis must be the batch \
             (`batch_first=True` in PyTorch), and the model in evaluation mode (`model.eval()`)"
        );
    }
    Ok(())
}

/// All of a manifest, one matter per line, the features last.
fn text(manifest: &Manifest) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{what:<16}{value}");
    };
    let kind = match manifest.kind {
        Kind::Forecast => "forecast: the newest row from the rows before it",
        Kind::Reconstruct => "reconstruct: the window from itself",
    };
    line("name", manifest.name.clone());
    line("type", kind.to_owned());
    line("window", format!("{} rows, one per {}", manifest.window, duration_text(manifest.step_ms)));
    line("clips", format!("inputs ±{}, targets ±{}", manifest.input_clip, manifest.target_clip));
    line("detection", detection(&manifest.detection));
    line("standardisation", standardisation(&manifest.standardisation));
    let training = &manifest.training;
    line("training", training.id.clone());
    line("data", training.data.clone());
    if training.n_windows > 0 {
        let Training { n_hosts, n_windows, seed, .. } = training;
        line("trained on", format!("{n_hosts} hosts, {n_windows} windows, seed {seed}"));
    }
    if let Some(run) = &training.run {
        line("network", format!("{} layers of {} units", run.layers, run.hidden));
        let batches = format!("{} of {} windows, the best after {}", run.steps, run.batch, run.best_step);
        line("batches", format!("{batches}, learning rate {}", run.learning_rate));
        line("loss", losses(&run.train));
        if let Some(held_back) = &run.held_back {
            line("held back", format!("{} ({} hosts altogether)", losses(held_back), run.n_hosts_held_back));
        }
    }
    if let Some(errors) = &manifest.errors {
        let quantiles: Vec<String> = errors.quantiles.iter().map(|q| format!("q{} {:.3}", q.q, q.mse)).collect();
        line("smoothed mse", format!("{} (held back, {} rows)", quantiles.join(", "), errors.n_rows));
    }
    line("features", manifest.features.len().to_string());
    text.push_str(&features(manifest));
    text
}

fn detection(detection: &Detection) -> String {
    let Detection { limit, smoothing_rows, short_smoothing_rows, residual, .. } = detection;
    let short = short_smoothing_rows.map_or_else(String::new, |rows| format!(" and {rows}"));
    let scale = if residual.is_some() { "relative to the usual error" } else { "as they are" };
    format!("errors {scale}, smoothed over {smoothing_rows}{short} rows, limit {limit}")
}

fn standardisation(c: &Constants) -> String {
    let span = |seconds: f64| duration_text((seconds * 1000.0) as i64);
    format!(
        "memory {}, warm-up {}, winsorised at {}σ, floor {} (+{} until {}), takeover after {} at {}σ of {}, range of {}",
        span(c.memory_s),
        span(c.warmup_s),
        c.winsor,
        c.floor,
        c.floor_young,
        span(c.young_s),
        span(c.takeover_hold_s),
        c.takeover_deviations,
        span(c.fast_s),
        span(c.range_s)
    )
}

fn losses(losses: &Losses) -> String {
    let persistence = losses.persistence.map_or_else(String::new, |loss| format!(", the row before {loss:.4}"));
    format!("{:.4} (the mean {:.4}{persistence})", losses.network, losses.mean)
}

/// Name, mean squared residual, floor and expression of each.
fn features(manifest: &Manifest) -> String {
    let width = manifest.features.iter().map(|feature| feature.name.len()).max().unwrap_or(0);
    let residual = |n: usize| {
        let square = manifest.errors.as_ref().and_then(|errors| errors.mean_square.get(n).copied().flatten());
        square.map_or_else(String::new, |square| format!("residual² {square:<9.4} "))
    };
    let line = |(n, feature): (usize, &ManifestFeature)| {
        let floor = if feature.floor > 0.0 { format!("floor {} ", feature.floor) } else { String::new() };
        let expr = feature.expr.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let line = format!("  {:width$}  {}{floor}{expr}", feature.name, residual(n));
        format!("{}\n", line.trim_end())
    };
    manifest.features.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_bundle_is_shown_whole() {
        let manifest = Bundle::built_in().unwrap().manifest;
        let text = text(&manifest);
        assert!(manifest.features.iter().all(|feature| text.contains(&format!("\n  {}", feature.name))), "{text}");
        for line in [
            "name            node-exporter\n",
            "window          60 rows, one per 1m\n",
            "detection       errors relative to the usual error, ",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
