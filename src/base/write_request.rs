//! Remote write 1.0 bodies, encoded series by series.

use anyhow::Context as _;
use prost::Message as _;

use super::proto::prometheus::TimeSeries;

/// Key of `WriteRequest.timeseries`: field 1, length-delimited.
const TIMESERIES_KEY: u8 = 0x0a;

/// A body that is being filled. Its one repeated field is written series by series, which gives the same bytes as encoding a whole
/// `WriteRequest`.
#[derive(Debug, Default)]
pub struct WriteRequestEncoder {
    /// Protobuf, not compressed.
    bytes: Vec<u8>,
    n_samples: usize,
}

impl WriteRequestEncoder {
    /// Samples in it.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// Appends a series.
    ///
    /// # Errors
    /// None that occur: a vector grows.
    pub fn push(&mut self, series: &TimeSeries) -> anyhow::Result<()> {
        self.bytes.push(TIMESERIES_KEY);
        series.encode_length_delimited(&mut self.bytes).context("cannot encode a series")?;
        self.n_samples += series.samples.len();
        Ok(())
    }

    /// The body with everything since the last one, in snappy's block format.
    ///
    /// # Errors
    /// It is too large for snappy: over 4 GiB.
    pub fn take(&mut self) -> anyhow::Result<Vec<u8>> {
        let body = snap::raw::Encoder::new().compress_vec(&self.bytes).context("cannot compress a request");
        self.bytes.clear();
        self.n_samples = 0;
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::proto::prometheus::{Label, Sample, WriteRequest};

    #[test]
    fn the_same_as_a_whole_message() {
        let series = |name: &str, n: i64| TimeSeries {
            labels: vec![Label { name: "__name__".to_owned(), value: name.to_owned() }],
            samples: (0..n).map(|t| Sample { value: 0.5, timestamp: t }).collect(),
            ..TimeSeries::default()
        };
        let timeseries = vec![series("up", 1), series("node_load1", 3)];
        let mut encoder = WriteRequestEncoder::default();
        timeseries.iter().for_each(|series| encoder.push(series).unwrap());
        assert_eq!(encoder.n_samples(), 4);
        let body = encoder.take().unwrap();
        let message = WriteRequest { timeseries, metadata: Vec::new() };
        assert_eq!(snap::raw::Decoder::new().decompress_vec(&body).unwrap(), message.encode_to_vec());
        assert_eq!((encoder.n_samples(), encoder.take().unwrap()), (0, vec![0]), "nothing is left");
    }
}
