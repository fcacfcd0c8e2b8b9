//! The programs that tests run against: where `scripts/peers.sh` puts them, and how they are asked.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

/// What a sender of snappy says of its body.
pub const SNAPPY: &str = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                          X-Prometheus-Remote-Write-Version: 0.1.0\r\n";

/// The folder that has `programs`; `None` where one is missing, so that `test` is left out; with CI=true that is a failure.
pub fn folder(programs: &[&str], test: &str) -> Option<PathBuf> {
    let cached = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/outlierd/peers");
    let folder = std::env::var_os("OUTLIERD_PEERS").map_or_else(cached, PathBuf::from);
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !folder.join(program).exists()).collect();
    if missing.is_empty() {
        return Some(folder);
    }
    let message = format!("{} not in {}; scripts/peers.sh fetches them", missing.join(", "), folder.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs its peers: {message}");
    // Not `eprintln`: the harness swallows what a passing test prints.
    let _ = writeln!(std::io::stderr(), "\nLEFT OUT: {test}: {message}\n");
    None
}

/// An address of this machine that nothing listens on, for programs that cannot be given a listener.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Asks over a connection of its own: status and body of the answer. Each of `headers` ends with a line break.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}
