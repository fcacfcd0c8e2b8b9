//! ONNX Runtime: the only file that names `ort`.
//!
//! Owns the loading of the library (once per process) and one single-threaded session per scoring thread.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use ndarray::{ArrayView2, ArrayView3, Axis, Slice};
use ort::environment::Environment;
use ort::session::Session as OrtSession;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorRef, ValueType};
use parking_lot::Mutex;

use super::bundle::Bundle;
use super::manifest::Kind;

/// Name of the graph's input.
pub const INPUT: &str = "window";
/// Name of the graph's output.
pub const OUTPUT: &str = "expected";

/// The loaded library.
#[derive(Debug)]
pub struct Runtime {
    environment: Environment,
    /// The file that it was loaded from.
    pub library: PathBuf,
}

/// The process' one runtime: the library allows no second.
static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library, or gives the one that is loaded already. `explicit` is `--onnxruntime.path`: then nothing else is tried.
    ///
    /// # Errors
    /// No library was found, or none could be loaded: lists the places tried and the command that fixes it.
    pub fn load(explicit: Option<&Path>) -> anyhow::Result<&'static Self> {
        let mut runtime = RUNTIME.lock();
        if let Some(runtime) = *runtime {
            return Ok(runtime);
        }
        let loaded: &'static Self = Box::leak(Box::new(load_first(&places(explicit))?));
        *runtime = Some(loaded);
        Ok(loaded)
    }
}

/// Returns the places where the library is looked for, in this order.
fn places(explicit: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let mut places = Vec::new();
    let executable = std::env::current_exe().unwrap_or_default();
    if let Some(folder) = executable.parent() {
        places.push(folder.join("libonnxruntime.so"));
        places.push(folder.join("lib/libonnxruntime.so"));
    }
    places.push("/usr/lib/outlierd/libonnxruntime.so".into());
    // What scripts/get-onnxruntime.sh writes, seen from the repository.
    places.push(".outlierd/onnxruntime/libonnxruntime.so".into());
    // By the dynamic loader's own path.
    places.push("libonnxruntime.so".into());
    places.push("libonnxruntime.so.1".into());
    places
}

fn load_first(places: &[PathBuf]) -> anyhow::Result<Runtime> {
    let mut tried = String::new();
    for place in places {
        match load(place) {
            Ok(environment) => return Ok(Runtime { environment, library: place.clone() }),
            Err(reason) => tried.push_str(&format!("\n  {}: {reason:#}", place.display())),
        }
    }
    bail!(
        "cannot load ONNX Runtime; tried:{tried}\n\
         run scripts/get-onnxruntime.sh in the repository, or name the library with --onnxruntime.path or ORT_DYLIB_PATH \
         (the PyPI package onnxruntime holds it as capi/libonnxruntime.so.*)"
    )
}

fn load(place: &Path) -> anyhow::Result<Environment> {
    // A name without a folder is looked up by the dynamic loader; anything else must be there, which `dlopen` says less clearly.
    let is_path = place.components().count() > 1;
    ensure!(!is_path || place.is_file(), "no such file");
    // Nothing is sent. That nothing is written either is up to main.rs.
    let builder = ort::init_from(place).map_err(|error| anyhow!("{error}"))?.with_telemetry(false);
    builder.build().map_err(|error| anyhow!("{error}"))
}

/// A bundle ready to run on one thread.
#[derive(Debug)]
pub struct Session {
    session: OrtSession,
    kind: Kind,
    /// Rows that the graph sees.
    input_rows: usize,
    /// F: features of a row.
    n_features: usize,
}

impl Session {
    /// Opens `bundle` for windows of `window` rows.
    ///
    /// # Errors
    /// The graph is not what the manifest says: names, types, number of rows or of features.
    pub fn open(runtime: &Runtime, bundle: &Bundle, window: usize) -> anyhow::Result<Self> {
        open(runtime, bundle, window).with_context(|| format!("cannot use {}", bundle.source))
    }

    /// Runs the graph over a batch of windows, `[batch, T, F]`; gives the expected newest row of each, `[batch × F]` in `out`.
    ///
    /// # Errors
    /// ONNX Runtime refuses, or its answer has another shape than the manifest promises.
    pub fn run(&mut self, windows: ArrayView3<'_, f32>, out: &mut Vec<f32>) -> anyhow::Result<()> {
        let batch = windows.shape()[0];
        let input = windows.slice_axis(Axis(1), Slice::from(..self.input_rows));
        let input = input.as_standard_layout();
        let outputs = self.session.run(ort::inputs![INPUT => TensorRef::from_array_view(input.view())?])?;
        let (shape, values) = outputs[OUTPUT].try_extract_tensor::<f32>()?;
        let per_window = match self.kind {
            Kind::Forecast => self.n_features,
            Kind::Reconstruct => self.input_rows * self.n_features,
        };
        ensure!(values.len() == batch * per_window, "`{OUTPUT}` has the shape {shape:?} for {batch} windows");
        let values = ArrayView2::from_shape((batch, per_window), values)?;
        // Of a reconstruction the newest row counts.
        let newest = values.slice_axis(Axis(1), Slice::from(per_window - self.n_features..));
        out.clear();
        out.extend(newest.iter());
        Ok(())
    }
}

fn open(runtime: &Runtime, bundle: &Bundle, window: usize) -> anyhow::Result<Session> {
    let builder = OrtSession::builder(&runtime.environment)?;
    // The builder's errors carry the builder: only their text is kept.
    let builder = builder.with_intra_threads(1).map_err(|e| anyhow!("{e}"))?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3).map_err(|e| anyhow!("{e}"))?;
    let mut builder = builder.with_inter_threads(1).map_err(|e| anyhow!("{e}"))?;
    let session = builder.commit_from_memory(&bundle.bytes)?;
    let input_rows = bundle.input_rows(window);
    let n_features = bundle.manifest.features.len();
    let batch_input = [None, Some(input_rows), Some(n_features)];
    check_outlet("input", INPUT, session.inputs(), &batch_input)?;
    match bundle.manifest.kind {
        Kind::Forecast => check_outlet("output", OUTPUT, session.outputs(), &[None, Some(n_features)])?,
        Kind::Reconstruct => check_outlet("output", OUTPUT, session.outputs(), &batch_input)?,
    }
    Ok(Session { session, kind: bundle.manifest.kind, input_rows, n_features })
}

/// Holds the graph's one input or output to its name, to float32 and to its shape; `None` is any size. A dimension that the
/// graph leaves open (−1) fits all.
fn check_outlet(what: &str, name: &str, outlets: &[Outlet], shape: &[Option<usize>]) -> anyhow::Result<()> {
    let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
    let outlet = match outlets {
        [outlet] if outlet.name() == name => outlet,
        _ => bail!("its graph has the {what}s {names:?}: exactly one, named `{name}`, is needed"),
    };
    let ValueType::Tensor { ty: ort::value::TensorElementType::Float32, shape: found, .. } = outlet.dtype() else {
        bail!("its {what} `{name}` is {:?}: a float32 tensor is needed", outlet.dtype());
    };
    let fits = found.len() == shape.len()
        && found.iter().zip(shape).all(|(&size, wanted)| size < 0 || wanted.is_none_or(|wanted| size == wanted as i64));
    let wanted: Vec<String> = shape.iter().map(|s| s.map_or("batch".to_owned(), |size| size.to_string())).collect();
    ensure!(
        fits && found.first().is_none_or(|batch| *batch < 0),
        "its {what} `{name}` has the shape {:?}: [{}] is needed, the first of any size",
        &found[..],
        wanted.join(", ")
    );
    Ok(())
}
