//! Bodies of remote write, good ones and raw ones.

use outlierd::base::proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use prost::Message;

/// A series with samples `(t_ms, value)`.
pub fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let label = |(name, value): &(&str, &str)| Label { name: (*name).to_owned(), value: (*value).to_owned() };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples.iter().map(|&(timestamp, value)| Sample { value, timestamp }).collect(),
        exemplars: Vec::new(),
    }
}

/// An encoded `WriteRequest`.
pub fn message(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
}

/// In snappy's block format.
pub fn snappy(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

/// One frame.
pub fn zstd(message: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(message, 1).unwrap()
}
