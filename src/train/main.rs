//! `outlierd-train-bundle`: trains the shipped bundle on public data, and judges it.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use outlierd::engine::standardise::Constants;
use outlierd::model::manifest::{Detection, FORMAT, Kind, Manifest, ManifestFeature, Training};
use outlierd::model::onnx::write_bundle;
use outlierd::train::evaluate::{Forecast, Labelled, Line, Scoring, evaluate, write_table};
use outlierd::train::fit::{Options, fit};
use outlierd::train::lstm::Network;
use outlierd::train::rows::Rows;
use outlierd::train::sample::Shape;
use outlierd::train::score::Rule;
use outlierd::train::smd::{FEATURES, Host, STEP_MS, read_hosts};

/// Trains the shipped bundle on the Server Machine Dataset.
#[derive(Debug, Parser)]
struct Args {
    /// Folder that holds `smd/machine-*.npz`.
    #[arg(long)]
    data: PathBuf,
    /// Where to write the bundle.
    #[arg(long, required_unless_present = "evaluate")]
    out: Option<PathBuf>,
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
    /// Judge on the labelled halves: with all hosts in training, and each host by a model that has not seen it.
    #[arg(long)]
    evaluate: bool,
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
    let hosts = read_hosts(&args.data)?;
    let constants = Constants::default().in_rows(STEP_MS);
    let rows: Vec<Rows> = hosts.iter().map(|h| Rows::standardise(h.values.view(), STEP_MS, &constants)).collect();
    tracing::info!(hosts = hosts.len(), rows = rows.iter().map(Rows::len).sum::<usize>(), "standardised");
    let network = train(&hosts, &rows, &options, None)?;
    if let Some(out) = &args.out {
        let bundle = write_bundle(&network.weights()?, &manifest(&hosts, &options))?;
        std::fs::write(out, &bundle).with_context(|| format!("cannot write {}", out.display()))?;
        tracing::info!(bytes = bundle.len(), "wrote {}", out.display());
    }
    if args.evaluate { judge(&hosts, &rows, &network, &options) } else { Ok(()) }
}

/// Trains on the unlabelled halves of all hosts but `left_out`.
fn train(hosts: &[Host], rows: &[Rows], options: &Options, left_out: Option<usize>) -> anyhow::Result<Network> {
    let usable = hosts.iter().zip(rows).enumerate().filter(|(n, _)| Some(*n) != left_out);
    let usable: Vec<_> = usable.map(|(_, (host, rows))| (rows, host.n_train)).collect();
    fit(&usable, &FEATURES, options)
}

fn manifest(hosts: &[Host], options: &Options) -> Manifest {
    let Shape { window, batch, input_clip, target_clip } = options.shape;
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    Manifest {
        format: FORMAT,
        name: "node-exporter".to_owned(),
        kind: Kind::Forecast,
        step_ms: STEP_MS,
        window,
        features: FEATURES.map(|name| ManifestFeature { name: name.to_owned(), expr: None }).to_vec(),
        input_clip,
        target_clip,
        standardisation: Constants::default(),
        detection: Detection::default(),
        training: Training {
            id: training_id(hosts, options),
            data: format!("Server Machine Dataset, unlabelled halves of {}", names.join(", ")),
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

/// Prints a table for each forecast: on the hosts as they are, without every third feature, and with the features in reverse order,
/// which makes hosts whose features go together as on none in training.
fn judge(hosts: &[Host], rows: &[Rows], network: &Network, options: &Options) -> anyhow::Result<()> {
    let thinned: Vec<Rows> = rows.iter().map(|rows| rows.without(|feature| feature % 3 == 0)).collect();
    let reversed: Vec<Rows> = rows.iter().map(Rows::reversed).collect();
    let table = |title: &str, rows: &[Rows], forecasts: &[Forecast<'_>]| -> anyhow::Result<()> {
        Ok(write_table(&mut io::stdout().lock(), title, &lines(hosts, rows, forecasts, &options.shape)?)?)
    };
    let alike = |forecast| vec![forecast; hosts.len()];
    table("persistence", rows, &alike(Forecast::Ewma(1.0)))?;
    table("EWMA 0.2", rows, &alike(Forecast::Ewma(0.2)))?;
    table("EWMA 0.2, every third feature missing", &thinned, &alike(Forecast::Ewma(0.2)))?;
    table("LSTM, host in training", rows, &alike(Forecast::Network(network)))?;
    table("LSTM, features in reverse order", &reversed, &alike(Forecast::Network(network)))?;
    let unseen = (0..hosts.len()).map(|n| {
        tracing::info!(host = hosts[n].name, "training without");
        train(hosts, rows, options, Some(n))
    });
    let unseen = unseen.collect::<anyhow::Result<Vec<Network>>>()?;
    let unseen: Vec<Forecast<'_>> = unseen.iter().map(Forecast::Network).collect();
    table("LSTM, host never seen", rows, &unseen)?;
    table("LSTM, host never seen, every third feature missing", &thinned, &unseen)
}

/// What each host's forecast did on it.
fn lines(hosts: &[Host], rows: &[Rows], forecasts: &[Forecast<'_>], shape: &Shape) -> anyhow::Result<Vec<Line>> {
    let Detection { limit, smoothing_rows } = Detection::default();
    let scoring = Scoring { smoothing_rows, rule: Rule { limit, hold_rows: 3, clear: 0.7 } };
    let line = |((host, rows), forecast): ((&Host, &Rows), &Forecast<'_>)| {
        let labelled = Labelled { name: &host.name, rows, label: &host.label };
        evaluate(labelled, *forecast, shape, scoring)
    };
    hosts.iter().zip(rows).zip(forecasts).map(line).collect()
}
