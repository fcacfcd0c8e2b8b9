//! Rows as the service standardises them: each feature through the engine's own statistics, in order, from the first row on.

use ndarray::ArrayView2;

use crate::engine::standardise::{RowConstants, Standardiser};

/// The standardised rows of a host.
#[derive(Debug, Clone)]
pub struct Rows {
    /// `[rows × F]`, not clipped; NaN where missing or in the warm-up.
    z: Vec<f32>,
    /// F
    n_features: usize,
}

impl Rows {
    /// Standardises `values`, `[rows × F]` in any unit, one row each `step_ms`. What is not finite is missing.
    #[must_use]
    pub fn standardise(values: ArrayView2<'_, f32>, step_ms: i64, c: &RowConstants) -> Self {
        let n_features = values.ncols();
        let mut statistics = vec![Standardiser::default(); n_features];
        let mut z = Vec::with_capacity(values.len());
        for (n, row) in (0..).zip(values.rows()) {
            z.extend(row.iter().zip(&mut statistics).map(|(&x, statistics)| {
                let standardised = x.is_finite().then(|| statistics.observe(f64::from(x), n * step_ms, 0.0, c));
                standardised.flatten().map_or(f32::NAN, |s| s.z as f32)
            }));
        }
        Self { z, n_features }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.z.len() / self.n_features.max(1)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.z.is_empty()
    }

    /// F
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// `[F]`: row `n`; NaN where missing.
    #[must_use]
    pub fn row(&self, n: usize) -> &[f32] {
        &self.z[n * self.n_features..(n + 1) * self.n_features]
    }

    /// The same rows with the features that `is_missing` names missing throughout.
    #[must_use]
    pub fn without(&self, is_missing: impl Fn(usize) -> bool) -> Self {
        let cell = |(n, &z): (usize, &f32)| if is_missing(n % self.n_features) { f32::NAN } else { z };
        Self { z: self.z.iter().enumerate().map(cell).collect(), n_features: self.n_features }
    }

    /// The same rows with the features in reverse order.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let z = self.z.chunks(self.n_features.max(1)).flat_map(|row| row.iter().rev()).copied().collect();
        Self { z, n_features: self.n_features }
    }

    /// The first row in which anything is standardised.
    #[must_use]
    pub fn first_standardised(&self) -> usize {
        (0..self.len()).find(|&n| self.row(n).iter().any(|z| z.is_finite())).unwrap_or(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::standardise::Constants;

    #[test]
    fn the_warm_up_and_gaps_are_missing() {
        let mut values = ndarray::Array2::from_shape_fn((100, 2), |(row, column)| (row % 7 + column) as f32);
        values[[80, 1]] = f32::NAN;
        let rows = Rows::standardise(values.view(), 60_000, &Constants::default().in_rows(60_000));
        assert_eq!((rows.len(), rows.n_features(), rows.first_standardised()), (100, 2, 60));
        assert!(rows.row(80)[0].is_finite() && rows.row(80)[1].is_nan());
        assert_eq!(rows.reversed().row(70), [rows.row(70)[1], rows.row(70)[0]]);
        let without = rows.without(|feature| feature == 0);
        assert!(without.row(90)[0].is_nan() && without.row(90)[1] == rows.row(90)[1]);
    }
}
