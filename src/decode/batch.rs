//! What decode hands to a shard: flat columns, so that a block of 10,000 samples is three allocations.
//!
//! Owns its bytes (copied from the request's buffer: only wanted series, a few per cent of a scrape), so nothing borrows
//! from a pooled buffer and no `unsafe` is needed.

use crate::series::Sample;

/// Which wanted metric name a series has: an index into the names that [`super::Wanted`] was built from.
pub type MetricId = u16;

/// The wanted samples of one request that belong to one shard.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct SampleBatch {
    /// Label entries of every series, as protobuf field-1 entries of `TimeSeries` (tag, length, `Label`), back to back.
    bytes: Vec<u8>,
    /// One entry per series, in order of arrival.
    series: Vec<Series>,
    /// Samples of every series, back to back.
    samples: Vec<Sample>,
}

/// One series of a batch; the ranges index the batch's columns.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Series {
    labels_hash: u64,
    labels: (u32, u32),
    host: (u32, u32),
    samples: (u32, u32),
    metric: MetricId,
}

/// A borrowed series of a batch.
#[derive(Debug, Clone, Copy)]
pub struct SeriesView<'a> {
    /// Keyed hash of `labels`: equal bytes have equal hashes within one process.
    pub labels_hash: u64,
    /// The label entries as received, unsorted and not validated beyond being well-formed protobuf.
    pub labels: &'a [u8],
    /// Value of the identity label: UTF-8, not empty.
    pub host: &'a str,
    /// Which wanted metric this is.
    pub metric: MetricId,
    /// Its samples in order of arrival.
    pub samples: &'a [Sample],
}
