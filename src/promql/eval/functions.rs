//! Functions and operators of single numbers, as Go computes them.

use super::Vector;
use crate::promql::program::{Arithmetic, Comparison, MapFunction, Operator};

/// Beyond it Go takes sinh and cosh for half an exponential.
const EXPONENTIAL: f64 = 21.0;

/// Beyond it Go takes asinh and acosh for the logarithm of twice the number, which does not overflow.
const LARGE: f64 = (1u32 << 28) as f64;

impl MapFunction {
    /// The function of `x`.
    #[must_use]
    pub(super) fn apply(self, x: f64) -> f64 {
        match self {
            Self::Negate => -x,
            Self::Abs => x.abs(),
            Self::Ceil => x.ceil(),
            Self::Floor => x.floor(),
            Self::Sqrt => x.sqrt(),
            Self::Exp => x.exp(),
            Self::Ln => x.ln(),
            Self::Log2 => go_log2(x),
            Self::Log10 => go_log2(x) * (std::f64::consts::LN_2 / std::f64::consts::LN_10),
            // Zero keeps its sign, and NaN stays.
            Self::Sgn if x < 0.0 => -1.0,
            Self::Sgn if x > 0.0 => 1.0,
            Self::Sgn => x,
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Sinh if x.abs() > EXPONENTIAL => (x.abs().exp() * 0.5).copysign(x),
            Self::Sinh => x.sinh(),
            Self::Cosh if x.abs() > EXPONENTIAL => x.abs().exp() * 0.5,
            Self::Cosh => x.cosh(),
            Self::Tanh => x.tanh(),
            Self::Asinh if x.abs() > LARGE => (x.abs().ln() + std::f64::consts::LN_2).copysign(x),
            Self::Asinh => x.asinh(),
            Self::Acosh if x > LARGE => x.ln() + std::f64::consts::LN_2,
            Self::Acosh => x.acosh(),
            Self::Atanh => x.atanh(),
            Self::Deg => x * 180.0 / std::f64::consts::PI,
            Self::Rad => x * std::f64::consts::PI / 180.0,
        }
    }
}

/// `x` within the bounds; a NaN bound gives NaN.
pub(super) fn clamp(x: f64, low: f64, high: f64) -> f64 {
    go_max(low, go_min(high, x))
}

/// The multiple of `to` that is next to `x`, the greater one of two.
pub(super) fn round(x: f64, to: f64) -> f64 {
    // The inverse first, as Prometheus does: it is more accurate for multiples such as 0.1.
    let inverse = 1.0 / to;
    (x * inverse + 0.5).floor() / inverse
}

/// Go's `math.Max`: +Inf if either is, else NaN if either is.
fn go_max(a: f64, b: f64) -> f64 {
    if (a.is_nan() || b.is_nan()) && a != f64::INFINITY && b != f64::INFINITY { f64::NAN } else { a.max(b) }
}

/// Go's `math.Min`: -Inf if either is, else NaN if either is.
fn go_min(a: f64, b: f64) -> f64 {
    if (a.is_nan() || b.is_nan()) && a != f64::NEG_INFINITY && b != f64::NEG_INFINITY { f64::NAN } else { a.min(b) }
}

/// Go's `math.Log2`, which `math.Log10` is made of: comparisons such as `log10(x) == 2` see the last bit.
fn go_log2(x: f64) -> f64 {
    if !x.is_normal() || x < 0.0 {
        return x.log2();
    }
    let bits = x.to_bits();
    // x = fraction · 2^exponent with a fraction from 0.5 to 1.
    let exponent = (bits >> 52) as i32 - 1022;
    let fraction = f64::from_bits(bits & !(0x7ff << 52) | 1022 << 52);
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    fraction.ln() * (1.0 / std::f64::consts::LN_2) + f64::from(exponent)
}

impl Operator {
    /// `a operator b`; `None` where a filter drops it.
    #[must_use]
    pub(super) fn apply(self, a: f64, b: f64) -> Option<f64> {
        match self {
            Self::Arithmetic(operator) => Some(operator.apply(a, b)),
            Self::Filter(comparison) => comparison.holds(a, b).then_some(a),
            Self::Bool(comparison) => Some(f64::from(u8::from(comparison.holds(a, b)))),
        }
    }

    /// `a operator b` of two numbers: a comparison gives 0 or 1.
    #[must_use]
    pub(in crate::promql) fn number(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Arithmetic(operator) => operator.apply(a, b),
            Self::Filter(comparison) | Self::Bool(comparison) => f64::from(u8::from(comparison.holds(a, b))),
        }
    }

    /// The operator between each element and `scalar`; a filter keeps the element's own value on either side.
    #[must_use]
    pub(super) fn with_scalar(self, mut vector: Vector, scalar: f64, scalar_first: bool) -> Vector {
        vector.retain_mut(|element| {
            let (a, b) = if scalar_first { (scalar, element.value) } else { (element.value, scalar) };
            match self.apply(a, b) {
                None => return false,
                Some(_) if matches!(self, Self::Filter(_)) => {}
                Some(value) => element.value = value,
            }
            true
        });
        vector
    }
}

impl Arithmetic {
    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Modulo => a % b,
            Self::Power => a.powf(b),
            Self::Atan2 => a.atan2(b),
        }
    }
}

impl Comparison {
    #[allow(clippy::float_cmp, reason = "that is what the user asks for")]
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Equal => a == b,
            Self::NotEqual => a != b,
            Self::Greater => a > b,
            Self::Less => a < b,
            Self::GreaterOrEqual => a >= b,
            Self::LessOrEqual => a <= b,
        }
    }
}
