//! The status table, the JSON and the text of every route; sockets where warp's own test client can't go.

use std::io::Read as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use warp::test::RequestBuilder;

use super::*;
use crate::config::Config;
use crate::config::silence::hosts::HostLabels;
use crate::decode::{self, Wanted};
use crate::engine::row::{AlertEligibility, HostId, HostStatus, Missing, MissingReason, NotScored};
use crate::results::silences::Store;
use crate::results::{FeatureInfo, ResultSchema, ScoredRow, Verdict};
use crate::series::Labels;
use crate::serve::ingest::Intake;
use crate::serve::shard::Shards;

const NOW_MS: i64 = 1_700_000_000_000;
const MINUTE_MS: i64 = 60_000;
const PROTOBUF: &str = "application/x-protobuf";

fn results() -> Arc<Results> {
    let feature = |name: &str| FeatureInfo {
        name: name.into(),
        expr: format!("{name}_x"),
        unit: "ratio".into(),
        help: String::new(),
    };
    Arc::new(Results::new(Arc::new(ResultSchema {
        features: ["cpu", "mem", "disk"].map(feature).into(),
        selectors: Vec::new(),
        scored: vec![2, 0],
        model_alias: "m".into(),
        bundle: 0,
        shadow: None,
        window: 2,
        step_ms: MINUTE_MS,
        min_history_ms: 3 * MINUTE_MS,
        stale_after_ms: 5 * MINUTE_MS,
        max_lag_ms: 15 * 60_000,
    })))
}

/// Host `name` with two rows, the second flagged where `score` is over 1.
fn add(results: &Results, name: &str, score: f64) {
    let host =
        Arc::new(HostId { name: name.into(), labels: Labels::from_pairs([("instance", name), ("job", "node")]) });
    let status = HostStatus {
        step_ms: 60_000,
        interval_ms: Some(60_000),
        twin_labels: None,
        senders: None,
        host: Arc::clone(&host),
        last_sample_ms: NOW_MS,
        up: None,
        window_rows: 2,
        history_ms: 3 * MINUTE_MS,
        missing: [Missing { feature: 1, why: MissingReason::NoValue }].into(),
        not_applicable: [Missing { feature: 2, why: MissingReason::NoValue }].into(),
        not_scored: None,
        silenced: None,
    };
    results.record_status(&status, NOW_MS);
    for t_ms in [NOW_MS - 2 * MINUTE_MS, NOW_MS - MINUTE_MS] {
        let verdict = Verdict {
            mse: score,
            limit: 1.0,
            score,
            flag: (t_ms == NOW_MS - MINUTE_MS).then_some(score > 1.0),
            flagged_since_ms: None,
            expected: [0.5, 0.25].into(),
            contributions: [0.25, 0.75].into(),
        };
        let values = [0.75, f64::NAN, 0.5].into();
        let is_first = t_ms < NOW_MS - MINUTE_MS;
        let eligibility = if is_first { AlertEligibility::Young } else { AlertEligibility::Full };
        results.record_row(
            ScoredRow { host: Arc::clone(&host), t_ms, values, eligibility, verdict: Some(verdict), shadow: None },
            2,
        );
    }
}

fn deps_with<F>(write: F) -> Deps<F> {
    let limits = Limits { body_bytes: 1_000, concurrent_requests: 1, queue_wait_ms: 10_000, ..Limits::default() };
    let (registry, ready) = (prometheus::Registry::new(), Arc::new(AtomicBool::new(true)));
    let silences = Silences::new(
        Store::open(None, Vec::new(), HostLabels::new("instance", &["job".to_owned()]), 3),
        Shards::default(),
    );
    let bounds = crate::results::events::Bounds { merge_ms: 0, events: 10, log_bytes: 0 };
    let events = Arc::new(Events::new(&bounds, &registry).unwrap());
    let bounds = crate::results::feedback::Bounds { step: 1.5, min: 0.5, max: 3.0, opinions: 10 };
    let feedback = Arc::new(Feedback::open(None, bounds, &registry).unwrap());
    let metrics = Metrics::default();
    let (results, clock, reload) = (results(), Clock::Simulated(Arc::new(NOW_MS.into())), None);
    let wanted = Wanted::new(["up", "cpu_x"], "instance", 1, &limits).unwrap();
    let intake = Intake { wanted, bounds: Config::default().ingest };
    let decode_metrics = Arc::new(decode::Metrics::new(&registry).unwrap());
    let ingest = Arc::new(Ingest::new(intake, Shards::default(), decode_metrics, clock.clone()));
    Deps { results, events, feedback, ingest, silences, registry, ready, clock, write, limits, metrics, reload }
}

