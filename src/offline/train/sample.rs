//! Draws windows: for training a random place of a random host, varied and thinned out so that one model fits hosts it has not seen;
//! for judging the rows as they are.
//!
//! Varied: each feature of a window is scaled and shifted, since a new host's statistics are never quite right. Thinned out:
//! features, whole families and spans are missing, as on hosts that lack an exporter's collector or lose scrapes.

use std::ops::Range;

use super::dataset::Dataset;
use super::split::{Stretch, n_windows};
use crate::base::random::Random;
use crate::model::manifest::Kind;

/// Probability that a feature is missing from a window.
const FEATURE_MISSING: f64 = 0.1;
/// Probability that a window lacks a whole family of features.
const FAMILY_MISSING: f64 = 0.15;
/// Probability that a feature has a gap.
const GAP: f64 = 0.05;
/// Probability that all features have the same gap: lost scrapes.
const ROWS_LOST: f64 = 0.05;
/// A gap is shorter than this, in rows.
const GAP_ROWS: usize = 20;
/// A missing value is shown to the model as the last one for this many rows, then as 0. The engine does the same.
const HELD_ROWS: usize = 2;
/// The first steps of a forecast have seen too little to be judged.
const STEPS_UNJUDGED: usize = 5;

/// Differences of training windows from the rows that they were drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    /// Deviation of the logarithm of a feature's scale; 0 for none.
    pub scale: f32,
    /// Deviation of a feature's shift; 0 for none.
    pub shift: f32,
    /// Whether features, families and spans go missing.
    pub thins_out: bool,
}

/// Shape of windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// T: rows of a window, the newest included.
    pub window: usize,
    /// Windows of a batch.
    pub batch: usize,
    /// Purpose of the windows.
    pub kind: Kind,
}

impl Shape {
    /// Rows that the network sees.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.window - usize::from(self.kind == Kind::Forecast)
    }
}

/// Windows side by side, time first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// `[steps × B × F]`: what the network sees.
    pub input: Vec<f32>,
    /// `[steps × B × F]`: what it should say; 0 where that is missing.
    pub target: Vec<f32>,
    /// `[steps × B × F]`: 1 where the target counts, else 0.
    pub counts: Vec<f32>,
    /// Steps, B and F.
    pub sizes: (usize, usize, usize),
}

/// One feature in one row.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Value that the network is given.
    shown: f32,
    /// Value that was there; NaN where missing.
    actual: f32,
}

/// Draws training windows.
#[derive(Debug)]
pub struct Sampler<'a> {
    data: &'a Dataset,
    /// The stretches of each host that has any.
    hosts: Vec<Vec<&'a Stretch>>,
    /// Indices of features that come from one source and go missing together.
    families: Vec<Vec<usize>>,
    shape: Shape,
    augmentation: Augmentation,
    random: Random,
}

impl<'a> Sampler<'a> {
    /// Draws from `stretches`. Features named alike up to the first `_` or digit are a family.
    #[must_use]
    pub fn new(
        data: &'a Dataset,
        stretches: &'a [Stretch],
        shape: Shape,
        augmentation: Augmentation,
        random: Random,
    ) -> Self {
        let by_host = stretches.chunk_by(|a, b| a.host == b.host);
        let hosts = by_host.map(|of_host| of_host.iter().collect()).collect();
        Self { data, hosts, families: families(data), shape, augmentation, random }
    }

    /// The next batch; hosts are equally likely whatever their length, and so are the windows of a host.
    pub fn batch(&mut self) -> Batch {
        let mut batch = Batch::new(&self.shape, self.shape.batch, self.data.columns.len());
        for n in 0..self.shape.batch {
            let (host, start) = self.place();
            let cells = self.window(host, start);
            batch.put(n, &cells, &self.shape);
        }
        batch
    }

    /// A host, and the first row of a window of it.
    fn place(&mut self) -> (usize, usize) {
        let window = self.shape.window;
        let stretches = &self.hosts[self.random.below(self.hosts.len())];
        let sizes = || stretches.iter().map(|stretch| (stretch.rows.len() + 1).saturating_sub(window));
        let mut nth = self.random.below(sizes().sum());
        for (stretch, size) in stretches.iter().zip(sizes()) {
            if nth < size {
                return (stretch.host, stretch.rows.start + nth);
            }
            nth -= size;
        }
        (0, 0)
    }

