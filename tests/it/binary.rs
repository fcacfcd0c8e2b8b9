//! The real binary: what it says when it cannot start, and how it ends.

mod log;
mod record;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use outlierd::base::clock;

use crate::peers;

/// How long a process may be silent. It is only waited for where something is wrong.
const SILENT_MAX: Duration = Duration::from_secs(30);

/// Most lines of a log that wait to be looked at.
const LINES_MAX: usize = 10_000;

/// A running process; killed when dropped.
struct Process {
    child: Child,
    lines: Receiver<String>,
    /// Everything that it has said on stderr so far.
    log: String,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, log: String::new() }
    }

    /// The next line; `None` at the end of the process.
    fn line(&mut self, wait: Duration) -> Option<String> {
        match self.lines.recv_timeout(wait) {
            Ok(line) => {
                self.log.push_str(&line);
                self.log.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no further line, and no end, within {wait:?}:\n{}", self.log),
        }
    }

    /// The first line that has `mark`.
    fn until(&mut self, mark: &str) -> String {
        while let Some(line) = self.line(SILENT_MAX) {
            if line.contains(mark) {
                return line;
            }
        }
        panic!("it ended without `{mark}`:\n{}", self.log)
    }

    /// The address that it listens on.
    fn address(&mut self) -> SocketAddr {
        let line = self.until("listening address=");
        let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
        address.unwrap().parse().unwrap()
    }

    fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Its exit status, stdout and stderr.
    fn end(mut self) -> (Option<i32>, String, String) {
        while self.line(SILENT_MAX).is_some() {}
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap().code(), out, std::mem::take(&mut self.log))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with a port of its own to listen on, where it serves.
fn outlierd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    command.args(arguments);
    if arguments.first() == Some(&"serve") && !arguments.contains(&"--web.listen-address") {
        command.args(["--web.listen-address", "127.0.0.1:0"]);
    }
    command
}

/// Runs `command` to its end, which must be a failure; gives what it said.
fn fails(command: &mut Command) -> String {
    let (code, out, log) = Process::start(command).end();
    assert_eq!((code, out.as_str()), (Some(1), ""), "{log}");
    log
}

/// A folder with `config` in `o.yaml`.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("o.yaml"), config).unwrap();
    folder
}

#[test]
fn no_onnx_runtime() {
    let advice = "run scripts/get-onnxruntime.sh in the repository, or name the library with --onnxruntime.path or \
                  ORT_DYLIB_PATH (the PyPI package onnxruntime holds it as capi/libonnxruntime.so.*)\n";
    let empty = tempfile::tempdir().unwrap();
    let tried = |places: &str| format!("outlierd: cannot load ONNX Runtime; tried:{places}\n{advice}");
    let flag = ["serve", "--onnxruntime.path", "/no/such/libonnxruntime.so"];
    let expected = tried("\n  /no/such/libonnxruntime.so: no such file");
    assert_eq!(fails(outlierd(&flag).current_dir(&empty)), expected);
    let variable = ("ORT_DYLIB_PATH", "/no/such/libonnxruntime.so");
    assert_eq!(fails(outlierd(&["serve"]).env(variable.0, variable.1).current_dir(&empty)), expected);

    // Alone in a folder, with nothing in the environment: every place is tried.
    let binary = empty.path().join("outlierd");
    // Not `fs::copy`: a test that starts a process meanwhile would hold the file open for writing, and it could not be run.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_outlierd")).arg(&binary).status().unwrap().success());
    let mut alone = Command::new(&binary);
    alone.args(["serve", "--web.listen-address", "127.0.0.1:0"]).env_clear().current_dir(&empty);
    let log = fails(&mut alone);
    let beside =
        |name: &str| format!("\n  {}: no such file", empty.path().canonicalize().unwrap().join(name).display());
    let places = [
        &beside("libonnxruntime.so"),
        &beside("lib/libonnxruntime.so"),
        "\n  /usr/lib/outlierd/libonnxruntime.so: no such file",
        "\n  .outlierd/onnxruntime/libonnxruntime.so: no such file",
        "\n  libonnxruntime.so: ",
        "\n  libonnxruntime.so.1: ",
    ];
    let mut rest = log.as_str();
    for place in places {
        rest = rest.split_once(place).unwrap_or_else(|| panic!("{place} is missing, or out of order:\n{log}")).1;
    }
    assert!(rest.ends_with(advice), "{log}");
}

#[test]
fn a_file_that_is_no_library() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so");
    fs::write(&library, "not a library").unwrap();
    let log = fails(&mut outlierd(&["serve", "--onnxruntime.path", library.to_str().unwrap()]));
    let start = format!("outlierd: cannot load ONNX Runtime; tried:\n  {}: ", library.display());
    assert!(log.starts_with(&start) && log.contains("scripts/get-onnxruntime.sh"), "{log}");
}

