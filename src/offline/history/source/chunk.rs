//! A piece of history: the samples of one host over a span, series by series.
//!
//! Owns the limit on what one answer may hold in memory. Knows no wire format.

use std::collections::HashMap;

use super::client::Failure;
use crate::series::{Labels, Sample, TimestampMs};

/// From `start_ms` until before `end_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Included.
    pub start_ms: TimestampMs,
    /// Not included.
    pub end_ms: TimestampMs,
}

impl Span {
    /// Milliseconds.
    #[must_use]
    pub fn len_ms(self) -> i64 {
        self.end_ms.saturating_sub(self.start_ms)
    }
}

/// One series of a chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// `__name__` among them.
    pub labels: Labels,
    /// In order of time once the chunk is sorted.
    pub samples: Vec<Sample>,
}

/// The samples of a span.
#[derive(Debug)]
pub struct Chunk {
    span: Span,
    series: Vec<Series>,
    by_labels: HashMap<Labels, usize>,
    /// Number of samples that still fit.
    room: usize,
    /// Bytes of the answers it came in, decompressed.
    pub(super) n_bytes: u64,
}

/// Cost of a series beside its samples and the text of its labels, in samples.
const SERIES_COST: usize = 16;

impl Chunk {
    /// Keeps what is within `span`, up to about `samples_max` samples of 16 bytes.
    pub(super) fn new(span: Span, samples_max: usize) -> Self {
        Self { span, series: Vec::new(), by_labels: HashMap::new(), room: samples_max, n_bytes: 0 }
    }

    /// Returns the index that the series with `labels` has from now on.
    ///
    /// # Errors
    /// [`Failure::TooLarge`].
    pub(super) fn series(&mut self, labels: Labels) -> Result<usize, Failure> {
        if let Some(&index) = self.by_labels.get(&labels) {
            return Ok(index);
        }
        // Twice, as it is its own key too.
        let text: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.take_room(SERIES_COST + text / 8)?;
        self.by_labels.insert(labels.clone(), self.series.len());
        self.series.push(Series { labels, samples: Vec::new() });
        Ok(self.series.len() - 1)
    }

    /// Appends a sample to a series, where it is within the span.
    ///
    /// # Errors
    /// [`Failure::TooLarge`].
    pub(super) fn push(&mut self, series: usize, sample: Sample) -> Result<(), Failure> {
        if !(self.span.start_ms..self.span.end_ms).contains(&sample.t_ms) {
            return Ok(());
        }
        self.take_room(1)?;
        if let Some(series) = self.series.get_mut(series) {
            series.samples.push(sample);
        }
        Ok(())
    }

    /// The series, each in order of time, those without samples left out.
    pub(super) fn into_series(mut self) -> Vec<Series> {
        self.series.retain(|series| !series.samples.is_empty());
        for series in &mut self.series {
            if !series.samples.is_sorted_by_key(|sample| sample.t_ms) {
                series.samples.sort_by_key(|sample| sample.t_ms);
            }
        }
        self.series
    }

    fn take_room(&mut self, n: usize) -> Result<(), Failure> {
        let room = self.room.checked_sub(n);
        self.room = room.ok_or_else(|| Failure::TooLarge(anyhow::anyhow!("more samples than are held at once")))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_series_are_one_and_the_span_bounds_them() {
        let mut chunk = Chunk::new(Span { start_ms: 10, end_ms: 20 }, 100);
        let labels = |name| Labels::from_pairs([("__name__", name)]);
        for (name, t_ms) in [("a", 15), ("b", 9), ("a", 19), ("a", 10), ("a", 20), ("c", 11)] {
            let series = chunk.series(labels(name)).unwrap();
            chunk.push(series, Sample { t_ms, value: 0.0 }).unwrap();
        }
        let series = chunk.into_series();
        let times: Vec<Vec<i64>> = series.iter().map(|s| s.samples.iter().map(|s| s.t_ms).collect()).collect();
        assert_eq!(times, [vec![10, 15, 19], vec![11]]);
    }

    #[test]
    fn what_does_not_fit_is_too_large() {
        let mut chunk = Chunk::new(Span { start_ms: 0, end_ms: 100 }, SERIES_COST + 1 + 3);
        let series = chunk.series(Labels::from_pairs([("__name__", "a")])).unwrap();
        let mut push = || chunk.push(series, Sample { t_ms: 0, value: 0.0 });
        let fits = [push().is_ok(), push().is_ok(), push().is_ok()];
        assert_eq!(fits, [true, true, true]);
        let n_more = (0..10).take_while(|_| push().is_ok()).count();
        assert!(n_more <= 1, "{n_more}");
        assert!(matches!(push(), Err(Failure::TooLarge(_))));
    }
}
