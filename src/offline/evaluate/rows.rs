//! The rows of a labelled host as the service would see them: standardised, and with the windows that they complete.

use ndarray::{ArrayView2, Axis};

use super::judge::Timed;
use crate::engine::applicable::Applicable;
use crate::engine::row::Window;
use crate::engine::standardise::Standardised;
use crate::engine::windows::{StandardisedRow, WindowConfig, Windows};
use crate::series::TimestampMs;

/// Source of mean and deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// The engine's running statistics: what the service does.
    Running,
    /// Mean and variance of the host's rows without a label, for all rows alike: comparable with papers, and not to be had live.
    Batch,
}

/// The least deviation of batch statistics, of data that its publishers scaled to 0..1; else a share of the mean.
const FLOOR: f64 = 0.02;

/// Rows of a host, in order.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `[rows × F]`: the columns that the model sees, in its order; NaN where missing.
    pub values: ArrayView2<'a, f64>,
    /// Time of each row; `None` where they are a step apart.
    pub t_ms: Option<&'a [TimestampMs]>,
    /// Step, in milliseconds.
    pub step_ms: i64,
    /// Rows without a label; they come first.
    pub n_unlabelled: usize,
    /// Whether the values were scaled to 0..1.
    pub is_scaled: bool,
}

impl Rows<'_> {
    /// Calls `take` for every row, in order, with the standardised row and, where it completes one, the window.
    ///
    /// Rows that are missing between two times are pushed as the engine does: without values, and none after a long gap.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn for_each<E>(
        &self,
        statistics: Statistics,
        config: &WindowConfig,
        mut take: impl FnMut(Timed, &StandardisedRow, Option<Window>) -> Result<(), E>,
    ) -> Result<(), E> {
        let batch = (statistics == Statistics::Batch).then(|| self.batch_statistics());
        let mut windows = Windows::new(config);
        let mut applicable = Applicable::new(self.values.ncols());
        let empty = vec![f64::NAN; config.scored.len()];
        let mut newest_ms: Option<TimestampMs> = None;
        for (row, values) in self.values.axis_iter(Axis(0)).enumerate() {
            let t_ms = self.t_ms.map_or(row as i64 * self.step_ms, |t_ms| t_ms[row]);
            for missing_ms in self.missing(newest_ms, t_ms, config, &mut windows) {
                // Nothing comes of a row without values.
                windows.push(missing_ms, &empty, &applicable, config).ok();
            }
            newest_ms = Some(t_ms);
            let values: Vec<f64> = values.iter().copied().collect();
            applicable.observe(&values, &[], self.step_ms);
            let standardised = match &batch {
                None => windows.standardise(t_ms, &values, config),
                Some(batch) => {
                    let cells: Vec<_> = values.iter().zip(batch).map(|(x, of)| of.standardise(*x)).collect();
                    StandardisedRow::new(&cells, config)
                }
            };
            let window = windows.complete(standardised.clone(), &applicable, config).ok();
            let history_ms = i64::from(windows.n_rows().saturating_sub(1)).saturating_mul(self.step_ms);
            take(Timed { row, t_ms, history_ms }, &standardised, window)?;
        }
        Ok(())
    }

    /// The steps between the row before and this one; where none of the window would be left it is emptied instead.
    fn missing(
        &self,
        newest_ms: Option<TimestampMs>,
        t_ms: TimestampMs,
        config: &WindowConfig,
        windows: &mut Windows,
    ) -> impl Iterator<Item = TimestampMs> + use<> {
        let step_ms = self.step_ms.max(1);
        let next_ms = newest_ms.map_or(t_ms, |newest_ms| newest_ms.saturating_add(step_ms));
        let mut n_missing = t_ms.saturating_sub(next_ms) / step_ms;
        if n_missing > config.window_rows as i64 {
            windows.clear();
            n_missing = 0;
        }
        (0..n_missing).map(move |n| next_ms + n * step_ms)
    }

    /// Mean and deviation of the rows without a label, by feature.
    fn batch_statistics(&self) -> Vec<BatchStatistics> {
        let of = |column: ndarray::ArrayView1<'_, f64>| {
            let known = || column.iter().take(self.n_unlabelled).filter(|x| x.is_finite());
            let n = known().count().max(1) as f64;
            let mean = known().sum::<f64>() / n;
            let variance = known().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let floor = if self.is_scaled { FLOOR } else { FLOOR * mean.abs() };
            BatchStatistics { mean, deviation: (variance + floor * floor).sqrt().max(f64::MIN_POSITIVE) }
        };
        self.values.axis_iter(Axis(1)).map(of).collect()
    }
}

