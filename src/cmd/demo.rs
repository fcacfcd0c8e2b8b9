//! `outlierd demo`: the service, a simulated fleet that writes to it, and what it found.
//!
//! Wiring only; the parts are in `crate::sim::demo`. Asks the clock to end the simulated history at the present, and then to send
//! in real time.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::base::clock::Clock;
use crate::config::Config;
use crate::promql::duration::duration_short;
use crate::series::TimestampMs;
use crate::serve::service::Service;
use crate::setup::Setup;
use crate::sim::demo::fault::timetable;
use crate::sim::demo::fleet::{Fleet, SCRAPE_INTERVAL_MS};
use crate::sim::demo::remote_write::{Blocks, Sender};
use crate::sim::demo::report::{Report, Style, belongs, judge};
use crate::sim::demo::watch::Watch;

const HOUR_MS: i64 = 3_600_000;

/// Simulated history. The service flags after 6 h of it; the faults fill the rest.
const HISTORY_MS: i64 = 72 * HOUR_MS;

/// Age of a host from which on the service may flag: its default of `detection.min_history`.
const MIN_HISTORY_MS: i64 = 6 * HOUR_MS;

/// Simulated time between two looks at the flagged hosts: short, so that a flag is seen with the reasons it was raised for.
const CHUNK_MS: i64 = 3 * 60_000;

/// Simulated time between two readings of every host; the API keeps 60 rows.
const POLL_MS: i64 = 30 * 60_000;

/// What `outlierd demo` may be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the service listens
    #[arg(long = "web.listen-address", default_value = "127.0.0.1:9201")]
    pub listen_address: std::net::SocketAddr,
    /// Number of simulated hosts
    #[arg(long, default_value_t = 36, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub hosts: u16,
    /// Same seed, same fleet
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Stop after the report instead of going on in real time
    #[arg(long)]
    pub once: bool,
    /// Send to a service that runs already, such as `http://127.0.0.1:9201`, instead of starting one. It flags the past only with
    /// `detection.max_lag: 7d` in its configuration
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// The ONNX Runtime library. Without it the usual places are looked through.
    #[arg(long = "onnxruntime.path", value_name = "FILE")]
    pub onnxruntime_path: Option<PathBuf>,
}

/// Starts the service with its defaults, unless a target is given, and demonstrates it.
///
/// # Errors
/// The service cannot start, or does not answer.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(base) = &args.target {
        return demonstrate(args, base.trim_end_matches('/')).await;
    }
    let mut config = Config::default();
    // Days of history are sent within seconds, and shall be flagged.
    config.detection.max_lag_ms = 2 * HISTORY_MS;
    let setup = Setup::new(config)?;
    let listener = super::serve::listen(&args.listen_address.to_string()).await?;
    let base = format!("http://{}", listener.local_addr().context("cannot tell the address")?);
    let service = Service::start(&setup, listener, args.onnxruntime_path.as_deref())?;
    let demonstrated = demonstrate(args, &base).await;
    service.stop().await?;
    demonstrated
}

/// Runs the demonstration against the service at `base`; returns after the report with `once`, else at Ctrl-C.
async fn demonstrate(args: &Args, base: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let end_ms = Clock::System.now_ms();
    let start_ms = end_ms - HISTORY_MS;
    let n_hosts = usize::from(args.hosts);
    let fleet = Fleet::new(n_hosts, args.seed, start_ms, timetable(end_ms, n_hosts));
    let sender = Sender::new(client.clone(), base);
    let mut demo = Demo { fleet, sender, blocks: Blocks::default(), watch: Watch::new(client, base) };

    let terminal = std::io::stdout().is_terminal();
    say(&format!(
        "outlierd demo: {n_hosts} simulated node_exporter hosts, {} of history, remote write to {base}\n",
        duration_short(HISTORY_MS)
    ))?;
    demo.replay(start_ms, end_ms, terminal).await?;
    say(&format!("\n{}", demo.report(base, start_ms, end_ms).render(Style { colour: terminal })))?;
    if args.once {
        return Ok(());
    }
    say("\nThe fleet goes on in real time; press Ctrl-C to stop.\n")?;
    tokio::select! {
        sent = demo.follow() => sent,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
    }
}

