//! Reads the service's API while the fleet sends, and remembers which rows were flagged and why.
//!
//! Owns the findings. The API keeps the last T rows of a host, so it must be read at least once per T rows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Client;
use serde::de::DeserializeOwned;

use super::api::{Answer, Contribution, HostDetail, Hosts, Row};
use crate::series::TimestampMs;

/// Two flags closer than this are one alert.
pub const MERGE_MS: i64 = 15 * 60_000;

/// Features that a reason names at most, and the share of the error from which on one is worth a line.
const TOP: usize = 3;
const SHARE_MIN: f64 = 0.05;

/// Attempts and pause with which [`Watch::settle`] waits for the service to score what was sent.
const SETTLE_ATTEMPTS: u32 = 600;
const SETTLE_PAUSE: Duration = Duration::from_millis(50);

/// Reason that a flagged host gave, as it was first seen.
#[derive(Debug, Clone)]
pub struct Reason {
    /// The newest row when it was read.
    pub t_ms: TimestampMs,
    /// The largest contributions first.
    pub top: Vec<Blame>,
}

/// A feature that is blamed.
#[derive(Debug, Clone)]
pub struct Blame {
    /// Its share, actual and expected value.
    pub contribution: Contribution,
    /// Its unit.
    pub unit: String,
    /// Its median in the older half of the rows that the API keeps: what it was before.
    pub before: Option<f64>,
}

/// A stretch of flagged rows of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// First flagged row.
    pub from_ms: TimestampMs,
    /// Last flagged row.
    pub to_ms: TimestampMs,
}

/// Observations of one host.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Flag and score of every scored row.
    rows: BTreeMap<TimestampMs, (bool, f64)>,
    /// One for each reading in which the host was flagged.
    pub reasons: Vec<Reason>,
    /// Its state when it was last read.
    pub state: String,
    /// Timestamp of its newest sample when it was last read.
    pub last_sample_ms: TimestampMs,
}

impl Findings {
    fn note(&mut self, detail: HostDetail) {
        self.rows.extend(detail.rows.iter().filter_map(scored));
        if let Some(newest) = detail.rows.iter().rfind(|row| row.score.is_some())
            && newest.flag == Some(true)
        {
            let mut all: Vec<&Contribution> = detail.contributions.iter().collect();
            all.sort_by(|a, b| b.share.total_cmp(&a.share));
            let top = all
                .into_iter()
                .filter(|c| c.share >= SHARE_MIN)
                .take(TOP)
                .map(|contribution| blame(contribution, &detail))
                .collect();
            self.reasons.push(Reason { t_ms: newest.t_ms, top });
        }
        self.state = detail.state;
        self.last_sample_ms = detail.last_sample_ms;
    }

    /// The time, flag and score of every row that was scored, in order.
    pub fn scored_rows(&self) -> impl Iterator<Item = (TimestampMs, bool, f64)> {
        self.rows.iter().map(|(t_ms, (flag, score))| (*t_ms, *flag, *score))
    }

    /// Rows from `since_ms` on that were scored.
    #[must_use]
    pub fn n_scored_since(&self, since_ms: TimestampMs) -> usize {
        self.rows.range(since_ms..).count()
    }

    /// The flagged stretches in order; those closer than [`MERGE_MS`] are one.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts: Vec<Alert> = Vec::new();
        for (&t_ms, _) in self.rows.iter().filter(|(_, (flag, _))| *flag) {
            match alerts.last_mut() {
                Some(alert) if t_ms - alert.to_ms <= MERGE_MS => alert.to_ms = t_ms,
                _ => alerts.push(Alert { from_ms: t_ms, to_ms: t_ms }),
            }
        }
        alerts
    }

    /// The highest score between two moments.
    #[must_use]
    pub fn peak(&self, from_ms: TimestampMs, to_ms: TimestampMs) -> Option<f64> {
        self.rows.range(from_ms..=to_ms).map(|(_, (_, score))| *score).reduce(f64::max)
    }
}

fn blame(contribution: &Contribution, detail: &HostDetail) -> Blame {
    let column = detail.features.iter().position(|feature| feature.name == contribution.feature);
    let older = &detail.rows[..detail.rows.len() / 2];
    let mut values: Vec<f64> = older.iter().filter_map(|row| *row.values.get(column?)?).collect();
    values.sort_by(f64::total_cmp);
    let unit = column.map_or_else(String::new, |column| detail.features[column].unit.clone());
    Blame { contribution: contribution.clone(), unit, before: values.get(values.len() / 2).copied() }
}

