//! From the rows of one host to its windows: running statistics, standardisation, and the ring of the last T rows.
//!
//! Pure. Owns no clock and no grid: rows come in order, one per step. The service's hosts, training and evaluation all push their
//! rows through this, so that a model sees in production what it saw before.

use super::ScoredFeature;
use super::applicable::Applicable;
use super::row::{AlertEligibility, NotScored, Window};
use super::standardise::{RowConstants, Standardised, Standardiser};
use super::window::WindowRing;
use crate::series::TimestampMs;

/// Origin of a window's column: which of the old models' windows (0 the live one's, 1 the shadow's), and its column.
pub(super) type Column = Option<(usize, usize)>;

/// Settings of windows.
#[derive(Debug, Clone)]
pub struct WindowConfig {
    /// T: rows of a window.
    pub window_rows: usize,
    /// The features that the model sees, in its order.
    pub scored: Vec<ScoredFeature>,
    /// Inputs are clipped to ± this.
    pub input_clip: f32,
    /// The newest row is clipped to ± this.
    pub target_clip: f32,
    /// Constants of the running statistics.
    pub statistics: RowConstants,
    /// Share of a window, and of its newest row, that may be missing; of the features that apply to the host.
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
    /// `[F]`: whether the feature has a value, be it in its warm-up.
    pub has_value: Box<[bool]>,
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
            has_value: cells.iter().map(Option::is_some).collect(),
        }
    }
}

/// State that one host's next window needs of its earlier rows.
#[derive(Debug)]
pub struct Windows {
    ring: WindowRing,
    /// One per scored feature.
    statistics: Box<[Standardiser]>,
    /// One per scored feature: how many of the ring's newest rows came since its statistics are warm; 0 while it does not apply.
    n_counted: Box<[u16]>,
    /// Rows pushed since the host was first seen; saturates.
    n_rows: u32,
    /// Whether one of them completed a window.
    was_complete: bool,
}

