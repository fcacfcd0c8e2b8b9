//! One LSTM layer over whole sequences, as one operation of candle's tape.
//!
//! candle's own operations cost a tensor per gate and step, forth and back, and its matrix product takes every core. Here the inputs
//! of all steps are one product, the gates of a step are made in place, and everything runs on the caller's thread in a fixed order,
//! so that a seed gives the same bytes whatever the machine's number of cores. Owns no weights: `lstm.rs` does.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Slice};

use super::activation::{sigmoid, tanh};

/// `x` `[T, B, I]`, `weights` `[4H, I + H + 1]` → hidden states `[T, B, H]`, from a state of zeros.
///
/// The columns of `weights` are those of the input, of the state, and the bias; the rows the gates input, forget, cell, output.
///
/// ```text
/// i, f, o = σ(…), g = tanh(…) of  weights · [x_t, h_{t-1}, 1]
/// c_t = f · c_{t-1} + i · g,   h_t = o · tanh(c_t)
/// ```
pub fn lstm(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let op = Recurrence { wants_input_gradient: x.track_op(), trace: OnceLock::new() };
    x.contiguous()?.apply_op2(&weights.contiguous()?, op)
}

/// The operation, and what its way back needs of its way forth.
struct Recurrence {
    /// Whether the input came of something trained: that of the first layer did not.
    wants_input_gradient: bool,
    trace: OnceLock<Trace>,
}

/// What happened at each step and in each window, `[T · B × …]`.
struct Trace {
    /// `[T · B × 4H]`: the gates after their activation.
    gates: Array2<f32>,
    /// `[T · B × H]`: c
    cells: Vec<f32>,
    /// `[T · B × H]`: tanh(c)
    squashed: Vec<f32>,
}

/// T, B, I and H.
#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    width: usize,
    hidden: usize,
}

impl Sizes {
    fn new(x: &Shape, weights: &Shape) -> Result<Self> {
        let (steps, batch, width) = x.dims3()?;
        let (gates, columns) = weights.dims2()?;
        let hidden = gates / 4;
        if gates != 4 * hidden || columns != width + hidden + 1 || hidden == 0 || steps == 0 || batch == 0 {
            candle_core::bail!("weights of shape {weights:?} do not fit inputs of shape {x:?}");
        }
        Ok(Self { steps, batch, width, hidden })
    }
}

impl CustomOp2 for Recurrence {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::new(lx.shape(), lw.shape())?;
        let Sizes { steps, batch, width, hidden } = sizes;
        let x = matrix(x.as_slice()?, lx, steps * batch, width)?;
        let weights = matrix(w.as_slice()?, lw, 4 * hidden, width + hidden + 1)?;
        let (states, trace) = forward(x, weights, sizes);
        // Each operation runs once; a second trace would be the same.
        self.trace.set(trace).ok();
        Ok((CpuStorage::F32(states.into_raw_vec_and_offset().0), Shape::from((steps, batch, hidden))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        states: &Tensor,
        wanted: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::new(x.shape(), w.shape())?;
        let Some(trace) = self.trace.get() else { candle_core::bail!("no way back without a way forth") };
        let rows = |t: &Tensor, rows: usize| -> Result<Array2<f32>> {
            let values = t.flatten_all()?.to_vec1::<f32>()?;
            let columns = values.len() / rows.max(1);
            Array2::from_shape_vec((rows, columns), values).map_err(candle_core::Error::wrap)
        };
        let n = sizes.steps * sizes.batch;
        let (x_rows, weights) = (rows(x, n)?, rows(w, 4 * sizes.hidden)?);
        let (states, wanted) = (rows(states, n)?, rows(wanted, n)?);
        let gates = gate_gradients(trace, &weights, &wanted, sizes);
        let of_weights = weight_gradients(&gates, &x_rows, &states, sizes);
        let of_x = self.wants_input_gradient.then(|| {
            let mut of_x = Array2::zeros((n, sizes.width));
            general_mat_mul(1.0, &gates, &columns(weights.view(), ..sizes.width), 0.0, &mut of_x);
            of_x
        });
        let tensor = |values: Array2<f32>, shape: &Shape| {
            Tensor::from_vec(values.into_raw_vec_and_offset().0, shape, &Device::Cpu)
        };
        Ok((of_x.map(|g| tensor(g, x.shape())).transpose()?, Some(tensor(of_weights, w.shape())?)))
    }
}

/// `[rows × columns]` of a contiguous storage.
pub(super) fn matrix<'a>(
    values: &'a [f32],
    layout: &Layout,
    rows: usize,
    columns: usize,
) -> Result<ArrayView2<'a, f32>> {
    let Some((from, to)) = layout.contiguous_offsets() else { candle_core::bail!("the values are not contiguous") };
    ArrayView2::from_shape((rows, columns), &values[from..to]).map_err(candle_core::Error::wrap)
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

