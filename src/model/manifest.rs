//! The manifest: what a bundle says about itself, as JSON in the `outlierd` entry of the ONNX file's `metadata_props`.
//!
//! Owns the format and its defaults; `bundle.rs` checks it against the graph.

use serde::{Deserialize, Serialize};

use super::residual;
use crate::engine::standardise::Constants;

/// The key of `metadata_props` that holds the manifest.
pub const METADATA_KEY: &str = "outlierd";

/// The version of the format that this build reads and writes.
pub const FORMAT: u32 = 1;

/// Kind of graph, by what it computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `window` float32 `[batch, T - 1, F]` → `expected` float32 `[batch, F]`: the newest row from the rows before it.
    Forecast,
    /// `window` float32 `[batch, T, F]` → `expected` float32 `[batch, T, F]`: the window itself. Its last row is scored.
    Reconstruct,
}

/// All that the service needs to know of a model beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// A short name, such as `node-exporter`.
    pub name: String,
    /// Kind of graph, by what it computes.
    pub kind: Kind,
    /// Step, in milliseconds.
    pub step_ms: i64,
    /// T: rows of a window, the newest included.
    pub window: usize,
    /// F features, in the order of the graph's last axis.
    pub features: Vec<ManifestFeature>,
    /// Standardised inputs are clipped to ± this.
    pub input_clip: f32,
    /// The newest standardised row is clipped to ± this before the residual is taken.
    pub target_clip: f32,
    /// Constants of the running statistics that the model was trained with.
    #[serde(default)]
    pub standardisation: Constants,
    /// Settings by which its errors become a flag, unless the configuration says otherwise.
    #[serde(default)]
    pub detection: Detection,
    /// Size of its errors on rows that it never learnt from; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<ErrorStatistics>,
    /// Origin of the bundle.
    pub training: Training,
}

/// ± this many deviations of an input, unless the model says otherwise.
pub const INPUT_CLIP: f32 = 5.0;

/// ± this many deviations of the newest row, unless the model says otherwise.
pub const TARGET_CLIP: f32 = 20.0;

impl Manifest {
    /// Of a forecaster with rows of a minute and windows of an hour, which nobody has trained.
    #[must_use]
    pub fn untrained(name: impl Into<String>, features: Vec<ManifestFeature>) -> Self {
        Self {
            format: FORMAT,
            name: name.into(),
            kind: Kind::Forecast,
            step_ms: 60_000,
            window: 60,
            features,
            input_clip: INPUT_CLIP,
            target_clip: TARGET_CLIP,
            standardisation: Constants::default(),
            detection: Detection::default(),
            errors: None,
            training: Training { id: String::new(), data: String::new(), n_hosts: 0, n_windows: 0, seed: 0, run: None },
        }
    }
}

/// Errors of the newest row, standardised and clipped as the service does it, on rows that were held back from training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorStatistics {
    /// Rows that they were taken over.
    pub n_rows: usize,
    /// `[F]`: mean squared residual of each feature; `None` where it was always missing.
    pub mean_square: Vec<Option<f64>>,
    /// Quantiles of the mse of a row as the service shows it, relative and smoothed as `detection` says; ascending.
    pub quantiles: Vec<Quantile>,
}

/// One quantile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantile {
    /// 0 to 1.
    pub q: f64,
    /// Smoothed mse.
    pub mse: f64,
}

/// One column of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFeature {
    /// The name that the configuration's feature must have.
    pub name: String,
    /// The PromQL that it was trained with; absent where the training data had no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// The least deviation that it was standardised with, in the feature's own unit; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub floor: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// Defaults of the decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detection {
    /// The smoothed mse over which a row counts as anomalous.
    pub limit: f64,
    /// Time constant of the smoothing, in rows.
    pub smoothing_rows: f64,
    /// Time constant of the second, shorter smoothing, in rows; none where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_smoothing_rows: Option<f64>,
    /// Factor that the mse of the shorter smoothing is multiplied with before the larger one counts; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_weight: Option<f64>,
    /// Rows in a row over the limit that raise the flag; 3 where absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_rows: Option<u32>,
    /// Constants of what errors are relative to; the plain squares count where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<residual::Constants>,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            limit: 1.55,
            smoothing_rows: 15.0,
            short_smoothing_rows: Some(4.0),
            short_weight: Some(0.6),
            for_rows: Some(1),
            residual: Some(residual::Constants::default()),
        }
    }
}

/// Origin of a bundle; shown, never interpreted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Identifies the run: a hash of the data and the options.
    pub id: String,
    /// Data that it was trained on, in a sentence.
    pub data: String,
    /// Number of hosts.
    pub n_hosts: usize,
    /// Number of windows drawn.
    pub n_windows: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// Course of the training; absent for bundles from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// Course of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// LSTM layers; an autoencoder has as many again in its decoder.
    pub layers: usize,
    /// Units of each layer.
    pub hidden: usize,
    /// Batches done.
    pub steps: usize,
    /// Batches after which the weights were taken.
    pub best_step: usize,
    /// Windows of a batch.
    pub batch: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Rows of all hosts after the warm-up.
    pub n_rows: usize,
    /// Hosts that were held back altogether.
    pub n_hosts_held_back: usize,
    /// Mean squared error on the rows that were learnt from.
    pub train: Losses,
    /// Mean squared error on those held back; absent where none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<Losses>,
}

/// Mean squared errors over the same cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Losses {
    /// Of the network.
    pub network: f64,
    /// Of "like the row before"; absent for a reconstruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<f64>,
    /// Of "the host's own mean".
    pub mean: f64,
}
