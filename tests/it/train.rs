//! The training as a whole: what is trained computes the same in ONNX Runtime, and `outlierd train` says and writes what it should.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ndarray::{Array3, Axis, Slice};
use outlierd::base::random::Random;
use outlierd::model::bundle::Bundle;
use outlierd::model::manifest::{Kind, Manifest};
use outlierd::model::onnx::write_bundle;
use outlierd::model::session::{Runtime, Session};
use outlierd::offline::train::network::{Network, NetworkConfig};

use crate::onnx::manifest;

#[test]
fn onnx_runtime_agrees_with_the_training() {
    let check = |kind: Kind, layers: usize, predicts_change: bool| {
        let (batch, window, features) = (5, 21, 7);
        let config = NetworkConfig { kind, layers, hidden: 12, predicts_change };
        let mut random = Random::new(layers as u64);
        let mut network = Network::new(features, &config, &mut random);
        // As wild as trained weights get; the untrained head would be zeros.
        network.parameters_mut().for_each(|weights| weights.mapv_inplace(|_| random.normal() as f32 * 0.5));
        let manifest = Manifest { kind, window, ..manifest(features) };
        let bytes = write_bundle(&network.weights(), &manifest).unwrap();
        let bundle = Bundle::from_bytes(bytes, "a test's bundle").unwrap();
        let windows = Array3::from_shape_fn((batch, window, features), |_| random.normal() as f32 * 2.0);
        let mut got = Vec::new();
        Session::open(Runtime::load(None).unwrap(), &bundle, window).unwrap().run(windows.view(), &mut got).unwrap();

        let seen = windows.slice_axis(Axis(1), Slice::from(..bundle.input_rows(window)));
        let expected = network.expect_newest(seen.permuted_axes([1, 0, 2])).unwrap();
        let apart = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert_eq!(got.len(), expected.len());
        assert!(apart < 1e-5, "{kind:?}, {layers} layers: {apart}");
    };
    for layers in 1..=3 {
        check(Kind::Forecast, layers, false);
        check(Kind::Forecast, layers, true);
        check(Kind::Reconstruct, layers, false);
    }
}

/// A CSV of waves: two good hosts, one with three rows, a feature that is missing and one that never changes.
fn waves(folder: &Path) -> std::path::PathBuf {
    let mut text = "host,t_ms,cpu_busy,load1,absent,flat\n".to_owned();
    for row in 0..300 {
        for host in 0..2 {
            let x = f64::from(row) * 0.3 + f64::from(host);
            writeln!(text, "h{host},{},{},{},,7", row * 60_000, x.sin(), (x * 0.7).cos()).unwrap();
        }
        if row < 3 {
            writeln!(text, "short,{},1,2,,7", row * 60_000).unwrap();
        }
    }
    let path = folder.join("waves.csv");
    fs::write(&path, text).unwrap();
    path
}

const SMALL: [&str; 8] = ["--window", "10", "--hidden", "4", "--batch", "8", "--steps", "40"];

fn outlierd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    command.args(arguments).env_remove("RAYON_NUM_THREADS");
    command
}

/// Exit status, stdout and stderr.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_csv_becomes_a_bundle_and_the_same_one_again() {
    let folder = tempfile::tempdir().unwrap();
    let csv = waves(folder.path());
    let train = |file: &str, threads: &str, more: &[&str]| {
        let out = folder.path().join(file);
        let arguments = ["train", "--from", csv.to_str().unwrap(), "--name", "waves", "-o", out.to_str().unwrap()];
        let (code, report, log) = run(outlierd(&arguments).args(SMALL).args(more).env("RAYON_NUM_THREADS", threads));
        assert_eq!(code, Some(0), "{log}");
        (fs::read(out).unwrap(), report, log)
    };
    let (bytes, report, log) = train("a.onnx", "1", &[]);
    for line in [
        "hosts        2 used, 0 held back, 1 left out\n",
        "features     3 used, 1 of them never changed, 1 left out\n",
        "host left out: short: 0 rows without a gap after the warm-up (of 3 in all), a window takes 10",
        "kept, so that a change is an anomaly: flat\n",
        "(is the collector enabled?): absent\n",
    ] {
        assert!(report.contains(line), "{line} is not in\n{report}");
    }
    assert!(log.contains("40/40 batches, loss "), "{log}");
    assert_eq!(bytes, train("b.onnx", "4", &[]).0, "the number of cores makes no difference");
    assert_ne!(bytes, train("c.onnx", "4", &["--seed", "2"]).0);
    let bundle = Bundle::from_bytes(bytes, "a.onnx").unwrap();
    assert_eq!(bundle.manifest.errors.as_ref().unwrap().mean_square.len(), 3);
    let run = bundle.manifest.training.run.as_ref().unwrap();
    let losses = run.held_back.unwrap();
    assert!(losses.network.is_finite() && losses.network < losses.mean, "{losses:?}");
    let whole = train("d.onnx", "2", &["--type", "reconstruct", "--layers", "2"]).0;
    let bundle = Bundle::from_bytes(whole, "d.onnx").unwrap();
    assert_eq!(bundle.manifest.kind, Kind::Reconstruct);
    Session::open(Runtime::load(None).unwrap(), &bundle, 10).unwrap();
}