#[test]
fn configurations_with_mistakes() {
    let check = |config: &str, expected: &str| {
        let folder = folder(config);
        let serve = fails(outlierd(&["serve", "--config.file", "o.yaml"]).current_dir(&folder));
        assert_eq!(serve, format!("outlierd: {expected}\n"));
        let checked = fails(outlierd(&["check-config", "o.yaml"]).current_dir(&folder));
        assert_eq!(checked, serve, "check-config says the same");
    };
    check(
        "identity: {lable: host}\nstep: 5 min\nlimits:\n  hosts: -1\n",
        "o.yaml:1:12: unknown key `identity.lable`; did you mean `label`?\n  \
           1 | identity: {lable: host}\n    |            ^^^^^\n\
         o.yaml:2:7: `step` must be a duration from 1ms to 1d, such as 60s, not `5 min`\n  \
           2 | step: 5 min\n    |       ^^^^^\n\
         o.yaml:4:10: `limits.hosts` must be a whole number of hosts from 1 to 1000000000, not `-1`\n  \
           4 |   hosts: -1\n    |          ^^",
    );
    check(
        "features:\n- {name: a, expr: 'sum(sort(up))'}\n- {name: b, expr: \"up{a=\\\"b\\\"} + rate(up)\"}\n- name: c\n  \
           expr: >-\n    up\n    / up offset -5m\n",
        "o.yaml:2:24: feature a: `sort()` is not evaluated: a feature is one number, so order has no meaning: leave it \
         out\n\
         o.yaml:3:19: feature b: `up{a=\"b\"} + rate(up)` is not PromQL: expected type matrix in call to function 'rate', \
         got vector; a range such as [2m] is missing (at character 13 of the expression)\n\
         o.yaml:7:10: feature c: `offset -…` is not evaluated: a negative offset looks into the future",
    );
    check(
        "features: [{name: cpu_busy, expr: up}]\nmodel: {bundle: none.onnx}",
        "cannot read the bundle none.onnx: No such file or directory (os error 2)",
    );
    let folder = tempfile::tempdir().unwrap();
    let log = fails(outlierd(&["serve", "--config.file", "none.yaml"]).current_dir(&folder));
    assert_eq!(log, "outlierd: none.yaml: cannot read the file: No such file or directory (os error 2)\n");
}

#[test]
fn a_configuration_without_mistakes() {
    let folder = folder("step: 30s\n");
    let checked = Process::start(outlierd(&["check-config", "o.yaml"]).current_dir(&folder)).end();
    let expected = "o.yaml: ok, 56 features, 37 of them scored by the built-in bundle\n".to_owned();
    assert_eq!(checked, (Some(0), expected, String::new()));
}

#[test]
fn the_documented_configuration_is_one() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.example.yaml");
    let mut check = outlierd(&["check-config", example]);
    check.current_dir(env!("CARGO_MANIFEST_DIR")).env("SITE", "lab");
    let (code, out, log) = Process::start(&mut check).end();
    assert_eq!(code, Some(0), "{log}");
    assert!(out.contains("37 features, 37 of them scored by models/node-exporter.onnx"), "{out}");
}

#[test]
fn an_address_that_is_taken_or_none() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = |address: &str| fails(&mut outlierd(&["serve", "--web.listen-address", address]));
    let advice = "choose another with --web.listen-address";
    let expected = format!("outlierd: cannot listen on {address}: {advice}: Address already in use (os error 98)\n");
    assert_eq!(said(&address), expected);
    let none = said("localhost");
    assert!(none.starts_with(&format!("outlierd: cannot listen on localhost: {advice}: ")), "{none}");
}

#[test]
fn nothing_is_written_but_into_the_storage() {
    let files = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let run = |more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = outlierd(&["serve"]);
        let fetched = || concat!(env!("CARGO_MANIFEST_DIR"), "/.outlierd/onnxruntime/libonnxruntime.so").into();
        let library = std::env::var_os("ORT_DYLIB_PATH").unwrap_or_else(fetched);
        command.args(more).current_dir(&folder).env("ORT_DYLIB_PATH", library);
        command.env("HOME", folder.path()).env("TMPDIR", folder.path());
        let mut process = Process::start(&mut command);
        let address = process.address();
        let silence = br#"{"match": "{instance=\"a\"}", "duration": "1h"}"#;
        let json = "Content-Type: application/json\r\n";
        let (status, answer) = peers::ask(address, "POST", "/api/v1/silences", json, silence).unwrap();
        assert_eq!(status, 200, "{answer}");
        process.terminate();
        assert_eq!(process.end().0, Some(0));
        let stored = folder.path().join("stored");
        (files(folder.path()), if stored.exists() { files(&stored) } else { Vec::new() })
    };
    assert_eq!(run(&[]), (vec![], vec![]));
    let (outside, inside) = run(&["--storage.path", "stored"]);
    assert_eq!(outside, ["stored"]);
    assert!(inside.iter().any(|file| file.contains("silences")), "{inside:?}");
}

