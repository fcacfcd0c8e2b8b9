//! The real databases: started, written to or told what to scrape, asked, ended. `scripts/peers.sh` puts the programs into place.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::peers;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    VictoriaMetrics,
    OldVictoriaMetrics,
    Prometheus,
    Alertmanager,
}

impl Program {
    fn file(self) -> &'static str {
        match self {
            Self::VictoriaMetrics => "victoria-metrics-1.150.0",
            Self::OldVictoriaMetrics => "victoria-metrics-1.79",
            Self::Prometheus => "prometheus-2.42",
            Self::Alertmanager => "alertmanager-0.28.1",
        }
    }
}

/// The least that Alertmanager starts with.
pub const ALERTMANAGER: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";

/// A running database without data; it ends when dropped.
pub struct Server {
    program: Program,
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Returns once it answers; `None` where the program is missing.
    pub fn start(program: Program) -> Option<Self> {
        let is_alertmanager = program == Program::Alertmanager;
        Self::start_with(program, if is_alertmanager { ALERTMANAGER } else { "{}\n" })
    }

    /// As [`Server::start`]; it scrapes `target` every second.
    pub fn scraping(program: Program, target: SocketAddr) -> Option<Self> {
        let targets = format!("static_configs: [{{targets: ['{target}']}}]");
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: outlierd, honor_labels: true, {targets}}}]\n"
        );
        Self::start_with(program, &config)
    }

    /// With the configuration `config`, as Prometheus has it, or Alertmanager.
    pub fn start_with(program: Program, config: &str) -> Option<Self> {
        let path = peers::folder(&[program.file()], "what reads or writes a database")?.join(program.file());
        let folder = tempfile::tempdir().unwrap();
        let address = peers::free_address();
        let data = folder.path().join("data");
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(path);
        match program {
            Program::VictoriaMetrics | Program::OldVictoriaMetrics => {
                command.arg(format!("-storageDataPath={}", data.display()));
                command.args([
                    &format!("-httpListenAddr={address}"),
                    "-retentionPeriod=100y",
                    "-memory.allowedPercent=5",
                    "-search.latencyOffset=0s",
                    &format!("-promscrape.config={}", file.display()),
                ]);
            }
            Program::Prometheus => {
                command.arg(format!("--config.file={}", file.display()));
                command.arg(format!("--storage.tsdb.path={}", data.display()));
                command.args([&format!("--web.listen-address={address}"), "--web.enable-remote-write-receiver"]);
                command.args(["--storage.tsdb.retention.time=100y", "--storage.remote.read-max-bytes-in-frame=2000"]);
            }
            Program::Alertmanager => {
                command.arg(format!("--config.file={}", file.display()));
                command.arg(format!("--storage.path={}", data.display()));
                // Without the gossip of a cluster.
                command.args([&format!("--web.listen-address={address}"), "--cluster.listen-address="]);
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { program, child, address, _folder: folder };
        server.wait();
        Some(server)
    }

    /// Polls: the programs say nowhere else that they listen.
    fn wait(&mut self) {
        let is_of_prometheus = [Program::Prometheus, Program::Alertmanager].contains(&self.program);
        let path = if is_of_prometheus { "/-/ready" } else { "/health" };
        for _ in 0..1_200 {
            assert_eq!(self.child.try_wait().unwrap(), None, "{:?} ended", self.program);
            if TcpStream::connect(self.address).is_ok() && self.ask("GET", path, "", &[]).0 == 200 {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{:?} does not answer", self.program);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes a body in snappy.
    pub fn write(&self, body: &[u8]) {
        let (status, answer) = self.ask("POST", "/api/v1/write", peers::SNAPPY, body);
        assert!(status == 204, "{:?} refused a body: {status} {answer}", self.program);
    }

    /// Makes what was written visible.
    pub fn flush(&self) {
        if self.program != Program::Prometheus {
            assert_eq!(self.ask("GET", "/internal/force_flush", "", &[]).0, 200);
        }
    }

    /// Takes a body of JSON.
    pub fn post(&self, path: &str, body: &str) {
        let (status, answer) = self.ask("POST", path, "Content-Type: application/json\r\n", body.as_bytes());
        assert_eq!(status, 200, "{:?}: {path}: {answer}", self.program);
    }

    /// What it answers to a query, which must be 200.
    pub fn get(&self, path: &str) -> String {
        let (status, answer) = self.ask("GET", path, "", &[]);
        assert_eq!(status, 200, "{:?}: {path}: {answer}", self.program);
        answer
    }

    /// The `data` of an answer of the API that Prometheus has.
    pub fn api(&self, path: &str) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&self.get(path)).unwrap()["data"].take()
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        peers::ask(self.address, method, path, headers, body).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