/// Takes everything, except bodies that name an error.
async fn take(body: Bytes, encoding: Encoding) -> Result<(), WriteError> {
    match body.as_ref() {
        b"bad" => Err(WriteError::Bad(format!("line one\nof a {encoding:?} body"))),
        b"long" => Err(WriteError::Bad("ü".repeat(1_000))),
        b"overloaded" => Err(WriteError::Overloaded { retry_after_s: 7 }),
        b"stopping" => Err(WriteError::Stopping),
        b"for ever" => std::future::pending().await,
        _ => Ok(()),
    }
}

fn service() -> Routes {
    routes(deps_with(take)).unwrap()
}

fn request(method: &str, path: &str) -> RequestBuilder {
    warp::test::request().method(method).path(path)
}

/// `POST /api/v1/write` as vmagent does it.
fn post(body: &[u8]) -> RequestBuilder {
    request("POST", "/api/v1/write").header("content-type", PROTOBUF).header("content-encoding", "zstd").body(body)
}

/// Sends `request` and compares `status body`, the body without its newline.
async fn check(routes: &Routes, request: RequestBuilder, expected: &str) {
    let response = request.reply(routes).await;
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    let rendered = format!("{} {}", response.status().as_u16(), body.trim_end_matches('\n'));
    assert_eq!(rendered.trim_end(), expected);
}

#[tokio::test]
async fn paths_and_methods() {
    let s = service();
    for path in ["/api/v1/write", "/receive", "/insert/0/prometheus/api/v1/write", "//api//v1/write"] {
        check(&s, request("POST", path).body("x"), "204").await;
        check(&s, request("GET", path), "405 method not allowed; use POST").await;
        check(&s, request("GET", &format!("{path}?get_vm_proto_version=1")), "200 1").await;
        check(&s, request("POST", &format!("{path}?get_vm_proto_version=1")), "200 1").await;
    }
    check(&s, request("GET", "/-/healthy"), "200 outlierd is healthy").await;
    check(&s, request("GET", "/-/ready"), "200 outlierd is ready").await;
    check(&s, request("POST", "/-/ready"), "405 method not allowed; use GET, HEAD").await;
    check(&s, request("DELETE", "/api/v1/hosts"), "405 method not allowed; use GET, HEAD").await;
    check(&s, request("GET", "/favicon.ico"), "404 /favicon.ico is not here; / lists what is").await;
    check(&s, request("GET", "/api/v1/write/x"), "404 /api/v1/write/x is not here; / lists what is").await;
    let index = request("GET", "/").reply(&s).await;
    assert_eq!(
        (index.status().as_u16(), index.headers()["content-type"].as_bytes()),
        (200, &b"text/html; charset=utf-8"[..])
    );
    assert_eq!(request("PUT", "/write").reply(&s).await.headers()["allow"], "POST");
    assert_eq!(request("HEAD", "/-/ready").reply(&s).await.status().as_u16(), 200);
}

#[tokio::test]
async fn not_ready() {
    let deps = deps_with(take);
    deps.ready.store(false, Ordering::Relaxed);
    let s = routes(deps).unwrap();
    check(&s, request("GET", "/-/ready"), "503 outlierd is not ready: it is starting or stopping").await;
    check(&s, request("GET", "/-/healthy"), "200 outlierd is healthy").await;
}

