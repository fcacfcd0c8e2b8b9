//! `GET /api/v1/events`: when hosts were flagged, filtered and paged, those that began last first.

use std::sync::Arc;

use serde::Serialize;
use warp::reply::Response;

use crate::config::duration_ms;
use crate::results::events::Event;
use crate::results::events::store::Filter;
use crate::series::TimestampMs;

use super::hosts::number;
use super::{Query, Read, reply};

/// Events of a page unless the query says otherwise.
const LIMIT: usize = 100;

/// Events of a page at most: about 8 MB.
const LIMIT_MAX: usize = 10_000;

/// Events that the page of a host has.
const OF_HOST: usize = 20;

/// An event as the API has it.
#[derive(Debug, Serialize)]
pub(super) struct EventLine<'a> {
    #[serde(flatten)]
    event: &'a Event,
    state: &'static str,
}

impl<'a> EventLine<'a> {
    pub(super) fn new(event: &'a Event) -> Self {
        Self { event, state: if event.is_open() { "open" } else { "closed" } }
    }
}

pub(super) fn list(read: &Read, query: &Query) -> Response {
    #[derive(Serialize)]
    struct Page<'a> {
        total: usize,
        events: Vec<EventLine<'a>>,
    }
    let now_ms = read.clock.now_ms();
    let (filter, limit, offset) = match wanted(query, now_ms) {
        Ok(wanted) => wanted,
        Err(error) => return reply::bad_data(&error),
    };
    let (total, events) = read.events.find(&filter, limit, offset);
    reply::success(&Page { total, events: events.iter().map(|event| EventLine::new(event)).collect() })
}

/// The newest of one host.
pub(super) fn of_host(read: &Read, host: &str) -> Vec<Arc<Event>> {
    let filter = Filter { host: Some(host.to_owned()), ..Filter::default() };
    read.events.find(&filter, OF_HOST, 0).1
}

fn wanted(query: &Query, now_ms: TimestampMs) -> Result<(Filter, usize, usize), String> {
    let (mut filter, mut limit, mut offset) = (Filter::default(), LIMIT, 0);
    for (name, value) in query {
        match name.as_str() {
            "host" => filter.host = Some(value.clone()),
            "state" => filter.is_open = Some(is_open(value)?),
            "since" => filter.since_ms = Some(time(name, value, now_ms)?),
            "until" => filter.until_ms = Some(time(name, value, now_ms)?),
            "limit" => limit = number(name, value, LIMIT_MAX)?,
            "offset" => offset = number(name, value, usize::MAX)?,
            _ => {
                let known = "known are host, state, since, until, limit and offset";
                return Err(format!("unknown parameter {name:?}; {known}"));
            }
        }
    }
    Ok((filter, limit, offset))
}

fn is_open(text: &str) -> Result<bool, String> {
    match text {
        "open" => Ok(true),
        "closed" => Ok(false),
        _ => Err(format!("unknown state {text:?}; an event is open or closed")),
    }
}

/// As Prometheus' API takes times, or milliseconds as the events have them, or how long ago.
fn time(name: &str, text: &str, now_ms: TimestampMs) -> Result<TimestampMs, String> {
    // As seconds, the year 5138.
    let unix = |number: f64| if number.abs() < 1e11 { number * 1e3 } else { number };
    let number = || text.parse().ok().filter(|n: &f64| n.is_finite()).map(|n| unix(n).round() as i64);
    let date = || text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
    let ago = || duration_ms(text).map(|ms| now_ms.saturating_sub(ms));
    let found = number().or_else(date).or_else(ago);
    found.ok_or_else(|| {
        format!("{name} must be a time such as 2026-11-23T02:00:00Z, Unix seconds, or how long ago, such as 24h, not {text:?}")
    })
}
