//! HTTP: remote write in, results out. The only files that name warp.
//!
//! Every route answers for itself, wrong methods included, so that no rejection is left for warp to put into words. All
//! state is in [`Deps`], shared by every request.

mod body;
mod host;
mod hosts;
mod meter;
mod pages;
mod reply;
mod serve;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method};
use warp::reply::Response;

use crate::config::Limits;
use crate::decode::Encoding;
use crate::results::Results;
use crate::series::TimestampMs;

use meter::Meter;

pub use crate::ingest::WriteError;
pub use serve::serve;

/// What the service answers: all routes as one filter that never rejects.
pub type Routes = BoxedFilter<(Response,)>;

/// What the routes answer from.
#[derive(Debug, Clone)]
pub struct Deps<F> {
    /// What is known of the hosts.
    pub results: Arc<Results>,
    /// The metrics of this process; the routes add their own.
    pub registry: prometheus::Registry,
    /// False until the service can take samples.
    pub ready: Arc<AtomicBool>,
    /// Our clock.
    pub now_ms: fn() -> TimestampMs,
    /// Takes the body of a write: decodes it and hands it to the shards. An error means that nothing was applied, except
    /// [`WriteError::Bad`].
    pub write: F,
    /// What bounds requests and pages.
    pub limits: Limits,
}

/// A query string, decoded.
type Query = Vec<(String, String)>;

/// What a read answers from.
struct Read {
    results: Arc<Results>,
    registry: prometheus::Registry,
    ready: Arc<AtomicBool>,
    now_ms: fn() -> TimestampMs,
    series_max: usize,
    meter: Meter,
}

/// All routes.
///
/// # Errors
/// Where the registry has one of the metrics already.
pub fn routes<F, Fut>(deps: Deps<F>) -> Result<Routes, prometheus::Error>
where
    F: Fn(Bytes, Encoding) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), WriteError>> + Send + 'static,
{
    let meter = Meter::new(&deps.registry)?;
    let gate = Arc::new(write::Gate::new(deps.write, &deps.limits, &deps.registry)?);
    let read = Arc::new(Read {
        results: deps.results,
        registry: deps.registry,
        ready: deps.ready,
        now_ms: deps.now_ms,
        series_max: deps.limits.result_series,
        meter: meter.clone(),
    });
    let routes = write_route(gate, meter)
        .or(read_route(&read, "metrics", warp::path!("metrics").boxed(), |read, _| pages::metrics(read)))
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
        .or(read_route(&read, "index", warp::path::end().boxed(), |_, _| pages::index()))
        .unify()
        .or(unknown_route(read))
        .unify();
    Ok(routes.boxed())
}

/// The paths under which senders expect remote write.
fn write_paths() -> BoxedFilter<()> {
    let api = warp::path!("api" / "v1" / "write").or(warp::path!("api" / "v1" / "push")).unify();
    api.or(warp::path!("write")).unify().or(warp::path!("prometheus" / "api" / "v1" / "write")).unify().boxed()
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
            let meter = read.meter.clone();
            async move { meter.observe(name, blocking(method, move || answer(read, query))).await }
        })
        .boxed()
}

fn host_route(read: Arc<Read>) -> BoxedFilter<(Response,)> {
    warp::path!("api" / "v1" / "hosts" / String)
        .and(warp::method())
        .then(move |name: String, method: Method| {
            let read = Arc::clone(&read);
            let meter = read.meter.clone();
            async move { meter.observe("host", blocking(method, move || host::show(&read, &name))).await }
        })
        .boxed()
}

fn unknown_route(read: Arc<Read>) -> BoxedFilter<(Response,)> {
    warp::path::full()
        .then(move |path: warp::path::FullPath| {
            let meter = read.meter.clone();
            async move { meter.observe("unknown", async { pages::unknown(path.as_str()) }).await }
        })
        .boxed()
}

/// The answer to GET and HEAD (hyper leaves the body of the latter away), 405 to anything else.
async fn blocking(method: Method, answer: impl FnOnce() -> Response + Send + 'static) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return reply::method_not_allowed("GET, HEAD");
    }
    match tokio::task::spawn_blocking(answer).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "an answer could not be made; this is a defect, please report it");
            reply::text(warp::http::StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        }
    }
}
