//! Split into what is trained on and what is held back: some hosts altogether, and the last part of every other host's time.
//!
//! Held-back rows say when to stop and how large errors are; the network never learns from them.

use std::ops::Range;

use super::dataset::Dataset;
use crate::base::random::Random;

/// Extent of what is held back.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBack {
    /// Share of the hosts, rounded down; none where that is less than one host.
    pub hosts: f64,
    /// Share of the rows of every other host, from its end.
    pub time: f64,
}

/// Rows of one host that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Its place in the data set.
    pub host: usize,
    /// At least T.
    pub rows: Range<usize>,
}

/// The two parts. No row is in both, and no window spans both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// To learn from.
    pub train: Vec<Stretch>,
    /// To judge on.
    pub held_back: Vec<Stretch>,
    /// Places of the hosts that are held back altogether, ascending.
    pub hosts: Vec<usize>,
}

impl Split {
    /// Splits `data` for windows of `window` rows. The same data and seed give the same split.
    #[must_use]
    pub fn new(data: &Dataset, window: usize, held_back: &HeldBack, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..data.hosts.len()).collect();
        let mut random = Random::new(seed);
        for n in (1..order.len()).rev() {
            order.swap(n, random.below(n + 1));
        }
        let n_hosts = (data.hosts.len() as f64 * held_back.hosts) as usize;
        let mut hosts = order[..n_hosts.min(order.len().saturating_sub(1))].to_vec();
        hosts.sort_unstable();
        let mut split = Self { hosts, ..Self::default() };
        for (host, rows) in data.hosts.iter().enumerate() {
            let n_rows = rows.stretches.last().map_or(0, |stretch| stretch.end);
            let is_held_back = split.hosts.binary_search(&host).is_ok();
            let n_train = if is_held_back { 0 } else { (n_rows as f64 * (1.0 - held_back.time)).ceil() as usize };
            for stretch in &rows.stretches {
                let parts = [stretch.start..stretch.end.min(n_train), stretch.start.max(n_train)..stretch.end];
                for (part, into) in parts.into_iter().zip([&mut split.train, &mut split.held_back]) {
                    if part.len() >= window {
                        into.push(Stretch { host, rows: part });
                    }
                }
            }
        }
        split
    }
}

/// Windows of `window` rows in all of `stretches`.
#[must_use]
pub fn n_windows(stretches: &[Stretch], window: usize) -> usize {
    stretches.iter().map(|stretch| (stretch.rows.len() + 1).saturating_sub(window)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::dataset;
    use super::*;

    #[test]
    fn hosts_and_the_end_of_time_are_held_back() {
        let data = dataset(10, 160, &["a"], |host, row, _| ((row + host) % 7) as f64);
        let held_back = HeldBack { hosts: 0.2, time: 0.3 };
        let split = Split::new(&data, 20, &held_back, 1);
        assert_eq!(split.hosts.len(), 2);
        for host in 0..10 {
            let rows = |stretches: &[Stretch]| -> Vec<(usize, usize)> {
                stretches.iter().filter(|s| s.host == host).map(|s| (s.rows.start, s.rows.end)).collect()
            };
            let expected =
                if split.hosts.contains(&host) { (vec![], vec![(0, 100)]) } else { (vec![(0, 70)], vec![(70, 100)]) };
            assert_eq!((rows(&split.train), rows(&split.held_back)), expected);
        }
        assert_eq!(n_windows(&split.train, 20), 8 * 51);
        assert_eq!(split, Split::new(&data, 20, &held_back, 1));
        assert_ne!(split.hosts, Split::new(&data, 20, &held_back, 2).hosts);
    }

    #[test]
    fn what_is_shorter_than_a_window_is_in_neither_part() {
        let data = dataset(2, 160, &["a"], |_, row, _| (row % 7) as f64);
        let split = Split::new(&data, 40, &HeldBack { hosts: 0.4, time: 0.3 }, 1);
        assert!(split.hosts.is_empty() && split.held_back.is_empty());
        assert_eq!(split.train.len(), 2);
        assert_eq!(n_windows(&split.train, 71), 0);
    }
}
