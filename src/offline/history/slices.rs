//! The samples of a host, series by series, cut into slices of time that an engine takes one after the other.
//!
//! A database gives each series for itself; an engine wants them as they were scraped. A slice holds so few frames that none of
//! it is late when the last of its series comes.

use crate::decode::{MetricId, SampleBatch, Wanted};
use crate::engine::EngineLimits;
use crate::series::{METRIC_NAME, TimestampMs};

use super::source::chunk::Series;

/// Frames of a slice: labels are read once per slice and series, so that more make little difference.
const FRAMES_MAX: usize = 64;

/// A longer silence ends a slice, so that the engine is told of the time that passed.
const SILENCE_MS: i64 = 60_000;

/// Rest of a chunk.
#[derive(Debug)]
pub(super) struct Slices {
    /// The wanted series, with their metric and how many samples were taken.
    series: Vec<(Series, MetricId, usize)>,
    /// Every time that is left, once, newest first.
    times: Vec<TimestampMs>,
    /// Frames of a slice.
    frames_max: usize,
    /// Samples of series that nobody wants.
    pub(super) ignored_samples: u64,
}

/// Samples that follow the ones before.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) batch: SampleBatch,
    /// Its oldest time.
    pub(super) from_ms: TimestampMs,
    /// Its newest time.
    pub(super) now_ms: TimestampMs,
}

impl Slices {
    /// Of the series of one chunk, each in order of time.
    pub(super) fn new(series: Vec<Series>, wanted: &Wanted, limits: &EngineLimits) -> Self {
        let mut ignored_samples = 0;
        let mut kept = Vec::with_capacity(series.len());
        for one in series {
            let name = one.labels.get(METRIC_NAME).unwrap_or_default();
            match wanted.metric(name.as_bytes()) {
                Some(metric) => kept.push((one, metric, 0)),
                None => ignored_samples += one.samples.len() as u64,
            }
        }
        let mut times: Vec<TimestampMs> =
            kept.iter().flat_map(|(series, ..)| &series.samples).map(|sample| sample.t_ms).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.dedup();
        // Half of what may wait: frames of the slice before wait still.
        let by_cells = limits.samples_per_host / 2 / kept.len().max(1);
        let frames_max = by_cells.min(limits.frames_per_host / 2).clamp(1, FRAMES_MAX);
        Self { series: kept, times, frames_max, ignored_samples }
    }

    /// The next slice, all of it of `host`; `None` at the end.
    pub(super) fn next(&mut self, host: &str) -> Option<Slice> {
        let from_ms = self.times.pop()?;
        let mut now_ms = from_ms;
        for _ in 1..self.frames_max {
            let Some(&next_ms) = self.times.last().filter(|t_ms| t_ms.saturating_sub(now_ms) <= SILENCE_MS) else {
                break;
            };
            now_ms = next_ms;
            self.times.pop();
        }
        let mut batch = SampleBatch::default();
        for (series, metric, at) in &mut self.series {
            let rest = series.samples.get(*at..).unwrap_or_default();
            let n = rest.partition_point(|sample| sample.t_ms <= now_ms);
            if n > 0 {
                batch.push(series.labels.iter(), host, *metric, &rest[..n]);
                *at += n;
            }
        }
        Some(Slice { batch, from_ms, now_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::decode::LabelLimits;
    use crate::series::{Labels, Sample};

    /// Times of `a` and of `b`, an unwanted series, → per slice its ends and its times in order of series.
    fn check(frames_per_host: usize, a: &[i64], b: &[i64], expected: &[(i64, i64, &[i64])]) {
        let limits = EngineLimits {
            hosts: 1,
            series_per_host: 10,
            frames_per_host,
            samples_per_host: 1_000,
            labels: LabelLimits::from(&Limits::default()),
            series_label_bytes: 1_000,
            host_idle_ms: 1_000,
        };
        let series = |name: &str, times: &[i64]| Series {
            labels: Labels::from_pairs([(METRIC_NAME, name), ("instance", "h")]),
            samples: times.iter().map(|&t_ms| Sample { t_ms, value: 0.0 }).collect(),
        };
        let wanted = Wanted::new(["a", "b"], "instance", 1, &Limits::default()).unwrap();
        let mut slices = Slices::new(vec![series("a", a), series("c", &[5]), series("b", b)], &wanted, &limits);
        assert_eq!(slices.ignored_samples, 1);
        let next = |_| {
            let slice = slices.next("h")?;
            let times = slice.batch.iter().flat_map(|s| s.samples).map(|s| s.t_ms).collect::<Vec<_>>();
            Some((slice.from_ms, slice.now_ms, times))
        };
        let got: Vec<_> = (0..100).map_while(next).collect();
        let expected: Vec<_> = expected.iter().map(|(from, now, times)| (*from, *now, times.to_vec())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn slices_are_few_frames_without_long_silences() {
        check(100, &[], &[], &[]);
        check(100, &[1, 3, 3, 9], &[2, 3], &[(1, 9, &[1, 3, 3, 9, 2, 3])]);
        check(4, &[1, 3, 9], &[2, 3], &[(1, 2, &[1, 2]), (3, 9, &[3, 9, 3])]);
        check(1, &[1, 3], &[3], &[(1, 1, &[1]), (3, 3, &[3, 3])]);
        check(100, &[1, 60_001, 120_002], &[], &[(1, 60_001, &[1, 60_001]), (120_002, 120_002, &[120_002])]);
    }
}
