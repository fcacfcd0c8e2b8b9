//! The training loop: Adam on the mean squared error, the best weights by the held-back error kept.

use std::ops::ControlFlow;

use anyhow::ensure;
use ndarray::{Array2, ArrayView2, ArrayView3, Zip};

use super::adam::Adam;
use super::dataset::Dataset;
use super::network::{Network, NetworkConfig};
use super::sample::{Augmentation, Batch, Sampler, Shape, even_places};
use super::split::{HeldBack, Split};
use crate::base::random::Random;
use crate::model::manifest::{Kind, Losses};

/// Gradients are scaled down to this norm.
const GRADIENT_NORM_MAX: f64 = 1.0;
/// Number of times that the held-back error is taken in a training of full length.
const JUDGEMENTS: usize = 30;
/// Judgements in a row without a better one that end the training.
const PATIENCE: usize = 8;
/// Held-back windows of a judgement, evenly over all of them.
const JUDGED_WINDOWS: usize = 1_024;
/// Windows judged at once.
const JUDGED_BATCH: usize = 128;

/// Everything that decides the result beside the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Of every random choice.
    pub seed: u64,
    /// Of the network.
    pub network: NetworkConfig,
    /// Windows and batches.
    pub shape: Shape,
    /// Differences of training windows from the rows.
    pub augmentation: Augmentation,
    /// Batches.
    pub steps: usize,
    /// At the start; falls to 0 with a cosine.
    pub learning_rate: f64,
    /// Part that is not learnt from.
    pub held_back: HeldBack,
}

impl Options {
    /// Options of `outlierd train` unless told otherwise: its flags take their defaults from here.
    pub const DEFAULT: Self = Self {
        seed: 1,
        network: NetworkConfig { kind: Kind::Forecast, layers: 1, hidden: 32, predicts_change: true },
        shape: Shape { window: 60, batch: 64, kind: Kind::Forecast },
        augmentation: Augmentation { scale: 0.3, shift: 0.3, thins_out: true },
        steps: 1500,
        learning_rate: 2e-3,
        held_back: HeldBack { hosts: 0.1, time: 0.1 },
    };
}

/// Progress of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Batches done.
    pub step: usize,
    /// Batches in all.
    pub steps: usize,
    /// Mean squared error of the last batches.
    pub loss: f64,
    /// The best held-back error so far; `None` before the first judgement or where nothing is held back.
    pub best: Option<f64>,
}

/// Error of the network at some point of the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Batches before it.
    pub step: usize,
    /// Mean squared error of the last batches, on windows that were varied at random.
    pub train: f64,
    /// On those held back, as they are; `None` where nothing is.
    pub held_back: Option<f64>,
}

/// A training's end.
#[derive(Debug)]
pub struct Fitted {
    /// With the best weights.
    pub network: Network,
    /// On which windows.
    pub split: Split,
    /// Batches done.
    pub steps: usize,
    /// After how many batches the weights were the best.
    pub best_step: usize,
    /// The loss curve; `step` ascends.
    pub judgements: Vec<Judgement>,
    /// On the rows that were learnt from, without variation.
    pub train: Losses,
    /// On those held back; `None` where nothing is.
    pub held_back: Option<Losses>,
    /// Why it ended before its time.
    pub ended: Option<Ended>,
}

/// Why a training ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The held-back error has not fallen for long.
    NoBetter,
    /// The caller wanted it to.
    Interrupted,
}

