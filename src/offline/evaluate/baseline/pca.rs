//! Principal components of windows of some rows: what they make of the newest row is what it is expected to be.

use std::collections::VecDeque;

use ndarray::{Array1, Array2, Axis, Slice};

use crate::offline::evaluate::linear::principal;

/// Components kept.
const COMPONENTS: usize = 10;

pub(super) struct Pca {
    /// Mean of the windows.
    mean: Array1<f64>,
    /// `[rows · F, components]`, orthonormal columns.
    components: Array2<f64>,
    /// The last rows, oldest first.
    window: VecDeque<f64>,
    n_features: usize,
}

impl Pca {
    /// Fits to all windows of `n_rows` of `rows`, which are in order.
    pub(super) fn fit(rows: &[Vec<f64>], n_features: usize, n_rows: usize) -> Self {
        let size = n_rows * n_features;
        let n_windows = (rows.len() + 1).saturating_sub(n_rows);
        let cell = |(window, cell): (usize, usize)| rows[window + cell / n_features][cell % n_features];
        let mut windows = Array2::from_shape_fn((n_windows, size), cell);
        let mean = windows.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(size));
        windows -= &mean;
        let components = principal(&windows.t().dot(&windows), COMPONENTS);
        Self { mean, components, window: vec![0.0; size].into(), n_features }
    }

    /// Returns what the components make of this row, together with the ones before.
    pub(super) fn expect(&mut self, input: &[f64]) -> Vec<f64> {
        self.window.drain(..self.n_features);
        self.window.extend(input);
        let centred: Array1<f64> = self.window.iter().zip(&self.mean).map(|(z, mean)| z - mean).collect();
        let newest = self.mean.len() - self.n_features;
        let along = centred.dot(&self.components);
        let of_newest = Slice::from(newest..);
        let expected = self.components.slice_axis(Axis(0), of_newest).dot(&along);
        (expected + self.mean.slice_axis(Axis(0), of_newest)).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_together_is_expected_to() {
        // 12 features that rise and fall together, one direction: the other components have nothing to keep.
        let rows: Vec<Vec<f64>> = (0..500).map(|n| vec![(n as f64 * 0.3).sin(); 12]).collect();
        let mut pca = Pca::fit(&rows, 12, 1);
        assert_eq!(pca.components.ncols(), 1);
        let mut odd = vec![0.0; 12];
        odd[3] = 1.2;
        let expected = pca.expect(&odd);
        // The mean of all: 1.2 / 12.
        assert!(expected.iter().all(|z| (z - 0.1).abs() < 1e-3), "{expected:?}");
    }

    #[test]
    fn windows_know_the_rows_before() {
        // Alternating: the row before tells the sign of this one.
        let rows: Vec<Vec<f64>> = (0..400).map(|n| vec![if n % 2 == 0 { 1.0 } else { -1.0 }]).collect();
        let mut pca = Pca::fit(&rows, 1, 10);
        rows[..19].iter().for_each(|row| drop(pca.expect(row)));
        let expected = pca.expect(&[1.0]);
        // Row 19 should be −1; nine tenths of the window say so.
        assert!((expected[0] + 0.8).abs() < 1e-2, "{expected:?}");
    }

    #[test]
    fn nothing_to_fit_expects_the_mean() {
        assert_eq!(Pca::fit(&[], 2, 10).expect(&[1.0, 2.0]), [0.0, 0.0]);
    }
}