#[tokio::test]
async fn negotiation() {
    let s = service();
    let typed = |value: &str| request("POST", "/write").header("content-type", value).body("x");
    let encoded = |value: &str| request("POST", "/write").header("content-encoding", value).body("bad");
    check(&s, request("POST", "/write").body("x"), "204").await;
    check(&s, typed(PROTOBUF), "204").await;
    check(&s, typed("Application/X-Protobuf ; Proto=prometheus.WriteRequest"), "204").await;
    check(&s, typed("application/x-protobuf;charset=utf-8;proto=\"prometheus.WriteRequest\""), "204").await;
    let v2 = "415 remote write 2.0 is not taken yet; send prometheus.WriteRequest (remote write 1.0)";
    check(&s, typed("application/x-protobuf;proto=io.prometheus.write.v2.Request"), v2).await;
    check(
        &s,
        typed("application/x-protobuf;proto=a.B"),
        "415 the message a.B is not known; send prometheus.WriteRequest",
    )
    .await;
    check(&s, typed("application/json"), "415 Content-Type must be application/x-protobuf, not application/json").await;
    check(&s, request("POST", "/write").body("bad"), "400 line one of a Snappy body").await;
    check(&s, encoded("snappy"), "400 line one of a Snappy body").await;
    check(&s, encoded("ZSTD"), "400 line one of a Zstd body").await;
    check(&s, encoded("gzip"), "415 Content-Encoding must be snappy or zstd, not gzip").await;
    check(&s, encoded("identity"), "415 Content-Encoding must be snappy or zstd, not identity").await;
}

#[tokio::test]
async fn bodies_and_errors() {
    let s = service();
    let large =
        "400 the body is larger than 1000 bytes; send smaller blocks, or raise `limits.body` in the configuration";
    check(&s, post(b""), "204").await;
    check(&s, post(&[7; 1_000]), "204").await;
    check(&s, post(&[7; 1_001]), large).await;
    check(&s, post(b"x").header("content-length", "1001"), large).await;
    check(&s, post(b"overloaded"), "429 too many samples at once; nothing was applied, send it again later").await;
    check(&s, post(b"stopping"), "503 shutting down; nothing was applied, send it again later").await;
    assert_eq!(post(b"overloaded").reply(&s).await.headers()["retry-after"], "7");
    assert_eq!(post(b"stopping").reply(&s).await.headers()["retry-after"], "5");
    assert!(post(b"long").reply(&s).await.body().len() <= 1_024);
    let written = post(b"x").reply(&s).await;
    assert!(written.headers().keys().all(|name| !name.as_str().starts_with("x-prometheus")));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_place_is_answered_429() {
    let s = service();
    let first = tokio::spawn({
        let s = s.clone();
        async move { post(b"for ever").reply(&s).await }
    });
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    let response = post(b"x").reply(&s).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (429, &b"5"[..]));
    assert_eq!(start.elapsed().as_secs(), 10);
    check(&s, post(b""), "204").await;
    first.abort();
    let _ = first.await;
    check(&s, post(b"x"), "204").await;
}

/// A body whose pieces come when they are sent.
struct Slow(tokio::sync::mpsc::Receiver<&'static [u8]>);

impl warp::Stream for Slow {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Bytes::from_static(bytes))))
    }
}

