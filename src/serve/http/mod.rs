//! HTTP: remote write in, results out. The only files that name warp.
//!
//! Every route answers for itself, wrong methods included, so that no rejection is left for warp to put into words. All
//! state is in [`Deps`], shared by every request.

mod body;
mod chunked_body;
mod events;
mod feedback;
mod host;
mod hosts;
mod meter;
mod metrics;
mod negotiation;
mod own_metrics;
mod pages;
mod read_limiter;
mod reload;
mod reply;
mod serve;
mod silences;
mod status;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tokio::sync::mpsc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderMap, Method};
use warp::reply::Response;

use crate::base::clock::Clock;
use crate::config::{Limits, Metrics};
use crate::decode::Encoding;
use crate::results::Results;
use crate::results::events::Events;
use crate::results::feedback::Feedback;
use crate::serve::ingest::Ingest;
use crate::serve::silences::Silences;

use meter::Meter;
use read_limiter::ReadLimiter;

pub use crate::serve::ingest::WriteError;
pub use reload::ReloadRequest;
pub use serve::serve;

/// Answers of the service: all routes as one filter that never rejects.
pub type Routes = BoxedFilter<(Response,)>;

/// Dependencies that the routes answer from.
#[derive(Debug, Clone)]
pub struct Deps<F> {
    /// Results: what is known of the hosts.
    pub results: Arc<Results>,
    /// Events: when they were flagged.
    pub events: Arc<Events>,
    /// Opinions that were given of them.
    pub feedback: Arc<Feedback>,
    /// Record of who sends what.
    pub ingest: Arc<Ingest>,
    /// The metrics of this process; the routes add their own.
    pub registry: prometheus::Registry,
    /// False until the service can take samples.
    pub ready: Arc<AtomicBool>,
    /// The time.
    pub clock: Clock,
    /// Takes the body of a write: decodes it and hands it to the shards. An error means that nothing was applied, except
    /// [`WriteError::Bad`].
    pub write: F,
    /// Silences, which the routes list and change.
    pub silences: Silences,
    /// Limits of requests.
    pub limits: Limits,
    /// Limits of `/metrics`.
    pub metrics: Metrics,
    /// Channel to the task that reloads the configuration; nobody does where `None`.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
}

/// A query string, decoded.
type Query = Vec<(String, String)>;

/// Dependencies that a read answers from.
struct Read {
    results: Arc<Results>,
    events: Arc<Events>,
    feedback: Arc<Feedback>,
    ingest: Arc<Ingest>,
    registry: prometheus::Registry,
    ready: Arc<AtomicBool>,
    clock: Clock,
    metrics: Metrics,
    counts: metrics::Counts,
    meter: Meter,
    /// Of everything that is read and may take long.
    limiter: ReadLimiter,
}

/// Remote write alone, for who has nothing to read.
///
/// # Errors
/// The registry has one of the metrics already.
pub fn write_routes<F, Fut>(
    write: F,
    limits: &Limits,
    registry: &prometheus::Registry,
) -> Result<Routes, prometheus::Error>
where
    F: Fn(Bytes, Encoding) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), WriteError>> + Send + 'static,
{
    let meter = Meter::new(registry)?;
    let gate = Arc::new(write::Gate::new(write, limits, registry)?);
    Ok(write_route(gate, meter.clone()).or(unknown_route(meter)).unify().boxed())
}