/// Of one feature, in its unit.
struct BatchStatistics {
    mean: f64,
    /// Over 0.
    deviation: f64,
}

impl BatchStatistics {
    fn standardise(&self, x: f64) -> Option<Standardised> {
        let Self { mean, deviation } = *self;
        // A difference over a tiny deviation stays within what an f32 holds.
        let z = ((x - mean) / deviation).clamp(-1e30, 1e30);
        x.is_finite().then_some(Standardised { z, mean, deviation })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::engine::ScoredFeature;
    use crate::engine::standardise::Constants;

    fn config() -> WindowConfig {
        WindowConfig {
            window_rows: 3,
            scored: vec![
                ScoredFeature { feature: 0, floor: 0.0, range_rows: 0 },
                ScoredFeature { feature: 1, floor: 0.0, range_rows: 0 },
            ],
            input_clip: 5.0,
            target_clip: 20.0,
            statistics: Constants { warmup_s: 60.0, ..Constants::default() }.in_rows(60_000),
            max_missing: 0.5,
        }
    }

    /// For each row a letter: `w` with a window, `.` without.
    fn windows(t_ms: &[i64], statistics: Statistics) -> String {
        let values = Array2::from_shape_fn((t_ms.len(), 2), |(row, column)| (row * (column + 1)) as f64);
        let rows = Rows { values: values.view(), t_ms: Some(t_ms), step_ms: 60_000, n_unlabelled: 3, is_scaled: false };
        let mut text = String::new();
        let take = |timed: Timed, _: &StandardisedRow, window: Option<Window>| {
            assert_eq!(timed.t_ms, t_ms[timed.row]);
            text.push(if window.is_some() { 'w' } else { '.' });
            Ok::<(), ()>(())
        };
        rows.for_each(statistics, &config(), take).unwrap();
        text
    }

    #[test]
    fn rows_complete_windows_as_in_the_engine() {
        let minutes = |minutes: &[i64]| minutes.iter().map(|m| m * 60_000).collect::<Vec<i64>>();
        // The first row is the warm-up's: its cells are missing, and half of the window may be.
        assert_eq!(windows(&minutes(&[0, 1, 2, 3, 4]), Statistics::Running), "..www");
        // One minute is missing, a third of the window.
        assert_eq!(windows(&minutes(&[0, 1, 2, 4, 5]), Statistics::Running), "..www");
        // An hour is missing: nothing of the window is left.
        assert_eq!(windows(&minutes(&[0, 1, 2, 60, 61, 62]), Statistics::Running), "..w..w");
    }

    #[test]
    fn batch_statistics_are_those_of_the_rows_without_a_label() {
        let check = |column: [f64; 4], n_unlabelled: usize, is_scaled: bool, expected: [f64; 2]| {
            let values = Array2::from_shape_fn((4, 1), |(row, _)| column[row]);
            let rows = Rows { values: values.view(), t_ms: None, step_ms: 60_000, n_unlabelled, is_scaled };
            let got = &rows.batch_statistics()[0];
            assert!((got.mean - expected[0]).abs() < 1e-12 && (got.deviation - expected[1]).abs() < 1e-12);
        };
        // Mean ½, variance ¼, scaled to 0..1: √(¼ + .02²).
        check([0.0, 1.0, 0.9, 0.9], 2, true, [0.5, 0.2504_f64.sqrt()]);
        // Mean 100, variance 400, raw: 2 % of 100 are 2.
        check([80.0, 120.0, 7.0, 9.0], 2, false, [100.0, 404_f64.sqrt()]);
        check([80.0, f64::NAN, 120.0, 9.0], 3, false, [100.0, 404_f64.sqrt()]);
    }
}
