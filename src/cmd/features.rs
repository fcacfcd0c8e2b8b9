//! `outlierd features`: the rows that a recording or a database's history gives, as CSV: what the model would see.
//!
//! Needs no ONNX Runtime: nothing is scored.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::duration_text;
use crate::decode::InvalidSeries;
use crate::engine::row::Row;
use crate::engine::{EngineCounter, Output};
use crate::offline::history::{History, Origin};
use crate::setup::Setup;

/// The longest `step` that a configuration may have.
const STEP_MS_MAX: i64 = 24 * 3_600_000;

/// Flags of `features`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// A recording: a folder of remote-write bodies with index.json, or one body.
    #[arg(long, value_name = "PATH", required_unless_present = "from", conflicts_with = "from")]
    pub input: Option<PathBuf>,
    /// Where else it may come from.
    #[command(flatten)]
    pub history: super::history::FromFlags,
    /// Distance of two rows. Without it the configuration's, or the bundle's.
    #[arg(long, value_name = "DURATION", value_parser = step)]
    pub step: Option<i64>,
    /// The configuration file. Without it the built-in preset.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
}

/// Writes one line per closed row to stdout, as they close, and at the end to stderr what the recording had.
///
/// # Errors
/// The configuration or the recording cannot be used. Rows that were closed before a bad body are written.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let mut config = super::serve::load(flags.config_file.as_deref())?;
    config.step_ms = flags.step.or(config.step_ms);
    config.threads.shards = 1;
    let setup = Setup::new(config)?;
    let config = &setup.config;
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut history = match &flags.input {
        Some(path) => {
            let origin = Origin::Recording { path: path.clone(), body_bytes_max: config.limits.body_bytes };
            History::open(origin, &setup, cancelled)?
        }
        None => flags.history.open(&setup, cancelled)?,
    };

    let names: Vec<&str> = config.features.iter().map(|feature| feature.name.as_str()).collect();
    let mut csv = BufWriter::new(std::io::stdout().lock());
    writeln!(csv, "host,t_ms,{}", names.join(","))?;
    let mut found = Found::new(names.len());
    let mut out = Output::default();
    while history.advance(&mut out)? {
        for row in &out.rows {
            write_row(&mut csv, row)?;
        }
        found.add(&out);
        out.clear();
    }
    csv.flush()?;
    let summary = summary(&history, &found, &names, setup.step_ms());
    // Where nobody reads it, nothing is lost.
    drop(std::io::stderr().write_all(summary.as_bytes()));
    Ok(())
}

fn step(text: &str) -> Result<i64, String> {
    let step_ms = crate::config::duration_ms(text).filter(|step_ms| (1..=STEP_MS_MAX).contains(step_ms));
    step_ms.ok_or_else(|| "must be a duration from 1ms to 1d, such as 30s".to_owned())
}

/// Outcome of the features.
struct Found {
    /// Per feature, in how many rows it had a value.
    values: Vec<u64>,
    /// By feature and reason, in how many rows its expression had no single value.
    errors: BTreeMap<(u16, &'static str), u64>,
    /// By feature, in how many rows its value was one that it cannot take.
    out_of_bounds: BTreeMap<u16, u64>,
}

impl Found {
    fn new(n_features: usize) -> Self {
        Self { values: vec![0; n_features], errors: BTreeMap::new(), out_of_bounds: BTreeMap::new() }
    }

