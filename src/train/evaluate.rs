//! How well forecasts find the labelled incidents of hosts, streaming: every score uses rows up to its own alone.
//!
//! All forecasts are judged on the same standardised rows, clips, smoothing and rule, so that only the forecast differs.

use std::io::{self, Write};

use candle_core::{Device, Tensor};

use super::lstm::Network;
use super::rows::Rows;
use super::sample::Shape;
use super::score::{Detection, Rule, average_precision, detect, mean_squared_error, smooth};

/// Windows that are forecast at once.
const BATCH: usize = 512;
/// Rows before the labelled ones that are scored too, so that the smoothing has settled.
const SETTLING_ROWS: usize = 120;
/// Rows of one day.
const DAY_ROWS: f64 = 1440.0;

/// What a host is judged on.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// Its name.
    pub name: &'a str,
    /// All its rows.
    pub rows: &'a Rows,
    /// The labels of the last rows.
    pub label: &'a [bool],
}

/// How scores become flags.
#[derive(Debug, Clone, Copy)]
pub struct Scoring {
    /// Time constant of the smoothing, in rows.
    pub smoothing_rows: f64,
    /// From score to flag.
    pub rule: Rule,
}

/// Something that expects the next row.
#[derive(Debug, Clone, Copy)]
pub enum Forecast<'a> {
    /// A trained network on windows of T - 1 rows.
    Network(&'a Network),
    /// The exponentially weighted mean of the clipped rows; weight 1 is the row before (persistence).
    Ewma(f32),
}

/// What one forecast did on one host.
#[derive(Debug, Clone)]
pub struct Line {
    /// The host.
    pub host: String,
    /// Area under the precision-recall curve.
    pub average_precision: f64,
    /// At the rule's limit.
    pub detection: Detection,
}

/// Judges `forecast` on one host.
///
/// # Errors
/// Where the network's shapes disagree with the rows.
pub fn evaluate(host: Labelled<'_>, forecast: Forecast<'_>, shape: &Shape, scoring: Scoring) -> anyhow::Result<Line> {
    let labelled_from = host.rows.len() - host.label.len();
    let from = labelled_from.saturating_sub(SETTLING_ROWS).max(shape.window);
    let errors = match forecast {
        Forecast::Network(network) => network_errors(network, host.rows, from, shape)?,
        Forecast::Ewma(weight) => ewma_errors(weight, host.rows, from, shape),
    };
    let scores = &smooth(&errors, scoring.smoothing_rows)[labelled_from - from..];
    Ok(Line {
        host: host.name.to_owned(),
        average_precision: average_precision(scores, host.label),
        detection: detect(scores, host.label, scoring.rule),
    })
}

/// The table of `lines` as Markdown, their mean last.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write_table(out: &mut impl Write, title: &str, lines: &[Line]) -> io::Result<()> {
    writeln!(out, "\n| {title} | AUC-PR | events found | alerts | false alerts a day | normal rows flagged |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    let n = lines.len() as f64;
    let mean = |value: &dyn Fn(&Line) -> f64| lines.iter().map(value).sum::<f64>() / n;
    let days = |d: &Detection| d.normal_rows as f64 / DAY_ROWS;
    let false_a_day = |line: &Line| line.detection.false_alerts as f64 / days(&line.detection);
    let flagged = |line: &Line| 100.0 * line.detection.normal_flagged as f64 / line.detection.normal_rows as f64;
    let sum = |count: &dyn Fn(&Detection) -> usize| lines.iter().map(|line| count(&line.detection)).sum::<usize>();
    for line in lines {
        let Detection { events, found, alerts, .. } = line.detection;
        let (precision, a_day, flagged) = (line.average_precision, false_a_day(line), flagged(line));
        let host = &line.host;
        writeln!(out, "| {host} | {precision:.3} | {found} of {events} | {alerts} | {a_day:.2} | {flagged:.2} % |")?;
    }
    let (precision, a_day, flagged) = (mean(&|line| line.average_precision), mean(&false_a_day), mean(&flagged));
    let (found, events, alerts) = (sum(&|d| d.found), sum(&|d| d.events), sum(&|d| d.alerts));
    writeln!(out, "| **mean** | {precision:.3} | {found} of {events} | {alerts} | {a_day:.2} | {flagged:.2} % |")
}

/// The mean squared error of each row from `from` on.
fn network_errors(network: &Network, rows: &Rows, from: usize, shape: &Shape) -> anyhow::Result<Vec<f64>> {
    let (seen, n_features) = (shape.window - 1, rows.n_features());
    let mut errors = Vec::with_capacity(rows.len() - from);
    for start in (from..rows.len()).step_by(BATCH) {
        let batch = start..(start + BATCH).min(rows.len());
        let step = |n: usize| {
            let cells = batch.clone().flat_map(|newest| rows.row(newest - seen + n));
            let shown: Vec<f32> = cells.map(|z| clipped(*z, shape.input_clip)).collect();
            Tensor::from_vec(shown, (batch.len(), n_features), &Device::Cpu)
        };
        let steps = (0..seen).map(step).collect::<candle_core::Result<Vec<Tensor>>>()?;
        let expected = network.expect_last(&steps)?.to_vec2::<f32>()?;
        errors.extend(batch.zip(expected).map(|(n, expected)| error(rows.row(n), &expected, shape)));
    }
    Ok(errors)
}

/// The mean squared error of each row from `from` on; the mean has seen all rows before.
fn ewma_errors(weight: f32, rows: &Rows, from: usize, shape: &Shape) -> Vec<f64> {
    let mut expected = vec![0.0; rows.n_features()];
    let mut errors = Vec::with_capacity(rows.len() - from);
    for n in 0..rows.len() {
        if n >= from {
            errors.push(error(rows.row(n), &expected, shape));
        }
        for (expected, z) in expected.iter_mut().zip(rows.row(n)) {
            *expected += weight * (clipped(*z, shape.input_clip) - *expected);
        }
    }
    errors
}

fn error(actual: &[f32], expected: &[f32], shape: &Shape) -> f64 {
    let actual: Vec<f32> = actual.iter().map(|z| z.clamp(-shape.target_clip, shape.target_clip)).collect();
    mean_squared_error(&actual, expected)
}

/// Missing is 0.
fn clipped(z: f32, clip: f32) -> f32 {
    if z.is_finite() { z.clamp(-clip, clip) } else { 0.0 }
}
