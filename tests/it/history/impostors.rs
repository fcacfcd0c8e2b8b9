//! Servers that answer what no database should: each is told with what to do, soon, and without holding it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlierd::offline::history::Origin;
use outlierd::offline::history::source::ServerType;
use outlierd::offline::history::source::reader::Request;

use super::{CONFIG, bodies, read, request};

/// Status, further headers, body.
type Answer = (u16, &'static str, Vec<u8>);

/// Answers by path, each connection once.
fn serve(listener: TcpListener, answer: impl Fn(&str) -> Answer + Send + 'static) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Who goes away while it is answered is no failure of the test.
            let _ = stream.and_then(|stream| respond(stream, &answer));
        }
    });
    address
}

fn respond(mut stream: TcpStream, answer: &impl Fn(&str) -> Answer) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, headers, body) = answer(path.split('?').next().unwrap_or_default());
    write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}")?;
    if !headers.contains("Transfer-Encoding") {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    write!(stream, "\r\n")?;
    stream.write_all(&body)
}

fn ok(body: &str) -> Answer {
    (200, "", body.as_bytes().to_vec())
}

const HOSTS: &str = r#"{"status":"success","data":["a"]}"#;

/// What reading says, as `server`, from one that lists a host and answers otherwise as `answer` says.
fn error(server: Option<ServerType>, answer: impl Fn(&str) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = serve(listener, move |path| if path.contains("/label/") { ok(HOSTS) } else { answer(path) });
    let request = Request { server, ..request(&format!("http://u:secret@{address}/prefix/")) };
    let message = read(Origin::Database(request), CONFIG).err().unwrap();
    assert!(!message.contains("secret"), "{message}");
    message
}

fn check(server: Option<ServerType>, expected: &[&str], answer: impl Fn(&str) -> Answer + Send + 'static) {
    let message = error(server, answer);
    expected.iter().for_each(|expected| assert!(message.contains(expected), "{message}"));
}

#[test]
fn what_is_no_database_is_told() {
    check(None, &["neither VictoriaMetrics nor Prometheus", "/select/0/prometheus"], |_| (404, "", Vec::new()));
    check(None, &["neither VictoriaMetrics nor Prometheus"], |_| ok("<html>hello</html>"));
    check(None, &["neither VictoriaMetrics nor Prometheus"], |_| {
        (400, "", b"unsupported path requested: \"/prefix/api/v1/export\"".to_vec())
    });
    check(None, &["the database refused: give a user", "401"], |_| (401, "", Vec::new()));
    check(None, &["500", "out of luck"], |_| (500, "", b"out of luck".to_vec()));
    check(None, &["give the URL that it redirects to", "302"], |_| (302, "", Vec::new()));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = read(Origin::Database(request(&format!("http://{gone}"))), CONFIG).err().unwrap();
    assert!(unreachable.contains("cannot reach http://127.0.0.1") && unreachable.contains("is it running"));
    for (url, expected) in [
        ("https://vm:8428", "https isn't supported yet"),
        ("ftp://vm", "must start with http://"),
        ("http://", "is no URL"),
    ] {
        let message = read(Origin::Database(request(url)), CONFIG).err().unwrap();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn exports_that_are_none_are_told() {
    let victoria = Some(ServerType::VictoriaMetrics);
    let line = r#"{"metric":{"__name__":"node_load1","instance":"a"},"values":[1],"timestamps":[1735689600000]}"#;
    check(victoria, &["cannot read the history of a", "not a line of an export"], |_| ok("<html>\n"));
    check(victoria, &["broke off within a line"], move |_| ok(line));
    check(victoria, &["broke off", "the answer of http://127.0.0.1"], move |_| {
        (200, "Transfer-Encoding: chunked\r\n", format!("{:x}\r\n{line}\n\r\n", line.len() + 1).into_bytes())
    });
    // The first bytes of a gzip stream.
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab];
    check(victoria, &["broke off"], move |_| (200, "Content-Encoding: gzip\r\n", gzip.to_vec()));
    check(victoria, &["broke off"], |_| (200, "Content-Encoding: gzip\r\n", b"no gzip at all".to_vec()));
    check(victoria, &["even a minute of one host is too much", "-search.maxExportSeries"], |_| {
        (422, "", b"cannot select more than -search.maxExportSeries=1 series; exceeded".to_vec())
    });
    check(victoria, &["404"], |_| (404, "", Vec::new()));
}

#[test]
fn reads_that_are_none_are_told() {
    const STREAMED: &str = "Content-Type: application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse\r\n";
    let read = Some(ServerType::RemoteRead);
    check(read, &["wrong CRC"], |_| (200, STREAMED, vec![1, 0, 0, 0, 0, 7]));
    check(read, &["broke off within a frame"], |_| (200, STREAMED, vec![100, 0, 0]));
    check(read, &["no stream of frames", "--from-type range-query"], |_| (200, STREAMED, vec![0xff; 100]));
    check(read, &["is no ReadResponse"], |_| ok("hello"));
    check(Some(ServerType::RangeQuery), &["is no matrix"], |_| ok("hello"));
}

#[test]
fn a_server_with_a_limit_is_asked_for_less() {
    let (asked, last) = (std::sync::Arc::new(AtomicUsize::new(0)), std::sync::Arc::new(Mutex::new(String::new())));
    let (count, note) = (std::sync::Arc::clone(&asked), std::sync::Arc::clone(&last));
    let line = r#"{"metric":{"__name__":"node_load1","instance":"a"},"values":[3],"timestamps":[1735689600000]}"#;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = serve(listener, move |path| {
        path.clone_into(&mut note.lock().unwrap());
        match path {
            "/prefix/api/v1/export" if count.fetch_add(1, Ordering::Relaxed) < 2 => {
                (503, "", b"timeout exceeded during query execution".to_vec())
            }
            "/prefix/api/v1/export" => ok(&format!("{line}\n")),
            _ => ok(HOSTS),
        }
    });
    let request = request(&format!("http://{address}/prefix"));
    let server = Some(ServerType::VictoriaMetrics);
    let request = Request { server, chunk_ms: 4 * 3_600_000, ..request };
    let got = read(Origin::Database(request), CONFIG).unwrap();
    // Four hours, two, then 5 h 10 min in hours; what is outside of the span that was asked for is left out each time.
    assert_eq!(asked.load(Ordering::Relaxed), 2 + 6);
    assert_eq!(*last.lock().unwrap(), "/prefix/api/v1/export");
    let rows: Vec<_> = got.rows.into_iter().map(|(row, values)| (row, values[0])).collect();
    assert_eq!(rows, [(("a".to_owned(), bodies::START_MS), 3.0)]);
}
