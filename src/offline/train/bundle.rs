//! From a training's end to the bundle: the manifest that says all that the service needs, and the ONNX file.

use super::dataset::Dataset;
use super::errors::{Errors, error_statistics};
use super::fit::{Fitted, Options};
use crate::base::fnv::Fnv;
use crate::model::manifest::{Detection, FORMAT, Manifest, ManifestFeature, Run, Training};
use crate::model::onnx::write_bundle;
use crate::{config, setup};

/// Hosts named in the manifest; more are counted.
const NAMES_SHOWN: usize = 10;

/// A bundle that was just trained.
#[derive(Debug)]
pub struct Trained {
    /// Manifest: what it says of itself.
    pub manifest: Manifest,
    /// The file.
    pub bytes: Vec<u8>,
    /// On held-back rows; `None` where there are none.
    pub errors: Option<Errors>,
}

/// The manifest and the file. The same data and options give the same bytes.
///
/// # Errors
/// Where the weights' shapes disagree.
pub fn bundle(name: &str, source: &str, data: &Dataset, options: &Options, fitted: &Fitted) -> anyhow::Result<Trained> {
    let feature = |column: &super::dataset::Column| ManifestFeature {
        name: column.name.clone(),
        expr: column.expr.clone(),
        floor: column.floor,
    };
    let mut manifest = Manifest {
        format: FORMAT,
        name: name.to_owned(),
        kind: options.network.kind,
        step_ms: data.scale.step_ms,
        window: options.shape.window,
        features: data.columns.iter().map(feature).collect(),
        input_clip: data.scale.input_clip,
        target_clip: data.scale.target_clip,
        standardisation: data.scale.constants.clone(),
        detection: Detection::default(),
        errors: None,
        training: Training {
            id: training_id(data, options),
            data: format!("{source}: {}", hosts(data)),
            n_hosts: data.hosts.len(),
            n_windows: fitted.steps * options.shape.batch,
            seed: options.seed,
            run: Some(run(data, options, fitted)),
        },
    };
    let decision = setup::decision(&config::Detection::default(), &manifest, manifest.window, manifest.step_ms);
    let held_back = &fitted.split.held_back;
    let errors = error_statistics(&fitted.network, data, held_back, &options.shape, &decision)?;
    manifest.errors = errors.as_ref().map(|errors| errors.statistics.clone());
    let bytes = write_bundle(&fitted.network.weights(), &manifest)?;
    Ok(Trained { manifest, bytes, errors })
}

fn run(data: &Dataset, options: &Options, fitted: &Fitted) -> Run {
    Run {
        layers: options.network.layers,
        hidden: options.network.hidden,
        steps: fitted.steps,
        best_step: fitted.best_step,
        batch: options.shape.batch,
        learning_rate: options.learning_rate,
        n_rows: data.n_rows(),
        n_hosts_held_back: fitted.split.hosts.len(),
        train: fitted.train,
        held_back: fitted.held_back,
    }
}

/// FNV-1a, 64 bits, over the rows and the options.
fn training_id(data: &Dataset, options: &Options) -> String {
    let options = format!("{options:?} {:?}", data.scale);
    format!("{:016x}", Fnv::from(data.hash()).with(options.bytes()).hash())
}

fn hosts(data: &Dataset) -> String {
    let names: Vec<&str> = data.hosts.iter().take(NAMES_SHOWN).map(|host| host.name.as_str()).collect();
    match data.hosts.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
