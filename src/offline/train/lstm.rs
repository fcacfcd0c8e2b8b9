//! The network that is trained: stacked LSTM layers and a linear head, on candle's tape.
//!
//! Owns the weights and what is computed of them; `recurrence.rs` and `affine.rs` own how. Written out, because candle's own LSTM can
//! be initialised from its unseeded generator alone.

use candle_core::{Device, Result, Tensor, Var};

use super::affine::affine;
use super::random::Random;
use super::recurrence::lstm;
use crate::model::manifest::Kind;
use crate::model::onnx::{LstmLayer, LstmWeights};

/// What decides the shapes of a network beside the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// What it computes.
    pub kind: Kind,
    /// LSTM layers; an autoencoder has as many again in its decoder.
    pub layers: usize,
    /// H: units of each layer.
    pub hidden: usize,
    /// Whether a forecaster's head predicts the change from the newest row; else the row itself.
    pub predicts_change: bool,
}

/// The weights of one layer, in one matrix. Gates are in the order input, forget, cell, output.
#[derive(Debug)]
struct Layer {
    /// `[4H × I + H + 1]`: columns of the input, of the state, and the bias.
    weights: Var,
    /// I
    width: usize,
}

/// An LSTM over F features.
///
/// ```text
/// forecast:     rows → layers → head on each state (+ the row) = the row after it
/// reconstruct:  rows → layers → last state, repeated T times → as many layers → head on each state = the rows
/// ```
#[derive(Debug)]
pub struct Network {
    form: Form,
    /// First to last.
    layers: Vec<Layer>,
    /// Of an autoencoder; else none.
    decoder: Vec<Layer>,
    /// `[F × H + 1]`, the bias last.
    head: Var,
}

impl Network {
    /// Uniform in ±1/√H; the forget gates start open, and a head that predicts the change starts at no change.
    ///
    /// # Errors
    /// Where candle cannot allocate.
    pub fn new(n_features: usize, form: &Form, random: &mut Random) -> Result<Self> {
        let hidden = form.hidden;
        let bound = 1.0 / (hidden as f32).sqrt();
        let mut uniform = || (random.uniform() * 2.0 - 1.0) * bound;
        let mut layer = |width: usize| {
            let columns = width + hidden + 1;
            let cell = |n: usize| match n % columns == columns - 1 {
                true => f32::from(n / columns / hidden == 1),
                false => uniform(),
            };
            let weights = (0..4 * hidden * columns).map(cell).collect::<Vec<f32>>();
            Ok(Layer { weights: Var::from_vec(weights, (4 * hidden, columns), &Device::Cpu)?, width })
        };
        let mut stack = |first: usize| {
            (0..form.layers).map(|n| layer(if n == 0 { first } else { hidden })).collect::<Result<Vec<_>>>()
        };
        let layers = stack(n_features)?;
        let decoder = if form.kind == Kind::Reconstruct { stack(hidden)? } else { Vec::new() };
        let starts_at_zero = form.kind == Kind::Forecast && form.predicts_change;
        let head = |n: usize| if starts_at_zero || n % (hidden + 1) == hidden { 0.0 } else { uniform() };
        let head = (0..n_features * (hidden + 1)).map(head).collect::<Vec<f32>>();
        let head = Var::from_vec(head, (n_features, hidden + 1), &Device::Cpu)?;
        Ok(Self { form: form.clone(), layers, decoder, head })
    }

    /// What the optimiser changes.
    #[must_use]
    pub fn vars(&self) -> Vec<Var> {
        let layers = self.layers.iter().chain(&self.decoder).map(|layer| &layer.weights);
        layers.chain([&self.head]).cloned().collect()
    }

    /// What is expected at every step, for training: `[T, B, F]` → `[T · B × F]`. A forecaster's step n is the row after row n.
    ///
    /// # Errors
    /// Where shapes disagree.
    pub fn expect_each(&self, rows: &Tensor) -> Result<Tensor> {
        self.run(rows, Var::as_tensor, false)
    }

