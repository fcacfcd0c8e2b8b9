//! The oracle of the incremental evaluation: whole slices, no state. Tests only.

use super::rollup::{RangeFunction, extrapolate};
use crate::series::{Sample, TimestampMs, is_stale};

/// `function` over all of `samples` that lie in `(end_ms - range_ms, end_ms]`.
pub(crate) fn range_value(
    function: RangeFunction,
    samples: &[Sample],
    end_ms: TimestampMs,
    range_ms: i64,
) -> Option<f64> {
    let inside: Vec<Sample> = samples
        .iter()
        .filter(|s| s.t_ms > end_ms - range_ms && s.t_ms <= end_ms && !is_stale(s.value))
        .copied()
        .collect();
    let (first, last) = (inside.first()?, inside.last()?);
    let resets: Vec<f64> = inside.windows(2).filter(|w| w[1].value < w[0].value).map(|w| w[0].value).collect();
    let increase = last.value - first.value + resets.iter().sum::<f64>();
    extrapolate(function, *first, *last, inside.len(), increase, end_ms, range_ms)
}

/// The newest of `samples` at `at_ms` that is not older than `lookback_ms` and not a stale marker.
pub(crate) fn instant_value(samples: &[Sample], at_ms: TimestampMs, lookback_ms: i64) -> Option<f64> {
    let newest = samples.iter().rfind(|s| s.t_ms <= at_ms)?;
    (newest.t_ms > at_ms - lookback_ms && !is_stale(newest.value)).then_some(newest.value)
}

/// Equal up to rounding; NaN equals NaN.
pub(crate) fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        (a, b) => a.is_none() && b.is_none(),
    }
}
