//! Batches that decode hands to a shard: flat columns, so that a block of 10,000 samples is four allocations.
//!
//! Owns its bytes (copied from the request's buffer: only wanted series), so nothing borrows from a pooled buffer and no
//! `unsafe` is needed.

use std::ops::Range;

use super::hash::label_hash;
use crate::series::Sample;

/// Which wanted metric name a series has: an index into the names that [`super::Wanted`] was built from.
pub type MetricId = u16;

/// The wanted samples of one request that belong to one shard.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct SampleBatch {
    /// Label entries of every series, as protobuf field-1 entries of `TimeSeries` (tag, length, `Label`), back to back.
    bytes: Vec<u8>,
    /// Hosts, back to back; one for each run of series that have the same.
    hosts: String,
    /// One entry per series, in order of arrival.
    series: Vec<Series>,
    /// Samples of every series, back to back.
    samples: Vec<Sample>,
}

/// One series of a batch; the ranges index the batch's columns.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Series {
    labels_hash: u64,
    labels: Place,
    tail: Place,
    host: Place,
    samples: Place,
    metric: MetricId,
}

/// Position of something in a column of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Place {
    pub(super) at: u32,
    pub(super) len: u32,
}

impl Place {
    #[inline]
    fn range(self) -> Range<usize> {
        self.at as usize..self.at as usize + self.len as usize
    }
}

/// A borrowed series of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesView<'a> {
    /// The sum of the keyed hashes of its labels ([`super::label_hash`]): equal for equal labels in any order, within one process.
    pub labels_hash: u64,
    /// The label entries as received, unsorted and not validated beyond being well-formed protobuf within the limits;
    /// [`super::parse_labels`] reads them.
    pub labels: &'a [u8],
    /// Further entries, after these.
    pub tail: &'a [u8],
    /// Value of the identity label: UTF-8, not empty.
    pub host: &'a str,
    /// Which wanted metric this is.
    pub metric: MetricId,
    /// Its samples in order of arrival; at least one.
    pub samples: &'a [Sample],
}

impl SampleBatch {
    /// Empties it and keeps its memory up to `bytes` for each column.
    pub(super) fn recycle(&mut self, bytes: usize) {
        self.bytes.clear();
        self.hosts.clear();
        self.series.clear();
        self.samples.clear();
        self.bytes.shrink_to(bytes);
        self.hosts.shrink_to(bytes);
        self.series.shrink_to(bytes / size_of::<Series>());
        self.samples.shrink_to(bytes / size_of::<Sample>());
    }

    /// Puts label entries that several series share behind the others; says where.
    #[inline]
    pub(super) fn place_entries(&mut self, entries: &[u8]) -> Place {
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(entries);
        Place { at, len: entries.len() as u32 }
    }

    /// Appends a sample of the series that is pushed next.
    #[inline]
    pub(super) fn push_sample(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Takes the last `n` samples back.
    pub(super) fn forget_samples(&mut self, n: u32) {
        self.samples.truncate(self.samples.len().saturating_sub(n as usize));
    }

    /// Appends a series: its label entries, the place of further ones ([`Self::place_entries`]), the hash of all, the place of
    /// its host ([`Self::place_host`]), and how many of the samples pushed last are its own. The batch must stay under 4 GiB in
    /// each column, which `limits.body` sees to.
    #[inline]
    pub(super) fn push_entries(
        &mut self,
        entries: &[u8],
        tail: Place,
        labels_hash: u64,
        host: Place,
        metric: MetricId,
        n_samples: u32,
    ) {
        let labels = self.place_entries(entries);
        let samples = Place { at: self.samples.len() as u32 - n_samples, len: n_samples };
        self.series.push(Series { labels_hash, labels, tail, host, samples, metric });
    }

    /// Appends a series given its labels (among them `__name__` and the identity label), for sources that are not remote write.
    pub fn push<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        host: &str,
        metric: MetricId,
        samples: &[Sample],
    ) {
        let (mut entries, mut hash) = (Vec::new(), 0_u64);
        for (name, value) in labels {
            super::labels::write_entry(&mut entries, name, value);
            hash = hash.wrapping_add(label_hash(name, value));
        }
        let host = self.place_host(host);
        self.samples.extend_from_slice(samples);
        self.push_entries(&entries, Place::default(), hash, host, metric, samples.len() as u32);
    }

