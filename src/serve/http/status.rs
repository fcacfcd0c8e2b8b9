//! `GET /api/v1/status`: what runs, how its hosts are, and what arrives: by job, and why it is not used.
//!
//! Everything that the answer has is put together here.

use std::collections::BTreeMap;

use serde::Serialize;
use warp::reply::Response;

use crate::results::State;
use crate::serve::ingest::Report;

use super::{Read, reply};

/// Body of the answer.
#[derive(Debug, Serialize)]
struct Status<'a> {
    /// Of this program.
    version: &'static str,
    /// Whether it takes samples.
    ready: bool,
    model: Model<'a>,
    hosts: Hosts,
    ingest: Report,
}

#[derive(Debug, Serialize)]
struct Model<'a> {
    alias: &'a str,
    features: usize,
    scored_features: usize,
    step_ms: i64,
    window_rows: usize,
    /// The alias of the model that scores beside.
    shadow: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Hosts {
    total: usize,
    /// Number of hosts in each state; every state is there.
    by_state: BTreeMap<&'static str, usize>,
}

pub(super) fn show(read: &Read) -> Response {
    let (table, now_ms) = (read.results.table(), read.clock.now_ms());
    let schema = table.schema();
    let mut by_state: BTreeMap<&'static str, usize> = State::ALL.iter().map(|state| (state.as_str(), 0)).collect();
    let hosts = table.hosts();
    for host in &hosts {
        *by_state.entry(host.assess(schema, now_ms).state.as_str()).or_default() += 1;
    }
    reply::success(&Status {
        version: env!("CARGO_PKG_VERSION"),
        ready: read.ready.load(std::sync::atomic::Ordering::Relaxed),
        model: Model {
            alias: &schema.model_alias,
            features: schema.features.len(),
            scored_features: schema.scored.len(),
            step_ms: schema.step_ms,
            window_rows: schema.window,
            shadow: schema.shadow.as_ref().map(|shadow| shadow.alias.as_str()),
        },
        hosts: Hosts { total: hosts.len(), by_state },
        ingest: read.ingest.report(),
    })
}
