//! Keyed hashes of hosts and of series' labels: equal within one process, others in the next.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::wire::write_field;

/// Keys every hash of this process, so that a sender can't choose colliding hosts or series. From the operating system, as
/// foldhash's own global seed comes from addresses and the clock.
static SEED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(RandomState::new().build_hasher().finish()));

/// Distinguishes hashes of hosts from hashes of labels.
const HOST: u64 = 0x686f_7374;
const LABEL: u64 = 0x6c61_6265_6c00;

/// The shard of `shards` that owns `host`: the same for the life of the process, another in the next.
#[must_use]
pub fn shard_of(host: &str, shards: usize) -> usize {
    let hash = keyed_hash(HOST, host.as_bytes());
    // The high bits of hash × shards: a modulo without a division.
    ((u128::from(hash) * shards.max(1) as u128) >> 64) as usize
}

/// The keyed hash of one label. A series' is the sum of its labels', so that their order makes no difference, and what a label
/// adds can be taken away.
#[must_use]
pub fn label_hash(name: &str, value: &str) -> u64 {
    label_bytes_hash(name.as_bytes(), value.as_bytes())
}

pub(super) fn label_bytes_hash(name: &[u8], value: &[u8]) -> u64 {
    let mut label = Vec::with_capacity(name.len() + value.len() + 8);
    for (key, text) in [(0x0a, name), (0x12, value)] {
        // As proto3 has it, and every sender: an empty field is left out.
        if !text.is_empty() {
            write_field(&mut label, key, text);
        }
    }
    label_message_hash(&label)
}

/// The same of a `Label` message, written as every sender writes it. Another encoding of the same label has another hash.
#[inline]
pub(super) fn label_message_hash(label: &[u8]) -> u64 {
    keyed_hash(LABEL, label)
}

#[inline]
fn keyed_hash(domain: u64, bytes: &[u8]) -> u64 {
    let mut hasher = FoldHasher::with_seed(domain, &SEED);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_spread_over_the_shards_and_stay() {
        let mut hosts = [0; 4];
        for i in 0..4_000 {
            let host = format!("node-{i}.example:9100");
            assert_eq!(shard_of(&host, 4), shard_of(&host, 4));
            hosts[shard_of(&host, 4)] += 1;
        }
        assert!(hosts.iter().all(|n| (850..1_150).contains(n)), "{hosts:?}");
        assert_eq!(shard_of("a", 1), 0);
    }
}
