//! Running statistics of one feature of one host: what makes values of any unit comparable.
//!
//! Pure. Owns no clock and no grid: rows come in order with their time, a missing row does not come at all.
//! A slow track (days) standardises; a fast one (hours) replaces it after a level shift that lasts.

use serde::{Deserialize, Serialize};

use super::ScoredFeature;
use crate::series::TimestampMs;

/// The range is remembered in this many buckets of time. A ring of daily extremes would need five times the memory; this one
/// holds the same range until day 24 and forgets an extreme between day 24 and day 30 instead of on day 30 exactly.
const RANGE_BUCKETS: usize = 5;
/// The share of the slow variance that survives a takeover, so that a very quiet new level does not alarm at once.
const VARIANCE_KEPT: f64 = 0.1;
/// A value is never resolved finer than this share of itself: 4,500 roundings of an f64. It keeps the noise of arithmetic in a
/// constant feature from counting as deviation, in any unit.
const RESOLUTION: f64 = 1e-12;
/// Larger values count as missing: their squares and the f32 extremes must stay finite.
const MAGNITUDE_MAX: f64 = 1e30;
/// Extremes of a bucket without rows. Finite, so that every serialisation can hold it.
const EMPTY: (f32, f32) = (f32::MAX, f32::MIN);
/// An extreme is confirmed after this many rows at least, so that one wrong sample within a range of four scrapes is not, where
/// each scrape has a row.
const CONFIRM_ROWS_MIN: u32 = 5;
/// An excursion is confirmed by one that goes at least a fourth as far.
const ALIKE: f32 = 4.0;

/// Constants of the statistics. Times in seconds of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Constants {
    /// Memory of mean and variance.
    pub memory_s: f64,
    /// The first rows, from which mean and variance start; nothing is standardised meanwhile.
    pub warmup_s: f64,
    /// Updates are winsorised at ± this many deviations.
    pub winsor: f64,
    /// Floor of the deviation, as a share of the feature's range.
    pub floor: f64,
    /// Added to `floor` while the feature is young.
    pub floor_young: f64,
    /// The age at which `floor_young` begins to fade, as `young_s / age`.
    pub young_s: f64,
    /// Memory of the fast track.
    pub fast_s: f64,
    /// Distance of the fast from the slow mean, in deviations, that counts towards a takeover.
    pub takeover_deviations: f64,
    /// Time for which that distance must hold until the fast track takes over.
    pub takeover_hold_s: f64,
    /// Time that the range remembers extremes.
    pub range_s: f64,
    /// A value farther beyond the range than the range is wide extends it once such a value is seen again, so long after the first;
    /// at least five rows.
    pub confirm_s: f64,
}

impl Default for Constants {
    fn default() -> Self {
        const HOUR_S: f64 = 3600.0;
        Self {
            memory_s: 240.0 * HOUR_S,
            warmup_s: HOUR_S,
            winsor: 5.0,
            floor: 0.05,
            floor_young: 0.20,
            young_s: 12.0 * HOUR_S,
            fast_s: 2.0 * HOUR_S,
            takeover_deviations: 2.0,
            takeover_hold_s: 12.0 * HOUR_S,
            range_s: 720.0 * HOUR_S,
            confirm_s: 300.0,
        }
    }
}

impl Constants {
    /// The same constants for rows `step_ms` apart. No span is shorter than one row; a step under 1 ms counts as 1 ms.
    #[must_use]
    pub fn in_rows(&self, step_ms: i64) -> RowConstants {
        let step_s = step_ms.max(1) as f64 / 1000.0;
        // `as` saturates, and `max` turns NaN into 1.
        let rows = |span_s: f64| (span_s / step_s).round().max(1.0) as u32;
        RowConstants {
            memory: rows(self.memory_s),
            warmup: rows(self.warmup_s),
            winsor: self.winsor,
            floor: self.floor,
            floor_young: self.floor_young,
            young: f64::from(rows(self.young_s)),
            fast: rows(self.fast_s),
            takeover_deviations: self.takeover_deviations,
            takeover_hold: rows(self.takeover_hold_s),
            bucket_ms: ((self.range_s * 1000.0 / RANGE_BUCKETS as f64).round() as i64).max(step_ms).max(1),
            remembered: rows(self.range_s),
            confirm: rows(self.confirm_s).max(CONFIRM_ROWS_MIN),
        }
    }
}