#[tokio::test(start_paused = true)]
async fn slow_bodies() {
    use body::BodyError::TooSlow;
    // Nothing at all: a minute.
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let mut slow = std::pin::pin!(Slow(receiver));
    let start = tokio::time::Instant::now();
    assert_eq!(body::first(&mut slow).await, Err(TooSlow));
    assert_eq!(start.elapsed().as_secs(), 60);
    // A stall in the middle: ten seconds.
    sender.send(b"ab").await.unwrap();
    let first = body::first(&mut slow).await.unwrap().unwrap();
    assert_eq!(body::read_capped(first, &mut slow, None, 100).await, Err(TooSlow));
    assert_eq!(start.elapsed().as_secs(), 70);
    // A byte every nine seconds: a minute. Chunked, so nothing was declared.
    tokio::spawn(async move {
        let nine_seconds = Duration::from_secs(9);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + nine_seconds, nine_seconds);
        for _ in 0..20 {
            ticks.tick().await;
            sender.send(b"c").await.unwrap();
        }
    });
    assert_eq!(body::read_capped(Bytes::new(), &mut slow, None, 100).await, Err(TooSlow));
    assert_eq!(start.elapsed().as_secs(), 130);
    // More than it may be.
    assert_eq!(body::read_capped(Bytes::new(), &mut slow, Some(3), 3).await, Err(body::BodyError::TooLarge(3)));
}