/// All routes.
///
/// # Errors
/// The registry has one of the metrics already.
pub fn routes<F, Fut>(deps: Deps<F>) -> Result<Routes, prometheus::Error>
where
    F: Fn(Bytes, Encoding) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), WriteError>> + Send + 'static,
{
    let meter = Meter::new(&deps.registry)?;
    let gate = Arc::new(write::Gate::new(deps.write, &deps.limits, &deps.registry)?);
    let counts = metrics::Counts::new(&deps.registry)?;
    let read = Arc::new(Read {
        limiter: ReadLimiter::new(),
        results: deps.results,
        events: deps.events,
        feedback: deps.feedback,
        ingest: deps.ingest,
        registry: deps.registry,
        ready: deps.ready,
        clock: deps.clock,
        metrics: deps.metrics,
        counts,
        meter: meter.clone(),
    });
    let routes = write_route(gate, meter.clone())
        .or(metrics_route(Arc::clone(&read)))
        .unify()
        .or(read_route(&read, "healthy", warp::path!("-" / "healthy").boxed(), |_, _| pages::healthy()))
        .unify()
        .or(read_route(&read, "ready", warp::path!("-" / "ready").boxed(), |read, _| pages::ready(&read)))
        .unify()
        .or(read_route(&read, "hosts", warp::path!("api" / "v1" / "hosts").boxed(), |read, query| {
            hosts::list(&read, &query)
        }))
        .unify()
        .or(host_route(Arc::clone(&read)))
        .unify()
        .or(silences_route(&read, deps.silences.clone()))
        .unify()
        .or(silence_route(&read, deps.silences))
        .unify()
        .or(feedback_route(&read))
        .unify()
        .or(read_route(&read, "feedback", warp::path!("api" / "v1" / "feedback").boxed(), |read, _| {
            feedback::list(&read)
        }))
        .unify()
        .or(read_route(&read, "events", warp::path!("api" / "v1" / "events").boxed(), |read, query| {
            events::list(&read, &query)
        }))
        .unify()
        .or(read_route(&read, "status", warp::path!("api" / "v1" / "status").boxed(), |read, _| status::show(&read)))
        .unify()
        .or(reload_route(deps.reload, read.meter.clone()))
        .unify()
        .or(read_route(&read, "index", warp::path::end().boxed(), |_, _| pages::index()))
        .unify()
        .or(unknown_route(meter))
        .unify();
    Ok(routes.boxed())
}

/// The paths under which senders expect remote write.
fn write_paths() -> BoxedFilter<()> {
    let check = |path: warp::path::FullPath| async move {
        if write::is_path(path.as_str()) { Ok(()) } else { Err(warp::reject::not_found()) }
    };
    warp::path::full().and_then(check).untuple_one().boxed()
}

fn write_route<F, Fut>(gate: Arc<write::Gate<F>>, meter: Meter) -> BoxedFilter<(Response,)>
where
    F: Fn(Bytes, Encoding) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), WriteError>> + Send + 'static,
{
    write_paths()
        .and(warp::method())
        .and(warp::query::<Query>())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method: Method, query: Query, headers: HeaderMap, body| {
            let (gate, meter) = (Arc::clone(&gate), meter.clone());
            async move { meter.observe("write", write::answer(&gate, &method, &query, &headers, body)).await }
        })
        .boxed()
}

/// A route that is only read; `answer` may take long and runs beside the reactor.
fn read_route(
    read: &Arc<Read>,
    name: &'static str,
    path: BoxedFilter<()>,
    answer: fn(Arc<Read>, Query) -> Response,
) -> BoxedFilter<(Response,)> {
    let read = Arc::clone(read);
    path.and(warp::method())
        .and(warp::query::<Query>())
        .then(move |method: Method, query: Query| {
            let read = Arc::clone(&read);
            let (meter, limiter) = (read.meter.clone(), read.limiter.clone());
            async move { meter.observe(name, blocking(limiter, method, move || answer(read, query))).await }
        })
        .boxed()
}

fn metrics_route(read: Arc<Read>) -> BoxedFilter<(Response,)> {
    warp::path!("metrics")
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .then(move |method: Method, headers: HeaderMap| {
            let read = Arc::clone(&read);
            let (meter, limiter) = (read.meter.clone(), read.limiter.clone());
            let page = move || metrics::page(&read, &headers);
            async move { meter.observe("metrics", blocking(limiter, method, page)).await }
        })
        .boxed()
}

fn host_route(read: Arc<Read>) -> BoxedFilter<(Response,)> {
    warp::path!("api" / "v1" / "hosts" / String)
        .and(warp::method())
        .and(warp::query::<Query>())
        .then(move |name: String, method: Method, query: Query| {
            let read = Arc::clone(&read);
            let (meter, limiter) = (read.meter.clone(), read.limiter.clone());
            let show = move || host::show(&read, &name, &query);
            async move { meter.observe("host", blocking(limiter, method, show)).await }
        })
        .boxed()
}

fn reload_route(requests: Option<mpsc::Sender<ReloadRequest>>, meter: Meter) -> BoxedFilter<(Response,)> {
    warp::path!("-" / "reload")
        .and(warp::method())
        .then(move |method: Method| {
            let (requests, meter) = (requests.clone(), meter.clone());
            async move { meter.observe("reload", reload::answer(requests.as_ref(), &method)).await }
        })
        .boxed()
}

