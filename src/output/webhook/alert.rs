//! An event → an alert as Alertmanager's API v2 takes it (`PostableAlert` of its OpenAPI document): labels that stay the same for a
//! host, annotations that say why. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::results::events::{Event, TopFeature};
use crate::series::TimestampMs;

/// Set of the ASCII characters to escape in a segment of a URL's fragment: all but those that stand for themselves.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// Features that a description lists.
const FEATURES_LISTED: usize = 3;

/// Settings that are the same for every alert.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// Labels beside the host's own, such as `alertname` and `severity`; they win where both have one.
    pub labels: BTreeMap<String, String>,
    /// Under which URL people reach outlierd, without a slash at its end; alerts have no link where `None`.
    pub external_url: Option<String>,
    /// Time that Alertmanager takes an alert to be firing that it hears no more of.
    pub lifetime_ms: i64,
}

/// Alert as Alertmanager is sent it.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl Alert {
    /// The alert of an event that is open: it ends by itself where it isn't sent again.
    #[must_use]
    pub fn firing(event: &Event, settings: &AlertSettings, now_ms: TimestampMs) -> Self {
        Self::new(event, settings, now_ms, now_ms.saturating_add(settings.lifetime_ms))
    }

    /// The alert of an event that is over.
    #[must_use]
    pub fn resolved(event: &Event, settings: &AlertSettings, now_ms: TimestampMs) -> Self {
        Self::new(event, settings, now_ms, event.end_ms.unwrap_or(now_ms).min(now_ms))
    }

    fn new(event: &Event, settings: &AlertSettings, now_ms: TimestampMs, ends_ms: TimestampMs) -> Self {
        let mut labels = event.labels.clone();
        labels.insert("model".to_owned(), event.model.clone());
        labels.extend(settings.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        // Alertmanager refuses labels without a value.
        labels.retain(|_, value| !value.is_empty());
        // A host's clock may be ahead, and Alertmanager refuses an end before the start.
        let starts_ms = event.start_ms.min(now_ms);
        let url = settings.external_url.as_ref();
        Self {
            labels,
            annotations: annotations(event),
            starts_at: rfc3339(starts_ms),
            ends_at: rfc3339(ends_ms.max(starts_ms)),
            generator_url: url.map(|url| format!("{url}/#/hosts/{}", utf8_percent_encode(&event.host, SEGMENT))),
        }
    }
}

fn annotations(event: &Event) -> BTreeMap<&'static str, String> {
    let mut summary = format!("Anomaly on {}", event.host);
    let mut description = format!(
        "Score {} (above 1 is anomalous), at most {} at {}.",
        short(event.score),
        short(event.peak_score),
        rfc3339(event.peak_ms)
    );
    let mut annotations = BTreeMap::new();
    if let Some(top) = event.features.first() {
        let _ = write!(summary, ": {}", told(top));
        annotations.insert("top_feature", top.feature.clone());
    }
    for feature in event.features.iter().take(FEATURES_LISTED) {
        let _ = write!(description, " {:.0} % of it: {}.", feature.share * 100.0, told(feature));
    }
    annotations.insert("summary", summary);
    annotations.insert("description", description);
    annotations.insert("score", short(event.score));
    annotations
}

/// `load1 is 8.21 processes, expected 1.17 processes`.
fn told(feature: &TopFeature) -> String {
    let value =
        |value: Option<f64>| value.map_or_else(|| "missing".to_owned(), |value| with_unit(value, &feature.unit));
    format!("{} is {}, expected {}", feature.feature, value(feature.actual), value(feature.expected))
}

/// A value as people read it: shares in per cent, bytes by 1024.
fn with_unit(value: f64, unit: &str) -> String {
    const BY_1024: [&str; 6] = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    if unit == "ratio" {
        return format!("{} %", short(value * 100.0));
    }
    if let Some(rest) = unit.strip_prefix("bytes") {
        let mut scaled = value;
        let mut prefixes = BY_1024.iter();
        let mut prefix = prefixes.next();
        while scaled.abs() >= 1024.0 {
            let Some(next) = prefixes.next() else { break };
            (scaled, prefix) = (scaled / 1024.0, Some(next));
        }
        return format!("{} {}B{rest}", short(scaled), prefix.unwrap_or(&""));
    }
    let separator = if unit.is_empty() { "" } else { " " };
    format!("{}{separator}{unit}", short(value))
}

