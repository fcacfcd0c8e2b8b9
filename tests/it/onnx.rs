//! The graphs that we write compute in ONNX Runtime what an LSTM is.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy exempts functions with #[test] alone

use std::path::Path;

use ndarray::{Array3, ArrayView3, Axis, Slice};
use outlierd::model::bundle::Bundle;
use outlierd::model::manifest::{Kind, Manifest, ManifestFeature};
use outlierd::model::onnx::{Dims, LstmLayer, LstmWeights, read_manifest, write_bundle, write_graph};
use outlierd::model::session::{Runtime, Session};

#[test]
fn onnx_runtime_agrees_with_the_formulas() {
    let check = |features: usize, hidden: &[usize], predicts_change: bool, batch: usize, rows: usize| {
        let weights = random_weights(features, hidden, predicts_change);
        let bytes = write_bundle(&weights, &manifest(features)).unwrap();
        let windows = random(3, batch * rows * features, 5.0);
        let expected: Vec<f32> = windows.chunks(rows * features).flat_map(|window| forward(&weights, window)).collect();
        let got = run(&bytes, [batch, rows, features], &windows);
        let difference = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-5, "F {features}, H {hidden:?}: differs by {difference}");
    };
    check(1, &[1], false, 1, 1);
    check(5, &[8], false, 3, 7);
    check(5, &[8], true, 3, 7);
    check(37, &[32], true, 64, 59);
    check(6, &[8, 5], false, 2, 30);
    check(6, &[8, 5, 7], true, 2, 30);
}

#[test]
fn declared_dimensions_are_in_the_file() {
    let weights = random_weights(4, &[3], false);
    let check = |dims: Dims, window: usize, expected: &str| {
        let opened = open(&write_graph(&weights, &manifest(4), dims).unwrap(), window);
        assert_eq!(opened.map_or_else(|error| format!("{error:#}"), |_| "opened".to_owned()), expected);
    };
    check(Dims::default(), 2, "opened");
    check(Dims::default(), 60, "opened");
    check(Dims { batch: None, rows: Some(29) }, 30, "opened");
    let refused = "cannot use a test's bundle: its input `window` has the shape";
    let rows = format!("{refused} [-1, 29, 4]: [batch, 59, 4] is needed, the first of any size");
    check(Dims { batch: None, rows: Some(29) }, 60, &rows);
    let batch = format!("{refused} [2, 29, 4]: [batch, 29, 4] is needed, the first of any size");
    check(Dims { batch: Some(2), rows: Some(29) }, 30, &batch);
}

#[test]
fn the_shipped_bundle_is_whole() {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/node-exporter.onnx")).unwrap();
    assert!(bytes.len() < 200_000);
    let manifest = read_manifest(&bytes).unwrap();
    assert_eq!((manifest.kind, manifest.features.len(), manifest.step_ms), (Kind::Forecast, 37, 60_000));
    let seen = manifest.window - 1;
    let quiet = run(&bytes, [1, seen, 37], &vec![0.0; seen * 37]);
    assert!(quiet.iter().all(|z| z.abs() < 0.5), "a host where nothing happens is expected to stay so: {quiet:?}");
    let wild = run(&bytes, [64, seen, 37], &random(1, 64 * seen * 37, manifest.input_clip));
    assert!(wild.iter().all(|z| z.is_finite()));
}

/// Opened in the process' one runtime: ONNX Runtime allows no second.
fn open(bundle: &[u8], window: usize) -> anyhow::Result<Session> {
    Session::open(Runtime::load(None)?, &Bundle::from_bytes(bundle.to_vec(), "a test's bundle")?, window)
}

/// `[batch × F]` from `windows`, `[batch × rows × F]`. The row that is to be forecast is NaN: the graph must not see it.
fn run(bundle: &[u8], [batch, rows, features]: [usize; 3], windows: &[f32]) -> Vec<f32> {
    let seen = ArrayView3::from_shape((batch, rows, features), windows).unwrap();
    let mut whole = Array3::from_elem((batch, rows + 1, features), f32::NAN);
    whole.slice_axis_mut(Axis(1), Slice::from(..rows)).assign(&seen);
    let mut expected = Vec::new();
    open(bundle, rows + 1).unwrap().run(whole.view(), &mut expected).unwrap();
    expected
}

/// The LSTM's definition, step by step, for one window: `[rows × F]` → `[F]`.
fn forward(weights: &LstmWeights, window: &[f32]) -> Vec<f32> {
    let features = weights.head_b.len();
    let mut sequence: Vec<Vec<f32>> = window.chunks(features).map(<[f32]>::to_vec).collect();
    for layer in &weights.layers {
        let hidden = layer.b_ih.len() / 4;
        let (mut h, mut c) = (vec![0.0; hidden], vec![0.0; hidden]);
        for x in &mut sequence {
            let gates: Vec<f32> = (0..4 * hidden)
                .map(|g| layer.b_ih[g] + layer.b_hh[g] + dot(&layer.w_ih, g, x) + dot(&layer.w_hh, g, &h))
                .collect();
            for n in 0..hidden {
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * hidden + n]);
                c[n] = sigmoid(f) * c[n] + sigmoid(i) * g.tanh();
                h[n] = sigmoid(o) * c[n].tanh();
            }
            x.clone_from(&h);
        }
    }
    let state = sequence.last().unwrap();
    let newest = &window[window.len() - features..];
    let start = |n: usize| weights.head_b[n] + if weights.predicts_change { newest[n] } else { 0.0 };
    (0..features).map(|n| start(n) + dot(&weights.head_w, n, state)).collect()
}

/// Row `row` of `matrix`, whose width is that of `x`, times `x`.
fn dot(matrix: &[f32], row: usize, x: &[f32]) -> f32 {
    matrix[row * x.len()..].iter().zip(x).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Stacked layers of `hidden` units.
pub fn random_weights(features: usize, hidden: &[usize], predicts_change: bool) -> LstmWeights {
    let mut width = features;
    let mut layers = Vec::new();
    for (n, &h) in hidden.iter().enumerate() {
        let seed = 10 * n as u64;
        layers.push(LstmLayer {
            w_ih: random(seed, 4 * h * width, 0.5),
            w_hh: random(seed + 1, 4 * h * h, 0.5),
            b_ih: random(seed + 2, 4 * h, 1.0),
            b_hh: random(seed + 3, 4 * h, 1.0),
        });
        width = h;
    }
    LstmWeights {
        layers,
        decoder: vec![],
        head_w: random(98, features * width, 1.0),
        head_b: random(99, features, 1.0),
        predicts_change,
    }
}

/// Reproducible, uniform in ± `bound`.
fn random(seed: u64, len: usize, bound: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5) * 2.0 * bound
    };
    (0..len).map(|_| next()).collect()
}

/// Of features `f0`, `f1`, …
pub fn manifest(features: usize) -> Manifest {
    let feature = |n| ManifestFeature { name: format!("f{n}"), expr: None, floor: 0.0 };
    Manifest::untrained("test", (0..features).map(feature).collect())
}
