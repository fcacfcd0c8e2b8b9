//! What a series costs per step: one sample enters, one leaves, the function is evaluated. `cargo bench --bench rollup`.
//!
//! Scrapes and steps every 15 s. A cost that grows with the range is a rescan.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench that cannot start says why by panicking

use outlierd::promql::eval::Vector;
use outlierd::promql::labelset::LabelSets;
use outlierd::promql::rollup::{Context, FrameView, Kind, Member, RangeFunction, RangeState, Step};
use outlierd::series::Labels;

const STEP_MS: i64 = 15_000;
const MINUTE_MS: i64 = 60_000;
/// So many series that their state is read from memory and not from the core's own cache.
const SERIES: usize = 2_000;
const RANGES_MS: [i64; 4] = [2 * MINUTE_MS, 5 * MINUTE_MS, 60 * MINUTE_MS, 360 * MINUTE_MS];
const FUNCTIONS: [(&str, RangeFunction); 10] = [
    ("rate", RangeFunction::Rate),
    ("increase", RangeFunction::Increase),
    ("sum_over_time", RangeFunction::Sum),
    ("avg_over_time", RangeFunction::Avg),
    ("min_over_time", RangeFunction::Min),
    ("max_over_time", RangeFunction::Max),
    ("count_over_time", RangeFunction::Count),
    ("irate", RangeFunction::Irate),
    ("changes", RangeFunction::Changes),
    ("deriv (a rescan)", RangeFunction::Deriv),
];

fn main() {
    let is_test = !std::env::args().any(|arg| arg == "--bench");
    let (series, steps) = if is_test { (2, 2) } else { (SERIES, 200) };
    println!("CPU ns per series and step          [2m]    [5m]    [1h]    [6h]");
    for (name, function) in FUNCTIONS {
        let costs = RANGES_MS.map(|range_ms| format!("{:8.1}", cost(function, range_ms, series, steps)));
        println!("{name:30} {}", costs.concat());
    }
}

/// CPU nanoseconds per series and step, once the range is full.
fn cost(function: RangeFunction, range_ms: i64, n_series: usize, steps: i64) -> f64 {
    let labels = LabelSets::new([].into()).intern(Labels::default());
    let members: Vec<Member> = (0..n_series as u32).map(|i| Member { place: i, position: i, labels }).collect();
    let places: Vec<u32> = (0..n_series as u32).collect();
    let mut state = RangeState::new(Kind::new(function, range_ms, STEP_MS, n_series));
    state.renumber(&[], n_series);
    let (mut last, mut scratch, mut out) = (vec![0.0; n_series], Vec::new(), Vector::new());
    let mut started = 0;
    let full = range_ms / STEP_MS + 1;
    for step in 0..full + steps {
        if step == full {
            started = cpu_ns();
        }
        let t_ms = step * STEP_MS;
        let values: Vec<f64> = (0..n_series).map(|i| (step * 7 + i as i64) as f64).collect();
        let frame = FrameView { t_ms, first_place: 0, values: &values };
        let context = &mut Context { grid_ms: 0, places: &places, last: &last, may_grow: true, scratch: &mut scratch };
        state.push(frame, context);
        last.copy_from_slice(&values);
        state.drop_until(t_ms - range_ms, range_ms);
        out.clear();
        // While the range fills, nothing is asked for: else a rescan would take long before it is measured.
        if step >= full {
            state.evaluate(function, range_ms, Step { t_ms, grid_ms: 0 }, &members, &last, &mut out);
        }
        std::hint::black_box(&out);
    }
    (cpu_ns() - started) as f64 / (n_series as i64 * steps) as f64
}

/// CPU time of this thread, which other guests and threads don't move as they move the clock.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
