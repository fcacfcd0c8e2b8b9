//! Usual error of the model for each feature of one host: what makes errors of features comparable.
//!
//! Pure. A feature that nobody can forecast, or that does the same unforeseen thing at the same time every day, must be further off
//! than usual to count; one that is always forecast well counts as soon as it is not.

use serde::{Deserialize, Serialize};

use crate::base::remap::Remap;
use crate::series::TimestampMs;

/// The day is cut into so many spans with a level of their own: 15 minutes. Half as many find 2 % less on the data of
/// docs/quality.md.
const SPANS: usize = 96;
const DAY_MS: i64 = 86_400_000;
/// Added to both sides of a ratio, so that a feature that never moves has an error as usual as its spread.
const TINY: f64 = 1e-4;

/// Constants of the levels. Times in seconds of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constants {
    /// Memory of the levels, in rows that the feature had.
    pub memory_s: f64,
    /// A new host's levels weigh as if they had been seen for so long.
    pub prior_s: f64,
    /// Memory of the level of a time of day, in days.
    pub days: f64,
    /// Share of a feature's spread that is added to its usual error: one that is forecast perfectly would alarm at its first small
    /// error.
    pub least: f64,
    /// A squared residual counts for at most this in the levels.
    pub winsor: f64,
    /// The most that one feature may add to the mean error of a row until it has done so for `burst_s`.
    pub burst: f64,
    /// See `burst`. One odd scrape is no incident; a step that is longer is not bounded.
    pub burst_s: f64,
}

impl Default for Constants {
    fn default() -> Self {
        const DAY_S: f64 = 86_400.0;
        Self {
            memory_s: 7.0 * DAY_S,
            prior_s: DAY_S,
            days: 7.0,
            least: 0.07,
            winsor: 25.0,
            burst: 10.0,
            burst_s: 120.0,
        }
    }
}

/// The levels of one host: 8 KB for 37 features.
#[derive(Debug, Clone, Default)]
pub struct ResidualLevels {
    /// By feature.
    features: Box<[Level]>,
    /// `[SPANS × F]`: the root of the mean squared residual at that time of day, in units of the winsor's / 65535.
    by_time: Box<[u16]>,
    /// By span, the rows seen in it; saturates.
    span_rows: Box<[u16]>,
}

/// Running levels of the errors of one feature.
#[derive(Debug, Clone, Copy)]
struct Level {
    /// Running mean of the squared residual, in deviations².
    residual: f32,
    /// Running mean of the squared standardised value: what the squared residual would be if the mean were forecast.
    spread: f32,
    /// Rows seen; saturates.
    age: u32,
    /// Rows in a row in which the error was beyond the bound of a burst; saturates.
    n_beyond: u32,
}

impl Level {
    const NEW: Self = Self { residual: 1.0, spread: 1.0, age: 0, n_beyond: 0 };
}

impl ResidualLevels {
    /// The levels of these columns; new ones where there is none.
    #[must_use]
    pub fn moved(&self, columns: &Remap) -> Self {
        let n = self.features.len();
        // Without one that is known, times of day begin anew too.
        if !columns.old_places().flatten().any(|place| place < n) {
            return Self::default();
        }
        let by_time = self.by_time.chunks_exact(n.max(1));
        Self {
            features: columns.moved(&self.features, Level::NEW),
            by_time: by_time.flat_map(|row| columns.moved(row, 0)).collect(),
            span_rows: self.span_rows.clone(),
        }
    }

    /// The errors of a row relative to what is usual, `[F]`, then learns the row. `target` is the row, standardised, and
    /// `expected` the forecast of it; NaN in `target` is missing and stays NaN.
    ///
    /// ```text
    /// q     = (target − expected)²
    /// usual = min(max(level, level at this time of day) / spread, 1)
    /// error = (1 + least) · q / (usual + least)
    /// ```
    /// A feature whose errors are as large as its deviations has `error = q`.
    pub fn relative(
        &mut self,
        target: &[f32],
        expected: &[f32],
        t_ms: TimestampMs,
        step_ms: i64,
        c: &Constants,
    ) -> Vec<f64> {
        let n = target.len();
        if self.features.len() != n {
            self.features = vec![Level::NEW; n].into();
            self.by_time = vec![0; SPANS * n].into();
            self.span_rows = vec![0; SPANS].into();
        }
        let span = span_of(t_ms);
        let weights = Weights::of_row(&mut self.span_rows[span], step_ms, c);
        let n_present = target.iter().filter(|z| !z.is_nan()).count();
        let bound = c.burst * n_present as f64;
        let levels = self.features.iter_mut().zip(&mut self.by_time[span * n..(span + 1) * n]);
        let error = |((&z, &expected), (level, at_this_time)): ((&f32, &f32), (&mut Level, &mut u16))| {
            if z.is_nan() {
                return f64::NAN;
            }
            let squared = f64::from(z - expected).powi(2);
            let at_time = mean_of(*at_this_time, c.winsor);
            let error = squared * level.gain(at_time, c);
            level.n_beyond = if error > bound { level.n_beyond.saturating_add(1) } else { 0 };
            let learnt = squared.min(c.winsor);
            level.learn(learnt, f64::from(z).powi(2).min(c.winsor), &weights);
            *at_this_time = root_of(at_time + weights.at_time * (learnt - at_time), c.winsor);
            if f64::from(level.n_beyond) >= weights.burst_rows { error } else { error.min(bound) }
        };
        target.iter().zip(expected).zip(levels).map(error).collect()
    }

