//! Scoring of windows by ONNX Runtime, batch copy included: T = 60, F = 16, H = 64. `cargo bench --bench scoring`.
#![allow(clippy::unwrap_used)] // a bench that cannot start says why by panicking

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array3, Axis, Slice};
use outlierd::model::bundle::Bundle;
use outlierd::model::manifest::{Manifest, ManifestFeature};
use outlierd::model::onnx::{LstmLayer, LstmWeights, write_bundle};
use outlierd::model::session::{Runtime, Session};

const T: usize = 60;
const F: usize = 16;
const H: usize = 64;

/// Weights and inputs that are neither zero nor regular; their values do not change the work.
fn values(n: usize, scale: f32) -> Vec<f32> {
    (0..n).map(|i| scale * ((i * 2_654_435_761) as u32 as f32 / u32::MAX as f32 - 0.5)).collect()
}

fn bundle(n_layers: usize) -> Bundle {
    let layer = |width: usize| LstmLayer {
        w_ih: values(4 * H * width, 0.2),
        w_hh: values(4 * H * H, 0.2),
        b_ih: values(4 * H, 0.2),
        b_hh: values(4 * H, 0.2),
    };
    let layers = (0..n_layers).map(|i| layer(if i == 0 { F } else { H })).collect();
    let weights = LstmWeights {
        layers,
        decoder: vec![],
        head_w: values(F * H, 0.2),
        head_b: values(F, 0.2),
        predicts_change: true,
    };
    let feature = |i| ManifestFeature { name: format!("f{i}"), expr: None, floor: 0.0 };
    let manifest = Manifest { window: T, ..Manifest::untrained("bench", (0..F).map(feature).collect()) };
    Bundle::from_bytes(write_bundle(&weights, &manifest).unwrap(), "bench").unwrap()
}

fn scoring(c: &mut Criterion) {
    let runtime = Runtime::load(None).unwrap();
    for n_layers in [1, 2] {
        let mut session = Session::open(runtime, &bundle(n_layers), T).unwrap();
        let source = values(64 * T * F, 4.0);
        let mut windows = Array3::zeros((64, T, F));
        let mut group = c.benchmark_group(format!("scoring/T60-F16-H64-{n_layers}layer"));
        for batch in [1, 16, 64] {
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::from_parameter(batch), |b| {
                let mut expected = Vec::new();
                b.iter(|| {
                    for (window, mut cells) in source.chunks_exact(T * F).zip(windows.outer_iter_mut()).take(batch) {
                        cells.as_slice_mut().unwrap().copy_from_slice(window);
                    }
                    session.run(windows.slice_axis(Axis(0), Slice::from(..batch)), &mut expected).unwrap();
                    black_box(&expected);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, scoring);
criterion_main!(benches);
