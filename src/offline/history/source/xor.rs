//! Prometheus' XOR chunks: delta-of-delta timestamps and XORed values, bit by bit, as tsdb/chunkenc writes them.
//!
//! Reads any bytes without a panic; allocates nothing.

use crate::series::Sample;

/// Why bytes are no XOR chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadChunk(pub &'static str);

/// Hands the samples of a chunk to `take` in order of time, and says how many there were. It may have taken some before an error.
///
/// # Errors
/// The chunk ends early or its values cannot be, or the first error of `take`.
pub fn samples<E: From<BadChunk>>(data: &[u8], mut take: impl FnMut(Sample) -> Result<(), E>) -> Result<usize, E> {
    let Some((count, stream)) = data.split_first_chunk::<2>() else { return Err(BadChunk("no header").into()) };
    let n_samples = usize::from(u16::from_be_bytes(*count));
    let mut bits = Bits { bytes: stream, at: 0 };
    let (mut t_ms, mut delta_ms) = (0_i64, 0_i64);
    let mut value = Value::default();
    for i in 0..n_samples {
        match i {
            0 => {
                t_ms = bits.varint()?;
                value.bits = bits.take(64)?;
            }
            1 => {
                delta_ms = bits.uvarint()? as i64;
                t_ms = t_ms.wrapping_add(delta_ms);
                value.read(&mut bits)?;
            }
            _ => {
                delta_ms = delta_ms.wrapping_add(bits.delta_of_delta()?);
                t_ms = t_ms.wrapping_add(delta_ms);
                value.read(&mut bits)?;
            }
        }
        take(Sample { t_ms, value: f64::from_bits(value.bits) })?;
    }
    Ok(n_samples)
}

/// The newest value, and which of its bits the next one may differ in.
#[derive(Debug, Default)]
struct Value {
    bits: u64,
    /// Leading bits that were equal; together with `trailing` at most 64.
    leading: u32,
    /// Trailing bits that were equal.
    trailing: u32,
}

impl Value {
    fn read(&mut self, bits: &mut Bits<'_>) -> Result<(), BadChunk> {
        if bits.take(1)? == 0 {
            return Ok(());
        }
        if bits.take(1)? == 1 {
            self.leading = bits.take(5)? as u32;
            // All 64 don't fit into the field.
            let significant = match bits.take(6)? as u32 {
                0 => 64,
                n => n,
            };
            self.trailing =
                64_u32.checked_sub(self.leading + significant).ok_or(BadChunk("a value of more than 64 bits"))?;
        }
        let significant = bits.take(64 - self.leading - self.trailing)?;
        self.bits ^= significant.checked_shl(self.trailing).unwrap_or(0);
        Ok(())
    }
}

