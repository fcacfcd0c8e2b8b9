//! Output of `evaluate`: a table or JSON to stdout, scores as CSV, notes to stderr.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use serde::Serialize;

use super::Format;
use super::host::HostReport;
use crate::offline::evaluate::baseline::Kind;
use crate::offline::evaluate::quality::Quality;

/// Flagged more often than this, a host's alerts say nothing: one that is always on finds every incident.
const FLAGGED_MAX: f64 = 0.05;

/// Heads of the table's columns, after the name.
const HEADS: [&str; 11] = [
    "VUS-PR",
    "AUC-PR",
    "best F1",
    "recall",
    "precision",
    "event F1",
    "false/day",
    "flagged",
    "delay",
    "top-1",
    "hit@100",
];

/// Content that is written.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(skip)]
    title: String,
    /// Of the model, every host weighing the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<Quality>,
    /// Of the model, every incident weighing the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pooled: Option<Quality>,
    /// Of the model, by host.
    hosts: BTreeMap<String, Quality>,
    /// By name.
    baselines: BTreeMap<&'static str, Baseline>,
    #[serde(skip)]
    n_unscored: Vec<(String, usize)>,
}

#[derive(Debug, Serialize)]
struct Baseline {
    mean: Quality,
    pooled: Quality,
    hosts: BTreeMap<String, Quality>,
}

impl Report {
    pub(super) fn new(title: String, hosts: &[HostReport], kinds: &[Kind]) -> Self {
        let of_model: Vec<Quality> = hosts.iter().filter_map(|host| host.quality.clone()).collect();
        let named = |quality: fn(&HostReport) -> Option<&Quality>| {
            hosts.iter().filter_map(|host| Some((host.name.clone(), quality(host)?.clone()))).collect()
        };
        let baseline = |(n, kind): (usize, &Kind)| {
            let of_hosts: Vec<Quality> = hosts.iter().map(|host| host.baselines[n].clone()).collect();
            let (mean, pooled) = (Quality::mean(&of_hosts), Quality::pooled(&of_hosts));
            let names = hosts.iter().map(|host| host.name.clone());
            (kind.as_str(), Baseline { mean, pooled, hosts: names.zip(of_hosts).collect() })
        };
        let unscored = hosts.iter().filter(|host| host.n_unscored > 0);
        Self {
            title,
            mean: (!of_model.is_empty()).then(|| Quality::mean(&of_model)),
            pooled: (!of_model.is_empty()).then(|| Quality::pooled(&of_model)),
            hosts: named(|host| host.quality.as_ref()),
            baselines: kinds.iter().enumerate().map(baseline).collect(),
            n_unscored: unscored.map(|host| (host.name.clone(), host.n_unscored)).collect(),
        }
    }

    /// Returns what a reader must know to trust the numbers.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (host, n) in &self.n_unscored {
            warnings.push(format!("{host}: {n} labelled rows were not scored, and count as score 0"));
        }
        let mut look = |what: &str, quality: &Quality| {
            if let Some(share) = quality.normal_rows_flagged.filter(|share| *share > FLAGGED_MAX) {
                let percent = 100.0 * share;
                warnings.push(format!(
                    "{what}: {percent:.1} % of the normal rows are flagged: over 5 % the figures of incidents and alerts say nothing"
                ));
            }
        };
        self.hosts.iter().for_each(|(name, quality)| look(name, quality));
        self.baselines.iter().for_each(|(name, baseline)| look(name, &baseline.mean));
        warnings
    }

    /// Writes it to stdout.
    pub(super) fn write(&self, format: Format) -> anyhow::Result<()> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        match format {
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, self)?;
                writeln!(out)?;
            }
            Format::Text => out.write_all(self.text().as_bytes())?,
        }
        out.flush()?;
        Ok(())
    }

    fn text(&self) -> String {
        let mut lines: Vec<(&str, Option<&Quality>)> = Vec::new();
        if let (Some(mean), Some(pooled)) = (&self.mean, &self.pooled) {
            lines.extend(self.hosts.iter().map(|(name, quality)| (name.as_str(), Some(quality))));
            lines.push(("mean of hosts", Some(mean)));
            lines.push(("counted together", Some(pooled)));
        }
        if !self.baselines.is_empty() {
            lines.push(("", None));
        }
        lines.extend(self.baselines.iter().map(|(name, baseline)| (*name, Some(&baseline.mean))));
        let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = format!("{}\n\n{:width$}", self.title, "");
        HEADS.iter().for_each(|head| text.push_str(&format!("  {head:>9}")));
        for (name, quality) in lines {
            text.push('\n');
            let Some(quality) = quality else { continue };
            text.push_str(&format!("{name:width$}"));
            cells(quality).iter().for_each(|cell| text.push_str(&format!("  {cell:>9}")));
        }
        text.push_str(
            "\n\nVUS-PR, AUC-PR and best F1 are by row. An incident is found (recall) if a row of it is flagged; alerts at most 15 minutes apart\n\
             are one, and right (precision) if they touch an incident. Delay is in minutes. Of baselines: the mean of hosts.\n",
        );
        text
    }
}

/// One line of the table, in the order of [`HEADS`].
fn cells(quality: &Quality) -> [String; HEADS.len()] {
    let with = |digits: usize| move |number: Option<f64>| number.map_or("-".to_owned(), |n| format!("{n:.digits$}"));
    let (three, two, one) = (with(3), with(2), with(1));
    [
        three(quality.vus_pr),
        three(quality.auc_pr),
        three(quality.best_f1),
        two(quality.event_recall),
        two(quality.event_precision),
        two(quality.event_f1),
        two(quality.false_alerts_per_host_day),
        quality.normal_rows_flagged.map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share)),
        one(quality.median_delay_minutes),
        two(quality.explanation_top1),
        two(quality.explanation_hit_rate_100),
    ]
}

/// Scores and flags of the labelled rows, which are counted from 0, as CSV.
pub(super) fn scores(hosts: &[HostReport]) -> String {
    let mut csv = "host,row,score,flag\n".to_owned();
    for host in hosts {
        for (row, (score, flag)) in host.scores.iter().zip(&host.flags).enumerate() {
            csv.push_str(&format!("{},{row},{score},{}\n", host.name, u8::from(*flag)));
        }
    }
    csv
}

/// Says something on stderr; where nobody reads it, nothing is lost.
pub(super) fn warn(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
