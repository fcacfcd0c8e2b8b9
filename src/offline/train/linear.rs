//! A linear layer, forth and back, on the caller's thread.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Slice};

/// `x` `[N × I]`, `weights` `[O × I + 1]` with the bias in the last column → `[N × O]`.
///
/// # Panics
/// Where the shapes do not fit.
#[must_use]
pub fn forward(x: ArrayView2<'_, f32>, weights: ArrayView2<'_, f32>) -> Array2<f32> {
    let inputs = x.ncols();
    let mut out = all_alike(weights.column(inputs), x.nrows());
    general_mat_mul(1.0, &x, &columns(weights, ..inputs).t(), 1.0, &mut out);
    out
}

/// The gradients of `x` and of `weights` from that of the output, `[N × O]`.
///
/// # Panics
/// Where the shapes do not fit.
#[must_use]
pub fn backward(
    x: ArrayView2<'_, f32>,
    weights: ArrayView2<'_, f32>,
    grad_output: ArrayView2<'_, f32>,
) -> (Array2<f32>, Array2<f32>) {
    let inputs = x.ncols();
    let mut grad_weights = Array2::zeros(weights.raw_dim());
    general_mat_mul(1.0, &grad_output.t(), &x, 0.0, &mut grad_weights.slice_axis_mut(Axis(1), Slice::from(..inputs)));
    grad_weights.column_mut(inputs).assign(&grad_output.sum_axis(Axis(0)));
    let mut grad_x = Array2::zeros(x.raw_dim());
    general_mat_mul(1.0, &grad_output, &columns(weights, ..inputs), 0.0, &mut grad_x);
    (grad_x, grad_weights)
}

/// Some of the columns of a matrix.
pub(super) fn columns(mut matrix: ArrayView2<'_, f32>, which: impl Into<Slice>) -> ArrayView2<'_, f32> {
    matrix.slice_axis_inplace(Axis(1), which.into());
    matrix
}

/// `[rows × columns]`, each row the `bias`.
pub(super) fn all_alike(bias: ArrayView1<'_, f32>, rows: usize) -> Array2<f32> {
    let mut all = Array2::zeros((rows, bias.len()));
    all.rows_mut().into_iter().for_each(|mut row| row.assign(&bias));
    all
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn forth_and_back_by_hand() {
        let (x, weights) = (array![[1.0, 2.0]], array![[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]);
        assert_eq!(forward(x.view(), weights.view()), array![[16.0, 28.0]]);
        let (grad_x, grad_weights) = backward(x.view(), weights.view(), array![[1.0, 1.0]].view());
        assert_eq!(grad_x, array![[9.0, 11.0]]);
        assert_eq!(grad_weights, array![[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]);
    }
}
