//! What a sender collects before it sends: several scrapes, the samples of a series together.

use outlierd::base::proto::prometheus::{TimeSeries, WriteRequest};
use prost::Message;

/// A body that is being filled.
#[derive(Debug, Default)]
pub struct Body {
    series: Vec<TimeSeries>,
    /// Where the last series was found: the next one stands behind it, as in the scrape before.
    last: usize,
}

impl Body {
    /// Adds a scrape.
    pub fn add<'a>(&mut self, scrape: impl IntoIterator<Item = &'a TimeSeries>) {
        for one in scrape {
            let next = self.last + 1;
            let is_next = self.series.get(next).is_some_and(|series| series.labels == one.labels);
            let found = if is_next { Some(next) } else { self.series.iter().position(|s| s.labels == one.labels) };
            match found {
                Some(place) => {
                    self.series[place].samples.extend(one.samples.iter().cloned());
                    self.last = place;
                }
                None => {
                    self.last = self.series.len();
                    self.series.push(one.clone());
                }
            }
        }
    }

    /// As remote write 1.0 has it.
    pub fn encoded(self) -> Vec<u8> {
        let message = WriteRequest { timeseries: self.series, metadata: Vec::new() }.encode_to_vec();
        snap::raw::Encoder::new().compress_vec(&message).unwrap()
    }
}
