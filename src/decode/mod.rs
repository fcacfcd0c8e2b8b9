//! From a request's body to one batch of wanted samples per shard.
//!
//! ```text
//! body → decompress (caps) → walk (names first, bounds, limits) → batches
//!                              └ survey (everything, of the few bodies that have something new)
//! ```
//! Owns the caps on what a sender can make us allocate, the name filter and the routing of hosts. A body is handed out whole or
//! not at all. Never knows what a feature is, keeps nothing between bodies but empty buffers, and reads no clock.

mod batch;
mod compression;
mod error;
mod hash;
mod labels;
mod metrics;
mod sample;
mod seen;
mod survey;
mod tail;
mod walk;
mod wanted;
mod wire;

pub use batch::{MetricId, SampleBatch, SeriesView};
pub use compression::Encoding;
pub use error::{DecodeError, Malformed};
pub use hash::{label_hash, shard_of};
pub use labels::{InvalidSeries, LabelLimits, parse_labels};
pub use metrics::{Metrics, Unused};
pub use seen::Seen;
pub use survey::{Look, SeriesSummary};
pub use wanted::{UNLISTED, Wanted};

use crate::series::TimestampMs;
use compression::Decompressor;

/// Which samples are believed, by their time. Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    /// Samples before it are too old.
    pub min_ms: TimestampMs,
    /// Samples after it are in the future.
    pub max_ms: TimestampMs,
}

impl TimeBounds {
    /// Every sample is believed.
    pub const NONE: Self = Self { min_ms: TimestampMs::MIN, max_ms: TimestampMs::MAX };
}

/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// One per shard, in order of shards, possibly empty.
    pub batches: Vec<SampleBatch>,
    /// Counts of what was in the body and what became of it.
    pub stats: DecodeStats,
}

/// Counts of what was in a body and what became of it. The samples of invalid series are in `received_samples` alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DecodeStats {
    /// Series of any kind.
    pub series: u64,
    /// Samples of any kind.
    pub received_samples: u64,
    /// Samples in the batches.
    pub kept_samples: u64,
    /// Samples of series with an unwanted name.
    pub ignored_samples: u64,
    /// Samples of wanted series after [`TimeBounds::max_ms`].
    pub future_samples: u64,
    /// Samples of wanted series before [`TimeBounds::min_ms`].
    pub too_old_samples: u64,
    /// Samples of wanted series without the identity label.
    pub unidentified_samples: u64,
    /// Skipped series by [`InvalidSeries`].
    pub invalid_series: [u64; InvalidSeries::ALL.len()],
    /// Native histograms; none is read.
    pub histograms: u64,
    /// Exemplars; none is read.
    pub exemplars: u64,
    /// Metadata entries; none is read.
    pub metadata: u64,
    /// Bytes of the body.
    pub compressed_bytes: u64,
    /// Bytes of the message.
    pub decompressed_bytes: u64,
}

/// Decodes one body after the other; holds only buffers, a few MB at most between bodies. One per thread or request slot.
pub struct Decoder {
    /// Holds the message.
    decompressor: Decompressor,
    /// Batches that came back: memory that is still there costs less than new memory. At most `spare_max`.
    spare: Vec<SampleBatch>,
    /// The most shards that a body was split over.
    spare_max: usize,
}

/// Bytes that the columns of a batch keep for the next body, each.
const RETAINED_BYTES: usize = 1 << 20;

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder with empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self { decompressor: Decompressor::new(), spare: Vec::new(), spare_max: 0 }
    }

    /// Decodes a remote write 1.0 body. An empty one has no samples.
    ///
    /// # Errors
    /// If the body as a whole can never be accepted; nothing of it is handed out. Bad series in a good body are skipped and
    /// counted.
    pub fn decode(
        &mut self,
        body: &[u8],
        encoding: Encoding,
        wanted: &Wanted,
        bounds: TimeBounds,
    ) -> Result<Decoded, DecodeError> {
        self.decode_with(body, encoding, wanted, bounds, None)
    }

    /// The same; a body in which there is something new is looked at once more, and `look` is told of each of its series.
    ///
    /// # Errors
    /// As [`Self::decode`]; then nothing was looked at.
    pub fn decode_and_look(
        &mut self,
        body: &[u8],
        encoding: Encoding,
        wanted: &Wanted,
        bounds: TimeBounds,
        look: Look<'_>,
    ) -> Result<Decoded, DecodeError> {
        self.decode_with(body, encoding, wanted, bounds, Some(look))
    }

    fn decode_with(
        &mut self,
        body: &[u8],
        encoding: Encoding,
        wanted: &Wanted,
        bounds: TimeBounds,
        look: Option<Look<'_>>,
    ) -> Result<Decoded, DecodeError> {
        let decoded = self.decode_untrimmed(body, encoding, wanted, bounds, look);
        self.decompressor.trim();
        decoded
    }

    /// Takes batches of an earlier body back, so that the next one needs no new memory.
    pub fn recycle(&mut self, batches: Vec<SampleBatch>) {
        for mut batch in batches {
            batch.recycle(RETAINED_BYTES);
            if self.spare.len() < self.spare_max {
                self.spare.push(batch);
            }
        }
    }

    fn decode_untrimmed(
        &mut self,
        body: &[u8],
        encoding: Encoding,
        wanted: &Wanted,
        bounds: TimeBounds,
        look: Option<Look<'_>>,
    ) -> Result<Decoded, DecodeError> {
        let message = self.decompressor.decompress(body, encoding, wanted.body_bytes)?;
        self.spare_max = self.spare_max.max(wanted.shards);
        let mut batches: Vec<_> = (0..wanted.shards).map(|_| self.spare.pop().unwrap_or_default()).collect();
        let seen = look.as_ref().map(|look| look.seen);
        match walk::walk(message, wanted, bounds, seen, &mut batches) {
            Ok((stats, is_new)) => {
                if let Some(mut look) = look.filter(|look| is_new || look.is_due) {
                    survey::survey(message, wanted, &mut look);
                }
                let (compressed_bytes, decompressed_bytes) = (body.len() as u64, message.len() as u64);
                Ok(Decoded { batches, stats: DecodeStats { compressed_bytes, decompressed_bytes, ..stats } })
            }
            Err(error) => {
                self.recycle(batches);
                Err(error)
            }
        }
    }
}
