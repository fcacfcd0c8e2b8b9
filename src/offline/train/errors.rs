//! Sizes of a network's errors on rows that it never learnt from, as the service will see them: the verdicts on the newest row of
//! each window, in order.

use super::dataset::Dataset;
use super::fit::rows;
use super::network::Network;
use super::sample::{Batch, Shape};
use super::split::{Stretch, n_windows};
use crate::detect::decision::Decision;
use crate::detect::verdict::VerdictState;
use crate::engine::row::{AlertEligibility, Window};
use crate::model::manifest::{ErrorStatistics, Kind, Quantile};

/// Windows in all: at a few thousand a second this stays under the time that training takes.
const WINDOWS: usize = 20_000;
/// Shortest time that is judged of a host, where it has as much: a verdict depends on what was usual in the day before.
const DAY_MS: i64 = 24 * 3_600_000;
/// Windows forecast at once.
const BATCH: usize = 128;
/// Of the smoothed mse.
const QUANTILES: [f64; 6] = [0.5, 0.9, 0.95, 0.99, 0.995, 0.999];

/// Sizes of errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    /// Of the network, for the bundle.
    pub statistics: ErrorStatistics,
    /// `[F]`: mean squared error of an untrained guess on the same rows: the row before in place of a forecaster, the host's own mean
    /// in place of an autoencoder. `None` where the feature was always missing.
    pub untrained: Vec<Option<f64>>,
}

/// Errors over the newest part of each host's `stretches`; `None` where there is no window.
///
/// # Errors
/// As [`Network::expect_newest`].
pub fn error_statistics(
    network: &Network,
    data: &Dataset,
    stretches: &[Stretch],
    shape: &Shape,
    decision: &Decision,
) -> anyhow::Result<Option<Errors>> {
    let mut tally = Tally::new(data.columns.len());
    for places in places_by_host(data, stretches, shape.window) {
        let mut state = VerdictState::default();
        for places in places.chunks(BATCH) {
            let batch = Batch::of(data, places, shape);
            let expected = network.expect_newest(rows(&batch)?)?.into_raw_vec_and_offset().0;
            let untrained = untrained(&batch, shape.kind);
            let guesses = expected.chunks(data.columns.len()).zip(untrained.chunks(data.columns.len()));
            for (&(host, start), (expected, untrained)) in places.iter().zip(guesses) {
                let row = start + shape.window - 1;
                let window = window(data.row(host, row).collect());
                let t_ms = data.hosts[host].time_ms(row, data.scale.step_ms);
                if let Some(verdict) = state.judge(&window, expected, t_ms, AlertEligibility::Full, decision) {
                    tally.add(&window.target, expected, untrained);
                    tally.smoothed.push(verdict.mse);
                }
            }
        }
    }
    Ok(tally.finish())
}

/// The first rows of the newest windows of each host, in order. Hosts are left out evenly where all would be too many.
fn places_by_host(data: &Dataset, stretches: &[Stretch], window: usize) -> Vec<Vec<(usize, usize)>> {
    let by_host: Vec<&[Stretch]> = stretches.chunk_by(|a, b| a.host == b.host).collect();
    let longest = by_host.iter().map(|stretches| n_windows(stretches, window)).max().unwrap_or(0);
    let day_rows = (DAY_MS / data.scale.step_ms.max(1)) as usize;
    let n_each = (WINDOWS / by_host.len().max(1)).max(day_rows).min(longest);
    let every = (by_host.len() * n_each).div_ceil(WINDOWS).max(1);
    let newest = |stretches: &[Stretch]| -> Vec<(usize, usize)> {
        let starts = |s: &Stretch| s.rows.start..(s.rows.end + 1).saturating_sub(window);
        let n_old = n_windows(stretches, window).saturating_sub(n_each);
        stretches.iter().flat_map(|s| starts(s).map(|row| (s.host, row))).skip(n_old).collect()
    };
    by_host.into_iter().step_by(every).map(newest).collect()
}

