//! From the rows of one host to its windows: running statistics, standardisation, and the ring of the last T rows.
//!
//! Pure. Owns no clock and no grid: rows come in order, one per step. The service's hosts, training and evaluation all push their
//! rows through this, so that a model sees in production what it saw before.

use super::ScoredFeature;
use super::reconfigure::Column;
use super::row::{NotScored, Treatment, Window};
use super::standardise::{RowConstants, Standardised, Standardiser};
use super::window::WindowRing;
use crate::series::TimestampMs;

/// What windows are made with.
#[derive(Debug, Clone)]
pub struct WindowConfig {
    /// T.
    pub window_rows: usize,
    /// The features that the model sees, in its order.
    pub scored: Vec<ScoredFeature>,
    /// Inputs are clipped to ± this.
    pub input_clip: f32,
    /// The newest row is clipped to ± this.
    pub target_clip: f32,
    /// Constants of the running statistics.
    pub statistics: RowConstants,
    /// Share of a window, and of its newest row, that may be missing.
    pub max_missing: f64,
}

impl WindowConfig {
    /// The same for rows `new_ms` apart instead of `old_ms`: statistics remember as long as before, in event time.
    #[must_use]
    pub fn at_step(&self, old_ms: i64, new_ms: i64) -> Self {
        Self { statistics: self.statistics.at_step(old_ms, new_ms), ..self.clone() }
    }
}

/// A row that was standardised with what was known before it. F counts the scored features.
#[derive(Debug, Clone)]
pub struct StandardisedRow {
    /// `[F]`, clipped to the target clip; NaN where missing, or where the statistics are in their warm-up.
    pub z: Box<[f32]>,
    /// `[F]`: the mean, in the feature's unit; NaN where `z` is.
    pub mean: Box<[f64]>,
    /// `[F]`: the deviation, in the feature's unit; NaN where `z` is.
    pub deviation: Box<[f64]>,
    /// Features without a value; those in their warm-up are not counted.
    pub n_missing: usize,
}

impl StandardisedRow {
    /// The row of `cells`, one per scored feature; `None` where it has no value.
    #[must_use]
    pub fn new(cells: &[Option<Standardised>], config: &WindowConfig) -> Self {
        let of = |value: fn(&Standardised) -> f64| cells.iter().map(|s| s.as_ref().map_or(f64::NAN, value)).collect();
        // Clipped to the wider bound so that an outlier stays finite; the window clips inputs again. NaN stays NaN.
        let clipped = |s: &Option<Standardised>| {
            s.as_ref().map_or(f32::NAN, |s| (s.z as f32).clamp(-config.target_clip, config.target_clip))
        };
        Self {
            z: cells.iter().map(clipped).collect(),
            mean: of(|s| s.mean),
            deviation: of(|s| s.deviation),
            n_missing: cells.iter().filter(|s| s.is_none()).count(),
        }
    }
}

/// What one host's next window needs of its earlier rows.
#[derive(Debug)]
pub struct Windows {
    ring: WindowRing,
    /// One per scored feature.
    statistics: Box<[Standardiser]>,
    /// Rows pushed since the host was first seen; saturates.
    n_rows: u32,
}

impl Windows {
    /// Those of a host without rows.
    #[must_use]
    pub fn new(config: &WindowConfig) -> Self {
        let n_features = config.scored.len();
        Self {
            ring: WindowRing::new(config.window_rows, n_features, config.input_clip),
            statistics: vec![Standardiser::default(); n_features].into(),
            n_rows: 0,
        }
    }

    /// Those of `config` made of others', the live model's and the shadow's with what they were made with: of each column where it
    /// comes from. A column that comes from nowhere has no rows yet. `t_ms` is the time of the newest row. The history begins
    /// anew where most columns do.
    pub(super) fn assembled(
        old: [Option<(&Self, &WindowConfig)>; 2],
        columns: &[Column],
        t_ms: TimestampMs,
        config: &WindowConfig,
    ) -> Self {
        let from = |column: &Column| column.and_then(|(model, column)| Some((old[model]?, column)));
        let rings: Vec<_> = columns.iter().map(|c| from(c).map(|((old, _), column)| (&old.ring, column))).collect();
        let statistics = columns.iter().map(|column| {
            from(column).map_or_else(Standardiser::default, |((old, old_config), column)| {
                let mut statistics = old.statistics[column].clone();
                statistics.move_range(t_ms, (&old_config.statistics, &config.statistics));
                statistics
            })
        });
        let is_known = 2 * rings.iter().flatten().count() >= columns.len();
        Self {
            ring: WindowRing::assembled(config.window_rows, config.input_clip, &rings),
            statistics: statistics.collect(),
            n_rows: if is_known { old.iter().flatten().map(|(old, _)| old.n_rows).max().unwrap_or(0) } else { 0 },
        }
    }

