//! Whatever arrives: the right status with a text that helps, or a counted skip; and the next good request works.

use outlierd::base::clock::Clock;
use outlierd::base::proto::prometheus::{Exemplar, Label, MetricMetadata, TimeSeries, WriteRequest};
use outlierd::series::STALE_NAN_BITS;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bodies::{message, series, snappy, zstd};
use super::{Headers, SNAPPY, World, ZSTD, pages};

/// Everything as it is by default, but for the lateness: nothing is late while a test runs.
const CONFIG: &str = "ingest: {lateness: 1h}\nfeatures: [{name: load1, expr: node_load1}]";
const NAME: (&str, &str) = ("__name__", "node_load1");
const HOST: (&str, &str) = ("instance", "a:9100");
const MINUTE_MS: i64 = 60_000;
const MIB: usize = 1 << 20;

/// A service, and the time that the next sample has.
struct Target {
    world: World,
    t_ms: std::cell::Cell<i64>,
}

impl Target {
    async fn start() -> Self {
        Self { world: World::start(CONFIG, &["load1"]).await, t_ms: (Clock::System.now_ms() - 30 * MINUTE_MS).into() }
    }

    /// A time that no sample had yet.
    fn next_ms(&self) -> i64 {
        self.t_ms.set(self.t_ms.get() + 1_000);
        self.t_ms.get()
    }

    /// A series of one sample.
    fn one(&self, labels: &[(&str, &str)]) -> TimeSeries {
        series(labels, &[(self.next_ms(), 1.0)])
    }

    fn good(&self) -> TimeSeries {
        self.one(&[NAME, HOST])
    }

    /// The next good request is taken and applied.
    async fn works(&self) {
        let before = self.world.metrics().await;
        self.world.write(vec![self.good()]).await;
        let after = self.world.metrics().await;
        assert_eq!(pages::fates(&before, &after), "samples_received 1, samples_kept 1");
    }

    /// Posts a body: `status text` and what became of its samples.
    async fn post(&self, headers: Headers<'_>, body: Vec<u8>) -> (String, String) {
        let before = self.world.metrics().await;
        let (status, text) = self.world.post(headers, body).await;
        let fates = pages::fates(&before, &self.world.metrics().await);
        self.works().await;
        (format!("{status} {text}"), fates)
    }

    /// The body is refused with an answer that begins with `expected`, and nothing of it is applied.
    async fn refused(&self, headers: Headers<'_>, body: Vec<u8>, expected: &str) {
        let what = format!("{} bytes {:02x?}…", body.len(), &body[..body.len().min(16)]);
        let (answer, fates) = self.post(headers, body).await;
        assert!(answer.starts_with(expected), "{what}: {answer}");
        assert_eq!(fates, "", "{what}");
    }

    /// The body is answered 204; `expected` is what became of its samples.
    async fn taken(&self, headers: Headers<'_>, body: Vec<u8>, expected: &str) {
        assert_eq!(self.post(headers, body).await, ("204 ".to_owned(), expected.to_owned()));
    }

    /// As [`Target::taken`], of one series with these labels and one sample.
    async fn labels(&self, labels: &[(&str, &str)], expected: &str) {
        self.taken(SNAPPY, snappy(&message(vec![self.one(labels)])), expected).await;
    }
}

