//! The real thing: two node_exporters, two vmagents and the service, over loopback.
//!
//! One vmagent is current and speaks zstd, the other is Debian's and speaks snappy. `scripts/peers.sh` puts all four into
//! place; with CI=true a missing one is a failure, otherwise the test says loudly that it was left out.
//!
//! This is the one test that waits for real time to pass: it polls, with a deadline and a message that says what it saw last.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::peers;

/// For the whole test.
const DEADLINE: Duration = Duration::from_secs(240);

const PEERS: [&str; 4] = ["node_exporter-1.5", "vmagent-1.79", "node_exporter-1.12.1", "vmagent-1.150.0"];

/// A short window, so that a host is judged half a minute after its first sample. The limit is out of reach: how unusual this
/// machine behaves while other tests run must not decide between `ok` and `anomalous`. What the score does is looked at below.
const CONFIG: &str = "\
step: 2s
model: {window: 10}
detection: {limit: 1000, min_history: 30s, stale_after: 20s}
standardisation: {warmup: 10s}
ingest: {lateness: 1s}
";

/// An mse under the default limit.
const CALM: f64 = 1.0;

/// How many times its former highest value the mse must reach under load.
const MOVED: f64 = 1.5;

#[test]
fn real_senders_are_scored_and_a_dead_exporter_is_down() {
    let Some(peers) = peers::folder(&PEERS, "the end-to-end test") else { return };
    let world = World::start(&peers);
    let [old, new] = [&world.old.target, &world.new.target];

    for host in [old, new] {
        world.wait(&format!("{host} is ok with a finite mse"), |world| {
            let detail = world.host(host)?;
            let judged = detail["state"] == "ok" && detail["flag"] == false;
            let finite = |name: &str| detail[name].as_f64().is_some_and(f64::is_finite);
            done(judged && finite("mse") && finite("score"), brief(&detail))
        });
    }
    world.wait("both vmagents are answered 2xx and nothing else", |world| {
        let [old, new] = [world.old.requests()?, world.new.requests()?];
        let fine = |(good, bad): (f64, f64)| good >= 5.0 && bad == 0.0;
        done(fine(old) && fine(new), format!("(2xx, other) of the snappy one: {old:?}, of the zstd one: {new:?}"))
    });
    // The vmagents send what they say of themselves too: a job that no feature reads.
    world.wait("the job of the vmagents is listed as unused, that of the node_exporters as used", |world| {
        let status: Value = serde_json::from_str(&world.service.get("/api/v1/status")?).map_err(|e| e.to_string())?;
        let ingest = &status["data"]["ingest"];
        let job = |name: &str| ingest["jobs"].as_array()?.iter().find(|job| job["job"] == name).cloned();
        let (node, vmagent) = (job("node").unwrap_or_default(), job("vmagent").unwrap_or_default());
        let is_told = vmagent["reason"].as_str().is_some_and(|reason| reason.contains("\"vmagent_\""));
        let n_hosts = &status["data"]["hosts"]["total"];
        done(node["used"] == true && vmagent["used"] == false && is_told && *n_hosts == 2, status.to_string())
    });
    // The first rows of a host are noisy: its statistics know a few seconds of it.
    world.wait("ten calm rows of each to compare with", |world| {
        let rows = [world.mses(old, i64::MIN)?, world.mses(new, i64::MIN)?];
        let is_calm = |mses: &Vec<f64>| mses.len() >= 10 && highest(mses) < CALM;
        done(rows.iter().all(is_calm), format!("{rows:?}"))
    });

    let calm = [old, new].map(|host| highest(&world.mses(host, i64::MIN).unwrap()));
    let since_ms = [old, new].map(|host| world.newest_row_ms(host).unwrap());
    let load = Load::start();
    for (i, host) in [old, new].into_iter().enumerate() {
        world.wait(&format!("load moves the score of {host}"), |world| {
            let now = highest(&world.mses(host, since_ms[i])?);
            done(now > MOVED * calm[i], format!("mse: calm at most {}, under load at most {now}", calm[i]))
        });
    }
    drop(load);

    world.old.exporter.kill();
    world.wait(&format!("{old} is down"), |world| {
        let detail = world.host(old)?;
        done(detail["state"] == "down" && detail["flag"].is_null(), brief(&detail))
    });
    let metrics = world.service.get("/metrics").unwrap();
    let of = |name: &str, host: &str| {
        let wanted = format!("instance=\"{host}\"");
        metrics.lines().find(|line| line.starts_with(name) && line.contains(&wanted)).map(str::to_owned)
    };
    assert_eq!(of("outlierd_host_anomaly{", old), None, "a host that is down has no flag, not even 0");
    assert_eq!(of("outlierd_host_score{", old), None, "a host that is down has no score");
    assert!(of("outlierd_host_state{", old).unwrap().contains("state=\"down\"}"), "{metrics}");
    assert!(of("outlierd_host_anomaly{", new).is_some_and(|line| line.ends_with(" 0")), "{metrics}");
}

