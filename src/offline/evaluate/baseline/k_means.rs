//! Netdata's way, simplified: for each feature 18 models of two clusters each over six hours of its last values, a new one every
//! three hours; the feature is anomalous where all models agree.
//!
//! A model sees the last six differences of a feature, smoothed over three rows, and scores them by their mean distance to its two
//! centres; over the 99th percentile of its own training it says anomalous. The host's error is the share of anomalous features.

use std::collections::VecDeque;

use super::Setting;

/// Models that must agree.
const MODELS: usize = 18;
/// Span that one model is trained on.
const TRAINED_MS: i64 = 6 * 3_600_000;
/// Interval between trainings.
const RETRAIN_MS: i64 = 3 * 3_600_000;
/// Rows that are averaged.
const SMOOTHED: usize = 3;
/// Differences that a model sees.
const LAGS: usize = 6;
/// Rounds of Lloyd's algorithm.
const ROUNDS: usize = 10;
/// Share of the training that counts as normal.
const QUANTILE: f64 = 0.99;
/// The share of anomalous features at which a host is flagged. Netdata says 1 % of a thousand or more dimensions; of tens of features
/// one would be more than that.
const RATE_LIMIT: f64 = 0.1;

type Point = [f64; LAGS];

pub(super) struct KMeans {
    features: Vec<Feature>,
    n_trained: usize,
    n_retrain: usize,
    n_rows: usize,
    /// The residual of an anomalous feature: with all of `RATE_LIMIT` anomalous the mse is the limit.
    residual: f32,
}

#[derive(Default)]
struct Feature {
    /// The newest values, as many as make one smoothed difference.
    newest: VecDeque<f64>,
    /// The newest smoothed differences.
    differences: VecDeque<f64>,
    /// The newest points, at most as many as a training takes.
    points: VecDeque<Point>,
    /// Oldest first.
    models: VecDeque<Model>,
}

struct Model {
    centres: [Point; 2],
    /// The distance over which a point is anomalous.
    limit: f64,
}

impl KMeans {
    pub(super) fn new(n_features: usize, setting: Setting) -> Self {
        let rows = |span_ms: i64| usize::try_from(span_ms / setting.step_ms.max(1)).unwrap_or(0).max(1);
        Self {
            features: (0..n_features).map(|_| Feature::default()).collect(),
            n_trained: rows(TRAINED_MS),
            n_retrain: rows(RETRAIN_MS),
            n_rows: 0,
            residual: (setting.limit / RATE_LIMIT).sqrt() as f32,
        }
    }

    /// The residual of each feature, NaN where `z` is missing; then learns the row.
    pub(super) fn errors(&mut self, input: &[f64], z: &[f32]) -> Box<[f32]> {
        self.n_rows += 1;
        let is_due = self.n_rows >= self.n_trained && (self.n_rows - self.n_trained).is_multiple_of(self.n_retrain);
        let (n_trained, residual) = (self.n_trained, self.residual);
        let error = |((feature, x), z): ((&mut Feature, &f64), &f32)| {
            let is_anomalous = feature.observe(*x, n_trained);
            if is_due {
                feature.train();
            }
            if z.is_nan() { f32::NAN } else { residual * f32::from(u8::from(is_anomalous)) }
        };
        self.features.iter_mut().zip(input).zip(z).map(error).collect()
    }
}

impl Feature {
    /// Whether all models find the newest point anomalous.
    fn observe(&mut self, x: f64, n_points_max: usize) -> bool {
        keep(&mut self.newest, x, SMOOTHED + 1);
        if self.newest.len() <= SMOOTHED {
            return false;
        }
        // The difference of two means over rows that overlap but for one.
        keep(&mut self.differences, (x - self.newest[0]) / SMOOTHED as f64, LAGS);
        if self.differences.len() < LAGS {
            return false;
        }
        let mut point = [0.0; LAGS];
        point.iter_mut().zip(&self.differences).for_each(|(cell, difference)| *cell = *difference);
        keep(&mut self.points, point, n_points_max);
        !self.models.is_empty() && self.models.iter().all(|model| model.distance(&point) > model.limit)
    }

    fn train(&mut self) {
        if let Some(model) = Model::fit(self.points.make_contiguous()) {
            keep(&mut self.models, model, MODELS);
        }
    }
}

impl Model {
    /// Lloyd's algorithm from the two points with the least and the greatest sum: the same each time.
    fn fit(points: &[Point]) -> Option<Self> {
        let sum = |point: &&Point| point.iter().sum::<f64>();
        let least = points.iter().min_by(|a, b| sum(a).total_cmp(&sum(b)))?;
        let greatest = points.iter().max_by(|a, b| sum(a).total_cmp(&sum(b)))?;
        let mut centres = [*least, *greatest];
        for _ in 0..ROUNDS {
            let (mut sums, mut counts) = ([[0.0; LAGS]; 2], [0.0; 2]);
            for point in points {
                let nearest = usize::from(distance(point, &centres[1]) < distance(point, &centres[0]));
                counts[nearest] += 1.0;
                sums[nearest].iter_mut().zip(point).for_each(|(sum, x)| *sum += x);
            }
            for ((centre, sum), count) in centres.iter_mut().zip(&sums).zip(counts).filter(|(_, count)| *count > 0.0) {
                *centre = sum.map(|sum| sum / count);
            }
        }
        let model = Self { centres, limit: 0.0 };
        let mut distances: Vec<f64> = points.iter().map(|point| model.distance(point)).collect();
        distances.sort_by(f64::total_cmp);
        let index = ((distances.len() as f64 * QUANTILE) as usize).min(distances.len() - 1);
        Some(Self { limit: distances[index], ..model })
    }

    /// The mean of the distances to both centres.
    fn distance(&self, point: &Point) -> f64 {
        f64::midpoint(distance(point, &self.centres[0]), distance(point, &self.centres[1]))
    }
}

fn distance(a: &Point, b: &Point) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Adds `item`, and drops the oldest where there are more than `n_max`.
fn keep<T>(items: &mut VecDeque<T>, item: T, n_max: usize) {
    items.push_back(item);
    if items.len() > n_max {
        items.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_anomalous_and_a_steady_wave_is_not() {
        let setting = Setting { input_clip: 5.0, limit: 1.0, step_ms: 60_000, n_unlabelled: 0 };
        let mut k_means = KMeans::new(2, setting);
        let mut anomalous = Vec::new();
        for row in 0..1500 {
            let wave = (f64::from(row) * 0.1).sin();
            let jump = if row == 1200 { 4.0 } else { 0.0 };
            let errors = k_means.errors(&[wave + jump, wave], &[0.0, if row == 1200 { f32::NAN } else { 0.0 }]);
            assert!(errors[1].is_nan() == (row == 1200));
            // One model alone takes 1 % of what is normal for anomalous.
            if errors[0] > 0.0 && row >= 900 {
                // One of ten features would be enough for the limit: 10 · 1 / 10.
                assert!((errors[0].powi(2) - 10.0).abs() < 1e-4);
                anomalous.push(row);
            }
        }
        // As long as the jump and its return are among the last differences.
        assert!(anomalous.contains(&1200) && anomalous.contains(&1205), "{anomalous:?}");
        assert!(anomalous.iter().all(|row| (1200..1212).contains(row)), "{anomalous:?}");
    }
}
