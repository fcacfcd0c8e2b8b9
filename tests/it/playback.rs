//! A labelled host played as a node_exporter: the preset's features give its rows back.

use std::fs;
use std::sync::Arc;

use outlierd::config::Config;
use outlierd::engine::Output;
use outlierd::offline::history::recording::Recording;
use outlierd::offline::history::replay::Replay;
use outlierd::offline::labelled::SMD_FEATURES;
use outlierd::setup::Setup;
use outlierd::sim::demo::remote_write::Blocks;
use outlierd::sim::playback::exporter::Exporter;

const STEP_MS: i64 = 60_000;
const N_ROWS: usize = 40;

/// A number from 0 to 1 that looks random; 0 and 1 themselves in the first rows.
fn cell(row: usize, column: usize) -> f64 {
    match row {
        0 | 1 => ((row + column) % 2) as f64,
        _ => ((row * 7919 + column * 104_729) % 1000) as f64 / 999.0,
    }
}

#[test]
fn every_feature_follows_its_column() {
    let features = SMD_FEATURES.map(str::to_owned);
    let mut exporter = Exporter::new("machine:9100", &features).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut index = Vec::new();
    for row in 0..N_ROWS {
        let mut blocks = Blocks::default();
        let values: Vec<f64> = (0..features.len()).map(|column| cell(row, column)).collect();
        blocks.push(exporter.scrape(&values, row as i64 * STEP_MS)).unwrap();
        for body in blocks.take().unwrap() {
            index.push(format!(r#"{{"file": "{row}"}}"#));
            fs::write(folder.path().join(row.to_string()), body).unwrap();
        }
    }
    fs::write(folder.path().join("index.json"), format!("[{}]", index.join(","))).unwrap();

    let mut config = Config { step_ms: Some(STEP_MS), ..Config::default() };
    config.threads.shards = 1;
    // One interval, so that a row is its own column's alone.
    config.features.iter_mut().for_each(|feature| feature.expr = feature.expr.replace("$range", "2m"));
    let setup = Setup::new(config).unwrap();
    let recording = Recording::open(folder.path(), setup.config.limits.body_bytes).unwrap();
    let mut replay = Replay::new(recording, &setup, Arc::default()).unwrap();
    let (mut out, mut rows) = (Output::default(), Vec::new());
    while replay.advance(&mut out).unwrap() {
        rows.extend(out.rows.drain(..).map(|row| (row.t_ms / STEP_MS, row.values)));
        out.clear();
    }
    // A rate needs two scrapes.
    rows.retain(|(row, _)| *row > 0);
    assert_eq!(rows.iter().map(|(row, _)| *row).collect::<Vec<_>>(), (1..N_ROWS as i64).collect::<Vec<_>>());
    for (column, name) in features.iter().enumerate().filter(|(_, name)| *name != "mem_total") {
        let place = setup.config.features.iter().position(|feature| feature.name == **name).unwrap();
        let point = |i: usize| (cell(rows[i].0 as usize, column), rows[i].1[place]);
        // value = offset + slope · cell, told by the two rows that are furthest apart.
        let by_cell = |a: &usize, b: &usize| point(*a).0.total_cmp(&point(*b).0);
        let low = point((0..rows.len()).min_by(by_cell).unwrap());
        let high = point((0..rows.len()).max_by(by_cell).unwrap());
        let slope = (high.1 - low.1) / (high.0 - low.0);
        assert!(slope > 0.0, "{name}: {low:?} {high:?}");
        for i in 0..rows.len() {
            let (x, value) = point(i);
            let expected = low.1 + slope * (x - low.0);
            assert!((value - expected).abs() <= 1e-6 * slope, "{name}, row {i}: {value} instead of {expected}");
        }
    }
}