    /// Returns what [`ResidualLevels::relative`] would multiply the squared residuals of a row at `t_ms` with, `[F]`, for as many
    /// of `n_features`; the bound of a burst is left out.
    #[must_use]
    pub fn gains(&self, n_features: usize, t_ms: TimestampMs, c: &Constants) -> Vec<f64> {
        if self.features.len() != n_features {
            return vec![Level::NEW.gain(0.0, c); n_features];
        }
        let by_time = &self.by_time[span_of(t_ms) * n_features..][..n_features];
        let gain = |(level, at_time): (&Level, &u16)| level.gain(mean_of(*at_time, c.winsor), c);
        self.features.iter().zip(by_time).map(gain).collect()
    }
}

/// The span of the day that `t_ms` is in.
fn span_of(t_ms: TimestampMs) -> usize {
    (t_ms.rem_euclid(DAY_MS) * SPANS as i64 / DAY_MS) as usize
}

/// Weights by which one row changes the levels.
struct Weights {
    /// In rows.
    prior: f64,
    /// In rows.
    memory: f64,
    /// Of the row in its time of day.
    at_time: f64,
    burst_rows: f64,
}

impl Weights {
    /// Counts the row in its span.
    fn of_row(span_rows: &mut u16, step_ms: i64, c: &Constants) -> Self {
        *span_rows = span_rows.saturating_add(1);
        let rows = |seconds: f64| seconds * 1000.0 / step_ms.max(1) as f64;
        let days = rows(c.days * DAY_MS as f64 / 1000.0 / SPANS as f64);
        Self {
            prior: rows(c.prior_s).max(1.0),
            memory: rows(c.memory_s).max(1.0),
            at_time: 1.0 / f64::from(*span_rows).min(days).max(1.0),
            burst_rows: rows(c.burst_s),
        }
    }
}

impl Level {
    /// Returns what each unit of a squared residual counts. `at_time` is the level at this time of day.
    fn gain(&self, at_time: f64, c: &Constants) -> f64 {
        let usual = (f64::from(self.residual).max(at_time) + TINY) / (f64::from(self.spread) + TINY);
        (1.0 + c.least) / (usual.min(1.0) + c.least)
    }

    fn learn(&mut self, squared_residual: f64, squared_value: f64, weights: &Weights) {
        let share = 1.0 / (f64::from(self.age) + weights.prior).min(weights.memory);
        self.residual += (share * (squared_residual - f64::from(self.residual))) as f32;
        self.spread += (share * (squared_value - f64::from(self.spread))) as f32;
        self.age = self.age.saturating_add(1);
    }
}

/// The root resolves small levels as finely as large ones: in 16 bits it follows changes of a hundredth of a level.
fn root_of(mean: f64, most: f64) -> u16 {
    (f64::from(u16::MAX) * (mean / most).sqrt()).round() as u16
}

