//! `/metrics`, health and the page at `/`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use prometheus::TextEncoder;
use warp::Reply;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use warp::reply::Response;

use crate::results::metrics_text;

use super::{Read, reply};

const INDEX: &str = include_str!("index.html");

/// The metrics of the process, then the series of the hosts, piece by piece.
pub(super) fn metrics(read: Arc<Read>) -> Response {
    read.events.sweep(&read.results, (read.now_ms)());
    let own = match TextEncoder::new().encode_to_string(&read.registry.gather()) {
        Ok(own) => own,
        Err(error) => {
            return reply::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the metrics: {error}"));
        }
    };
    let page = metrics_text::page(&read.results, (read.now_ms)(), read.series_max);
    let pieces = Pieces(std::iter::once(Bytes::from(own)).chain(page));
    let mut response = warp::reply::stream(pieces).into_response();
    reply::set(&mut response, CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    response
}

pub(super) fn healthy() -> Response {
    reply::text(StatusCode::OK, "outlierd is healthy")
}

pub(super) fn ready(read: &Read) -> Response {
    if read.ready.load(Ordering::Relaxed) {
        reply::text(StatusCode::OK, "outlierd is ready")
    } else {
        reply::text(StatusCode::SERVICE_UNAVAILABLE, "outlierd is not ready: it is starting or stopping")
    }
}

pub(super) fn index() -> Response {
    let mut response = reply::with_type(StatusCode::OK, "text/html; charset=utf-8", INDEX);
    reply::set(&mut response, CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
    response
}

pub(super) fn unknown(path: &str) -> Response {
    reply::text(StatusCode::NOT_FOUND, &format!("{path} is not here; / lists what is"))
}

/// An iterator as a stream: the next piece is made when the last one is sent.
struct Pieces<I>(I);

impl<I: Iterator<Item = Bytes> + Unpin> warp::Stream for Pieces<I> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}