/// Trains. `watch` is called after each batch and may end it: then the best weights so far are given.
///
/// # Errors
/// Where no host has a window to learn from, or the loss stops being finite.
pub fn fit(
    data: &Dataset,
    options: &Options,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> anyhow::Result<Fitted> {
    let split = Split::new(data, options.shape.window, &options.held_back, options.seed);
    ensure!(!split.train.is_empty(), "no host has {} rows in a row to learn from", options.shape.window);
    let mut random = Random::new(options.seed);
    let n_features = data.columns.len();
    let mut network = Network::new(n_features, &options.network, &mut random);
    let judged = even_places(&split.held_back, options.shape.window, JUDGED_WINDOWS);
    let mut sampler = Sampler::new(data, &split.train, options.shape.clone(), options.augmentation.clone(), random);
    let mut adam = Adam::new(network.parameters());
    let mut best = Best { error: None, step: 0, network: network.clone(), n_worse: 0 };
    let every = options.steps.div_ceil(JUDGEMENTS).max(10);
    let (mut step, mut ended, mut smooth) = (0, None, None);
    let mut judgements: Vec<Judgement> = Vec::new();
    while step < options.steps && ended.is_none() {
        let progress = step as f64 / options.steps as f64;
        let learning_rate = options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let loss = learn(&mut network, &mut adam, &sampler.batch(), learning_rate)?;
        ensure!(loss.is_finite(), "the loss is {loss} after {step} batches: try a lower --learning-rate");
        let train = smooth.map_or(loss, |smooth: f64| smooth + (loss - smooth) / 20.0);
        smooth = Some(train);
        step += 1;
        let mut judge_now = |best: &mut Best| -> anyhow::Result<()> {
            let held_back = best.judge(step, &network, data, &judged, &options.shape)?;
            judgements.push(Judgement { step, train, held_back });
            Ok(())
        };
        let is_due = step % every == 0 || step == options.steps;
        if is_due {
            judge_now(&mut best)?;
            ended = (best.n_worse >= PATIENCE).then_some(Ended::NoBetter);
        }
        if watch(Progress { step, steps: options.steps, loss: train, best: best.error }).is_break() {
            ended = Some(Ended::Interrupted);
            if !is_due {
                judge_now(&mut best)?;
            }
        }
    }
    if best.error.is_some() {
        network = best.network;
    } else {
        best.step = step;
    }
    let learnt = even_places(&split.train, options.shape.window, JUDGED_WINDOWS);
    let train = judge(&network, data, &learnt, &options.shape)?;
    let held_back = if judged.is_empty() { None } else { Some(judge(&network, data, &judged, &options.shape)?) };
    Ok(Fitted { network, split, steps: step, best_step: best.step, judgements, train, held_back, ended })
}

/// The best weights so far.
struct Best {
    /// Held-back.
    error: Option<f64>,
    /// Batches before it.
    step: usize,
    network: Network,
    /// Judgements since.
    n_worse: usize,
}

impl Best {
    /// Gives the error on the windows at `places`, and keeps the weights if it is the least; `None` without places.
    fn judge(
        &mut self,
        step: usize,
        network: &Network,
        data: &Dataset,
        places: &[(usize, usize)],
        shape: &Shape,
    ) -> anyhow::Result<Option<f64>> {
        if places.is_empty() {
            return Ok(None);
        }
        let error = judge(network, data, places, shape)?.network;
        self.n_worse += 1;
        if self.error.is_none_or(|best| error < best) {
            *self = Self { error: Some(error), step, network: network.clone(), n_worse: 0 };
        }
        Ok(Some(error))
    }
}

/// One batch: its loss, the mean of the squared errors that count, and the step that follows from it.
fn learn(network: &mut Network, adam: &mut Adam, batch: &Batch, learning_rate: f64) -> anyhow::Result<f64> {
    let (steps, n, features) = batch.sizes;
    let by_row = |values| ArrayView2::from_shape((steps * n, features), values);
    let (target, counts) = (by_row(&batch.target)?, by_row(&batch.counts)?);
    let n_counted = batch.counts.iter().filter(|&&count| count > 0.0).count().max(1) as f64;
    let rows = rows(batch)?;
    let forward = network.expect_each(rows)?;
    let mut square = 0.0;
    let mut grad_expected = Array2::zeros(target.raw_dim());
    Zip::from(&mut grad_expected).and(&forward.expected).and(target).and(counts).for_each(
        |grad, expected, target, count| {
            let residual = (expected - target) * count;
            square += f64::from(residual * residual);
            *grad = 2.0 * residual * count / n_counted as f32;
        },
    );
    let mut gradients = network.backward(rows, &forward, &grad_expected)?;
    clip(&mut gradients);
    adam.step(network.parameters_mut(), &gradients, learning_rate);
    Ok(square / n_counted)
}

/// `[steps, B, F]`: what the network sees.
pub(super) fn rows(batch: &Batch) -> anyhow::Result<ArrayView3<'_, f32>> {
    Ok(ArrayView3::from_shape(batch.sizes, &batch.input)?)
}