impl Windows {
    /// Those of a host without rows.
    #[must_use]
    pub fn new(config: &WindowConfig) -> Self {
        let n_features = config.scored.len();
        Self {
            ring: WindowRing::new(config.window_rows, n_features, config.input_clip),
            statistics: vec![Standardiser::default(); n_features].into(),
            n_counted: vec![0; n_features].into(),
            n_rows: 0,
            was_complete: false,
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
                statistics.move_range(t_ms, &old_config.statistics, &config.statistics);
                statistics
            })
        });
        let n_counted = columns.iter().map(|c| from(c).map_or(0, |((old, _), column)| old.n_counted[column]));
        let is_known = 2 * rings.iter().flatten().count() >= columns.len();
        let known = || old.iter().flatten().filter(|_| is_known);
        Self {
            ring: WindowRing::assembled(config.window_rows, config.input_clip, &rings),
            statistics: statistics.collect(),
            n_counted: n_counted.collect(),
            n_rows: known().map(|(old, _)| old.n_rows).max().unwrap_or(0),
            was_complete: known().any(|(old, _)| old.was_complete),
        }
    }

    /// Takes the next row, `values` of all configured features in their own units and NaN where missing, which `applicable` has
    /// seen; gives the window that it completes.
    ///
    /// # Errors
    /// Why it completes none.
    pub fn push(
        &mut self,
        t_ms: TimestampMs,
        values: &[f64],
        applicable: &Applicable,
        config: &WindowConfig,
    ) -> Result<Window, NotScored> {
        let row = self.standardise(t_ms, values, config);
        self.complete(row, applicable, config)
    }

    /// As [`Windows::push`], without learning the row.
    ///
    /// # Errors
    /// Why it completes no window.
    fn push_unlearnt(
        &mut self,
        values: &[f64],
        applicable: &Applicable,
        config: &WindowConfig,
    ) -> Result<Window, NotScored> {
        let row =
            self.standardised(values, config, |statistics, x, feature| statistics.peek(x, feature, &config.statistics));
        self.complete(row, applicable, config)
    }

    /// One or the other, as the row's eligibility has it.
    ///
    /// # Errors
    /// Why it completes no window.
    pub fn push_as(
        &mut self,
        eligibility: AlertEligibility,
        t_ms: TimestampMs,
        values: &[f64],
        applicable: &Applicable,
        config: &WindowConfig,
    ) -> Result<Window, NotScored> {
        match eligibility {
            AlertEligibility::Silenced => self.push_unlearnt(values, applicable, config),
            AlertEligibility::Full | AlertEligibility::Young | AlertEligibility::Backlog => {
                self.push(t_ms, values, applicable, config)
            }
        }
    }

    /// The first half of [`Windows::push`]: standardises the scored features of a row, then learns it.
    pub fn standardise(&mut self, t_ms: TimestampMs, values: &[f64], config: &WindowConfig) -> StandardisedRow {
        self.standardised(values, config, |statistics, x, feature| {
            statistics.observe(x, t_ms, feature, &config.statistics)
        })
    }

    fn standardised(
        &mut self,
        values: &[f64],
        config: &WindowConfig,
        of: impl Fn(&mut Standardiser, f64, &ScoredFeature) -> Option<Standardised>,
    ) -> StandardisedRow {
        let mut has_value = Vec::with_capacity(config.scored.len());
        let cell = |(scored, statistics): (&ScoredFeature, &mut Standardiser)| {
            let x = values.get(usize::from(scored.feature)).copied().unwrap_or(f64::NAN);
            has_value.push(!x.is_nan());
            if x.is_nan() { None } else { of(statistics, x, scored) }
        };
        let cells: Vec<_> = config.scored.iter().zip(&mut self.statistics).map(cell).collect();
        StandardisedRow { has_value: has_value.into(), ..StandardisedRow::new(&cells, config) }
    }

    /// The second half of [`Windows::push`]: adds a standardised row, and gives the window that it completes.
    ///
    /// # Errors
    /// Why it completes none.
    pub fn complete(
        &mut self,
        row: StandardisedRow,
        applicable: &Applicable,
        config: &WindowConfig,
    ) -> Result<Window, NotScored> {
        self.ring.push(&row.z);
        self.n_rows = self.n_rows.saturating_add(1);
        self.count(&row, applicable, config);
        if self.ring.len() < config.window_rows {
            return Err(NotScored::TooFewRows);
        }
        if !config.scored.iter().any(|scored| applicable.has(scored.feature)) {
            return Err(NotScored::NoneApplicable);
        }
        // A young host's window has rows from before its statistics were warm: that is no fault of the host.
        let n_rows_young = config.statistics.warmup_rows().saturating_add(config.window_rows as u32);
        let input = if self.was_complete || self.n_rows >= n_rows_young {
            self.filled(&row, config)
        } else {
            self.first_filled(&row, applicable, config)
        }?;
        self.was_complete = true;
        Ok(Window { input, target: row.z, mean: row.mean, deviation: row.deviation })
    }

    /// Counts the newest row for the features that apply and are past their warm-up.
    fn count(&mut self, row: &StandardisedRow, applicable: &Applicable, config: &WindowConfig) {
        let n_rows = u16::try_from(self.ring.len()).unwrap_or(u16::MAX);
        for ((n_counted, scored), z) in self.n_counted.iter_mut().zip(&config.scored).zip(&row.z) {
            let counts = applicable.has(scored.feature) && (*n_counted > 0 || !z.is_nan());
            *n_counted = if counts { n_counted.saturating_add(1).min(n_rows) } else { 0 };
        }
    }

    /// The window of a host that was judged before, or could have been: a feature that came later counts from the row on at which
    /// its statistics are warm, so that it makes no difference to the others until then.
    fn filled(&self, row: &StandardisedRow, config: &WindowConfig) -> Result<Box<[f32]>, NotScored> {
        let n_rows_min = (1.0 - config.max_missing) * config.window_rows as f64;
        let n_features = self.n_counted.iter().filter(|n| **n > 0).count();
        if n_features == 0 {
            return Err(NotScored::StatisticsWarmingUp);
        }
        let lacks = |(n_counted, z): (&u16, &f32)| *n_counted > 0 && z.is_nan();
        let n_missing = self.n_counted.iter().zip(&row.z).filter(|cell| lacks(*cell)).count();
        if n_missing as f64 > config.max_missing * n_features as f64 {
            return Err(NotScored::TooMuchMissing);
        }
        if self.n_counted.iter().all(|n| f64::from(*n) < n_rows_min) {
            return Err(NotScored::StatisticsWarmingUp);
        }
        // The host was away for a while, or its features were.
        let is_away = || (self.n_present() as f64) < n_rows_min;
        let why = || if is_away() { NotScored::TooFewRows } else { NotScored::TooMuchMissing };
        self.ring.filled(config.max_missing, &self.n_counted).ok_or_else(why)
    }

    /// The first window of a host: enough of all features that apply must be past their warm-up.
    fn first_filled(
        &self,
        row: &StandardisedRow,
        applicable: &Applicable,
        config: &WindowConfig,
    ) -> Result<Box<[f32]>, NotScored> {
        let applies: Vec<bool> = config.scored.iter().map(|scored| applicable.has(scored.feature)).collect();
        let n_missing_max = config.max_missing * applies.iter().filter(|applies| **applies).count() as f64;
        let n_without = |has: &mut dyn Iterator<Item = bool>| {
            applies.iter().zip(has).filter(|(applies, has)| **applies && !has).count() as f64
        };
        if n_without(&mut row.has_value.iter().copied()) > n_missing_max {
            return Err(NotScored::TooMuchMissing);
        }
        if n_without(&mut row.z.iter().map(|z| !z.is_nan())) > n_missing_max {
            return Err(NotScored::StatisticsWarmingUp);
        }
        let n_rows = u16::try_from(config.window_rows).unwrap_or(u16::MAX);
        let n_counted: Vec<u16> = applies.iter().map(|applies| if *applies { n_rows } else { 0 }).collect();
        self.ring.filled(config.max_missing, &n_counted).ok_or(NotScored::StatisticsWarmingUp)
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