struct Demo {
    fleet: Fleet,
    sender: Sender,
    blocks: Blocks,
    watch: Watch,
}

impl Demo {
    /// Sends the history in chunks, as fast as the service takes it, and reads what it says after each.
    async fn replay(&mut self, start_ms: TimestampMs, end_ms: TimestampMs, terminal: bool) -> anyhow::Result<()> {
        let began_ms = Clock::System.now_ms();
        let mut chunk_end_ms = start_ms;
        let leader = self.leader();
        while chunk_end_ms < end_ms {
            chunk_end_ms = (chunk_end_ms + CHUNK_MS).min(end_ms);
            self.send_until(chunk_end_ms).await?;
            // The newest step waits for the lateness to pass, and the one before for the next scrape.
            self.watch.settle(&leader, chunk_end_ms - 3 * SCRAPE_INTERVAL_MS).await?;
            let n_flagged = self.watch.glance().await?;
            if (chunk_end_ms - start_ms) % POLL_MS == 0 || chunk_end_ms == end_ms {
                self.watch.poll().await?;
            }
            let seconds = (Clock::System.now_ms() - began_ms) as f64 / 1e3;
            let line = format!(
                "{:>6} of {} simulated, {:>5.1} s, {} samples, {:.0} k samples/s, {n_flagged} hosts flagged",
                duration_short(chunk_end_ms - start_ms),
                duration_short(end_ms - start_ms),
                seconds,
                thousands(self.blocks.n_total()),
                self.blocks.n_total() as f64 / 1e3 / seconds.max(0.001),
            );
            match (terminal, chunk_end_ms == end_ms, (chunk_end_ms - start_ms) % (12 * HOUR_MS) == 0) {
                (true, last, _) => say(&format!("\r\x1b[2K{line}{}", if last { "\n" } else { "" }))?,
                (false, true, _) | (false, _, true) => say(&format!("{line}\n"))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Sends every scrape as it falls due.
    async fn follow(&mut self) -> anyhow::Result<()> {
        loop {
            let wait_ms = self.fleet.next_ms() - Clock::System.now_ms();
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0) + 1)).await;
            self.send_until(Clock::System.now_ms()).await?;
        }
    }

    async fn send_until(&mut self, until_ms: TimestampMs) -> anyhow::Result<()> {
        let blocks = &mut self.blocks;
        let mut failed = None;
        self.fleet.scrape_until(until_ms, |series| {
            failed = failed.take().or(blocks.push(series).err());
        });
        if let Some(error) = failed {
            return Err(error);
        }
        for block in self.blocks.take()? {
            self.sender.send(block).await?;
        }
        Ok(())
    }

    /// A host without a fault: when its rows are scored, the others' are too.
    fn leader(&self) -> String {
        let healthy = |i: &usize| self.fleet.faults().iter().all(|fault| fault.host != *i);
        let last = (0..self.fleet.instances().count()).rev().find(healthy).unwrap_or(0);
        self.fleet.instance(last).to_owned()
    }

    fn report(&self, base: &str, start_ms: TimestampMs, end_ms: TimestampMs) -> Report {
        let nothing = Default::default();
        let faults = self.fleet.faults();
        let findings = |instance: &str| self.watch.findings(instance).unwrap_or(&nothing);
        let mut report = Report { base: base.to_owned(), end_ms, ..Report::default() };
        for fault in faults {
            let instance = self.fleet.instance(fault.host);
            report.outcomes.push(judge(fault, instance, findings(instance), end_ms));
        }
        for (i, instance) in self.fleet.instances().enumerate() {
            let own: Vec<_> = faults.iter().filter(|fault| fault.host == i).collect();
            let alerts = findings(instance).alerts();
            let others = alerts.into_iter().filter(|alert| own.iter().all(|fault| !belongs(alert, fault)));
            report.false_alerts.extend(others.map(|alert| (instance.to_owned(), alert)));
            report.n_healthy += usize::from(own.is_empty());
            let n_judged = findings(instance).n_scored_since(start_ms + MIN_HISTORY_MS);
            report.host_hours += (n_judged as i64 * SCRAPE_INTERVAL_MS) as f64 / HOUR_MS as f64;
        }
        report
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// `1,234,567`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1_000, 1_234_567].map(thousands));
    }
}