    fn add(&mut self, out: &Output) {
        for row in &out.rows {
            for (n, value) in self.values.iter_mut().zip(&row.values) {
                *n += u64::from(!value.is_nan());
            }
        }
        for (feature, error) in &out.feature_errors {
            *self.errors.entry((*feature, error.as_str())).or_default() += 1;
        }
        for outside in &out.out_of_bounds {
            *self.out_of_bounds.entry(outside.feature).or_default() += 1;
        }
    }
}

/// One line; a missing value is empty.
fn write_row(csv: &mut impl Write, row: &Row) -> std::io::Result<()> {
    write!(csv, "{},{}", quoted(&row.host.name), row.t_ms)?;
    for value in &row.values {
        match value.abs() {
            missing if missing.is_nan() => csv.write_all(b",")?,
            // The shortest text that reads as the same number, without rows of zeros.
            plain if plain == 0.0 || (1e-7..1e16).contains(&plain) => write!(csv, ",{value}")?,
            _ => write!(csv, ",{value:e}")?,
        }
    }
    writeln!(csv)
}

/// As RFC 4180 has it.
fn quoted(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

/// Summarises what a reader must know to trust the rows: what was read, dropped and never there. One matter per line.
fn summary(history: &History, found: &Found, names: &[&str], step_ms: i64) -> String {
    let totals = history.totals();
    let (decoded, counts) = (&totals.decoded, &totals.counts);
    let dropped = [
        EngineCounter::Late,
        EngineCounter::Duplicate,
        EngineCounter::Replica,
        EngineCounter::NoHost,
        EngineCounter::Hosts,
        EngineCounter::SeriesPerHost,
        EngineCounter::InvalidLabels,
    ];
    let n_dropped: u64 = dropped.iter().map(|event| counts.get(*event)).sum();
    let n_rows = counts.get(EngineCounter::RowClosed);
    let pieces = if history.progress().is_some() { "chunks" } else { "bodies" };
    let mut text = format!(
        "{pieces}: {}\nsamples: {} received, {} of metrics that no feature reads, {} kept\n",
        totals.bodies,
        decoded.received_samples,
        decoded.ignored_samples,
        decoded.kept_samples.saturating_sub(n_dropped),
    );
    let mut line = |what: &str, reason: &str, n: u64| {
        if n > 0 {
            text.push_str(&format!("{what}, {reason}: {n}\n"));
        }
    };
    for event in dropped {
        line("samples dropped", event.as_str(), counts.get(event));
    }
    line("samples dropped", "future", decoded.future_samples);
    line("samples dropped", "too_old", decoded.too_old_samples);
    for reason in InvalidSeries::ALL {
        line("series invalid", reason.as_str(), decoded.invalid_series[reason as usize]);
    }
    for event in [EngineCounter::FramesPerHost, EngineCounter::SamplesPerHost] {
        line("frames limited", event.as_str(), counts.get(event));
    }
    line("steps skipped", "long gaps", counts.get(EngineCounter::StepSkipped));
    text.push_str(&format!("rows: {n_rows} of {} hosts, one per {}\n", totals.hosts, duration_text(step_ms)));
    if !history.absent().is_empty() {
        text.push_str(&format!("metrics that the database does not have: {}\n", history.absent().join(" ")));
    }
    let values = found.values.iter().zip(names);
    let never: Vec<&str> = values.filter(|(n, _)| **n == 0).map(|(_, name)| *name).collect();
    if n_rows > 0 && !never.is_empty() {
        text.push_str(&format!("features without a value in any row: {}\n", never.join(" ")));
    }
    for ((feature, reason), n) in &found.errors {
        let name = names.get(usize::from(*feature)).copied().unwrap_or_default();
        text.push_str(&format!("rows in which {name} had no single value, {reason}: {n}\n"));
    }
    for (feature, n) in &found.out_of_bounds {
        let name = names.get(usize::from(*feature)).copied().unwrap_or_default();
        text.push_str(&format!("rows in which {name} was out of bounds: {n}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::row::AlertEligibility;
    use crate::engine::row::HostId;
    use crate::series::Labels;

    #[test]
    fn rows_are_csv() {
        let check = |name: &str, values: &[f64], expected: &str| {
            let host = Arc::new(HostId { name: name.into(), labels: Labels::default() });
            let mut csv = Vec::new();
            let row = Row {
                host,
                t_ms: 60_000,
                step_ms: 60_000,
                values: values.into(),
                window: None,
                shadow: None,
                eligibility: AlertEligibility::Full,
            };
            write_row(&mut csv, &row).unwrap();
            assert_eq!(String::from_utf8(csv).unwrap(), format!("{expected}\n"));
        };
        check("a:9100", &[0.1 + 0.2, f64::NAN, 3.0], "a:9100,60000,0.30000000000000004,,3");
        check("a", &[0.0, -0.0, -1.5, 1e15, 1e16], "a,60000,0,-0,-1.5,1000000000000000,1e16");
        check("a", &[1e-7, 1.25e-9, -f64::MAX, 5e-324], "a,60000,0.0000001,1.25e-9,-1.7976931348623157e308,5e-324");
        check("a,\"b\"", &[f64::NAN], "\"a,\"\"b\"\"\",60000,");
        check("a\nb", &[], "\"a\nb\",60000");
    }

    #[test]
    fn steps_are_durations() {
        assert_eq!((step("30s"), step("1d")), (Ok(30_000), Ok(STEP_MS_MAX)));
        for wrong in ["", "30", "0s", "2d", "-1s"] {
            assert!(step(wrong).is_err(), "{wrong}");
        }
    }
}
