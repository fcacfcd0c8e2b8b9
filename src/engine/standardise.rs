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
    /// How long that distance must hold until the fast track takes over.
    pub takeover_hold_s: f64,
    /// How long the range remembers extremes.
    pub range_s: f64,
    /// A value beyond the range extends it once such a value is seen again, so long after the first; at least five rows.
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
    /// How long the range remembers extremes, in rows.
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

/// A value beyond one end of the range that has not been seen again yet. Values below the range are held negated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Excursion {
    /// The farthest value, less `origin`.
    value: f32,
    /// Rows since the first value beyond the range; saturates.
    rows: u32,
}

impl Excursion {
    const NONE: Self = Self { value: f32::MIN, rows: 0 };

    /// How far the range that ends at `end` reaches after a row of `x`. A single odd value, however large, does not extend it.
    fn confirmed(&mut self, x: f32, end: f32, confirm_rows: u32, remembered_rows: u32) -> f32 {
        self.rows = self.rows.saturating_add(1);
        if self.value <= end || self.rows > remembered_rows {
            *self = Self::NONE;
        }
        if x <= end {
            return end;
        }
        if *self == Self::NONE {
            *self = Self { value: x, rows: 0 };
            return end;
        }
        if self.rows < confirm_rows {
            self.value = self.value.max(x);
            return end;
        }
        let confirmed = x.min(self.value);
        if x > self.value {
            *self = Self { value: x, rows: 0 };
        }
        confirmed
    }
}

/// The statistics of one feature of one host; 112 bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardiser {
    /// Slow mean, in the feature's unit; while nothing is learnt, the lowest value.
    mean: f64,
    /// Slow variance, in the unit squared.
    variance: f64,
    /// Mean of the last hours, in the feature's unit; while nothing is learnt, the highest value.
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
        let confirm_rows = c.confirm.max(feature.range_rows);
        if self.age < c.warmup {
            self.warm_up(x, t_ms, confirm_rows, c);
            return None;
        }
        let standardised = self.standardise(x, feature.floor, c);
        self.learn(self.within_reach(x), standardised.deviation, c);
        self.extend_range(x, t_ms, confirm_rows, c);
        self.follow(self.within_reach(x), standardised.deviation, t_ms, c);
        Some(standardised)
    }

    /// As [`Standardiser::observe`], without learning the value.
    #[must_use]
    pub fn peek(&self, x: f64, feature: &ScoredFeature, c: &RowConstants) -> Option<Standardised> {
        let is_usable = x.is_finite() && x.abs() <= MAGNITUDE_MAX && self.age >= c.warmup;
        is_usable.then(|| self.standardise(x, feature.floor, c))
    }

    /// Mean and (population) variance of the first rows, by Welford's update. No single value can spoil a warm-up that is long
    /// enough: the very first rows are not learnt, but give a value that the next ones are compared with.
    fn warm_up(&mut self, x: f64, t_ms: TimestampMs, confirm_rows: u32, c: &RowConstants) {
        let n_unlearnt = if c.warmup > 2 * confirm_rows { confirm_rows } else { 0 };
        self.age += 1;
        if self.age <= n_unlearnt {
            let (lowest, highest) = if self.age == 1 { (x, x) } else { (self.mean, self.fast_mean) };
            (self.mean, self.fast_mean) = (lowest.min(x), highest.max(x));
            return;
        }
        let n_learnt = self.age - n_unlearnt;
        if n_learnt == 1 {
            let (lowest, highest) = if n_unlearnt > 0 { (self.mean, self.fast_mean) } else { (x, x) };
            let median = x.clamp(lowest, highest);
            self.restart_range(median, t_ms, c);
            self.excursions =
                [median - lowest, highest - median].map(|beyond| Excursion { value: beyond as f32, rows: n_unlearnt });
            (self.mean, self.variance) = (0.0, 0.0);
        }
        self.extend_range(x, t_ms, confirm_rows, c);
        let learnt = if n_unlearnt > 0 { self.within_reach(x) } else { x };
        let share = 1.0 / f64::from(n_learnt);
        let distance = learnt - self.mean;
        self.mean += share * distance;
        self.variance += share * (distance * (learnt - self.mean) - self.variance);
        self.fast_mean = self.mean;
        self.fast_variance = self.variance;
    }

    fn standardise(&self, x: f64, floor: f64, c: &RowConstants) -> Standardised {
        let share = c.floor + c.floor_young * (c.young / (f64::from(self.age) + 1.0)).min(1.0);
        let least = (share * self.range()).max(floor);
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

    /// Adds `x` to the bucket of its time as far as it is confirmed; buckets that became too old are emptied for it.
    fn extend_range(&mut self, x: f64, t_ms: TimestampMs, confirm_rows: u32, c: &RowConstants) {
        let bucket = bucket(t_ms, c).max(self.newest_bucket);
        for passed in 1..=bucket.saturating_sub(self.newest_bucket).min(RANGE_BUCKETS as i32) {
            self.extremes[slot(self.newest_bucket + passed)] = EMPTY;
        }
        self.newest_bucket = bucket;
        let (lowest, highest) = self.ends();
        if lowest > highest {
            // Nothing is remembered any more.
            self.restart_range(x, t_ms, c);
            return;
        }
        let relative = (x - self.origin) as f32;
        let [below, above] = &mut self.excursions;
        let lowest = -below.confirmed(-relative, -lowest, confirm_rows, c.remembered);
        let highest = above.confirmed(relative, highest, confirm_rows, c.remembered);
        let (low, high) = &mut self.extremes[slot(bucket)];
        (*low, *high) = (low.min(relative.max(lowest)), high.max(relative.min(highest)));
    }

    /// `x`, no farther outside of the range than the range is wide.
    fn within_reach(&self, x: f64) -> f64 {
        let (lowest, highest) = self.ends();
        let range = self.range();
        x.clamp(self.origin + f64::from(lowest) - range, self.origin + f64::from(highest) + range)
    }

    /// Highest less lowest value that is remembered, in the feature's unit.
    fn range(&self) -> f64 {
        let (lowest, highest) = self.ends();
        (f64::from(highest) - f64::from(lowest)).max(0.0)
    }

    /// The lowest and the highest value that are remembered, less `origin`.
    fn ends(&self) -> (f32, f32) {
        self.extremes.iter().fold(EMPTY, |(low, high), bucket| (low.min(bucket.0), high.max(bucket.1)))
    }
}

