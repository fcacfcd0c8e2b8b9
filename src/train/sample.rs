//! Draws training windows: a random place of a random host, varied and thinned out so that one model fits hosts it has not seen.
//!
//! Varied: each feature of a window is scaled and shifted, since a new host's statistics are never quite right. Thinned out:
//! features, whole families and spans are missing, as on hosts that lack an exporter's collector or lose scrapes.

use super::random::Random;
use super::rows::Rows;

/// Deviation of the logarithm of a feature's scale, and of its shift (quality-recipes: +.035 to +.05 VUS-PR on SMD).
const VARIED: f32 = 0.3;
/// How often a feature is missing from a window.
const FEATURE_MISSING: f32 = 0.1;
/// How often a window lacks a whole family of features.
const FAMILY_MISSING: f32 = 0.15;
/// How often a feature has a gap.
const GAP: f32 = 0.05;
/// How often all features have the same gap: lost scrapes.
const ROWS_LOST: f32 = 0.05;
/// A gap is shorter than this, in rows.
const GAP_ROWS: usize = 20;
/// A missing value is shown to the model as the last one for this many rows, then as 0. The engine does the same.
const HELD_ROWS: usize = 2;
/// The first steps have seen too little to be judged.
const STEPS_UNJUDGED: usize = 5;

/// What windows look like.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// T: rows of a window, the newest included.
    pub window: usize,
    /// Windows of a batch.
    pub batch: usize,
    /// Inputs are clipped to ± this.
    pub input_clip: f32,
    /// Targets are clipped to ± this.
    pub target_clip: f32,
}

/// A batch, time first: `[T - 1]` steps of `[batch × F]`.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What the model sees at each step.
    pub input: Vec<Vec<f32>>,
    /// The row after each step.
    pub target: Vec<Vec<f32>>,
    /// 1 where the target counts, 0 where it is missing.
    pub counts: Vec<Vec<f32>>,
}

/// The training rows of hosts, to draw from.
#[derive(Debug)]
pub struct Sampler<'a> {
    /// Standardised rows of each host and how many of them may be used.
    hosts: Vec<(&'a Rows, usize)>,
    /// Indices of features that come from one source and go missing together.
    families: Vec<Vec<usize>>,
    shape: Shape,
    random: Random,
}

impl<'a> Sampler<'a> {
    /// Draws from the first `usize` rows of each host. Features named alike up to the first `_` or digit are a family.
    #[must_use]
    pub fn new(hosts: Vec<(&'a Rows, usize)>, names: &[&str], shape: Shape, random: Random) -> Self {
        let family = |name: &str| name.split(|c: char| c == '_' || c.is_ascii_digit()).next().map(str::to_owned);
        let mut families: Vec<(Option<String>, Vec<usize>)> = Vec::new();
        for (n, name) in names.iter().enumerate() {
            match families.iter_mut().find(|(key, _)| *key == family(name)) {
                Some((_, members)) => members.push(n),
                None => families.push((family(name), vec![n])),
            }
        }
        let families = families.into_iter().map(|(_, members)| members).collect();
        Self { hosts, families, shape, random }
    }

    /// The next batch; hosts are equally likely whatever their length.
    pub fn batch(&mut self) -> Batch {
        let steps = self.shape.window - 1;
        let mut batch = Batch { input: vec![vec![]; steps], target: vec![vec![]; steps], counts: vec![vec![]; steps] };
        for _ in 0..self.shape.batch {
            let host = self.random.below(self.hosts.len());
            let (rows, n_usable) = self.hosts[host];
            let first = rows.first_standardised();
            let start = first + self.random.below((n_usable + 1).saturating_sub(first + self.shape.window));
            let window = self.window(rows, start);
            for (step, pair) in window.windows(2).enumerate() {
                let [seen, next] = pair else { continue };
                batch.input[step].extend(seen.iter().map(|cell| cell.shown));
                batch.target[step].extend(next.iter().map(|cell| cell.actual.unwrap_or(0.0)));
                let judged = step >= STEPS_UNJUDGED;
                batch.counts[step].extend(next.iter().map(|cell| f32::from(judged && cell.actual.is_some())));
            }
        }
        batch
    }

    /// T rows from `start` on.
    fn window(&mut self, rows: &Rows, start: usize) -> Vec<Vec<Cell>> {
        let Shape { window, input_clip, target_clip, .. } = self.shape;
        let missing_family = self.random.chance(FAMILY_MISSING).then(|| self.random.below(self.families.len()));
        let lost_rows = self.gap(ROWS_LOST);
        let mut cells = vec![Vec::with_capacity(rows.n_features()); window];
        for feature in 0..rows.n_features() {
            let in_missing_family = missing_family.is_some_and(|family| self.families[family].contains(&feature));
            let missing = in_missing_family || self.random.chance(FEATURE_MISSING);
            let gap = self.gap(GAP);
            let (scale, shift) = ((VARIED * self.random.normal()).exp(), VARIED * self.random.normal());
            let mut last = (0.0, HELD_ROWS);
            for (n, row) in cells.iter_mut().enumerate() {
                let z = rows.row(start + n)[feature] * scale + shift;
                let present = z.is_finite() && !missing && !gap.contains(&n) && !lost_rows.contains(&n);
                let actual = present.then_some(z.clamp(-target_clip, target_clip));
                last = actual.map_or((last.0, last.1 + 1), |z| (z.clamp(-input_clip, input_clip), 0));
                let shown = if last.1 > HELD_ROWS { 0.0 } else { last.0 };
                row.push(Cell { shown, actual });
            }
        }
        cells
    }

    /// A span of rows with probability `p`, else none.
    fn gap(&mut self, p: f32) -> std::ops::Range<usize> {
        if !self.random.chance(p) {
            return 0..0;
        }
        let start = self.random.below(self.shape.window);
        start..start + 1 + self.random.below(GAP_ROWS)
    }
}

/// One feature in one row.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// What the model is given.
    shown: f32,
    /// What was there.
    actual: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::standardise::Constants;

