//! The network that is trained: stacked LSTM layers and a linear head.
//!
//! Owns the weights and what is computed of them; `lstm.rs` and `linear.rs` own how.

use anyhow::ensure;
use ndarray::{Array2, ArrayView2, ArrayView3, Axis, Slice, concatenate};

use super::linear;
use super::lstm::{self, Pass};
use crate::base::random::Random;
use crate::model::manifest::Kind;
use crate::model::onnx::{LstmLayer, LstmWeights};

/// Settings that decide the shapes of a network beside the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Kind of what it computes.
    pub kind: Kind,
    /// LSTM layers; an autoencoder has as many again in its decoder.
    pub layers: usize,
    /// H: units of each layer.
    pub hidden: usize,
    /// Whether a forecaster's head predicts the change from the newest row; else the row itself.
    pub predicts_change: bool,
}

/// An LSTM over F features.
///
/// ```text
/// forecast:     rows → layers → head on each state (+ the row) = the row after it
/// reconstruct:  rows → layers → last state, repeated T times → as many layers → head on each state = the rows
/// ```
#[derive(Debug, Clone)]
pub struct Network {
    config: NetworkConfig,
    /// Each `[4H × I + H + 1]`, first to last: columns of the input, of the state, and the bias. The gates are in the order input,
    /// forget, cell, output.
    layers: Vec<Array2<f32>>,
    /// Of an autoencoder, alike; else none.
    decoder: Vec<Array2<f32>>,
    /// `[F × H + 1]`, the bias last.
    head: Array2<f32>,
}

/// Output of a network for a batch, and what its way back needs.
#[derive(Debug)]
pub struct Forward {
    layers: Vec<Pass>,
    /// `[T · B × H]`: the last state as the input of each step of the decoder; empty without one.
    repeated: Array2<f32>,
    decoder: Vec<Pass>,
    /// `[T · B × F]`, or `[B × F]` where the newest row alone is asked for.
    pub expected: Array2<f32>,
}

impl Network {
    /// Uniform in ±1/√H; the forget gates start open, and a head that predicts the change starts at no change.
    #[must_use]
    pub fn new(n_features: usize, config: &NetworkConfig, random: &mut Random) -> Self {
        let hidden = config.hidden;
        let bound = 1.0 / (hidden as f32).sqrt();
        let mut uniform = || random.between(-1.0, 1.0) as f32 * bound;
        let mut layer = |width: usize| {
            let columns = width + hidden + 1;
            Array2::from_shape_fn((4 * hidden, columns), |(row, column)| match column == columns - 1 {
                true => f32::from(row / hidden == 1),
                false => uniform(),
            })
        };
        let mut stack = |first: usize| -> Vec<Array2<f32>> {
            (0..config.layers).map(|n| layer(if n == 0 { first } else { hidden })).collect()
        };
        let layers = stack(n_features);
        let decoder = if config.kind == Kind::Reconstruct { stack(hidden) } else { Vec::new() };
        let starts_at_zero = config.kind == Kind::Forecast && config.predicts_change;
        let head = Array2::from_shape_fn((n_features, hidden + 1), |(_, column)| {
            if starts_at_zero || column == hidden { 0.0 } else { uniform() }
        });
        Self { config: config.clone(), layers, decoder, head }
    }

    /// Returns the parameters that the optimiser changes.
    pub fn parameters(&self) -> impl Iterator<Item = &Array2<f32>> {
        self.layers.iter().chain(&self.decoder).chain([&self.head])
    }

