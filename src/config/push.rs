//! `push`: where results go by remote write, as which series, and how patiently. As written → validated.

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Url};

use super::errors::Place;
use super::reader::{Map, is_name};
use super::secret::Secret;
use crate::base::outbound;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;

/// Headers that say what the body is: ours.
const OWN_HEADERS: [&str; 5] =
    ["content-type", "content-encoding", "content-length", "transfer-encoding", "x-prometheus-remote-write-version"];

/// Receiver of results and settings of pushing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// URL of the receiver: http, without user and password.
    pub url: Url,
    /// Our credentials; at most one way.
    pub credentials: Option<Credentials>,
    /// Further headers, such as a tenant's.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Which of vmanomaly's series. Default [`PushSeries::All`].
    pub series: PushSeries,
    /// Whether `outlierd_host_anomaly` and its like are pushed too. Default no: they are scraped.
    pub host_metrics: bool,
    /// Prefix of vmanomaly's names. Default nothing.
    pub prefix: String,
    /// Value of the label `preset`. Default `node-exporter`.
    pub preset: String,
    /// Value of the label `scheduler_alias`. Default `stream`.
    pub scheduler_alias: String,
    /// Time that a sample waits for others before it is sent. Default 5 s.
    pub interval_ms: u64,
    /// Samples of a request; one row more where it does not come out even. Default 10,000.
    pub batch_samples: usize,
    /// Samples that may wait; beyond it the newest are dropped. Default 1,000,000: some 10 MB.
    pub queue_samples: usize,
    /// Time that a request may take. Default 30 s.
    pub timeout_ms: u64,
    /// The first pause after a failed request. Default 1 s.
    pub retry_min_ms: i64,
    /// The longest pause between two attempts. Default 1 min.
    pub retry_max_ms: i64,
}

/// Credentials that tell a receiver who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic(String, Secret),
}

impl Credentials {
    /// `request` with them, as it is where there are none.
    pub fn sign(credentials: Option<&Self>, request: RequestBuilder) -> RequestBuilder {
        match credentials {
            Some(Self::Bearer(token)) => request.bearer_auth(token.reveal()),
            Some(Self::Basic(username, password)) => request.basic_auth(username, Some(password.reveal())),
            None => request,
        }
    }
}

/// Which of vmanomaly's series are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushSeries {
    /// The score of each host.
    Host,
    /// That, and the five series of each feature of each host.
    All,
}

/// Reads what `map` says; `None` where there is no such section, whose key is at `place`, or it is wrong.
pub(super) fn read(mut map: Map<'_>, place: Option<Place>) -> Option<Push> {
    let https = |host: &str| {
        format!("let a vmagent on this machine take it over http and send it on with -remoteWrite.url=https://{host}")
    };
    let url = url(&mut map, "push", place, "http://victoriametrics:8428/api/v1/write", &https);
    let credentials = credentials(&mut map, "push", place);
    let headers = headers(&mut map);
    let which = |text: &str| match text {
        "all" => Some(PushSeries::All),
        "host" => Some(PushSeries::Host),
        _ => None,
    };
    let series = map.parsed("series", "`all` or `host`", which);
    let host_metrics = map.parsed("host_metrics", "`true` or `false`", |text| text.parse().ok());
    let prefix = |text: &str| (is_name(text) || text.is_empty()).then(|| text.to_owned());
    let prefix = map.parsed("prefix", "the beginning of a metric name, such as vmanomaly_", prefix);
    let preset = map.text("preset", "a short name, such as node-exporter");
    let scheduler_alias = map.text("scheduler_alias", "a short name, such as stream");
    let interval_ms = map.duration("interval", 1..=10 * MINUTE_MS, "5s").map(i64::unsigned_abs);
    let batch_samples = map.whole("batch", 1..=1_000_000, "samples");
    let queue_samples = map.whole("queue", 1_000..=1_000_000_000, "samples");
    let timeout_ms = map.duration("timeout", 10..=10 * MINUTE_MS, "30s").map(i64::unsigned_abs);
    let retry_place = map.find("retry_max").or(map.find("retry_min")).map(|entry| entry.value.place);
    let retry_min_ms = map.duration("retry_min", 1..=60 * MINUTE_MS, "1s").unwrap_or(SECOND_MS);
    let retry_max_ms = map.duration("retry_max", 1..=60 * MINUTE_MS, "1m").unwrap_or(MINUTE_MS);
    if let Some(place) = retry_place.filter(|_| retry_min_ms > retry_max_ms) {
        map.context().problem(place, "`push.retry_max` must not be shorter than `push.retry_min`".to_owned());
    }
    map.finish();
    Some(Push {
        url: url?,
        credentials,
        headers,
        series: series.unwrap_or(PushSeries::All),
        host_metrics: host_metrics.unwrap_or(false),
        prefix: prefix.unwrap_or_default(),
        preset: preset.unwrap_or_else(|| "node-exporter".to_owned()),
        scheduler_alias: scheduler_alias.unwrap_or_else(|| "stream".to_owned()),
        interval_ms: interval_ms.unwrap_or(5_000),
        batch_samples: batch_samples.unwrap_or(10_000),
        queue_samples: queue_samples.unwrap_or(1_000_000),
        timeout_ms: timeout_ms.unwrap_or(30_000),
        retry_min_ms,
        retry_max_ms,
    })
}

