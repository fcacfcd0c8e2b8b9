//! Models that have not seen the host that they are scored on.

use anyhow::{Context, ensure};
use ndarray::Array2;

use super::Subjects;
use super::subject::{Subject, moving_features};
use crate::engine::standardise::Constants;
use crate::labelled::LabelledHost;
use crate::model::bundle::Bundle;
use crate::model::manifest::{Detection, FORMAT, Kind, Manifest, ManifestFeature, Training};
use crate::model::onnx::write_bundle;
use crate::train::fit::{Options, fit};
use crate::train::rows::Rows;
use crate::train::sample::Shape;

/// Where neither the data nor a bundle says how far rows are apart.
const STEP_MS: i64 = 60_000;

/// Trains a model without each of `n_groups` groups of hosts, 0 for every host alone; each host is judged by the one without it.
pub(super) fn subjects(hosts: &[LabelledHost], n_groups: usize, step_ms: Option<i64>) -> anyhow::Result<Subjects> {
    ensure!(hosts.len() > 1, "there is one host alone: nothing is left to train on without it");
    let n_groups = if n_groups == 0 { hosts.len() } else { n_groups.min(hosts.len()) };
    ensure!(n_groups > 1, "hosts are left out in at least 2 groups");
    let by_host: Vec<usize> = (0..hosts.len()).map(|host| host % n_groups).collect();
    let train = |group: usize| {
        let left_out: Vec<usize> = (0..hosts.len()).filter(|host| by_host[*host] == group).collect();
        let names: Vec<&str> = left_out.iter().map(|host| hosts[*host].name.as_str()).collect();
        tracing::info!(group = group + 1, of = n_groups, without = names.join(" "), "training");
        let bundle = train_without(hosts, &left_out, step_ms.unwrap_or(STEP_MS))
            .with_context(|| format!("cannot train without {}", names.join(", ")))?;
        Ok(Subject::new(bundle, hosts, step_ms))
    };
    let all = (0..n_groups).map(train).collect::<anyhow::Result<Vec<Subject>>>()?;
    let source = format!("each host by a model that has not seen it, {n_groups} trainings");
    Ok(Subjects { all, by_host, source })
}

/// A bundle trained on the unlabelled rows of all hosts but those of `left_out`.
fn train_without(hosts: &[LabelledHost], left_out: &[usize], step_ms: i64) -> anyhow::Result<Bundle> {
    let features = moving_features(hosts);
    let names: Vec<&str> = features.iter().map(String::as_str).collect();
    let shape = Shape { window: 60, batch: 64, input_clip: 5.0, target_clip: 20.0 };
    let options = Options { seed: 1, hidden: 32, steps: 1500, learning_rate: 2e-3, predicts_change: true, shape };
    let constants = Constants::default().in_rows(step_ms);
    let kept: Vec<&LabelledHost> =
        hosts.iter().enumerate().filter(|(n, _)| !left_out.contains(n)).map(|(_, host)| host).collect();
    let rows = |host: &&LabelledHost| {
        let columns: Vec<Option<usize>> =
            names.iter().map(|name| host.features.iter().position(|feature| feature == name)).collect();
        let cell = |(row, feature): (usize, usize)| {
            columns[feature].map_or(f32::NAN, |column| host.values[[row, column]] as f32)
        };
        let values = Array2::from_shape_fn((host.values.nrows(), names.len()), cell);
        (Rows::standardise(values.view(), step_ms, &constants), host.n_unlabelled())
    };
    let rows: Vec<(Rows, usize)> = kept.iter().map(rows).collect();
    let usable: Vec<(&Rows, usize)> = rows.iter().map(|(rows, n_usable)| (rows, *n_usable)).collect();
    let network = fit(&usable, &names, &options)?;
    let manifest = Manifest {
        format: FORMAT,
        name: "left-out".to_owned(),
        kind: Kind::Forecast,
        step_ms,
        window: options.shape.window,
        features: features.into_iter().map(|name| ManifestFeature { name, expr: None }).collect(),
        input_clip: options.shape.input_clip,
        target_clip: options.shape.target_clip,
        standardisation: Constants::default(),
        detection: Detection::default(),
        training: Training {
            id: String::new(),
            data: "the unlabelled rows of other hosts".to_owned(),
            n_hosts: kept.len(),
            n_windows: options.steps * options.shape.batch,
            seed: options.seed,
        },
    };
    Bundle::from_bytes(write_bundle(&network.weights()?, &manifest)?, "the model trained without the host")
}
