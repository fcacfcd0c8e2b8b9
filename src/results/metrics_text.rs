//! The hosts' series on `/metrics`: which there are, and the page of them, in pieces.
//!
//! Written from the table of results, because a client library keeps every series a second time (about 460 bytes each) and takes
//! some thirty times as long. Families stay together, as the formats want; hosts are sorted by name.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Detail, Metrics};
use crate::engine::row::HostId;
use crate::series::{Labels, Quoted, TimestampMs};

use super::exposition::{Format, Kind, number};
use super::{Assessment, HostView, ResultSchema, Results, ScoredRow, Table, Verdict};

/// Size of a piece; it grows past this by one host at most.
const PIECE_BYTES: usize = 64 << 10;

/// One metric name; all are gauges.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    /// Whether it stays on a compact page.
    compact: bool,
    series: Series,
}

/// The series that a host has of a family, with their values; a value that isn't there is no series.
#[derive(Debug)]
enum Series {
    /// One.
    Host(fn(&Known<'_>) -> Option<f64>),
    /// One of the live model, and one of the shadow.
    Verdict(fn(&Verdict) -> f64),
    /// One, always 1: the label says it.
    State,
    /// One per feature of the bundle, by its index there, while the host is flagged.
    Feature(fn(&ScoredRow, &Verdict, &ResultSchema, usize) -> Option<f64>),
}

/// Sources of a host's series.
struct Known<'a> {
    host: &'a HostView,
    seen: Assessment<'a>,
    schema: &'a ResultSchema,
}

/// Every name, in the order of the page: the flags first, which are the last to be left out. The tests know the exact text.
const FAMILIES: [Family; 10] = [
    Family {
        name: "outlierd_host_anomaly",
        help: "1 where the host is anomalous; absent where it can't be judged.",
        compact: true,
        series: Series::Host(|known| known.seen.flag.map(|flag| f64::from(u8::from(flag)))),
    },
    Family {
        name: "outlierd_host_mse",
        help: "Smoothed mean squared error of the newest window.",
        compact: true,
        series: Series::Verdict(|verdict| verdict.mse),
    },
    Family {
        name: "outlierd_host_state",
        help: "Always 1; the label says the host's state.",
        compact: true,
        series: Series::State,
    },
    Family {
        name: "outlierd_host_threshold",
        help: "The mse limit that the host is compared with.",
        compact: false,
        series: Series::Verdict(|verdict| verdict.limit),
    },
    Family {
        name: "outlierd_host_score",
        help: "mse / threshold; above 1 is anomalous.",
        compact: false,
        series: Series::Verdict(|verdict| verdict.score),
    },
    Family {
        name: "outlierd_host_last_sample_timestamp_seconds",
        help: "Timestamp of the host's newest sample.",
        compact: false,
        series: Series::Host(|known| Some(known.host.status.last_sample_ms as f64 / 1_000.0)),
    },
    Family {
        name: "outlierd_host_window_rows",
        help: "Rows in the host's window.",
        compact: false,
        series: Series::Host(|known| Some(f64::from(known.host.status.window_rows))),
    },
    Family {
        name: "outlierd_feature_contribution",
        help: "Share of the error of an anomalous host that is this feature's.",
        compact: false,
        series: Series::Feature(|_, verdict, _, i| verdict.contributions.get(i).copied()),
    },
    Family {
        name: "outlierd_feature_value",
        help: "Value of the feature of an anomalous host.",
        compact: false,
        series: Series::Feature(|row, _, schema, i| row.values.get(*schema.scored.get(i)?).copied()),
    },
    Family {
        name: "outlierd_feature_expected",
        help: "Value that the model expected of the feature of an anomalous host.",
        compact: false,
        series: Series::Feature(|_, verdict, _, i| verdict.expected.get(i).copied()),
    },
];

/// Name of the gauge that says whether the page is compact.
const COMPACT: &str = "outlierd_results_compact";

/// Its help.
const COMPACT_HELP: &str =
    "1 where only flag, mse and state of the hosts are here, as configured or since all were too many.";

/// A page that is being written: an iterator of pieces. It holds a pointer per host and looks at each host when its turn comes, so
/// that a slow reader keeps no old rows alive; a host that changes meanwhile may be seen before and after.
#[derive(Debug)]
pub struct Page {
    results: Arc<Table>,
    hosts: Vec<Arc<HostId>>,
    now_ms: TimestampMs,
    format: Format,
    families: Vec<&'static Family>,
    compact: bool,
    /// Series that there is still room for.
    room: usize,
    /// Series that the limits keep off the page.
    pub omitted: Omitted,
    /// The next family, and the next host in it.
    at: (usize, usize),
}

/// Series that a page lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omitted {
    /// Since the page became compact by itself.
    pub compact: usize,
    /// Since the compact page has too many as well.
    pub max_series: usize,
}