/// The number of the bucket of a time; those beyond 32 bits, at absurd steps or times, are all the last one.
fn bucket(t_ms: TimestampMs, c: &RowConstants) -> i32 {
    t_ms.div_euclid(c.bucket_ms).clamp(i64::from(i32::MIN / 2), i64::from(i32::MAX / 2)) as i32
}

fn slot(bucket: i32) -> usize {
    bucket.rem_euclid(RANGE_BUCKETS as i32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    const DAY_ROWS: usize = 1440;
    const FEATURE: ScoredFeature = ScoredFeature { feature: 0, floor: 0.0, range_rows: 0 };

    /// Standardises a series of one row a minute.
    fn run(values: impl IntoIterator<Item = f64>) -> Vec<Option<Standardised>> {
        let c = Constants::default().in_rows(MINUTE_MS);
        let mut statistics = Standardiser::default();
        values.into_iter().zip(0..).map(|(x, row)| statistics.observe(x, row * MINUTE_MS, &FEATURE, &c)).collect()
    }

    /// Reproducible noise, uniform with mean 0 and deviation 1.
    fn noise(rows: usize) -> impl Iterator<Item = f64> {
        let mut state = 7_u64;
        (0..rows).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
        })
    }

    #[test]
    fn a_sequence_computed_by_hand() {
        let c = RowConstants {
            memory: 4,
            warmup: 2,
            winsor: 5.0,
            floor: 0.05,
            floor_young: 0.2,
            young: 1.0,
            fast: 2,
            takeover_deviations: 2.0,
            takeover_hold: 100,
            bucket_ms: 1000,
            remembered: 5000,
            confirm: 1,
        };
        let mut statistics = Standardiser::default();
        let mut check = |x: f64, floor: f64, expected: Option<(f64, f64, f64)>| {
            let got =
                statistics.observe(x, 0, &ScoredFeature { floor, ..FEATURE }, &c).map(|s| (s.z, s.mean, s.deviation));
            match (got, expected) {
                (None, None) => {}
                (Some(got), Some(want)) => {
                    let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
                    assert!(close(got.0, want.0) && close(got.1, want.1) && close(got.2, want.2), "{got:?} {want:?}");
                }
                _ => panic!("{got:?} instead of {expected:?}"),
            }
        };
        check(0.0, 0.0, None);
        check(2.0, 0.0, None);
        // mean 1, variance 1; the 2 has not been seen again, so that the range is 0
        check(4.0, 0.0, Some((3.0, 1.0, 1.0)));
        // 4 is learnt as the 0 that is within reach: mean 1 - 1/3, variance 1 + (1 - 1)/3; it confirms the 2, share .05 + .2/4:
        // sqrt(1 + .2²)
        check(2.0, 0.0, Some((1.307_441, 0.666_667, 1.019_804)));
        // mean .666667 + 1.333333/4, variance 1 + (1.333333² - 1)/4, a floor of 3 units beats the range's: sqrt(1.194444 + 9)
        check(2.0, 3.0, Some((0.313_197, 1.0, 3.192_874)));
    }

    #[test]
    fn nothing_is_standardised_in_the_first_hour() {
        let z = run(noise(100));
        assert_eq!(z.iter().position(Option::is_some), Some(60));
        assert!(z[60..].iter().all(Option::is_some));
    }

    #[test]
    fn a_level_shift_is_taken_over_in_12_to_16_hours() {
        let shift_at = 8 * DAY_ROWS;
        for deviations in [5.0, 20.0] {
            let z = run(noise(12 * DAY_ROWS)
                .enumerate()
                .map(|(row, x)| 50.0 + x + if row < shift_at { 0.0 } else { deviations }));
            let last = z.iter().rposition(|s| s.is_some_and(|s| s.z.abs() > 3.0)).unwrap();
            let hours = (last - shift_at) as f64 / 60.0;
            assert!((12.0..=16.0).contains(&hours), "{deviations}σ: {hours} h");
        }
    }

    #[test]
    fn a_daily_burst_stays_within_20_once_it_was_seen_twice() {
        let z = run((0..10 * DAY_ROWS).map(|row| if row % DAY_ROWS == DAY_ROWS - 1 { 300.0 } else { 0.0 }));
        assert!(z[DAY_ROWS - 1].unwrap().z > 1e6, "the first change of a constant feature");
        for day in 2..10 {
            assert!(z[day * DAY_ROWS + DAY_ROWS - 1].unwrap().z <= 20.0 + 1e-9);
        }
    }

    #[test]
    fn scale_and_shift_change_nothing() {
        let values: Vec<f64> =
            noise(3 * DAY_ROWS).enumerate().map(|(row, x)| if row > 3000 { x + 8.0 } else { x }).collect();
        let reference = run(values.iter().copied());
        for (scale, shift) in [(1e3, 0.0), (1e9, 0.0), (-1e-9, 0.0), (1.0, 1e6), (1e9, -1e12)] {
            for (a, b) in reference.iter().zip(run(values.iter().map(|x| scale * x + shift))) {
                let (Some(a), Some(b)) = (a, b) else { continue };
                assert!((a.z * f64::signum(scale) - b.z).abs() < 1e-5, "scale {scale}, shift {shift}: {a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_constant_feature_is_zero_at_any_level() {
        for level in [0.0, 0.3, -1e9, 1e29] {
            assert!(run(vec![level; 200]).into_iter().flatten().all(|s| s.z == 0.0 && s.deviation > 0.0));
        }
    }

    #[test]
    fn extremes_are_forgotten_after_a_month() {
        let mut values = vec![0.0; 40 * DAY_ROWS];
        values[2 * DAY_ROWS..2 * DAY_ROWS + 6].fill(1000.0);
        values.iter_mut().enumerate().for_each(|(row, x)| *x += f64::from(u8::from(row % 2 == 0)));
        let z = run(values);
        let deviation = |day: usize| z[day * DAY_ROWS].unwrap().deviation;
        assert!(deviation(25) > 50.0);
        assert!(deviation(33) < 2.0);
    }

    /// `n_rows` values of `size` from the row `at` on change no later deviation by more than `most`, nor a z.
    fn check_absurd(base: &[f64], (at, n_rows): (usize, usize), size: f64, most: f64) {
        let mut with = base.to_vec();
        with[at..at + n_rows].fill(size);
        let both = run(base.iter().copied()).into_iter().zip(run(with)).enumerate().skip(at + n_rows);
        for (row, (a, b)) in both {
            let (Some(a), Some(b)) = (a, b) else {
                assert_eq!(a, b);
                continue;
            };
            let is_alike =
                (b.deviation / a.deviation).ln().abs() <= most && (a.z - b.z).abs() <= most * a.z.abs().max(1.0);
            assert!(is_alike, "{n_rows} of {size:e} at {at}: {b:?} instead of {a:?} at {row}");
        }
    }

    #[test]
    fn one_absurd_value_of_any_size_spoils_nothing() {
        let noisy: Vec<f64> = noise(3 * DAY_ROWS).map(|x| 1e5 + 1e3 * x).collect();
        let quiet = vec![0.0; 3 * DAY_ROWS];
        for size in [1e6, 1e9, 1e12, 1e15, 1e29, -1e6, -1e15] {
            for base in [&noisy, &quiet] {
                // While little is known, one row of a few; afterwards as many as a range holds.
                [0, 1, 4, 5, 6, 30, 59].iter().for_each(|at| check_absurd(base, (*at, 1), size, 0.3));
                for n_rows in [1, 3, 5] {
                    // What five rows of 5 deviations add to the variance.
                    for (at, most) in [(60, 0.9), (500, 0.25), (DAY_ROWS, 0.1)] {
                        check_absurd(base, (at, n_rows), size, most);
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_cannot_be_squared_are_not_learnt() {
        let c = Constants { warmup_s: 0.0, ..Constants::default() }.in_rows(MINUTE_MS);
        let mut statistics = Standardiser::default();
        statistics.observe(1.0, 0, &FEATURE, &c);
        let before = statistics.clone();
        assert_eq!(statistics.observe(1e300, MINUTE_MS, &FEATURE, &c), None);
        assert_eq!(statistics, before);
    }

    #[test]
    fn any_step_gives_at_least_a_row() {
        for step_ms in [i64::MIN, 0, 1, 15_000, 86_400_000 * 365] {
            let c = Constants::default().in_rows(step_ms);
            assert!(c.memory.min(c.warmup).min(c.fast).min(c.takeover_hold) >= 1 && c.bucket_ms >= 1);
            let mut statistics = Standardiser::default();
            for (row, x) in noise(50).enumerate() {
                let z = statistics.observe(x, row as i64 * step_ms.max(0), &FEATURE, &c);
                assert!(z.is_none_or(|s| s.z.is_finite() && s.deviation > 0.0));
            }
        }
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Standardiser>() <= 112);
    }
}
