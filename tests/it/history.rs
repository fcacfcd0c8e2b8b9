//! History read from the real databases, against the same bodies as a recording; and from servers that are no such thing.

mod bodies;
mod impostors;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outlierd::engine::Output;
use outlierd::offline::history::backfill::Progress;
use outlierd::offline::history::source::ServerType;
use outlierd::offline::history::source::chunk::Span;
use outlierd::offline::history::source::client::Address;
use outlierd::offline::history::source::reader::Request;
use outlierd::offline::history::{History, Origin};
use outlierd::setup::Setup;

use crate::servers::{Program, Server};

/// By host and time the values of a row.
type Rows = BTreeMap<(String, i64), Vec<f64>>;

/// What a history gave.
struct Read {
    rows: Rows,
    /// Hosts in the order in which they came.
    hosts: Vec<String>,
    progress: Progress,
}

const CONFIG: &str = "step: 1m
features:
- {name: load1, expr: node_load1}
- {name: cpu, expr: '1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[2m]))'}
- {name: net, expr: 'sum by (instance) (irate(node_network_receive_bytes_total{device!~\"veth.*\"}[5m]))'}
- {name: net_devices, expr: count(node_network_receive_bytes_total)}
- {name: resets, expr: 'sum(resets(node_cpu_seconds_total[10m]))'}
- {name: boots, expr: 'changes(node_boot_time_seconds[1h])'}
- {name: before, expr: node_load1 offset 20m}
- {name: up, expr: up}
- {name: never, expr: node_nobody_has_this}
";

fn setup(config: &str) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("o.yaml");
    std::fs::write(&file, config).unwrap();
    let mut config = outlierd::cmd::serve::load(Some(&file)).unwrap();
    config.threads.shards = 1;
    Setup::new(config).unwrap()
}

fn open(origin: Origin, setup: &Setup, cancelled: &Arc<AtomicBool>) -> anyhow::Result<History> {
    History::open(origin, setup, Arc::clone(cancelled))
}

fn read(origin: Origin, config: &str) -> Result<Read, String> {
    let text = |error: anyhow::Error| format!("{error:#}");
    let mut history = open(origin, &setup(config), &Arc::default()).map_err(text)?;
    let (mut rows, mut hosts, mut out) = (Rows::new(), Vec::new(), Output::default());
    while history.advance(&mut out).map_err(text)? {
        for row in &out.rows {
            let host = row.host.name.to_string();
            if hosts.last() != Some(&host) {
                hosts.push(host.clone());
            }
            assert!(rows.insert((host, row.t_ms), row.values.to_vec()).is_none(), "a row came twice");
        }
        out.clear();
    }
    Ok(Read { rows, hosts, progress: history.progress().cloned().unwrap_or_default() })
}

fn recording(folder: &Path) -> Origin {
    Origin::Recording { path: folder.to_owned(), body_bytes_max: 32 << 20 }
}

/// All that `bodies` have, in chunks that cut across it.
fn request(url: &str) -> Request {
    let span = Span { start_ms: bodies::START_MS - 600_000, end_ms: bodies::START_MS + 5 * 3_600_000 };
    let address = Address { attempts: 2, pause: std::time::Duration::from_millis(1), ..Address::new(url) };
    Request { chunk_ms: 17 * 60_000 + 1, ..Request::new(address, span) }
}

/// The rows of `got` are those of the recording.
fn assert_equal(expected: &Rows, got: &Rows, from: &str) {
    let (times, there): (Vec<_>, Vec<_>) = (expected.keys().collect(), got.keys().collect());
    assert_eq!(times, there, "{from}");
    for (row, values) in expected {
        for (i, (a, b)) in values.iter().zip(&got[row]).enumerate() {
            let is_equal = a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
            assert!(is_equal, "{from}: {row:?}, feature {i}: {a} in the recording, {b} from the database");
        }
    }
}

/// What is said of a database, and how it is read then.
type Way = (Option<ServerType>, ServerType);

/// The databases, and how each can be read.
const SERVERS: [(Program, &[Way]); 3] = {
    use ServerType::{RangeQuery, RemoteRead, VictoriaMetrics};
    [
        (Program::VictoriaMetrics, &[(None, VictoriaMetrics), (Some(RangeQuery), RangeQuery)]),
        (Program::OldVictoriaMetrics, &[(None, VictoriaMetrics)]),
        (Program::Prometheus, &[(None, RemoteRead), (Some(RangeQuery), RangeQuery)]),
    ]
};

#[test]
fn a_database_gives_the_rows_of_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let bodies = bodies::drawn();
    bodies::write(folder.path(), &bodies);
    let recorded = read(recording(folder.path()), CONFIG).unwrap();
    // Nothing is compared with nothing: all but the last of these features have values.
    for feature in 0..8 {
        let n = recorded.rows.values().filter(|values| !values[feature].is_nan()).count();
        assert!(n > 100, "feature {feature}: {n} of {}", recorded.rows.len());
    }
    for (program, ways) in SERVERS {
        let Some(server) = Server::start(program) else { continue };
        bodies.iter().for_each(|body| server.write(body));
        server.flush();
        for &(given, found) in ways {
            let from = format!("{program:?} as {found:?}");
            let got = read(Origin::Database(Request { server: given, ..request(&server.url()) }), CONFIG).unwrap();
            assert_eq!(got.hosts, bodies::HOSTS, "{from}: one host after the other");
            let progress = &got.progress;
            assert_eq!((progress.hosts_done, progress.hosts), (3, 3));
            assert_eq!((progress.done_ms, progress.all_ms), (3 * 18_600_000, 3 * 18_600_000));
            assert!(progress.samples > 10_000 && progress.bytes > 10_000, "{from}: {progress:?}");
            if found == ServerType::RangeQuery {
                // Without stale markers a series that ended is seen for a while: equal is what has none.
                let unmarked = |rows: &Rows| -> Rows {
                    let hosts = rows.iter().filter(|((host, _), _)| *host != bodies::HOSTS[2]);
                    hosts.map(|(row, values)| (row.clone(), [0, 1, 4, 6].map(|i| values[i]).to_vec())).collect()
                };
                assert_equal(&unmarked(&recorded.rows), &unmarked(&got.rows), &from);
            } else {
                assert_equal(&recorded.rows, &got.rows, &from);
            }
        }
    }
}

