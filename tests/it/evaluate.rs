//! `outlierd evaluate` on small labelled folders: what it says of a host whose incidents cannot be missed, and what it refuses.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;
use outlierd::offline::labelled::SMD_FEATURES;
use serde_json::Value;

/// Rows without a label: a day, more than `min_history`.
const UNLABELLED: usize = 1440;
/// Rows with one.
const LABELLED: usize = 720;
/// Labelled rows of the two incidents.
const INCIDENTS: [(usize, usize); 2] = [(200, 240), (500, 530)];
/// Columns that an incident is seen in: the first ones.
const N_WILD: usize = 12;

/// Exit status, stdout and stderr.
fn evaluate(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("evaluate").arg(folder).args(arguments).output();
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn is_incident(row: usize) -> bool {
    row.checked_sub(UNLABELLED).is_some_and(|row| INCIDENTS.iter().any(|(start, end)| (*start..*end).contains(&row)))
}

/// A wave with a phase per feature; in an incident the first features jump up and down, to where they never were.
fn value(row: usize, feature: usize) -> f32 {
    let wave = 0.3 + 0.1 * (row as f32 * 0.02 + feature as f32).sin();
    // Neighbouring rows differ: nothing of the host is constant.
    let noise = 0.01 * ((row * 7 + feature * 13) % 10) as f32;
    let is_wild = is_incident(row) && feature < N_WILD;
    if is_wild { 0.99 * (row / 2 % 2) as f32 } else { wave + noise }
}

fn labels() -> Vec<u8> {
    (UNLABELLED..UNLABELLED + LABELLED).map(|row| u8::from(is_incident(row))).collect()
}

/// `<folder>/<name>.npz` and `.json` with 38 columns; `label` and `n_columns` of the test half as given.
fn write_npz(folder: &Path, name: &str, label: &[u8], n_columns: usize) {
    let mut npz = NpzWriter::new(File::create(folder.join(format!("{name}.npz"))).unwrap());
    let train = Array2::from_shape_fn((UNLABELLED, SMD_FEATURES.len()), |(row, column)| value(row, column));
    let test = Array2::from_shape_fn((LABELLED, n_columns), |(row, column)| value(UNLABELLED + row, column));
    npz.add_array("train", &train).unwrap();
    npz.add_array("test", &test).unwrap();
    npz.add_array("label", &Array1::from(label.to_vec())).unwrap();
    npz.finish().unwrap();
    let about = serde_json::json!({
        "dataset": "smd",
        "step_seconds": 60,
        "interpretation": [{"start": 200, "end": 240, "dims": (0..N_WILD).collect::<Vec<_>>()}, {"start": 500, "end": 530, "dims": [7]}],
    });
    fs::write(folder.join(format!("{name}.json")), about.to_string()).unwrap();
}

/// The same host as CSV, without the total memory, and with a cell that is not there.
fn csv() -> String {
    let mut text = format!("t_ms,{},label\n", SMD_FEATURES.join(","));
    for row in 0..UNLABELLED + LABELLED {
        text.push_str(&(row * 60_000).to_string());
        for column in 0..SMD_FEATURES.len() {
            let cell = if row % 500 == 3 && column == 20 { "NaN".to_owned() } else { value(row, column).to_string() };
            text.push_str(&format!(",{cell}"));
        }
        let label = if row < UNLABELLED {
            ""
        } else if is_incident(row) {
            "1"
        } else {
            "0"
        };
        text.push_str(&format!(",{label}\n"));
    }
    text
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path} in {report}"))
}

#[test]
fn a_whole_service_finds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(folder.path(), "a", &labels(), SMD_FEATURES.len());
    fs::write(folder.path().join("b.csv"), csv()).unwrap();
    let run = |more: &[&str]| {
        let (code, json, log) = evaluate(folder.path(), &[&["--format", "json"], more].concat());
        assert_eq!(code, Some(0), "{log}");
        serde_json::from_str::<Value>(&json).unwrap()
    };
    let (alone, system) = (run(&[]), run(&["--system"]));
    for host in ["a", "b"] {
        let of = |report: &Value, metric: &str| number(report, &format!("/hosts/{host}/{metric}"));
        assert_eq!((of(&system, "events"), of(&system, "event_recall")), (2.0, 1.0), "{system}");
        // The preset's floors apply to what the series say, and not to the data, whose units are gone.
        let difference = of(&system, "vus_pr") - of(&alone, "vus_pr");
        assert!(difference.abs() < 0.1, "{alone} {system}");
    }
}

