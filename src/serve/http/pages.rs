//! Health and the page at `/`.

use std::sync::atomic::Ordering;

use warp::http::StatusCode;
use warp::http::header::CONTENT_SECURITY_POLICY;
use warp::reply::Response;

use super::{Read, reply};

const INDEX: &str = include_str!("index.html");

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
