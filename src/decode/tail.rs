//! The labels that a target adds to all its series: vmagent writes them last, the same bytes for every series of a scrape, so
//! that they are read once and recognised by one comparison after that.

use super::batch::{Place, SampleBatch};
use super::hash::label_message_hash;
use super::labels::parse_label;
use super::wanted::LabelName;
use super::wire::{Reader, short_field};
use crate::series::METRIC_NAME;

/// Series without a common tail after which a message is taken to be of a sender that sorts its labels.
const MISSES_MAX: u32 = 16;

/// The tail of the last series and what it says.
#[derive(Default)]
pub(super) struct Tail<'a> {
    /// Label entries; empty where none are known.
    pub(super) entries: &'a [u8],
    /// A shard whose batch has them, and where.
    placed: Option<(usize, Place)>,
    /// Number of label entries.
    pub(super) n: usize,
    /// The sum of their hashes.
    pub(super) hash: u64,
    /// The identity label's value, which is among them.
    pub(super) host: &'a [u8],
    /// Whether that is the host that the walk has met last.
    pub(super) is_of_last_host: bool,
    /// The first and the last 8 bytes of `entries`: most comparisons end with them.
    first: u64,
    last: u64,
    /// The label entries of the last series that was read in full.
    previous: &'a [u8],
    misses: u32,
}

impl<'a> Tail<'a> {
    /// Returns what follows the tail where `entries` begins with it.
    #[inline]
    pub(super) fn strip_from<'b>(&self, entries: &'b [u8]) -> Option<&'b [u8]> {
        if self.n == 0 || word(entries, 0) != self.first {
            return None;
        }
        entries.strip_prefix(self.entries)
    }

    /// Whether `series` seems to end with the tail and one sample in the form that all senders write. Another series that seems
    /// so must have been made for it, and gains that its samples are miscounted.
    #[inline]
    pub(super) fn is_before_one_sample(&self, series: &[u8]) -> bool {
        let n = series.len();
        let ends_at =
            |len: usize| n >= len + 8 && series[n - len] == 0x12 && usize::from(series[n - len + 1]) == len - 2;
        let is_after_tail = |len: usize| ends_at(len) && word(series, n - len - 8) == self.last;
        // With a value, and without as zeros are written.
        self.n > 0 && (is_after_tail(18) || is_after_tail(9))
    }

    /// Returns where `batch`, the one of `shard`, has the entries: put there unless it was the last one asked for.
    #[inline]
    pub(super) fn place_in(&mut self, batch: &mut SampleBatch, shard: usize) -> Place {
        match self.placed {
            Some((of, place)) if of == shard => place,
            _ => {
                let place = batch.place_entries(self.entries);
                self.placed = Some((shard, place));
                place
            }
        }
    }

    /// Learns from a series that was read in full: its label entries, each of which is well-formed and within the limits.
    pub(super) fn learn(&mut self, entries: &'a [u8], identity: &LabelName) {
        if self.misses > MISSES_MAX {
            return;
        }
        let (mut common, mut rest) = (&[][..], entries);
        while !rest.is_empty() {
            if self.previous.ends_with(rest) {
                common = rest;
                break;
            }
            let Some((_, _, behind)) = short_field(rest) else { break };
            rest = behind;
        }
        self.previous = entries;
        match read(common, identity) {
            Some((n, hash, host)) => {
                (self.entries, self.n, self.hash, self.host, self.misses) = (common, n, hash, host, 0);
                self.is_of_last_host = false;
                self.placed = None;
                (self.first, self.last) = (word(common, 0), word(common, common.len().saturating_sub(8)));
            }
            None => self.misses += 1,
        }
    }
}

/// Number, hash and host of label entries; `None` where no host is among them, or the name.
fn read<'a>(entries: &'a [u8], identity: &LabelName) -> Option<(usize, u64, &'a [u8])> {
    let (mut n, mut hash, mut host) = (0, 0_u64, None);
    let mut reader = Reader::new(entries);
    while !reader.is_empty() {
        reader.key().ok()?;
        let label = reader.bytes().ok()?;
        let (name, value) = parse_label(label).ok()?;
        n += 1;
        hash = hash.wrapping_add(label_message_hash(label));
        // The name must be read each time: it decides what becomes of the series.
        if name == METRIC_NAME.as_bytes() {
            return None;
        }
        if identity.is(name) {
            host.get_or_insert(value);
        }
    }
    Some((n, hash, host?))
}

/// The 8 bytes at `at`; 0 where there are none.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}