fn forward(x: ArrayView2<'_, f32>, weights: ArrayView2<'_, f32>, sizes: Sizes) -> (Array2<f32>, Trace) {
    let Sizes { steps, batch, width, hidden } = sizes;
    let n = steps * batch;
    let (of_input, of_state) = (columns(weights, ..width), columns(weights, width..width + hidden));
    let mut gates = all_alike(weights.column(width + hidden), n);
    general_mat_mul(1.0, &x, &of_input.t(), 1.0, &mut gates);
    let mut states = Array2::zeros((n, hidden));
    let (mut cells, mut squashed) = (vec![0.0; n * hidden], vec![0.0; n * hidden]);
    let zeros = vec![0.0; hidden];
    for step in 0..steps {
        let (now, before) = (step * batch..(step + 1) * batch, step.saturating_sub(1) * batch);
        if step > 0 {
            let state = states.slice_axis(Axis(0), Slice::from(before..now.start));
            let mut gates = gates.slice_axis_mut(Axis(0), Slice::from(now.clone()));
            general_mat_mul(1.0, &state, &of_state.t(), 1.0, &mut gates);
        }
        for row in now {
            let (old, new) = cells.split_at_mut(row * hidden);
            let previous = if step > 0 { &old[(row - batch) * hidden..] } else { &zeros };
            let (mut gates, mut state) = (gates.row_mut(row), states.row_mut(row));
            if let (Some(gates), Some(state)) = (gates.as_slice_mut(), state.as_slice_mut()) {
                step_of_one(gates, previous, &mut new[..hidden], &mut squashed[row * hidden..][..hidden], state);
            }
        }
    }
    (states, Trace { gates, cells, squashed })
}

/// One step of one window: activates `gates` in place, `[4H]`; the others are `[H]`.
fn step_of_one(gates: &mut [f32], previous: &[f32], cell: &mut [f32], squashed: &mut [f32], state: &mut [f32]) {
    let hidden = cell.len();
    let (input, rest) = gates.split_at_mut(hidden);
    let (forget, rest) = rest.split_at_mut(hidden);
    let (candidate, output) = rest.split_at_mut(hidden);
    let (output, previous) = (&mut output[..hidden], &previous[..hidden]);
    for gate in [&mut *input, &mut *forget, &mut *output] {
        gate.iter_mut().for_each(|x| *x = sigmoid(*x));
    }
    candidate.iter_mut().for_each(|x| *x = tanh(*x));
    for n in 0..hidden {
        cell[n] = forget[n] * previous[n] + input[n] * candidate[n];
    }
    for (squashed, cell) in squashed.iter_mut().zip(cell.iter()) {
        *squashed = tanh(*cell);
    }
    for ((state, output), squashed) in state.iter_mut().zip(output.iter()).zip(squashed.iter()) {
        *state = output * squashed;
    }
}

/// The gradient of the gates before their activation, `[T · B × 4H]`, from that of the states, newest step first.
fn gate_gradients(trace: &Trace, weights: &Array2<f32>, wanted: &Array2<f32>, sizes: Sizes) -> Array2<f32> {
    let Sizes { steps, batch, width, hidden } = sizes;
    let of_state = columns(weights.view(), width..width + hidden);
    let mut gradients = Array2::zeros(trace.gates.raw_dim());
    // What the step after wants of this one's state and cell.
    let (mut state, mut cell) = (Array2::<f32>::zeros((batch, hidden)), vec![0.0; batch * hidden]);
    let zeros = vec![0.0; hidden];
    for step in (0..steps).rev() {
        for b in 0..batch {
            let row = step * batch + b;
            let before = if step > 0 { &trace.cells[(row - batch) * hidden..] } else { &zeros };
            let squashed = &trace.squashed[row * hidden..];
            let (gates, wanted, state) = (trace.gates.row(row), wanted.row(row), state.row(b));
            let read = (gates.to_slice(), wanted.to_slice(), state.to_slice());
            let (Some(gates), Some(wanted), Some(state)) = read else { continue };
            if let Some(out) = gradients.row_mut(row).as_slice_mut() {
                step_back_of_one([gates, squashed, wanted, before, state], &mut cell[b * hidden..][..hidden], out);
            }
        }
        if step > 0 {
            let now = gradients.slice_axis(Axis(0), Slice::from(step * batch..(step + 1) * batch));
            general_mat_mul(1.0, &now, &of_state, 0.0, &mut state);
        }
    }
    gradients
}

