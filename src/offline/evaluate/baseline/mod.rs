//! Baselines that a model must beat: simple forecasts that are fitted to the host itself, or to nothing.
//!
//! All of them see the rows that the model sees, standardised by the same statistics and clipped to the same bounds, and are judged
//! by the same verdicts.

mod ewma;
mod k_means;
mod pca;
mod var;

use self::ewma::Ewma;
use self::k_means::KMeans;
use self::pca::Pca;
use self::var::Var;
use super::judge::{Judge, Timed};
use crate::engine::row::Window;
use crate::engine::windows::StandardisedRow;

/// The kinds of baselines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Expects the mean of the statistics: the mse is the mean of z².
    ZScore,
    /// Expects the exponentially weighted mean of the rows before; nothing is fitted.
    Ewma,
    /// Expects a linear function of the row before: VAR-1, by ridge regression on the host's own unlabelled rows.
    Var,
    /// Expects the projection of the row onto 10 principal components of the host's own unlabelled rows.
    Pca,
    /// The same of windows of 10 rows; the newest row is judged.
    PcaWindows,
    /// Clusters of each feature's last values, as Netdata has them.
    KMeans,
}

impl Kind {
    /// All, simplest first.
    pub const ALL: [Self; 6] = [Self::ZScore, Self::Ewma, Self::Var, Self::Pca, Self::PcaWindows, Self::KMeans];

    /// Its name in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ZScore => "z_score",
            Self::Ewma => "ewma",
            Self::Var => "var_1",
            Self::Pca => "pca",
            Self::PcaWindows => "pca_windows",
            Self::KMeans => "k_means",
        }
    }
}

/// A standardised row of a host that is judged.
#[derive(Debug)]
pub struct Seen {
    /// Row that is judged, and its time.
    pub timed: Timed,
    /// Its values.
    pub row: StandardisedRow,
    /// Whether it completed a window: no other row is judged, as in the service.
    pub has_window: bool,
}

/// Settings of the model that a baseline keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Inputs are clipped to ± this.
    pub input_clip: f32,
    /// The smoothed mse at which a host is flagged.
    pub limit: f64,
    /// Step, in milliseconds.
    pub step_ms: i64,
    /// Rows without a label; they come first, and are what is fitted to.
    pub n_unlabelled: usize,
}

/// A fitted baseline.
enum Fitted {
    ZScore,
    Ewma(Ewma),
    Var(Var),
    Pca(Pca),
    KMeans(KMeans),
}

/// Fits a baseline to the unlabelled rows of `seen`, and lets `judge` see what it makes of all of them.
pub fn run(kind: Kind, seen: &[Seen], setting: Setting, judge: &mut Judge<'_>) {
    // Missing is the mean.
    let input = |row: &StandardisedRow| -> Vec<f64> {
        let cell = |z: &f32| if z.is_nan() { 0.0 } else { f64::from(z.clamp(-setting.input_clip, setting.input_clip)) };
        row.z.iter().map(cell).collect()
    };
    let inputs: Vec<Vec<f64>> = seen.iter().map(|seen| input(&seen.row)).collect();
    let Some(n_features) = inputs.first().map(Vec::len) else { return };
    // A row in the warm-up says nothing.
    let is_known = |seen: &Seen| seen.row.z.iter().any(|z| !z.is_nan());
    let first = seen.iter().position(is_known).unwrap_or(seen.len());
    let unlabelled = inputs.get(first..setting.n_unlabelled).unwrap_or_default();
    let mut fitted = match kind {
        Kind::ZScore => Fitted::ZScore,
        Kind::Ewma => Fitted::Ewma(Ewma::new(n_features)),
        Kind::Var => Fitted::Var(Var::fit(unlabelled, n_features)),
        Kind::Pca => Fitted::Pca(Pca::fit(unlabelled, n_features, 1)),
        Kind::PcaWindows => Fitted::Pca(Pca::fit(unlabelled, n_features, 10)),
        Kind::KMeans => Fitted::KMeans(KMeans::new(n_features, setting)),
    };
    for (seen, input) in seen.iter().zip(&inputs) {
        let target = match &mut fitted {
            Fitted::KMeans(k_means) => k_means.errors(input, &seen.row.z),
            _ => seen.row.z.clone(),
        };
        let expected = match &mut fitted {
            Fitted::ZScore | Fitted::KMeans(_) => vec![0.0; n_features],
            Fitted::Ewma(ewma) => ewma.expect(input),
            Fitted::Var(var) => var.expect(input),
            Fitted::Pca(pca) => pca.expect(input),
        };
        if seen.has_window {
            let expected: Vec<f32> = expected.iter().map(|z| *z as f32).collect();
            let (mean, deviation) = (seen.row.mean.clone(), seen.row.deviation.clone());
            judge.judge(seen.timed, &Window { input: Box::default(), target, mean, deviation }, &expected);
        }
    }
}
