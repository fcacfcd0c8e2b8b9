//! From a request's body to a message: snappy and zstd into one reused buffer, with every cap checked before memory is taken.
//!
//! Knows nothing of protobuf.

use snap::raw::{Decoder as Snappy, decompress_len};
use zstd::stream::raw::{DParameter, InBuffer, OutBuffer};
use zstd::zstd_safe::{DCtx, ResetDirective, get_error_name};

use super::error::DecodeError;

/// The buffer is kept for the next body up to this size: vmagent's largest block when unpacked (`-remoteWrite.maxBlockSize`).
const RETAINED_BYTES: usize = 8 << 20;

/// The first buffer; a fifth of a usual block of 10,000 samples.
const FIRST_BYTES: usize = 256 << 10;

/// zstd's window is memory that the sender chooses: 2^23 bytes is what RFC 8878 asks every decoder to support, and more than
/// the levels that agents use need.
const WINDOW_LOG_MAX: u32 = 23;

/// The densest snappy element copies 64 bytes and takes 3.
const SNAPPY_RATIO_MAX: usize = 22;

/// Compression of a body, as its `Content-Encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Remote write 1.0; block format, never framed.
    Snappy,
    /// VictoriaMetrics' remote write.
    Zstd,
}

impl Encoding {
    /// Returns the encoding that the bytes say, whatever the header said: vmagents before v1.116 mislabel blocks that they had
    /// queued in the other encoding. No valid snappy body starts like a zstd frame, as its first element would be a copy from
    /// nowhere.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        match body {
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Snappy,
        }
    }
}

/// Decompresses one body after the other.
pub(super) struct Decompressor {
    /// The last message, and room behind it. Its length only grows (up to `body_bytes`) until `trim`, so that it is zeroed
    /// once and not per body.
    buffer: Vec<u8>,
    /// zstd's state, some 100 KB; created when the first zstd body arrives.
    zstd: Option<DCtx<'static>>,
}

impl Decompressor {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), zstd: None }
    }

    /// The decompressed body, of at most `limit` bytes. An empty body is an empty message.
    pub(super) fn decompress(&mut self, body: &[u8], said: Encoding, limit: usize) -> Result<&[u8], DecodeError> {
        if body.is_empty() {
            return Ok(&[]);
        }
        if body.len() > limit {
            return Err(DecodeError::BodyTooLarge { bytes: body.len(), limit });
        }
        let n = match Encoding::of(body) {
            Encoding::Snappy => self.snappy(body, limit).map_err(|error| match (said, error) {
                (Encoding::Zstd, DecodeError::Snappy(_) | DecodeError::DeclaredImplausible { .. }) => {
                    DecodeError::Zstd("no zstd frame, and not snappy either".to_owned())
                }
                (_, error) => error,
            }),
            Encoding::Zstd => self.zstd(body, limit),
        }?;
        Ok(&self.buffer[..n])
    }

    fn snappy(&mut self, body: &[u8], limit: usize) -> Result<usize, DecodeError> {
        let declared = decompress_len(body).map_err(DecodeError::Snappy)?;
        if declared > limit {
            return Err(DecodeError::DeclaredTooLarge { declared, limit });
        }
        if declared / SNAPPY_RATIO_MAX > body.len() {
            return Err(DecodeError::DeclaredImplausible { declared, bytes: body.len() });
        }
        grow(&mut self.buffer, declared);
        Snappy::new().decompress(body, &mut self.buffer[..declared]).map_err(DecodeError::Snappy)
    }

    /// Ignores the size that a frame declares: the buffer grows with what really comes out. Several frames are one message.
    fn zstd(&mut self, body: &[u8], limit: usize) -> Result<usize, DecodeError> {
        let refused = |code| DecodeError::Zstd(get_error_name(code).to_owned());
        let mut context = self.zstd.take().unwrap_or_else(DCtx::create);
        context.reset(ResetDirective::SessionOnly).map_err(refused)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(refused)?;
        let context = self.zstd.insert(context);

        let mut input = InBuffer::around(body);
        let mut written = 0;
        loop {
            if written == self.buffer.len() && written <= limit {
                // One byte over the limit, to tell a message that ends there from one that goes on.
                let grown = (2 * written).max(FIRST_BYTES).min(limit.saturating_add(1));
                grow(&mut self.buffer, grown);
            }
            let room = self.buffer.len().min(limit.saturating_add(1));
            let mut output = OutBuffer::around(&mut self.buffer[written..room]);
            let expected = context.decompress_stream(&mut output, &mut input).map_err(refused)?;
            let now = output.pos();
            written += now;
            if written > limit {
                return Err(DecodeError::DecompressedTooLarge { limit });
            }
            let all_read = input.pos() == body.len();
            if expected == 0 && all_read {
                return Ok(written);
            }
            if all_read && written < room {
                return Err(DecodeError::Zstd("the last frame is cut off".to_owned()));
            }
        }
    }

    /// Gives back what an unusually big body has taken. Call when its message is no longer needed.
    pub(super) fn trim(&mut self) {
        self.buffer.truncate(RETAINED_BYTES);
        self.buffer.shrink_to(RETAINED_BYTES);
    }
}

