//! Scrape interval of a host, seen from the times of its samples.
//!
//! Pure. The first scrapes tell it; later ones are watched, in case it changes. Scrapes jitter, and some are missed.

use super::frames::{Frame, REPEAT_MS};
use crate::series::TimestampMs;

/// Distances about as long as the shortest that are enough where all are, and their mean is an interval that people write.
const CLEAR: usize = 2;
/// Distances that are enough whatever they are: their mean is then off by an eighth at most if scrapes jitter by half an interval.
const ENOUGH: usize = 8;
/// Distances about as long as the shortest that are enough whatever they are, where the others are multiples of it, as after missed
/// scrapes: two are alike by chance too often where scrapes jitter.
const LIKE: usize = 3;
/// Distances in a row that are the same and tell another interval than the one known. Where scrapes jitter by nearly half an interval,
/// three that are alike come by chance every few hundred.
const LIKE_CHANGED: usize = 4;
/// Share by which distances may differ and still be about the same one.
const SAME: f64 = 0.1;
/// The same where scrapes hardly jitter.
const SAME_CLEAR: f64 = 0.02;
/// Longer intervals count as this: rows must stay short enough for a day to have some.
const INTERVAL_MS_MAX: i64 = 3_600_000;
/// Intervals that people write, in seconds.
const USUAL_S: [i64; 33] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 45, 50, 60, 75, 90, 100, 120, 150, 180, 200, 240, 300, 400, 450,
    600, 900, 1_200, 1_800, 3_600,
];
/// An interval is taken for the nearest usual one where it is so near to it: a clear one has hardly any error of its own.
const NEAR_CLEAR: f64 = 0.02;
/// The same where scrapes jitter.
const NEAR_JITTER: f64 = 0.1;
/// Where scrapes jitter by nearly half an interval, two that follow each other are up to this many intervals apart. To take a distance
/// for two does more harm than the other way round: an interval told too short makes `[$range]` too short.
const MISSED: f64 = 1.9;
/// Scrapes of which all distances are within this share of multiples of the median jitter too little for that.
const STEADY: f64 = 0.25;
/// Factor by which an interval must have become longer or shorter to be another one. `[$range]` holds four: it works until then.
const CHANGED: f64 = 1.4;
/// Ratios of two intervals that are twice one another.
const TWICE: (f64, f64) = (1.9, 2.1);
/// Frames that are waited for until the interval is known where no series comes seldom.
const FRAMES_MAX: usize = 12;
/// Frames that are waited for until series that come seldom have told theirs; one bit of a [`u64`] each.
const FRAMES_SLOW_MAX: usize = 64;
/// A group of series smaller than this share of a host's says nothing of the host.
pub(super) const GROUP_MIN: f64 = 0.05;

/// The interval of scrapes with these distances; `None` where they don't tell yet.
pub(super) fn of_distances(distances: &[i64]) -> Option<i64> {
    let shortest = distances.iter().copied().min().filter(|shortest| *shortest > 0)?;
    if distances.len() < CLEAR {
        return None;
    }
    let total = distances.iter().sum::<i64>() as f64;
    let times = |interval: f64, distance: i64| (distance as f64 / interval).round().max(1.0);
    let is_multiple = |distance: &i64| {
        let n = times(shortest as f64, *distance);
        (*distance as f64 - n * shortest as f64).abs() <= SAME * shortest as f64
    };
    let n_like = distances.iter().filter(|distance| times(shortest as f64, **distance) < 2.0).count();
    let is_usual = || n_like == distances.len() && nearest_usual(total / n_like as f64, NEAR_CLEAR).is_some();
    let is_clear = n_like >= LIKE || distances.len() >= ENOUGH || is_usual();
    if is_clear && distances.iter().all(is_multiple) {
        let n = |distance: &i64| times(shortest as f64, *distance);
        let ones: Vec<i64> = distances.iter().map(|distance| (*distance as f64 / n(distance)).round() as i64).collect();
        let near = if is_like(&ones, SAME_CLEAR) { NEAR_CLEAR } else { NEAR_JITTER };
        return Some(usual(total / distances.iter().map(n).sum::<f64>(), near));
    }
    if distances.len() < ENOUGH {
        return None;
    }
    let middle = median(distances);
    let is_steady = |distance: &i64| (*distance as f64 - times(middle, *distance) * middle).abs() <= STEADY * middle;
    let (unit, least) = if distances.iter().all(is_steady) { (middle, 1.5) } else { (mean(distances), MISSED) };
    let n = |distance: &i64| if (*distance as f64) < least * unit { 1.0 } else { times(unit, *distance).max(2.0) };
    Some(usual(total / distances.iter().map(n).sum::<f64>(), NEAR_JITTER))
}

