//! Sends labelled hosts to a service as fast as it takes them, and reads back what it says of every row.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Client;

use super::exporter::Exporter;
use crate::config::duration_text;
use crate::offline::labelled::LabelledHost;
use crate::series::TimestampMs;
use crate::serve::service::Service;
use crate::sim::demo::remote_write::{Blocks, Sender};
use crate::sim::demo::watch::Watch;

const DAY_MS: i64 = 86_400_000;
/// Rows between two readings: the API keeps the last T rows of a host, T at least 30.
const CHUNK_ROWS: usize = 25;
/// Hosts are not scraped at the same moment.
const PHASE_MS: i64 = 7_000;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Answers of the service about one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// By row of the host, its score; `None` where the service gave none.
    pub scores: Vec<Option<f64>>,
    /// By row of the host.
    pub flags: Vec<bool>,
}

/// Plays `hosts` to `service`, which is listening at `base`, in simulated time that begins at a midnight and ends by `end_ms`.
/// `progress` is told how many rows of the longest host are done, of how many, and how many samples were sent.
///
/// # Errors
/// The data is none of a node_exporter, its rows are not all a step apart, or the service does not take it.
pub async fn play(
    hosts: &[LabelledHost],
    step_ms: i64,
    service: &Service,
    base: &str,
    end_ms: TimestampMs,
    mut progress: impl FnMut(usize, usize, u64),
) -> anyhow::Result<Vec<Played>> {
    hosts.iter().try_for_each(|host| check_times(host, step_ms))?;
    let client = Client::builder().timeout(TIMEOUT).build().context("cannot make an HTTP client")?;
    let sender = Sender::new(client.clone(), base);
    let mut watch = Watch::new(client, base);
    let instances: Vec<String> = hosts.iter().map(|host| format!("{}:9100", host.name)).collect();
    let exporters = hosts.iter().zip(&instances).map(|(host, instance)| Exporter::new(instance, &host.features));
    let mut exporters = exporters.collect::<anyhow::Result<Vec<_>>>()?;
    let n_rows = hosts.iter().map(|host| host.values.nrows()).max().unwrap_or(0);
    // From midnight on, so that the errors that are usual at a time of day are the same whenever it is played.
    let start_ms = (end_ms - (n_rows as i64 + 1) * step_ms).div_euclid(DAY_MS) * DAY_MS;
    let phase_ms = |host: usize| host as i64 * PHASE_MS % step_ms;
    let mut blocks = Blocks::default();
    for from in (0..n_rows).step_by(CHUNK_ROWS) {
        let chunk = from..(from + CHUNK_ROWS).min(n_rows);
        for row in chunk.clone() {
            for (i, (host, exporter)) in hosts.iter().zip(&mut exporters).enumerate() {
                if row < host.values.nrows() {
                    let t_ms = start_ms + row as i64 * step_ms + phase_ms(i);
                    blocks.push(exporter.scrape(&host.values.row(row).to_vec(), t_ms))?;
                }
            }
        }
        for block in blocks.take()? {
            sender.send(block).await?;
        }
        service.settle().await;
        watch.poll().await?;
        progress(chunk.end, n_rows, blocks.n_total());
    }
    let of_host = |(i, host): (usize, &LabelledHost)| {
        let n = host.values.nrows();
        let mut played = Played { scores: vec![None; n], flags: vec![false; n] };
        for (t_ms, flag, score) in watch.findings(&instances[i]).into_iter().flat_map(|found| found.scored_rows()) {
            let row = usize::try_from((t_ms - start_ms - phase_ms(i)) / step_ms).unwrap_or(usize::MAX);
            if row < n {
                (played.scores[row], played.flags[row]) = (Some(score), flag);
            }
        }
        played
    };
    Ok(hosts.iter().enumerate().map(of_host).collect())
}

/// Rows are played one per step: what has gaps, or another step, would be played as other data.
fn check_times(host: &LabelledHost, step_ms: i64) -> anyhow::Result<()> {
    let times = host.t_ms.as_deref().unwrap_or_default();
    let is_gap = |pair: &&[TimestampMs]| pair[1] - pair[0] != step_ms;
    if let Some(pair) = times.windows(2).find(is_gap) {
        bail!(
            "the rows of {} are not all {} apart (its t_ms goes from {} to {}), and only such rows can be played to a service: add \
             the missing rows with empty values, or leave --system out",
            host.name,
            duration_text(step_ms),
            pair[0],
            pair[1]
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_no_steps_are_refused() {
        let check = |t_ms: Option<&[TimestampMs]>, expected: Option<&str>| {
            let host = LabelledHost {
                name: "h".to_owned(),
                features: vec!["load1".to_owned()],
                values: ndarray::Array2::zeros((t_ms.map_or(2, <[_]>::len), 1)),
                t_ms: t_ms.map(<[_]>::to_vec),
                step_ms: None,
                label: vec![false],
                blames: Vec::new(),
            };
            let error = check_times(&host, 60_000).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expected.is_some(), "{t_ms:?}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        check(None, None);
        check(Some(&[7, 60_007, 120_007]), None);
        check(Some(&[0, 60_000, 180_000]), Some("not all 1m apart (its t_ms goes from 60000 to 180000)"));
    }
}
