//! How often a host is scraped, seen from the times of its samples.
//!
//! Pure. The first scrapes tell it; later ones are watched, in case it changes. Scrapes jitter, and some are missed.

use super::frames::{Frame, REPEAT_MS};
use crate::series::TimestampMs;

/// Distances about as long as the shortest that are enough where all are, and their mean is an interval that people write.
const CLEAR: usize = 2;
/// Distances that are enough whatever they are: their mean is then off by an eighth at most if scrapes jitter by half an interval.
const ENOUGH: usize = 8;
/// Distances about as long as the shortest that are enough whatever they are, where the others are multiples of it, as after missed
/// scrapes: two are alike by chance too often where scrapes jitter. As many in a row tell another interval than the one known.
const LIKE: usize = 3;
/// Share by which distances may differ and still be the same one.
const SAME: f64 = 0.1;
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
/// How many times as long or short an interval must have become to be another one. `[$range]` holds four: it works until then.
const CHANGED: f64 = 1.4;
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
    let (unit, near) = if is_clear && distances.iter().all(is_multiple) {
        (shortest as f64, NEAR_CLEAR)
    } else if distances.len() >= ENOUGH {
        (median(distances), NEAR_JITTER)
    } else {
        return None;
    };
    let n: f64 = distances.iter().map(|distance| times(unit, *distance)).sum();
    Some(usual(total / n, near))
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

/// What the first frames of a host tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// More are needed.
    Nothing,
    /// The interval, and the slot of a series that has it; `None` where they are as many as are waited for and still tell none.
    Interval(Option<(i64, u32)>),
}

/// What the first `frames` tell of a host with `n_slots` series. Series that come together are a group, as those of one exporter; the
/// interval is the longest of any group that counts. `is_same` says of two intervals whether the same follows from both: then any
/// between them will do. Nothing more is waited for where `is_last`: then one distance must do.
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
        let told = told.or_else(|| mean_of_like(&distances).filter(|_| is_last).map(|mean| usual(mean, NEAR_CLEAR)));
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
    is_told.then(|| usual(distances.iter().sum::<i64>() as f64 / distances.len() as f64, NEAR_JITTER))
}

/// The mean of distances that are all about the same; `None` where they aren't, or where there are none.
fn mean_of_like(distances: &[i64]) -> Option<f64> {
    let (shortest, longest) = (*distances.iter().min()?, *distances.iter().max()?);
    let is_like = (longest - shortest) as f64 <= SAME * shortest as f64;
    is_like.then(|| distances.iter().sum::<i64>() as f64 / distances.len() as f64)
}

/// Whether `new` is so far from the interval known that it is another one.
fn is_another(new: i64, known: Option<i64>) -> bool {
    known.is_none_or(|known| {
        let ratio = new as f64 / known as f64;
        ratio >= CHANGED || ratio <= 1.0 / CHANGED
    })
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
        let like = distances.len().checked_sub(LIKE).map_or(&[][..], |from| &distances[from..]);
        if let Some(interval_ms) =
            mean_of_like(like).and_then(|_| of_distances(like)).filter(|new| is_another(*new, interval_ms))
        {
            self.n = 0;
            return Some(interval_ms);
        }
        if distances.len() < ENOUGH {
            return None;
        }
        self.n = 0;
        let Some(known) = interval_ms else { return of_distances(distances) };
        // One long gap moves the mean alone, jitter the median alone.
        let mean = distances.iter().sum::<i64>() as f64 / ENOUGH as f64;
        let ratios = [mean, median(distances)].map(|ms| ms / known as f64);
        let is_longer = ratios.iter().all(|ratio| *ratio >= CHANGED);
        let is_shorter = ratios.iter().all(|ratio| *ratio <= 1.0 / CHANGED);
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
        // Scrapes that jitter by nearly half an interval.
        check(&[85.0, 40.0], None);
        check(&[46.0, 134.0], None);
        check(&[110.0, 112.0], None);
        check(&[85.0, 40.0, 66.0, 50.0, 71.0, 47.0, 83.0, 38.0], Some(60));
        check(&[85.0, 40.0, 126.0, 50.0, 71.0, 47.0, 83.0, 38.0], Some(60));
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
        // Three are enough where they are alike.
        check_watch(60, &[60, 60, 300, 300, 300], Some(300));
        check_watch(60, &[60, 60, 300, 300], None);
        check_watch(60, &[120, 120, 60, 120, 120], None);
    }
}