/// What a look at the world gives: whether it is as wanted, and what was seen.
type Seen = Result<(bool, String), String>;

#[expect(clippy::unnecessary_wraps, reason = "the end of a look that may have failed before")]
fn done(done: bool, seen: String) -> Seen {
    Ok((done, seen))
}

fn brief(detail: &Value) -> String {
    let of = |name: &str| format!("{name}={}", detail[name]);
    let missing: Vec<&str> =
        detail["missing"].as_array().into_iter().flatten().filter_map(|m| m["feature"].as_str()).collect();
    format!("{} {} {} {} missing={missing:?}", of("state"), of("reason"), of("mse"), of("window_rows"))
}

fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Everything that runs; killed when dropped.
struct World {
    service: Process,
    old: Sender,
    new: Sender,
    started: Instant,
    _folder: tempfile::TempDir,
}

/// A node_exporter and the vmagent that scrapes it.
struct Sender {
    exporter: Process,
    vmagent: Process,
    /// The exporter's address: its `instance`.
    target: String,
}

impl World {
    fn start(peers: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("outlierd.yaml");
        std::fs::write(&config, CONFIG).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
        command.args(["serve", "--web.listen-address", "127.0.0.1:0", "--config.file"]).arg(&config);
        if std::env::var_os("ORT_DYLIB_PATH").is_none() {
            let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".outlierd/onnxruntime/libonnxruntime.so");
            command.env("ORT_DYLIB_PATH", fetched);
        }
        let mut service =
            Process::start("outlierd", command, folder.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        service.address = service.announced_address();
        // As if the one had sent to a cluster of VictoriaMetrics, and a base URL with a slash at its end been given to the other.
        let url = |path: &str| format!("http://{}{path}", service.address);
        let (cluster, doubled) = (url("/insert/0/prometheus/api/v1/write"), url("//api/v1/write"));
        let old = Sender::start(["node_exporter-1.5", "vmagent-1.79"], peers, folder.path(), &cluster);
        let new = Sender::start(["node_exporter-1.12.1", "vmagent-1.150.0"], peers, folder.path(), &doubled);
        Self { service, old, new, started: now(), _folder: folder }
    }

    /// Looks until the world is as wanted.
    fn wait(&self, wanted: &str, look: impl Fn(&Self) -> Seen) {
        loop {
            let seen = look(self);
            match seen {
                Ok((true, _)) => return,
                _ if now() - self.started < DEADLINE => std::thread::sleep(Duration::from_millis(300)),
                _ => panic!("after {DEADLINE:?} not yet: {wanted}\nlast seen: {seen:?}\n{}", self.logs()),
            }
        }
    }

    fn logs(&self) -> String {
        let processes = [&self.service, &self.old.exporter, &self.old.vmagent, &self.new.exporter, &self.new.vmagent];
        processes.map(Process::log_tail).join("\n")
    }

    /// What the API says of a host.
    fn host(&self, name: &str) -> Result<Value, String> {
        let body = self.service.get(&format!("/api/v1/hosts/{name}"))?;
        let mut answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        Ok(answer["data"].take())
    }

    /// The mse of every scored row after `since_ms`.
    fn mses(&self, host: &str, since_ms: i64) -> Result<Vec<f64>, String> {
        let detail = self.host(host)?;
        let rows = detail["rows"].as_array().ok_or("no rows")?.iter();
        Ok(rows.filter(|row| row["t_ms"].as_i64() > Some(since_ms)).filter_map(|row| row["mse"].as_f64()).collect())
    }

    fn newest_row_ms(&self, host: &str) -> Option<i64> {
        self.host(host).ok()?["rows"].as_array()?.last()?["t_ms"].as_i64()
    }
}

