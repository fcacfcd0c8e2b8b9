//! The hosts' series on `/metrics`, in the text format 0.0.4.
//!
//! Written from the table in pieces, because a client library keeps every series a second time (about 460 bytes each) and
//! takes some thirty times as long. Families stay together, as the format wants; hosts are sorted by name.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::series::{Labels, Quoted, TimestampMs};

use super::{Assessment, HostView, Meta, Results, ScoredRow, State, Verdict};

/// Size of a piece; it grows past this by one host at most.
const PIECE_BYTES: usize = 64 << 10;

/// A page that is being written: an iterator of pieces, so that a slow reader of a large page costs one piece.
#[derive(Debug)]
pub struct Page {
    meta: Arc<Meta>,
    hosts: Vec<HostView>,
    now_ms: TimestampMs,
    families: Vec<&'static Family>,
    compact: bool,
    /// The next family, and the next host in it.
    at: (usize, usize),
}

/// One metric name.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    /// Whether it stays where there are too many series.
    compact: bool,
    /// Appends the host's series, if any.
    write: fn(&mut String, &'static str, &HostView, &Assessment<'_>, &Meta),
}

/// Every name, in the order of the page. The tests know the exact text.
const FAMILIES: [Family; 10] = [
    Family {
        name: "outlierd_host_anomaly",
        help: "1 where the host is anomalous; absent where it can't be judged.",
        compact: true,
        write: anomaly,
    },
    Family {
        name: "outlierd_host_mse",
        help: "Smoothed mean squared error of the newest window.",
        compact: true,
        write: mse,
    },
    Family {
        name: "outlierd_host_threshold",
        help: "The mse limit that the host is compared with.",
        compact: false,
        write: threshold,
    },
    Family {
        name: "outlierd_host_score",
        help: "mse / threshold; above 1 is anomalous.",
        compact: false,
        write: score,
    },
    Family {
        name: "outlierd_host_state",
        help: "Always 1; the label says the host's state.",
        compact: true,
        write: state,
    },
    Family {
        name: "outlierd_host_last_sample_timestamp_seconds",
        help: "Timestamp of the host's newest sample.",
        compact: false,
        write: last_sample,
    },
    Family {
        name: "outlierd_host_window_rows",
        help: "Rows in the host's window.",
        compact: false,
        write: window_rows,
    },
    Family {
        name: "outlierd_feature_contribution",
        help: "Share of the error of an anomalous host that is this feature's.",
        compact: false,
        write: contribution,
    },
    Family {
        name: "outlierd_feature_value",
        help: "Value of the feature of an anomalous host.",
        compact: false,
        write: value,
    },
    Family {
        name: "outlierd_feature_expected",
        help: "Value that the model expected of the feature of an anomalous host.",
        compact: false,
        write: expected,
    },
];

/// Help of the gauge that says whether the page is compact.
const COMPACT_HELP: &str = "1 where the series of hosts were too many, so that only flag, mse and state are here.";

/// Series of a host without those of its features.
const SERIES_PER_HOST: usize = 7;

/// Families with a series per feature.
const FAMILIES_PER_FEATURE: usize = 3;

/// The page of `results` at `now_ms`; past `series_max` series it has only flag, mse and state of each host.
#[must_use]
pub fn page(results: &Results, now_ms: TimestampMs, series_max: usize) -> Page {
    let meta = Arc::clone(results.meta());
    let hosts = results.hosts();
    let flagged = hosts.iter().filter(|host| host.assess(&meta, now_ms).flag == Some(true)).count();
    let series = hosts.len() * SERIES_PER_HOST + flagged * FAMILIES_PER_FEATURE * meta.scored.len();
    let compact = series > series_max;
    let families = FAMILIES.iter().filter(|family| family.compact || !compact).collect();
    Page { meta, hosts, now_ms, families, compact, at: (0, 0) }
}

