//! `sum`, `avg`, `min`, `max` and `count_over_time` of one series: samples enter and leave without a rescan.
//!
//! Two stacks: the older samples carry the fold of themselves and all younger ones of their stack, the newer ones one running
//! fold. Nothing is ever subtracted, so that rounding, infinities and NaN leave with the samples that brought them.

use std::collections::VecDeque;

use super::RangeFunction;
use crate::promql::over::over;
use crate::series::{Sample, TimestampMs};

/// Result of a stretch of samples.
#[derive(Debug, Clone, Copy)]
struct Partial {
    /// Sum and its compensation: the exact sum is nearer to their sum than to `sum`.
    sum: f64,
    compensation: f64,
    /// Lowest and highest number; NaN where all are.
    min: f64,
    max: f64,
}

const EMPTY: Partial = Partial { sum: 0.0, compensation: 0.0, min: f64::NAN, max: f64::NAN };

impl Partial {
    fn of(value: f64) -> Self {
        Self { sum: value, compensation: 0.0, min: value, max: value }
    }

    /// Both stretches together; sums by Neumaier's compensation.
    fn and(self, other: Self) -> Self {
        let sum = self.sum + other.sum;
        let lost =
            if self.sum.abs() >= other.sum.abs() { (self.sum - sum) + other.sum } else { (other.sum - sum) + self.sum };
        Self {
            sum,
            compensation: self.compensation + other.compensation + lost,
            // Rust's minimum of a number and a NaN is the number, as Prometheus wants it.
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }
}

/// The samples of one series in one range.
#[derive(Debug, Default)]
pub struct Fold {
    /// Strictly increasing in time; bounded by range / scrape interval and by the host's limit.
    samples: VecDeque<Sample>,
    /// For the oldest samples, oldest last: the fold of it and all samples after it that have one.
    older: Vec<Partial>,
    /// The fold of the others.
    newer: Option<Partial>,
}

impl Fold {
    /// Adds the newest sample.
    pub fn push(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        self.newer = Some(self.newer.unwrap_or(EMPTY).and(Partial::of(sample.value)));
    }

    /// Drops samples at or before `start_ms`; returns how many.
    pub fn drop_until(&mut self, start_ms: TimestampMs) -> usize {
        let before = self.samples.len();
        while self.samples.front().is_some_and(|sample| sample.t_ms <= start_ms) {
            if self.older.is_empty() {
                self.turn();
            }
            self.samples.pop_front();
            self.older.pop();
        }
        before - self.samples.len()
    }

    /// Makes all samples older ones: each sample is folded here once in its life.
    fn turn(&mut self) {
        let mut fold = EMPTY;
        for sample in self.samples.iter().rev() {
            fold = Partial::of(sample.value).and(fold);
            self.older.push(fold);
        }
        self.newer = None;
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

    /// `function` over all samples held; `None` without any.
    #[must_use]
    pub fn value(&self, function: RangeFunction) -> Option<f64> {
        let n = self.samples.len();
        if n == 0 {
            return None;
        }
        let all = match (self.older.last(), self.newer) {
            (Some(older), Some(newer)) => older.and(newer),
            (Some(fold), None) => *fold,
            (None, fold) => fold?,
        };
        let sum = all.sum + all.compensation;
        match function {
            RangeFunction::Count => Some(n as f64),
            RangeFunction::Min => Some(all.min),
            RangeFunction::Max => Some(all.max),
            RangeFunction::Sum if sum.is_finite() => Some(sum),
            RangeFunction::Avg if sum.is_finite() => Some(sum / n as f64),
            // Infinities, NaN and sums beyond the range of a number have rules of their own, which need every sample.
            _ => {
                let samples: Vec<Sample> = self.samples.iter().copied().collect();
                over(function, &samples, 0, 0)
            }
        }
    }
}
