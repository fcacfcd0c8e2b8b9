//! Remote write: negotiation, body, back pressure and status codes. What the bytes mean is `decode`'s.
//!
//! vmagent drops a block that is answered 400 or 415 (after sending it again as snappy) and repeats it for ever on any other
//! error; Prometheus repeats 5xx alone. So 400 is for what can never succeed, oversize too, and 429 and 503 say that nothing
//! was applied.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use prometheus::{IntCounter, Registry};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use warp::Stream;
use warp::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

use crate::config::Limits;
use crate::decode::Encoding;
use crate::serve::ingest::WriteError;

use super::body::{self, BodyError};
use super::{Query, reply};

/// A body of at most this size is read before it takes a place among the concurrent requests: a block of vmagent, compressed.
const SMALL_BODY_BYTES: usize = 256 << 10;

/// The parameter of old vmagents that asks which protocol the receiver speaks; `1` is zstd.
const HANDSHAKE: &str = "get_vm_proto_version";

/// When a sender may come back after it found the service stopping, in seconds.
const STOPPING_RETRY_S: u64 = 5;

/// When a sender may come back after it found no place, in seconds.
const BUSY_RETRY_S: u64 = 5;

/// Of the longest path.
const PATH_SEGMENTS_MAX: usize = 6;

/// State that all writes share.
#[derive(Debug)]
pub(super) struct Gate<F> {
    write: F,
    /// One per request that is read and decoded at the moment.
    permits: Semaphore,
    queue_wait: Duration,
    body_bytes_max: usize,
    body_bytes: IntCounter,
}

/// An answer that is not 204.
struct Refusal {
    status: StatusCode,
    message: String,
    retry_after_s: Option<u64>,
    /// Whether the rest of the body is worth reading, so that the sender sees the answer.
    discard: bool,
}

/// Whether senders expect remote write at `path`: those of Prometheus, VictoriaMetrics (for any tenant of a cluster too), Mimir,
/// Cortex and Thanos, so that the address of one of them works with another host. Slashes may be doubled, as where a base URL
/// that ends with one was put before a path.
pub(super) fn is_path(path: &str) -> bool {
    let segments: Vec<&str> =
        path.split('/').filter(|segment| !segment.is_empty()).take(PATH_SEGMENTS_MAX + 1).collect();
    match segments.as_slice() {
        ["api", "v1", "write" | "push" | "receive"] | ["write" | "receive"] | ["api", "prom", "push"] => true,
        ["prometheus", "api", "v1", "write"] => true,
        ["insert", tenant, "prometheus", "api", "v1", "write"] => is_tenant(tenant),
        _ => false,
    }
}

/// `account` or `account:project`, both numbers.
fn is_tenant(tenant: &str) -> bool {
    let (account, project) = tenant.split_once(':').unwrap_or((tenant, "0"));
    [account, project].iter().all(|id| id.parse::<u32>().is_ok())
}

/// Answers one request.
pub(super) async fn answer<F, Fut, S, B>(
    gate: &Arc<Gate<F>>,
    method: &Method,
    query: &Query,
    headers: &HeaderMap,
    body: S,
) -> Response
where
    F: Fn(Bytes, Encoding) -> Fut,
    Fut: Future<Output = Result<(), WriteError>>,
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    if query.iter().any(|(name, _)| name == HANDSHAKE) {
        return reply::with_type(StatusCode::OK, "text/plain; charset=utf-8", "1");
    }
    if method != Method::POST {
        return reply::method_not_allowed("POST");
    }
    let mut body = pin!(body);
    let refusal = match take(gate, headers, &mut body).await {
        Ok(()) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        Err(refusal) => refusal,
    };
    if refusal.discard {
        body::discard(&mut body, gate.body_bytes_max).await;
    }
    refusal.into_response()
}

async fn take<F, Fut, S, B>(
    gate: &Gate<F>,
    headers: &HeaderMap,
    body: &mut std::pin::Pin<&mut S>,
) -> Result<(), Refusal>
where
    F: Fn(Bytes, Encoding) -> Fut,
    Fut: Future<Output = Result<(), WriteError>>,
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    check_type(headers)?;
    let encoding = encoding(headers)?;
    let declared = header(headers, &CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    // What does not fit into usize does not fit into memory.
    let declared = declared.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if declared.is_some_and(|bytes| bytes > gate.body_bytes_max) {
        return Err(BodyError::TooLarge(gate.body_bytes_max).into());
    }
    // Old senders send empty blocks; there is nothing to apply.
    let Some(first) = body::first(body).await? else { return Ok(()) };
    // Only now: a connection that sends nothing holds no place, and one that sends little not before it is all there, so that
    // slow senders don't keep others waiting.
    let is_small = declared.is_some_and(|bytes| bytes <= SMALL_BODY_BYTES);
    let early = if is_small { None } else { Some(gate.permit().await?) };
    let bytes = body::read_capped(first, body, declared, gate.body_bytes_max).await?;
    let _permit = match early {
        Some(permit) => permit,
        None => gate.permit().await?,
    };
    gate.body_bytes.inc_by(bytes.len() as u64);
    (gate.write)(bytes, encoding).await.map_err(Refusal::from)
}