#[tokio::test]
async fn compression() {
    let target = Target::start().await;
    let body = || message(vec![target.good(), target.good()]);
    let good = "samples_received 2, samples_kept 2";
    target.taken(SNAPPY, snappy(&body()), good).await;
    target.taken(ZSTD, zstd(&body()), good).await;
    // Mislabelled and unlabelled: the bytes decide.
    target.taken(SNAPPY, zstd(&body()), good).await;
    target.taken(ZSTD, snappy(&body()), good).await;
    target.taken(&[], snappy(&body()), good).await;
    target.taken(&[], zstd(&body()), good).await;
    target.taken(ZSTD, [zstd(&body()), zstd(&body())].concat(), "samples_received 4, samples_kept 4").await;

    let encoded = |encoding| [("content-type", "application/x-protobuf"), ("content-encoding", encoding)];
    let gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    target.refused(&encoded("gzip"), gzip.clone(), "415 Content-Encoding must be snappy or zstd, not gzip").await;
    target.refused(&encoded("identity"), body(), "415 Content-Encoding must be snappy or zstd, not identity").await;
    target.refused(SNAPPY, gzip, "400 cannot decompress the body").await;
    target.refused(SNAPPY, body(), "400 cannot decompress the body").await;
    target.refused(ZSTD, body(), "400 cannot decompress the body as zstd (no zstd frame, and not snappy either)").await;

    let typed = |value| [("content-type", value), ("content-encoding", "snappy")];
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let v2_refused = "415 remote write 2.0 is not taken yet; send prometheus.WriteRequest (remote write 1.0)";
    target.refused(&typed(v2), snappy(&body()), v2_refused).await;
    let json = "415 Content-Type must be application/x-protobuf, not application/json";
    target.refused(&typed("application/json"), b"{}".to_vec(), json).await;

    let whole = [snappy(&body()), zstd(&body())];
    let cut = async |at: usize, expected: [&str; 2]| {
        for ((headers, whole), expected) in [SNAPPY, ZSTD].into_iter().zip(&whole).zip(expected) {
            target.refused(headers, whole[..at].to_vec(), expected).await;
        }
    };
    let (snappy, zstd) = ("400 cannot decompress the body (", "400 cannot decompress the body as zstd (");
    cut(1, [snappy, zstd]).await;
    for at in 2..5 {
        cut(at, ["400 the body declares 128 bytes when decompressed, which ", zstd]).await;
    }
    for at in [6, 9, 20, whole[0].len().min(whole[1].len()) - 1] {
        cut(at, [snappy, zstd]).await;
    }
    target.world.stop().await;
}

#[tokio::test]
async fn bombs() {
    let target = Target::start().await;
    let published = [
        &[0x97, 0xea, 0xb4, 0x89, 0x0a, 0x17, 0x0a, 0x08][..],
        b"__name__\x12\x0btest_metric\x12\x10\x09\0\0\0\0\0\0\xf0\x3f\x10\xd4\x8f\xc9\xb2\xa3\x33",
    ]
    .concat();
    let limit = "bytes when decompressed; the limit is 33554432 (limits.body): send smaller blocks or raise it";
    target.refused(SNAPPY, published, &format!("400 the body declares 2704094487 {limit}")).await;
    let zeros = vec![0; 100 * MIB];
    target.refused(SNAPPY, snappy(&zeros), &format!("400 the body declares 104857600 {limit}")).await;
    let over = "400 the body has more than 33554432 bytes when decompressed (limits.body)";
    target.refused(ZSTD, zstd(&zeros), over).await;
    target.refused(SNAPPY, zstd(&zeros), over).await;
    target.world.stop().await;
}

/// Whatever comes on a connection until it is closed.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is a close.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn bodies_that_are_too_large_or_never_end() {
    let target = Target::start().await;
    let connect = async || TcpStream::connect(target.world.address).await.unwrap();
    let head = |line: &str| format!("POST /api/v1/write HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
    let before = target.world.metrics().await;
    let check = |answer: &str| {
        let expected = "the body is larger than 33554432 bytes; send smaller blocks, or raise `limits.body`";
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains(expected), "{answer}");
    };

    // Nothing of the body is sent: the answer comes at once.
    let mut declared = connect().await;
    declared.write_all(head("Content-Length: 104857600").as_bytes()).await.unwrap();
    check(&answer(&mut declared).await);
    let mut beyond = connect().await;
    beyond.write_all(head("Content-Length: 18446744073709551000").as_bytes()).await.unwrap();
    check(&answer(&mut beyond).await);

    let chunk = [&format!("{MIB:x}\r\n").into_bytes()[..], &vec![0; MIB], b"\r\n"].concat();
    let mut chunked = connect().await;
    chunked.write_all(head("Transfer-Encoding: chunked").as_bytes()).await.unwrap();
    let mut n_sent = 0;
    // The service answers and closes once the limit is passed; a write that fails then is part of it.
    while n_sent < 100 && chunked.write_all(&chunk).await.is_ok() {
        n_sent += 1;
    }
    check(&answer(&mut chunked).await);
    assert!((32..100).contains(&n_sent), "{n_sent} MiB were read");

    // Half a body, and the sender is gone.
    let body = snappy(&message(vec![target.good()]));
    let mut gone = connect().await;
    gone.write_all(head(&format!("Content-Length: {}", body.len())).as_bytes()).await.unwrap();
    gone.write_all(&body[..body.len() / 2]).await.unwrap();
    gone.shutdown().await.unwrap();
    assert!(!answer(&mut gone).await.starts_with("HTTP/1.1 2"));

    assert_eq!(pages::fates(&before, &target.world.metrics().await), "");
    target.works().await;
    target.world.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_write_request() {
    let target = Target::start().await;
    let not_protobuf = "400 the decompressed body is not a prometheus.WriteRequest: ";
    let check = async |message: &[u8], problem: &str| {
        let expected = format!("{not_protobuf}{problem}; send remote write 1.0");
        target.refused(SNAPPY, snappy(message), &expected).await;
        target.refused(ZSTD, zstd(message), &expected).await;
    };
    let good = message(vec![target.good()]);
    for cut in [1, 2, 3, good.len() / 2, good.len() - 1] {
        check(&good[..cut], "a field reaches beyond its message, in the field at byte 0").await;
    }
    check(
        &[&good[..], b"\x0a"].concat(),
        &format!("a field reaches beyond its message, in the field at byte {}", good.len()),
    )
    .await;
    check(b"hello, world", "a field has an unsupported wire type, in the field at byte 2").await;
    check(&[0x08, 1], "a field has the wrong wire type, in the field at byte 0").await;
    check(&[0x00, 1], "a field number is out of range, in the field at byte 0").await;
    check(&[0xff; 12], "a varint has more than 64 bits, in the field at byte 0").await;

    let mut state = 1_u64;
    let mut random = |n: usize| -> Vec<u8> {
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..n).map(|_| byte()).collect()
    };
    for n in (50..1_000).step_by(50) {
        target.refused(SNAPPY, random(n), "400 ").await;
        target
            .refused(
                ZSTD,
                [&[0x28, 0xb5, 0x2f, 0xfd][..], &random(n)].concat(),
                "400 cannot decompress the body as zstd (",
            )
            .await;
        target.refused(SNAPPY, snappy(&random(n)), not_protobuf).await;
    }
    target.world.stop().await;
}