fn mean_of(root: u16, most: f64) -> f64 {
    most * (f64::from(root) / f64::from(u16::MAX)).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    const DAY_ROWS: i64 = 1440;

    /// The errors of `rows` minutes of features whose target and forecast are told by minute.
    fn run(rows: i64, cell: impl Fn(i64) -> Vec<(f32, f32)>) -> Vec<Vec<f64>> {
        run_every(MINUTE_MS, rows, cell)
    }

    fn run_every(step_ms: i64, rows: i64, cell: impl Fn(i64) -> Vec<(f32, f32)>) -> Vec<Vec<f64>> {
        let mut levels = ResidualLevels::default();
        let row = |n: i64| {
            let (target, expected): (Vec<f32>, Vec<f32>) = cell(n).into_iter().unzip();
            levels.relative(&target, &expected, n * step_ms, step_ms, &Constants::default())
        };
        (0..rows).map(row).collect()
    }

    /// Changes sign each row.
    fn swing(row: i64) -> f32 {
        if row % 2 == 0 { 1.0 } else { -1.0 }
    }

    #[test]
    fn what_cannot_be_forecast_counts_as_it_is() {
        // The forecast is the mean: as wrong as the feature is wide.
        let errors = run(3 * DAY_ROWS, |row| vec![(swing(row), 0.0)]);
        assert!(errors.iter().all(|row| (row[0] - 1.0).abs() < 1e-6));
    }

    #[test]
    fn the_first_change_of_a_feature_that_never_moved_is_not_magnified() {
        let last = 60 * DAY_ROWS - 1;
        let errors = run(last + 1, |row| vec![(if row == last { 3.0 } else { 0.0 }, 0.0)]);
        assert!((errors[last as usize][0] - 9.0).abs() < 1e-9, "{:?}", errors.last());
    }

    #[test]
    fn what_is_forecast_well_counts_more() {
        // Errors of a tenth of the deviations: when 0.01 of the spread is usual, 0.01 counts as 1.07 · 0.01 / 0.08.
        let errors = run(60 * DAY_ROWS, |row| vec![(swing(row), 0.9 * swing(row))]);
        let last = errors.last().unwrap()[0];
        assert!((last - 1.07 * 0.01 / 0.08).abs() < 0.002, "{last}");
    }

    #[test]
    fn what_happens_every_day_counts_less_at_that_time() {
        // An hour a day the forecast is 2 deviations off, else nearly right.
        let is_job = |row: i64| (120..180).contains(&(row % DAY_ROWS));
        let cell = |is_off: bool, row: i64| vec![(swing(row), swing(row) - if is_off { 2.0 } else { 0.1 })];
        let usual = run(15 * DAY_ROWS, |row| cell(is_job(row), row));
        let at = |errors: &[Vec<f64>], day: i64, minute: i64| errors[(day * DAY_ROWS + minute) as usize][0];
        assert!(at(&usual, 14, 150) < 4.1, "{}", at(&usual, 14, 150));
        // The same at another time of the last day.
        let shifted = run(15 * DAY_ROWS, |row| {
            cell(is_job(row) || (14 * DAY_ROWS + 799..=14 * DAY_ROWS + 800).contains(&row), row)
        });
        assert!(at(&shifted, 14, 800) > 3.0 * at(&usual, 14, 150), "{}", at(&shifted, 14, 800));
    }

    #[test]
    fn one_odd_scrape_of_one_feature_is_bounded_and_two_minutes_are_not() {
        let cell = |row: i64| {
            let spike = if (100..110).contains(&row) { 18.0 } else { 0.0 };
            vec![(spike, 0.0), (swing(row), 0.0), (swing(row), 0.0)]
        };
        let first_unbounded = |step_ms: i64| {
            let errors = run_every(step_ms, 110, cell);
            assert!(errors[100..].iter().all(|row| row[0] == 30.0 || row[0] > 300.0), "10 for each of three features");
            (100..110).find(|&row| errors[row][0] > 30.0)
        };
        assert_eq!([15_000, 60_000, 300_000].map(first_unbounded), [Some(107), Some(101), Some(100)]);
    }

    #[test]
    fn missing_cells_stay_missing_and_teach_nothing() {
        let errors = run(2000, |row| vec![(swing(row), 0.5), (if row < 1000 { f32::NAN } else { 0.3 }, 0.0)]);
        assert!(errors[..1000].iter().all(|row| row[1].is_nan() && row[0].is_finite()));
        assert!((errors[1000][1] - 0.09).abs() < 1e-6, "{:?}", errors[1000]);
    }

    #[test]
    fn an_independent_implementation_agrees() {
        // Rows an hour apart, forecasts nine tenths of the row before; the numbers are of a kernel in another language, 64-bit
        // throughout.
        let cell = |n: i64, f: usize| match (n, f) {
            (40, 2) => 6.0,
            (41, 0) => f64::NAN,
            _ => (0.7 * n as f64 * (f + 1) as f64).sin() * [1.0, 0.3, 0.0][f],
        };
        let forecast = |n: i64, f: usize| if n == 0 || cell(n - 1, f).is_nan() { 0.0 } else { 0.9 * cell(n - 1, f) };
        let row = |n: i64| (0..3).map(|f| (cell(n, f) as f32, forecast(n, f) as f32)).collect();
        let errors = run_every(3_600_000, 60, row);
        let mean = |row: &[f64]| {
            let present: Vec<f64> = row.iter().copied().filter(|error| !error.is_nan()).collect();
            present.iter().sum::<f64>() / present.len() as f64
        };
        for (row, expected) in
            [(5, 0.194_998_102), (24, 0.119_721_064), (40, 12.103_333_759), (41, 14.647_148_836), (59, 0.248_568_85)]
        {
            let got = mean(&errors[row]);
            assert!((got / expected - 1.0).abs() < 2e-3, "row {row}: {got} instead of {expected}");
        }
    }

    #[test]
    fn roots_follow_small_changes() {
        for mean in [0.003, 0.1, 1.0, 24.0] {
            let moved = mean_of(root_of(mean + 0.01 * 0.5 * mean, 25.0), 25.0);
            assert!((moved / mean - 1.005).abs() < 0.003, "{mean}: {moved}");
        }
        assert_eq!((root_of(0.0, 25.0), root_of(25.0, 25.0)), (0, u16::MAX));
    }
}