    /// Takes the next row, `values` of all configured features in their own units and NaN where missing; gives the window that it
    /// completes.
    ///
    /// # Errors
    /// Why it completes none.
    pub fn push(&mut self, t_ms: TimestampMs, values: &[f64], config: &WindowConfig) -> Result<Window, NotScored> {
        let row = self.standardise(t_ms, values, config);
        self.complete(row, config)
    }

    /// As [`Windows::push`], without learning the row.
    ///
    /// # Errors
    /// Why it completes no window.
    fn push_unlearnt(&mut self, values: &[f64], config: &WindowConfig) -> Result<Window, NotScored> {
        let row =
            self.standardised(values, config, |statistics, x, floor| statistics.peek(x, floor, &config.statistics));
        self.complete(row, config)
    }

    /// One or the other, as the row's treatment has it.
    ///
    /// # Errors
    /// Why it completes no window.
    pub fn push_as(
        &mut self,
        treatment: Treatment,
        t_ms: TimestampMs,
        values: &[f64],
        config: &WindowConfig,
    ) -> Result<Window, NotScored> {
        match treatment {
            Treatment::Silenced => self.push_unlearnt(values, config),
            Treatment::Full | Treatment::Backlog => self.push(t_ms, values, config),
        }
    }

    /// The first half of [`Windows::push`]: standardises the scored features of a row, then learns it.
    pub fn standardise(&mut self, t_ms: TimestampMs, values: &[f64], config: &WindowConfig) -> StandardisedRow {
        self.standardised(values, config, |statistics, x, floor| statistics.observe(x, t_ms, floor, &config.statistics))
    }

    fn standardised(
        &mut self,
        values: &[f64],
        config: &WindowConfig,
        of: impl Fn(&mut Standardiser, f64, f64) -> Option<Standardised>,
    ) -> StandardisedRow {
        let mut n_missing = 0;
        let cell = |(scored, statistics): (&ScoredFeature, &mut Standardiser)| {
            let x = values.get(usize::from(scored.feature)).copied().unwrap_or(f64::NAN);
            if x.is_nan() {
                n_missing += 1;
                return None;
            }
            of(statistics, x, scored.floor)
        };
        let cells: Vec<_> = config.scored.iter().zip(&mut self.statistics).map(cell).collect();
        StandardisedRow { n_missing, ..StandardisedRow::new(&cells, config) }
    }

    /// The second half of [`Windows::push`]: adds a standardised row, and gives the window that it completes.
    ///
    /// # Errors
    /// Why it completes none.
    pub fn complete(&mut self, row: StandardisedRow, config: &WindowConfig) -> Result<Window, NotScored> {
        self.ring.push(&row.z);
        self.n_rows = self.n_rows.saturating_add(1);
        if self.ring.len() < config.window_rows {
            return Err(NotScored::TooFewRows);
        }
        let n_missing_max = config.max_missing * config.scored.len() as f64;
        if row.n_missing as f64 > n_missing_max {
            return Err(NotScored::TooMuchMissing);
        }
        // A young host's window has rows from before its statistics were warm: that is no fault of the host.
        let n_rows_young = config.statistics.warmup_rows().saturating_add(config.window_rows as u32);
        if row.z.iter().filter(|z| z.is_nan()).count() as f64 > n_missing_max {
            return Err(NotScored::StatisticsWarmingUp);
        }
        let input = self.ring.filled(config.max_missing).ok_or_else(|| {
            let n_present_min = (1.0 - config.max_missing) * config.window_rows as f64;
            match self.n_rows {
                n_rows if n_rows < n_rows_young => NotScored::StatisticsWarmingUp,
                // The host was away for a while.
                _ if (self.n_present() as f64) < n_present_min => NotScored::TooFewRows,
                _ => NotScored::TooMuchMissing,
            }
        })?;
        Ok(Window { input, target: row.z, mean: row.mean, deviation: row.deviation })
    }

    /// Forgets the rows after a long gap; the statistics stay.
    pub fn clear(&mut self) {
        self.ring.clear();
    }

    /// Rows in the window, at most T.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Rows in the window; once there are T, those without any value don't count.
    #[must_use]
    pub fn n_present(&self) -> usize {
        if self.ring.is_full() { self.ring.n_present() } else { self.len() }
    }

    /// Whether the window has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows pushed since the host was first seen; saturates.
    #[must_use]
    pub fn n_rows(&self) -> u32 {
        self.n_rows
    }
}