#[tokio::test]
async fn bodies_with_nothing_to_apply() {
    let target = Target::start().await;
    target.taken(SNAPPY, Vec::new(), "").await;
    target.taken(ZSTD, Vec::new(), "").await;
    target.taken(&[], Vec::new(), "").await;
    target.taken(SNAPPY, snappy(&[]), "").await;
    target.taken(ZSTD, zstd(&[]), "").await;
    target.taken(SNAPPY, snappy(&message(vec![series(&[NAME, HOST], &[])])), "").await;
    let metadata = WriteRequest { timeseries: Vec::new(), metadata: vec![MetricMetadata::default(); 3] };
    target.taken(SNAPPY, snappy(&metadata.encode_to_vec()), "metadata_skipped 3").await;
    let label = Label { name: "trace".to_owned(), value: "1".to_owned() };
    let exemplar = Exemplar { labels: vec![label], value: 1.0, timestamp: 1 };
    let with_exemplar = TimeSeries { exemplars: vec![exemplar], ..target.good() };
    let expected = "samples_received 1, samples_kept 1, exemplars_skipped 1";
    target.taken(SNAPPY, snappy(&message(vec![with_exemplar])), expected).await;
    target.labels(&[("__name__", "node_boot_time_seconds"), HOST], "samples_received 1, samples_ignored 1").await;
    target.world.stop().await;
}

