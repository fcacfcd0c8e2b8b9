//! Labelled data of hosts: rows, and which of them belong to an incident.
//!
//! Owns the formats: `npz` files as the public data sets come, and CSV. Judges nothing.

mod columns;
mod csv;
mod npy;
mod npz;

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use ndarray::Array2;

pub use columns::SMD_FEATURES;

use crate::series::TimestampMs;

/// Rows further apart than a day are none of a service.
const STEP_MS_MAX: i64 = 24 * 3_600_000;
/// The year 5138: times beyond are no milliseconds since 1970.
pub const TIME_MS_MAX: TimestampMs = 100_000_000_000_000;

/// A host with labels.
#[derive(Debug, Clone)]
pub struct LabelledHost {
    /// The file's name without its ending.
    pub name: String,
    /// The names of the columns; a feature of the bundle of the same name is the same feature.
    pub features: Vec<String>,
    /// `[rows × columns]` in their own units, in order; NaN where missing. First the rows without a label.
    pub values: Array2<f64>,
    /// Time of each row, rising; `None` where the file doesn't say: then they are a step apart.
    pub t_ms: Option<Vec<TimestampMs>>,
    /// Step, in milliseconds; `None` where the file doesn't say.
    pub step_ms: Option<i64>,
    /// Whether a row belongs to an incident, of the last rows.
    pub label: Vec<bool>,
    /// Blames by the labellers, where they said.
    pub blames: Vec<Blame>,
}

/// Blame by the labellers for an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// Labelled rows, counted from the first one with a label.
    pub rows: Range<usize>,
    /// Columns.
    pub columns: Vec<usize>,
}

impl LabelledHost {
    /// Rows without a label; they come first.
    #[must_use]
    pub fn n_unlabelled(&self) -> usize {
        self.values.nrows() - self.label.len()
    }

    /// Whether all values lie in 0..1, as those do that publishers scaled: then the units are gone.
    #[must_use]
    pub fn is_scaled(&self) -> bool {
        self.values.iter().filter(|x| x.is_finite()).all(|x| (0.0..=1.0).contains(x))
    }
}

/// All hosts of a folder, by name: one per `.npz` or `.csv` file.
///
/// # Errors
/// There is none, or one cannot be read: names the file, and for CSV the line.
pub fn read_hosts(folder: &Path) -> anyhow::Result<Vec<LabelledHost>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<PathBuf>, _>>();
    let mut paths = paths.with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let ending = |path: &Path| path.extension().map(|ending| ending.to_string_lossy().into_owned());
    paths.retain(|path| matches!(ending(path).as_deref(), Some("npz" | "csv")));
    paths.sort();
    ensure!(
        !paths.is_empty(),
        "there is no labelled data in {}: one file per host is needed, <host>.npz with `train`, `test` and `label`, or <host>.csv with \
         a header of feature names and a column `label`",
        folder.display()
    );
    let read = |path: &PathBuf| {
        let host = if ending(path).as_deref() == Some("npz") { npz::read(path) } else { csv::read(path) };
        host.with_context(|| format!("cannot use {}", path.display()))
    };
    let hosts = paths.iter().map(read).collect::<anyhow::Result<Vec<LabelledHost>>>()?;
    if let Some(pair) = hosts.windows(2).find(|pair| pair[0].name == pair[1].name) {
        bail!("the host {} is there twice, as .csv and as .npz", pair[0].name);
    }
    Ok(hosts)
}

/// The columns that move in the unlabelled rows of any host; of all rows where there are none without a label.
#[must_use]
pub fn moving_features(hosts: &[LabelledHost]) -> Vec<String> {
    let mut features: Vec<String> = Vec::new();
    for host in hosts {
        let n_rows = if host.n_unlabelled() > 0 { host.n_unlabelled() } else { host.values.nrows() };
        for (name, values) in host.features.iter().zip(host.values.columns()) {
            let mut known = values.iter().take(n_rows).filter(|x| x.is_finite());
            let first = known.next();
            if known.any(|x| Some(x) != first) && !features.contains(name) {
                features.push(name.clone());
            }
        }
    }
    features
}

/// The name of the host that a file holds.
fn host_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
