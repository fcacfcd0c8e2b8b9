//! A host as `<host>.npz`: `train` and `test` `[rows × columns]` float32 or float64, and `label` of `test`, uint8 or bool. Beside
//! it `<host>.json` may say which data set it is of, the step, and what the labellers blamed.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use ndarray::{Array2, Axis};
use serde::Deserialize;
use zip::ZipArchive;
use zip::read::ZipFile;

use super::{Blame, LabelledHost, STEP_MS_MAX, columns, host_name, npy};

/// Arrays that a message names.
const NAMES_SHOWN: usize = 10;

/// Content of `<host>.json`; anything else in it is left alone.
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
    let mut npz = ZipArchive::new(File::open(path)?).context("it is no npz file")?;
    let (train, test) = (matrix(&mut npz, "train")?, matrix(&mut npz, "test")?);
    let label = npy::vector(&mut entry(&mut npz, "label")?).context("cannot use `label`")?;
    ensure!(
        train.ncols() == test.ncols(),
        "`train` has {} columns and `test` {}: they must be the same features",
        train.ncols(),
        test.ncols()
    );
    ensure!(test.ncols() > 0, "it has no columns");
    ensure!(test.nrows() == label.len(), "there are {} labels for the {} rows of `test`", label.len(), test.nrows());
    if let Some(row) = label.iter().position(|label| *label > 1) {
        bail!("the label of row {row} is {}: 0 and 1 are possible", label[row]);
    }
    let n_columns = test.ncols();
    ensure!(
        about.dataset != "smd" || n_columns == columns::SMD_FEATURES.len(),
        "it has {n_columns} columns: the Server Machine Dataset has {}",
        columns::SMD_FEATURES.len()
    );
    let step_ms = about.step_seconds.map(|seconds| (seconds * 1000.0).round() as i64);
    ensure!(step_ms.is_none_or(|ms| (1..=STEP_MS_MAX).contains(&ms)), "its step is not from a millisecond to a day");
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
fn matrix(npz: &mut ZipArchive<File>, name: &str) -> anyhow::Result<Array2<f64>> {
    let values = npy::matrix(&mut entry(npz, name)?).with_context(|| format!("cannot use `{name}`"))?;
    Ok(values.mapv(|x| if x.is_finite() { x } else { f64::NAN }))
}

fn entry<'a>(npz: &'a mut ZipArchive<File>, name: &str) -> anyhow::Result<ZipFile<'a, File>> {
    let file = format!("{name}.npy");
    if npz.index_for_name(&file).is_none() {
        let names: Vec<&str> = npz.file_names().take(NAMES_SHOWN).collect();
        bail!("it has the arrays {names:?}: `train`, `test` and `label` are needed");
    }
    npz.by_name(&file).with_context(|| format!("cannot read `{name}`"))
}

fn about(path: &Path) -> anyhow::Result<About> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(About::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
