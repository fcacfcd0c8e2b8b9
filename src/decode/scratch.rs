//! What a walk has found, until the whole body has proved well-formed: then it becomes batches of exactly the right size.
//!
//! Reused from body to body; bounded by `limits.body_bytes` (a kept sample takes 9 bytes on the wire and 16 here).

use super::batch::{MetricId, SampleBatch, Size};
use crate::series::Sample;

/// Columns are kept for the next body up to this many bytes each.
const RETAINED_BYTES: usize = 1 << 20;

/// Notes about one body.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Samples of the kept series, back to back.
    pub(super) samples: Vec<Sample>,
    /// Hosts of the kept series, back to back; one per run of series with the same host.
    pub(super) hosts: String,
    /// Label entries of series whose labels are scattered over their message.
    pub(super) gathered: Vec<u8>,
    /// The kept series in order of arrival.
    kept: Vec<Kept>,
    /// What each shard's batch will hold.
    sizes: Vec<Size>,
    /// Batches that came back empty: memory that is still there costs less than new memory. At most `spare_max`.
    spare: Vec<SampleBatch>,
    /// The most shards that a body was split over.
    spare_max: usize,
}

/// A kept series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) entries: Entries,
    /// The sum of its labels' hashes.
    pub(super) labels_hash: u64,
    /// Start and length in [`Scratch::hosts`].
    pub(super) host: (u32, u32),
    /// Start and length in [`Scratch::samples`].
    pub(super) samples: (u32, u32),
    pub(super) metric: MetricId,
    pub(super) shard: u16,
}

/// Where the label entries of a series stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    pub(super) at: u32,
    pub(super) len: u32,
    /// In [`Scratch::gathered`]; else in the message.
    pub(super) gathered: bool,
    /// Start and length in the message of further entries, which many series share; often none.
    pub(super) tail: (u32, u32),
}

impl Scratch {
    /// Empties it for a new body.
    pub(super) fn start(&mut self, shards: usize) {
        self.samples.clear();
        self.hosts.clear();
        self.gathered.clear();
        self.kept.clear();
        self.sizes.clear();
        self.sizes.resize(shards, Size::default());
        self.spare_max = self.spare_max.max(shards);
    }

    #[inline]
    pub(super) fn keep(&mut self, series: Kept) {
        let size = &mut self.sizes[usize::from(series.shard)];
        size.series += 1;
        size.samples += series.samples.1 as usize;
        size.label_bytes += series.entries.len as usize;
        self.kept.push(series);
    }

    /// The kept series of `message` as batches, one per shard.
    pub(super) fn batches(&mut self, message: &[u8]) -> Vec<SampleBatch> {
        let spare = &mut self.spare;
        let room = |&size: &Size| {
            let mut batch = spare.pop().unwrap_or_default();
            batch.make_room(size);
            batch
        };
        let mut batches: Vec<_> = self.sizes.iter().map(room).collect();
        // A run of series with one host is one range of `hosts`, so its place in the batch is looked for once.
        let mut previous = None;
        // Of each batch: the last tail, in the message and in the batch.
        let mut tails = vec![((0, 0), (0, 0)); batches.len()];
        for series in &self.kept {
            let source = if series.entries.gathered { &self.gathered } else { message };
            let entries = &source[series.entries.at as usize..][..series.entries.len as usize];
            let samples = &self.samples[series.samples.0 as usize..][..series.samples.1 as usize];
            let batch = &mut batches[usize::from(series.shard)];
            let host = match previous {
                Some((range, place)) if range == series.host => place,
                _ => batch.place_host(&self.hosts[series.host.0 as usize..][..series.host.1 as usize]),
            };
            previous = Some((series.host, host));
            let tail = &mut tails[usize::from(series.shard)];
            if tail.0 != series.entries.tail {
                let (at, len) = series.entries.tail;
                *tail = (series.entries.tail, batch.place_entries(&message[at as usize..][..len as usize]));
            }
            batch.push_entries((entries, tail.1, series.labels_hash), host, series.metric, samples);
        }
        batches
    }

    /// Takes batches back that nobody needs any more.
    pub(super) fn recycle(&mut self, batches: Vec<SampleBatch>) {
        for mut batch in batches {
            batch.recycle(RETAINED_BYTES);
            if self.spare.len() < self.spare_max {
                self.spare.push(batch);
            }
        }
    }

    /// Gives back what an unusually big body has taken.
    pub(super) fn trim(&mut self) {
        self.start(0);
        self.samples.shrink_to(RETAINED_BYTES / size_of::<Sample>());
        self.hosts.shrink_to(RETAINED_BYTES);
        self.gathered.shrink_to(RETAINED_BYTES);
        self.kept.shrink_to(RETAINED_BYTES / size_of::<Kept>());
    }
}
