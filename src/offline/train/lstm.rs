//! One LSTM layer over whole sequences, forth and back.
//!
//! The inputs of all steps are one product, the gates of a step are made in place, and everything runs on the caller's thread in a
//! fixed order, so that a seed gives the same bytes whatever the machine's number of cores. Owns no weights: `network.rs` does.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Slice};

use super::activation::{sigmoid, tanh};
use super::linear::{all_alike, columns};

/// The hidden states of a layer, and what its way back needs beside them.
#[derive(Debug)]
pub struct Pass {
    /// `[T · B × H]`
    pub states: Array2<f32>,
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
    fn new(x: ArrayView2<'_, f32>, weights: ArrayView2<'_, f32>, batch: usize) -> Self {
        Self { steps: x.nrows() / batch.max(1), batch, width: x.ncols(), hidden: weights.nrows() / 4 }
    }
}

/// `x` `[T · B × I]`, the windows of a step side by side, and `weights` `[4H × I + H + 1]` → hidden states, from a state of zeros.
///
/// The columns of `weights` are those of the input, of the state, and the bias; the rows the gates input, forget, cell, output.
///
/// ```text
/// i, f, o = σ(…), g = tanh(…) of  weights · [x_t, h_{t-1}, 1]
/// c_t = f · c_{t-1} + i · g,   h_t = o · tanh(c_t)
/// ```
///
/// # Panics
/// Where the shapes do not fit.
#[must_use]
pub fn forward(x: ArrayView2<'_, f32>, weights: ArrayView2<'_, f32>, batch: usize) -> Pass {
    let Sizes { steps, width, hidden, .. } = Sizes::new(x, weights, batch);
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
    Pass { states, gates, cells, squashed }
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

/// The gradients of the weights, and of `x` where `wants_x`, from that of the states, `[T · B × H]`.
///
/// # Panics
/// Where the shapes do not fit.
#[must_use]
pub fn backward(
    pass: &Pass,
    x: ArrayView2<'_, f32>,
    weights: ArrayView2<'_, f32>,
    grad_states: ArrayView2<'_, f32>,
    batch: usize,
    wants_x: bool,
) -> (Array2<f32>, Option<Array2<f32>>) {
    let sizes = Sizes::new(x, weights, batch);
    let gates = gate_gradients(pass, weights, grad_states, sizes);
    let grad_weights = weight_gradients(&gates, x, &pass.states, sizes);
    let grad_x = wants_x.then(|| {
        let mut grad_x = Array2::zeros(x.raw_dim());
        general_mat_mul(1.0, &gates, &columns(weights, ..sizes.width), 0.0, &mut grad_x);
        grad_x
    });
    (grad_weights, grad_x)
}

/// The gradient of the gates before their activation, `[T · B × 4H]`, from that of the states, newest step first.
fn gate_gradients(
    pass: &Pass,
    weights: ArrayView2<'_, f32>,
    grad_states: ArrayView2<'_, f32>,
    sizes: Sizes,
) -> Array2<f32> {
    let Sizes { steps, batch, width, hidden } = sizes;
    let of_state = columns(weights, width..width + hidden);
    let mut gradients = Array2::zeros(pass.gates.raw_dim());
    // The gradients of this step's state and cell, as the step after has them.
    let (mut state, mut cell) = (Array2::<f32>::zeros((batch, hidden)), vec![0.0; batch * hidden]);
    let zeros = vec![0.0; hidden];
    for step in (0..steps).rev() {
        for b in 0..batch {
            let row = step * batch + b;
            let before = if step > 0 { &pass.cells[(row - batch) * hidden..] } else { &zeros };
            let squashed = &pass.squashed[row * hidden..];
            let (gates, grad, state) = (pass.gates.row(row), grad_states.row(row), state.row(b));
            let read = (gates.to_slice(), grad.to_slice(), state.to_slice());
            let (Some(gates), Some(grad), Some(state)) = read else { continue };
            if let Some(out) = gradients.row_mut(row).as_slice_mut() {
                step_back_of_one([gates, squashed, grad, before, state], &mut cell[b * hidden..][..hidden], out);
            }
        }
        if step > 0 {
            let now = gradients.slice_axis(Axis(0), Slice::from(step * batch..(step + 1) * batch));
            general_mat_mul(1.0, &now, &of_state, 0.0, &mut state);
        }
    }
    gradients
}

/// One step back of one window. `gates` and `out` are `[4H]`, the others `[H]`; `cell` is the gradient of this step's cell as the
/// step after has it, and then that of the cell before.
fn step_back_of_one([gates, squashed, grad, before, state]: [&[f32]; 5], cell: &mut [f32], out: &mut [f32]) {
    let hidden = cell.len();
    let gate = |n: usize| &gates[n * hidden..(n + 1) * hidden];
    let (input, forget, candidate, output) = (gate(0), gate(1), gate(2), gate(3));
    let (squashed, grad, before, state) = (&squashed[..hidden], &grad[..hidden], &before[..hidden], &state[..hidden]);
    let (out_input, rest) = out.split_at_mut(hidden);
    let (out_forget, rest) = rest.split_at_mut(hidden);
    let (out_candidate, out_output) = rest.split_at_mut(hidden);
    let out_output = &mut out_output[..hidden];
    for n in 0..hidden {
        let h = grad[n] + state[n];
        let c = cell[n] + h * output[n] * (1.0 - squashed[n] * squashed[n]);
        out_input[n] = c * candidate[n] * input[n] * (1.0 - input[n]);
        out_forget[n] = c * before[n] * forget[n] * (1.0 - forget[n]);
        out_candidate[n] = c * input[n] * (1.0 - candidate[n] * candidate[n]);
        out_output[n] = h * squashed[n] * output[n] * (1.0 - output[n]);
        cell[n] = c * forget[n];
    }
}

/// `[4H × I + H + 1]`, summed over all steps and windows.
fn weight_gradients(gates: &Array2<f32>, x: ArrayView2<'_, f32>, states: &Array2<f32>, sizes: Sizes) -> Array2<f32> {
    let Sizes { steps, batch, width, hidden } = sizes;
    let mut gradients = Array2::zeros((4 * hidden, width + hidden + 1));
    general_mat_mul(1.0, &gates.t(), &x, 0.0, &mut gradients.slice_axis_mut(Axis(1), Slice::from(..width)));
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
    use ndarray::Array2;

    use super::*;
    use crate::base::random::Random;

    fn random(seed: u64, shape: (usize, usize)) -> Array2<f64> {
        let mut random = Random::new(seed);
        Array2::from_shape_fn(shape, |_| random.normal() * 0.5)
    }

    /// The formula, number by number and in double precision.
    fn reference(x: &Array2<f64>, weights: &Array2<f64>, batch: usize) -> Array2<f64> {
        let hidden = weights.nrows() / 4;
        let mut states = Array2::<f64>::zeros((x.nrows(), hidden));
        let mut cells = Array2::<f64>::zeros((batch, hidden));
        for row in 0..x.nrows() {
            let before = |n: usize| if row < batch { 0.0 } else { states[(row - batch, n)] };
            let inputs: Vec<f64> = x.row(row).iter().copied().chain((0..hidden).map(before)).chain([1.0]).collect();
            let gate = |n: usize| weights.row(n).iter().zip(&inputs).map(|(w, x)| w * x).sum::<f64>();
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            for n in 0..hidden {
                let [i, f, g, o] = [0, 1, 2, 3].map(|block| gate(block * hidden + n));
                let cell = &mut cells[(row % batch, n)];
                *cell = sigmoid(f) * *cell + sigmoid(i) * g.tanh();
                states[(row, n)] = sigmoid(o) * cell.tanh();
            }
        }
        states
    }

    /// Of the sum of the states, each times its weight, by `changed`, in differences.
    fn gradient(changed: &Array2<f64>, loss: &dyn Fn(&Array2<f64>) -> f64) -> Array2<f64> {
        const H: f64 = 1e-5;
        Array2::from_shape_fn(changed.raw_dim(), |cell| {
            let at = |by: f64| {
                let mut changed = changed.clone();
                changed[cell] += by;
                loss(&changed)
            };
            (at(H) - at(-H)) / (2.0 * H)
        })
    }

    fn check_close(ours: &Array2<f32>, theirs: &Array2<f64>, what: &str) {
        assert_eq!(ours.dim(), theirs.dim());
        let apart =
            ours.iter().zip(theirs).map(|(a, b)| (f64::from(*a) - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max);
        assert!(apart < 1e-5, "{what} of shape {:?}: {apart}", ours.dim());
    }

    #[test]
    fn forth_and_back_as_the_formula_in_double_precision() {
        let check = |steps: usize, batch: usize, width: usize, hidden: usize| {
            let n = steps * batch;
            let (x, weights) = (random(1, (n, width)), random(2, (4 * hidden, width + hidden + 1)));
            let weight = random(3, (n, hidden));
            let loss = |x: &Array2<f64>, weights: &Array2<f64>| (reference(x, weights, batch) * &weight).sum();
            let [x32, weights32, weight32] = [&x, &weights, &weight].map(|a| a.mapv(|v| v as f32));
            let pass = forward(x32.view(), weights32.view(), batch);
            check_close(&pass.states, &reference(&x, &weights, batch), "states");
            let (grad_weights, grad_x) = backward(&pass, x32.view(), weights32.view(), weight32.view(), batch, true);
            check_close(
                &grad_weights,
                &gradient(&weights, &|weights| loss(&x, weights)),
                "the gradient of the weights",
            );
            check_close(&grad_x.unwrap(), &gradient(&x, &|x| loss(x, &weights)), "the gradient of the input");
        };
        check(1, 1, 1, 1);
        check(7, 3, 5, 4);
        check(12, 4, 6, 5);
    }
}