/// The usual interval that `ms` is within `near` of; else whole seconds, or milliseconds below one.
fn usual(ms: f64, near: f64) -> i64 {
    let own = if ms < 1_000.0 { ms.round() as i64 } else { (ms / 1_000.0).round() as i64 * 1_000 };
    nearest_usual(ms, near).unwrap_or(own).clamp(1, INTERVAL_MS_MAX)
}

/// The usual interval that `ms` is within `near` of.
fn nearest_usual(ms: f64, near: f64) -> Option<i64> {
    let distance = |s: &i64| (1_000.0 * *s as f64 / ms - 1.0).abs();
    let nearest = USUAL_S.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.filter(|s| distance(s) <= near).map(|s| s * 1_000)
}

fn median(distances: &[i64]) -> f64 {
    let mut sorted = distances.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] as f64 } else { (sorted[middle - 1] + sorted[middle]) as f64 / 2.0 }
}

/// Interval that the first frames of a host tell, if they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// More are needed.
    Nothing,
    /// The interval, and the slot of a series that has it; `None` where they are as many as are waited for and still tell none.
    Interval(Option<(i64, u32)>),
}

/// Returns what the first `frames` tell of a host with `n_slots` series. Series that come together are a group, as those of one
/// exporter; the interval is the longest of any group that counts. `is_same` says of two intervals whether the same follows from
/// both: then any between them will do. Nothing more is waited for where `is_last`: then one distance must do.
pub(super) fn of_frames<'a>(
    frames: impl Iterator<Item = &'a Frame>,
    n_slots: usize,
    is_last: bool,
    is_same: impl Fn(i64, i64) -> bool,
) -> Told {
    let frames: Vec<&Frame> = frames.take(FRAMES_SLOW_MAX).collect();
    let is_last = is_last || frames.len() >= FRAMES_SLOW_MAX;
    if frames.len() <= CLEAR && !is_last {
        return Told::Nothing;
    }
    // By series, one bit per frame that has it.
    let mut groups: Vec<(u64, u32, usize)> = Vec::new();
    for slot in 0..n_slots as u32 {
        let bit = |(i, frame): (usize, &&Frame)| u64::from(frame.has(slot)) << i;
        let present = frames.iter().enumerate().map(bit).fold(0, |a, b| a | b);
        match groups.iter_mut().find(|(group, ..)| *group == present) {
            Some((.., n)) => *n += 1,
            None if present != 0 => groups.push((present, slot, 1)),
            None => {}
        }
    }
    let mut longest: Option<(i64, u32)> = None;
    for (present, slot, _) in groups.into_iter().filter(|(.., n)| *n as f64 >= GROUP_MIN * n_slots as f64) {
        let mut times: Vec<TimestampMs> =
            frames.iter().enumerate().filter(|(i, _)| present >> i & 1 == 1).map(|(_, frame)| frame.t_ms()).collect();
        times.dedup_by(|later, earlier| *later - *earlier < REPEAT_MS);
        let distances: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let told = of_distances(&distances).or_else(|| of_any(&distances, &is_same));
        let told =
            told.or_else(|| is_like(&distances, SAME).then(|| usual(mean(&distances), NEAR_CLEAR)).filter(|_| is_last));
        let is_enough = is_last || frames.len() >= FRAMES_MAX && distances.len() >= CLEAR;
        match told {
            Some(interval_ms) if longest.is_none_or(|(other, _)| interval_ms > other) => {
                longest = Some((interval_ms, slot));
            }
            None if !is_enough => return Told::Nothing,
            Some(_) | None => {}
        }
    }
    Told::Interval(longest)
}

/// The mean of `distances` where the same follows from all of them.
fn of_any(distances: &[i64], is_same: impl Fn(i64, i64) -> bool) -> Option<i64> {
    let (shortest, longest) = (*distances.iter().min()?, *distances.iter().max()?);
    let is_told = distances.len() >= CLEAR && shortest > 0 && is_same(shortest, longest);
    is_told.then(|| usual(mean(distances), NEAR_JITTER))
}

/// Whether there are distances, and the longest is at most `share` longer than the shortest.
fn is_like(distances: &[i64], share: f64) -> bool {
    let ends = distances.iter().min().zip(distances.iter().max());
    ends.is_some_and(|(shortest, longest)| (longest - shortest) as f64 <= share * *shortest as f64)
}