/// [`Constants`] in rows of one step, ready for [`Standardiser::observe`].
#[derive(Debug, Clone, PartialEq)]
pub struct RowConstants {
    /// Memory of mean and variance, in rows.
    memory: u32,
    /// Rows before anything is standardised.
    warmup: u32,
    /// In deviations.
    winsor: f64,
    /// Share of the range.
    floor: f64,
    /// Share of the range.
    floor_young: f64,
    /// In rows.
    young: f64,
    /// Memory of the fast track, in rows.
    fast: u32,
    /// In deviations.
    takeover_deviations: f64,
    /// In rows.
    takeover_hold: u32,
    /// Width of a bucket of the range, in milliseconds of event time.
    bucket_ms: i64,
    /// Time that the range remembers extremes, in rows.
    remembered: u32,
    /// In rows.
    confirm: u32,
}

impl RowConstants {
    /// The same spans of event time for rows `new_ms` apart instead of `old_ms`. No span is shorter than one row.
    #[must_use]
    pub fn at_step(&self, old_ms: i64, new_ms: i64) -> Self {
        if old_ms == new_ms {
            return self.clone();
        }
        let ratio = old_ms.max(1) as f64 / new_ms.max(1) as f64;
        let rows = |rows: u32| (f64::from(rows) * ratio).round().max(1.0) as u32;
        Self {
            memory: rows(self.memory),
            warmup: rows(self.warmup),
            young: (self.young * ratio).round().max(1.0),
            fast: rows(self.fast),
            takeover_hold: rows(self.takeover_hold),
            bucket_ms: self.bucket_ms.max(new_ms),
            remembered: rows(self.remembered),
            confirm: rows(self.confirm).max(CONFIRM_ROWS_MIN),
            ..*self
        }
    }

    /// Rows after which a value far beyond the feature's range is confirmed: more than one sample can show in, as far as the
    /// warm-up is long enough for that.
    fn confirm_rows(&self, feature: &ScoredFeature) -> u32 {
        self.confirm.max(feature.range_rows.min(self.warmup / 2))
    }

    /// Rows before anything is standardised.
    #[must_use]
    pub fn warmup_rows(&self) -> u32 {
        self.warmup
    }
}

/// One value, standardised with what was known before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standardised {
    /// `(x - mean) / deviation`, not clipped.
    pub z: f64,
    /// In the feature's unit.
    pub mean: f64,
    /// In the feature's unit; over 0.
    pub deviation: f64,
}

/// A value far beyond one end of the range that has not been seen again yet. Values below the range are held negated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Excursion {
    /// The farthest value, less `origin`.
    value: f32,
    /// Rows since the first value beyond the range; saturates.
    rows: u32,
}

impl Excursion {
    const NONE: Self = Self { value: f32::MIN, rows: 0 };

    /// Returns where the range that ends at `end` ends with a row of `x`: such a value was seen before, long enough ago.
    fn confirm(&mut self, x: f32, end: f32, confirm_rows: u32, remembered_rows: u32) -> f32 {
        self.rows = self.rows.saturating_add(1);
        if self.value <= end || self.rows > remembered_rows {
            *self = Self::NONE;
        }
        // Alike: a lesser value says nothing of one that was absurd.
        let is_alike = self.value - end <= ALIKE * (x - end);
        let is_confirmed = x > end && *self != Self::NONE && self.rows >= confirm_rows && is_alike;
        if is_confirmed { x.min(self.value) } else { end }
    }

    /// Remembers `x`, which is beyond the range that ends at `end`. Values within `confirm_rows` are one excursion.
    fn note(&mut self, x: f32, end: f32, confirm_rows: u32) {
        if self.value <= end || self.rows >= confirm_rows {
            *self = Self { value: x, rows: 0 };
        } else {
            self.value = self.value.max(x);
        }
    }

    /// Returns where the range ends for now: an excursion counts like the range while it may last, so that its next rows are no
    /// news.
    fn end_for_now(&self, end: f32, confirm_rows: u32) -> f32 {
        if *self != Self::NONE && self.rows < confirm_rows { end.max(self.value) } else { end }
    }
}

/// The statistics of one feature of one host; 112 bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardiser {
    /// Slow mean, in the feature's unit.
    mean: f64,
    /// Slow variance, in the unit squared.
    variance: f64,
    /// Mean of the last hours, in the feature's unit.
    fast_mean: f64,
    /// Variance of the last hours, in the unit squared.
    fast_variance: f64,
    /// The extremes are held relative to this value, so that an f32 resolves them at any level.
    origin: f64,
    /// Lowest and highest value less `origin`, per bucket of time; [`EMPTY`] where no row was.
    extremes: [(f32, f32); RANGE_BUCKETS],
    /// Below and above the range, what would extend it.
    excursions: [Excursion; 2],
    /// Number of the newest bucket, `t_ms / bucket_ms`.
    newest_bucket: i32,
    /// Rows seen since the start, or since the last takeover and the rows of the fast track.
    age: u32,
    /// Rows that the fast mean has been far from the slow one; a row near takes two off.
    far: u32,
}

