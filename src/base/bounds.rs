//! The values that a feature can take.
//!
//! Pure. Owns no feature: the configuration says the bounds, and whoever evaluates rows applies them.

use std::fmt;

/// Share of the width of the bounds by which a value may lie outside and still be measurement noise.
const TOLERANCE_SHARE: f64 = 0.05;
/// The same in the feature's own unit: the smaller of the two holds.
const TOLERANCE_MAX: f64 = 0.05;

/// The least and the greatest value that a feature can take, in its own unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Below `max`; −∞ for none.
    min: f64,
    /// ∞ for none.
    max: f64,
}

impl Bounds {
    /// Every number.
    pub const NONE: Self = Self { min: f64::NEG_INFINITY, max: f64::INFINITY };

    /// From `min` to `max`, both included, where given; `None` unless `min` is below `max`.
    #[must_use]
    pub fn new(min: Option<f64>, max: Option<f64>) -> Option<Self> {
        let bounds = Self { min: min.unwrap_or(f64::NEG_INFINITY), max: max.unwrap_or(f64::INFINITY) };
        (bounds.min < bounds.max).then_some(bounds)
    }

    /// The least and the greatest value, where there is one.
    #[must_use]
    pub fn ends(self) -> [Option<f64>; 2] {
        [self.min, self.max].map(|end| end.is_finite().then_some(end))
    }

    /// The value that `x` stands for; `None` where `x` is none that the feature can take.
    ///
    /// Rates are divided by scrape times that jitter, so that an idle host has a `cpu_busy` of -0.0003 and a saturated disk is
    /// busy 1.0004 of its time. A value outside by at most 5 % of `max - min`, and by at most 0.05, is such noise: it stands for
    /// the bound itself. With one bound alone the width is infinite, and 0.05 is the tolerance.
    #[must_use]
    pub fn apply(self, x: f64) -> Option<f64> {
        let tolerance = (TOLERANCE_SHARE * (self.max - self.min)).min(TOLERANCE_MAX);
        // An infinite value is beyond one bound alone too.
        let is_number = x.is_finite() || self == Self::NONE;
        let is_possible = is_number && self.min - tolerance <= x && x <= self.max + tolerance;
        is_possible.then(|| x.clamp(self.min, self.max))
    }
}

impl fmt::Display for Bounds {
    /// `0..1`, `0..`, `..100`; empty for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: Option<f64>| end.map_or_else(String::new, number);
        match self.ends() {
            [None, None] => Ok(()),
            [min, max] => write!(f, "{}..{}", end(min), end(max)),
        }
    }
}

/// Large numbers as in the configuration: `1e12`.
fn number(x: f64) -> String {
    if x.abs() < 1e4 { x.to_string() } else { format!("{x:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outside_are_none_and_noise_is_the_bound() {
        let check = |min: Option<f64>, max: Option<f64>, x: f64, expected: Option<f64>| {
            assert_eq!(Bounds::new(min, max).and_then(|bounds| bounds.apply(x)), expected, "{x} in {min:?}..{max:?}");
        };
        let share = |x, expected| check(Some(0.0), Some(1.0), x, expected);
        share(0.3, Some(0.3));
        share(0.0, Some(0.0));
        share(-0.0003, Some(0.0));
        share(1.0004, Some(1.0));
        share(1.05, Some(1.0));
        share(1.051, None);
        share(-0.051, None);
        share(-6_277.0, None);
        share(f64::INFINITY, None);
        share(f64::NEG_INFINITY, None);
        share(f64::NAN, None);
        // 5 % of a hundredth, and 0.05 of a rate whatever its bounds are.
        check(Some(0.0), Some(0.01), 0.0104, Some(0.01));
        check(Some(0.0), Some(0.01), 0.0106, None);
        check(Some(0.0), Some(1e12), -0.04, Some(0.0));
        check(Some(0.0), Some(1e12), -0.06, None);
        check(Some(0.0), Some(1e12), 1.1e12, None);
        check(Some(0.0), None, 1e300, Some(1e300));
        check(Some(0.0), None, -0.05, Some(0.0));
        check(Some(0.0), None, -0.06, None);
        check(None, Some(0.0), 0.05, Some(0.0));
        check(None, Some(0.0), 0.06, None);
    }

    #[test]
    fn what_was_applied_stays_as_it_is() {
        let bounds = Bounds::new(Some(-1.0), Some(2.0)).unwrap();
        for x in [-1.04, -1.0, 0.5, 2.0, 2.04] {
            let once = bounds.apply(x).unwrap();
            assert_eq!(bounds.apply(once), Some(once));
        }
        assert_eq!(Bounds::NONE.apply(-1e300), Some(-1e300));
        assert_eq!(Bounds::NONE.apply(f64::NAN), None);
    }

    #[test]
    fn bounds_are_a_span() {
        let check = |min, max, expected: Option<&str>| {
            assert_eq!(Bounds::new(min, max).map(|bounds| bounds.to_string()).as_deref(), expected);
        };
        check(Some(0.0), Some(1.0), Some("0..1"));
        check(Some(0.0), Some(1e12), Some("0..1e12"));
        check(Some(-0.5), None, Some("-0.5.."));
        check(None, Some(100.0), Some("..100"));
        check(None, None, Some(""));
        check(Some(1.0), Some(1.0), None);
        check(Some(1.0), Some(0.0), None);
        check(Some(f64::NAN), Some(0.0), None);
    }
}