    /// Returns the place of `host` among the hosts, put there if need be: most often it is the last one, as a scrape comes in one
    /// piece.
    pub(super) fn place_host(&mut self, host: &str) -> Place {
        if let Some(&Series { host: place, .. }) = self.series.last()
            && self.hosts[place.range()] == *host
        {
            return place;
        }
        let at = self.hosts.len() as u32;
        self.hosts.push_str(host);
        Place { at, len: host.len() as u32 }
    }

    /// The series in order of arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = SeriesView<'_>> {
        self.series.iter().map(|series| self.view(series))
    }

    /// Series that follow each other and have the same host: the host, and their numbers.
    pub fn runs(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let mut from = 0;
        // `place_host` gives neighbours with equal hosts the same place.
        self.series.chunk_by(|a, b| a.host == b.host).map(move |run| {
            let numbers = from..from + run.len();
            from = numbers.end;
            (self.view(&run[0]).host, numbers)
        })
    }

    /// The series number `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<SeriesView<'_>> {
        self.series.get(index).map(|series| self.view(series))
    }

    /// Of the series number `index` what a known one is told by, the hash of its labels, and its samples.
    #[inline]
    #[must_use]
    pub fn known(&self, index: usize) -> Option<(u64, &[Sample])> {
        self.series.get(index).map(|series| (series.labels_hash, &self.samples[series.samples.range()]))
    }

    #[inline]
    fn view(&self, series: &Series) -> SeriesView<'_> {
        SeriesView {
            labels_hash: series.labels_hash,
            labels: &self.bytes[series.labels.range()],
            tail: &self.bytes[series.tail.range()],
            host: &self.hosts[series.host.range()],
            metric: series.metric,
            samples: &self.samples[series.samples.range()],
        }
    }

    /// Returns the number of its series.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// Returns the number of samples that all its series have.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Whether it has no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{LabelLimits, parse_labels};

    #[test]
    fn what_was_pushed_comes_out() {
        let long = "x".repeat(300);
        let labels = [("mode", "idle"), ("__name__", "cpu"), ("comment", &long), ("instance", "a:9100")];
        let samples = [Sample { t_ms: 1, value: 2.0 }, Sample { t_ms: 3, value: 4.0 }];
        let mut batch = SampleBatch::default();
        assert!(batch.is_empty());
        for (host, samples) in [("a:9100", &samples[..]), ("a:9100", &samples[..1]), ("b:9100", &samples[1..])] {
            batch.push(labels, host, 7, samples);
        }
        assert_eq!(batch.runs().collect::<Vec<_>>(), [("a:9100", 0..2), ("b:9100", 2..3)]);
        assert_eq!((batch.series(), batch.samples(), batch.hosts.as_str()), (3, 4, "a:9100b:9100"));

        let series: Vec<_> = batch.iter().collect();
        assert_eq!(series.iter().map(|s| s.host).collect::<Vec<_>>(), ["a:9100", "a:9100", "b:9100"]);
        assert_eq!(series.iter().map(|s| s.samples).collect::<Vec<_>>(), [&samples[..], &samples[..1], &samples[1..]]);
        assert!(series.iter().all(|s| s.metric == 7
            && s.labels_hash == labels.iter().fold(0_u64, |hash, (n, v)| hash.wrapping_add(label_hash(n, v)))));
        let limits = LabelLimits { labels_per_series: 4, name_bytes: 8, value_bytes: 300 };
        let mut parsed = Vec::new();
        parse_labels([series[2].labels, series[2].tail], limits, &mut parsed).unwrap();
        assert_eq!(parsed, [("__name__", "cpu"), ("comment", &long), ("instance", "a:9100"), ("mode", "idle")]);
    }
}