impl Default for Standardiser {
    fn default() -> Self {
        Self {
            mean: 0.0,
            variance: 0.0,
            fast_mean: 0.0,
            fast_variance: 0.0,
            origin: 0.0,
            extremes: [EMPTY; RANGE_BUCKETS],
            excursions: [Excursion::NONE; 2],
            newest_bucket: 0,
            age: 0,
            far: 0,
        }
    }
}

impl Standardiser {
    /// Standardises the row's value `x` with the statistics of the rows before it, then learns it. `None` during the warm-up.
    ///
    /// `t_ms` is the row's time and never goes back. A value that is not finite or beyond ±1e30 counts as missing: `None`, nothing
    /// learnt.
    ///
    /// ```text
    /// share     = floor + floor_young · min(1, young / (age + 1))
    /// deviation = sqrt(variance + max(share · range, the feature's floor)²)
    /// ```
    pub fn observe(
        &mut self,
        x: f64,
        t_ms: TimestampMs,
        feature: &ScoredFeature,
        c: &RowConstants,
    ) -> Option<Standardised> {
        debug_assert!(x.is_finite(), "missing values must not reach the statistics");
        if !x.is_finite() || x.abs() > MAGNITUDE_MAX {
            return None;
        }
        let confirm_rows = c.confirm_rows(feature);
        if self.age < c.warmup {
            self.warm_up(x, t_ms, confirm_rows, c);
            return None;
        }
        self.confirm_range(x, t_ms, confirm_rows, c);
        let standardised = self.standardise(x, feature.floor, confirm_rows, c);
        let learnt = self.plausible(x, confirm_rows);
        self.learn(learnt, standardised.deviation, c);
        self.extend_range(x, confirm_rows);
        self.follow(self.plausible(x, confirm_rows), standardised.deviation, t_ms, c);
        Some(standardised)
    }

    /// As [`Standardiser::observe`], without learning the value.
    #[must_use]
    pub fn peek(&self, x: f64, feature: &ScoredFeature, c: &RowConstants) -> Option<Standardised> {
        let is_usable = x.is_finite() && x.abs() <= MAGNITUDE_MAX && self.age >= c.warmup;
        is_usable.then(|| self.standardise(x, feature.floor, c.confirm_rows(feature), c))
    }

    /// Mean and (population) variance of the first rows, by Welford's update. All of the very first are learnt as they are: there is
    /// nothing yet to compare them with.
    fn warm_up(&mut self, x: f64, t_ms: TimestampMs, confirm_rows: u32, c: &RowConstants) {
        if self.age == 0 {
            self.restart_range(x, t_ms, c);
        }
        self.age += 1;
        self.confirm_range(x, t_ms, confirm_rows, c);
        self.extend_range(x, confirm_rows);
        let learnt = self.plausible(x, confirm_rows);
        let share = 1.0 / f64::from(self.age);
        let distance = learnt - self.mean;
        self.mean += share * distance;
        self.variance += share * (distance * (learnt - self.mean) - self.variance);
        self.fast_mean = self.mean;
        self.fast_variance = self.variance;
    }

    fn standardise(&self, x: f64, floor: f64, confirm_rows: u32, c: &RowConstants) -> Standardised {
        let share = c.floor + c.floor_young * (c.young / (f64::from(self.age) + 1.0)).min(1.0);
        let (lowest, highest) = self.ends();
        let [below, above] = &self.excursions;
        let range = width(-below.end_for_now(-lowest, confirm_rows), above.end_for_now(highest, confirm_rows));
        let least = (share * range).max(floor);
        // Both zero only for a feature that was 0 for ever and still is: then z is 0 / MIN_POSITIVE = 0.
        let resolution = RESOLUTION * (x.abs() + self.mean.abs()) + f64::MIN_POSITIVE;
        let deviation = (self.variance + least * least).sqrt().max(resolution);
        Standardised { z: (x - self.mean) / deviation, mean: self.mean, deviation }
    }

    /// The slow track. Winsorised: one row moves it by at most `winsor` deviations' worth.
    fn learn(&mut self, x: f64, deviation: f64, c: &RowConstants) {
        self.age = self.age.saturating_add(1);
        let share = 1.0 / f64::from(self.age.min(c.memory));
        let bound = c.winsor * deviation;
        let distance = (x - self.mean).clamp(-bound, bound);
        self.mean += share * distance;
        self.variance += share * (distance * distance - self.variance);
    }

