//! `outlierd features` over captured bodies, against values worked out from the bodies by hand; and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use outlierd::base::proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use outlierd::config::Config;
use prost::Message;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn captures() -> PathBuf {
    Path::new(ROOT).join("tests/fixtures/captures")
}

/// Exit status, stdout and stderr of `outlierd features --input input` with `arguments`: in an empty folder and with nothing in
/// the environment, so that it finds no ONNX Runtime.
fn features(input: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    command.args(["features", "--input"]).arg(input).args(arguments).env_clear().current_dir(&elsewhere);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The rows of a CSV without quotes: host, time, and by feature the value where it is there.
type Rows = Vec<(String, i64, BTreeMap<String, f64>)>;

fn parse(csv: &str) -> Rows {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(header[..2], ["host", "t_ms"]);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), header.len(), "{line}");
        let given = header.iter().zip(&cells).skip(2).filter(|(_, cell)| !cell.is_empty());
        let values = given.map(|(name, cell)| ((*name).to_owned(), cell.parse().unwrap()));
        (cells[0].to_owned(), cells[1].parse().unwrap(), values.collect())
    };
    lines.map(row).collect()
}

/// A folder with `index` as `index.json` and files of captured bodies.
fn recording(index: &str, files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.json"), index).unwrap();
    for file in files {
        fs::copy(captures().join(file), folder.path().join(file)).unwrap();
    }
    folder
}

/// The `i`-th scrape of the captured host: by name and labels the value.
fn scrape(i: usize) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let body = fs::read(captures().join(format!("host1-scrape{i}.snappy.bin"))).unwrap();
    let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let series = WriteRequest::decode(&message[..]).unwrap().timeseries;
    let plain = |one: TimeSeries| {
        let mut labels: BTreeMap<_, _> = one.labels.into_iter().map(|label| (label.name, label.value)).collect();
        (labels.remove("__name__").unwrap(), labels, one.samples[0].value)
    };
    series.into_iter().map(plain).collect()
}

/// Values of the series `name` whose labels have `label`.
fn values(i: usize, name: &str, label: (&str, &str)) -> Vec<f64> {
    let is_it = |labels: &BTreeMap<String, String>| labels.get(label.0).is_some_and(|value| value == label.1);
    scrape(i).into_iter().filter(|(n, labels, _)| n == name && is_it(labels)).map(|(_, _, value)| value).collect()
}

#[test]
fn the_captures_give_the_rows_of_their_scrapes() {
    let (code, csv, log) = features(&captures(), &["--step", "2s"]);
    assert_eq!(code, Some(0), "{log}");
    let names: Vec<String> = Config::default().features.into_iter().map(|feature| feature.name).collect();
    assert_eq!(csv.lines().next().unwrap(), format!("host,t_ms,{}", names.join(",")));
    let rows = parse(&csv);
    let own: Vec<_> = rows.iter().filter(|row| row.0 == "127.0.0.1:19100").collect();
    // The zstd bodies have the same scrapes again: duplicates, which change nothing.
    assert_eq!(own.iter().map(|row| row.1 - 1_795_330_081_812).collect::<Vec<_>>(), [0, 2_000, 4_000, 6_000]);
    let here = ("instance", "127.0.0.1:19100");
    for (i, (_, _, row)) in own.iter().enumerate() {
        let one = |name: &str| values(i, name, here)[0];
        for (feature, expected) in [
            ("load1", one("node_load1")),
            ("mem_shared", one("node_memory_Shmem_bytes")),
            ("tcp_established", one("node_netstat_Tcp_CurrEstab")),
            ("file_descriptors_used", one("node_filefd_allocated")),
            ("mem_used", 1.0 - one("node_memory_MemAvailable_bytes") / one("node_memory_MemTotal_bytes")),
            ("load_per_core", one("node_load1") / values(i, "node_cpu_seconds_total", ("mode", "idle")).len() as f64),
        ] {
            assert_eq!(row[feature], expected, "{feature} in row {i}");
        }
        // rate() over 2 minutes of samples that reach 2·i s back: the increase, extrapolated by half an interval, over 120 s.
        let rate = |name: &str, label: (&str, &str)| {
            let increases = values(i, name, label).into_iter().zip(values(0, name, label)).map(|(new, old)| new - old);
            let span_s = 2.0 * i as f64;
            increases.map(|increase| increase * (span_s + 1.0) / span_s / 120.0).collect::<Vec<f64>>()
        };
        if i == 0 {
            assert!(!row.contains_key("cpu_busy") && !row.contains_key("context_switches"), "one sample has no rate");
            continue;
        }
        let idle = rate("node_cpu_seconds_total", ("mode", "idle"));
        for (feature, expected) in [
            ("cpu_busy", 1.0 - idle.iter().sum::<f64>() / idle.len() as f64),
            ("context_switches", rate("node_context_switches_total", here)[0]),
            ("net_rx_packets", rate("node_network_receive_packets_total", ("device", "eth0"))[0]),
        ] {
            assert!((row[feature] - expected).abs() <= 1e-9 * expected.abs(), "{feature}: {} {expected}", row[feature]);
        }
    }
}

