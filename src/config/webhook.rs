//! `webhook`: which Alertmanager is told of events, with which labels, and how often. As written → validated.

use std::collections::BTreeMap;

use reqwest::Url;

use super::errors::Place;
use super::push::{Credentials, credentials, url};
use super::reader::{Map, is_name};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;

/// Path at which Alertmanager takes alerts.
const PATH: &str = "/api/v2/alerts";

/// Name and severity of every alert, unless `labels` says otherwise.
const LABELS: [(&str, &str); 2] = [("alertname", "HostAnomalous"), ("severity", "warning")];

/// Receiver of alerts and settings of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// URL of the receiver: http, without user and password, with the path of the API.
    pub url: Url,
    /// Our credentials; at most one way.
    pub credentials: Option<Credentials>,
    /// Under which URL people reach outlierd, without a slash at its end. Default none: alerts have no link.
    pub external_url: Option<String>,
    /// Labels that every alert has beside its host's. Default `alertname: HostAnomalous`, `severity: warning`.
    pub labels: BTreeMap<String, String>,
    /// Interval at which an alert that goes on is sent again; it ends by itself after three times as long. Default 1 min.
    pub resend_ms: i64,
    /// Alerts of a request. Default 500.
    pub batch_alerts: usize,
    /// Time that a request may take. Default 10 s.
    pub timeout_ms: u64,
    /// The first pause after a failed request. Default 1 s.
    pub retry_min_ms: i64,
    /// The longest pause between two attempts. Default 30 s.
    pub retry_max_ms: i64,
}

/// Reads what `map` says; `None` where there is no such section, whose key is at `place`, or it is wrong.
pub(super) fn read(mut map: Map<'_>, place: Option<Place>) -> Option<Webhook> {
    let hint = "use a proxy on this machine that adds TLS, or http";
    let url = url(&mut map, "webhook", place, "http://alertmanager:9093", &|_| hint.to_owned()).map(with_path);
    let credentials = credentials(&mut map, "webhook", place);
    let is_url =
        |text: &str| ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme) && text.len() > scheme.len());
    let external_url = |text: &str| is_url(text).then(|| text.trim_end_matches('/').to_owned());
    let expected = "the URL under which people reach outlierd, such as http://outlierd:9201";
    let external_url = map.parsed("external_url", expected, external_url);
    let labels = labels(&mut map);
    let resend_ms = map.duration("resend", SECOND_MS..=60 * MINUTE_MS, "1m");
    let batch_alerts = map.whole("batch", 1..=100_000, "alerts");
    let timeout_ms = map.duration("timeout", 10..=10 * MINUTE_MS, "10s").map(i64::unsigned_abs);
    let retry_place = map.find("retry_max").or(map.find("retry_min")).map(|entry| entry.value.place);
    let retry_min_ms = map.duration("retry_min", 1..=60 * MINUTE_MS, "1s").unwrap_or(SECOND_MS);
    let retry_max_ms = map.duration("retry_max", 1..=60 * MINUTE_MS, "30s").unwrap_or(30 * SECOND_MS);
    if let Some(place) = retry_place.filter(|_| retry_min_ms > retry_max_ms) {
        map.context().problem(place, "`webhook.retry_max` must not be shorter than `webhook.retry_min`".to_owned());
    }
    map.finish();
    Some(Webhook {
        url: url?,
        credentials,
        external_url,
        labels,
        resend_ms: resend_ms.unwrap_or(MINUTE_MS),
        batch_alerts: batch_alerts.unwrap_or(500),
        timeout_ms: timeout_ms.unwrap_or(10_000),
        retry_min_ms,
        retry_max_ms,
    })
}

/// The path of the API at the end of a prefix, unless it stands there.
fn with_path(mut url: Url) -> Url {
    let prefix = url.path().trim_end_matches('/').trim_end_matches(PATH);
    let path = format!("{prefix}{PATH}");
    url.set_path(&path);
    url
}

/// `name: value` each; a value that is empty takes a label away.
fn labels(map: &mut Map<'_>) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = LABELS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let context = map.context();
    let texts =
        map.texts("labels", "a list of labels, such as ['severity: critical', 'team: ops']").unwrap_or_default();
    for found in texts {
        let (name, value) = found.text.split_once(':').unwrap_or((&found.text, ""));
        let (name, value) = (name.trim(), value.trim());
        if !found.text.contains(':') || !is_name(name) {
            let message = "`webhook.labels` must have `name: value`, such as 'severity: critical'";
            context.problem(found.place, message.to_owned());
        } else if name == "alertname" && value.is_empty() {
            context.problem(found.place, "`webhook.labels` can't leave `alertname` empty".to_owned());
        } else {
            labels.insert(name.to_owned(), value.to_owned());
        }
    }
    labels
}
