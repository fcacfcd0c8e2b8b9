//! Prometheus itself, as the program under tests/peers/prometheus: started, fed and asked.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::peers;

const PROGRAM: &str = "prometheus-reference";

/// The program; `None` where it is missing.
pub(crate) fn program() -> Option<PathBuf> {
    Some(peers::folder(&[PROGRAM], "the live comparison with Prometheus")?.join(PROGRAM))
}

/// The running program, holding one case; it ends when dropped, or with this process.
pub(crate) struct Reference {
    child: Child,
    input: Option<ChildStdin>,
    address: SocketAddr,
}

/// What one expression gives at each of the asked times: the value where it is one finite number, else `None`. Nothing, several
/// elements, an error, NaN and infinities all mean that a feature has no value.
pub(crate) type Answer = Vec<Option<f64>>;

impl Reference {
    /// Starts the program, whose instant selectors look back `lookback_ms`.
    pub(crate) fn start(program: &Path, lookback_ms: i64) -> Self {
        let mut child = Command::new(program)
            .arg(format!("--lookback={lookback_ms}ms"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{PROGRAM} says {line:?}"));
        Self { input: child.stdin.take(), child, address }
    }

    /// Writes a `WriteRequest` in snappy into the database of `host`.
    pub(crate) fn write(&self, host: &str, body: &[u8]) {
        let (status, answer) = self.post(&format!("/{host}/api/v1/write"), peers::SNAPPY, body);
        assert!(status == 204, "a body for {host}: {status} {answer}");
    }

    /// What `expr` gives for `host` at `times_ms`, which are `step_ms` apart.
    pub(crate) fn answer(&self, host: &str, expr: &str, times_ms: &[i64], step_ms: i64) -> Answer {
        let Some((&start_ms, &end_ms)) = times_ms.first().zip(times_ms.last()) else { return Vec::new() };
        if let Ok(answer) = self.range(host, expr, start_ms, end_ms, step_ms) {
            return answer;
        }
        // An error at one time is an error of the whole query: ask for each time alone.
        let at = |&t_ms: &i64| self.range(host, expr, t_ms, t_ms, step_ms).map_or(None, |answer| answer[0]);
        times_ms.iter().map(at).collect()
    }

    fn range(&self, host: &str, expr: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Answer, String> {
        let form = format!("start_ms={start_ms}&end_ms={end_ms}&step_ms={step_ms}&query={}", escaped(expr));
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let (status, text) = self.post(&format!("/{host}/api/v1/query_range"), headers, form.as_bytes());
        match status {
            200 => {}
            422 => return Err(text),
            _ => panic!("{expr}: {status} {text}"),
        }
        let answer: Value = serde_json::from_str(&text).unwrap();
        let n_times = (end_ms - start_ms) / step_ms + 1;
        // How many elements there are at each time, and the value of the last one.
        let mut at_times = vec![(0, f64::NAN); n_times as usize];
        for series in answer.as_array().unwrap() {
            for point in series["values"].as_array().unwrap() {
                let at_time = &mut at_times[((point[0].as_i64().unwrap() - start_ms) / step_ms) as usize];
                *at_time = (at_time.0 + 1, point[1].as_str().unwrap().parse().unwrap());
            }
        }
        Ok(at_times.into_iter().map(|(n, value)| (n == 1 && value.is_finite()).then_some(value)).collect())
    }

    /// Whether `expr` is PromQL to Prometheus.
    pub(crate) fn parse_error(&self, expr: &str) -> Option<String> {
        self.range("none", expr, 0, 0, 1).err()
    }

    fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        peers::ask(self.address, "POST", path, headers, body).unwrap()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // Its end of input: it removes what it stored and ends.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Percent-encoded.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
