//! Incremental accumulators of range selectors: a step costs the samples that enter and leave its range, never a rescan.

use std::collections::VecDeque;

use super::over::over;
pub use super::range_function::RangeFunction;
use crate::series::{Sample, TimestampMs};

/// The samples of one series inside one range, with what `rate` needs of them.
///
/// Samples are pushed in order of time; stale markers are not pushed.
#[derive(Debug, Default)]
pub struct RangeState {
    /// Strictly increasing in time; bounded by range / scrape interval and by the host's limit.
    samples: VecDeque<Sample>,
    /// Number of counter resets between neighbours.
    n_resets: u32,
    /// Sum of the values just before each reset.
    reset_sum: f64,
}

impl RangeState {
    /// Adds the newest sample.
    pub fn push(&mut self, sample: Sample) {
        if let Some(previous) = self.samples.back()
            && sample.value < previous.value
        {
            self.n_resets += 1;
            self.reset_sum += previous.value;
        }
        self.samples.push_back(sample);
    }

    /// Drops what is not inside the left-open range that ends at a step: samples at or before `start_ms`.
    /// Returns how many were dropped.
    pub fn drop_until(&mut self, start_ms: TimestampMs) -> usize {
        let before = self.samples.len();
        let mut reset_left = false;
        while self.samples.front().is_some_and(|sample| sample.t_ms <= start_ms) {
            reset_left |= self.drop_front();
        }
        if reset_left {
            // Summed anew, which is rare, so that rounding and infinities leave with the samples that brought them.
            self.reset_sum = 0.0;
            for (previous, next) in self.samples.iter().zip(self.samples.iter().skip(1)) {
                if next.value < previous.value {
                    self.reset_sum += previous.value;
                }
            }
        }
        before - self.samples.len()
    }

    /// Drops the oldest sample; whether a reset left with it.
    fn drop_front(&mut self) -> bool {
        let Some(front) = self.samples.pop_front() else { return false };
        let is_reset = self.samples.front().is_some_and(|next| next.value < front.value);
        self.n_resets -= u32::from(is_reset);
        is_reset
    }

    /// Number of samples held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether no sample is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// `function` over the range `(end_ms - range_ms, end_ms]`; `None` with too few samples.
    #[must_use]
    pub fn value(&self, function: RangeFunction, end_ms: TimestampMs, range_ms: i64) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        if !matches!(function, RangeFunction::Rate | RangeFunction::Increase) {
            let samples: Vec<Sample> = self.samples.iter().copied().collect();
            return over(function, &samples, end_ms, range_ms);
        }
        let increase = last.value - first.value + if self.n_resets > 0 { self.reset_sum } else { 0.0 };
        extrapolate(function, *first, *last, self.samples.len(), increase, end_ms, range_ms)
    }
}

/// Prometheus' extrapolation of `rate`, `increase` and `delta` to the borders of the range (promql/functions.go,
/// `extrapolatedRate`).
///
/// `increase` is last − first, for a counter with its resets added back. `None` with fewer than two samples.
pub(super) fn extrapolate(
    function: RangeFunction,
    first: Sample,
    last: Sample,
    n_samples: usize,
    increase: f64,
    end_ms: TimestampMs,
    range_ms: i64,
) -> Option<f64> {
    if n_samples < 2 {
        return None;
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sampled_s = seconds(last.t_ms - first.t_ms);
    let mean_interval_s = sampled_s / (n_samples - 1) as f64;
    // A border further away than this is not reached: the series probably began or ended inside the range.
    let threshold_s = mean_interval_s * 1.1;

    let mut to_start_s = seconds(first.t_ms - (end_ms - range_ms));
    if to_start_s >= threshold_s {
        to_start_s = mean_interval_s / 2.0;
    }
    if function.is_counter() && increase > 0.0 && first.value >= 0.0 {
        // A counter cannot have been negative: it is not extrapolated beyond the point where it would be zero.
        to_start_s = to_start_s.min(sampled_s * (first.value / increase));
    }
    let mut to_end_s = seconds(end_ms - last.t_ms);
    if to_end_s >= threshold_s {
        to_end_s = mean_interval_s / 2.0;
    }
    let mut factor = (sampled_s + to_start_s + to_end_s) / sampled_s;
    if function == RangeFunction::Rate {
        factor /= seconds(range_ms);
    }
    Some(increase * factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::expr::naive;

    fn series(points: &[(i64, f64)]) -> Vec<Sample> {
        points.iter().map(|&(t_ms, value)| Sample { t_ms, value }).collect()
    }

    fn rate(samples: &[Sample], end_ms: i64, range_ms: i64) -> Option<f64> {
        let mut state = RangeState::default();
        samples.iter().filter(|s| s.t_ms <= end_ms).for_each(|s| state.push(*s));
        state.drop_until(end_ms - range_ms);
        state.value(RangeFunction::Rate, end_ms, range_ms)
    }

    #[test]
    fn rate_as_prometheus_documents_it() {
        // 4 samples, 15 s apart, on the grid of the range: (0, 60] holds 15, 30, 45, 60; increase 3 over 45 s, extrapolated to 60 s.
        let on_grid = series(&[(0, 10.0), (15_000, 11.0), (30_000, 12.0), (45_000, 13.0), (60_000, 14.0)]);
        check(rate(&on_grid, 60_000, 60_000), Some(3.0 * (60.0 / 45.0) / 60.0));
        // One sample is not enough: the range is open on the left.
        check(rate(&series(&[(0, 1.0), (60_000, 2.0)]), 60_000, 60_000), None);
        // A reset adds what the counter had before it.
        let reset = series(&[(0, 100.0), (30_000, 110.0), (60_000, 5.0)]);
        check(rate(&reset, 60_000, 90_000), Some(15.0 * ((60.0 + 30.0) / 60.0) / 90.0));
    }

    fn check(got: Option<f64>, expected: Option<f64>) {
        assert!(naive::same(got, expected), "{got:?} instead of {expected:?}");
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (0..1000u32).prop_map(f64::from),
            1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(-5.0)],
        ]
    }

    proptest! {
        #[test]
        fn incremental_equals_naive(
            points in prop::collection::vec((1..40_000i64, value()), 1..80),
            step_ms in 1_000..60_000i64,
            range_ms in 1_000..200_000i64,
        ) {
            let mut t_ms = 0;
            let samples: Vec<Sample> =
                points.into_iter().map(|(gap, value)| { t_ms += gap; Sample { t_ms, value } }).collect();
            let mut state = RangeState::default();
            let mut next = 0;
            for end_ms in (0..t_ms + 2 * range_ms).step_by(step_ms as usize) {
                while next < samples.len() && samples[next].t_ms <= end_ms {
                    state.push(samples[next]);
                    next += 1;
                }
                state.drop_until(end_ms - range_ms);
                for function in [RangeFunction::Rate, RangeFunction::Increase] {
                    let expected = naive::range_value(function, &samples, end_ms, range_ms);
                    let got = state.value(function, end_ms, range_ms);
                    prop_assert!(naive::same(got, expected), "{function:?} at {end_ms}: {got:?}, naive {expected:?}");
                }
            }
        }
    }
}
