//! A random signal with a memory.

use crate::base::random::Random;

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
    fn a_wandering_signal_stays_within_its_deviation() {
        let (mut random, mut wander) = (Random::new(2), Wander::new(1800.0));
        let widest = (0..10_000).map(|_| wander.step(60.0, &mut random).abs()).fold(0.0, f64::max);
        assert!(widest > 1.0 && widest < 6.0, "{widest}");
    }
}
