//! The network that is trained: one LSTM layer and a linear head, from candle's tensors.
//!
//! Written out, because candle's own LSTM can be initialised from its unseeded generator alone.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::ops::sigmoid;

use super::random::Random;
use crate::model::onnx::{LstmLayer, LstmWeights};

/// One layer of H units over F features. Gates are in the order input, forget, cell, output.
#[derive(Debug)]
pub struct Network {
    /// `[4H × F]`
    w_ih: Var,
    /// `[4H × H]`
    w_hh: Var,
    /// `[4H]`
    bias: Var,
    /// `[F × H]`
    head_w: Var,
    /// `[F]`
    head_b: Var,
    /// Whether the head's output is added to the newest row.
    predicts_change: bool,
}

impl Network {
    /// Uniform in ±1/√H; the forget gates start open, and a head that predicts the change starts at no change.
    ///
    /// # Errors
    /// Where candle cannot allocate.
    pub fn new(n_features: usize, hidden: usize, predicts_change: bool, random: &mut Random) -> Result<Self> {
        let bound = 1.0 / (hidden as f32).sqrt();
        let mut uniform = |len: usize| (0..len).map(|_| (random.uniform() * 2.0 - 1.0) * bound).collect::<Vec<_>>();
        let var = |values: Vec<f32>, shape: &[usize]| Var::from_vec(values, shape, &Device::Cpu);
        let (w_ih, w_hh) = (uniform(4 * hidden * n_features), uniform(4 * hidden * hidden));
        let head_w = if predicts_change { vec![0.0; n_features * hidden] } else { uniform(n_features * hidden) };
        let bias = (0..4 * hidden).map(|n| if n / hidden == 1 { 1.0 } else { 0.0 }).collect();
        Ok(Self {
            w_ih: var(w_ih, &[4 * hidden, n_features])?,
            w_hh: var(w_hh, &[4 * hidden, hidden])?,
            bias: var(bias, &[4 * hidden])?,
            head_w: var(head_w, &[n_features, hidden])?,
            head_b: var(vec![0.0; n_features], &[n_features])?,
            predicts_change,
        })
    }

    /// What the optimiser changes.
    #[must_use]
    pub fn vars(&self) -> Vec<Var> {
        [&self.w_ih, &self.w_hh, &self.bias, &self.head_w, &self.head_b].into_iter().cloned().collect()
    }

    /// The row expected after each step, steps one below the other: `steps` of `[batch × F]` → `[steps · batch × F]`.
    ///
    /// # Errors
    /// Where shapes disagree.
    pub fn expect_each(&self, steps: &[Tensor]) -> Result<Tensor> {
        let states = hidden_states([&self.w_ih, &self.w_hh, &self.bias].map(Var::as_tensor), steps)?;
        self.head(self.head_w.as_tensor(), self.head_b.as_tensor(), &Tensor::cat(&states, 0)?, &Tensor::cat(steps, 0)?)
    }

    /// The row expected after the last step, without a trace for gradients: `steps` of `[batch × F]` → `[batch × F]`.
    ///
    /// # Errors
    /// Where shapes disagree.
    pub fn expect_last(&self, steps: &[Tensor]) -> Result<Tensor> {
        let [w_ih, w_hh, bias] = [&self.w_ih, &self.w_hh, &self.bias].map(Var::as_detached_tensor);
        let states = hidden_states([&w_ih, &w_hh, &bias], steps)?;
        let (Some(state), Some(newest)) = (states.last(), steps.last()) else {
            candle_core::bail!("a window needs a row");
        };
        self.head(&self.head_w.as_detached_tensor(), &self.head_b.as_detached_tensor(), state, newest)
    }

    fn head(&self, head_w: &Tensor, head_b: &Tensor, states: &Tensor, newest: &Tensor) -> Result<Tensor> {
        let output = states.matmul(&head_w.t()?)?.broadcast_add(head_b)?;
        if self.predicts_change { output + newest } else { Ok(output) }
    }

    /// The weights as a bundle has them.
    ///
    /// # Errors
    /// Where candle cannot copy.
    pub fn weights(&self) -> Result<LstmWeights> {
        let values = |var: &Var| var.as_tensor().flatten_all()?.to_vec1::<f32>();
        let b_ih = values(&self.bias)?;
        let b_hh = vec![0.0; b_ih.len()];
        Ok(LstmWeights {
            layers: vec![LstmLayer { w_ih: values(&self.w_ih)?, w_hh: values(&self.w_hh)?, b_ih, b_hh }],
            head_w: values(&self.head_w)?,
            head_b: values(&self.head_b)?,
            predicts_change: self.predicts_change,
        })
    }
}

/// `[batch × H]` after each step, from a state of zeros.
fn hidden_states([w_ih, w_hh, bias]: [&Tensor; 3], steps: &[Tensor]) -> Result<Vec<Tensor>> {
    let (w_ih, w_hh) = (w_ih.t()?, w_hh.t()?);
    let mut states: Vec<Tensor> = Vec::with_capacity(steps.len());
    let mut cell: Option<Tensor> = None;
    for x in steps {
        let mut gates = x.matmul(&w_ih)?.broadcast_add(bias)?;
        if let Some(h) = states.last() {
            gates = (gates + h.matmul(&w_hh)?)?;
        }
        let gate = gates.chunk(4, 1)?;
        let mut next = (sigmoid(&gate[0])? * gate[2].tanh()?)?;
        if let Some(c) = cell {
            next = (next + (sigmoid(&gate[1])? * c)?)?;
        }
        states.push((sigmoid(&gate[3])? * next.tanh()?)?);
        cell = Some(next);
    }
    Ok(states)
}
