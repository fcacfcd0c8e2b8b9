//! How large a network's errors are on rows that it never learnt from, as the service will see them: of the newest row of each window,
//! in order, smoothed.

use candle_core::{Device, Result, Tensor};

use super::dataset::Dataset;
use super::lstm::Network;
use super::sample::{Batch, Shape};
use super::split::{Stretch, n_windows};
use crate::model::manifest::{Detection, ErrorStatistics, Quantile};

/// Windows in all: at a few thousand a second this stays under the time that training takes.
const WINDOWS: usize = 20_000;
/// Windows forecast at once.
const BATCH: usize = 128;
/// Of the smoothed mse.
const QUANTILES: [f64; 6] = [0.5, 0.9, 0.95, 0.99, 0.995, 0.999];

/// Statistics over the newest part of each of `stretches`; `None` where there is no window.
///
/// # Errors
/// Where candle fails.
pub fn error_statistics(
    network: &Network,
    data: &Dataset,
    stretches: &[Stretch],
    shape: &Shape,
    detection: &Detection,
) -> Result<Option<ErrorStatistics>> {
    let n_all = n_windows(stretches, shape.window);
    let share = (WINDOWS as f64 / n_all.max(1) as f64).min(1.0);
    let n_features = data.columns.len();
    let (mut squares, mut counts) = (vec![0.0; n_features], vec![0_usize; n_features]);
    let mut smoothed = Vec::new();
    for stretch in stretches {
        let n_windows = ((stretch.rows.len() + 1 - shape.window) as f64 * share).ceil() as usize;
        let first = stretch.rows.end + 1 - shape.window - n_windows;
        let places: Vec<(usize, usize)> = (first..first + n_windows).map(|row| (stretch.host, row)).collect();
        let mut state: Option<f64> = None;
        for places in places.chunks(BATCH) {
            for residuals in residuals(network, data, places, shape)?.chunks(n_features) {
                let (mut sum, mut n) = (0.0, 0);
                for (feature, square) in residuals.iter().enumerate().filter(|(_, square)| !square.is_nan()) {
                    squares[feature] += square;
                    counts[feature] += 1;
                    (sum, n) = (sum + square, n + 1);
                }
                if n > 0 {
                    let mse = sum / f64::from(n);
                    let now = state.map_or(mse, |before| before + (mse - before) / detection.smoothing_rows.max(1.0));
                    state = Some(now);
                    smoothed.push(now);
                }
            }
        }
    }
    let mean = |(sum, n): (&f64, &usize)| (*n > 0).then(|| sum / *n as f64);
    Ok(summary(smoothed, squares.iter().zip(&counts).map(mean).collect()))
}

fn summary(mut smoothed: Vec<f64>, mean_square: Vec<Option<f64>>) -> Option<ErrorStatistics> {
    smoothed.sort_unstable_by(f64::total_cmp);
    let n_rows = smoothed.len();
    let last = n_rows.checked_sub(1)?;
    let quantile = |q: f64| Quantile { q, mse: smoothed[(q * last as f64).round() as usize] };
    let quantiles = QUANTILES.map(quantile).to_vec();
    Some(ErrorStatistics { n_rows, mean_square, quantiles })
}

/// Squared residuals of the newest row of the windows at `places`, `[places × F]`; NaN where missing.
fn residuals(network: &Network, data: &Dataset, places: &[(usize, usize)], shape: &Shape) -> Result<Vec<f64>> {
    let batch = Batch::of(data, places, shape);
    let expected = network.expect_newest(&Tensor::from_slice(&batch.input, batch.sizes, &Device::Cpu)?)?;
    let expected = expected.flatten_all()?.to_vec1::<f32>()?;
    let actual = places.iter().flat_map(|&(host, start)| data.row(host, start + shape.window - 1));
    Ok(actual.zip(expected).map(|(actual, expected)| f64::from(actual - expected).powi(2)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::dataset;
    use super::super::lstm::Form;
    use super::super::random::Random;
    use super::*;
    use crate::model::manifest::Kind;

    #[test]
    fn quantiles_of_a_ramp() {
        let summary = summary((0..=1000).map(f64::from).rev().collect(), vec![Some(1.0), None]).unwrap();
        let found: Vec<f64> = summary.quantiles.iter().map(|quantile| quantile.mse).collect();
        assert_eq!(found, [500.0, 900.0, 950.0, 990.0, 995.0, 999.0]);
        assert!(super::summary(vec![], vec![]).is_none());
    }

    #[test]
    fn an_untrained_network_errs_by_the_change_from_row_to_row() {
        let value = |_: usize, row: usize, n: usize| if n == 0 { (row % 2) as f64 } else { f64::NAN };
        let data = dataset(1, 400, &["saw", "none"], value);
        let form = Form { kind: Kind::Forecast, layers: 1, hidden: 4, predicts_change: true };
        let network = Network::new(2, &form, &mut Random::new(1)).unwrap();
        let shape = Shape { window: 10, batch: 1, kind: Kind::Forecast };
        let stretches = [Stretch { host: 0, rows: 100..200 }];
        let found = error_statistics(&network, &data, &stretches, &shape, &Detection::default()).unwrap().unwrap();
        let step =
            |row: usize| f64::from(data.row(0, row).next().unwrap() - data.row(0, row - 1).next().unwrap()).powi(2);
        let expected = (109..200).map(step).sum::<f64>() / 91.0;
        assert_eq!((found.n_rows, found.mean_square[1]), (91, None));
        assert!((found.mean_square[0].unwrap() - expected).abs() < 1e-3 * expected, "{found:?} {expected}");
    }
}