/// A JSON body of a request that changes something; larger ones are refused.
const JSON_BYTES_MAX: usize = 64 << 10;

fn silences_route(read: &Arc<Read>, silences: Silences) -> BoxedFilter<(Response,)> {
    let read = Arc::clone(read);
    warp::path!("api" / "v1" / "silences")
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |method: Method, headers: HeaderMap, body| {
            let (clock, meter, silences) = (read.clock.clone(), read.meter.clone(), silences.clone());
            let answer = async move {
                match json_body(&method, &headers, body).await {
                    Ok(body) => silences::all(&silences, &method, &body, clock.now_ms()).await,
                    Err(refused) => refused,
                }
            };
            observed(meter, "silences", answer)
        })
        .boxed()
}

fn silence_route(read: &Arc<Read>, silences: Silences) -> BoxedFilter<(Response,)> {
    let read = Arc::clone(read);
    warp::path!("api" / "v1" / "silences" / String)
        .and(warp::method())
        .then(move |id: String, method: Method| {
            let (now_ms, meter, silences) = (read.clock.now_ms(), read.meter.clone(), silences.clone());
            let answer = async move { silences::one(&silences, &method, id, now_ms).await };
            observed(meter, "silence", answer)
        })
        .boxed()
}

fn feedback_route(read: &Arc<Read>) -> BoxedFilter<(Response,)> {
    let read = Arc::clone(read);
    warp::path!("api" / "v1" / "events" / String / "feedback")
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |id: String, method: Method, headers: HeaderMap, body| {
            let read = Arc::clone(&read);
            let meter = read.meter.clone();
            let answer = async move {
                match json_body(&method, &headers, body).await {
                    // It writes to the disk.
                    Ok(body) => on_blocking_pool(move || feedback::one(&read, &id, &method, &body)).await,
                    Err(refused) => refused,
                }
            };
            observed(meter, "event_feedback", answer)
        })
        .boxed()
}

async fn observed(meter: Meter, name: &'static str, answer: impl Future<Output = Response>) -> Response {
    meter.observe(name, answer).await
}

/// The body of a POST that is declared to be JSON: a page of another site cannot send that without asking. Empty for other methods.
async fn json_body<S, B, E>(method: &Method, headers: &HeaderMap, body: S) -> Result<Bytes, Response>
where
    S: warp::Stream<Item = Result<B, E>>,
    B: bytes::Buf,
    E: std::fmt::Display,
{
    if *method != Method::POST {
        return Ok(Bytes::new());
    }
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !declared.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(reply::unsupported("send JSON with the header Content-Type: application/json"));
    }
    let mut body = std::pin::pin!(body);
    let refused = |error: body::BodyError| match error {
        body::BodyError::TooLarge(max) => reply::bad_data(&format!("the body is larger than {max} bytes")),
        other => reply::bad_data(&other.to_string()),
    };
    let first = body::first(&mut body).await.map_err(refused)?.unwrap_or_default();
    body::read_capped(first, &mut body, None, JSON_BYTES_MAX).await.map_err(refused)
}

fn unknown_route(meter: Meter) -> BoxedFilter<(Response,)> {
    warp::path::full()
        .then(move |path: warp::path::FullPath| {
            let meter = meter.clone();
            async move { meter.observe("unknown", async { pages::unknown(path.as_str()) }).await }
        })
        .boxed()
}

/// The answer to GET and HEAD (hyper leaves the body of the latter away), 405 to anything else.
async fn blocking(
    limiter: ReadLimiter,
    method: Method,
    answer: impl FnOnce() -> Response + Send + 'static,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return reply::method_not_allowed("GET, HEAD");
    }
    response_of(limiter.make(answer).await)
}

/// An answer that may take long, made beside the reactor.
async fn on_blocking_pool(answer: impl FnOnce() -> Response + Send + 'static) -> Response {
    response_of(tokio::task::spawn_blocking(answer).await)
}

fn response_of(answer: Result<Response, tokio::task::JoinError>) -> Response {
    match answer {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "an answer could not be made; this is a defect, please report it");
            reply::text(warp::http::StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    }
}
