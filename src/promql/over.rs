//! The range functions over a whole slice, as promql/functions.go of Prometheus 3 defines them.
//!
//! No state: what must be cheap at every step is kept incrementally by `rollup`.

use super::range_function::RangeFunction;
use super::rollup::extrapolate;
use super::statistics::{CompensatedSum, Mean, quantile};
use crate::series::{Sample, TimestampMs};

/// `function` over `samples`: all that lie in the range `(end_ms - range_ms, end_ms]`, in order of time, without stale
/// markers. `None` where there are too few.
#[must_use]
pub fn over(function: RangeFunction, samples: &[Sample], end_ms: TimestampMs, range_ms: i64) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let values = || samples.iter().map(|sample| sample.value);
    Some(match function {
        RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Delta => {
            let difference = last.value - first.value;
            let increase = if function.is_counter() { difference_with_resets(samples, difference) } else { difference };
            return extrapolate(function, *first, *last, samples.len(), increase, end_ms, range_ms);
        }
        RangeFunction::Irate | RangeFunction::Idelta => return between_last_two(function, samples),
        RangeFunction::Deriv => return slope(samples),
        RangeFunction::Changes => count_pairs(samples, |a, b| a != b && !(a.is_nan() && b.is_nan())),
        RangeFunction::Resets => count_pairs(samples, |a, b| b < a),
        RangeFunction::Avg => values().skip(1).fold(Mean::of(first.value), Mean::plus).value(),
        // The first number stands until a smaller one comes; NaN yields to any number.
        RangeFunction::Min => values().fold(first.value, |min, v| if v < min || min.is_nan() { v } else { min }),
        RangeFunction::Max => values().fold(first.value, |max, v| if v > max || max.is_nan() { v } else { max }),
        RangeFunction::Sum => values().fold(CompensatedSum::default(), CompensatedSum::plus).total(),
        RangeFunction::Count => samples.len() as f64,
        RangeFunction::Last => last.value,
        RangeFunction::Stddev => variance(values()).sqrt(),
        RangeFunction::Stdvar => variance(values()),
        RangeFunction::Present => 1.0,
        RangeFunction::Quantile(phi) => quantile(phi, &mut values().collect::<Vec<f64>>()),
    })
}

/// `difference` with the value before each reset added, one by one.
fn difference_with_resets(samples: &[Sample], difference: f64) -> f64 {
    let resets = samples.windows(2).filter(|pair| pair[1].value < pair[0].value);
    resets.fold(difference, |sum, pair| sum + pair[0].value)
}

fn between_last_two(function: RangeFunction, samples: &[Sample]) -> Option<f64> {
    let [.., before, last] = samples else { return None };
    let interval_ms = last.t_ms - before.t_ms;
    if interval_ms == 0 {
        return None;
    }
    if function == RangeFunction::Idelta {
        return Some(last.value - before.value);
    }
    // After a reset the counter has counted its value since zero.
    let increase = if last.value < before.value { last.value } else { last.value - before.value };
    Some(increase / (interval_ms as f64 / 1000.0))
}

fn count_pairs(samples: &[Sample], counts: impl Fn(f64, f64) -> bool) -> f64 {
    samples.windows(2).filter(|pair| counts(pair[0].value, pair[1].value)).count() as f64
}

/// Slope per second of the least-squares line, with the first sample's time as zero.
fn slope(samples: &[Sample]) -> Option<f64> {
    let [first, _, ..] = samples else { return None };
    if samples.iter().skip(1).all(|sample| sample.value == first.value) {
        return Some(if first.value.is_infinite() { f64::NAN } else { 0.0 });
    }
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        let terms = samples.iter().map(|s| of((s.t_ms - first.t_ms) as f64 / 1000.0, s.value));
        terms.fold(CompensatedSum::default(), CompensatedSum::plus).total()
    };
    let (sum_x, sum_y, n) = (sum(&|x, _| x), sum(&|_, y| y), samples.len() as f64);
    let covariance = sum(&|x, y| x * y) - sum_x * sum_y / n;
    let variance = sum(&|x, _| x * x) - sum_x * sum_x / n;
    Some(covariance / variance)
}