/// Errors on the windows at `places`.
///
/// # Errors
/// As [`Network::expect_each`].
pub fn judge(network: &Network, data: &Dataset, places: &[(usize, usize)], shape: &Shape) -> anyhow::Result<Losses> {
    let (mut sums, mut n_cells) = ([0.0; 3], 0.0);
    for places in places.chunks(JUDGED_BATCH) {
        let batch = Batch::of(data, places, shape);
        let expected = network.expect_each(rows(&batch)?)?.expected;
        let cells = batch.counts.iter().zip(&batch.target).zip(&batch.input).zip(&expected);
        for (((_, target), input), expected) in cells.filter(|(((count, _), _), _)| **count > 0.0) {
            let square = |guess: f32| f64::from(target - guess).powi(2);
            sums[0] += square(*expected);
            sums[1] += square(*input);
            sums[2] += square(0.0);
            n_cells += 1.0;
        }
    }
    let [network, persistence, mean] = sums.map(|sum| sum / f64::max(n_cells, 1.0));
    Ok(Losses { network, persistence: (shape.kind == Kind::Forecast).then_some(persistence), mean })
}

/// Scales all gradients so that their common norm is at most [`GRADIENT_NORM_MAX`].
fn clip(gradients: &mut [Array2<f32>]) {
    let square: f64 = gradients.iter().flatten().map(|g| f64::from(*g).powi(2)).sum();
    let norm = square.sqrt();
    if norm > GRADIENT_NORM_MAX {
        gradients.iter_mut().for_each(|gradient| *gradient *= (GRADIENT_NORM_MAX / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::dataset;
    use super::*;

    fn options(seed: u64, steps: usize, kind: Kind, layers: usize) -> Options {
        Options {
            seed,
            network: NetworkConfig { kind, layers, hidden: 8, predicts_change: true },
            shape: Shape { window: 20, batch: 16, kind },
            augmentation: Augmentation { scale: 0.1, shift: 0.1, thins_out: true },
            steps,
            learning_rate: 1e-2,
            held_back: HeldBack { hosts: 0.25, time: 0.2 },
        }
    }

    fn waves() -> Dataset {
        let wave = |host: usize, row: usize, n: usize| (row as f64 * (0.2 + 0.1 * n as f64) + host as f64).sin();
        dataset(4, 260, &["a", "b", "c"], wave)
    }

    fn train(options: &Options) -> Fitted {
        fit(&waves(), options, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn a_seed_means_one_result() {
        for kind in [Kind::Forecast, Kind::Reconstruct] {
            let weights = |seed| train(&options(seed, 20, kind, 2)).network.weights();
            assert_eq!(weights(1), weights(1));
            assert_ne!(weights(1), weights(2));
        }
    }

    #[test]
    fn waves_are_learnt() {
        let check = |options: &Options, least: f64| {
            let fitted = train(options);
            let errors = fitted.held_back.unwrap();
            assert!(errors.network < least * errors.mean, "{errors:?} after {} steps", fitted.best_step);
        };
        check(&options(1, 200, Kind::Forecast, 1), 0.1);
        check(&options(1, 200, Kind::Reconstruct, 1), 0.9);
        let untrained = train(&options(1, 0, Kind::Forecast, 1)).held_back.unwrap();
        assert!(
            (untrained.network - untrained.persistence.unwrap()).abs() < 1e-6,
            "it starts as persistence: {untrained:?}"
        );
    }

    #[test]
    fn a_training_that_is_ended_gives_the_best_so_far() {
        let mut n = 0;
        let watch = &mut |progress: Progress| {
            n = progress.step;
            if n == 25 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let fitted = fit(&waves(), &options(1, 300, Kind::Forecast, 1), watch).unwrap();
        assert_eq!((n, fitted.steps, fitted.ended), (25, 25, Some(Ended::Interrupted)));
        let steps: Vec<usize> = fitted.judgements.iter().map(|judgement| judgement.step).collect();
        assert_eq!(steps, [10, 20, 25], "every tenth batch, and where it ended");
        assert!(fitted.best_step <= 25 && fitted.held_back.unwrap().network < fitted.held_back.unwrap().mean);
    }

    #[test]
    fn nothing_to_learn_from_is_refused() {
        let too_long = Options {
            shape: Shape { window: 700, batch: 1, kind: Kind::Forecast },
            ..options(1, 1, Kind::Forecast, 1)
        };
        let error = fit(&waves(), &too_long, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().contains("no host has 700 rows in a row"), "{error}");
    }
}