#[test]
fn the_summary_says_what_was_read_dropped_and_never_there() {
    let (code, csv, log) = features(&captures(), &[]);
    assert_eq!((code, csv.lines().count()), (Some(0), 38));
    let expected = "bodies: 16\nsamples: 36102 received, 22330 of metrics that no feature reads, ";
    assert!(log.starts_with(expected), "{log}");
    assert!(log.contains("\nsamples dropped, duplicate: "), "{log}");
    assert!(log.contains("\nrows: 37 of 36 hosts, one per 1m\n"), "{log}");
    // The values of the simulated hosts are random: on some more memory is available than there is.
    assert!(log.contains("\nrows in which mem_used was out of bounds: 15\n"), "{log}");
    let never = log.lines().find_map(|line| line.strip_prefix("features without a value in any row: ")).unwrap();
    let never: Vec<&str> = never.split(' ').collect();
    assert!(never.contains(&"swap_used") && never.contains(&"cpu_busy") && !never.contains(&"load1"), "{log}");

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("o.yaml");
    fs::write(&config, "features: [{name: every_cpu, expr: 'node_cpu_seconds_total{mode=\"idle\"}'}]").unwrap();
    let one = captures().join("host1-scrape0.snappy.bin");
    let (_, csv, log) = features(&one, &["--config.file", config.to_str().unwrap()]);
    assert!(csv.lines().nth(1).unwrap().starts_with("127.0.0.1:19100,1795330081812,,"), "{csv}");
    assert!(log.contains("\nrows in which every_cpu had no single value, many_values: 1\n"), "{log}");
}

#[test]
fn one_body_is_a_recording_too() {
    let run = |file: &str| features(&captures().join(file), &[]);
    let (code, csv, log) = run("host1-scrape0.snappy.bin");
    assert_eq!((code, parse(&csv).len()), (Some(0), 1), "{log}");
    assert!(log.starts_with("bodies: 1\nsamples: 514 received, "), "{log}");
    // Told by its first bytes; the captured zstd bodies were scraped apart, but at the same time of the recording.
    let (code, zstd, log) = run("host1-scrape0.zstd.bin");
    assert_eq!((code, parse(&zstd)[0].1), (Some(0), parse(&csv)[0].1), "{log}");
    // Metadata alone: no time, no rows.
    let (code, csv, log) = run("host1-metadata.zstd.bin");
    assert_eq!((code, parse(&csv).len()), (Some(0), 0), "{log}");
    assert!(log.ends_with("rows: 0 of 0 hosts, one per 1m\n"), "{log}");
}