    /// The same in the same order, to be changed.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Array2<f32>> {
        self.layers.iter_mut().chain(&mut self.decoder).chain([&mut self.head])
    }

    /// Returns what is expected at every step: `[T, B, F]` → `[T · B × F]`. A forecaster's step n is the row after row n.
    ///
    /// # Errors
    /// Where the network is for other features, or `rows` has none.
    pub fn expect_each(&self, rows: ArrayView3<'_, f32>) -> anyhow::Result<Forward> {
        self.forward(rows, false)
    }

    /// Returns the expected newest row: `[T, B, F]` → `[B × F]`. For a forecaster it is the row after the last of `rows`, else
    /// the last itself.
    ///
    /// # Errors
    /// As [`Network::expect_each`].
    pub fn expect_newest(&self, rows: ArrayView3<'_, f32>) -> anyhow::Result<Array2<f32>> {
        Ok(self.forward(rows, true)?.expected)
    }

    fn forward(&self, rows: ArrayView3<'_, f32>, newest_alone: bool) -> anyhow::Result<Forward> {
        let (steps, batch, features) = rows.dim();
        let expected = self.head.nrows();
        ensure!(features == expected && steps > 0, "{steps} rows of {features} features for a network of {expected}");
        let by_row = rows.to_shape((steps * batch, features))?;
        let layers = run(&self.layers, by_row.view(), batch);
        let mut repeated = Array2::zeros((0, 0));
        let mut decoder = Vec::new();
        if let (false, Some(last)) = (self.decoder.is_empty(), layers.last()) {
            let newest = from_row(last.states.view(), (steps - 1) * batch);
            repeated = concatenate(Axis(0), &vec![newest; steps])?;
            decoder = run(&self.decoder, repeated.view(), batch);
        }
        let first = if newest_alone { (steps - 1) * batch } else { 0 };
        let states = decoder.last().or(layers.last()).map_or(by_row.view(), |pass| pass.states.view());
        let mut expected = linear::forward(from_row(states, first), self.head.view());
        if self.config.kind == Kind::Forecast && self.config.predicts_change {
            expected += &from_row(by_row.view(), first);
        }
        Ok(Forward { layers, repeated, decoder, expected })
    }

    /// The gradients of the parameters, in their order, from that of [`Network::expect_each`] for the same `rows`, `[T · B × F]`.
    ///
    /// # Errors
    /// Where shapes disagree.
    pub fn backward(
        &self,
        rows: ArrayView3<'_, f32>,
        forward: &Forward,
        grad_expected: &Array2<f32>,
    ) -> anyhow::Result<Vec<Array2<f32>>> {
        let (steps, batch, features) = rows.dim();
        let by_row = rows.to_shape((steps * batch, features))?;
        let states = forward.decoder.last().or(forward.layers.last()).map_or(by_row.view(), |pass| pass.states.view());
        let (mut grad_states, grad_head) = linear::backward(states, self.head.view(), grad_expected.view());
        let mut gradients = vec![grad_head];
        if !self.decoder.is_empty() {
            let repeated = forward.repeated.view();
            let of_each = run_back(&self.decoder, &forward.decoder, repeated, grad_states, batch, true, &mut gradients);
            // Every step had the last state as its input.
            grad_states = Array2::zeros((steps * batch, self.config.hidden));
            let mut of_last = grad_states.slice_axis_mut(Axis(0), Slice::from((steps - 1) * batch..));
            of_each.axis_chunks_iter(Axis(0), batch).for_each(|of_step| of_last += &of_step);
        }
        run_back(&self.layers, &forward.layers, by_row.view(), grad_states, batch, false, &mut gradients);
        gradients.reverse();
        Ok(gradients)
    }

    /// The weights as a bundle has them.
    #[must_use]
    pub fn weights(&self) -> LstmWeights {
        let hidden = self.config.hidden;
        let columns = |weights: &Array2<f32>, from: usize, to: usize| -> Vec<f32> {
            linear::columns(weights.view(), from..to).iter().copied().collect()
        };
        let layer = |weights: &Array2<f32>| {
            let width = weights.ncols() - hidden - 1;
            let b_ih = columns(weights, width + hidden, width + hidden + 1);
            let b_hh = vec![0.0; b_ih.len()];
            LstmLayer { w_ih: columns(weights, 0, width), w_hh: columns(weights, width, width + hidden), b_ih, b_hh }
        };
        LstmWeights {
            layers: self.layers.iter().map(layer).collect(),
            decoder: self.decoder.iter().map(layer).collect(),
            head_w: columns(&self.head, 0, hidden),
            head_b: columns(&self.head, hidden, hidden + 1),
            predicts_change: self.config.kind == Kind::Forecast && self.config.predicts_change,
        }
    }
}

