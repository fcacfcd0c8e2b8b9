//! A seeded generator of numbers. Its sequence is part of the recorded fixture: only exact arithmetic is used on it, so that
//! every machine makes the same series.

use outlierd::base::random::SplitMix64;

pub(super) struct Draw(SplitMix64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// Under `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0.bits() % n
    }

    /// In `0..1`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `choices`.
    pub(super) fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
