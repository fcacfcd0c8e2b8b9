//! FNV-1a, 64 bits: a hash that stays the same over versions and machines. Not for what comes from strangers.

/// A hash on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fnv(u64);

impl Fnv {
    /// Of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::from(0xcbf2_9ce4_8422_2325)
    }

    /// Goes on from a hash.
    #[must_use]
    pub fn from(hash: u64) -> Self {
        Self(hash)
    }

    /// With `bytes` behind what it is of.
    #[must_use]
    pub fn with(self, bytes: impl IntoIterator<Item = u8>) -> Self {
        let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(bytes.into_iter().fold(self.0, add))
    }

    /// The hash.
    #[must_use]
    pub fn hash(self) -> u64 {
        self.0
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_its_authors() {
        let check = |text: &str, hash: u64| assert_eq!(Fnv::new().with(text.bytes()).hash(), hash, "{text}");
        check("", 0xcbf2_9ce4_8422_2325);
        check("a", 0xaf63_dc4c_8601_ec8c);
        check("foobar", 0x8594_4171_f739_67e8);
        assert_eq!(Fnv::new().with(*b"foo").with(*b"bar"), Fnv::new().with(*b"foobar"));
    }
}
