//! `/api/v1/silences`: asks for a silence, lists them, ends one.

use serde::{Deserialize, Serialize};
use warp::http::Method;
use warp::reply::Response;

use crate::config::duration_ms;
use crate::results::silences::{Refused, SilenceRequest};
use crate::series::TimestampMs;
use crate::serve::silences::{Listed, Silences};

use super::reply;

/// Body of a `POST`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(rename = "match")]
    hosts: String,
    starts_at: Option<Time>,
    ends_at: Option<Time>,
    duration: Option<String>,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    created_by: String,
}

/// As Prometheus' API takes times.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(f64),
    Text(String),
}

#[derive(Debug, Serialize)]
struct List {
    silences: Vec<Listed>,
    maintenance: Vec<Maintenance>,
}

#[derive(Debug, Serialize)]
struct Maintenance {
    name: String,
    #[serde(rename = "match")]
    hosts: String,
    /// When it ends, where it is in force.
    ends_ms: Option<TimestampMs>,
}

/// Example of a request, for errors.
const EXAMPLE: &str = r#"{"match": "{job=\"db\"}", "duration": "2h", "comment": "disk swap"}"#;

/// Answers a request without an id.
pub(super) async fn all(silences: &Silences, method: &Method, body: &[u8], now_ms: TimestampMs) -> Response {
    match *method {
        Method::GET | Method::HEAD => list(silences, now_ms),
        Method::POST => match request(body, now_ms) {
            Ok(request) => match silences.add(request, now_ms).await {
                Ok(asked) => reply::success(&asked),
                Err(refused) => failure(&refused),
            },
            Err(message) => reply::bad_data(&message),
        },
        _ => reply::method_not_allowed("GET, HEAD, POST"),
    }
}

/// Answers a request with an id.
pub(super) async fn one(silences: &Silences, method: &Method, id: String, now_ms: TimestampMs) -> Response {
    let unknown = |id: &str| reply::not_found(&format!("there is no silence {id:?}; /api/v1/silences lists them"));
    match *method {
        Method::GET | Method::HEAD => {
            let (listed, _) = silences.list(now_ms);
            listed.iter().find(|listed| listed.asked.id == id).map_or_else(|| unknown(&id), reply::success)
        }
        Method::DELETE => match silences.end(id.clone()).await {
            Ok(Some(asked)) => reply::success(&asked),
            Ok(None) => unknown(&id),
            Err(refused) => failure(&refused),
        },
        _ => reply::method_not_allowed("GET, HEAD, DELETE"),
    }
}

fn list(silences: &Silences, now_ms: TimestampMs) -> Response {
    let (silences, maintenance) = silences.list(now_ms);
    let maintenance = maintenance.into_iter().map(|silence| Maintenance {
        name: silence.name.to_string(),
        hosts: silence.hosts,
        ends_ms: silence.until_ms,
    });
    reply::success(&List { silences, maintenance: maintenance.collect() })
}

fn request(body: &[u8], now_ms: TimestampMs) -> Result<SilenceRequest, String> {
    let request: Request =
        serde_json::from_slice(body).map_err(|error| format!("{error}; send a JSON object such as {EXAMPLE}"))?;
    let starts_ms = request.starts_at.map_or(Ok(now_ms), |time| time.ms("starts_at"))?;
    let ends_ms = match (request.ends_at, request.duration) {
        (Some(time), None) => time.ms("ends_at")?,
        (None, Some(text)) => {
            let length_ms =
                duration_ms(&text).ok_or(format!("`duration` must be a duration such as 2h, not `{text}`"))?;
            starts_ms.saturating_add(length_ms)
        }
        _ => return Err(format!("give either `ends_at` or `duration`, such as {EXAMPLE}")),
    };
    Ok(SilenceRequest {
        hosts: request.hosts,
        starts_ms,
        ends_ms,
        comment: request.comment,
        created_by: request.created_by,
    })
}

impl Time {
    fn ms(&self, key: &str) -> Result<TimestampMs, String> {
        let ms = match self {
            // Beyond this milliseconds don't fit, and are seconds by mistake.
            Self::Seconds(seconds) if seconds.abs() < 1e11 => Some((seconds * 1e3).round() as i64),
            Self::Seconds(_) => None,
            Self::Text(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
        };
        ms.ok_or(format!("`{key}` must be a time such as 2026-11-23T02:00:00Z, or Unix seconds"))
    }
}

fn failure(refused: &Refused) -> Response {
    match refused {
        Refused::Bad(_) | Refused::Full(_) => reply::bad_data(&refused.to_string()),
        Refused::NotKept(_) => reply::internal(&refused.to_string()),
    }
}