#[test]
fn steps() {
    let four = "host1-scrape0.snappy.bin host1-scrape1.snappy.bin host1-scrape2.snappy.bin host1-scrape3.snappy.bin";
    let files: Vec<&str> = four.split(' ').collect();
    let index: Vec<String> = files.iter().map(|file| format!(r#"{{"file": "{file}"}}"#)).collect();
    let folder = recording(&format!("[{}]", index.join(",")), &files);
    let check = |arguments: &[&str], expected: &[i64]| {
        let (code, csv, log) = features(folder.path(), arguments);
        let times: Vec<i64> = parse(&csv).iter().map(|row| row.1 - 1_795_330_081_812).collect();
        assert_eq!((code, times.as_slice()), (Some(0), expected), "{log}");
    };
    let config = folder.path().join("o.yaml");
    fs::write(&config, "step: 3s\n").unwrap();
    let file = ["--config.file", config.to_str().unwrap()];
    // The scrapes are 2 s apart: rows are no closer.
    check(&["--step", "1s"], &[0, 2_000, 4_000, 6_000]);
    check(&["--step", "4s"], &[0, 4_000]);
    check(&file, &[0, 3_000, 6_000]);
    check(&[&file[..], &["--step", "4s"]].concat(), &[0, 4_000]);
    check(&[], &[0]);
    let (code, _, log) = features(folder.path(), &["--step", "soon"]);
    assert_eq!(code, Some(2));
    assert!(log.contains("must be a duration from 1ms to 1d, such as 30s"), "{log}");
}

/// A body with one sample of `node_load1`.
fn body(t_ms: i64, value: f64) -> Vec<u8> {
    let labels = [("__name__", "node_load1"), ("instance", "a,b")];
    let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
    let series = TimeSeries {
        labels: labels.map(label).to_vec(),
        samples: vec![Sample { value, timestamp: t_ms }],
        exemplars: Vec::new(),
    };
    let message = WriteRequest { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

/// A folder with `config`, and a body per sample: when it was received, its time, its value.
fn load1(config: &str, samples: &[(Option<i64>, i64, f64)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Vec::new();
    for (i, &(received_ms, t_ms, value)) in samples.iter().enumerate() {
        fs::write(folder.path().join(i.to_string()), body(t_ms, value)).unwrap();
        let received = received_ms.map_or(String::new(), |ms| format!(r#", "received_ms": {ms}"#));
        index.push(format!(r#"{{"file": "{i}"{received}}}"#));
    }
    fs::write(folder.path().join("index.json"), format!("[{}]", index.join(","))).unwrap();
    fs::write(folder.path().join("o.yaml"), format!("step: 1m\n{config}")).unwrap();
    folder
}

/// What the clock of the recording makes of samples.
fn check_load1(config: &str, samples: &[(Option<i64>, i64, f64)], rows: &[(i64, f64)], said: &str) {
    let folder = load1(config, samples);
    let file = folder.path().join("o.yaml");
    let (code, csv, log) = features(folder.path(), &["--config.file", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{log}");
    let column = csv.lines().next().unwrap().split(',').position(|name| name == "load1").unwrap();
    let row = |line: &str| {
        // The host's name has a comma, so it is quoted.
        let rest: Vec<&str> = line.strip_prefix("\"a,b\",").unwrap().split(',').collect();
        (rest[0].parse().unwrap(), rest[column - 1].parse().unwrap())
    };
    let got: Vec<(i64, f64)> = csv.lines().skip(1).map(row).collect();
    assert_eq!(got, rows, "{log}");
    assert!(log.contains(said), "{log}");
}

#[test]
fn the_clock_is_the_recording_s() {
    const YEAR_2001_MS: i64 = 1_000_000_000_000;
    let t = |s: i64| YEAR_2001_MS + 1_000 * s;
    // However old: nothing is too old, and the last frame's lateness passes.
    let one = [(None, t(0), 1.0), (None, t(60), 2.0), (None, t(120), 3.0)];
    // Said, or the first scrapes would wait until three have told it.
    let prompt = "ingest: {interval: 1m}";
    check_load1(prompt, &one, &[(t(0), 1.0), (t(60), 2.0), (t(120), 3.0)], "rows: 3 of 1 hosts, one per 1m\n");
    // Late by the clock of the recording, not late, and late again once its own lateness is longer.
    let disorder = [(None, t(0), 1.0), (None, t(120), 3.0), (None, t(60), 2.0)];
    check_load1(prompt, &disorder, &[(t(0), 1.0), (t(60), 1.0), (t(120), 3.0)], "samples dropped, late: 1\n");
    let patient = "ingest: {interval: 1m, lateness: 5m}";
    check_load1(patient, &disorder, &[(t(0), 1.0), (t(60), 2.0), (t(120), 3.0)], "rows: 3 of");
    // Where the time of receipt is known, samples are held to it.
    let received = [(Some(t(0)), t(0), 1.0), (Some(t(60)), t(3_600), 9.0), (Some(t(120)), t(120), 3.0)];
    check_load1(prompt, &received, &[(t(0), 1.0), (t(60), 1.0), (t(120), 3.0)], "samples dropped, future: 1\n");
    let bounds = "ingest: {interval: 1m, max_age: 1m}";
    let old = [(Some(t(0)), t(0), 1.0), (Some(t(200)), t(60), 9.0), (Some(t(201)), t(180), 4.0)];
    let rows = [(t(0), 1.0), (t(60), 1.0), (t(120), 1.0), (t(180), 4.0)];
    check_load1(bounds, &old, &rows, "samples dropped, too_old: 1\n");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    for arguments in [&["features", "--step", "2s", "--input", "tests/fixtures/captures"][..], &["check-config"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
        let output = command.args(arguments).current_dir(ROOT).stdout(writer).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), log.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let check = |input: &Path, expected: &str| {
        let (code, _, log) = features(input, &[]);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.starts_with("outlierd: ") && log.contains(expected), "{log}");
    };
    let empty = tempfile::tempdir().unwrap();
    check(&empty.path().join("none"), "/none: No such file or directory");
    check(empty.path(), "/index.json: a recording is a folder of bodies with index.json, or one body");
    check(recording("[{}]", &[]).path(), "/index.json: must be a list of objects, each with `file`");
    check(recording(r#"[{"file": "gone"}]"#, &[]).path(), "/gone: No such file or directory");
    check(
        &Path::new(ROOT).join("Cargo.toml"),
        "Cargo.toml; record it again, or take it out of the index: cannot decompress",
    );

    // One bad body stops all: rows with a hole would pass for what the hosts did. What closed before is written.
    let good = "host995-scrape0.snappy.bin";
    let index = r#"[{"file": "host1-scrape0.snappy.bin"}, {"file": "host995-scrape0.snappy.bin"}, {"file": "bad"},
        {"file": "host995-scrape1.snappy.bin"}]"#;
    let folder = recording(index, &["host1-scrape0.snappy.bin", good, "host995-scrape1.snappy.bin"]);
    let body = fs::read(captures().join(good)).unwrap();
    fs::write(folder.path().join("bad"), &body[..body.len() / 2]).unwrap();
    let file = folder.path().join("o.yaml");
    fs::write(&file, "ingest: {interval: 2s}\n").unwrap();
    let (code, csv, log) = features(folder.path(), &["--config.file", file.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(log.contains("/bad; record it again, or take it out of the index: cannot decompress"), "{log}");
    assert_eq!(parse(&csv).iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["127.0.0.1:19100"]);
}

#[test]
fn check_config_lists_the_features() {
    let folder = tempfile::tempdir().unwrap();
    let config = "features:\n- {name: cpu_busy, expr: 'sum(up)', unit: targets, floor: 2, help: Not the preset's}\n\
                  - {name: more, expr: 'sum(up) * 2'}\n";
    fs::write(folder.path().join("o.yaml"), config).unwrap();
    let check = |arguments: &[&str], head: &[&str], n_lines: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
        let output = command.arg("check-config").args(arguments).env_clear().current_dir(&folder).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
        assert_eq!(text.lines().take(head.len()).collect::<Vec<_>>(), head);
        assert_eq!(text.lines().count(), n_lines, "{text}");
    };
    let heading = "NAME                       UNIT             FLOOR  BOUNDS   SCORED  MEANING";
    let busy = "cpu_busy                   ratio             0.01  0..1     yes     Share of CPU time that is not idle";
    let ok = "without a file: ok, 56 features, 37 of them scored by the built-in bundle";
    check(&[], &[ok], 1);
    check(&["--show-features"], &[heading, busy], 58);
    let expr = "    1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[$range]))";
    check(&["--show-expressions"], &[heading, busy, expr], 114);
    // A feature of the file takes the place of the preset's; what the bundle scores beside it comes from the preset.
    let busy = "cpu_busy                   targets              2           yes     Not the preset's";
    let more = "more                                            0           no";
    for file in [&["o.yaml"][..], &["--config.file", "o.yaml"]] {
        check(&[file, &["--show-features"]].concat(), &[heading, busy, more], 40);
        let head = [heading, busy, "    sum(up)", more, "    sum(up) * 2"];
        check(&[file, &["--show-expressions"]].concat(), &head, 78);
    }
}

#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let shown: Vec<(&str, &str)> =
        readme.split("```\n").filter_map(|b| b.strip_prefix("$ ")?.split_once('\n')).collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_outlierd")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    assert!(shown.len() >= 2, "{readme}");
    for (command, expected) in shown {
        let output = Command::new("sh").args(["-c", command]).env("PATH", &path).current_dir(ROOT).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{command}");
    }
}
