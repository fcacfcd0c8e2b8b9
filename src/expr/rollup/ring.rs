//! The samples of one series inside one range: for what needs them all, and for long ranges.

use std::collections::VecDeque;

use super::{RangeFunction, extrapolate};
use crate::expr::over::over;
use crate::series::{Sample, TimestampMs};

/// The samples of one series inside one range, with what `rate` needs of them.
///
/// Samples are pushed in order of time; stale markers are not pushed.
#[derive(Debug, Default)]
pub struct Ring {
    /// Strictly increasing in time; bounded by range / scrape interval and by the host's limit.
    samples: VecDeque<Sample>,
    /// Number of counter resets between neighbours.
    n_resets: u32,
    /// Sum of the values just before each reset.
    reset_sum: f64,
}

impl Ring {
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
        let difference = last.value - first.value;
        let increase = match function {
            RangeFunction::Rate | RangeFunction::Increase if self.n_resets > 0 => difference + self.reset_sum,
            RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Delta => difference,
            RangeFunction::Last => return Some(last.value),
            RangeFunction::Present => return Some(1.0),
            _ => {
                let samples: Vec<Sample> = self.samples.iter().copied().collect();
                return over(function, &samples, end_ms, range_ms);
            }
        };
        extrapolate(function, *first, *last, self.samples.len(), increase, end_ms, range_ms)
    }
}
