//! The linear head as one operation of candle's tape, on the caller's thread: candle's own product takes every core.

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Slice};

use super::recurrence::{all_alike, columns, matrix};

/// `x` `[N, I]`, `weights` `[O, I + 1]` with the bias in the last column → `[N, O]`.
///
/// # Errors
/// Where the shapes do not fit.
pub fn affine(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&weights.contiguous()?, Affine)
}

struct Affine;

impl CustomOp2 for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, inputs), (outputs, n_columns)) = (lx.shape().dims2()?, lw.shape().dims2()?);
        if n_columns != inputs + 1 {
            candle_core::bail!("weights of shape {:?} do not fit inputs of shape {:?}", lw.shape(), lx.shape());
        }
        let x = matrix(x.as_slice()?, lx, n, inputs)?;
        let weights = matrix(w.as_slice()?, lw, outputs, n_columns)?;
        let mut out = all_alike(weights.column(inputs), n);
        general_mat_mul(1.0, &x, &columns(weights, ..inputs).t(), 1.0, &mut out);
        Ok((CpuStorage::F32(out.into_raw_vec_and_offset().0), Shape::from((n, outputs))))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, wanted: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((n, inputs), (outputs, n_columns)) = (x.dims2()?, w.dims2()?);
        let values = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
        let (x_values, w_values, wanted_values) = (values(x)?, values(w)?, values(wanted)?);
        let view =
            |values, rows, width| ArrayView2::from_shape((rows, width), values).map_err(candle_core::Error::wrap);
        let weights = view(&w_values, outputs, n_columns)?;
        let wanted = view(&wanted_values, n, outputs)?;
        let mut of_weights = Array2::zeros((outputs, n_columns));
        let x = view(&x_values, n, inputs)?;
        general_mat_mul(1.0, &wanted.t(), &x, 0.0, &mut of_weights.slice_axis_mut(Axis(1), Slice::from(..inputs)));
        of_weights.column_mut(inputs).assign(&wanted.sum_axis(Axis(0)));
        let mut of_x = Array2::zeros((n, inputs));
        general_mat_mul(1.0, &wanted, &columns(weights, ..inputs), 0.0, &mut of_x);
        let tensor = |values: Array2<f32>| {
            let shape = values.dim();
            Tensor::from_vec(values.into_raw_vec_and_offset().0, shape, &Device::Cpu)
        };
        Ok((Some(tensor(of_x)?), Some(tensor(of_weights)?)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;

    #[test]
    fn forth_and_back_by_hand() {
        let x = Var::from_slice(&[1.0_f32, 2.0], (1, 2), &Device::Cpu).unwrap();
        let w = Var::from_slice(&[3.0_f32, 4.0, 5.0, 6.0, 7.0, 8.0], (2, 3), &Device::Cpu).unwrap();
        let y = affine(x.as_tensor(), w.as_tensor()).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[16.0, 28.0]]);
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_vec2::<f32>().unwrap(), [[9.0, 11.0]]);
        assert_eq!(gradients.get(&w).unwrap().to_vec2::<f32>().unwrap(), [[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]);
        assert!(affine(w.as_tensor(), x.as_tensor()).is_err());
    }
}
