//! `/api/v1/events/{id}/feedback` and `/api/v1/feedback`: what people say of events, what is in force, and taking it back.

use serde::{Deserialize, Serialize};
use warp::http::Method;
use warp::reply::Response;

use crate::results::feedback::{HostFeedback, Rating, Refused};

use super::{Read, reply};

/// Body of a `POST`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    verdict: Rating,
}

/// Example of a request, for errors.
const EXAMPLE: &str = r#"{"verdict": "expected"} or {"verdict": "useful"}"#;

pub(super) fn list(read: &Read) -> Response {
    #[derive(Serialize)]
    struct List {
        hosts: Vec<HostFeedback>,
    }
    reply::success(&List { hosts: read.feedback.list() })
}

/// Answers a request about one event; `body` is empty unless it is a POST.
pub(super) fn one(read: &Read, id: &str, method: &Method, body: &[u8]) -> Response {
    match *method {
        Method::POST => give(read, id, body),
        Method::DELETE => match read.feedback.undo(id) {
            Ok(Some(host)) => reply::success(&host),
            Ok(None) => {
                reply::not_found(&format!("nothing was said of {id:?}; /api/v1/feedback lists what is in force"))
            }
            Err(refused) => failure(&refused),
        },
        _ => reply::method_not_allowed("POST, DELETE"),
    }
}

fn give(read: &Read, id: &str, body: &[u8]) -> Response {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return reply::bad_data(&format!("{error}; send {EXAMPLE}")),
    };
    let Some(event) = read.events.get(id) else {
        return reply::not_found(&format!("there is no event {id:?}; /api/v1/events lists them"));
    };
    match read.feedback.give(&event, request.verdict, read.clock.now_ms()) {
        Ok(host) => reply::success(&host),
        Err(refused) => failure(&refused),
    }
}

fn failure(refused: &Refused) -> Response {
    match refused {
        Refused::Full(most) => {
            reply::bad_data(&format!("{most} opinions are in force; take some back, or raise limits.feedback"))
        }
        Refused::NotKept(error) => reply::internal(&format!("it could not be kept, so nothing has changed: {error}")),
    }
}