    /// `[T × F]` from row `start` on.
    fn window(&mut self, host: usize, start: usize) -> Vec<Cell> {
        let (n_rows, n_features) = (self.shape.window, self.data.columns.len());
        let clip = self.data.scale.target_clip;
        let mut cells = plain(self.data, host, start, n_rows);
        let missing_family = self.chance(FAMILY_MISSING).then(|| self.random.below(self.families.len()));
        let lost_rows = self.gap(ROWS_LOST);
        for feature in 0..n_features {
            let in_missing_family = missing_family.is_some_and(|family| self.families[family].contains(&feature));
            let is_missing = self.chance(FEATURE_MISSING) || in_missing_family;
            let gap = self.gap(GAP);
            let scale = (self.augmentation.scale * self.random.normal() as f32).exp();
            let shift = self.augmentation.shift * self.random.normal() as f32;
            for row in 0..n_rows {
                let cell = &mut cells[row * n_features + feature];
                let is_gone = is_missing || gap.contains(&row) || lost_rows.contains(&row);
                cell.actual = if is_gone { f32::NAN } else { (cell.actual * scale + shift).clamp(-clip, clip) };
            }
        }
        show(&mut cells, n_features, self.data.scale.input_clip);
        cells
    }

    fn chance(&mut self, p: f64) -> bool {
        self.random.chance(p) && self.augmentation.thins_out
    }

    /// A span of rows with probability `p`, else none.
    fn gap(&mut self, p: f64) -> Range<usize> {
        if !self.chance(p) {
            return 0..0;
        }
        let start = self.random.below(self.shape.window);
        start..start + 1 + self.random.below(GAP_ROWS)
    }
}

impl Batch {
    fn new(shape: &Shape, n_windows: usize, n_features: usize) -> Self {
        let sizes = (shape.steps(), n_windows, n_features);
        let zeros = vec![0.0; sizes.0 * sizes.1 * sizes.2];
        Self { input: zeros.clone(), target: zeros.clone(), counts: zeros, sizes }
    }

    /// Puts a window of `[T × F]` cells into place `n`.
    fn put(&mut self, n: usize, cells: &[Cell], shape: &Shape) {
        let (steps, n_windows, n_features) = self.sizes;
        let (ahead, unjudged) = match shape.kind {
            Kind::Forecast => (1, STEPS_UNJUDGED.min(steps - 1)),
            Kind::Reconstruct => (0, 0),
        };
        for step in 0..steps {
            let at = (step * n_windows + n) * n_features;
            let row = |n: usize| &cells[n * n_features..(n + 1) * n_features];
            for (feature, (seen, wanted)) in row(step).iter().zip(row(step + ahead)).enumerate() {
                self.input[at + feature] = seen.shown;
                if !wanted.actual.is_nan() {
                    self.target[at + feature] = wanted.actual;
                    self.counts[at + feature] = f32::from(step >= unjudged);
                }
            }
        }
    }

    /// The windows that begin at `places`, host and row, as they are.
    #[must_use]
    pub fn of(data: &Dataset, places: &[(usize, usize)], shape: &Shape) -> Self {
        let n_features = data.columns.len();
        let mut batch = Self::new(shape, places.len(), n_features);
        for (n, &(host, start)) in places.iter().enumerate() {
            let mut cells = plain(data, host, start, shape.window);
            show(&mut cells, n_features, data.scale.input_clip);
            batch.put(n, &cells, shape);
        }
        batch
    }
}

/// At most `n_max` places of windows, evenly over all of `stretches`.
#[must_use]
pub fn even_places(stretches: &[Stretch], window: usize, n_max: usize) -> Vec<(usize, usize)> {
    let n_all = n_windows(stretches, window);
    let every = n_all.div_ceil(n_max.max(1)).max(1);
    let starts =
        stretches.iter().flat_map(|s| (s.rows.start..(s.rows.end + 1).saturating_sub(window)).map(|row| (s.host, row)));
    starts.step_by(every).collect()
}

/// `[rows × F]` as they are, not yet shown.
fn plain(data: &Dataset, host: usize, start: usize, n_rows: usize) -> Vec<Cell> {
    (start..start + n_rows).flat_map(|row| data.row(host, row).map(|actual| Cell { shown: 0.0, actual })).collect()
}