#[test]
fn ctrl_c_keeps_the_best_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (waves(folder.path()), folder.path().join("a.onnx"));
    let mut command = outlierd(&["train", "--from", csv.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    command.args(["--window", "10", "--hidden", "4", "--batch", "8", "--steps", "100000000"]);
    // Ended early by nothing but the signal: a rate of almost 0 never gets worse.
    command.args(["--learning-rate", "1e-9", "--held-back-time", "0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("features") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "it ended before it began to train");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut log, &mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && rest.contains("the best so far is kept"), "{rest}");
    assert!(report.contains("ended by Ctrl-C") && report.contains("wrote "), "{report}");
    Bundle::load(&out).unwrap();
}

#[test]
fn a_second_ctrl_c_quits_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (folder.path().join("endless.csv"), folder.path().join("a.onnx"));
    // A CSV of which more may come: the program waits for it until it is told to quit.
    std::os::unix::fs::symlink("/dev/stdin", &csv).unwrap();
    let mut command = outlierd(&["train", "--from", csv.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut rows = child.stdin.take().unwrap();
    let mut text = "host,t_ms,cpu_busy\n".to_owned();
    for row in 0..100_000_i64 {
        writeln!(text, "h,{},1", row * 60_000).unwrap();
    }
    // More than a pipe holds: when all is written, the program reads, and has watched for Ctrl-C since before.
    std::io::Write::write_all(&mut rows, text.as_bytes()).unwrap();
    let id = child.id().to_string();
    let interrupt = || assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    interrupt();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Ctrl-C again quits") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "the first Ctrl-C ended it");
    }
    interrupt();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!out.exists());
    drop(rows);
}

/// What stands between two texts of `page`, the first such place.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let start = page.find(from).unwrap_or_else(|| panic!("{from} is not in\n{page}")) + from.len();
    &page[start..start + page[start..].find(to).unwrap()]
}

#[test]
fn a_report_is_one_page_that_says_what_the_terminal_says() {
    let folder = tempfile::tempdir().unwrap();
    let csv = waves(folder.path());
    let hostile = "<script>alert('x')</script>";
    let text = fs::read_to_string(&csv).unwrap().replace("h1,", &format!("{hostile},")).replace("short,", "s&\"<b>,");
    fs::write(&csv, text).unwrap();
    let (out, page) = (folder.path().join("a.onnx"), folder.path().join("a.html"));
    let train = |more: &[&str]| {
        let mut command = outlierd(&["train", "--from", csv.to_str().unwrap(), "-o", out.to_str().unwrap()]);
        let (code, report, log) = run(command.args(["--report", page.to_str().unwrap()]).args(SMALL).args(more));
        assert_eq!(code, Some(0), "{log}");
        (report, fs::read_to_string(&page).unwrap(), Bundle::load(&out).unwrap().manifest)
    };
    let (report, html, manifest) = train(&[]);
    assert!(!html.contains("<script") && !html.contains("<b>,") && !html.contains("http://"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"), "{html}");
    let left_out = between(&html, "<th>Why</th></tr>", "</table>");
    assert!(left_out.contains("s&amp;&quot;&lt;b&gt;") && left_out.contains("0 rows without a gap"), "{left_out}");
    assert_eq!(left_out.matches("<tr>").count(), 1);
    assert!(between(&html, "features left out", "</details>").contains(">absent<"));
    assert!(between(&html, "features that never changed", "</details>").contains(">flat<"));
    // Both say the same facts.
    for line in report.lines().filter(|line| line.len() > 13 && !line.contains(": ")) {
        let fact = format!("<bdi>{}</bdi>", line[13..].replace('\'', "&#39;"));
        assert!(line.starts_with("wrote ") || html.contains(&fact), "{fact} is not in\n{html}");
    }
    // 40 batches are judged every tenth.
    let points = |class: &str| between(&html, "<svg", "</svg>").matches(&format!("<circle class=\"{class}")).count();
    assert_eq!((points("train"), points("held"), points("held best")), (4, 4, 1));
    let features = between(&html, "<h2>Features</h2>", "</table>");
    assert_eq!(features.matches("<td class=\"name\">").count(), manifest.features.len());
    let quantiles = &manifest.errors.unwrap().quantiles;
    assert_eq!(
        between(&html, "<h2>What is usual</h2>", "</table>").matches("<td class=\"share\">").count(),
        quantiles.len()
    );

    let (_, html, _) = train(&["--held-back-time", "0"]);
    let points = |class: &str| between(&html, "<svg", "</svg>").matches(&format!("<circle class=\"{class}")).count();
    assert_eq!((points("train"), points("held")), (4, 0));
    assert!(html.contains("nothing was held back"), "{html}");
}

#[test]
fn what_cannot_be_trained_on_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let csv = waves(folder.path());
    let check = |from: &str, more: &[&str], expected: &str| {
        let out = folder.path().join("x.onnx");
        let (code, _, log) = run(outlierd(&["train", "--from", from, "-o", out.to_str().unwrap()]).args(more));
        assert!(code != Some(0) && log.contains(expected), "{log}");
        assert!(!out.exists());
    };
    check("/nowhere", &[], "there is no /nowhere: --from takes a URL");
    check(folder.path().to_str().unwrap(), &[], "holds none of what --from takes");
    let csv = csv.to_str().unwrap();
    check(csv, &["--window", "500"], "no host can be learnt from");
    check(csv, &["--step", "2m"], "no host can be learnt from");
    check(csv, &["--layers", "0"], "invalid value '0'");
    check(csv, &["--report", "/nowhere/a.html"], "cannot write /nowhere/a.html");
    let same = folder.path().join("x.onnx");
    check(csv, &["--report", same.to_str().unwrap()], "name the same file");
    // What `make bundle` says without the data.
    check(folder.path().join("smd").to_str().unwrap(), &["--step", "60s"], "NetManAIOps/OmniAnomaly");
}