impl Iterator for Page {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.at.0 > self.families.len() {
            return None;
        }
        let mut out = String::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        while out.len() < PIECE_BYTES {
            let Some(family) = self.families.get(self.at.0) else {
                self.at.0 += 1;
                head(&mut out, "outlierd_results_compact", COMPACT_HELP);
                let _ = writeln!(out, "outlierd_results_compact {}", u8::from(self.compact));
                break;
            };
            if self.at.1 == 0 && !self.hosts.is_empty() {
                head(&mut out, family.name, family.help);
            }
            let Some(host) = self.hosts.get(self.at.1) else {
                self.at = (self.at.0 + 1, 0);
                continue;
            };
            let assessment = host.assess(&self.meta, self.now_ms);
            (family.write)(&mut out, family.name, host, &assessment, &self.meta);
            self.at.1 += 1;
        }
        Some(Bytes::from(out))
    }
}

/// The labels of every series of a host, escaped, without braces.
#[must_use]
pub fn labels_text(labels: &Labels, model_alias: &str) -> String {
    let mut out = String::new();
    for (name, value) in labels.iter().chain([("model", model_alias)]) {
        let separator = if out.is_empty() { "" } else { "," };
        let _ = write!(out, "{separator}{name}={}", Quoted(value));
    }
    out
}

// Writing to a String can't fail, hence `let _ =` below.

fn head(out: &mut String, name: &str, help: &str) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n");
}

fn sample(out: &mut String, name: &str, host: &HostView, value: f64) {
    let _ = write!(out, "{name}{{{}}} ", host.labels_text);
    number(out, value);
}

fn number(out: &mut String, value: f64) {
    let magnitude = value.abs();
    let _ = if value.is_nan() {
        writeln!(out, "NaN")
    } else if value.is_infinite() {
        writeln!(out, "{}Inf", if value > 0.0 { '+' } else { '-' })
    } else if value == 0.0 || (1e-5..1e16).contains(&magnitude) {
        writeln!(out, "{value}")
    } else {
        writeln!(out, "{value:e}")
    };
}

fn anomaly(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, _: &Meta) {
    if let Some(flag) = seen.flag {
        sample(out, name, host, f64::from(u8::from(flag)));
    }
}

fn mse(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, _: &Meta) {
    if let Some((_, verdict)) = seen.scored {
        sample(out, name, host, verdict.mse);
    }
}

fn threshold(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, _: &Meta) {
    if let Some((_, verdict)) = seen.scored {
        sample(out, name, host, verdict.limit);
    }
}

fn score(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, _: &Meta) {
    if let Some((_, verdict)) = seen.scored {
        sample(out, name, host, verdict.score);
    }
}

fn state(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, _: &Meta) {
    let _ = writeln!(out, "{name}{{{},state=\"{}\"}} 1", host.labels_text, State::as_str(seen.state));
}

fn last_sample(out: &mut String, name: &'static str, host: &HostView, _: &Assessment<'_>, _: &Meta) {
    sample(out, name, host, host.status.last_sample_ms as f64 / 1_000.0);
}

fn window_rows(out: &mut String, name: &'static str, host: &HostView, _: &Assessment<'_>, _: &Meta) {
    sample(out, name, host, f64::from(host.status.window_rows));
}

fn contribution(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, meta: &Meta) {
    per_feature(out, name, host, seen, meta, |_, verdict, i| verdict.contributions.get(i).copied());
}

fn value(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, meta: &Meta) {
    per_feature(out, name, host, seen, meta, |row, _, i| row.values.get(*meta.scored.get(i)?).copied());
}

fn expected(out: &mut String, name: &'static str, host: &HostView, seen: &Assessment<'_>, meta: &Meta) {
    per_feature(out, name, host, seen, meta, |_, verdict, i| verdict.expected.get(i).copied());
}

/// A series per feature of the bundle, for a flagged host; `value` is given the feature's index in the bundle.
fn per_feature(
    out: &mut String,
    name: &str,
    host: &HostView,
    seen: &Assessment<'_>,
    meta: &Meta,
    value: impl Fn(&ScoredRow, &Verdict, usize) -> Option<f64>,
) {
    let (Some(true), Some((row, verdict))) = (seen.flag, seen.scored) else { return };
    for (i, configured) in meta.scored.iter().enumerate() {
        let Some(feature) = meta.features.get(*configured) else { continue };
        let Some(value) = value(row, verdict, i).filter(|v| !v.is_nan()) else { continue };
        let _ = write!(out, "{name}{{{},feature=\"{}\"}} ", host.labels_text, feature.name);
        number(out, value);
    }
}
