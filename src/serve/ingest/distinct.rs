//! Count of different hashes, in a bounded place.

/// Hashes kept: 1 KiB, and an error of about 9 % beyond.
const KEPT: usize = 128;

/// The smallest hashes of those that were added: up to [`KEPT`] they are counted, beyond that their density tells how many there
/// were. The hashes must be evenly distributed, and no sender may choose them.
#[derive(Debug, Clone, Default)]
pub(super) struct Distinct(Vec<u64>);

impl Distinct {
    pub(super) fn add(&mut self, hash: u64) {
        let is_full = self.0.len() == KEPT;
        if is_full && self.0.last().is_some_and(|largest| *largest <= hash) {
            return;
        }
        if let Err(at) = self.0.binary_search(&hash) {
            if is_full {
                self.0.pop();
            }
            self.0.insert(at, hash);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Exact up to [`KEPT`].
    pub(super) fn count(&self) -> u64 {
        match self.0.last() {
            Some(largest) if self.0.len() == KEPT => {
                let share = *largest as f64 / u64::MAX as f64;
                ((KEPT - 1) as f64 / share).round() as u64
            }
            _ => self.0.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::label_hash;

    #[test]
    fn few_are_counted_and_many_are_estimated() {
        let check = |n: u64, within: std::ops::RangeInclusive<u64>| {
            let mut distinct = Distinct::default();
            for i in (0..n).chain(0..n) {
                distinct.add(label_hash("series", &i.to_string()));
            }
            assert!(within.contains(&distinct.count()), "{n}: {}", distinct.count());
            assert!(distinct.0.len() <= KEPT);
        };
        check(0, 0..=0);
        check(1, 1..=1);
        check(127, 127..=127);
        // Five deviations: the hashes are keyed anew in each process.
        check(1_000, 550..=1_450);
        check(50_000, 27_500..=72_500);
    }
}