/// A window of which nothing is known but its newest row; what it is in the features' units doesn't matter here.
fn window(target: Box<[f32]>) -> Window {
    let n = target.len();
    Window { input: Box::default(), target, mean: vec![0.0; n].into(), deviation: vec![1.0; n].into() }
}

/// Returns what is expected of the newest rows without training, `[B × F]`: see [`Errors::untrained`].
fn untrained(batch: &Batch, kind: Kind) -> Vec<f32> {
    let (steps, n_windows, n_features) = batch.sizes;
    match kind {
        Kind::Forecast => batch.input[(steps - 1) * n_windows * n_features..].to_vec(),
        Kind::Reconstruct => vec![0.0; n_windows * n_features],
    }
}

/// Sums over rows.
struct Tally {
    /// `[F]`: squared errors of the network and of the untrained guess.
    squares: Vec<[f64; 2]>,
    /// `[F]`: rows with a value.
    counts: Vec<usize>,
    /// By row.
    smoothed: Vec<f64>,
}

impl Tally {
    fn new(n_features: usize) -> Self {
        Self { squares: vec![[0.0; 2]; n_features], counts: vec![0; n_features], smoothed: Vec::new() }
    }

    fn add(&mut self, actual: &[f32], expected: &[f32], untrained: &[f32]) {
        let cells =
            actual.iter().zip(expected.iter().zip(untrained)).zip(self.squares.iter_mut().zip(&mut self.counts));
        for ((&actual, (expected, untrained)), (squares, count)) in cells.filter(|((actual, _), _)| !actual.is_nan()) {
            for (square, guess) in squares.iter_mut().zip([expected, untrained]) {
                *square += f64::from(actual - guess).powi(2);
            }
            *count += 1;
        }
    }

    fn finish(self) -> Option<Errors> {
        let means = |which: usize| -> Vec<Option<f64>> {
            let mean = |(squares, &n): (&[f64; 2], &usize)| (n > 0).then(|| squares[which] / n as f64);
            self.squares.iter().zip(&self.counts).map(mean).collect()
        };
        let (mean_square, untrained) = (means(0), means(1));
        let n_rows = self.smoothed.len();
        let statistics = ErrorStatistics { n_rows, mean_square, quantiles: quantiles(self.smoothed)? };
        Some(Errors { statistics, untrained })
    }
}

