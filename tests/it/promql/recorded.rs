//! Prometheus' answers to the hand-written expressions of the long case, as committed: tests/fixtures/promql/recorded.zst, text in
//! zstd. `REGENERATE=1 cargo test --test it promql` writes it, with the live program.
//!
//! Every expression is recorded for one host: in turn, or the next one that it has more to say of.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::case::{Body, HOSTS};
use super::ours::Rows;
use super::reference::{Answer, Reference};

/// Finite numbers that a host is taken for although another one has more.
const N_FINITE_ENOUGH: usize = 20;

/// What one expression gave.
pub(super) struct Recorded {
    pub(super) host: usize,
    pub(super) expr: String,
    pub(super) answer: Answer,
}

/// The fixture's text: a line that says of which bodies, then for each expression its host, itself and its values, one per row,
/// `-` where it has none.
pub(super) fn record(
    reference: &Reference,
    bodies: &[Vec<Body>],
    rows: &[Rows],
    step_ms: i64,
    exprs: &[String],
) -> String {
    let mut text = format!("bodies {:016x}\n", hash(bodies));
    for (i, expr) in exprs.iter().enumerate() {
        let ask = |host: usize| (host, reference.answer(HOSTS[host], expr, &rows[host].times_ms, step_ms));
        let n_finite = |answer: &Answer| answer.iter().flatten().count();
        let turn = (0..HOSTS.len()).map(|k| ask((i + k) % HOSTS.len()));
        // `max_by_key` takes the last of equals, hence the reverse.
        let Some((host, answer)) = turn.rev().max_by_key(|(_, answer)| n_finite(answer).min(N_FINITE_ENOUGH)) else {
            continue;
        };
        let values: Vec<String> =
            answer.iter().map(|value| value.map_or("-".to_owned(), |value| format!("{value:e}"))).collect();
        let _ = writeln!(text, "{host} {expr}\n{}", values.join(" "));
    }
    text
}

/// What was recorded of `exprs`; panics where the fixture is of other bodies or expressions.
pub(super) fn parse(text: &str, bodies: &[Vec<Body>], exprs: &[String]) -> Vec<Recorded> {
    const STALE: &str = "the fixture is older than the series or expressions: \
                         run scripts/peers.sh, then `REGENERATE=1 cargo test --test it promql`";
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(format!("bodies {:016x}", hash(bodies)).as_str()), "{STALE}");
    let mut all = Vec::new();
    while let (Some(head), Some(values)) = (lines.next(), lines.next()) {
        let (host, expr) = head.split_once(' ').unwrap();
        let value = |text: &str| if text == "-" { None } else { Some(text.parse().unwrap()) };
        let answer = values.split(' ').map(value).collect();
        all.push(Recorded { host: host.parse().unwrap(), expr: expr.to_owned(), answer });
    }
    let recorded: Vec<&str> = all.iter().map(|recorded| recorded.expr.as_str()).collect();
    assert_eq!(recorded, exprs, "{STALE}");
    all
}

pub(super) fn read() -> String {
    let compressed = std::fs::read(path()).unwrap();
    String::from_utf8(zstd::decode_all(&*compressed).unwrap()).unwrap()
}

pub(super) fn write(text: &str) {
    const LEVEL: i32 = 19;
    std::fs::create_dir_all(path().parent().unwrap()).unwrap();
    std::fs::write(path(), zstd::encode_all(text.as_bytes(), LEVEL).unwrap()).unwrap();
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/promql/recorded.zst")
}

/// FNV-1a of all messages, before compression: snappy's output may change with its version.
fn hash(bodies: &[Vec<Body>]) -> u64 {
    let messages = bodies.iter().flatten().map(|body| snap::raw::Decoder::new().decompress_vec(&body.bytes).unwrap());
    let bytes = messages.flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
