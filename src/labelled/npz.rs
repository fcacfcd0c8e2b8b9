//! A host as `<host>.npz`: `train` and `test` `[rows × columns]` float32 or float64, and `label` of `test`, uint8. Beside it
//! `<host>.json` may say which data set it is of, the step, and what the labellers blamed.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, ensure};
use ndarray::{Array1, Array2, Axis};
use ndarray_npy::{NpzReader, ReadableElement};
use serde::Deserialize;

use super::{Blame, LabelledHost, columns, host_name};

/// What `<host>.json` says; anything else in it is left alone.
#[derive(Debug, Default, Deserialize)]
struct About {
    #[serde(default)]
    dataset: String,
    step_seconds: Option<f64>,
    #[serde(default)]
    interpretation: Vec<Interpretation>,
}

/// Half-open rows of `test`, and the columns blamed.
#[derive(Debug, Deserialize)]
struct Interpretation {
    start: usize,
    end: usize,
    dims: Vec<usize>,
}

pub(super) fn read(path: &Path) -> anyhow::Result<LabelledHost> {
    let about = about(&path.with_extension("json"))?;
    let mut npz = NpzReader::new(File::open(path)?)?;
    let names = npz.names()?;
    for name in ["train", "test", "label"] {
        let is_there = names.iter().any(|n| n.trim_end_matches(".npy") == name);
        ensure!(is_there, "it has the arrays {names:?}: `train`, `test` and `label` are needed");
    }
    let (train, test) = (matrix(&mut npz, "train")?, matrix(&mut npz, "test")?);
    let label: Array1<u8> = npz.by_name("label").context("`label` is no vector of uint8")?;
    ensure!(
        train.ncols() == test.ncols(),
        "`train` has {} columns and `test` {}: they must be the same features",
        train.ncols(),
        test.ncols()
    );
    ensure!(test.ncols() > 0, "it has no columns");
    ensure!(test.nrows() == label.len(), "there are {} labels for the {} rows of `test`", label.len(), test.nrows());
    if let Some(row) = label.iter().position(|label| *label > 1) {
        anyhow::bail!("the label of row {row} is {}: 0 and 1 are possible", label[row]);
    }
    let n_columns = test.ncols();
    ensure!(
        about.dataset != "smd" || n_columns == columns::SMD_FEATURES.len(),
        "it has {n_columns} columns: the Server Machine Dataset has {}",
        columns::SMD_FEATURES.len()
    );
    let step_ms = about.step_seconds.map(|seconds| (seconds * 1000.0).round() as i64);
    ensure!(step_ms.is_none_or(|step_ms| step_ms > 0), "its step is not over 0 seconds");
    let blame = |it: Interpretation| {
        let fits = it.start < it.end && it.end <= label.len() && it.dims.iter().all(|column| *column < n_columns);
        ensure!(
            fits,
            "the interpretation of the rows {} to {} has rows or columns that are not there",
            it.start,
            it.end
        );
        Ok(Blame { rows: it.start..it.end, columns: it.dims })
    };
    let blames = about.interpretation.into_iter().map(blame).collect::<anyhow::Result<_>>()?;
    Ok(LabelledHost {
        name: host_name(path),
        features: columns::names(&about.dataset, n_columns),
        values: ndarray::concatenate(Axis(0), &[train.view(), test.view()])?,
        t_ms: None,
        step_ms,
        label: label.iter().map(|label| *label == 1).collect(),
        blames,
    })
}

/// A matrix of either float; what is not finite is missing.
fn matrix(npz: &mut NpzReader<File>, name: &str) -> anyhow::Result<Array2<f64>> {
    let of = |error| anyhow::anyhow!("`{name}` is no matrix of float32 or float64: {error}");
    let values = match read_as::<f32>(npz, name) {
        Ok(values) => values.mapv(f64::from),
        Err(_) => read_as::<f64>(npz, name).map_err(of)?,
    };
    Ok(values.mapv(|x| if x.is_finite() { x } else { f64::NAN }))
}

fn read_as<T: ReadableElement>(npz: &mut NpzReader<File>, name: &str) -> Result<Array2<T>, ndarray_npy::ReadNpzError> {
    npz.by_name(name)
}

fn about(path: &Path) -> anyhow::Result<About> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(About::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
