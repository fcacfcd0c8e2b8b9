//! The frames of a streamed remote read: each the length of its message as a varint, the message's CRC-32C (big endian), the
//! message.
//!
//! Owns the frame that is being read, up to a limit; never looks into a message.

use anyhow::anyhow;

use super::client::Failure;

/// Bytes of a message. Prometheus closes one after 1 MiB (`--storage.remote.read-max-bytes-in-frame`), whatever a series adds.
const MESSAGE_BYTES_MAX: u64 = 32 << 20;

/// Bytes of a length that can be valid.
const LENGTH_BYTES_MAX: usize = 5;

/// Frames that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a frame; at most one frame and one piece.
    rest: Vec<u8>,
}

impl Frames {
    /// Takes a piece of the stream; hands every message that is complete to `read`.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        mut read: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.rest.extend_from_slice(piece);
        let mut at = 0;
        while let Some(Frame { message, crc, end }) = split(self.rest.get(at..).unwrap_or_default())? {
            if crc32c::crc32c(message) != crc {
                return Err(Failure::Cut(anyhow!("a frame of remote read was damaged on the way: wrong CRC")));
            }
            read(message)?;
            at += end;
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// To be called at the end of the stream.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Failure::Cut(anyhow!("remote read broke off within a frame")))
    }
}

/// A frame at the beginning of some bytes.
struct Frame<'a> {
    message: &'a [u8],
    /// As sent.
    crc: u32,
    /// Start of the next frame.
    end: usize,
}

/// The first frame; `None` where it isn't complete.
fn split(bytes: &[u8]) -> Result<Option<Frame<'_>>, Failure> {
    let Some(last) = bytes.iter().take(LENGTH_BYTES_MAX).position(|byte| *byte < 0x80) else {
        let is_short = bytes.len() < LENGTH_BYTES_MAX;
        return if is_short { Ok(None) } else { Err(garbage()) };
    };
    let (length, rest) = bytes.split_at(last + 1);
    let length = length.iter().rev().fold(0_u64, |length, byte| length << 7 | u64::from(byte & 0x7f));
    if length > MESSAGE_BYTES_MAX {
        return Err(garbage());
    }
    let Some((crc, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = length as usize;
    let frame = |message| Frame { message, crc: u32::from_be_bytes(*crc), end: last + 5 + length };
    Ok(rest.get(..length).map(frame))
}

fn garbage() -> Failure {
    Failure::Fatal(anyhow!("the answer of remote read is no stream of frames; use --from-type range-query"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        prost::encode_length_delimiter(message.len(), &mut frame).unwrap();
        frame.extend(crc32c::crc32c(message).to_be_bytes());
        frame.extend(message);
        frame
    }

    fn read(stream: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, String> {
        let (mut frames, mut messages) = (Frames::default(), Vec::new());
        let mut take = |piece| {
            frames.take(piece, |message| {
                messages.push(message.to_vec());
                Ok(())
            })
        };
        let taken = stream.chunks(piece).try_for_each(&mut take);
        taken.and_then(|()| frames.end()).map_err(|failure| format!("{failure:?}"))?;
        Ok(messages)
    }

    #[test]
    fn frames_come_out_whole() {
        let messages = [b"one".to_vec(), Vec::new(), vec![7; 300]];
        let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message)).collect();
        for piece in [1, 2, 5, 100, 1_000] {
            assert_eq!(read(&stream, piece), Ok(messages.to_vec()), "{piece}");
        }
        assert_eq!(read(b"", 1), Ok(Vec::new()));
    }

    #[test]
    fn what_is_damaged_is_told() {
        let check = |stream: &[u8], expected: &str| {
            for piece in [1, 1_000] {
                let message = read(stream, piece).unwrap_err();
                assert!(message.contains(expected), "{message}");
            }
        };
        let mut bad = frame(b"three");
        bad[7] ^= 1;
        check(&bad, "wrong CRC");
        for n in 1..frame(b"three").len() {
            check(&frame(b"three")[..n], "broke off within a frame");
        }
        check(&[0xff; 9], "no stream of frames");
        // 4 GiB: refused before a byte of it is held.
        check(&[0x80, 0x80, 0x80, 0x80, 0x10], "no stream of frames");
        check(b"<html><body>not what you think</body></html>", "broke off within a frame");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..100), piece in 1..9_usize) {
            prop_assert!(read(&stream, piece).map_or(true, |messages| messages.len() <= stream.len()));
        }
    }
}