fn scored(row: &Row) -> Option<(TimestampMs, (bool, f64))> {
    Some((row.t_ms, (row.flag.unwrap_or(false), row.score?)))
}

/// The reader of one service.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    base: String,
    /// By host.
    findings: BTreeMap<String, Findings>,
}

impl Watch {
    /// `base` is the service, such as `http://127.0.0.1:9201`.
    #[must_use]
    pub fn new(client: Client, base: &str) -> Self {
        Self { client, base: base.to_owned(), findings: BTreeMap::new() }
    }

    /// Waits until a healthy `host` has a closed row no older than `t_ms`, so that the service is not overrun.
    ///
    /// # Errors
    /// It has none after half a minute.
    pub async fn settle(&mut self, host: &str, t_ms: TimestampMs) -> anyhow::Result<()> {
        for _ in 0..SETTLE_ATTEMPTS {
            let newest = self.detail(host).await?.and_then(|detail| detail.rows.last().map(|row| row.t_ms));
            if newest.is_some_and(|newest| newest >= t_ms) {
                return Ok(());
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
        bail!("the service has taken the samples of {host} but closes no rows from them; its log says why")
    }

    /// Reads every known host once.
    pub async fn poll(&mut self) -> anyhow::Result<()> {
        self.read("/api/v1/hosts?limit=10000").await?;
        Ok(())
    }

    /// Reads the flagged hosts and returns how many there are.
    pub async fn glance(&mut self) -> anyhow::Result<usize> {
        self.read("/api/v1/hosts?state=anomalous&limit=10000").await
    }

    async fn read(&mut self, list: &str) -> anyhow::Result<usize> {
        let hosts: Hosts = self.get(list).await?.context("the service has no /api/v1/hosts")?;
        for host in &hosts.hosts {
            if let Some(detail) = self.detail(&host.host).await? {
                self.findings.entry(host.host.clone()).or_default().note(detail);
            }
        }
        Ok(hosts.hosts.len())
    }

    /// Returns what was seen of `host`.
    #[must_use]
    pub fn findings(&self, host: &str) -> Option<&Findings> {
        self.findings.get(host)
    }

    async fn detail(&self, host: &str) -> anyhow::Result<Option<HostDetail>> {
        self.get(&format!("/api/v1/hosts/{host}")).await
    }

    /// `None` where the service answers 404.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let url = format!("{}{path}", self.base);
        let answer = self.client.get(&url).send().await.with_context(|| format!("cannot reach {url}"))?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(answer.status().is_success(), "{url} answered {}", answer.status());
        let body = answer.bytes().await?;
        let answer: Answer<T> =
            serde_json::from_slice(&body).with_context(|| format!("cannot read the answer of {url}"))?;
        Ok(Some(answer.data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_close_to_each_other_are_one_alert() {
        let mut findings = Findings::default();
        for minute in [1, 2, 3, 12, 40] {
            findings.rows.insert(minute * 60_000, (true, 2.0));
        }
        findings.rows.insert(5 * 60_000, (false, 0.5));
        let alert = |from: i64, to: i64| Alert { from_ms: from * 60_000, to_ms: to * 60_000 };
        assert_eq!(findings.alerts(), [alert(1, 12), alert(40, 40)]);
        assert_eq!(findings.peak(4 * 60_000, 6 * 60_000), Some(0.5));
    }

    #[test]
    fn an_answer_is_read() {
        let json = r#"{"status":"success","data":{"host":"a","state":"anomalous","last_sample_ms":7,"model":"default",
            "features":[{"name":"cpu","expr":"x","unit":"ratio"}],
            "rows":[{"t_ms":1,"values":[0.5],"expected":null,"mse":null,"score":null,"flag":null},
                    {"t_ms":2,"values":[null],"expected":[0.1],"mse":3.0,"score":3.0,"flag":true}],
            "contributions":[{"feature":"cpu","share":1.0,"actual":0.9,"expected":0.1}],"missing":[],"events":[]}}"#;
        let answer: Answer<HostDetail> = serde_json::from_str(json).unwrap();
        let mut findings = Findings::default();
        findings.note(answer.data);
        assert_eq!(findings.alerts(), [Alert { from_ms: 2, to_ms: 2 }]);
        assert_eq!(findings.reasons[0].top[0].unit, "ratio");
        assert_eq!((findings.n_scored_since(0), findings.state.as_str()), (1, "anomalous"));
    }
}