/// The rows of a matrix from `first` on.
fn from_row(mut matrix: ArrayView2<'_, f32>, first: usize) -> ArrayView2<'_, f32> {
    matrix.slice_axis_inplace(Axis(0), Slice::from(first..));
    matrix
}

/// A stack of layers over `x`, `[T · B × I]`.
fn run(layers: &[Array2<f32>], x: ArrayView2<'_, f32>, batch: usize) -> Vec<Pass> {
    let mut passes: Vec<Pass> = Vec::with_capacity(layers.len());
    for weights in layers {
        let input = passes.last().map_or(x, |pass| pass.states.view());
        passes.push(lstm::forward(input, weights.view(), batch));
    }
    passes
}

/// The way back of [`run`]: adds the gradients of the layers, last to first, to `gradients`, and gives that of `x` where it is wanted.
fn run_back(
    layers: &[Array2<f32>],
    passes: &[Pass],
    x: ArrayView2<'_, f32>,
    mut grad_states: Array2<f32>,
    batch: usize,
    wants_x: bool,
    gradients: &mut Vec<Array2<f32>>,
) -> Array2<f32> {
    for (n, (weights, pass)) in layers.iter().zip(passes).enumerate().rev() {
        let input = n.checked_sub(1).map_or(x, |before| passes[before].states.view());
        let wants_input = wants_x || n > 0;
        let (grad_weights, grad_input) =
            lstm::backward(pass, input, weights.view(), grad_states.view(), batch, wants_input);
        gradients.push(grad_weights);
        grad_states = grad_input.unwrap_or_default();
    }
    grad_states
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    /// The sum of what is expected, each times its weight, in double precision.
    fn loss(network: &Network, rows: &Array3<f32>, weight: &Array2<f32>) -> f64 {
        let expected = network.expect_each(rows.view()).unwrap().expected;
        expected.iter().zip(weight).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        // Wide enough for single precision.
        const BY: f32 = 1e-2;
        for kind in [Kind::Forecast, Kind::Reconstruct] {
            for layers in [1, 2] {
                let config = NetworkConfig { kind, layers, hidden: 4, predicts_change: true };
                let mut random = Random::new(1);
                let mut network = Network::new(3, &config, &mut random);
                network.parameters_mut().for_each(|p| p.mapv_inplace(|_| random.normal() as f32 * 0.5));
                let rows = Array3::from_shape_fn((6, 2, 3), |_| random.normal() as f32);
                let weight = Array2::from_shape_fn((12, 3), |_| random.normal() as f32);
                let forward = network.expect_each(rows.view()).unwrap();
                let gradients = network.backward(rows.view(), &forward, &weight).unwrap();
                assert_eq!(gradients.len(), network.parameters().count());
                for (n, gradient) in gradients.iter().enumerate() {
                    for (cell, slope) in gradient.indexed_iter() {
                        let at = |by: f32| {
                            let mut network = network.clone();
                            network.parameters_mut().nth(n).unwrap()[cell] += by;
                            loss(&network, &rows, &weight)
                        };
                        let expected = (at(BY) - at(-BY)) / f64::from(2.0 * BY);
                        let apart = (f64::from(*slope) - expected).abs() / (1.0 + expected.abs());
                        assert!(apart < 2e-3, "{kind:?}, {layers} layers, {n} {cell:?}: {slope} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_newest_row_is_the_last_of_each() {
        for kind in [Kind::Forecast, Kind::Reconstruct] {
            let config = NetworkConfig { kind, layers: 2, hidden: 4, predicts_change: false };
            let mut random = Random::new(1);
            let network = Network::new(3, &config, &mut random);
            let rows = Array3::from_shape_fn((6, 2, 3), |_| random.normal() as f32);
            let each = network.expect_each(rows.view()).unwrap().expected;
            assert_eq!(network.expect_newest(rows.view()).unwrap(), from_row(each.view(), 10));
        }
    }

    #[test]
    fn rows_of_other_features_are_refused() {
        let config = NetworkConfig { kind: Kind::Forecast, layers: 1, hidden: 4, predicts_change: true };
        let network = Network::new(3, &config, &mut Random::new(1));
        for shape in [(6, 2, 4), (0, 2, 3)] {
            let error = network.expect_each(Array3::zeros(shape).view()).unwrap_err();
            assert!(error.to_string().contains("for a network of 3"), "{error}");
        }
    }
}
