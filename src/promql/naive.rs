//! The oracle of the incremental evaluation: whole slices, no state, textbook formulas. Tests only.
//!
//! Shares no code with what it judges: not the extrapolation, not the sums.

use super::range_function::RangeFunction;
use crate::series::{Sample, TimestampMs, is_stale};

/// `function` over all of `samples` that lie in `(end_ms - range_ms, end_ms]`.
pub(crate) fn range_value(
    function: RangeFunction,
    samples: &[Sample],
    end_ms: TimestampMs,
    range_ms: i64,
) -> Option<f64> {
    let is_inside = |s: &&Sample| s.t_ms > end_ms - range_ms && s.t_ms <= end_ms && !is_stale(s.value);
    let inside: Vec<Sample> = samples.iter().filter(is_inside).copied().collect();
    let values: Vec<f64> = inside.iter().map(|s| s.value).collect();
    let n = values.len() as f64;
    let numbers = || values.iter().copied().filter(|v| !v.is_nan());
    let pairs = || values.windows(2).map(|pair| (pair[0], pair[1]));
    let last = *values.last()?;
    Some(match function {
        RangeFunction::Rate => extrapolated(&inside, end_ms, range_ms, true)? / (range_ms as f64 / 1000.0),
        RangeFunction::Increase => extrapolated(&inside, end_ms, range_ms, true)?,
        RangeFunction::Delta => extrapolated(&inside, end_ms, range_ms, false)?,
        RangeFunction::Irate => {
            let [.., a, b] = inside[..] else { return None };
            let gain = if b.value < a.value { b.value } else { b.value - a.value };
            gain * 1000.0 / (b.t_ms - a.t_ms) as f64
        }
        RangeFunction::Idelta => {
            let [.., a, b] = values[..] else { return None };
            b - a
        }
        RangeFunction::Deriv => slope(&inside)?,
        RangeFunction::Changes => pairs().filter(|(a, b)| a.is_nan() != b.is_nan() || a < b || a > b).count() as f64,
        RangeFunction::Resets => pairs().filter(|(a, b)| a > b).count() as f64,
        RangeFunction::Avg => values.iter().map(|v| v / n).sum(),
        RangeFunction::Min => numbers().reduce(f64::min).unwrap_or(f64::NAN),
        RangeFunction::Max => numbers().reduce(f64::max).unwrap_or(f64::NAN),
        RangeFunction::Sum => values.iter().sum(),
        RangeFunction::Count => n,
        RangeFunction::Last => last,
        RangeFunction::Stddev => variance(&values).sqrt(),
        RangeFunction::Stdvar => variance(&values),
        RangeFunction::Present => 1.0,
        RangeFunction::Quantile(phi) => quantile(phi, values),
    })
}

/// Increase or difference over the whole range, as if the samples' slope went on to each border that is near.
fn extrapolated(inside: &[Sample], end_ms: TimestampMs, range_ms: i64, is_counter: bool) -> Option<f64> {
    let [first, .., last] = inside else { return None };
    let mut gain = last.value - first.value;
    for pair in inside.windows(2).filter(|pair| is_counter && pair[1].value < pair[0].value) {
        gain += pair[0].value;
    }
    // In seconds: whether a border is just within reach depends on the rounding.
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sampled_s = seconds(last.t_ms - first.t_ms);
    let interval_s = sampled_s / (inside.len() - 1) as f64;
    // A border is near where the next sample would be due, give or take a tenth; else the series ends half an interval out.
    let reach = |gap_s: f64| if gap_s < 1.1 * interval_s { gap_s } else { interval_s / 2.0 };
    let mut before_s = reach(seconds(first.t_ms - (end_ms - range_ms)));
    if is_counter && gain > 0.0 && first.value >= 0.0 {
        // Where the line through the first sample meets zero.
        let zero_s = first.value / gain * sampled_s;
        if zero_s < before_s {
            before_s = zero_s;
        }
    }
    Some(gain * ((before_s + sampled_s + reach(seconds(end_ms - last.t_ms))) / sampled_s))
}

/// Covariance over variance, about the means.
fn slope(inside: &[Sample]) -> Option<f64> {
    let [first, _, ..] = inside else { return None };
    if inside.iter().all(|s| s.value == first.value) {
        return Some(if first.value.is_infinite() { f64::NAN } else { 0.0 });
    }
    let n = inside.len() as f64;
    let point = |s: &Sample| ((s.t_ms - first.t_ms) as f64 / 1000.0, s.value);
    let (sum_x, sum_y) = inside.iter().map(point).fold((0.0, 0.0), |sum, (x, y)| (sum.0 + x, sum.1 + y));
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let covariance: f64 = inside.iter().map(point).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = inside.iter().map(point).map(|(x, _)| (x - mean_x).powi(2)).sum();
    Some(covariance / variance)
}

fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n
}

fn quantile(phi: f64, values: Vec<f64>) -> f64 {
    if phi.is_nan() || !(0.0..=1.0).contains(&phi) {
        return if phi.is_nan() { phi } else { phi.signum() * f64::INFINITY };
    }
    let (nans, mut sorted): (Vec<f64>, Vec<f64>) = values.into_iter().partition(|v| v.is_nan());
    sorted.sort_by(f64::total_cmp);
    sorted.splice(0..0, nans);
    let rank = phi * (sorted.len() as f64 - 1.0);
    let (below, above) = (sorted[rank.floor() as usize], sorted[(rank.floor() as usize + 1).min(sorted.len() - 1)]);
    below * (1.0 - rank.fract()) + above * rank.fract()
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