#[test]
fn incidents_that_cannot_be_missed_are_found_in_npz_and_csv_alike() {
    let folder = tempfile::tempdir().unwrap();
    write_npz(folder.path(), "a", &labels(), SMD_FEATURES.len());
    fs::write(folder.path().join("b.csv"), csv()).unwrap();
    let scores = folder.path().join("scores.out");
    let arguments = ["--format", "json", "--baselines", "--scores", scores.to_str().unwrap()];
    let (code, json, log) = evaluate(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("left out: mem_total"), "{log}");
    let report: Value = serde_json::from_str(&json).unwrap();
    for host in ["a", "b"] {
        let of = |metric: &str| number(&report, &format!("/hosts/{host}/{metric}"));
        assert_eq!((of("events"), of("event_recall")), (2.0, 1.0), "{json}");
        assert!(of("vus_pr") > 0.5 && of("auc_pr") > 0.5 && of("best_f1") > 0.5, "{json}");
        assert!(of("normal_rows_flagged") < 0.2 && of("median_delay_minutes") <= 10.0, "{json}");
    }
    // The same rows but for a few cells.
    let difference = number(&report, "/hosts/a/vus_pr") - number(&report, "/hosts/b/vus_pr");
    assert!(difference.abs() < 0.05, "{json}");
    let mean = f64::midpoint(number(&report, "/hosts/a/vus_pr"), number(&report, "/hosts/b/vus_pr"));
    assert!((number(&report, "/mean/vus_pr") - mean).abs() < 1e-12);
    // The model doesn't see what was blamed for the second incident: it is not counted.
    assert_eq!(number(&report, "/hosts/a/explanation_top1"), 1.0);
    assert!(report.pointer("/hosts/b/explanation_top1").unwrap().is_null());
    for baseline in ["z_score", "ewma", "var_1", "pca", "pca_windows", "k_means"] {
        number(&report, &format!("/baselines/{baseline}/mean/auc_pr"));
        number(&report, &format!("/baselines/{baseline}/hosts/b/vus_pr"));
    }
    let scores = fs::read_to_string(scores).unwrap();
    let mut lines = scores.lines();
    assert_eq!(lines.next(), Some("host,row,score,flag"));
    assert_eq!(lines.clone().count(), 2 * LABELLED);
    let flagged = lines.filter(|line| line.starts_with("a,") && line.ends_with(",1")).map(|line| {
        let row: usize = line.split(',').nth(1).unwrap().parse().unwrap();
        row
    });
    assert!(flagged.into_iter().any(|row| (200..240).contains(&row)));
}

#[test]
fn baselines_alone_need_no_feature_of_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "x,y,still,label\n".to_owned();
    for row in 0..UNLABELLED + LABELLED {
        let label = if row < UNLABELLED {
            ""
        } else if is_incident(row) {
            "1"
        } else {
            "0"
        };
        text.push_str(&format!("{},{},7,{label}\n", value(row, 0), value(row, 5)));
    }
    fs::write(folder.path().join("h.csv"), text).unwrap();
    let (code, _, log) = evaluate(folder.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(log.contains("none of the model's features") && log.contains("--bundle none --baselines"), "{log}");
    for statistics in ["running", "batch"] {
        let arguments = ["--bundle", "none", "--baselines", "--statistics", statistics];
        let (code, table, log) = evaluate(folder.path(), &arguments);
        assert_eq!(code, Some(0), "{log}");
        assert!(
            table.starts_with("baselines alone") && table.contains("VUS-PR") && table.contains("\nvar_1 "),
            "{table}"
        );
        assert!(log.contains("left out: still"), "{log}");
    }
    let (code, _, log) = evaluate(folder.path(), &["--bundle", "none"]);
    assert_eq!(code, Some(1));
    assert!(log.contains("add --baselines"), "{log}");
}

#[test]
fn what_is_no_labelled_data_is_refused_with_the_reason() {
    let check = |write: &dyn Fn(&Path), expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let (code, out, log) = evaluate(folder.path(), &[]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{log}");
        assert!(expected.iter().all(|part| log.contains(part)), "{log}");
    };
    let csv = |text: &'static str| move |folder: &Path| fs::write(folder.join("h.csv"), text).unwrap();
    check(&|_| {}, &["there is no labelled data in", "<host>.csv"]);
    check(&csv("cpu_busy,load1\n1,2\n"), &["h.csv: line 1: there is no column `label`"]);
    check(&csv("cpu_busy,label\n1,0\n1,2,0\n"), &["h.csv: line 3: it has 3 cells, the header has 2"]);
    check(&csv("cpu_busy,label\n1,NaN\n"), &["h.csv: line 2: the label is `NaN`"]);
    let long = [labels(), vec![0]].concat();
    check(&|folder| write_npz(folder, "h", &long, 38), &["h.npz", "721 labels for the 720 rows"]);
    check(&|folder| write_npz(folder, "h", &labels(), 37), &["h.npz", "`train` has 38 columns and `test` 37"]);
    check(&|folder| fs::write(folder.join("h.npz"), b"no zip").unwrap(), &["cannot use", "h.npz"]);
    let two_steps = |folder: &Path| {
        fs::write(folder.join("a.csv"), "t_ms,cpu_busy,label\n0,1,0\n60000,1,0\n").unwrap();
        fs::write(folder.join("b.csv"), "t_ms,cpu_busy,label\n0,1,0\n300000,1,0\n").unwrap();
    };
    check(&two_steps, &["the rows of a are 1m apart, those of b 5m"]);
}