/// Three digits that matter.
fn short(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e6 || magnitude != 0.0 && magnitude < 1e-3 {
        return format!("{value:.2e}");
    }
    let decimals = match magnitude {
        m if m >= 100.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `2026-11-23T01:02:03.456Z`.
fn rfc3339(t_ms: TimestampMs) -> String {
    // Beyond the year 9999 nothing is accepted, see `ingest.max_future`.
    Timestamp::from_millisecond(t_ms).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_people_read_them() {
        let check = |value: f64, unit: &str, expected: &str| assert_eq!(with_unit(value, unit), expected);
        check(0.8976, "ratio", "89.8 %");
        check(1.0, "ratio", "100 %");
        check(8.2129, "processes", "8.21 processes");
        check(1234.5, "switches/s", "1234 switches/s");
        check(5.5e9, "bytes", "5.12 GiB");
        check(-2048.0, "bytes/s", "-2 KiB/s");
        check(1e30, "bytes", "8.88e14 PiB");
        check(0.0, "", "0");
        check(0.000_012, "seconds", "1.20e-5 seconds");
        check(1e7, "", "1.00e7");
        check(0.25, "", "0.25");
        check(40.0, "", "40");
        check(500.0, "", "500");
    }

    fn event() -> Event {
        let feature = |name: &str, unit: &str, share, actual, expected| TopFeature {
            feature: name.into(),
            unit: unit.into(),
            share,
            actual: Some(actual),
            expected,
        };
        Event {
            id: "1-2".into(),
            host: "a b/ü:9100".into(),
            labels: [("instance".to_owned(), "a b/ü:9100".to_owned()), ("job".to_owned(), String::new())].into(),
            model: "m".into(),
            start_ms: 60_000,
            end_ms: None,
            ended: None,
            last_ms: 180_000,
            score: 1.5,
            peak_score: 2.25,
            peak_ms: 120_000,
            features: vec![
                feature("load1", "processes", 0.5, 8.0, Some(1.25)),
                feature("mem_used", "ratio", 0.3, 0.9, Some(0.5)),
                feature("odd", "", 0.15, 3.0, None),
                feature("fourth", "", 0.05, 3.0, None),
            ],
        }
    }

    fn settings() -> AlertSettings {
        let labels = [("alertname", "HostAnomalous"), ("severity", "warning")];
        AlertSettings {
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            external_url: Some("http://outlierd:9201".into()),
            lifetime_ms: 180_000,
        }
    }

    #[test]
    fn an_alert_says_what_and_why() {
        let alert = serde_json::to_value(Alert::firing(&event(), &settings(), 240_000)).unwrap();
        let expected = serde_json::json!({
            "labels": {"alertname": "HostAnomalous", "instance": "a b/ü:9100", "model": "m", "severity": "warning"},
            "annotations": {
                "summary": "Anomaly on a b/ü:9100: load1 is 8 processes, expected 1.25 processes",
                "description": "Score 1.5 (above 1 is anomalous), at most 2.25 at 1970-01-01T00:02:00Z. \
                    50 % of it: load1 is 8 processes, expected 1.25 processes. 30 % of it: mem_used is 90 %, expected 50 %. \
                    15 % of it: odd is 3, expected missing.",
                "score": "1.5",
                "top_feature": "load1",
            },
            "startsAt": "1970-01-01T00:01:00Z",
            "endsAt": "1970-01-01T00:07:00Z",
            "generatorURL": "http://outlierd:9201/#/hosts/a%20b%2F%C3%BC:9100",
        });
        assert_eq!(alert, expected);
    }

    #[test]
    fn the_end_is_never_before_the_start_nor_in_the_future_once_it_is_over() {
        let check = |end_ms: Option<i64>, now_ms: i64, expected: (i64, i64)| {
            let over = Event { end_ms, ..event() };
            let alert = Alert::resolved(&over, &AlertSettings { external_url: None, ..settings() }, now_ms);
            assert_eq!((alert.starts_at, alert.ends_at), (rfc3339(expected.0), rfc3339(expected.1)));
            assert_eq!(alert.generator_url, None);
        };
        check(Some(200_000), 240_000, (60_000, 200_000));
        check(Some(300_000), 240_000, (60_000, 240_000));
        check(None, 240_000, (60_000, 240_000));
        // Its clock is ahead of ours.
        check(Some(200_000), 30_000, (30_000, 30_000));
    }
}
