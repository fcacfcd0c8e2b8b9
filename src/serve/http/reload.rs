//! `POST /-/reload`, as Prometheus has it: 200 once the new configuration runs, 500 with all that is wrong with it.

use tokio::sync::{mpsc, oneshot};
use warp::http::StatusCode;
use warp::http::{Method, header};
use warp::reply::Response;

use super::reply;

/// Asks for a reload; gets the answer, or all that is wrong.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// `requests` is `None` where there is no configuration to read again.
pub(super) async fn answer(requests: Option<&mpsc::Sender<ReloadRequest>>, method: &Method) -> Response {
    if method != Method::POST && method != Method::PUT {
        return reply::method_not_allowed("POST, PUT");
    }
    let Some(requests) = requests else {
        return reply::text(StatusCode::NOT_FOUND, "there is no configuration to reload here");
    };
    let (done, is_done) = oneshot::channel();
    let asked = requests.send(done).await;
    match if asked.is_ok() { is_done.await.ok() } else { None } {
        Some(Ok(())) => reply::text(StatusCode::OK, "reloaded"),
        Some(Err(error)) => {
            let text = format!("cannot reload, the old configuration stays:\n{error}\n");
            reply::with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text)
        }
        None => {
            let mut response = reply::text(StatusCode::SERVICE_UNAVAILABLE, "outlierd is stopping");
            reply::set(&mut response, header::RETRY_AFTER, "5");
            response
        }
    }
}
