//! Reproducible randomness in single precision.

use crate::base::random::SplitMix64;

/// A generator that its seed determines.
#[derive(Debug, Clone)]
pub struct Random(SplitMix64);

impl Random {
    /// Starts the sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f32 {
        (self.0.bits() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Uniform in 0..`bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.bits()) * bound as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.uniform() < p
    }

    /// Standard normal, by Box and Muller's formula.
    pub fn normal(&mut self) -> f32 {
        let (radius, angle) = ((1.0 - self.uniform()).ln() * -2.0, self.uniform() * std::f32::consts::TAU);
        radius.sqrt() * angle.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let mut random = Random::new(1);
        let n = 100_000;
        let normals: Vec<f32> = (0..n).map(|_| random.normal()).collect();
        let mean = normals.iter().sum::<f32>() / n as f32;
        let square = normals.iter().map(|x| x * x).sum::<f32>() / n as f32;
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 0.02, "{mean} {square}");
        assert!((0..1000).map(|_| random.below(3)).all(|n| n < 3));
    }
}
