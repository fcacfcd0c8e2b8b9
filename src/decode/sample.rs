//! One `Sample` message.

use super::error::Malformed;
use super::wire::{Reader, WireType};
use crate::series::Sample;

/// Reads a sample; proto3 omits zeros, so an absent value is 0.0 and an absent timestamp 0.
#[inline]
pub(super) fn parse_sample(message: &[u8]) -> Result<Sample, Malformed> {
    // What senders write for today's times: a value unless it is 0, and a timestamp of six bytes.
    if let Some(([0x09, value @ .., 0x10], timestamp)) = message.split_first_chunk::<10>()
        && let Some(t_ms) = six_byte_varint(timestamp)
    {
        return Ok(Sample { t_ms, value: f64::from_bits(u64::from_le_bytes(*value)) });
    }
    if let [0x10, timestamp @ ..] = message
        && let Some(t_ms) = six_byte_varint(timestamp)
    {
        return Ok(Sample { t_ms, value: 0.0 });
    }
    parse_any_sample(message)
}

/// Of exactly six bytes, which holds the milliseconds from 1971 to 2109.
#[inline]
fn six_byte_varint(bytes: &[u8]) -> Option<i64> {
    let &[a, b, c, d, e, f] = bytes else { return None };
    let value = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    if value & 0x8080_8080_8080 != 0x0080_8080_8080 {
        return None;
    }
    // Pairs, then fours: three steps instead of six.
    let value = value & 0x7f7f_7f7f_7f7f;
    let pairs = (value & 0x007f_007f_007f) | ((value & 0x7f00_7f00_7f00) >> 1);
    let low = (pairs & 0x3fff) | ((pairs >> 2) & 0x0fff_c000);
    Some((low | ((pairs >> 32) << 28)) as i64)
}

#[cold]
fn parse_any_sample(message: &[u8]) -> Result<Sample, Malformed> {
    let mut sample = Sample { t_ms: 0, value: 0.0 };
    let mut reader = Reader::new(message);
    while !reader.is_empty() {
        match reader.key()? {
            (1, WireType::Fixed64) => sample.value = reader.double()?,
            (2, WireType::Varint) => sample.t_ms = reader.varint()? as i64,
            (1 | 2, _) => return Err(Malformed::FieldType),
            (_, wire_type) => reader.skip(wire_type)?,
        }
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::STALE_NAN_BITS;

    #[test]
    fn every_form_of_a_sample() {
        let check = |message: &[u8], expected: Result<(i64, u64), Malformed>| {
            let got = parse_sample(message).map(|sample| (sample.t_ms, sample.value.to_bits()));
            assert_eq!(got, expected, "{message:02x?}");
        };
        let stale = [&[0x09], &STALE_NAN_BITS.to_le_bytes()[..]].concat();
        check(&[], Ok((0, 0)));
        check(&stale, Ok((0, STALE_NAN_BITS)));
        check(&[0x10, 0x05], Ok((5, 0)));
        check(&[&stale[..], &[0x10, 0x05]].concat(), Ok((5, STALE_NAN_BITS)));
        check(&[&[0x10, 0x05], &stale[..]].concat(), Ok((5, STALE_NAN_BITS)));
        check(&[0x10, 0x05, 0x18, 0x07], Ok((5, 0)));
        check(&[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Ok((-1, 0)));
        check(&[0x10], Err(Malformed::Truncated));
        check(&[0x09, 1, 2], Err(Malformed::Truncated));
        check(&[0x11, 1, 2, 3, 4, 5, 6, 7, 8], Err(Malformed::FieldType));
        check(&[0x08, 1], Err(Malformed::FieldType));
    }

    #[test]
    fn six_bytes_read_as_the_plain_varint() {
        for shift in 0..43 {
            for t in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) | 0x155_5555_5555, 1_763_800_000_123] {
                let mut bytes = Vec::new();
                prost::encoding::encode_varint(t, &mut bytes);
                let expected = (bytes.len() == 6).then_some(t as i64);
                assert_eq!(six_byte_varint(&bytes), expected, "{t}");
            }
        }
    }
}