#[test]
fn captured_bodies_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let bodies = bodies::captured();
    bodies::write(folder.path(), &bodies);
    let config = "step: 2s\n";
    let recorded = read(recording(folder.path()), config).unwrap();
    assert_eq!(recorded.hosts.len(), 36, "{:?}", recorded.hosts);
    for (program, _) in SERVERS {
        let Some(server) = Server::start(program) else { continue };
        bodies.iter().for_each(|body| server.write(body));
        server.flush();
        let got = read(Origin::Database(request(&server.url())), config).unwrap();
        assert_equal(&recorded.rows, &got.rows, &format!("{program:?}"));
    }
}

/// A database that has the drawn bodies, and a folder that has them as a recording, with a configuration in `o.yaml`. `None` where the
/// program is missing.
fn stored_and_recorded() -> Option<(Server, tempfile::TempDir)> {
    let server = Server::start(Program::VictoriaMetrics)?;
    let bodies = bodies::drawn();
    bodies.iter().for_each(|body| server.write(body));
    server.flush();
    let folder = tempfile::tempdir().unwrap();
    bodies::write(folder.path(), &bodies);
    std::fs::write(folder.path().join("o.yaml"), CONFIG).unwrap();
    Some((server, folder))
}

#[test]
fn features_from_a_database() {
    let Some((server, folder)) = stored_and_recorded() else { return };
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outlierd"));
        command.args(["features", "--config.file", "o.yaml"]).args(arguments).env_clear().current_dir(&folder);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, recorded, log) = run(&["--input", "."]);
    assert_eq!(code, Some(0), "{log}");
    let (since, until) = (bodies::START_MS / 1_000 - 60, bodies::START_MS / 1_000 + 18_000);
    let (since, until) = (since.to_string(), until.to_string());
    let (code, csv, log) = run(&["--from", &server.url(), "--since", &since, "--until", &until]);
    assert_eq!(code, Some(0), "{log}");
    let keys = |csv: &str| {
        let mut keys: Vec<String> =
            csv.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(",")).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(&csv), keys(&recorded));
    assert!(log.contains("metrics that the database does not have: node_nobody_has_this node_load5"), "{log}");
    assert!(log.contains("features without a value in any row: never load5 "), "{log}");
    // The same flag reads a recording.
    assert_eq!(run(&["--from", "."]).1, recorded);

    // A span without anything: what was asked for, and what to look at.
    let (code, _, log) = run(&["--from", &server.url(), "--since", "1000000", "--until", "1100000"]);
    assert_eq!(code, Some(1));
    assert!(
        log.contains("metrics that the features read (up, node_load1, node_cpu_seconds_total, ")
            && log.contains("--since"),
        "{log}"
    );
    let (code, _, log) = run(&[]);
    assert!(code == Some(2) && log.contains("--input"), "{log}");
}

#[test]
fn a_model_is_trained_from_a_database_as_from_a_recording() {
    let Some((server, folder)) = stored_and_recorded() else { return };
    let train = |from: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outlierd"));
        command.args(["train", "--config.file", "o.yaml", "--window", "10", "--steps", "3", "-o", "x.onnx"]).args(from);
        let output = command.current_dir(&folder).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        let manifest = outlierd::model::bundle::Bundle::load(&folder.path().join("x.onnx")).unwrap().manifest;
        let run = manifest.training.run.unwrap();
        let features: Vec<String> = manifest.features.into_iter().map(|feature| feature.name).collect();
        (manifest.training.n_hosts, run.n_rows, features)
    };
    let (since, until) = (bodies::START_MS / 1_000 - 60, bodies::START_MS / 1_000 + 18_000);
    let stored = train(&["--from", &server.url(), "--since", &since.to_string(), "--until", &until.to_string()]);
    assert_eq!(stored, train(&["--from", "."]));
    assert!(stored.0 >= 2 && stored.2.contains(&"cpu".to_owned()), "{stored:?}");
}

/// It may be driven by any thread.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<History>();
};

#[test]
fn cancelled_history_ends() {
    let folder = tempfile::tempdir().unwrap();
    bodies::write(folder.path(), &bodies::captured());
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut history = open(recording(folder.path()), &setup(CONFIG), &cancelled).unwrap();
    let mut out = Output::default();
    assert!(history.advance(&mut out).unwrap());
    cancelled.store(true, Ordering::Relaxed);
    assert!(!history.advance(&mut out).unwrap());
    // A database that never answers is not waited for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut history = open(Origin::Database(request(&url)), &setup(CONFIG), &cancelled).unwrap();
    assert!(!history.advance(&mut out).unwrap());
}