/// Content-Type, before anything is read: absent means remote write 1.0.
fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(value) = header(headers, &CONTENT_TYPE) else { return Ok(()) };
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !media_type.eq_ignore_ascii_case("application/x-protobuf") {
        return Err(unsupported(format!("Content-Type must be application/x-protobuf, not {media_type}")));
    }
    let proto =
        parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("proto"));
    match proto.map(|(_, message)| message.trim().trim_matches('"')) {
        None | Some("prometheus.WriteRequest") => Ok(()),
        Some("io.prometheus.write.v2.Request") => {
            let message = "remote write 2.0 is not taken yet; send prometheus.WriteRequest (remote write 1.0)";
            Err(unsupported(message.to_owned()))
        }
        Some(other) => Err(unsupported(format!("the message {other} is not known; send prometheus.WriteRequest"))),
    }
}

/// Content-Encoding, before anything is read: absent means snappy.
fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    match header(headers, &CONTENT_ENCODING).map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "snappy") => Ok(Encoding::Snappy),
        Some("zstd") => Ok(Encoding::Zstd),
        Some(other) => Err(unsupported(format!("Content-Encoding must be snappy or zstd, not {other}"))),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("not ASCII"))
}

fn unsupported(message: String) -> Refusal {
    Refusal { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, message, retry_after_s: None, discard: true }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge(_) | BodyError::Broken(_) => StatusCode::BAD_REQUEST,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        };
        Self { status, message: error.to_string(), retry_after_s: None, discard: false }
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        let (status, message, retry_after_s) = match error {
            WriteError::Bad(message) => (StatusCode::BAD_REQUEST, message, None),
            WriteError::Overloaded { retry_after_s } => {
                let message = "too many samples at once; nothing was applied, send it again later".to_owned();
                (StatusCode::TOO_MANY_REQUESTS, message, Some(retry_after_s))
            }
            WriteError::Stopping => {
                let message = "shutting down; nothing was applied, send it again later".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, message, Some(STOPPING_RETRY_S))
            }
        };
        Self { status, message, retry_after_s, discard: false }
    }
}

impl Refusal {
    fn into_response(self) -> Response {
        let mut response = reply::text(self.status, &self.message);
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl<F> Gate<F> {
    async fn permit(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match timeout(self.queue_wait, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Ok(Err(_)) => Err(WriteError::Stopping.into()),
            Err(_) => Err(Refusal {
                status: StatusCode::TOO_MANY_REQUESTS,
                message: "too many requests at once; nothing was applied, send it again later".to_owned(),
                retry_after_s: Some(BUSY_RETRY_S),
                discard: true,
            }),
        }
    }

    pub(super) fn new(write: F, limits: &Limits, registry: &Registry) -> Result<Self, prometheus::Error> {
        let body_bytes = IntCounter::new("outlierd_write_body_bytes_total", "Bytes of write bodies, as received.")?;
        registry.register(Box::new(body_bytes.clone()))?;
        Ok(Self {
            write,
            permits: Semaphore::new(limits.concurrent_requests.clamp(1, Semaphore::MAX_PERMITS)),
            queue_wait: Duration::from_millis(limits.queue_wait_ms),
            body_bytes_max: limits.body_bytes,
            body_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_remote_write() {
        let check = |path: &str, expected: bool| assert_eq!(is_path(path), expected, "{path}");
        check("/api/v1/write", true);
        check("/api/v1/push", true);
        check("/api/v1/receive", true);
        check("/api/prom/push", true);
        check("/write", true);
        check("/receive", true);
        check("/prometheus/api/v1/write", true);
        check("/insert/0/prometheus/api/v1/write", true);
        check("/insert/12:345/prometheus/api/v1/write", true);
        check("//api/v1/write", true);
        check("/api//v1///write", true);
        check("//receive", true);
        check("/insert//0/prometheus//api/v1/write/", true);

        check("/", false);
        check("/api/v1", false);
        check("/api/v1/write/x", false);
        check("/x/api/v1/write", false);
        check("/insert/prometheus/api/v1/write", false);
        check("/insert/a/prometheus/api/v1/write", false);
        check("/insert/0:b/prometheus/api/v1/write", false);
        check("/insert/1:2:3/prometheus/api/v1/write", false);
        check("/insert/-1/prometheus/api/v1/write", false);
        check("/insert/0/prometheus/api/v1/write/x", false);
        check("/a/b/c/d/e/f/g/h", false);
    }
}
