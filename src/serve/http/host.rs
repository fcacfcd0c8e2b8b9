//! `GET /api/v1/hosts/{host}`: all that is known of one host.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use warp::reply::Response;

use crate::engine::advice::{SELDOM_ADVICE, range_advice, twins_advice};
use crate::engine::row::{self, MissingReason};
use crate::promql::eval::EvalError;
use crate::results::{HostView, PastRow, ResultSchema, ScoredRow, Verdict};

use super::events::EventLine;
use super::hosts::Line;
use super::{Query, Read, events, reply};

#[derive(Debug, Serialize)]
struct Details<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    model: &'a str,
    step_ms: i64,
    /// Interval at which it is scraped; null where its samples don't tell yet.
    interval_ms: Option<i64>,
    /// The replicas that write it, where there are several.
    senders: Vec<Sender<'a>>,
    /// Faults of what it is sent, and what to do about them.
    advice: Vec<String>,
    features: Vec<Feature<'a>>,
    rows: Vec<Row>,
    contributions: Vec<Contribution<'a>>,
    missing: Vec<Missing<'a>>,
    not_applicable: Vec<Missing<'a>>,
    /// The newest, newest first.
    events: Vec<EventLine<'a>>,
}

#[derive(Debug, Serialize)]
struct Feature<'a> {
    name: &'a str,
    expr: &'a str,
    unit: &'a str,
    help: &'a str,
}

/// Columns are the configured features; a number that is missing is null.
#[derive(Debug, Serialize)]
struct Row {
    t_ms: i64,
    values: Vec<Option<f32>>,
    expected: Option<Vec<Option<f32>>>,
    mse: Option<f64>,
    score: Option<f64>,
    flag: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Contribution<'a> {
    feature: &'a str,
    share: f64,
    actual: Option<f64>,
    expected: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Missing<'a> {
    feature: &'a str,
    reason: Cow<'a, str>,
}

#[derive(Debug, Serialize)]
struct Sender<'a> {
    labels: &'a str,
    is_heard: bool,
}

/// `name` is a segment of the path, percent-encoded.
pub(super) fn show(read: &Read, name: &str, query: &Query) -> Response {
    let Some(name) = percent_decoded(name) else {
        return reply::bad_data("the name of the host is not percent-encoded UTF-8");
    };
    let table = read.results.table();
    let schema = table.schema();
    let is_shadow = match asks_for_shadow(query, schema) {
        Ok(is_shadow) => is_shadow,
        Err(error) => return reply::bad_data(&error),
    };
    let Some((view, rows)) = table.host(&name) else {
        return reply::not_found(&format!("there is no host {name:?}; /api/v1/hosts?search= finds names"));
    };
    let events = events::of_host(read, &name);
    let mut seen = view.assess(schema, read.clock.now_ms());
    if is_shadow {
        // A shadow never flags, so it explains no flag either.
        seen.flag = None;
        seen.scored = seen.shadow;
    }
    let model = schema.shadow.as_ref().filter(|_| is_shadow).map_or(&schema.model_alias, |shadow| &shadow.alias);
    let features = schema.features.iter();
    reply::success(&Details {
        line: Line::new(&view, &seen),
        model,
        step_ms: view.status.step_ms,
        interval_ms: view.status.interval_ms,
        senders: senders(&view),
        advice: advice(&view),
        features: features.map(|f| Feature { name: &f.name, expr: &f.expr, unit: &f.unit, help: &f.help }).collect(),
        rows: history(&rows, schema, is_shadow),
        contributions: seen
            .scored
            .filter(|_| !is_shadow)
            .map(|(row, verdict)| contributions(row, verdict, schema))
            .unwrap_or_default(),
        missing: missing(&view.status.missing, &view, schema),
        not_applicable: missing(&view.status.not_applicable, &view, schema),
        events: events.iter().map(|event| EventLine::new(event)).collect(),
    })
}

/// Whether the shadow's verdicts are asked for.
fn asks_for_shadow(query: &Query, schema: &ResultSchema) -> Result<bool, String> {
    let mut is_shadow = false;
    for (name, value) in query {
        let shadow = schema.shadow.as_ref().map(|shadow| shadow.alias.as_str());
        match name.as_str() {
            "model" if *value == schema.model_alias => is_shadow = false,
            "model" if shadow == Some(value.as_str()) => is_shadow = true,
            "model" => {
                let shadow = shadow.map_or_else(String::new, |shadow| format!(" and {shadow}"));
                return Err(format!("there is no model {value:?}; there is {}{shadow}", schema.model_alias));
            }
            _ => return Err(format!("unknown parameter {name:?}; known is model")),
        }
    }
    Ok(is_shadow)
}