/// Fills what the network is given: clipped, a missing value held for a while and then 0.
fn show(cells: &mut [Cell], n_features: usize, clip: f32) {
    let mut held = vec![(0.0, HELD_ROWS); n_features];
    for row in cells.chunks_exact_mut(n_features) {
        for (cell, (last, age)) in row.iter_mut().zip(&mut held) {
            (*last, *age) = if cell.actual.is_nan() { (*last, *age + 1) } else { (cell.actual.clamp(-clip, clip), 0) };
            cell.shown = if *age > HELD_ROWS { 0.0 } else { *last };
        }
    }
}

fn families(data: &Dataset) -> Vec<Vec<usize>> {
    let family = |name: &str| name.split(|c: char| c == '_' || c.is_ascii_digit()).next().map(str::to_owned);
    let mut families: Vec<(Option<String>, Vec<usize>)> = Vec::new();
    for (n, column) in data.columns.iter().enumerate() {
        let key = family(&column.name);
        match families.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(n),
            None => families.push((key, vec![n])),
        }
    }
    families.into_iter().map(|(_, members)| members).collect()
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::dataset;
    use super::*;

    const NAMES: [&str; 5] = ["load1", "load5", "net_rx", "net_tx", "cpu_busy"];
    const VARIED: Augmentation = Augmentation { scale: 0.3, shift: 0.3, thins_out: true };

    fn data() -> Dataset {
        let mut data = dataset(2, 400, &NAMES, |host, row, n| (((row + host) * (n + 3)) % 17) as f64);
        (data.scale.input_clip, data.scale.target_clip) = (1.0, 1.5);
        data
    }

    fn stretches() -> Vec<Stretch> {
        vec![Stretch { host: 0, rows: 0..100 }, Stretch { host: 0, rows: 120..170 }, Stretch { host: 1, rows: 0..300 }]
    }

    fn shape(kind: Kind) -> Shape {
        Shape { window: 30, batch: 200, kind }
    }

    fn batch(seed: u64, kind: Kind) -> Batch {
        Sampler::new(&data(), &stretches(), shape(kind), VARIED, Random::new(seed)).batch()
    }

    #[test]
    fn shapes_clips_and_repetition() {
        for (kind, steps) in [(Kind::Forecast, 29), (Kind::Reconstruct, 30)] {
            let Batch { input, target, counts, sizes } = batch(1, kind);
            assert_eq!(sizes, (steps, 200, 5));
            assert_eq!([input.len(), target.len(), counts.len()], [steps * 1000; 3]);
            assert!(input.iter().all(|x| x.abs() <= 1.0) && target.iter().all(|y| y.abs() <= 1.5));
            let unjudged = if kind == Kind::Forecast { STEPS_UNJUDGED * 1000 } else { 0 };
            assert!(counts[..unjudged].iter().all(|&w| w == 0.0) && counts[unjudged..].contains(&1.0));
            assert_eq!(input, batch(1, kind).input);
            assert_ne!(input, batch(2, kind).input);
        }
    }

    #[test]
    fn missing_features_are_shown_as_zero_and_do_not_count() {
        let Batch { input, counts, .. } = batch(3, Kind::Forecast);
        let whole = |column: usize| (STEPS_UNJUDGED..29).all(|step| counts[step * 1000 + column] == 0.0);
        let missing: Vec<usize> = (0..1000).filter(|&column| whole(column)).collect();
        let share = missing.len() as f32 / 1000.0;
        assert!((0.08..0.30).contains(&share), "{share}");
        assert!(missing.iter().all(|&column| input[28 * 1000 + column] == 0.0));
    }

    #[test]
    fn windows_as_they_are() {
        let (data, places) = (data(), even_places(&stretches(), 30, 7));
        assert_eq!(n_windows(&stretches(), 30), 71 + 21 + 271);
        assert_eq!(places, [(0, 0), (0, 52), (1, 12), (1, 64), (1, 116), (1, 168), (1, 220)]);
        let Batch { input, target, counts, .. } = Batch::of(&data, &places, &shape(Kind::Forecast));
        assert!(counts[STEPS_UNJUDGED * 35..].iter().all(|&w| w == 1.0));
        let row: Vec<f32> = data.row(1, 64 + 10).collect();
        assert!(input[(10 * 7 + 3) * 5..][..5].iter().zip(&row).all(|(x, z)| *x == z.clamp(-1.0, 1.0)));
        assert_eq!(target[(9 * 7 + 3) * 5..][..5], row);
    }

    #[test]
    fn families_go_missing_together() {
        assert_eq!(families(&data()), [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