impl Page {
    /// The page of `results` at `now_ms`.
    #[must_use]
    pub fn new(results: &Arc<Results>, now_ms: TimestampMs, metrics: &Metrics, format: Format) -> Self {
        let results = results.table();
        let hosts = results.host_ids();
        let (all, few) = count(&results, &hosts, now_ms);
        let compact = metrics.detail == Detail::Compact || all > metrics.max_series;
        let on_page = if compact { few } else { all };
        let wanted = if metrics.detail == Detail::Compact { few } else { all };
        let omitted = Omitted { compact: wanted - on_page, max_series: on_page.saturating_sub(metrics.max_series) };
        let families = FAMILIES.iter().filter(|family| family.compact || !compact).collect();
        let room = metrics.max_series;
        Self { results, hosts, now_ms, format, families, compact, room, omitted, at: (0, 0) }
    }
}

/// Series of all families, and of those of a compact page.
fn count(results: &Table, hosts: &[Arc<HostId>], now_ms: TimestampMs) -> (usize, usize) {
    let (mut all, mut few) = (0, 0);
    for host in hosts.iter().filter_map(|id| results.view(&id.name)) {
        let known = Known { host: &host, seen: host.assess(results.schema(), now_ms), schema: results.schema() };
        for family in &FAMILIES {
            let mut n = 0;
            family.each(&known, |_, _, _| n += 1);
            all += n;
            few += if family.compact { n } else { 0 };
        }
    }
    (all, few)
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
                self.format.head(&mut out, COMPACT, Kind::Gauge, COMPACT_HELP);
                let _ = writeln!(out, "{COMPACT} {}", u8::from(self.compact));
                out.push_str(self.format.end());
                break;
            };
            if self.at.1 == 0 && !self.hosts.is_empty() {
                self.format.head(&mut out, family.name, Kind::Gauge, family.help);
            }
            let Some(id) = self.hosts.get(self.at.1).filter(|_| self.room > 0) else {
                self.at = (self.at.0 + 1, 0);
                continue;
            };
            self.at.1 += 1;
            let Some(host) = self.results.view(&id.name) else { continue };
            let schema = self.results.schema();
            let known = Known { host: &host, seen: host.assess(schema, self.now_ms), schema };
            family.write(&mut out, &known, &mut self.room);
        }
        Some(Bytes::from(out))
    }
}

impl Family {
    /// Calls `series` with each series of a host: the host's labels with the model's, the label that it has beside, and its value.
    fn each(&self, known: &Known<'_>, mut series: impl FnMut(&str, Option<(&str, &str)>, f64)) {
        let labels = &known.host.labels_text;
        match self.series {
            Series::Host(value) => {
                if let Some(value) = value(known) {
                    series(labels, None, value);
                }
            }
            Series::Verdict(value) => {
                if let Some(verdict) = known.verdict() {
                    series(labels, None, value(verdict));
                }
                if let (Some((_, verdict)), Some(labels)) = (known.seen.shadow, &known.host.shadow_labels_text) {
                    series(labels, None, value(verdict));
                }
            }
            Series::State => series(labels, Some(("state", known.seen.state.as_str())), 1.0),
            Series::Feature(value) => {
                let (Some(true), Some((row, verdict))) = (known.seen.flag, known.seen.scored) else { return };
                for (i, configured) in known.schema.scored.iter().enumerate() {
                    let Some(feature) = known.schema.features.get(*configured) else { continue };
                    if let Some(value) = value(row, verdict, known.schema, i).filter(|v| !v.is_nan()) {
                        series(labels, Some(("feature", &feature.name)), value);
                    }
                }
            }
        }
    }

    /// Appends the host's series for which there is room.
    fn write(&self, out: &mut String, known: &Known<'_>, room: &mut usize) {
        self.each(known, |labels, label, value| {
            if *room == 0 {
                return;
            }
            *room -= 1;
            // Writing to a String can't fail.
            let _ = write!(out, "{}{{{labels}", self.name);
            if let Some((name, text)) = label {
                let _ = write!(out, ",{name}={}", Quoted(text));
            }
            out.push_str("} ");
            number(out, value);
        });
    }
}

impl Known<'_> {
    fn verdict(&self) -> Option<&Verdict> {
        self.seen.scored.map(|(_, verdict)| verdict)
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