fn history(rows: &[Arc<PastRow>], schema: &ResultSchema, is_shadow: bool) -> Vec<Row> {
    let shadow = schema.shadow.as_ref().filter(|_| is_shadow);
    let scored = shadow.map_or(&schema.scored, |shadow| &shadow.scored);
    let shown = |row: &Arc<PastRow>| {
        let verdict = if is_shadow { row.shadow.as_ref() } else { row.verdict.as_ref() };
        Row {
            t_ms: row.t_ms,
            values: row.values.iter().copied().map(present).collect(),
            expected: verdict.map(|v| by_column(&v.expected, scored, schema)),
            mse: verdict.map(|v| v.mse),
            score: verdict.map(|v| v.score),
            flag: verdict.and_then(|v| v.flag.filter(|_| !is_shadow)),
        }
    };
    rows.iter().map(shown).collect()
}

/// From the bundle's order to the configured one.
fn by_column(expected: &[f32], scored: &[usize], schema: &ResultSchema) -> Vec<Option<f32>> {
    let mut columns = vec![None; schema.features.len()];
    for (value, column) in expected.iter().zip(scored) {
        if let Some(place) = columns.get_mut(*column) {
            *place = present(*value);
        }
    }
    columns
}

fn present(value: f32) -> Option<f32> {
    (!value.is_nan()).then_some(value)
}

/// The largest share first.
fn contributions<'a>(row: &ScoredRow, verdict: &Verdict, schema: &'a ResultSchema) -> Vec<Contribution<'a>> {
    let number = |value: Option<&f64>| value.copied().filter(|v| !v.is_nan());
    let of_feature = |(i, column): (usize, &usize)| {
        let contribution = Contribution {
            feature: &schema.features.get(*column)?.name,
            share: number(verdict.contributions.get(i))?,
            actual: number(row.values.get(*column)),
            expected: number(verdict.expected.get(i)),
        };
        Some(contribution)
    };
    let mut all: Vec<Contribution<'a>> = schema.scored.iter().enumerate().filter_map(of_feature).collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all
}

fn senders(view: &HostView) -> Vec<Sender<'_>> {
    let all = view.status.senders.as_deref().unwrap_or_default();
    all.iter().map(|sender| Sender { labels: &sender.labels, is_heard: sender.is_heard }).collect()
}

fn advice(view: &HostView) -> Vec<String> {
    view.status.twin_labels.as_deref().map(twins_advice).into_iter().collect()
}

/// Longer selectors, such as the preset's of network devices, are not given as a reason: nobody reads them.
const SELECTOR_BYTES_MAX: usize = 160;

fn missing<'a>(missing: &[row::Missing], view: &HostView, schema: &'a ResultSchema) -> Vec<Missing<'a>> {
    let reason = |why: MissingReason| -> Option<Cow<'a, str>> {
        Some(match why {
            MissingReason::Error(EvalError::TwoSenders) if view.status.twin_labels.is_some() => {
                twins_advice(view.status.twin_labels.as_deref().unwrap_or_default()).into()
            }
            MissingReason::Error(error) => error.advice().into(),
            MissingReason::RangeTooShort(leaf) => {
                let selector = schema.selectors.get(usize::from(leaf))?;
                range_advice(selector, view.status.interval_ms.unwrap_or(view.status.step_ms)).into()
            }
            MissingReason::Unmatched(leaf) => {
                let selector = schema.selectors.get(usize::from(leaf))?;
                match selector.split_once('{') {
                    Some((metric, _)) if !metric.is_empty() && selector.len() > SELECTOR_BYTES_MAX => {
                        format!("no series of {metric} arrives that its expression selects").into()
                    }
                    _ => format!("no series arrives that {selector} selects").into(),
                }
            }
            MissingReason::SeldomScraped => SELDOM_ADVICE.into(),
            MissingReason::OutOfBounds => {
                "out of bounds: the expression gives a value that the feature cannot take (`features[].bounds`), or did so within its \
                 range"
                    .into()
            }
            MissingReason::NoValue => {
                "its series are there, but the expression gives nothing of them in the newest row: a rate waits for a second sample, \
                 and nothing comes of a division by zero or a comparison that doesn't hold"
                    .into()
            },
        })
    };
    let of_feature = |missing: &row::Missing| {
        let feature = &schema.features.get(usize::from(missing.feature))?.name;
        Some(Missing { feature, reason: reason(missing.why)? })
    };
    missing.iter().filter_map(of_feature).collect()
}

/// `None` where an escape is broken or the result is no UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}
