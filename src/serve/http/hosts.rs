//! `GET /api/v1/hosts`: every host in a line, filtered, sorted and paged.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;
use warp::reply::Response;

use crate::results::{Assessment, HostView, State};

use super::{Query, Read, reply};

/// Hosts of a page unless the query says otherwise.
const LIMIT: usize = 100;

/// Hosts of a page at most: about 5 MB.
const LIMIT_MAX: usize = 10_000;

/// A host in a line.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    host: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    state: &'static str,
    reason: String,
    flag: Option<bool>,
    mse: Option<f64>,
    score: Option<f64>,
    threshold: Option<f64>,
    last_sample_ms: i64,
    window_rows: u32,
}

/// Parameters of the query.
#[derive(Debug)]
struct Wanted {
    /// No state means every state.
    states: Vec<State>,
    /// Lower case; empty means everything.
    search: String,
    sort: Sort,
    limit: usize,
    offset: usize,
}

#[derive(Debug, Clone, Copy)]
enum Sort {
    Name,
    Score,
    State,
    LastSample,
}

pub(super) fn list(read: &Read, query: &Query) -> Response {
    #[derive(Serialize)]
    struct Page<'a> {
        total: usize,
        hosts: Vec<Line<'a>>,
    }
    let wanted = match Wanted::from_query(query) {
        Ok(wanted) => wanted,
        Err(error) => return reply::bad_data(&error),
    };
    let (table, now_ms) = (read.results.table(), read.clock.now_ms());
    let (schema, views) = (table.schema(), table.hosts());
    let mut found: Vec<Found<'_>> =
        views.iter().map(|view| Found { view, seen: view.assess(schema, now_ms) }).collect();
    found.retain(|found| wanted.has(found.view, &found.seen));
    // Views are sorted by name, and the sort is stable: equals stay in that order.
    found.sort_by(|a, b| wanted.sort.compare(a, b));
    let total = found.len();
    let hosts =
        found.iter().skip(wanted.offset).take(wanted.limit).map(|found| Line::new(found.view, &found.seen)).collect();
    reply::success(&Page { total, hosts })
}

/// A host, and what it is judged to be now.
struct Found<'a> {
    view: &'a HostView,
    seen: Assessment<'a>,
}

impl<'a> Line<'a> {
    pub(super) fn new(view: &'a HostView, seen: &Assessment<'_>) -> Self {
        let verdict = seen.scored.map(|(_, verdict)| verdict);
        Self {
            host: &view.status.host.name,
            labels: view.status.host.labels.iter().collect(),
            state: seen.state.as_str(),
            reason: seen.reason.to_string(),
            flag: seen.flag,
            mse: verdict.map(|v| v.mse),
            score: verdict.map(|v| v.score),
            threshold: verdict.map(|v| v.limit),
            last_sample_ms: view.status.last_sample_ms,
            window_rows: view.status.window_rows,
        }
    }
}

impl Wanted {
    fn from_query(query: &Query) -> Result<Self, String> {
        let mut wanted = Self { states: Vec::new(), search: String::new(), sort: Sort::Name, limit: LIMIT, offset: 0 };
        for (name, value) in query {
            match name.as_str() {
                "state" => wanted.states.extend(states(value)?),
                "search" => wanted.search = value.to_lowercase(),
                "sort" => wanted.sort = Sort::from_text(value)?,
                "limit" => wanted.limit = number(name, value, LIMIT_MAX)?,
                "offset" => wanted.offset = number(name, value, usize::MAX)?,
                _ => {
                    return Err(format!("unknown parameter {name:?}; known are state, search, sort, limit and offset"));
                }
            }
        }
        Ok(wanted)
    }

    fn has(&self, view: &HostView, seen: &Assessment<'_>) -> bool {
        let state = self.states.is_empty() || self.states.contains(&seen.state);
        let has = |text: &str| text.to_lowercase().contains(&self.search);
        let host = &view.status.host;
        state && (self.search.is_empty() || has(&host.name) || host.labels.iter().any(|(_, value)| has(value)))
    }
}

/// One state or several with commas.
fn states(text: &str) -> Result<Vec<State>, String> {
    let known = || State::ALL.map(State::as_str).join(", ");
    let parsed = text
        .split(',')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map_err(|()| format!("unknown state {word:?}; states are {}", known())));
    parsed.collect()
}

pub(super) fn number(name: &str, text: &str, max: usize) -> Result<usize, String> {
    let found = text.parse().ok().filter(|n| *n <= max);
    found.ok_or_else(|| format!("{name} must be a whole number up to {max}, not {text:?}"))
}

impl Sort {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "name" => Ok(Self::Name),
            "score" => Ok(Self::Score),
            "state" => Ok(Self::State),
            "last_sample" => Ok(Self::LastSample),
            _ => Err(format!("cannot sort by {text:?}; use name, score, state or last_sample")),
        }
    }

    /// The most interesting first: the highest score, the worst state, the newest sample.
    fn compare(self, a: &Found<'_>, b: &Found<'_>) -> Ordering {
        let score = |found: &Found<'_>| found.seen.scored.map_or(f64::NEG_INFINITY, |(_, verdict)| verdict.score);
        match self {
            Self::Name => Ordering::Equal,
            Self::Score => score(b).total_cmp(&score(a)),
            Self::State => urgency(b.seen.state).cmp(&urgency(a.seen.state)),
            Self::LastSample => b.view.status.last_sample_ms.cmp(&a.view.status.last_sample_ms),
        }
    }
}

fn urgency(state: State) -> u8 {
    match state {
        State::Anomalous => 5,
        State::Down => 4,
        State::Stale => 3,
        State::Partial => 2,
        State::Warming => 1,
        State::Ok => 0,
    }
}