/// Population variance by Welford's recurrence, both of its sums compensated.
fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (CompensatedSum::default(), CompensatedSum::default(), 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean.total();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - mean.total()));
    }
    squares.total() / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::promql::naive::{range_value, same};

    /// `values` every 10 s up to 100 s, over the last 60 s.
    fn check(function: RangeFunction, values: &[f64], expected: Option<f64>) {
        let start_ms = 110_000 - 10_000 * values.len() as i64;
        let times = (0..).map(|i| start_ms + 10_000 * i);
        let samples: Vec<Sample> = times.zip(values).map(|(t_ms, &value)| Sample { t_ms, value }).collect();
        let got = over(function, &samples, 100_000, 60_000);
        assert!(same(got, expected), "{function:?} of {values:?}: {got:?} instead of {expected:?}");
    }

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    #[test]
    fn rates() {
        // Samples at 50 to 100 s, so 10 s to the start: extrapolated from 50 s to 60 s.
        check(RangeFunction::Increase, &[10.0, 11.0, 12.0, 13.0, 14.0, 15.0], Some(6.0));
        check(RangeFunction::Rate, &[10.0, 11.0, 12.0, 13.0, 14.0, 15.0], Some(0.1));
        check(RangeFunction::Increase, &[10.0, 11.0, 12.0, 1.0, 2.0, 3.0], Some(6.0));
        check(RangeFunction::Increase, &[1.0], None);
        // A counter that began at 0 is not extrapolated to the left; a gauge is.
        check(RangeFunction::Increase, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], Some(5.0));
        check(RangeFunction::Delta, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], Some(6.0));
        check(RangeFunction::Delta, &[5.0, 4.0, 3.0, 2.0, 1.0, 0.0], Some(-6.0));
        // Far from the start of the range: half an interval.
        check(RangeFunction::Delta, &[5.0, 7.0], Some(3.0));
    }

    #[test]
    fn between_the_last_two() {
        check(RangeFunction::Irate, &[0.0, 10.0, 15.0], Some(0.5));
        check(RangeFunction::Irate, &[0.0, 10.0, 5.0], Some(0.5));
        check(RangeFunction::Irate, &[10.0], None);
        check(RangeFunction::Irate, &[NAN, 5.0], Some(NAN));
        check(RangeFunction::Idelta, &[0.0, 10.0, 5.0], Some(-5.0));
        check(RangeFunction::Idelta, &[5.0], None);
    }

    #[test]
    fn trends_and_counts() {
        check(RangeFunction::Deriv, &[1.0, 2.0, 3.0], Some(0.1));
        check(RangeFunction::Deriv, &[1.0, 3.0, 2.0], Some(0.05));
        check(RangeFunction::Deriv, &[7.0, 7.0], Some(0.0));
        check(RangeFunction::Deriv, &[INF, INF], Some(NAN));
        check(RangeFunction::Deriv, &[1.0, NAN], Some(NAN));
        check(RangeFunction::Deriv, &[1.0], None);
        check(RangeFunction::Changes, &[1.0, 2.0, 2.0, NAN, NAN, 2.0], Some(3.0));
        check(RangeFunction::Changes, &[1.0], Some(0.0));
        check(RangeFunction::Resets, &[1.0, 2.0, 1.0, NAN, 0.0, -1.0], Some(2.0));
        check(RangeFunction::Resets, &[], None);
    }

    #[test]
    fn over_time() {
        check(RangeFunction::Avg, &[1.0, 2.0, 6.0], Some(3.0));
        check(RangeFunction::Avg, &[1e308, 1e308, 1e308], Some(1e308));
        check(RangeFunction::Sum, &[1.0, 1e100, 1.0, -1e100], Some(2.0));
        check(RangeFunction::Sum, &[INF, -INF], Some(NAN));
        check(RangeFunction::Sum, &[INF, 1.0], Some(INF));
        check(RangeFunction::Min, &[NAN, 2.0, 1.0, NAN], Some(1.0));
        check(RangeFunction::Max, &[NAN, 1.0, 2.0, NAN], Some(2.0));
        check(RangeFunction::Max, &[NAN, NAN], Some(NAN));
        check(RangeFunction::Count, &[NAN, 1.0], Some(2.0));
        check(RangeFunction::Last, &[1.0, NAN], Some(NAN));
        check(RangeFunction::Present, &[NAN], Some(1.0));
        check(RangeFunction::Stdvar, &[1.0, 3.0], Some(1.0));
        check(RangeFunction::Stddev, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], Some(2.0));
        check(RangeFunction::Stddev, &[5.0], Some(0.0));
        check(RangeFunction::Stddev, &[INF], Some(NAN));
        check(RangeFunction::Quantile(0.5), &[3.0, 1.0, 2.0], Some(2.0));
        check(RangeFunction::Quantile(2.0), &[3.0], Some(INF));
        check(RangeFunction::Present, &[], None);
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            20 => (0..1000u32).prop_map(f64::from),
            1 => prop::sample::select(&[NAN, INF, -INF, -0.0, -5.0]),
        ]
    }

    proptest! {
        #[test]
        fn equals_the_textbook(
            points in prop::collection::vec((1..40_000i64, value()), 1..40),
            end_ms in 0..800_000i64,
            range_ms in 1_000..400_000i64,
        ) {
            let times = points.iter().scan(0, |t_ms, (gap_ms, _)| { *t_ms += gap_ms; Some(*t_ms) });
            let samples: Vec<Sample> =
                times.zip(&points).map(|(t_ms, (_, value))| Sample { t_ms, value: *value }).collect();
            let is_inside = |s: &&Sample| s.t_ms > end_ms - range_ms && s.t_ms <= end_ms;
            let inside: Vec<Sample> = samples.iter().filter(is_inside).copied().collect();
            for function in RangeFunction::ALL {
                let (got, expected) =
                    (over(function, &inside, end_ms, range_ms), range_value(function, &samples, end_ms, range_ms));
                // A slope near zero is what rounding has left of larger terms.
                let is_rounding = matches!((got, expected), (Some(a), Some(b)) if (a - b).abs() < 1e-9);
                prop_assert!(is_rounding || same(got, expected), "{function:?} of {inside:?}: {got:?}, textbook {expected:?}");
            }
        }
    }
}
