//! The metric names that no feature reads and that were looked at already, so that a body with other ones is noticed at the cost
//! of a bit per name.
//!
//! Knows hashes alone: two names may share a bit, so a name may be taken to be known that isn't. Shared by all decoders.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Bits: an exporter has a thousand names, and 8 KiB stay near the core. Once all are set, nothing is new any more: what a sender
/// can cost with names that it makes up is bounded.
const BITS: usize = 1 << 16;

/// Which unwanted names are known. Order of memory doesn't matter: at worst a body is looked at twice.
#[derive(Debug)]
pub struct Seen {
    names: Box<[AtomicU64]>,
    /// Whether a wanted series without the identity label is known.
    without_identity: AtomicBool,
}

impl Default for Seen {
    fn default() -> Self {
        let names = (0..BITS / 64).map(|_| AtomicU64::new(0)).collect();
        Self { names, without_identity: AtomicBool::new(false) }
    }
}

impl Seen {
    /// Whether a name with this hash was looked at.
    #[inline]
    pub(super) fn has(&self, name_hash: u64) -> bool {
        let (word, bit) = place(name_hash);
        self.names[word].load(Relaxed) & bit != 0
    }

    pub(super) fn add(&self, name_hash: u64) {
        let (word, bit) = place(name_hash);
        self.names[word].fetch_or(bit, Relaxed);
    }

    pub(super) fn has_without_identity(&self) -> bool {
        self.without_identity.load(Relaxed)
    }

    pub(super) fn add_without_identity(&self) {
        self.without_identity.store(true, Relaxed);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.names.iter().for_each(|word| word.store(0, Relaxed));
        self.without_identity.store(false, Relaxed);
    }
}

/// The word and the bit of a hash. Not by its lowest bits, which the table of wanted names takes.
#[inline]
fn place(name_hash: u64) -> (usize, u64) {
    let index = (name_hash >> 32) as usize % BITS;
    (index / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_known_once_added() {
        let seen = Seen::default();
        let hashes = [0, 1 << 32, 63 << 32, 64 << 32, 65_535 << 32];
        for hash in hashes {
            assert!(!seen.has(hash), "{hash:x}");
            seen.add(hash);
            assert!(seen.has(hash), "{hash:x}");
        }
        seen.add_without_identity();
        assert!(seen.has_without_identity());
        seen.clear();
        assert!(!hashes.iter().any(|hash| seen.has(*hash)) && !seen.has_without_identity());
    }
}