#[tokio::test]
async fn the_metrics_page() {
    let deps = deps_with(take);
    add(&deps.results, "a", 2.0);
    let s = routes(deps).unwrap();
    check(&s, post(b"abc"), "204").await;
    let response = request("GET", "/metrics").reply(&s).await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(!response.headers().contains_key("content-encoding"));
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    for line in [
        "outlierd_http_requests_total{code=\"204\",handler=\"write\"} 1",
        "outlierd_write_body_bytes_total 3",
        "outlierd_http_requests_in_flight{handler=\"metrics\"} 1",
        "outlierd_host_anomaly{instance=\"a\",job=\"node\",model=\"m\"} 1",
        "outlierd_result_series_omitted_total{reason=\"compact\"} 0",
        "outlierd_results_compact 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_metrics_page_as_asked_for() {
    let mut deps = deps_with(take);
    add(&deps.results, "a", 2.0);
    deps.metrics.max_series = 2;
    let s = routes(deps).unwrap();
    for scrape in 1..=2 {
        let response = request("GET", "/metrics")
            .header("accept", "application/openmetrics-text")
            .header("accept-encoding", "gzip")
            .reply(&s)
            .await;
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(
            [header("content-type"), header("content-encoding"), header("vary")],
            ["application/openmetrics-text; version=1.0.0; charset=utf-8", "gzip", "accept, accept-encoding"]
        );
        let mut text = String::new();
        flate2::read::GzDecoder::new(response.body().as_ref()).read_to_string(&mut text).unwrap();
        for line in [
            "# TYPE outlierd_result_series_omitted counter".to_owned(),
            format!("outlierd_result_series_omitted_total{{reason=\"compact\"}} {}", scrape * 10),
            format!("outlierd_result_series_omitted_total{{reason=\"max_series\"}} {scrape}"),
            "outlierd_results_compact 1".to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    }
    let wrong =
        request("GET", "/metrics").header("accept", "image/png;q=what").header("accept-encoding", "br").reply(&s).await;
    assert_eq!(
        (wrong.status().as_u16(), wrong.headers()["content-type"].as_bytes()),
        (200, &b"text/plain; version=0.0.4; charset=utf-8"[..])
    );
    assert_eq!(request("HEAD", "/metrics").reply(&s).await.status().as_u16(), 200);
    check(&s, request("POST", "/metrics"), "405 method not allowed; use GET, HEAD").await;
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

async fn get(routes: &Routes, path: &str) -> serde_json::Value {
    json(std::str::from_utf8(request("GET", path).reply(routes).await.body()).unwrap())
}

#[tokio::test]
async fn the_list_of_hosts() {
    let deps = deps_with(take);
    for (name, score) in [("web-2:9100", 0.5), ("db-1:9100", 3.0), ("web-1:9100", 2.0)] {
        add(&deps.results, name, score);
    }
    let (view, _) = deps.results.table().host("web-2:9100").unwrap();
    let status =
        HostStatus { window_rows: 1, not_scored: Some(NotScored::TooFewRows), ..HostStatus::clone(&view.status) };
    deps.results.record_status(&status, NOW_MS);
    let s = routes(deps).unwrap();
    let all = get(&s, "/api/v1/hosts").await;
    assert_eq!((&all["status"], &all["data"]["total"]), (&json("\"success\""), &json("3")));
    assert_eq!(
        all["data"]["hosts"][0],
        json(
            r#"{"host":"db-1:9100","labels":{"instance":"db-1:9100","job":"node"},"state":"anomalous","reason":"","flag":true,
            "mse":3.0,"score":3.0,"threshold":1.0,"last_sample_ms":1700000000000,"window_rows":2}"#
        )
    );
    let warming = &all["data"]["hosts"][2];
    assert_eq!(
        (&warming["reason"], &warming["flag"], &warming["score"]),
        (&json("\"1 of 2 rows\""), &json("null"), &json("null"))
    );
    let names = async |query: &str| -> String {
        let page = get(&s, &format!("/api/v1/hosts?{query}")).await;
        let hosts = page["data"]["hosts"].as_array().unwrap();
        let names: Vec<&str> = hosts.iter().map(|h| h["host"].as_str().unwrap().split(':').next().unwrap()).collect();
        format!("{} {}", page["data"]["total"], names.join(" "))
    };
    assert_eq!(names("sort=name").await, "3 db-1 web-1 web-2");
    assert_eq!(names("sort=score").await, "3 db-1 web-1 web-2");
    assert_eq!(names("sort=state&limit=1&offset=2").await, "3 web-2");
    assert_eq!(names("sort=last_sample&offset=9").await, "3 ");
    assert_eq!(names("search=WEB").await, "2 web-1 web-2");
    assert_eq!(names("search=%3A9100&state=warming,stale").await, "1 web-2");
    assert_eq!(names("state=").await, "3 db-1 web-1 web-2");
}

#[tokio::test]
async fn queries_that_make_no_sense() {
    let s = service();
    let bad = async |query: &str, error: &str| {
        let request = request("GET", &format!("/api/v1/hosts?{query}"));
        check(&s, request, &format!(r#"400 {{"status":"error","errorType":"bad_data","error":"{error}"}}"#)).await;
    };
    bad("limit=-1", r#"limit must be a whole number up to 10000, not \"-1\""#).await;
    bad("limit=10001", r#"limit must be a whole number up to 10000, not \"10001\""#).await;
    bad("sort=age", r#"cannot sort by \"age\"; use name, score, state or last_sample"#).await;
    bad("state=good", r#"unknown state \"good\"; states are warming, ok, anomalous, partial, stale, down"#).await;
    bad("page=2", r#"unknown parameter \"page\"; known are state, search, sort, limit and offset"#).await;
}

#[tokio::test]
async fn one_host() {
    let deps = deps_with(take);
    add(&deps.results, "a/ü:1", 2.0);
    let s = routes(deps).unwrap();
    let expected = json(
        r#"{"status":"success","data":{"host":"a/ü:1","labels":{"instance":"a/ü:1","job":"node"},"state":"anomalous",
        "reason":"","flag":true,"mse":2.0,"score":2.0,"threshold":1.0,"last_sample_ms":1700000000000,"window_rows":2,
        "model":"m","step_ms":60000,"interval_ms":60000,"senders":[],"advice":[],
        "features":[{"name":"cpu","expr":"cpu_x","unit":"ratio","help":""},{"name":"mem","expr":"mem_x","unit":"ratio","help":""},
                    {"name":"disk","expr":"disk_x","unit":"ratio","help":""}],
        "rows":[{"t_ms":1699999880000,"values":[0.75,null,0.5],"expected":[0.25,null,0.5],"mse":2.0,"score":2.0,"flag":null},
                {"t_ms":1699999940000,"values":[0.75,null,0.5],"expected":[0.25,null,0.5],"mse":2.0,"score":2.0,"flag":true}],
        "contributions":[{"feature":"cpu","share":0.75,"actual":0.75,"expected":0.25},
                         {"feature":"disk","share":0.25,"actual":0.5,"expected":0.5}],
        "missing":[{"feature":"mem","reason":"its series are there, but the expression gives nothing of them in the newest row: a rate waits for a second sample, and nothing comes of a division by zero or a comparison that doesn't hold"}],
        "not_applicable":[{"feature":"disk","reason":"its series are there, but the expression gives nothing of them in the newest row: a rate waits for a second sample, and nothing comes of a division by zero or a comparison that doesn't hold"}],
        "events":[]}}"#,
    );
    assert_eq!(get(&s, "/api/v1/hosts/a%2F%C3%BC%3a1").await, expected);
    let absent = r#"404 {"status":"error","errorType":"not_found","error":"there is no host \"b\"; /api/v1/hosts?search= finds names"}"#;
    check(&s, request("GET", "/api/v1/hosts/b"), absent).await;
    let broken =
        r#"400 {"status":"error","errorType":"bad_data","error":"the name of the host is not percent-encoded UTF-8"}"#;
    check(&s, request("GET", "/api/v1/hosts/%ff"), broken).await;
    check(&s, request("GET", "/api/v1/hosts/%4"), broken).await;
}

/// A served socket: its address, what stops it, and its task.
async fn served(
    connections: usize,
) -> (std::net::SocketAddr, tokio::sync::oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let shutdown = async move { stopped.await.unwrap_or(()) };
    let task = tokio::spawn(serve(listener, service(), connections, shutdown, 50));
    (address, stop, task)
}

/// Reads until the head of an answer is there and returns its first line.
async fn status_line(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap().lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_large_content_length_is_refused_before_the_body() {
    let (address, _stop, _task) = served(10).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n").await.unwrap();
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn chunked_bodies_are_counted_while_they_are_read() {
    let (address, _stop, _task) = served(10).await;
    let head = b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head).await.unwrap();
    stream.write_all(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 204 No Content");
    let large = format!("c8\r\n{}\r\n", "x".repeat(200)).repeat(6);
    stream.write_all(&[head, large.as_bytes()].concat()).await.unwrap();
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn connections_stay_open_and_have_a_limit() {
    let (address, stop, task) = served(1).await;
    let ask = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        first.write_all(ask).await.unwrap();
        assert_eq!(status_line(&mut first).await, "HTTP/1.1 200 OK");
    }
    // The kernel accepts the second one; we do when the first is gone.
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(ask).await.unwrap();
    drop(first);
    assert_eq!(status_line(&mut second).await, "HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    task.await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0, "idle connections are closed at the end");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_drain_has_a_deadline() {
    let (address, stop, task) = served(10).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nfor ever").await.unwrap();
    let mut other = TcpStream::connect(address).await.unwrap();
    other.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(status_line(&mut other).await, "HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    task.await.unwrap();
    let mut rest = [0; 1];
    let end = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut rest)).await;
    assert_eq!(end.expect("what did not end is cut off").unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_two_minutes() {
    let (address, _stop, _task) = served(10).await;
    let start = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!((119..=121).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn silences() {
    let routes = routes(deps_with(take)).unwrap();
    let ask = async |method: &str, path: &str, content_type: &str, body: &str| {
        let request = warp::test::request().method(method).path(path).header("content-type", content_type).body(body);
        let response = request.reply(&routes).await;
        (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
    };
    let check = async |method: &str, path: &str, body: &str, status: u16, expected: &str| {
        let (found, text) = ask(method, path, "application/json; charset=utf-8", body).await;
        assert!(found == status && text.contains(expected), "{method} {path} {body}: {found} {text}");
    };
    const ALL: &str = "/api/v1/silences";
    check("GET", ALL, "", 200, r#"{"silences":[],"maintenance":[]}"#).await;
    for (body, expected) in [
        ("", "send a JSON object such as"),
        ("[]", "send a JSON object such as"),
        (r#"{"match": "{}"}"#, "give either `ends_at` or `duration`"),
        (r#"{"match": "{}", "duration": "2h", "ends_at": 1}"#, "give either `ends_at` or `duration`"),
        (r#"{"match": "{}", "duration": "2"}"#, "`duration` must be a duration such as 2h, not `2`"),
        (r#"{"match": "{}", "durration": "2h"}"#, "unknown field `durration`"),
        (r#"{"match": "up", "duration": "2h"}"#, "`match`: `up` is more than the labels of a host"),
        (r#"{"match": "{env!=\"prod\"}", "duration": "2h"}"#, "`match`: hosts carry no label `env`"),
        (r#"{"match": "{}", "ends_at": "tomorrow"}"#, "`ends_at` must be a time such as 2026-11-23T02:00:00Z"),
        (r#"{"match": "{}", "ends_at": 1700007200000}"#, "`ends_at` must be a time"),
        (r#"{"match": "{}", "ends_at": 1600000000}"#, "is over already"),
    ] {
        check("POST", ALL, body, 400, expected).await;
    }
    let whole =
        r#"{"match": "{job=\"node\"}", "starts_at": "2023-11-14T22:13:20Z", "ends_at": 1700003600.5, "comment": "c"}"#;
    check(
        "POST",
        ALL,
        whole,
        200,
        r#""starts_ms":1700000000000,"ends_ms":1700003600500,"comment":"c","created_by":"""#,
    )
    .await;
    check("POST", ALL, r#"{"match": "{}", "duration": "30m", "created_by": "ada"}"#, 200, r#""ends_ms":1700001800000"#)
        .await;
    let (_, text) = ask("GET", ALL, "", "").await;
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    let id = list["data"]["silences"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(list["data"]["silences"][0]["created_by"], "ada");
    check("GET", &format!("{ALL}/{id}"), "", 200, &id).await;
    check("DELETE", &format!("{ALL}/{id}"), "", 200, &id).await;
    check("DELETE", &format!("{ALL}/{id}"), "", 404, "/api/v1/silences lists them").await;
    for _ in 0..2 {
        check("POST", ALL, r#"{"match": "{}", "duration": "30m"}"#, 200, "silence-").await;
    }
    check("POST", ALL, r#"{"match": "{}", "duration": "30m"}"#, 400, "there are 3 silences").await;
    check("PUT", ALL, "", 405, "use GET, HEAD, POST").await;
    check("POST", &format!("{ALL}/{id}"), "{}", 405, "use GET, HEAD, DELETE").await;
    assert_eq!(ask("POST", ALL, "text/plain", "{}").await.0, 415);
    let (status, text) = ask("POST", ALL, "application/json", &" ".repeat(70_000)).await;
    assert!(status == 400 && text.contains("larger than 65536 bytes"), "{text}");
}

#[tokio::test]
async fn queries_for_events() {
    let s = service();
    let check_query = async |query: &str, expected: &str| {
        check(&s, request("GET", &format!("/api/v1/events?{query}")), expected).await;
    };
    let none = r#"200 {"status":"success","data":{"total":0,"events":[]}}"#;
    check_query("", none).await;
    check_query("host=a&state=open&since=24h&until=1700000000000&limit=10000&offset=3", none).await;
    check_query("since=1700000000.5&until=2023-11-14T22:13:20Z", none).await;
    let bad = async |query: &str, error: &str| {
        let expected = format!(r#"400 {{"status":"error","errorType":"bad_data","error":"{error}"}}"#);
        check_query(query, &expected).await;
    };
    bad("state=anomalous", r#"unknown state \"anomalous\"; an event is open or closed"#).await;
    let time = "must be a time such as 2026-11-23T02:00:00Z, Unix seconds, or how long ago, such as 24h, not";
    bad("since=yesterday", &format!(r#"since {time} \"yesterday\""#)).await;
    bad("until=", &format!(r#"until {time} \"\""#)).await;
    bad("limit=10001", r#"limit must be a whole number up to 10000, not \"10001\""#).await;
    bad("hosts=a", r#"unknown parameter \"hosts\"; known are host, state, since, until, limit and offset"#).await;
    check(&s, request("POST", "/api/v1/events"), "405 method not allowed; use GET, HEAD").await;
}
