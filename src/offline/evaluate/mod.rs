//! Quality of a detector on labelled data: the metrics, the rows that they are taken of, and what they are compared with.
//!
//! Pure: hosts come in as values, quality goes out as numbers; `labelled` reads the files and `cmd/evaluate.rs` runs the model.
//! Rows are standardised, windows made and verdicts given by the code of the service; nothing of that is repeated here.

pub mod alerts;
pub mod baseline;
pub mod explanation;
pub mod judge;
mod linear;
pub mod quality;
pub mod ranking;
pub mod rows;
pub mod vus;

use std::ops::Range;

/// Spans of true rows; spans at most `merged` rows apart are one.
fn runs(rows: &[bool], merged: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for n in (0..rows.len()).filter(|&n| rows[n]) {
        match runs.last_mut() {
            Some(run) if n - run.end <= merged => run.end = n + 1,
            _ => runs.push(n..n + 1),
        }
    }
    runs
}