/// The `url` of a section, which has a name and a place. `https` says what to do about a URL that wants TLS, given its host and path.
/// Messages show no more of it than the line in the file does: it may hold a secret of the environment.
pub(super) fn url(
    map: &mut Map<'_>,
    name: &str,
    section: Option<Place>,
    example: &str,
    https: &dyn Fn(&str) -> String,
) -> Option<Url> {
    let context = map.context();
    let at = map.find("url").map(|entry| entry.value.place).or(section);
    let text = map.text("url", &format!("a URL, such as {example}"));
    let (Some(at), Some(text)) = (at, text) else {
        if let Some(section) = section.filter(|_| map.find("url").is_none()) {
            context.problem(section, format!("`{name}` has no `url`; write one, such as {example}"));
        }
        return None;
    };
    if let Some(host) = text.strip_prefix("https://") {
        let host = host.rsplit('@').next().unwrap_or_default();
        context.problem(at, format!("`{name}.url`: https isn't supported yet; {}", https(host)));
        return None;
    }
    let Ok(url) = outbound::url(&text, example) else {
        context.problem(at, format!("`{name}.url` must be a URL that begins with http://, such as {example}"));
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        let never_shown = format!("write it as `{name}.username` and `{name}.password`, which are never shown");
        context.problem(at, format!("`{name}.url` has a user; {never_shown}"));
        return None;
    }
    Some(url)
}

/// The `bearer_token`, or `username` and `password`, of a section, which has a name and a place.
pub(super) fn credentials(map: &mut Map<'_>, name: &str, section: Option<Place>) -> Option<Credentials> {
    let context = map.context();
    let mut text = |key: &'static str, expected: &str| {
        let at = map.find(key).map(|entry| entry.value.place);
        let text = map.text(key, expected)?;
        if !is_header_value(&text) {
            let message = format!("`{name}.{key}` has a character that can't be sent, such as the end of a line");
            context.problem(at.unwrap_or_default(), message);
        }
        Some(text)
    };
    let token = text("bearer_token", "a token").map(Secret::new);
    let username = text("username", "a user name");
    let password = text("password", "a password").map(Secret::new);
    let at = section.unwrap_or_default();
    match (token, username, password) {
        (None, None, None) => None,
        (Some(token), None, None) => Some(Credentials::Bearer(token)),
        (None, Some(username), Some(password)) => Some(Credentials::Basic(username, password)),
        (None, ..) => {
            context.problem(at, format!("`{name}` needs both `username` and `password`, or neither"));
            None
        }
        (Some(_), ..) => {
            context.problem(at, format!("`{name}` has both `bearer_token` and a user; keep one of them"));
            None
        }
    }
}

fn headers(map: &mut Map<'_>) -> Vec<(HeaderName, Secret)> {
    let context = map.context();
    let texts = map.texts("headers", "a list of headers, such as ['X-Scope-OrgID: ops']").unwrap_or_default();
    let mut headers = Vec::new();
    for found in texts {
        let (name, value) = found.text.split_once(':').unwrap_or((&found.text, ""));
        let (name, value) = (HeaderName::try_from(name.trim()).ok(), value.trim());
        match name.filter(|_| is_header_value(value) && !value.is_empty()) {
            Some(name) if OWN_HEADERS.contains(&name.as_str()) => {
                context.problem(found.place, format!("`{name}` can't stand in `push.headers`: it says what we send"));
            }
            Some(name) => headers.push((name, Secret::new(value.to_owned()))),
            None => {
                let message = "`push.headers` must have `name: value`, such as 'X-Scope-OrgID: ops'";
                context.problem(found.place, message.to_owned());
            }
        }
    }
    headers
}

fn is_header_value(text: &str) -> bool {
    HeaderValue::try_from(text).is_ok()
}