fn mean(distances: &[i64]) -> f64 {
    distances.iter().sum::<i64>() as f64 / distances.len() as f64
}

/// Whether `new` is so far from the interval known that it is another one.
fn is_another(new: i64, known: Option<i64>) -> bool {
    known.is_none_or(|known| {
        let ratio = new as f64 / known as f64;
        ratio >= CHANGED || ratio <= 1.0 / CHANGED
    })
}

/// The interval that the `newest` distances tell by themselves where that is another one than the one known.
fn of_newest(newest: &[i64], known: Option<i64>) -> Option<i64> {
    // With each frame: what costs more comes only where the mean has changed.
    if !is_like(newest, SAME) || !is_another(mean(newest) as i64, known) {
        return None;
    }
    let new = of_distances(newest).filter(|new| is_another(*new, known))?;
    let ratio = known.map_or(1.0, |known| new as f64 / known as f64);
    // Jitter alone never makes distances so long, and hardly ever so short.
    let is_far = ratio > TWICE.1 || ratio < 0.5;
    // Every second scrape was missed, perhaps.
    let is_twice = (TWICE.0..=TWICE.1).contains(&ratio);
    (!is_twice && is_like(newest, if is_far { SAME } else { SAME_CLEAR })).then_some(new)
}

/// Watches one series of a host for another interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// The series; `None` where it is gone, until another one is found.
    pub(super) slot: Option<u32>,
    /// The series' newest sample.
    last_ms: Option<TimestampMs>,
    /// Distances of its samples, in milliseconds; the first `n` count.
    distances: [u32; ENOUGH],
    n: u8,
}

impl Watch {
    /// Watches the series in `slot`.
    pub(super) fn new(slot: Option<u32>) -> Self {
        Self { slot, last_ms: None, distances: [0; ENOUGH], n: 0 }
    }