#[test]
fn a_storage_folder_is_for_one_service() {
    let folder = tempfile::tempdir().unwrap();
    let storage = folder.path().join("new/storage");
    let serve = || {
        let mut command = outlierd(&["serve", "--storage.path", storage.to_str().unwrap()]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    };
    let mut first = Process::start(&mut serve());
    first.address();
    let advice = "stop it, or give each a --storage.path of its own";
    let expected = format!("outlierd: another outlierd stores in {}: {advice}\n", storage.display());
    assert_eq!(fails(&mut serve()), expected);
    // Whatever ends it, the next one starts.
    first.signal("-KILL");
    first.end();
    let mut next = Process::start(&mut serve());
    next.address();
    next.terminate();
    let (code, _, log) = next.end();
    assert_eq!(code, Some(0), "{log}");
}

/// A service in the repository, where it finds the library that tests use, with half a request in it.
fn with_half_a_request(body: &[u8]) -> (Process, TcpStream) {
    let mut process = Process::start(outlierd(&["serve"]).current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))));
    let mut stream = TcpStream::connect(process.address()).unwrap();
    stream.set_read_timeout(Some(SILENT_MAX)).unwrap();
    let head = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length:";
    write!(stream, "{head} {}\r\n\r\n", body.len()).unwrap();
    // Sent when the service begins to read the body: from here on the request is running.
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body[..body.len() / 2]).unwrap();
    (process, stream)
}

/// A good body without samples.
fn body() -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&[0x1a, 0x04, 0x12, 0x02, b'u', b'p']).unwrap()
}

#[test]
fn sigterm_lets_a_request_finish() {
    let body = body();
    let (mut process, mut stream) = with_half_a_request(&body);
    process.terminate();
    process.until("SIGTERM: draining");
    stream.write_all(&body[body.len() / 2..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
    let (code, _, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn sighup_reloads_the_file() {
    let folder = folder("detection: {limit: 2}\n");
    let file = folder.path().join("o.yaml");
    let mut command = outlierd(&["serve", "--config.file", file.to_str().unwrap()]);
    let mut process = Process::start(command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))));
    process.address();
    fs::write(&file, "detection: {limit: 3}\n").unwrap();
    process.signal("-HUP");
    process.until("reloaded the configuration");
    fs::write(&file, "detection: {limt: 3}\n").unwrap();
    process.signal("-HUP");
    let line = process.until("cannot reload, the old configuration stays; mend the file and reload again");
    assert!(line.contains("unknown key `detection.limt`; did you mean `limit`?"), "{line}");
    process.terminate();
    let (code, _, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn promote_exchanges_model_and_shadow_or_nothing() {
    let text = "# live\nmodel: {alias: a}\nshadow: # new\n  alias: b\n  bundle: SHADOW\n";
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/node-exporter.onnx");
    let text = text.replace("SHADOW", &shipped.display().to_string());
    let folder = folder(&text);
    let file = folder.path().join("o.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let promote = || outlierd(&["model", "promote", "--config.file", file.to_str().unwrap()]);
    let (code, out, log) = Process::start(&mut promote()).end();
    let expected = format!(
        "live: {} (as b)\nshadow: the built-in bundle\nreload to let it run: SIGHUP, or POST /-/reload\n",
        shipped.display()
    );
    assert_eq!((code, out), (Some(0), expected), "{log}");
    let exchanged = text.replace("shadow:", "other:").replace("model:", "shadow:").replace("other:", "model:");
    assert_eq!(fs::read_to_string(&file).unwrap(), exchanged);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let (code, _, log) = Process::start(&mut promote()).end();
    assert_eq!((code, fs::read_to_string(&file).unwrap()), (Some(0), text.clone()), "{log}");

    let gone = text.replace(&shipped.display().to_string(), "no/such.onnx");
    fs::write(&file, &gone).unwrap();
    let log = fails(&mut promote());
    assert!(log.contains("is left as it is") && log.contains("cannot read the bundle no/such.onnx"), "{log}");
    assert_eq!(fs::read_to_string(&file).unwrap(), gone);
    fs::write(&file, "step: 60s\n").unwrap();
    assert!(fails(&mut promote()).contains("it has no `shadow`"));
}

#[test]
fn sighup_without_a_file_lets_a_request_finish() {
    let body = body();
    let (mut process, mut stream) = with_half_a_request(&body);
    process.signal("-HUP");
    process.until("it runs without a configuration file: start it with --config.file to have one");
    stream.write_all(&body[body.len() / 2..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
    process.terminate();
    let (code, _, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn sigterm_does_not_wait_for_a_request_that_never_ends() {
    let (process, stream) = with_half_a_request(&body());
    process.terminate();
    let since = clock::monotonic();
    let (code, _, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("some requests did not finish within 5000 ms and are cut off"), "{log}");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}\n{log}", since.elapsed());
    drop(stream);
}
