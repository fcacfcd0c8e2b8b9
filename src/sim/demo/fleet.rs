//! The fleet: hosts of three roles, each scraped on its own offset, with the faults of a timetable.
//!
//! Owns the order of scrapes; the same seed, start and timetable give the same series.

use super::exposition::Page;
use super::fault::{Fault, Kind, Strain};
use super::host::{Host, Role};
use crate::base::proto::prometheus::TimeSeries;
use crate::base::random::Random;
use crate::series::TimestampMs;

/// Time between two scrapes of a host.
pub const SCRAPE_INTERVAL_MS: i64 = 60_000;

const DAY_MS: i64 = 24 * 3_600_000;

/// The simulated hosts and their scraper.
#[derive(Debug)]
pub struct Fleet {
    targets: Vec<Target>,
    faults: Vec<Fault>,
}

#[derive(Debug)]
struct Target {
    instance: String,
    host: Host,
    page: Page,
    /// Time of its next scrape.
    next_ms: TimestampMs,
    /// Whether the last scrape succeeded.
    up: bool,
}

impl Fleet {
    /// `n_hosts` hosts that are first scraped within a minute from `start_ms`.
    #[must_use]
    pub fn new(n_hosts: usize, seed: u64, start_ms: TimestampMs, faults: Vec<Fault>) -> Self {
        let mut random = Random::new(seed);
        let targets = (0..n_hosts)
            .map(|i| {
                let (role, name) = match i % 6 {
                    0..=2 => (Role::Web, "web"),
                    3 | 4 => (Role::Db, "db"),
                    _ => (Role::Batch, "batch"),
                };
                let instance = format!("{name}-{i:02}:9100");
                let next_ms = start_ms + random.between(0.0, SCRAPE_INTERVAL_MS as f64) as i64;
                let boot_ms = start_ms - (DAY_MS as f64 * random.between(3.0, 90.0)) as i64;
                let page = Page::new(&instance, "node");
                let host = settled(Host::new(role, boot_ms, Random::new(seed ^ (i as u64 + 1))), next_ms);
                Target { instance, host, page, next_ms, up: true }
            })
            .collect();
        Self { targets, faults }
    }

    /// The identity of host `i`.
    #[must_use]
    pub fn instance(&self, i: usize) -> &str {
        &self.targets[i].instance
    }

    /// The identities of all hosts.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| target.instance.as_str())
    }

    /// The faults, in the order of the timetable.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Returns the time at which the next scrape is due.
    #[must_use]
    pub fn next_ms(&self) -> TimestampMs {
        self.targets.iter().map(|target| target.next_ms).min().unwrap_or(TimestampMs::MAX)
    }

    /// Scrapes all that is due before `until_ms`, in the order of time, and gives `sink` the series of each scrape.
    pub fn scrape_until(&mut self, until_ms: TimestampMs, mut sink: impl FnMut(&[TimeSeries])) {
        loop {
            let due = self.targets.iter_mut().enumerate().min_by_key(|(_, target)| target.next_ms);
            let Some((i, target)) = due.filter(|(_, target)| target.next_ms < until_ms) else { return };
            let t_ms = target.next_ms;
            target.next_ms += SCRAPE_INTERVAL_MS;
            let active = self.faults.iter().find(|fault| fault.host == i && fault.active(t_ms));
            if let Some(series) = target.scrape(t_ms, active) {
                sink(series);
            }
        }
    }
}

/// Hours of life before the first scrape, so that memory, load and page cache have found their level.
fn settled(mut host: Host, first_scrape_ms: TimestampMs) -> Host {
    for minutes in (0..720).rev() {
        host.step(first_scrape_ms - minutes * 60_000, 60.0, Strain::default());
    }
    host
}

impl Target {
    /// The series of the scrape at `t_ms`; `None` where nothing is sent.
    fn scrape(&mut self, t_ms: TimestampMs, fault: Option<&Fault>) -> Option<&[TimeSeries]> {
        let kind = fault.map(|fault| fault.kind);
        if kind == Some(Kind::Reboot) {
            self.host.reboot(t_ms);
        } else {
            let strain = fault.map_or_else(Strain::default, |fault| fault.strain(t_ms));
            self.host.step(t_ms, SCRAPE_INTERVAL_MS as f64 / 1e3, strain);
        }
        let was_up = self.up;
        self.up = !matches!(kind, Some(Kind::Reboot | Kind::Down | Kind::Silent));
        match kind {
            Some(Kind::Silent) => None,
            Some(Kind::Reboot | Kind::Down) => Some(self.page.fail(t_ms, was_up)),
            _ => Some(self.page.scrape(&self.host, t_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::timetable;
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn history(seed: u64) -> Vec<TimeSeries> {
        let mut fleet = Fleet::new(36, seed, 0, timetable(8 * HOUR_MS, 36));
        let mut all = Vec::new();
        fleet.scrape_until(8 * HOUR_MS, |series| all.extend(series.iter().filter(|s| keeps(s)).cloned()));
        all
    }

    fn keeps(series: &TimeSeries) -> bool {
        ["up", "node_load1", "node_netstat_Tcp_InSegs"].contains(&series.labels[0].value.as_str())
    }

    /// Values of `name` of host `instance`, in order.
    fn values(all: &[TimeSeries], instance: &str, name: &str) -> Vec<(i64, f64)> {
        let wanted = |s: &&TimeSeries| {
            s.labels[0].value == name && s.labels.iter().any(|l| l.name == "instance" && l.value == instance)
        };
        all.iter().filter(wanted).map(|s| (s.samples[0].timestamp, s.samples[0].value)).collect()
    }

    #[test]
    fn a_fleet_is_the_same_for_the_same_seed_only() {
        let bits = |all: Vec<TimeSeries>| all.iter().map(|s| s.samples[0].value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(history(1)), bits(history(1)));
        assert_ne!(bits(history(1)), bits(history(2)));
    }

    #[test]
    fn faults_show_in_the_series() {
        let all = history(1);
        let load = values(&all, "web-02:9100", "node_load1");
        let at = |minutes_before_end: i64| {
            let t_ms = 8 * HOUR_MS - minutes_before_end * 60_000;
            load.iter().min_by_key(|(t, _)| (t - t_ms).abs()).map(|(_, v)| *v).unwrap()
        };
        assert!(at(360) > at(400) + 1.5, "CPU hog: load {} then {}", at(400), at(360));

        let up = values(&all, "web-20:9100", "up");
        assert_eq!(up.last().unwrap().1, 0.0, "exporter down");

        let silent = values(&all, "db-33:9100", "up");
        assert!(silent.last().unwrap().0 < 8 * HOUR_MS - 29 * 60_000, "silence");

        let mut segments = values(&all, "batch-05:9100", "node_netstat_Tcp_InSegs");
        segments.retain(|(_, value)| !value.is_nan());
        let falls = segments.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
        assert_eq!(falls, 1, "a reboot: the counter starts again, once");
    }
}
