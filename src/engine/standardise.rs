//! Running statistics per host and feature.

use serde::{Deserialize, Serialize};

/// Constants of the statistics. Times in seconds of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constants {
    /// Memory of mean and variance.
    pub memory_s: f64,
    /// The first rows, from which mean and variance start; nothing is standardised meanwhile.
    pub warmup_s: f64,
    /// Updates are winsorised at ± this many deviations.
    pub winsor: f64,
    /// Floor of the deviation, as a share of the feature's range.
    pub floor: f64,
    /// Added to `floor` while the feature is young.
    pub floor_young: f64,
    /// The age at which `floor_young` begins to fade, as `young_s / age`.
    pub young_s: f64,
    /// Memory of the fast track.
    pub fast_s: f64,
    /// Distance of the fast from the slow mean, in deviations, that counts towards a takeover.
    pub takeover_deviations: f64,
    /// How long that distance must hold until the fast track takes over.
    pub takeover_hold_s: f64,
    /// How long the range remembers extremes.
    pub range_s: f64,
}

impl Default for Constants {
    fn default() -> Self {
        const HOUR_S: f64 = 3600.0;
        Self {
            memory_s: 168.0 * HOUR_S,
            warmup_s: HOUR_S,
            winsor: 5.0,
            floor: 0.05,
            floor_young: 0.20,
            young_s: 12.0 * HOUR_S,
            fast_s: 2.0 * HOUR_S,
            takeover_deviations: 2.0,
            takeover_hold_s: 12.0 * HOUR_S,
            range_s: 720.0 * HOUR_S,
        }
    }
}
