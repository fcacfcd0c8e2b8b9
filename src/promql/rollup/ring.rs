//! The samples of one series inside one range: for what needs them all, and for long ranges.

use std::collections::VecDeque;

use super::fall::{OPEN_RANGES, Open, is_doubtful};
use super::{RangeFunction, extrapolate};
use crate::promql::over::over;
use crate::series::{Sample, TimestampMs};

/// The samples of one series inside one range, with what `rate` needs of them.
///
/// Samples are pushed in order of time; stale markers are not pushed.
#[derive(Debug, Default)]
pub struct Ring {
    /// Strictly increasing in time; bounded by range / scrape interval and by the host's limit.
    samples: VecDeque<Sample>,
    /// Time and value of each sample that a lower one follows: the counter was reset after it.
    resets: VecDeque<Sample>,
    /// Time of the newest sample that the next one doesn't go on from.
    doubtful: Option<TimestampMs>,
    /// Fall or rise that may yet prove wrong. After a gap longer than the range nothing is compared, unlike where panes are kept.
    pending: Option<Open>,
    /// Neighbours that differ.
    n_changes: u32,
}

impl Ring {
    /// Adds the newest sample.
    pub fn push(&mut self, sample: Sample) {
        if let Some(previous) = self.samples.back() {
            self.n_changes += u32::from(differ(previous, &sample));
            if sample.value < previous.value {
                self.resets.push_back(*previous);
            }
            if is_doubtful(&mut self.pending, previous.value, sample.value, sample.t_ms) {
                self.doubtful = Some(previous.t_ms);
            }
        }
        self.samples.push_back(sample);
    }

    /// Drops what is not inside the left-open range of `range_ms` that ends at a step: samples at or before `start_ms`.
    /// Returns how many were dropped.
    pub fn drop_until(&mut self, start_ms: TimestampMs, range_ms: i64) -> usize {
        let before = self.samples.len();
        while let Some(front) = self.samples.front().copied().filter(|sample| sample.t_ms <= start_ms) {
            self.samples.pop_front();
            self.n_changes -= u32::from(self.samples.front().is_some_and(|next| differ(&front, next)));
        }
        while self.resets.front().is_some_and(|sample| sample.t_ms <= start_ms) {
            self.resets.pop_front();
        }
        self.doubtful = self.doubtful.filter(|t_ms| *t_ms > start_ms);
        let since_ms = start_ms.saturating_sub((OPEN_RANGES - 1).saturating_mul(range_ms));
        self.pending = self.pending.filter(|pending| pending.at > since_ms);
        before - self.samples.len()
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

    /// Whether the counter fell.
    #[must_use]
    pub fn has_fall(&self) -> bool {
        !self.resets.is_empty()
    }

    /// Whether a sample doesn't go on from the one before.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.doubtful.is_some()
    }

    /// `function` over the range `(end_ms - range_ms, end_ms]`; `None` with too few samples.
    #[must_use]
    pub fn value(&self, function: RangeFunction, end_ms: TimestampMs, range_ms: i64) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let difference = last.value - first.value;
        let increase = match function {
            // One after the other as Prometheus does it: another order would round otherwise.
            RangeFunction::Rate | RangeFunction::Increase => {
                self.resets.iter().fold(difference, |increase, before| increase + before.value)
            }
            RangeFunction::Delta => difference,
            RangeFunction::Last => return Some(last.value),
            RangeFunction::Present => return Some(1.0),
            RangeFunction::Changes => return Some(f64::from(self.n_changes)),
            RangeFunction::Resets => return Some(self.resets.len() as f64),
            RangeFunction::Irate | RangeFunction::Idelta => {
                let before_last = self.samples.get(self.samples.len().checked_sub(2)?)?;
                return over(function, &[*before_last, *last], end_ms, range_ms);
            }
            _ => {
                let samples: Vec<Sample> = self.samples.iter().copied().collect();
                return over(function, &samples, end_ms, range_ms);
            }
        };
        extrapolate(function, *first, *last, self.samples.len(), increase, end_ms, range_ms)
    }
}

/// Whether two values are not the same; NaN and NaN are.
fn differ(a: &Sample, b: &Sample) -> bool {
    a.value != b.value && !(a.value.is_nan() && b.value.is_nan())
}
