//! Protobuf primitives over a borrowed message: keys, varints, lengths. Never copies, never looks beyond the message.

use super::error::Malformed;

/// Wire types that occur in proto3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Bytes,
    Fixed32,
}

/// A message and how far it has been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The whole message.
    message: &'a [u8],
    /// Next byte to read; never beyond the message's end.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.message.len()
    }

    /// Takes the next byte if it is `key`.
    #[inline]
    pub(super) fn next_is(&mut self, key: u8) -> bool {
        let is = self.message.get(self.at) == Some(&key);
        self.at += usize::from(is);
        is
    }

    /// A varint of 1 to 10 bytes.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.message[self.at..] {
            [byte @ ..0x80, ..] => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            [low, high @ ..0x80, ..] => {
                self.at += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let rest = &self.message[self.at..];
        let mut value = 0;
        for (i, &byte) in rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                // The tenth byte holds the 64th bit alone.
                if i == 9 && byte > 1 {
                    return Err(Malformed::Varint);
                }
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(if rest.len() < 10 { Malformed::Truncated } else { Malformed::Varint })
    }

    /// The key of the next field: its number and wire type.
    #[inline]
    pub(super) fn key(&mut self) -> Result<(u32, WireType), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed::FieldNumber)?;
        let wire_type = match key & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Bytes,
            5 => WireType::Fixed32,
            _ => return Err(Malformed::WireType),
        };
        if key < 8 {
            return Err(Malformed::FieldNumber);
        }
        Ok((key >> 3, wire_type))
    }

    /// The `n` next bytes.
    #[inline]
    fn take(&mut self, n: u64) -> Result<&'a [u8], Malformed> {
        let n = usize::try_from(n).map_err(|_| Malformed::Truncated)?;
        let taken = self.message[self.at..].get(..n).ok_or(Malformed::Truncated)?;
        self.at += n;
        Ok(taken)
    }

    /// The content of a length-delimited field.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let n = self.varint()?;
        self.take(n)
    }

    #[inline]
    pub(super) fn double(&mut self) -> Result<f64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed::Truncated)?;
        // By bits: arithmetic would turn the stale marker into an ordinary NaN.
        Ok(f64::from_bits(u64::from_le_bytes(bytes)))
    }

    /// Steps over a field of no interest.
    pub(super) fn skip(&mut self, wire_type: WireType) -> Result<(), Malformed> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.take(8).map(drop),
            WireType::Bytes => self.bytes().map(drop),
            WireType::Fixed32 => self.take(4).map(drop),
        }
    }
}

/// Splits off a leading length-delimited field in the form that nearly all have: a field number under 16 and a length under 128.
/// Gives its key, its content and what follows.
#[inline]
pub(super) fn short_field(message: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [key @ ..0x80, len @ ..0x80, behind @ ..] = message else { return None };
    if key & 7 != 2 {
        return None;
    }
    let (content, behind) = behind.split_at_checked(usize::from(*len))?;
    Some((*key, content, behind))
}

/// Appends a length-delimited field.
pub(super) fn write_field(message: &mut Vec<u8>, key: u8, content: &[u8]) {
    message.push(key);
    let mut n = content.len();
    while n >= 0x80 {
        message.push(n as u8 | 0x80);
        n >>= 7;
    }
    message.push(n as u8);
    message.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        let check = |bytes: &[u8], expected: Result<u64, Malformed>| {
            assert_eq!(Reader::new(bytes).varint(), expected, "{bytes:02x?}");
        };
        check(&[0], Ok(0));
        check(&[0x7f], Ok(127));
        check(&[0x80, 0x01], Ok(128));
        check(&[0x80, 0x00], Ok(0));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Ok(u64::MAX));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Err(Malformed::Varint));
        check(&[0xff; 11], Err(Malformed::Varint));
        check(&[0xff; 9], Err(Malformed::Truncated));
        check(&[], Err(Malformed::Truncated));
    }

    #[test]
    fn keys() {
        let check = |bytes: &[u8], expected: Result<(u32, WireType), Malformed>| {
            assert_eq!(Reader::new(bytes).key(), expected, "{bytes:02x?}");
        };
        check(&[0x0a], Ok((1, WireType::Bytes)));
        check(&[0x10], Ok((2, WireType::Varint)));
        check(&[0x09], Ok((1, WireType::Fixed64)));
        check(&[0x0d], Ok((1, WireType::Fixed32)));
        for reserved in [0x0b, 0x0c, 0x0e, 0x0f] {
            check(&[reserved], Err(Malformed::WireType));
        }
        check(&[0x02], Err(Malformed::FieldNumber));
        check(&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(Malformed::FieldNumber));
    }

    #[test]
    fn lengths_stay_inside_the_message() {
        assert_eq!(Reader::new(&[2, 7, 8]).bytes(), Ok(&[7, 8][..]));
        assert_eq!(Reader::new(&[3, 7, 8]).bytes(), Err(Malformed::Truncated));
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&huge).bytes(), Err(Malformed::Truncated));
        assert_eq!(Reader::new(&[0; 7]).double(), Err(Malformed::Truncated));
    }
}
