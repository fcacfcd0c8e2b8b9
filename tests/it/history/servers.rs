//! The real databases: started, written to, ended. `scripts/peers.sh` puts the programs into place.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    VictoriaMetrics,
    OldVictoriaMetrics,
    Prometheus,
}

impl Program {
    fn file(self) -> &'static str {
        match self {
            Self::VictoriaMetrics => "victoria-metrics-1.150.0",
            Self::OldVictoriaMetrics => "victoria-metrics-1.79",
            Self::Prometheus => "prometheus-2.42",
        }
    }

    /// Where it lies; `None` where it is missing, which with CI=true is a failure.
    fn path(self) -> Option<PathBuf> {
        let cached = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/outlierd/peers");
        let path = std::env::var_os("OUTLIERD_PEERS").map_or_else(cached, PathBuf::from).join(self.file());
        if path.exists() {
            return Some(path);
        }
        let message = format!("{} is missing; scripts/peers.sh fetches it", path.display());
        assert!(std::env::var("CI").as_deref() != Ok("true"), "reading history needs it: {message}");
        // Not `eprintln`: the harness swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "\nLEFT OUT: reading history: {message}\n");
        None
    }
}

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
        let path = program.path()?;
        let folder = tempfile::tempdir().unwrap();
        // The programs cannot be given a listener.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let data = folder.path().join("data");
        let mut command = Command::new(path);
        match program {
            Program::VictoriaMetrics | Program::OldVictoriaMetrics => {
                command.arg(format!("-storageDataPath={}", data.display()));
                command.args([
                    &format!("-httpListenAddr={address}"),
                    "-retentionPeriod=100y",
                    "-memory.allowedPercent=5",
                ]);
            }
            Program::Prometheus => {
                let config = folder.path().join("prometheus.yml");
                std::fs::write(&config, "global: {}\n").unwrap();
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.tsdb.path={}", data.display()));
                command.args([&format!("--web.listen-address={address}"), "--web.enable-remote-write-receiver"]);
                command.args(["--storage.tsdb.retention.time=100y", "--storage.remote.read-max-bytes-in-frame=2000"]);
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { program, child, address, _folder: folder };
        server.wait();
        Some(server)
    }

    /// Polls: the programs say nowhere else that they listen.
    fn wait(&mut self) {
        let path = if self.program == Program::Prometheus { "/-/ready" } else { "/health" };
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
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        let (status, answer) = self.ask("POST", "/api/v1/write", headers, body);
        assert!(status == 204, "{:?} refused a body: {status} {answer}", self.program);
    }

    /// Makes what was written visible.
    pub fn flush(&self) {
        if self.program != Program::Prometheus {
            assert_eq!(self.ask("GET", "/internal/force_flush", "", &[]).0, 200);
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{headers}Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