#[tokio::test]
async fn labels_that_are_not_valid() {
    let target = Target::start().await;
    let skipped = |reason: &str| format!("samples_received 1, series_invalid {reason} 1");
    target.labels(&[HOST], &skipped("no_name")).await;
    target.labels(&[("__name__", ""), HOST], &skipped("no_name")).await;
    target.labels(&[], &skipped("no_name")).await;
    target.labels(&[NAME], &skipped("no_identity")).await;
    target.labels(&[NAME, ("instance", "")], &skipped("no_identity")).await;
    target.labels(&[NAME, HOST, ("", "x")], &skipped("empty_label_name")).await;
    target.labels(&[NAME, HOST, (&"n".repeat(257), "x")], &skipped("label_too_long")).await;
    target.labels(&[NAME, HOST, ("x", &"v".repeat(4_097))], &skipped("label_too_long")).await;
    target.labels(&[NAME, ("instance", &"v".repeat(4_097))], &skipped("label_too_long")).await;
    let names: Vec<String> = (0..63).map(|i| format!("l{i}")).collect();
    let many: Vec<(&str, &str)> = [NAME, HOST].into_iter().chain(names.iter().map(|n| (n.as_str(), "x"))).collect();
    target.labels(&many, &skipped("too_many_labels")).await;

    let kept = "samples_received 1, samples_kept 1";
    target.labels(&many[..64], kept).await;
    target.labels(&[NAME, HOST, (&"n".repeat(256), &"v".repeat(4_096))], kept).await;
    let duplicate = format!("{kept}, samples_dropped invalid_labels 1, series_invalid duplicate_label 1");
    target.labels(&[NAME, HOST, ("x", "1"), ("x", "2")], &duplicate).await;
    target.labels(&[NAME, HOST, ("x", "1"), ("x", "1")], &duplicate).await;
    target.labels(&[NAME, HOST, ("instance", "b:9100")], &duplicate).await;
    target.labels(&[NAME, ("__name__", "node_load5"), HOST], &duplicate).await;
    // Of a host that is new too.
    target.labels(&[NAME, ("instance", "new:9100"), ("x", "1"), ("x", "2")], &duplicate).await;
    target.labels(&[NAME, ("instance", "new:9100"), ("instance", "b:9100")], &duplicate).await;
    // Names that are nobody's are no concern.
    target
        .labels(&[("__name__", "other"), ("x", "1"), ("x", "2"), ("", "")], "samples_received 1, samples_ignored 1")
        .await;

    // A label with an empty value is none: the same series, hence the same sample twice.
    let mut twice = vec![target.one(&[NAME, HOST]), series(&[NAME, HOST, ("device", "")], &[])];
    twice[1].samples = twice[0].samples.clone();
    let expected = "samples_received 2, samples_kept 2, samples_duplicate 1";
    target.taken(SNAPPY, snappy(&message(twice)), expected).await;

    let mut not_utf8 = message(vec![target.one(&[NAME, HOST, ("x", "QQ")])]);
    let at = not_utf8.windows(2).position(|pair| pair == b"QQ").unwrap();
    not_utf8[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
    let expected = format!("{kept}, samples_dropped invalid_labels 1, series_invalid invalid_utf8 1");
    target.taken(SNAPPY, snappy(&not_utf8), &expected).await;
    let mut host_not_utf8 = message(vec![target.one(&[NAME, ("instance", "QQ")])]);
    let at = host_not_utf8.windows(2).position(|pair| pair == b"QQ").unwrap();
    host_not_utf8[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
    target.taken(SNAPPY, snappy(&host_not_utf8), &skipped("invalid_utf8")).await;

    // The good series of a body stay.
    let mixed = vec![target.good(), target.one(&[NAME]), target.good()];
    let expected = "samples_received 3, samples_kept 2, series_invalid no_identity 1";
    target.taken(ZSTD, zstd(&message(mixed)), expected).await;
    let hosts: serde_json::Value = serde_json::from_str(&target.world.get("/api/v1/hosts").await).unwrap();
    assert_eq!(hosts["data"]["total"], 1, "a refused series makes no host: {hosts}");
    target.world.stop().await;
}

#[tokio::test]
async fn samples_of_any_time_and_value() {
    let target = Target::start().await;
    let check = async |samples: &[(i64, f64)], expected: &str| {
        target.taken(SNAPPY, snappy(&message(vec![series(&[NAME, HOST], samples)])), expected).await;
    };
    let now_ms = Clock::System.now_ms();
    let days = |n: i64| n * 24 * 60 * MINUTE_MS;
    check(&[(i64::MAX, 1.0), (now_ms + days(1), 1.0)], "samples_received 2, samples_rejected future 2").await;
    check(&[(now_ms + 20 * MINUTE_MS, 1.0)], "samples_received 1, samples_rejected future 1").await;
    let old = [(i64::MIN, 1.0), (-1, 1.0), (0, 1.0), (now_ms - days(8), 1.0)];
    check(&old, "samples_received 4, samples_rejected too_old 4").await;
    check(
        &[(i64::MAX, f64::NAN), (i64::MIN, f64::INFINITY)],
        "samples_received 2, samples_rejected future 1, samples_rejected too_old 1",
    )
    .await;
    let several: Vec<(i64, f64)> = (0..5).map(|_| (target.next_ms(), 1.0)).collect();
    check(&several, "samples_received 5, samples_kept 5").await;
    check(&several, "samples_received 5, samples_kept 5, samples_duplicate 5").await;
    check(
        &[several[0], (i64::MAX, 1.0)],
        "samples_received 2, samples_kept 1, samples_rejected future 1, samples_duplicate 1",
    )
    .await;
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -0.0, f64::from_bits(STALE_NAN_BITS)] {
        check(&[(target.next_ms(), value)], "samples_received 1, samples_kept 1").await;
    }
    pages::assert_finite(&target.world.metrics().await);
    target.world.stop().await;
}
