//! The labels that a target adds to all its series: vmagent writes them last, the same bytes for every series of a scrape, so
//! that they are read once and recognised by one comparison after that.

use super::labels::parse_label;
use super::wanted::{LabelName, label_message_hash};
use super::wire::{Reader, short_field};

/// Series without a common tail after which a message is taken to be of a sender that sorts its labels.
const MISSES_MAX: u32 = 16;

/// The tail of the last series and what it says.
#[derive(Default)]
pub(super) struct Tail<'a> {
    /// Label entries; empty where none are known.
    pub(super) entries: &'a [u8],
    /// How many.
    pub(super) n: usize,
    /// The sum of their hashes.
    pub(super) hash: u64,
    /// The identity label's value, which is among them.
    pub(super) host: &'a [u8],
    /// The label entries of the last series that was read in full.
    previous: &'a [u8],
    misses: u32,
}

impl<'a> Tail<'a> {
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
            }
            None => self.misses += 1,
        }
    }
}

/// Number, hash and host of label entries; `None` where no host is among them.
fn read<'a>(entries: &'a [u8], identity: &LabelName) -> Option<(usize, u64, &'a [u8])> {
    let (mut n, mut hash, mut host) = (0, 0_u64, None);
    let mut reader = Reader::new(entries);
    while !reader.is_empty() {
        reader.key().ok()?;
        let label = reader.bytes().ok()?;
        let (name, value) = parse_label(label).ok()?;
        n += 1;
        hash = hash.wrapping_add(label_message_hash(label));
        if identity.is(name) {
            host.get_or_insert(value);
        }
    }
    Some((n, hash, host?))
}