    /// What is expected of the newest row, without a trace for gradients: `[T, B, F]` → `[B × F]`. For a forecaster it is the row
    /// after the last of `rows`, else the last itself.
    ///
    /// # Errors
    /// Where shapes disagree.
    pub fn expect_newest(&self, rows: &Tensor) -> Result<Tensor> {
        self.detached(rows, true)
    }

    /// As [`Network::expect_each`], without a trace for gradients.
    ///
    /// # Errors
    /// Where shapes disagree.
    pub fn expect_each_detached(&self, rows: &Tensor) -> Result<Tensor> {
        self.detached(rows, false)
    }

    fn detached(&self, rows: &Tensor, newest_alone: bool) -> Result<Tensor> {
        let vars = self.vars().iter().map(Var::as_detached_tensor).collect::<Vec<Tensor>>();
        self.compute(rows, &vars, newest_alone)
    }

    fn run(&self, rows: &Tensor, tensor: fn(&Var) -> &Tensor, newest_alone: bool) -> Result<Tensor> {
        let vars = self.vars().iter().map(|var| tensor(var).clone()).collect::<Vec<Tensor>>();
        self.compute(rows, &vars, newest_alone)
    }

    /// `vars` are as [`Network::vars`] has them.
    fn compute(&self, rows: &Tensor, vars: &[Tensor], newest_alone: bool) -> Result<Tensor> {
        let (steps, batch, features) = rows.dims3()?;
        let (layers, rest) = vars.split_at(self.layers.len());
        let (decoder, rest) = rest.split_at(self.decoder.len());
        let [head] = rest else { candle_core::bail!("a network has one head") };
        let mut states = rows.clone();
        for weights in layers {
            states = lstm(&states, weights)?;
        }
        if !decoder.is_empty() {
            let last = states.narrow(0, steps - 1, 1)?;
            states = last.broadcast_as((steps, batch, self.form.hidden))?.contiguous()?;
            for weights in decoder {
                states = lstm(&states, weights)?;
            }
        }
        let (first, n) = if newest_alone { (steps - 1, 1) } else { (0, steps) };
        let output = affine(&states.narrow(0, first, n)?.reshape((n * batch, self.form.hidden))?, head)?;
        if self.form.kind == Kind::Forecast && self.form.predicts_change {
            output + rows.narrow(0, first, n)?.reshape((n * batch, features))?
        } else {
            Ok(output)
        }
    }

    /// A copy of all weights, to go back to with [`Network::restore`].
    ///
    /// # Errors
    /// Where candle cannot copy.
    pub fn snapshot(&self) -> Result<Vec<Tensor>> {
        self.vars().iter().map(|var| var.as_tensor().copy()).collect()
    }

    /// Takes the weights of [`Network::snapshot`].
    ///
    /// # Errors
    /// Where they are another network's.
    pub fn restore(&self, weights: &[Tensor]) -> Result<()> {
        self.vars().iter().zip(weights).try_for_each(|(var, weights)| var.set(weights))
    }

    /// The weights as a bundle has them.
    ///
    /// # Errors
    /// Where candle cannot copy.
    pub fn weights(&self) -> Result<LstmWeights> {
        let columns = |var: &Var, from: usize, n: usize| {
            var.as_tensor().narrow(1, from, n)?.contiguous()?.flatten_all()?.to_vec1::<f32>()
        };
        let hidden = self.form.hidden;
        let layer = |layer: &Layer| {
            let b_ih = columns(&layer.weights, layer.width + hidden, 1)?;
            let (w_ih, w_hh) =
                (columns(&layer.weights, 0, layer.width)?, columns(&layer.weights, layer.width, hidden)?);
            let b_hh = vec![0.0; b_ih.len()];
            Ok(LstmLayer { w_ih, w_hh, b_ih, b_hh })
        };
        Ok(LstmWeights {
            layers: self.layers.iter().map(layer).collect::<Result<_>>()?,
            decoder: self.decoder.iter().map(layer).collect::<Result<_>>()?,
            head_w: columns(&self.head, 0, hidden)?,
            head_b: columns(&self.head, hidden, 1)?,
            predicts_change: self.form.kind == Kind::Forecast && self.form.predicts_change,
        })
    }
}
