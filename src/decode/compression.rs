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

/// How a body is compressed, as its `Content-Encoding` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Remote write 1.0; block format, never framed.
    Snappy,
    /// VictoriaMetrics' remote write.
    Zstd,
}

impl Encoding {
    /// What the bytes say, whatever the header said: vmagents before v1.116 mislabel blocks that they had queued in the other
    /// encoding. No valid snappy body starts like a zstd frame, as its first element would be a copy from nowhere.
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
        if self.buffer.len() < declared {
            self.buffer.resize(declared, 0);
        }
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
                self.buffer.resize(grown, 0);
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
