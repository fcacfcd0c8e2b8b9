//! `outlierd record`: what it writes is a recording, however it ends.

use super::*;

/// Records what is posted: by file of the captures the status of the answer.
fn post(address: SocketAddr, file: &str, encoding: &str) -> String {
    let body = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures").join(file)).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SILENT_MAX)).unwrap();
    let head = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-protobuf";
    write!(stream, "{head}\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn record(folder: &Path, arguments: &[&str]) -> Process {
    let mut command = outlierd(&["record", "--web.listen-address", "127.0.0.1:0", "--out"]);
    Process::start(command.arg(folder).args(arguments))
}

#[test]
fn a_recording_is_what_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("recorded");
    let mut process = record(&out, &[]);
    let address = process.address();
    for (file, encoding) in [("host1-scrape0.snappy.bin", "snappy"), ("host1-scrape1.zstd.bin", "zstd")] {
        assert_eq!(post(address, file, encoding), "204");
    }
    // What no service would take is refused, or the whole recording could not be read.
    assert_eq!(post(address, "../../../Cargo.toml", "snappy"), "400");
    process.terminate();
    let (code, _, log) = process.end();
    assert!(code == Some(0) && log.contains("recorded bodies=2"), "{log}");
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures");
    assert_eq!(
        fs::read(out.join("00000001.zstd.bin")).unwrap(),
        fs::read(captures.join("host1-scrape1.zstd.bin")).unwrap()
    );
    let index: serde_json::Value = serde_json::from_slice(&fs::read(out.join("index.json")).unwrap()).unwrap();
    let times: Vec<i64> = index.as_array().unwrap().iter().map(|e| e["received_ms"].as_i64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > 1_700_000_000_000, "{times:?}");
    // It is read as one; what the captures' time is to now decides whether their samples are too old.
    let (code, csv, log) = Process::start(outlierd(&["features", "--from"]).arg(&out)).end();
    assert!(code == Some(0) && csv.starts_with("host,t_ms,") && log.contains("bodies: 2\n"), "{log}");
    let again = fails(outlierd(&["record", "--web.listen-address", "127.0.0.1:0", "--out"]).arg(&out));
    assert!(again.contains("has a recording already; name another folder"), "{again}");
}

#[test]
fn a_recording_ends_at_its_size_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = record(folder.path(), &["--max-size", "20KiB"]);
    let address = process.address();
    let file = "host1-scrape0.snappy.bin";
    assert_eq!([post(address, file, "snappy"), post(address, file, "snappy")], ["204", "503"]);
    let (code, _, log) = process.end();
    assert!(code == Some(0) && log.contains("as large as --max-size allows") && log.contains("bodies=1"), "{log}");

    let folder = tempfile::tempdir().unwrap();
    let (code, _, log) = record(folder.path(), &["--duration", "1ms"]).end();
    assert!(code == Some(0) && log.contains("recorded bodies=0"), "{log}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
