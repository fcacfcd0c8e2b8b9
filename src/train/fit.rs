//! The training loop: Adam on the mean squared error of every step's forecast.

use anyhow::{Context, ensure};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};

use super::lstm::Network;
use super::random::Random;
use super::rows::Rows;
use super::sample::{Batch, Sampler, Shape};

/// Gradients are scaled down to this norm.
const GRADIENT_NORM_MAX: f64 = 1.0;
/// Steps between two lines of the log.
const LOGGED_STEPS: usize = 100;

/// Everything that decides the result beside the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Of every random choice.
    pub seed: u64,
    /// H: units of the layer.
    pub hidden: usize,
    /// Batches.
    pub steps: usize,
    /// At the start; falls to 0 with a cosine.
    pub learning_rate: f64,
    /// Whether the head predicts the change from the newest row.
    pub predicts_change: bool,
    /// Windows and batches.
    pub shape: Shape,
}

/// Trains on the first `usize` rows of each host. `names` are the features'.
///
/// # Errors
/// Where a host has too few rows, or the loss stops being finite.
pub fn fit(hosts: &[(&Rows, usize)], names: &[&str], options: &Options) -> anyhow::Result<Network> {
    let Shape { window, .. } = options.shape;
    ensure!(!hosts.is_empty() && window > 1, "nothing to train on");
    for (rows, n_usable) in hosts {
        let n_standardised = n_usable.saturating_sub(rows.first_standardised());
        ensure!(
            n_standardised >= window,
            "a host has {n_standardised} rows after the warm-up, a window takes {window}"
        );
    }
    let mut random = Random::new(options.seed);
    let network = Network::new(names.len(), options.hidden, options.predicts_change, &mut random)
        .context("cannot set up the network")?;
    let mut sampler = Sampler::new(hosts.to_vec(), names, options.shape.clone(), random);
    let vars = network.vars();
    let parameters = ParamsAdamW { lr: options.learning_rate, weight_decay: 0.0, ..ParamsAdamW::default() };
    let mut adam = AdamW::new(vars.clone(), parameters)?;
    let mut logged_loss = 0.0;
    for step in 0..options.steps {
        let progress = step as f64 / options.steps as f64;
        adam.set_learning_rate(options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()));
        let loss = loss(&network, &sampler.batch(), names.len())?;
        let mut gradients = loss.backward()?;
        clip(&mut gradients, &vars)?;
        adam.step(&gradients)?;
        logged_loss += f64::from(loss.to_scalar::<f32>()?);
        if (step + 1) % LOGGED_STEPS == 0 {
            let loss = logged_loss / LOGGED_STEPS as f64;
            ensure!(loss.is_finite(), "the loss is {loss} after {step} steps");
            tracing::info!(step = step + 1, of = options.steps, loss = format!("{loss:.4}"), "training");
            logged_loss = 0.0;
        }
    }
    Ok(network)
}

/// Mean squared error over all cells that count.
fn loss(network: &Network, batch: &Batch, n_features: usize) -> candle_core::Result<Tensor> {
    let tensor = |rows: &Vec<f32>| Tensor::from_slice(rows, (rows.len() / n_features, n_features), &Device::Cpu);
    let tensors = |steps: &[Vec<f32>]| steps.iter().map(tensor).collect::<candle_core::Result<Vec<Tensor>>>();
    let expected = network.expect_each(&tensors(&batch.input)?)?;
    let (target, counts) = (Tensor::cat(&tensors(&batch.target)?, 0)?, Tensor::cat(&tensors(&batch.counts)?, 0)?);
    let n_counted = f64::from(counts.sum_all()?.to_scalar::<f32>()?).max(1.0);
    ((expected - target)?.sqr()? * counts)?.sum_all()? / n_counted
}

/// Scales all gradients so that their common norm is at most [`GRADIENT_NORM_MAX`].
fn clip(gradients: &mut GradStore, vars: &[Var]) -> candle_core::Result<()> {
    let mut square = 0.0;
    for gradient in vars.iter().filter_map(|var| gradients.get(var)) {
        square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    let norm = square.sqrt();
    if norm > GRADIENT_NORM_MAX {
        for var in vars {
            if let Some(gradient) = gradients.remove(var) {
                gradients.insert(var, (gradient * (GRADIENT_NORM_MAX / norm))?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::standardise::Constants;

    #[test]
    fn a_seed_means_one_result_and_waves_are_learnt() {
        let values = ndarray::Array2::from_shape_fn((2000, 3), |(row, n)| (row as f32 * (0.2 + 0.1 * n as f32)).sin());
        let rows = Rows::standardise(values.view(), 60_000, &Constants::default().in_rows(60_000));
        let shape = Shape { window: 20, batch: 16, input_clip: 5.0, target_clip: 20.0 };
        let train = |seed: u64, steps: usize| {
            let options =
                Options { seed, hidden: 8, steps, learning_rate: 1e-2, predicts_change: true, shape: shape.clone() };
            fit(&[(&rows, 1500)], &["a", "b", "c"], &options).unwrap()
        };
        let weights = train(1, 20).weights().unwrap();
        assert_eq!(weights, train(1, 20).weights().unwrap());
        assert_ne!(weights, train(2, 20).weights().unwrap());
        let batch = Sampler::new(vec![(&rows, 1500)], &["a", "b", "c"], shape.clone(), Random::new(9)).batch();
        let error = |network: Network| loss(&network, &batch, 3).unwrap().to_scalar::<f32>().unwrap();
        assert!(error(train(1, 300)) < 0.5 * error(train(1, 0)));
    }
}
