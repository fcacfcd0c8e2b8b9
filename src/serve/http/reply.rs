//! The forms of an answer: a line of text, or the JSON envelope that Prometheus' API has.

use serde::Serialize;
use warp::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use warp::http::{Response as HttpResponse, StatusCode};
use warp::reply::Response;

/// Longest text of an error, in bytes: senders put it into their logs.
const TEXT_BYTES: usize = 1024;

/// A body with its type.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response {
    let mut response = HttpResponse::new(body.into().into());
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, content_type);
    set(&mut response, CACHE_CONTROL, "no-store");
    set(&mut response, HeaderName::from_static("x-content-type-options"), "nosniff");
    response
}

/// One line of text, cut at 1 KB.
pub(super) fn text(status: StatusCode, message: &str) -> Response {
    let mut line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(TEXT_BYTES - 1));
    line.push('\n');
    with_type(status, "text/plain; charset=utf-8", line)
}

/// 405.
pub(super) fn method_not_allowed(allowed: &'static str) -> Response {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("method not allowed; use {allowed}"));
    set(&mut response, ALLOW, allowed);
    response
}

/// Sets a header to a text of ours.
pub(super) fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// `{"status":"success","data":…}`.
pub(super) fn success<T: Serialize>(data: &T) -> Response {
    #[derive(Serialize)]
    struct Success<'a, T> {
        status: &'static str,
        data: &'a T,
    }
    json(StatusCode::OK, &Success { status: "success", data })
}

/// `{"status":"error","errorType":"bad_data",…}`.
pub(super) fn bad_data(error: &str) -> Response {
    failure(StatusCode::BAD_REQUEST, "bad_data", error)
}

/// `{"status":"error","errorType":"not_found",…}`.
pub(super) fn not_found(error: &str) -> Response {
    failure(StatusCode::NOT_FOUND, "not_found", error)
}

/// `{"status":"error","errorType":"internal",…}`.
pub(super) fn internal(error: &str) -> Response {
    failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", error)
}

/// 415 in the API's form.
pub(super) fn unsupported(error: &str) -> Response {
    failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_data", error)
}

fn failure(status: StatusCode, error_type: &'static str, error: &str) -> Response {
    #[derive(Serialize)]
    struct Failure<'a> {
        status: &'static str,
        #[serde(rename = "errorType")]
        error_type: &'static str,
        error: &'a str,
    }
    json(status, &Failure { status: "error", error_type, error })
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write JSON: {error}")),
    }
}