impl Sender {
    /// `url` is where the samples go.
    fn start([exporter, vmagent]: [&str; 2], peers: &Path, folder: &Path, url: &str) -> Self {
        let [target, web] = [peers::free_address(), peers::free_address()];
        let mut command = Command::new(peers.join(exporter));
        command.arg(format!("--web.listen-address={target}"));
        let exporter = Process::start(exporter, command, folder, target);

        let config = folder.join(format!("{vmagent}.yaml"));
        let scrape = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n- job_name: node\n  static_configs:\n  - targets: [\"{target}\"]\n\
             - job_name: vmagent\n  static_configs:\n  - targets: [\"{web}\"]\n"
        );
        std::fs::write(&config, scrape).unwrap();
        let mut command = Command::new(peers.join(vmagent));
        command
            .arg(format!("-promscrape.config={}", config.display()))
            .arg(format!("-remoteWrite.url={url}"))
            .arg(format!("-remoteWrite.tmpDataPath={}", folder.join(format!("{vmagent}-data")).display()))
            .arg("-remoteWrite.flushInterval=200ms")
            .arg(format!("-httpListenAddr={web}"));
        let vmagent = Process::start(vmagent, command, folder, web);
        Self { exporter, vmagent, target: target.to_string() }
    }

    /// Remote-write requests of this vmagent by answer: 2xx and anything else, dropped blocks included.
    fn requests(&self) -> Result<(f64, f64), String> {
        let metrics = self.vmagent.get("/metrics")?;
        let (mut good, mut bad) = (0.0, 0.0);
        for line in metrics.lines() {
            let value = || line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN);
            match line {
                _ if line.starts_with("vmagent_remotewrite_requests_total{") && line.contains("\"2XX\"") => {
                    good += value()
                }
                _ if line.starts_with("vmagent_remotewrite_requests_total{") => bad += value(),
                _ if line.starts_with("vmagent_remotewrite_packets_dropped_total{") => bad += value(),
                _ => {}
            }
        }
        Ok((good, bad))
    }
}

/// A running program with its output in a file; killed when dropped.
struct Process {
    name: String,
    child: std::cell::RefCell<Child>,
    address: SocketAddr,
    log: PathBuf,
}

impl Process {
    fn start(name: &str, mut command: Command, folder: &Path, address: SocketAddr) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child: child.into(), address, log }
    }

    /// The address that the service says it listens on.
    fn announced_address(&self) -> SocketAddr {
        const MARK: &str = "listening address=";
        let started = now();
        loop {
            let log = plain(&std::fs::read_to_string(&self.log).unwrap_or_default());
            let after = log.split_once(MARK).and_then(|(_, rest)| rest.split_whitespace().next());
            if let Some(address) = after.and_then(|text| text.trim_matches('"').parse().ok()) {
                return address;
            }
            let ended = self.child.borrow_mut().try_wait().unwrap();
            assert!(ended.is_none(), "{} ended ({ended:?})\n{}", self.name, self.log_tail());
            assert!(now() - started < DEADLINE / 4, "{} does not say `{MARK}…`\n{}", self.name, self.log_tail());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn kill(&self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// The body of a `GET`.
    fn get(&self, path: &str) -> Result<String, String> {
        let io = |error: std::io::Error| format!("{} {path}: {error}", self.name);
        match peers::ask(self.address, "GET", path, "", &[]).map_err(io)? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{} {path}: {status} {body}", self.name)),
        }
    }

    fn log_tail(&self) -> String {
        let log = plain(&std::fs::read_to_string(&self.log).unwrap_or_default());
        let lines: Vec<&str> = log.lines().collect();
        format!("--- {}\n{}", self.name, lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A machine that is busy in ways that show even where others use it: two shells per CPU that fork all the time, and open
/// connections. Ended when dropped.
struct Load {
    shells: Vec<Child>,
    /// Both ends of each; they are counted as long as they are held.
    _connections: Vec<(TcpStream, TcpStream)>,
}

/// Far more than a machine that runs tests has by itself, far fewer than the files that a process may open.
const CONNECTIONS: usize = 300;

impl Load {
    fn start() -> Self {
        let n = 2 * std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(16);
        let busy = || Command::new("sh").args(["-c", "while :; do (:); done"]).stdin(Stdio::null()).spawn().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let connect = || (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap().0);
        Self { shells: (0..n).map(|_| busy()).collect(), _connections: (0..CONNECTIONS).map(|_| connect()).collect() }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.shells {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Without the escapes that colour a log.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}

#[expect(clippy::disallowed_methods, reason = "this test waits for real processes")]
fn now() -> Instant {
    Instant::now()
}
