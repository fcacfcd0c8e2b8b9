//! Training of a fleet model on one core: T = 60, F = 32, H = 64, batches of 64 windows, one layer, sampling included.
//! `cargo bench --bench training`. All on one thread. `benches/training_twin.py` is the same in PyTorch.
#![allow(clippy::unwrap_used)] // a bench that cannot start says why by panicking

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use outlierd::base::bounds::Bounds;
use outlierd::engine::standardise::Constants;
use outlierd::offline::train::dataset::{Collector, Column, Dataset, Scale};
use outlierd::offline::train::fit::{Options, fit};
use outlierd::offline::train::network::NetworkConfig;
use outlierd::offline::train::sample::Shape;

const T: usize = 60;
const F: usize = 32;
const H: usize = 64;
const BATCH: usize = 64;
const WINDOWS: usize = 100_000;
const STEP_MS: i64 = 60_000;

/// Ten hosts of two days of waves.
fn data() -> Dataset {
    let column = |n| Column { name: format!("f{n}"), expr: None, floor: 0.0, bounds: Bounds::NONE };
    let scale = Scale::new(STEP_MS, Constants::default());
    let mut collector = Collector::new((0..F).map(column).collect(), scale);
    for row in 0..2 * 1440 {
        for host in 0..10 {
            let wave = |n: usize| (f64::from(row) * (0.05 + 0.01 * n as f64) + f64::from(host)).sin();
            collector.push(&format!("h{host}"), i64::from(row) * STEP_MS, &(0..F).map(wave).collect::<Vec<f64>>());
        }
    }
    collector.finish()
}

#[allow(clippy::disallowed_methods, clippy::print_stdout)] // it measures and prints
fn main() {
    let data = data();
    let defaults = Options::DEFAULT;
    let options = Options {
        network: NetworkConfig { hidden: H, ..defaults.network },
        shape: Shape { window: T, batch: BATCH, ..defaults.shape },
        steps: WINDOWS.div_ceil(BATCH),
        ..defaults
    };
    let (started, cpu_started) = (Instant::now(), cpu_seconds());
    let fitted = black_box(fit(&data, &options, &mut |_| ControlFlow::Continue(())).unwrap());
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_started);
    let n = fitted.steps * BATCH;
    let rate = n as f64 / cpu;
    println!(
        "{n} windows of T={T} F={F} H={H} in {seconds:.1} s ({cpu:.1} s of CPU): {rate:.0} windows/s of CPU, all threads counted"
    );
}

/// Of all threads of this process: the wall clock also counts what else the machine does.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