    /// The series has a sample; gives the new interval where the one known, `interval_ms`, is no longer true.
    pub(super) fn see(&mut self, t_ms: TimestampMs, interval_ms: Option<i64>) -> Option<i64> {
        let last_ms = self.last_ms.replace(t_ms)?;
        let distance = t_ms.saturating_sub(last_ms).clamp(0, i64::from(u32::MAX));
        self.distances[usize::from(self.n)] = distance as u32;
        self.n += 1;
        let distances = self.distances.map(i64::from);
        let distances = &distances[..usize::from(self.n)];
        let newest = distances.len().checked_sub(LIKE_CHANGED).map_or(&[][..], |from| &distances[from..]);
        if let Some(interval_ms) = of_newest(newest, interval_ms) {
            self.n = 0;
            return Some(interval_ms);
        }
        if distances.len() < ENOUGH {
            return None;
        }
        self.n = 0;
        let Some(known) = interval_ms else { return of_distances(distances) };
        // One long gap moves the mean alone, jitter some distances alone. Three in four must agree: of eight, four missed scrapes come by
        // chance within some hundred where one in ten fails.
        let mut sorted = distances.to_vec();
        sorted.sort_unstable();
        let ratio = |ms: f64| ms / known as f64;
        let is_longer = [mean(distances), sorted[ENOUGH / 4] as f64].into_iter().map(ratio).all(|r| r >= CHANGED);
        let is_shorter = [mean(distances), sorted[ENOUGH - 1 - ENOUGH / 4] as f64]
            .into_iter()
            .map(ratio)
            .all(|r| r <= 1.0 / CHANGED);
        if is_longer || is_shorter { of_distances(distances).filter(|new| *new != known) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_told_from_the_first_distances() {
        let check = |seconds: &[f64], expected: Option<i64>| {
            let distances: Vec<i64> = seconds.iter().map(|s| (s * 1_000.0) as i64).collect();
            assert_eq!(of_distances(&distances), expected.map(|s| s * 1_000), "{seconds:?}");
        };
        check(&[], None);
        check(&[60.0], None);
        check(&[60.0, 60.0], Some(60));
        check(&[60.003, 59.998], Some(60));
        check(&[15.0, 15.0], Some(15));
        check(&[70.0, 70.0], None);
        check(&[70.0, 70.0, 70.0], Some(70));
        check(&[60.05, 60.05], Some(60));
        check(&[62.0, 58.0], Some(60));
        // Missed scrapes.
        check(&[120.0, 60.0], None);
        check(&[120.0, 60.0, 60.0, 60.0], Some(60));
        check(&[60.0, 240.1, 60.0, 60.0], Some(60));
        check(&[60.0, 120.0, 120.0, 60.0, 180.0, 120.0, 120.0, 120.0], Some(60));
        check(&[120.0, 120.0], Some(120));
        // Scrapes that jitter a little.
        check(&[85.0, 84.5, 85.5], Some(85));
        check(&[85.0, 170.2, 85.0, 85.1], Some(85));
        check(&[85.0, 84.0, 87.0], Some(90));
        check(&[108.0, 111.0, 115.0], Some(120));
        // Scrapes that jitter by nearly half an interval.
        check(&[85.0, 40.0], None);
        check(&[46.0, 134.0], None);
        check(&[110.0, 112.0], None);
        check(&[85.0, 40.0, 66.0, 50.0, 71.0, 47.0, 83.0, 38.0], Some(60));
        check(&[50.7, 87.0, 28.8, 85.0, 50.8, 43.4, 84.3, 34.6], Some(60));
        check(&[15.8, 53.7, 112.7, 16.0, 56.6, 88.7, 43.5, 89.4], Some(60));
        check(&[55.0, 65.0, 125.0, 58.0, 62.0, 118.0, 70.0, 54.0], Some(60));
        // A missed one among these counts as jitter.
        check(&[85.0, 40.0, 126.0, 50.0, 71.0, 47.0, 83.0, 38.0], Some(68));
        check(&[10_000.0, 10_000.0, 10_000.0], Some(3_600));
        check(&[0.0, 0.0], None);
    }

    fn check_watch(known: i64, distances: &[i64], expected: Option<i64>) {
        let mut watch = Watch::new(Some(0));
        let mut t_ms = 0;
        let mut told = watch.see(t_ms, Some(known * 1_000));
        for distance in distances {
            t_ms += distance * 1_000;
            told = told.or(watch.see(t_ms, Some(known * 1_000)));
        }
        assert_eq!(told, expected.map(|s| s * 1_000), "{known} {distances:?}");
    }

    #[test]
    fn another_interval_is_seen_and_gaps_and_jitter_are_none() {
        check_watch(60, &[60; 30], None);
        check_watch(60, &[15; 8], Some(15));
        check_watch(15, &[60; 8], Some(60));
        check_watch(15, &[15, 15, 15, 15, 15, 15, 15, 10_000], None);
        check_watch(60, &[85, 40, 66, 50, 71, 47, 83, 38], None);
        check_watch(60, &[35, 41, 33, 39, 34, 85, 76, 92], None);
        check_watch(60, &[120, 60, 60, 60, 60, 60, 60, 120], None);
        // Every second scrape is missed: `[$range]` must hold enough of those that there are.
        check_watch(60, &[120; 8], Some(120));
        check_watch(60, &[120, 60, 120, 60, 60, 120, 60, 120], None);
        check_watch(60, &[60, 120, 120, 120, 119, 180, 60, 121], None);
        // Four are enough where they are the same.
        check_watch(60, &[60, 60, 300, 300, 300, 300], Some(300));
        check_watch(60, &[60, 60, 300, 300, 300], None);
        check_watch(60, &[60, 60, 300, 310, 295, 305], Some(300));
        check_watch(60, &[60, 120, 120, 120, 120, 60], None);
        check_watch(60, &[60, 85, 86, 88, 89, 41, 33, 35, 34, 60], None);
        check_watch(60, &[120, 120, 60, 120, 120], None);
    }

    #[test]
    fn jitter_of_nearly_half_an_interval_tells_no_other_one() {
        let mut state = 7_u64;
        let mut jitter_ms = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as f64 / (1_u64 << 31) as f64 * 54_000.0) as i64 - 27_000
        };
        let mut n_wrong = 0;
        for _ in 0..200 {
            let times: Vec<TimestampMs> = (0..1_500).map(|k| 60_000 * k + jitter_ms()).collect();
            let distances: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let told = (CLEAR..=ENOUGH).find_map(|n| of_distances(&distances[..n])).unwrap();
            // `[$range]` holds four of these: two scrapes in any case.
            n_wrong += usize::from(!(48_000..=84_000).contains(&told));
            let mut watch = Watch::new(Some(0));
            let is_changed = times.iter().any(|t_ms| watch.see(*t_ms, Some(told)).is_some());
            n_wrong += usize::from(is_changed);
        }
        assert!(n_wrong <= 4, "{n_wrong} of 200 hosts");
    }
}
