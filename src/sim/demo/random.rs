//! Random numbers from a seed, the same on every machine, and a signal made of them.

use std::f64::consts::TAU;

use crate::base::random::SplitMix64;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    /// Streams with different seeds are independent.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        random.bits(); // neighbouring seeds differ in few bits; one round mixes them
        Self(random)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.0.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (TAU * self.unit()).cos()
    }

    /// A factor around 1 with the given relative deviation, never under a tenth.
    pub fn about_one(&mut self, deviation: f64) -> f64 {
        (1.0 + deviation * self.normal()).max(0.1)
    }
}

/// A signal that wanders around 0 with deviation 1 and forgets within a time constant (first-order autoregression).
#[derive(Debug, Clone)]
pub struct Wander {
    /// Its value, in deviations.
    value: f64,
    /// Time after which 1/e of a push is left, in seconds.
    memory_s: f64,
}

impl Wander {
    /// Starts at 0.
    #[must_use]
    pub fn new(memory_s: f64) -> Self {
        Self { value: 0.0, memory_s }
    }

    /// Moves on by `dt_s` and returns the new value.
    pub fn step(&mut self, dt_s: f64, random: &mut Random) -> f64 {
        let keep = (-dt_s / self.memory_s).exp();
        self.value = keep * self.value + (1.0 - keep * keep).sqrt() * random.normal();
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut random = Random::new(1);
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
    }

    #[test]
    fn a_wandering_signal_stays_within_its_deviation() {
        let (mut random, mut wander) = (Random::new(2), Wander::new(1800.0));
        let widest = (0..10_000).map(|_| wander.step(60.0, &mut random).abs()).fold(0.0, f64::max);
        assert!(widest > 1.0 && widest < 6.0, "{widest}");
    }
}