/// Bits of a chunk, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl Bits<'_> {
    /// The next `n` bits, at most 64, as the low ones of a number.
    fn take(&mut self, n: u32) -> Result<u64, BadChunk> {
        let (mut out, mut left) = (0_u64, n);
        while left > 0 {
            let byte = *self.bytes.get(self.at / 8).ok_or(BadChunk("it ends early"))?;
            let unread = 8 - (self.at % 8) as u32;
            let now = left.min(unread);
            let part = (u64::from(byte) >> (unread - now)) & ((1 << now) - 1);
            out = (out << now) | part;
            self.at += now as usize;
            left -= now;
        }
        Ok(out)
    }

    fn uvarint(&mut self) -> Result<u64, BadChunk> {
        let mut out = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(8)?;
            out |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(out);
            }
        }
        Err(BadChunk("a number of more than 64 bits"))
    }

    fn varint(&mut self) -> Result<i64, BadChunk> {
        let folded = self.uvarint()?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    /// Reads a number; the count of ones before it says how many bits it has.
    fn delta_of_delta(&mut self) -> Result<i64, BadChunk> {
        for size in [0, 14, 17, 20] {
            if self.take(1)? == 0 {
                let bits = self.take(size)? as i64;
                // One more positive number than negative ones, unlike two's complement.
                let is_negative = size > 0 && bits > 1 << (size - 1);
                return Ok(if is_negative { bits - (1 << size) } else { bits });
            }
        }
        Ok(self.take(64)? as i64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(data: &[u8]) -> Result<Vec<(i64, u64)>, BadChunk> {
        let mut out = Vec::new();
        samples(data, |sample| {
            out.push((sample.t_ms, sample.value.to_bits()));
            Ok::<(), BadChunk>(())
        })?;
        Ok(out)
    }

    /// Bits from `0` and `1`; blanks are for the reader.
    fn chunk(count: u16, bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let byte = |bits: &[u8]| bits.iter().enumerate().fold(0, |byte, (i, bit)| byte | bit << (7 - i));
        count.to_be_bytes().into_iter().chain(bits.chunks(8).map(byte)).collect()
    }

    /// 1.0: sign and exponent 0x3ff.
    fn one() -> String {
        format!("{:064b}", 1.0_f64.to_bits())
    }

    #[test]
    fn every_form_of_a_time_and_a_value() {
        let check = |count, rest: &str, expected: &[(i64, f64)]| {
            // The first time is 5 (folded 10), the second 3 later.
            let data = chunk(count, &format!("00001010 {} {rest}", one()));
            let expected: Vec<(i64, u64)> = expected.iter().map(|(t, v)| (*t, v.to_bits())).collect();
            assert_eq!(read(&data), Ok(expected), "{rest}");
        };
        check(1, "", &[(5, 1.0)]);
        check(2, "00000011 0", &[(5, 1.0), (8, 1.0)]);
        // No delta of the delta; 14 bits of +1; of -1; the largest positive number of 14 bits.
        check(3, "00000011 0 0 0", &[(5, 1.0), (8, 1.0), (11, 1.0)]);
        check(3, "00000011 0 10 00000000000001 0", &[(5, 1.0), (8, 1.0), (12, 1.0)]);
        check(3, "00000011 0 10 11111111111111 0", &[(5, 1.0), (8, 1.0), (10, 1.0)]);
        check(3, "00000011 0 10 10000000000000 0", &[(5, 1.0), (8, 1.0), (11 + 8_192, 1.0)]);
        check(3, "00000011 0 110 00000000000000010 0", &[(5, 1.0), (8, 1.0), (13, 1.0)]);
        check(3, "00000011 0 1110 00000000000000000010 0", &[(5, 1.0), (8, 1.0), (13, 1.0)]);
        let long = format!("00000011 0 1111 {:064b} 0", (1_i64 << 40) as u64);
        check(3, &long, &[(5, 1.0), (8, 1.0), (11 + (1 << 40), 1.0)]);
        // 1.5 differs from 1 in bit 51: 12 equal bits before, one that differs; then 1 again within the same bits.
        check(3, "00000011 11 01100 000001 1 0 10 1", &[(5, 1.0), (8, 1.5), (11, 1.0)]);
        // All 64 bits.
        let minus = format!("00000011 11 00000 000000 {:064b}", 1.0_f64.to_bits() ^ (-1.0_f64).to_bits() | 1);
        check(2, &minus, &[(5, 1.0), (8, f64::from_bits((-1.0_f64).to_bits() | 1))]);
    }

    #[test]
    fn what_ends_early_or_cannot_be_is_refused() {
        let check = |data: &[u8], expected: &'static str| assert_eq!(read(data), Err(BadChunk(expected)));
        check(&[], "no header");
        check(&[0], "no header");
        check(&chunk(1, ""), "it ends early");
        check(&chunk(1, "00001010"), "it ends early");
        check(&chunk(1, &"1".repeat(100)), "a number of more than 64 bits");
        check(&chunk(2, &format!("00001010 {} 00000011 11 11111 111111", one())), "a value of more than 64 bits");
        assert_eq!(read(&chunk(0, "")), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let read = read(&data);
            // A sample after the first two has two bits at least.
            prop_assert!(read.is_err() || read.unwrap_or_default().len() <= 8 * data.len());
        }
    }
}
