//! Bodies that are made while they are read: an iterator of pieces as a stream, compressed on the way where that is wanted.
//!
//! A reader holds no thread while it is slow, and costs the piece that it reads.

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::task::{JoinError, JoinHandle};

use super::read_limiter::ReadLimiter;

/// Compressed bytes that make a piece.
const GZIP_PIECE_BYTES: usize = 16 << 10;

/// The pieces of an iterator, each made beside the reactor in its turn, once the one before it is sent.
pub(super) enum ChunkedBody<I> {
    /// Waits to be asked for the next one.
    Idle(I, ReadLimiter),
    /// It is being made, or waits for its turn.
    Busy(Making<I>, ReadLimiter),
    /// There are no more.
    Done,
}

/// A piece to come, and the iterator.
type Making<I> = JoinHandle<Result<(I, Option<Bytes>), JoinError>>;

impl<I: Iterator<Item = Bytes> + Send + Unpin + 'static> warp::Stream for ChunkedBody<I> {
    type Item = Result<Bytes, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut *self, Self::Done) {
                Self::Done => return Poll::Ready(None),
                Self::Idle(mut pieces, limiter) => {
                    let making = limiter.clone().make(move || {
                        let piece = pieces.next();
                        (pieces, piece)
                    });
                    *self = Self::Busy(tokio::spawn(making), limiter);
                }
                Self::Busy(mut making, limiter) => {
                    let Poll::Ready(made) = Pin::new(&mut making).poll(context) else {
                        *self = Self::Busy(making, limiter);
                        return Poll::Pending;
                    };
                    match made.and_then(|made| made) {
                        Ok((pieces, Some(piece))) => {
                            *self = Self::Idle(pieces, limiter);
                            return Poll::Ready(Some(Ok(piece)));
                        }
                        Ok((_, None)) => return Poll::Ready(None),
                        // The connection is cut off, so that half a page isn't taken for a whole one.
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            }
        }
    }
}

/// The pieces of an iterator, compressed.
pub(super) struct Gzip<I> {
    pieces: I,
    /// `None` after the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I> Gzip<I> {
    pub(super) fn new(pieces: I) -> Self {
        // Pages repeat themselves: the fastest makes a twentieth of them already.
        Self { pieces, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Gzip<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let encoder = self.encoder.as_mut()?;
            // Writing to memory can't fail; if it did, a reader would miss the end and say so.
            match self.pieces.next() {
                Some(piece) => encoder.write_all(&piece).ok()?,
                None => return self.encoder.take()?.finish().ok().map(Bytes::from),
            }
            if encoder.get_ref().len() >= GZIP_PIECE_BYTES {
                return Some(Bytes::from(std::mem::take(encoder.get_mut())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use warp::Stream;

    use super::*;

    async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
        std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
    }

    #[tokio::test]
    async fn a_piece_is_made_when_it_is_asked_for() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let endless = std::iter::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Bytes::from_static(b"x")
        });
        let mut pieces = ChunkedBody::Idle(endless.take(3), ReadLimiter::new());
        for asked in 1..=3 {
            assert_eq!(next(&mut pieces).await.unwrap().unwrap(), "x");
            assert_eq!(made.load(Ordering::Relaxed), asked);
        }
        assert!(next(&mut pieces).await.is_none());
        assert!(next(&mut pieces).await.is_none());
    }

    #[tokio::test]
    async fn a_page_that_breaks_off_is_an_error() {
        let broken = std::iter::repeat_with(|| -> Bytes { panic!("on purpose") });
        let mut pieces = ChunkedBody::Idle(broken, ReadLimiter::new());
        assert!(next(&mut pieces).await.unwrap().is_err());
        assert!(next(&mut pieces).await.is_none());
    }

    #[test]
    fn gzip_comes_in_pieces() {
        // 4 MB that do not compress well.
        let mut random = crate::base::random::SplitMix64::new(1);
        let page: Vec<Bytes> =
            (0..64).map(|_| (0..8_192).flat_map(|_| random.bits().to_le_bytes()).collect::<Vec<u8>>().into()).collect();
        let pieces: Vec<Bytes> = Gzip::new(page.clone().into_iter()).collect();
        assert!(pieces.len() >= 64 && pieces.iter().all(|piece| piece.len() < 256 << 10));
        let (compressed, mut text) = (pieces.concat(), Vec::new());
        flate2::read::GzDecoder::new(&*compressed).read_to_end(&mut text).unwrap();
        assert!(text == page.concat());
        // Nothing at all is a page too.
        let mut nothing = Gzip::new(std::iter::empty());
        let bytes = nothing.next().unwrap();
        assert_eq!(flate2::read::GzDecoder::new(&*bytes).read_to_end(&mut text).unwrap(), 0);
        assert!(nothing.next().is_none());
    }
}
