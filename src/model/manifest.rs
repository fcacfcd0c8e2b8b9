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

/// What the graph computes.
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
    /// What the graph computes.
    pub kind: Kind,
    /// Distance of two rows, in milliseconds.
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
    /// How its errors become a flag, unless the configuration says otherwise.
    #[serde(default)]
    pub detection: Detection,
    /// Where it comes from.
    pub training: Training,
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
    /// What the mse of the shorter smoothing is multiplied with before the larger one counts; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_weight: Option<f64>,
    /// Rows in a row over the limit that raise the flag; 3 where absent.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_rows: Option<u32>,
    /// What errors are relative to; the plain squares count where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<residual::Constants>,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            limit: 1.0,
            smoothing_rows: 10.0,
            short_smoothing_rows: None,
            short_weight: None,
            for_rows: None,
            residual: None,
        }
    }
}

/// Where a bundle comes from; shown, never interpreted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Identifies the run: a hash of the data and the options.
    pub id: String,
    /// What it was trained on, in a sentence.
    pub data: String,
    /// Number of hosts.
    pub n_hosts: usize,
    /// Number of windows drawn.
    pub n_windows: usize,
    /// Seed of every random choice.
    pub seed: u64,
}
