//! What a training came to, as text: what was learnt from, what was left out and why, and how good it is against knowing nothing.

use std::fmt::Write as _;

use crate::config::duration_text;
use crate::model::manifest::{Losses, Manifest};
use crate::train::dataset::Dataset;
use crate::train::fit::{Ended, Fitted};
use crate::train::usable::Findings;

/// One line per matter.
pub(super) fn text(data: &Dataset, findings: &Findings, manifest: &Manifest, fitted: &Fitted, seconds: f64) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{what:<12}{value}");
    };
    let step = duration_text(data.scale.step_ms);
    line(
        "hosts",
        format!("{} used, {} held back, {} left out", data.hosts.len(), fitted.split.hosts.len(), findings.hosts.len()),
    );
    line("rows", format!("{}, one per {step}, windows of {}", data.n_rows(), manifest.window));
    let (n, missing, constant) = (data.columns.len(), findings.missing.len(), findings.constant.len());
    line("features", format!("{n} used, {constant} of them never changed, {missing} left out"));
    let why = match fitted.ended {
        None => String::new(),
        Some(Ended::NoBetter) => ", ended since the held-back error no longer fell".to_owned(),
        Some(Ended::Asked) => ", ended by Ctrl-C".to_owned(),
    };
    line("batches", format!("{}, the best after {}{why}", fitted.steps, fitted.best_step));
    line("train", losses(&fitted.train));
    match &fitted.held_back {
        Some(errors) => line("held back", losses(errors)),
        None => line("held back", "nothing: there is too little history to hold any back".to_owned()),
    }
    if let Some(errors) = &manifest.errors {
        let quantiles: Vec<String> = errors.quantiles.iter().map(|q| format!("q{} {:.3}", q.q, q.mse)).collect();
        line("smoothed mse", format!(" {} (held back, {} rows)", quantiles.join(", "), errors.n_rows));
    }
    line("training", format!("{} in {seconds:.0} s", manifest.training.id));
    if let Some(errors) = fitted.held_back.filter(|errors| errors.network >= baseline(errors)) {
        let _ = writeln!(
            text,
            "warning: on held-back rows the model ({:.4}) is no better than knowing nothing ({:.4}): train on more history, or longer",
            errors.network,
            baseline(&errors)
        );
    }
    text.push_str(&findings.text());
    text
}

fn baseline(errors: &Losses) -> f64 {
    errors.persistence.unwrap_or(f64::INFINITY).min(errors.mean)
}

fn losses(losses: &Losses) -> String {
    let persistence = losses.persistence.map_or_else(String::new, |loss| format!(", the row before {loss:.4}"));
    format!("loss {:.4} (the mean {:.4}{persistence})", losses.network, losses.mean)
}
