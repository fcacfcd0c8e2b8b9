//! `outlierd-train-bundle`: trains the shipped bundle on public data. `outlierd evaluate` judges it.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Parser;
use ndarray::{Array2, Axis};
use outlierd::engine::standardise::Constants;
use outlierd::labelled::{LabelledHost, SMD_FEATURES, read_hosts};
use outlierd::model::manifest::{Detection, FORMAT, Kind, Manifest, ManifestFeature, Training};
use outlierd::model::onnx::write_bundle;
use outlierd::train::fit::{Options, fit};
use outlierd::train::rows::Rows;
use outlierd::train::sample::Shape;

/// Distance of two rows of the data.
const STEP_MS: i64 = 60_000;
/// The column of the total memory, which never changes.
const TOTAL_MEMORY: &str = "mem_total";
/// What to tell somebody who lacks the data.
const WHERE: &str = "the Server Machine Dataset is published by NetManAIOps/OmniAnomaly and zhhlee/InterFusion (MIT); \
     `<data>/smd/machine-<n>.npz` holds float32 `train` and `test` [rows, 38] and uint8 `label` [rows of test] of a host";

/// A host of the data, with the columns that are features.
struct Host {
    name: String,
    /// `[rows × F]`
    values: Array2<f32>,
    /// Rows of the unlabelled half.
    n_train: usize,
}

/// Trains the shipped bundle on the Server Machine Dataset.
#[derive(Debug, Parser)]
struct Args {
    /// Folder that holds `smd/machine-*.npz`.
    #[arg(long)]
    data: PathBuf,
    /// Where to write the bundle.
    #[arg(long)]
    out: PathBuf,
    /// Decides every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Units of the LSTM layer.
    #[arg(long, default_value_t = 32)]
    hidden: usize,
    /// Batches of 64 windows.
    #[arg(long, default_value_t = 1500)]
    steps: usize,
    /// Let the head predict the next row itself, not its change from the newest one.
    #[arg(long)]
    predict_level: bool,
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    let args = Args::parse();
    let options = Options {
        seed: args.seed,
        hidden: args.hidden,
        steps: args.steps,
        learning_rate: 2e-3,
        predicts_change: !args.predict_level,
        shape: Shape { window: 60, batch: 64, input_clip: 5.0, target_clip: 20.0 },
    };
    let names = feature_names();
    let hosts = read_hosts(&args.data.join("smd")).context(WHERE)?;
    let hosts: Vec<Host> = hosts.iter().map(|host| with_features(host, &names)).collect::<anyhow::Result<_>>()?;
    let constants = Constants::default().in_rows(STEP_MS);
    let rows: Vec<Rows> = hosts.iter().map(|h| Rows::standardise(h.values.view(), STEP_MS, &constants)).collect();
    tracing::info!(hosts = hosts.len(), rows = rows.iter().map(Rows::len).sum::<usize>(), "standardised");
    let usable: Vec<_> = hosts.iter().zip(&rows).map(|(host, rows)| (rows, host.n_train)).collect();
    let network = fit(&usable, &names, &options)?;
    let bundle = write_bundle(&network.weights()?, &manifest(&hosts, &names, &options))?;
    let out = &args.out;
    std::fs::write(out, &bundle).with_context(|| format!("cannot write {}", out.display()))?;
    tracing::info!(bytes = bundle.len(), "wrote {}", out.display());
    Ok(())
}

/// The features in the order of the columns, without the total memory.
fn feature_names() -> Vec<&'static str> {
    SMD_FEATURES.into_iter().filter(|name| *name != TOTAL_MEMORY).collect()
}

fn with_features(host: &LabelledHost, names: &[&str]) -> anyhow::Result<Host> {
    let column = |name: &&str| host.features.iter().position(|feature| feature == name);
    let columns: Vec<usize> = names.iter().filter_map(column).collect();
    ensure!(columns.len() == names.len(), "the host {} is not of the Server Machine Dataset: {WHERE}", host.name);
    let values = host.values.select(Axis(1), &columns).mapv(|x| x as f32);
    Ok(Host { name: host.name.clone(), values, n_train: host.n_unlabelled() })
}

fn manifest(hosts: &[Host], features: &[&str], options: &Options) -> Manifest {
    let Shape { window, batch, input_clip, target_clip } = options.shape;
    let hosts_used: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    Manifest {
        format: FORMAT,
        name: "node-exporter".to_owned(),
        kind: Kind::Forecast,
        step_ms: STEP_MS,
        window,
        features: features.iter().map(|name| ManifestFeature { name: (*name).to_owned(), expr: None }).collect(),
        input_clip,
        target_clip,
        standardisation: Constants::default(),
        detection: Detection::default(),
        training: Training {
            id: training_id(hosts, options),
            data: format!("Server Machine Dataset, unlabelled halves of {}", hosts_used.join(", ")),
            n_hosts: hosts.len(),
            n_windows: options.steps * batch,
            seed: options.seed,
        },
    }
}

/// FNV-1a, 64 bits, over the training data and the options.
fn training_id(hosts: &[Host], options: &Options) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    for host in hosts {
        host.name.bytes().for_each(&mut add);
        let cells = host.values.rows().into_iter().take(host.n_train).flatten();
        cells.flat_map(|x| x.to_le_bytes()).for_each(&mut add);
    }
    format!("{options:?}").bytes().for_each(&mut add);
    format!("{hash:016x}")
}