/// To `len` and not a byte more: growing by doubling could pass the limit.
fn grow(buffer: &mut Vec<u8>, len: usize) {
    if let Some(more) = len.checked_sub(buffer.len()) {
        buffer.reserve_exact(more);
        buffer.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 32 << 20;

    fn snappy(message: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(message).unwrap()
    }

    fn zstd(message: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(message, 1).unwrap()
    }

    /// A frame that doesn't declare its size.
    fn zstd_stream(message: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(message, 1).unwrap()
    }

    #[test]
    fn bombs_are_refused() {
        let check = |body: &[u8], buffer_max: usize, expected: &str| {
            let mut decompressor = Decompressor::new();
            let error = decompressor.decompress(body, Encoding::of(body), LIMIT).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(
                decompressor.buffer.capacity() <= buffer_max,
                "{} bytes for {expected}",
                decompressor.buffer.capacity()
            );
        };
        // The 47 bytes of client_golang's pull request 1917.
        let published = [
            &[0x97, 0xea, 0xb4, 0x89, 0x0a, 0x17, 0x0a, 0x08][..],
            b"__name__\x12\x0btest_metric\x12\x10\x09\0\0\0\0\0\0\xf0\x3f\x10\xd4\x8f\xc9\xb2\xa3\x33",
        ]
        .concat();
        assert_eq!(published.len(), 47);
        let declared = "bytes when decompressed; the limit is 33554432 (limits.body): send smaller blocks or raise it";
        check(&published, 0, &format!("the body declares 2704094487 {declared}"));
        // 32 MiB, which is within the limit, declared by five bytes.
        let implausible = "which 5 bytes of snappy cannot hold: send snappy in block format, or zstd";
        let tiny = [0x80, 0x80, 0x80, 0x10, 0x00];
        check(&tiny, 0, &format!("the body declares 33554432 bytes when decompressed, {implausible}"));

        let zeros = vec![0; 100 << 20];
        check(&snappy(&zeros), 0, &format!("the body declares 104857600 {declared}"));
        let over = "the body has more than 33554432 bytes when decompressed (limits.body): \
                    send smaller blocks or raise the limit";
        check(&zstd(&zeros), LIMIT + 1, over);
        check(&zstd_stream(&zeros), LIMIT + 1, over);
        let as_received = "the body has 104857600 bytes; the limit is 33554432 (limits.body)";
        check(&zeros, 0, &format!("{as_received}: send smaller blocks or raise it"));
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let limit = 1 << 20;
        for (bytes, fits) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
            let message: Vec<_> = (0..bytes).map(|i| ((i * i) >> 8) as u8).collect();
            for body in [snappy(&message), zstd(&message), zstd_stream(&message)] {
                let mut decompressor = Decompressor::new();
                let decompressed = decompressor.decompress(&body, Encoding::of(&body), limit);
                assert_eq!(decompressed.is_ok(), fits, "{bytes}");
                assert!(decompressed.map_or(true, |d| d == message), "{bytes}");
            }
        }
    }

    #[test]
    fn a_zstd_window_beyond_the_bound_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, &[0; 1000]).unwrap();
        let body = encoder.finish().unwrap();
        let error = Decompressor::new().decompress(&body, Encoding::Zstd, LIMIT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot decompress the body as zstd (Frame requires too much memory for decoding)"
        );
    }

    #[test]
    fn several_zstd_frames_are_one_message() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
        let body = [&skippable[..], &zstd(b"one "), &zstd_stream(b"message")].concat();
        let mut decompressor = Decompressor::new();
        assert_eq!(decompressor.decompress(&body, Encoding::Snappy, LIMIT).unwrap(), b"one message");
        assert!(decompressor.decompress(&body[..body.len() - 1], Encoding::Zstd, LIMIT).is_err());
        assert_eq!(decompressor.decompress(&snappy(b"next"), Encoding::Zstd, LIMIT).unwrap(), b"next");
    }

    #[test]
    fn a_big_body_is_forgotten() {
        let mut decompressor = Decompressor::new();
        decompressor.decompress(&snappy(&vec![1; 20 << 20]), Encoding::Snappy, LIMIT).unwrap();
        decompressor.trim();
        assert_eq!(decompressor.buffer.capacity(), RETAINED_BYTES);
    }
}
