//! What the log says of senders that have no effect.

use super::{Process, SILENT_MAX, outlierd};

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use outlierd::base::proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use prost::Message;

/// Writes one series of one sample; the answer must be 204.
fn write(address: SocketAddr, labels: &[(&str, &str)]) {
    let label = |(name, value): &(&str, &str)| Label { name: (*name).to_owned(), value: (*value).to_owned() };
    let series = TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: vec![Sample { value: 1.0, timestamp: 1 }],
        exemplars: Vec::new(),
    };
    let message = WriteRequest { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SILENT_MAX)).unwrap();
    write!(
        stream,
        "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
}

#[test]
fn senders_without_effect_are_one_line_each() {
    let mut process = Process::start(outlierd(&["serve"]).current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))));
    let address = process.address();
    for _ in 0..3 {
        write(address, &[("__name__", "windows_cpu_time_total"), ("instance", "w:9182"), ("job", "win")]);
        write(address, &[("__name__", "node_load1"), ("host", "b"), ("job", "bit")]);
        write(address, &[("__name__", "node_load1"), ("instance", "a:9100"), ("job", "node")]);
    }
    process.terminate();
    let (code, _, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let [unused, lacking] = warnings[..] else { panic!("not two warnings:\n{log}") };
    let check = |line: &str, words: &[&str]| assert!(words.iter().all(|word| line.contains(word)), "{line}");
    check(
        unused,
        &["samples of job \"win\" are not used", "\"windows_\"", "`features`", "`-remoteWrite.urlRelabelConfig`"],
    );
    check(lacking, &["samples of job \"bit\" are not used", "\"instance\"", "\"host\"", "`identity.label`"]);
}