    /// The fast track, and its takeover after it has been far from the slow one for long.
    fn follow(&mut self, x: f64, deviation: f64, t_ms: TimestampMs, c: &RowConstants) {
        let share = 1.0 / f64::from(self.age.saturating_add(1).min(c.fast));
        let distance = x - self.fast_mean;
        self.fast_mean += share * distance;
        self.fast_variance += share * (distance * distance * (1.0 - share) - self.fast_variance);
        let is_far = (self.fast_mean - self.mean).abs() > c.takeover_deviations * deviation;
        self.far = if is_far { self.far + 1 } else { self.far.saturating_sub(2) };
        if self.far >= c.takeover_hold {
            self.mean = self.fast_mean;
            self.variance = self.fast_variance.max(VARIANCE_KEPT * self.variance);
            self.age = self.age.min(c.fast);
            self.far = 0;
            self.restart_range(self.fast_mean, t_ms, c);
        }
    }

    /// Goes on with other constants: remembers extremes by another width of bucket as if all were of `t_ms`.
    pub(super) fn move_range(&mut self, t_ms: TimestampMs, old: &RowConstants, c: &RowConstants) {
        if self.age == 0 || old.bucket_ms == c.bucket_ms {
            return;
        }
        let all = self.ends();
        self.newest_bucket = bucket(t_ms, c);
        self.extremes = [EMPTY; RANGE_BUCKETS];
        self.extremes[slot(self.newest_bucket)] = all;
    }

    /// Forgets all extremes but `x`.
    fn restart_range(&mut self, x: f64, t_ms: TimestampMs, c: &RowConstants) {
        self.origin = x;
        self.newest_bucket = bucket(t_ms, c);
        self.extremes = [EMPTY; RANGE_BUCKETS];
        self.extremes[slot(self.newest_bucket)] = (0.0, 0.0);
        self.excursions = [Excursion::NONE; 2];
    }

    /// Extends the range by what `x` confirms. Buckets that became too old are emptied first.
    fn confirm_range(&mut self, x: f64, t_ms: TimestampMs, confirm_rows: u32, c: &RowConstants) {
        let bucket = bucket(t_ms, c).max(self.newest_bucket);
        for passed in 1..=bucket.saturating_sub(self.newest_bucket).min(RANGE_BUCKETS as i32) {
            self.extremes[slot(self.newest_bucket + passed)] = EMPTY;
        }
        self.newest_bucket = bucket;
        let (lowest, highest) = self.ends();
        if lowest > highest {
            // Nothing is remembered any more; this row may be absurd.
            self.restart_range(self.mean, t_ms, c);
        }
        let (lowest, highest) = self.ends();
        let relative = (x - self.origin) as f32;
        let [below, above] = &mut self.excursions;
        let lowest = -below.confirm(-relative, -lowest, confirm_rows, c.remembered);
        let highest = above.confirm(relative, highest, confirm_rows, c.remembered);
        let (low, high) = &mut self.extremes[slot(bucket)];
        (*low, *high) = (low.min(relative.max(lowest)), high.max(relative.min(highest)));
    }

    /// Extends the range by `x`, or remembers it where it is too far beyond to be taken at its word.
    fn extend_range(&mut self, x: f64, confirm_rows: u32) {
        let (lowest, highest) = self.ends();
        let (relative, reach) = ((x - self.origin) as f32, highest - lowest);
        if relative > highest + reach {
            self.excursions[1].note(relative, highest, confirm_rows);
        } else if relative < lowest - reach {
            self.excursions[0].note(-relative, -lowest, confirm_rows);
        } else {
            let (low, high) = &mut self.extremes[slot(self.newest_bucket)];
            (*low, *high) = (low.min(relative), high.max(relative));
        }
    }

    /// `x`, no farther outside of the range than the range is wide; as it is in the first rows, where little is known of the range.
    fn plausible(&self, x: f64, confirm_rows: u32) -> f64 {
        let (lowest, highest) = self.ends();
        let (relative, reach) = ((x - self.origin) as f32, highest - lowest);
        let nearest = relative.clamp(lowest - reach, highest + reach);
        // The value itself where it is within reach: an f32 may not resolve it.
        if nearest == relative || self.age <= confirm_rows.saturating_mul(2) {
            x
        } else {
            self.origin + f64::from(nearest)
        }
    }

    /// The lowest and the highest value that are remembered, less `origin`.
    fn ends(&self) -> (f32, f32) {
        self.extremes.iter().fold(EMPTY, |(low, high), bucket| (low.min(bucket.0), high.max(bucket.1)))
    }
}

fn width(lowest: f32, highest: f32) -> f64 {
    (f64::from(highest) - f64::from(lowest)).max(0.0)
}

/// The number of the bucket of a time; those beyond 32 bits, at absurd steps or times, are all the last one.
fn bucket(t_ms: TimestampMs, c: &RowConstants) -> i32 {
    t_ms.div_euclid(c.bucket_ms).clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32
}

fn slot(bucket: i32) -> usize {
    bucket.rem_euclid(RANGE_BUCKETS as i32) as usize
}

#[cfg(test)]
mod tests;