/// One step back of one window. `gates` and `out` are `[4H]`, the others `[H]`; `cell` is what the step after wants of the cell, and
/// then what this one wants of that before.
fn step_back_of_one([gates, squashed, wanted, before, state]: [&[f32]; 5], cell: &mut [f32], out: &mut [f32]) {
    let hidden = cell.len();
    let gate = |n: usize| &gates[n * hidden..(n + 1) * hidden];
    let (input, forget, candidate, output) = (gate(0), gate(1), gate(2), gate(3));
    let (squashed, wanted, before, state) =
        (&squashed[..hidden], &wanted[..hidden], &before[..hidden], &state[..hidden]);
    let (out_input, rest) = out.split_at_mut(hidden);
    let (out_forget, rest) = rest.split_at_mut(hidden);
    let (out_candidate, out_output) = rest.split_at_mut(hidden);
    let out_output = &mut out_output[..hidden];
    for n in 0..hidden {
        let h = wanted[n] + state[n];
        let c = cell[n] + h * output[n] * (1.0 - squashed[n] * squashed[n]);
        out_input[n] = c * candidate[n] * input[n] * (1.0 - input[n]);
        out_forget[n] = c * before[n] * forget[n] * (1.0 - forget[n]);
        out_candidate[n] = c * input[n] * (1.0 - candidate[n] * candidate[n]);
        out_output[n] = h * squashed[n] * output[n] * (1.0 - output[n]);
        cell[n] = c * forget[n];
    }
}

/// `[4H × I + H + 1]`, summed over all steps and windows.
fn weight_gradients(gates: &Array2<f32>, x: &Array2<f32>, states: &Array2<f32>, sizes: Sizes) -> Array2<f32> {
    let Sizes { steps, batch, width, hidden } = sizes;
    let mut gradients = Array2::zeros((4 * hidden, width + hidden + 1));
    general_mat_mul(1.0, &gates.t(), x, 0.0, &mut gradients.slice_axis_mut(Axis(1), Slice::from(..width)));
    if steps > 1 {
        let after_first = gates.slice_axis(Axis(0), Slice::from(batch..));
        let but_last = states.slice_axis(Axis(0), Slice::from(..(steps - 1) * batch));
        let mut of_state = gradients.slice_axis_mut(Axis(1), Slice::from(width..width + hidden));
        general_mat_mul(1.0, &after_first.t(), &but_last, 0.0, &mut of_state);
    }
    gradients.column_mut(width + hidden).assign(&gates.sum_axis(Axis(0)));
    gradients
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use candle_nn::ops::sigmoid;

    use super::*;
    use crate::offline::train::random::Random;

    fn random(seed: u64, shape: &[usize]) -> Var {
        let mut random = Random::new(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal() * 0.5).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// The formula in candle's own operations.
    fn reference(x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let (steps, batch, width) = x.dims3()?;
        let hidden = weights.dim(0)? / 4;
        let (mut h, mut c) = (x.narrow(0, 0, 1)?.zeros_like()?.narrow(2, 0, 1)?, None::<Tensor>);
        h = h.reshape((batch, 1))?.broadcast_as((batch, hidden))?.contiguous()?;
        let mut states = vec![];
        for step in 0..steps {
            let x = x.narrow(0, step, 1)?.reshape((batch, width))?;
            let ones = Tensor::ones((batch, 1), x.dtype(), &Device::Cpu)?;
            let gates = Tensor::cat(&[&x, &h, &ones], 1)?.matmul(&weights.t()?)?.chunk(4, 1)?;
            let fresh = (sigmoid(&gates[0])? * gates[2].tanh()?)?;
            let cell = match c {
                Some(c) => (fresh + (sigmoid(&gates[1])? * c)?)?,
                None => fresh,
            };
            h = (sigmoid(&gates[3])? * cell.tanh()?)?;
            c = Some(cell);
            states.push(h.clone());
        }
        Tensor::stack(&states, 0)
    }

    #[test]
    fn forth_and_back_as_candle_has_it() {
        let check = |steps: usize, batch: usize, width: usize, hidden: usize| {
            let (x, w) = (random(1, &[steps, batch, width]), random(2, &[4 * hidden, width + hidden + 1]));
            let weight = random(3, &[steps, batch, hidden]);
            let of = |f: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| {
                let states = f(x.as_tensor(), w.as_tensor()).unwrap();
                let gradients = (&states * weight.as_detached_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
                let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                [flat(&states), flat(gradients.get(&x).unwrap()), flat(gradients.get(&w).unwrap())]
            };
            for (ours, theirs) in of(&lstm).iter().zip(&of(&reference)) {
                assert_eq!(ours.len(), theirs.len());
                let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f32::max);
                assert!(apart < 1e-5, "[{steps}, {batch}, {width}], H {hidden}: {apart}");
            }
        };
        check(1, 1, 1, 1);
        check(7, 3, 5, 4);
        check(30, 16, 9, 8);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let error = lstm(random(1, &[2, 2, 3]).as_tensor(), random(2, &[8, 5]).as_tensor()).unwrap_err();
        assert!(error.to_string().contains("do not fit"), "{error}");
    }
}