    const NAMES: [&str; 5] = ["load1", "load5", "net_rx", "net_tx", "cpu_busy"];

    fn batch(seed: u64) -> Batch {
        let values = ndarray::Array2::from_shape_fn((400, 5), |(row, n)| ((row * (n + 3)) % 17) as f32);
        let rows = Rows::standardise(values.view(), 60_000, &Constants::default().in_rows(60_000));
        let shape = Shape { window: 30, batch: 200, input_clip: 1.0, target_clip: 1.5 };
        Sampler::new(vec![(&rows, 300)], &NAMES, shape, Random::new(seed)).batch()
    }

    #[test]
    fn shapes_clips_and_repetition() {
        let Batch { input, target, counts } = batch(1);
        for (step, ((x, y), w)) in input.iter().zip(&target).zip(&counts).enumerate() {
            assert_eq!([x.len(), y.len(), w.len()], [1000; 3]);
            assert!(x.iter().all(|x| x.abs() <= 1.0) && y.iter().all(|y| y.abs() <= 1.5));
            assert!(step >= STEPS_UNJUDGED || w.iter().all(|&w| w == 0.0));
        }
        assert_eq!(input, batch(1).input);
        assert_ne!(input, batch(2).input);
    }

    #[test]
    fn missing_features_are_shown_as_zero_and_do_not_count() {
        let Batch { input, counts, .. } = batch(3);
        let whole = |column: usize| counts[STEPS_UNJUDGED..].iter().all(|row| row[column] == 0.0);
        let missing: Vec<usize> = (0..1000).filter(|&column| whole(column)).collect();
        let share = missing.len() as f32 / 1000.0;
        assert!((0.08..0.30).contains(&share), "{share}");
        assert!(missing.iter().all(|&column| input[28][column] == 0.0));
    }

    #[test]
    fn families_go_missing_together() {
        let rows = Rows::standardise(ndarray::Array2::zeros((1, 5)).view(), 1, &Constants::default().in_rows(1));
        let shape = Shape { window: 2, batch: 1, input_clip: 1.0, target_clip: 1.0 };
        let sampler = Sampler::new(vec![(&rows, 1)], &NAMES, shape, Random::new(0));
        assert_eq!(sampler.families, [vec![0, 1], vec![2, 3], vec![4]]);
    }
}