/// `None` without rows.
fn quantiles(mut smoothed: Vec<f64>) -> Option<Vec<Quantile>> {
    smoothed.sort_unstable_by(f64::total_cmp);
    let last = smoothed.len().checked_sub(1)?;
    let quantile = |q: f64| Quantile { q, mse: smoothed[(q * last as f64).round() as usize] };
    Some(QUANTILES.map(quantile).to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::{STEP_MS, dataset};
    use super::super::network::NetworkConfig;
    use super::*;
    use crate::base::random::Random;
    use crate::detect::decision::tests::decision;
    use crate::model::residual;

    fn smoothing() -> Decision {
        let (step_ms, reset_after_ms) = (STEP_MS, 10 * STEP_MS);
        Decision {
            smoothing_rows: 15.0,
            short_smoothing_rows: 4.0,
            short_weight: 0.6,
            step_ms,
            reset_after_ms,
            ..decision(1.0)
        }
    }

    /// Forecasts the row before: it was never trained.
    fn untrained_network() -> Network {
        let config = NetworkConfig { kind: Kind::Forecast, layers: 1, hidden: 4, predicts_change: true };
        Network::new(2, &config, &mut Random::new(1))
    }

    const SHAPE: Shape = Shape { window: 10, batch: 1, kind: Kind::Forecast };

    #[test]
    fn quantiles_of_a_ramp() {
        let found = quantiles((0..=1000).map(f64::from).rev().collect()).unwrap();
        let found: Vec<f64> = found.iter().map(|quantile| quantile.mse).collect();
        assert_eq!(found, [500.0, 900.0, 950.0, 990.0, 995.0, 999.0]);
        assert!(quantiles(vec![]).is_none());
    }

    #[test]
    fn an_untrained_network_errs_by_the_change_from_row_to_row() {
        let value = |_: usize, row: usize, n: usize| if n == 0 { (row % 2) as f64 } else { f64::NAN };
        let data = dataset(1, 400, &["saw", "none"], value);
        let stretches = [Stretch { host: 0, rows: 100..200 }];
        let found = error_statistics(&untrained_network(), &data, &stretches, &SHAPE, &smoothing()).unwrap().unwrap();
        let step =
            |row: usize| f64::from(data.row(0, row).next().unwrap() - data.row(0, row - 1).next().unwrap()).powi(2);
        let expected = (109..200).map(step).sum::<f64>() / 91.0;
        assert_eq!((found.statistics.n_rows, found.statistics.mean_square[1], found.untrained[1]), (91, None, None));
        for mean_square in [found.statistics.mean_square[0].unwrap(), found.untrained[0].unwrap()] {
            assert!((mean_square - expected).abs() < 1e-3 * expected, "{found:?} {expected}");
        }
    }

    #[test]
    fn quantiles_are_of_what_the_service_shows() {
        // One feature jumps at random, the other hardly moves; some of the rows between are not judged.
        let value = |_: usize, row: usize, n: usize| ((row * row * 7919 + n) % 97) as f64 / (1 + 90 * n) as f64;
        let data = dataset(2, 400, &["wild", "calm"], value);
        let stretches = [(0, 0..100), (0, 200..340), (1, 30..60)].map(|(host, rows)| Stretch { host, rows });
        for residual in [None, Some(residual::Constants::default())] {
            let decision = Decision { residual, ..smoothing() };
            let found = error_statistics(&untrained_network(), &data, &stretches, &SHAPE, &decision).unwrap().unwrap();
            let mut shown = Vec::new();
            for host in 0..2 {
                let mut state = VerdictState::default();
                for row in stretches.iter().filter(|s| s.host == host).flat_map(|s| s.rows.clone().skip(9)) {
                    let rows: [Vec<f32>; 2] = [row, row - 1].map(|row| data.row(host, row).collect());
                    // 60 rows are the warm-up.
                    let t_ms = (60 + row as i64) * STEP_MS;
                    let before: Vec<f32> = rows[1].iter().map(|z| z.clamp(-5.0, 5.0)).collect();
                    let window = window(rows[0].clone().into());
                    shown.push(state.judge(&window, &before, t_ms, AlertEligibility::Full, &decision).unwrap().mse);
                }
            }
            shown.sort_unstable_by(f64::total_cmp);
            assert_eq!(found.statistics.n_rows, 91 + 131 + 21);
            for quantile in &found.statistics.quantiles {
                let expected = shown[(quantile.q * 242.0).round() as usize];
                assert!((quantile.mse - expected).abs() < 1e-6 * expected, "{quantile:?} {expected}");
            }
        }
    }

    #[test]
    fn the_newest_day_of_each_host_is_judged_and_of_many_hosts_some() {
        let data = dataset(1, 70, &["a"], |_, row, _| row as f64);
        let check = |n_hosts: usize, n_rows: usize, expected: (usize, usize, usize)| {
            let stretches: Vec<Stretch> = (0..n_hosts)
                .flat_map(|host| [0..n_rows / 2, n_rows / 2..n_rows].map(|rows| Stretch { host, rows }))
                .collect();
            let places = places_by_host(&data, &stretches, 10);
            assert_eq!((places.len(), places[0].len(), places[0].last().unwrap().1), expected);
        };
        check(2, 1000, (2, 982, 990));
        check(2, 30_000, (2, 10_000, 29_990));
        check(100, 4000, (13, 1440, 3990));
        check(1000, 200, (100, 182, 190));
    }
}
