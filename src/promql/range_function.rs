//! The functions over a range of samples, as a plan names them.

/// A function over the samples of one series inside a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeFunction {
    /// `rate`: increase of a counter per second, extrapolated to the borders.
    Rate,
    /// `increase`: increase of a counter, extrapolated to the borders.
    Increase,
    /// `delta`: last − first of a gauge, extrapolated to the borders.
    Delta,
    /// `irate`: increase per second between the last two samples.
    Irate,
    /// `idelta`: difference of the last two samples.
    Idelta,
    /// `deriv`: slope per second of the least-squares line.
    Deriv,
    /// `changes`: how often the value changed.
    Changes,
    /// `resets`: how often the value fell.
    Resets,
    /// `avg_over_time`
    Avg,
    /// `min_over_time`
    Min,
    /// `max_over_time`
    Max,
    /// `sum_over_time`
    Sum,
    /// `count_over_time`
    Count,
    /// `last_over_time`
    Last,
    /// `stddev_over_time`
    Stddev,
    /// `stdvar_over_time`
    Stdvar,
    /// `present_over_time`
    Present,
    /// `quantile_over_time` with its first argument.
    Quantile(f64),
}

impl RangeFunction {
    /// Every function, `quantile_over_time` with arguments of all kinds.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 21] = [
        Self::Rate,
        Self::Increase,
        Self::Delta,
        Self::Irate,
        Self::Idelta,
        Self::Deriv,
        Self::Changes,
        Self::Resets,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Sum,
        Self::Count,
        Self::Last,
        Self::Stddev,
        Self::Stdvar,
        Self::Present,
        Self::Quantile(0.9),
        Self::Quantile(0.0),
        Self::Quantile(-1.0),
        Self::Quantile(1.5),
    ];

    /// Samples without which it has no value.
    #[must_use]
    pub fn samples_min(self) -> i64 {
        match self {
            Self::Rate | Self::Increase | Self::Delta | Self::Irate | Self::Idelta | Self::Deriv => 2,
            _ => 1,
        }
    }

    /// Whether it takes the values for those of a counter: a fall is a reset.
    #[must_use]
    pub fn is_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase | Self::Irate)
    }
}
