//! VAR-1: every feature of the next row as a linear function of all features of this one, fitted by ridge regression.

use ndarray::{Array2, ArrayView1};

use crate::offline::evaluate::linear::ridge;

/// Penalty of the weights, in rows: next to thousands of rows it only keeps features that move together apart.
const LAMBDA: f64 = 10.0;

pub(super) struct Var {
    /// `[F + 1, F]`; the last row is the intercept.
    weights: Array2<f64>,
    /// The row before, and a 1.
    last: Vec<f64>,
}

impl Var {
    /// Fits to `rows`, which are in order.
    pub(super) fn fit(rows: &[Vec<f64>], n_features: usize) -> Self {
        let n_pairs = rows.len().saturating_sub(1);
        let cell = |(row, column): (usize, usize)| if column < n_features { rows[row][column] } else { 1.0 };
        let before = Array2::from_shape_fn((n_pairs, n_features + 1), cell);
        let after = Array2::from_shape_fn((n_pairs, n_features), |(row, column)| rows[row + 1][column]);
        let weights = ridge(&before.t().dot(&before), &before.t().dot(&after), LAMBDA);
        let mut last = vec![0.0; n_features + 1];
        last[n_features] = 1.0;
        Self { weights, last }
    }

    /// Returns what it expected of this row, which it then remembers.
    pub(super) fn expect(&mut self, input: &[f64]) -> Vec<f64> {
        let expected = ArrayView1::from(&self.last).dot(&self.weights);
        self.last[..input.len()].copy_from_slice(input);
        expected.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_what_follows_what() {
        // The second feature repeats the first one of the row before; the first is noise.
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f64 / 8_388_608.0 - 1.0
        };
        let mut rows = vec![vec![0.0, 0.0]];
        for n in 1..2000 {
            let before = rows[n - 1][0];
            rows.push(vec![noise(), before]);
        }
        let mut var = Var::fit(&rows, 2);
        var.expect(&[0.8, 0.1]);
        let expected = var.expect(&[0.0, 0.0]);
        assert!(expected[0].abs() < 0.1 && (expected[1] - 0.8).abs() < 0.03, "{expected:?}");
    }

    #[test]
    fn nothing_to_fit_expects_the_mean() {
        let mut var = Var::fit(&[], 2);
        var.expect(&[3.0, 4.0]);
        assert_eq!(var.expect(&[0.0, 0.0]), [0.0, 0.0]);
    }
}
