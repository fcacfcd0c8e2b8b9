//! Which format and coding a reader of `/metrics` gets (RFC 9110 section 12.5). Never refuses: whoever asks for what there isn't
//! gets the text format, as it is.

use warp::http::HeaderMap;
use warp::http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

use crate::results::exposition::Format;

/// An item of a list such as `Accept`: its name in lower case, its parameters, its weight.
struct Item<'a> {
    name: String,
    parameters: Vec<(&'a str, &'a str)>,
    weight: f64,
}

/// OpenMetrics where it is named and no less welcome than the text format.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let mut open: f64 = 0.0;
    // How exactly the text format is meant, and its weight there.
    let mut text = (0, 0.0);
    for item in items(headers, &ACCEPT) {
        let is_version = |ours: &str| item.parameter("version").is_none_or(|version| version == ours);
        let meant = match item.name.as_str() {
            "application/openmetrics-text" if is_version("1.0.0") => {
                open = open.max(item.weight);
                continue;
            }
            "text/plain" if is_version("0.0.4") => 3,
            "text/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        if meant > text.0 || (meant == text.0 && item.weight > text.1) {
            text = (meant, item.weight);
        }
    }
    if open > 0.0 && open >= text.1 { Format::OpenMetrics } else { Format::Text }
}

/// Whether gzip is welcome, and no less than the page as it is.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let weight = |wanted: &[&str]| {
        items(headers, &ACCEPT_ENCODING).find(|item| wanted.contains(&item.name.as_str())).map(|item| item.weight)
    };
    let gzip = weight(&["gzip", "x-gzip"]).or_else(|| weight(&["*"])).unwrap_or(0.0);
    gzip > 0.0 && gzip >= weight(&["identity"]).unwrap_or(0.0)
}

/// The items of all headers `name`. What cannot be read is not there.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Item<'a>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(Item::read)
}

impl<'a> Item<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        let pair = |part: &'a str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim(), value.trim().trim_matches('"')))
        };
        let mut item = Self { name, parameters: parts.filter_map(pair).collect(), weight: 1.0 };
        if let Some(weight) = item.parameter("q") {
            item.weight = weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
        }
        Some(item)
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::HeaderValue;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn formats() {
        let check = |accept: &[&str], expected: Format| {
            assert_eq!(format(&headers(ACCEPT, accept)), expected, "{accept:?}");
        };
        use Format::{OpenMetrics, Text};
        // Prometheus 2.42, 3.0 and 3.0 with native histograms; vmagent; curl; Firefox; none.
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                        application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        check(&[prometheus_2], OpenMetrics);
        check(&[prometheus_3], OpenMetrics);
        check(&[protobuf], OpenMetrics);
        check(&["text/plain;version=0.0.4;q=1,*/*;q=0.1"], Text);
        check(&["*/*"], Text);
        check(&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Text);
        check(&[], Text);
        check(&["application/openmetrics-text"], OpenMetrics);
        check(&["APPLICATION/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.5"], OpenMetrics);
        check(&["text/plain", "application/openmetrics-text"], OpenMetrics);
        check(&["application/openmetrics-text;q=0.4,text/plain;q=0.5"], Text);
        check(&["application/openmetrics-text;q=0.4,*/*;q=0.5"], Text);
        check(&["application/openmetrics-text;q=0.4,text/*;q=0.3,*/*;q=0.5"], OpenMetrics);
        check(&["application/openmetrics-text;q=0.4,text/plain;version=1.0.0"], OpenMetrics);
        check(&["application/openmetrics-text;version=2.0.0"], Text);
        check(&["application/openmetrics-text;version=0.0.1"], Text);
        check(&["application/*"], Text);
        // What there isn't, what is refused, what cannot be read.
        check(&["application/json"], Text);
        check(&["application/openmetrics-text;q=0"], Text);
        check(&["text/plain;q=0,application/openmetrics-text;q=0.001"], OpenMetrics);
        check(&["application/openmetrics-text;q=2"], Text);
        check(&["application/openmetrics-text;q=NaN"], Text);
        check(&["application/openmetrics-text;q=;;=,,;q"], Text);
        check(&["ü", "application/openmetrics-text"], OpenMetrics);
        check(&[&",;=\"".repeat(1_000)], Text);
    }

    #[test]
    fn codings() {
        let check = |accept: &[&str], expected: bool| {
            assert_eq!(takes_gzip(&headers(ACCEPT_ENCODING, accept)), expected, "{accept:?}");
        };
        check(&["gzip"], true);
        check(&["GZip"], true);
        check(&["x-gzip"], true);
        check(&["deflate, gzip;q=0.5"], true);
        check(&["br", "gzip"], true);
        check(&["*"], true);
        check(&["gzip;q=0.5, identity;q=0.5"], true);
        check(&["gzip;q=0.5, identity"], false);
        check(&["gzip;q=0, *"], false);
        check(&["*;q=0"], false);
        check(&["identity"], false);
        check(&["br, zstd"], false);
        check(&["gzip;q=x"], false);
        check(&[""], false);
        check(&[], false);
    }
}
