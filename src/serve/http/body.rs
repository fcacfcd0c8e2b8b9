//! Reads a request body of a bounded size in a bounded time.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::timeout;
use warp::Stream;

/// A body must be complete within this time.
const WHOLE: Duration = Duration::from_secs(60);

/// Something of a body must arrive within this time: a sender that stalls would keep others waiting for its place.
const STALL: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyError {
    /// More than so many bytes.
    TooLarge(usize),
    /// Not complete in time.
    TooSlow,
    /// The connection broke, or the framing is wrong.
    Broken(String),
}

/// Waits for the first bytes of a body; `None` where it is empty.
pub(super) async fn first<S, B, E>(body: &mut Pin<&mut S>) -> Result<Option<Bytes>, BodyError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: fmt::Display,
{
    let some = async {
        loop {
            match next(body).await? {
                Some(bytes) if bytes.is_empty() => {}
                other => return Ok(other),
            }
        }
    };
    timeout(WHOLE, some).await.unwrap_or(Err(BodyError::TooSlow))
}

/// `first` and all that follows it, at most `max` bytes. `declared` is the Content-Length: room is made at once.
pub(super) async fn read_capped<S, B, E>(
    first: Bytes,
    body: &mut Pin<&mut S>,
    declared: Option<usize>,
    max: usize,
) -> Result<Bytes, BodyError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: fmt::Display,
{
    if first.len() > max {
        return Err(BodyError::TooLarge(max));
    }
    if declared == Some(first.len()) {
        return Ok(first);
    }
    let whole = async {
        let mut bytes = Vec::with_capacity(declared.unwrap_or(0).clamp(first.len(), max));
        bytes.extend_from_slice(&first);
        while let Some(more) = timeout(STALL, next(body)).await.unwrap_or(Err(BodyError::TooSlow))? {
            if more.len() > max - bytes.len() {
                return Err(BodyError::TooLarge(max));
            }
            bytes.extend_from_slice(&more);
        }
        Ok(Bytes::from(bytes))
    };
    timeout(WHOLE, whole).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Reads at most `max` bytes and forgets them. An answer that comes before the end of a body closes the connection, and the
/// sender may see that instead of the answer.
pub(super) async fn discard<S, B, E>(body: &mut Pin<&mut S>, max: usize)
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: fmt::Display,
{
    let all = async {
        let mut left = max;
        while let Ok(Some(bytes)) = next(body).await {
            match left.checked_sub(bytes.len()) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    // Too slow to be discarded: the connection closes, which is all that is lost.
    let _ = timeout(STALL, all).await;
}

async fn next<S, B, E>(body: &mut Pin<&mut S>) -> Result<Option<Bytes>, BodyError>
where
    S: Stream<Item = Result<B, E>>,
    B: Buf,
    E: fmt::Display,
{
    match poll_fn(|context| body.as_mut().poll_next(context)).await {
        None => Ok(None),
        Some(Ok(mut bytes)) => Ok(Some(bytes.copy_to_bytes(bytes.remaining()))),
        Some(Err(error)) => Err(BodyError::Broken(error.to_string())),
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(max) => write!(
                f,
                "the body is larger than {max} bytes; send smaller blocks, or raise `limits.body` in the configuration"
            ),
            Self::TooSlow => f.write_str("the body did not arrive in time; send it again"),
            Self::Broken(reason) => write!(f, "cannot read the body: {reason}"),
        }
    }
}
