//! The same data through the whole service: played as node_exporters over remote write, the scores and flags read back from its API.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::host::HostReport;
use crate::base::clock::Clock;
use crate::cmd::serve;
use crate::config::Config;
use crate::offline::evaluate::quality::Quality;
use crate::offline::labelled::LabelledHost;
use crate::serve::service::Service;
use crate::setup::Setup;
use crate::sim::playback::player::{Played, play};

/// The newest row is so old when it is sent, so that no row lies in the future.
const END_MS: i64 = 5 * 60_000;
/// Samples are believed however old they are: a year and more of history is none.
const MAX_AGE_MS: i64 = 10 * 365 * 24 * 3_600_000;

/// Starts a service with its defaults and `bundle`, plays `hosts` to it, and judges what it says of them.
pub(super) fn judge(
    hosts: &[LabelledHost],
    bundle: Option<&Path>,
    step_ms: Option<i64>,
    runtime: Option<&Path>,
) -> anyhow::Result<Vec<HostReport>> {
    let mut config = Config { step_ms, ..Config::default() };
    config.model.bundle = bundle.map(Path::to_owned);
    config.ingest.max_age_ms = MAX_AGE_MS;
    config.detection.max_lag_ms = MAX_AGE_MS;
    let setup = Setup::new(config)?;
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let played = executor.block_on(async {
        let listener = serve::listen("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr().context("cannot tell the address")?);
        let service = Service::start(&setup, listener, runtime)?;
        let end_ms = Clock::System.now_ms() - END_MS;
        let played = play(hosts, setup.step_ms(), &service, &base, end_ms, say).await;
        service.stop().await?;
        played
    })?;
    let n_scored: usize = played.iter().map(|host| host.scores.iter().flatten().count()).sum();
    ensure!(n_scored > 0, "the service scored no row: are the columns called as the model's features?");
    Ok(hosts.iter().zip(played).map(|(host, played)| report(host, played, setup.step_ms())).collect())
}

fn report(host: &LabelledHost, played: Played, step_ms: i64) -> HostReport {
    let first = host.n_unlabelled();
    let n_unscored = played.scores[first..].iter().filter(|score| score.is_none()).count();
    let scores: Vec<f64> = played.scores[first..].iter().map(|score| score.unwrap_or(0.0)).collect();
    let flags = played.flags[first..].to_vec();
    HostReport {
        name: host.name.clone(),
        quality: Some(Quality::of_rows(&scores, &flags, &host.label, step_ms)),
        baselines: Vec::new(),
        scores,
        flags,
        n_unscored,
    }
}

/// On a terminal alone: how far it is.
fn say(done: usize, all: usize, n_samples: u64) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let end = if done == all { "\n" } else { "" };
        drop(write!(err, "\r\x1b[Kplayed {done} of {all} rows, {n_samples} samples{end}"));
    }
}
