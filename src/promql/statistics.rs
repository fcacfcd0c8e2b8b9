//! Sums, means and quantiles as Prometheus computes them, rounding included: in the order given, with compensation.

/// A sum with the rounding error of its additions (Kahan's summation in Neumaier's form).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct CompensatedSum {
    /// The sum without the compensation.
    pub(super) sum: f64,
    /// Loss to rounding so far; zero once the sum is infinite.
    pub(super) compensation: f64,
}

impl CompensatedSum {
    /// The sum with `value` added.
    #[must_use]
    pub(super) fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        let compensation = if sum.is_infinite() {
            0.0
        } else if self.sum.abs() >= value.abs() {
            self.compensation + ((self.sum - sum) + value)
        } else {
            self.compensation + ((value - sum) + self.sum)
        };
        Self { sum, compensation }
    }

    /// Both parts together.
    #[must_use]
    pub(super) fn total(self) -> f64 {
        self.sum + self.compensation
    }
}

/// A mean: of the sum while that is finite, by small steps once it would overflow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mean {
    /// The sum; the mean itself where `by_steps`.
    sum: CompensatedSum,
    /// Number of values.
    count: f64,
    by_steps: bool,
}

impl Mean {
    /// The mean of one value.
    #[must_use]
    pub(super) fn of(first: f64) -> Self {
        Self { sum: CompensatedSum { sum: first, compensation: 0.0 }, count: 1.0, by_steps: false }
    }

    /// The mean with `value` added.
    #[must_use]
    pub(super) fn plus(mut self, value: f64) -> Self {
        let count = self.count + 1.0;
        if !self.by_steps {
            let sum = self.sum.plus(value);
            if !sum.sum.is_infinite() {
                return Self { sum, count, by_steps: false };
            }
            self.sum.sum /= self.count;
            self.sum.compensation /= self.count;
        }
        let share = self.count / count;
        let shrunk = CompensatedSum { sum: share * self.sum.sum, compensation: share * self.sum.compensation };
        Self { sum: shrunk.plus(value / count), count, by_steps: true }
    }

    /// The mean.
    #[must_use]
    pub(super) fn value(self) -> f64 {
        if self.by_steps { self.sum.total() } else { self.sum.sum / self.count + self.sum.compensation / self.count }
    }
}

/// The φ-quantile of `values`, which are sorted for it; NaN is the smallest value.
#[must_use]
pub(super) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    quantile_of_sorted(phi, values.len(), |i| values[i])
}

/// The φ-quantile of `len` values in ascending order, NaN first. Between two values it interpolates.
#[must_use]
pub(super) fn quantile_of_sorted(phi: f64, len: usize, value: impl Fn(usize) -> f64) -> f64 {
    if len == 0 || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let rank = phi * (len - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(len - 1);
    let weight = rank - rank.floor();
    value(lower) * (1.0 - weight) + value(upper) * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64]) -> f64 {
        values[1..].iter().fold(Mean::of(values[0]), |mean, v| mean.plus(*v)).value()
    }

    #[test]
    fn sums_keep_what_rounding_loses() {
        let sum = |values: &[f64]| values.iter().fold(CompensatedSum::default(), |sum, v| sum.plus(*v)).total();
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]).to_bits(), 2.0f64.to_bits());
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn a_mean_does_not_overflow() {
        assert!((mean(&[1.0, 2.0, 6.0]) - 3.0).abs() < 1e-15);
        assert!((mean(&[1e308, 1e308, 1e308]) / 1e308 - 1.0).abs() < 1e-12);
        assert_eq!(mean(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    fn check_quantile(phi: f64, values: &[f64], expected: f64) {
        let got = quantile(phi, &mut values.to_vec());
        assert!(got == expected || got.is_nan() && expected.is_nan(), "{phi} of {values:?}: {got}, not {expected}");
    }

    #[test]
    fn quantiles() {
        check_quantile(0.5, &[3.0, 1.0], 2.0);
        check_quantile(0.0, &[3.0, 1.0, 2.0], 1.0);
        check_quantile(1.0, &[3.0, 1.0, 2.0], 3.0);
        check_quantile(0.75, &[1.0, 2.0, 3.0], 2.5);
        check_quantile(-0.1, &[1.0], f64::NEG_INFINITY);
        check_quantile(1.1, &[1.0], f64::INFINITY);
        check_quantile(f64::NAN, &[1.0], f64::NAN);
        check_quantile(0.5, &[2.0, f64::NAN, 1.0], 1.0); // NaN comes first
    }
}
