//! Outcome of a training: what was learnt from, what was left out and why, and how good it is against knowing nothing.
//!
//! Owns the facts, and how a terminal shows them; `page.rs` shows the same facts and more on a page.

mod curve;
mod page;

use std::fmt::Write as _;

use crate::config::duration_text;
use crate::model::manifest::Losses;
use crate::offline::train::bundle::Trained;
use crate::offline::train::dataset::Dataset;
use crate::offline::train::fit::{Ended, Fitted, Options};
use crate::offline::train::usable::Findings;
use crate::promql::eval::date::civil;
use crate::series::TimestampMs;

/// Times before 2001 are counted from some row on: of them the length alone says anything.
const FIRST_DATE_MS: TimestampMs = 978_307_200_000;

/// A training that has ended.
#[derive(Debug)]
pub(super) struct Report<'a> {
    /// Origin that `--from` named, without a password.
    pub(super) from: String,
    /// Data that was learnt from.
    pub(super) data: &'a Dataset,
    /// Findings about what was not learnt from.
    pub(super) findings: &'a Findings,
    /// Options of the training.
    pub(super) options: &'a Options,
    /// Course of the training.
    pub(super) fitted: &'a Fitted,
    /// Result of the training.
    pub(super) trained: &'a Trained,
    /// In all, the reading too.
    pub(super) seconds: f64,
}

impl Report<'_> {
    /// One line per matter.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (what, fact) in self.facts() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{what:<12} {fact}");
        }
        if let Some(warning) = self.warning() {
            let _ = writeln!(text, "warning: {warning}");
        }
        text.push_str(&self.findings.text());
        text
    }

    /// The same and more as one HTML file, which needs nothing else and runs no script.
    pub(super) fn page(&self) -> String {
        page::page(self)
    }

    /// Returns what it is about, and what holds.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let (data, findings, fitted, manifest) = (self.data, self.findings, self.fitted, &self.trained.manifest);
        let step = duration_text(data.scale.step_ms);
        let (n, missing, constant) = (data.columns.len(), findings.missing.len(), findings.constant.len());
        let why = match fitted.ended {
            None => String::new(),
            Some(Ended::NoBetter) => ", ended since the held-back error no longer fell".to_owned(),
            Some(Ended::Interrupted) => ", ended by Ctrl-C".to_owned(),
        };
        let nothing = || "nothing: there is too little history to hold any back".to_owned();
        let mut facts = vec![
            ("from", self.from.clone()),
            ("span", span(data)),
            (
                "hosts",
                format!(
                    "{} used, {} held back, {} left out",
                    data.hosts.len(),
                    fitted.split.hosts.len(),
                    findings.hosts.len()
                ),
            ),
            ("rows", format!("{}, one per {step}, windows of {}", data.n_rows(), manifest.window)),
            ("features", format!("{n} used, {constant} of them never changed, {missing} left out")),
            ("batches", format!("{}, the best after {}{why}", fitted.steps, fitted.best_step)),
            ("train", losses(&fitted.train)),
            ("held back", fitted.held_back.as_ref().map_or_else(nothing, losses)),
        ];
        if let Some(errors) = &manifest.errors {
            let quantiles: Vec<String> = errors.quantiles.iter().map(|q| format!("q{} {:.3}", q.q, q.mse)).collect();
            let (n_rows, limit) = (errors.n_rows, manifest.detection.limit);
            facts.push(("smoothed mse", format!("{} (held back, {n_rows} rows; limit {limit})", quantiles.join(", "))));
        }
        facts.push(("training", format!("{} in {:.0} s", manifest.training.id, self.seconds)));
        facts
    }

    fn warning(&self) -> Option<String> {
        let errors = self.fitted.held_back.filter(|errors| errors.network >= untrained(errors))?;
        Some(format!(
            "on held-back rows the model ({:.4}) is no better than knowing nothing ({:.4}): train on more history, or longer",
            errors.network,
            untrained(&errors)
        ))
    }
}

/// The better guess of those that know nothing.
fn untrained(errors: &Losses) -> f64 {
    errors.persistence.unwrap_or(f64::INFINITY).min(errors.mean)
}

fn losses(losses: &Losses) -> String {
    let persistence = losses.persistence.map_or_else(String::new, |loss| format!(", the row before {loss:.4}"));
    format!("loss {:.4} (the mean {:.4}{persistence})", losses.network, losses.mean)
}

/// From the first row of any host to the newest.
fn span(data: &Dataset) -> String {
    let first_ms = data.hosts.iter().map(|host| host.first_ms).min().unwrap_or(0);
    let newest_ms = data.hosts.iter().map(|host| host.newest_ms).max().unwrap_or(0);
    let length = duration_text(newest_ms.saturating_sub(first_ms) / 60_000 * 60_000);
    if first_ms < FIRST_DATE_MS {
        return length;
    }
    format!("{length}, {} to {} UTC", date(first_ms), date(newest_ms))
}

/// To the minute, such as `2026-11-22 09:30`.
fn date(t_ms: TimestampMs) -> String {
    let minutes = t_ms.div_euclid(60_000);
    let (year, month, day) = civil(minutes.div_euclid(1440));
    let minute = minutes.rem_euclid(1440);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |t_ms: TimestampMs, expected: &str| assert_eq!(date(t_ms), expected);
        check(0, "1970-01-01 00:00");
        check(1_795_330_081_812, "2026-11-22 06:48");
        check(1_709_251_199_999, "2024-02-29 23:59");
    }
}
