//! Why a whole body is refused, in words that say what to do.
//!
//! Each of these is answered with 400: no retry of the same bytes can succeed. Bad series inside a good body are not
//! errors but [`super::InvalidSeries`].

use std::fmt;

/// Why a body was refused; nothing of it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The body as received is over `limits.body`.
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// `limits.body`.
        limit: usize,
    },
    /// A snappy body declares more than `limits.body`; nothing was allocated for it.
    DeclaredTooLarge {
        /// Size that its first bytes declare.
        declared: usize,
        /// `limits.body`.
        limit: usize,
    },
    /// A snappy body declares more than its own length can possibly hold; nothing was allocated for it.
    DeclaredImplausible {
        /// Size that its first bytes declare.
        declared: usize,
        /// Its size.
        bytes: usize,
    },
    /// A zstd body had not ended when `limits.body` were decompressed.
    DecompressedTooLarge {
        /// `limits.body`.
        limit: usize,
    },
    /// Not valid snappy (block format).
    Snappy(snap::Error),
    /// Not valid zstd; zstd's own words.
    Zstd(String),
    /// Not a remote write message.
    Protobuf {
        /// Start of the top-level field that is malformed, in decompressed bytes.
        at: usize,
        /// Defect of that field.
        problem: Malformed,
    },
}

/// Defect of a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A length or a value reaches beyond the message that holds it.
    Truncated,
    /// A varint has more than 64 bits.
    Varint,
    /// A field number is 0 or over 2^29.
    FieldNumber,
    /// A group or a wire type that doesn't exist.
    WireType,
    /// A known field has another field's wire type.
    FieldType,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a field reaches beyond its message",
            Self::Varint => "a varint has more than 64 bits",
            Self::FieldNumber => "a field number is out of range",
            Self::WireType => "a field has an unsupported wire type",
            Self::FieldType => "a field has the wrong wire type",
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyTooLarge { bytes, limit } => write!(
                f,
                "the body has {bytes} bytes; the limit is {limit} (limits.body): send smaller blocks or raise it"
            ),
            Self::DeclaredTooLarge { declared, limit } => write!(
                f,
                "the body declares {declared} bytes when decompressed; the limit is {limit} (limits.body): \
                 send smaller blocks or raise it"
            ),
            Self::DeclaredImplausible { declared, bytes } => write!(
                f,
                "the body declares {declared} bytes when decompressed, which {bytes} bytes of snappy cannot hold: \
                 send snappy in block format, or zstd"
            ),
            Self::DecompressedTooLarge { limit } => write!(
                f,
                "the body has more than {limit} bytes when decompressed (limits.body): \
                 send smaller blocks or raise the limit"
            ),
            Self::Snappy(error) => {
                write!(f, "cannot decompress the body ({error}): send snappy in block format, or zstd")
            }
            Self::Zstd(error) => write!(f, "cannot decompress the body as zstd ({error})"),
            Self::Protobuf { at, problem } => write!(
                f,
                "the decompressed body is not a prometheus.WriteRequest: {problem}, in the field at byte {at}; \
                 send remote write 1.0"
            ),
        }
    }
}

impl std::error::Error for DecodeError {}
