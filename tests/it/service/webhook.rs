//! Alerts: a real Alertmanager has them while the event is open and no longer; a receiver in trouble costs nothing else.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::node::{CONFIG, FEATURES, HOUR, Node};
use super::reload::Reloading;
use super::{World, pages};
use crate::servers::{Program, Server};

/// How long a test waits for what must come before it says that it doesn't.
const PATIENCE: Duration = Duration::from_secs(60);

fn jumping() -> Node {
    Node { jumps_at: 80, ..Node::calm("a:9100") }
}

async fn world(url: &str, more: &str) -> World {
    World::start(&format!("{CONFIG}\nwebhook: {{url: '{url}', {more}}}"), &FEATURES).await
}

/// What `look` gives once it is something.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

/// A counter of the webhook.
async fn counter(world: &World, name: &str, label: &str) -> f64 {
    pages::value(&world.metrics().await, &format!("outlierd_webhook_{name}"), label).unwrap_or_default()
}

/// The alerts that Alertmanager has once there are `n`.
async fn alerts(server: &Server, n: usize) -> Vec<Value> {
    until(async || {
        let alerts: Value = serde_json::from_str(&server.get("/api/v2/alerts")).unwrap();
        let alerts = alerts.as_array().unwrap().clone();
        (alerts.len() == n).then_some(alerts)
    })
    .await
}

#[tokio::test]
async fn a_real_alertmanager_has_the_alert_until_it_is_over() {
    let Some(server) = Server::start(Program::Alertmanager) else { return };
    let more = "external_url: 'http://outlierd:9201', labels: ['team: ops', 'severity: critical']";
    let world = world(&server.url(), more).await;
    world.write(jumping().series(0..92)).await;
    let page: Value = serde_json::from_str(&world.get("/api/v1/events").await).unwrap();
    let alert = alerts(&server, 1).await.remove(0);
    let labels = json!({
        "alertname": "HostAnomalous", "instance": "a:9100", "job": "node", "model": "default", "severity": "critical", "team": "ops",
    });
    assert_eq!(alert["labels"], labels);
    assert_eq!(alert["generatorURL"], "http://outlierd:9201/#/hosts/a:9100");
    assert_eq!(alert["status"]["state"], "active");
    let world_page = world.get("/api/v1/events").await;
    assert!(world_page.contains(alert["annotations"]["top_feature"].as_str().unwrap()), "{page}");
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("Anomaly on a:9100: ") && summary.contains(", expected "), "{summary}");
    let description = alert["annotations"]["description"].as_str().unwrap();
    assert!(description.starts_with("Score ") && description.contains(" % of it: "), "{description}");
    let starts_at = alert["startsAt"].as_str().unwrap();
    assert!(starts_at.starts_with("2023-11-14T22:") && starts_at < alert["endsAt"].as_str().unwrap(), "{alert}");

    // A second host, then the first one is well again, then the second.
    let second = Node { jumps_at: 80, ..Node::calm("b:9100") };
    world.write(second.series(0..92)).await;
    alerts(&server, 2).await;
    world.write(Node::calm("a:9100").series(92..3 * HOUR)).await;
    assert_eq!(alerts(&server, 1).await[0]["labels"]["instance"], "b:9100");
    for k in 92..100 {
        world.write(second.failed_scrape(k)).await;
    }
    // The host can't be judged any more, so nothing is said of it.
    world.get("/api/v1/events").await;
    alerts(&server, 0).await;
    let page = world.metrics().await;
    let sent = |status: &str| pages::value(&page, "outlierd_webhook_alerts_total", status);
    assert_eq!((sent("firing"), sent("resolved")), (Some(2.0), Some(2.0)));
    assert_eq!(pages::value(&page, "outlierd_webhook_pending_alerts", ""), Some(0.0));
    world.stop().await;
}

#[tokio::test]
async fn an_alertmanager_that_comes_late_is_told_what_is_open() {
    let Some(server) = Server::start(Program::Alertmanager) else { return };
    let late = Receiver::start(Answer::Status(503));
    let world = world(&late.url(), "retry_min: 1ms, retry_max: 5ms").await;
    world.write(jumping().series(0..92)).await;
    until(async || (counter(&world, "failed_requests_total", "503").await >= 3.0).then_some(())).await;
    late.answer(Answer::Forward(server.url().trim_start_matches("http://").parse().unwrap()));
    assert_eq!(alerts(&server, 1).await[0]["labels"]["instance"], "a:9100");
    world.stop().await;
}

#[tokio::test]
async fn a_reload_changes_who_is_told() {
    let (mut first, mut second) = (Receiver::start(Answer::Status(200)), Receiver::start(Answer::Status(200)));
    let service = Reloading::start().await;
    let to = |receiver: &Receiver| format!("webhook: {{url: '{}'}}\nthreads:", receiver.url());
    service.world.write(jumping().series(0..92)).await;
    assert_eq!(counter(&service.world, "alerts_total", "firing").await, 0.0);
    // Each is told of what is open, and the counters go on.
    service.reload(&[("threads:", &to(&first))]).await;
    assert_eq!(first.next().await[0]["labels"]["instance"], "a:9100");
    service.reload(&[("threads:", &to(&second))]).await;
    assert_eq!(second.next().await[0]["labels"]["instance"], "a:9100");
    until(async || (counter(&service.world, "alerts_total", "firing").await == 2.0).then_some(())).await;
    service.reload(&[]).await;
    first.rest();
    second.rest();
    service.world.write(Node { jumps_at: 80, ..Node::calm("b:9100") }.series(0..92)).await;
    assert!(service.world.get("/api/v1/events").await.contains("b:9100"));
    service.world.stop().await;
    assert_eq!((first.rest(), second.rest()), (0, 0), "nobody is told any more");
}

#[tokio::test]
async fn what_came_and_went_while_nobody_listened_is_not_told() {
    let mut receiver = Receiver::start(Answer::Status(500));
    let world = world(&receiver.url(), "retry_min: 1ms, retry_max: 5ms").await;
    world.write(jumping().series(0..92)).await;
    until(async || (counter(&world, "failed_requests_total", "500").await >= 3.0).then_some(())).await;
    world.write(Node::calm("a:9100").series(92..3 * HOUR)).await;
    assert!(world.get("/api/v1/events").await.contains("cleared"));
    until(async || (counter(&world, "pending_alerts", "").await == 0.0).then_some(())).await;
    receiver.answer(Answer::Status(200));
    receiver.rest();
    // The next thing that is told is the next thing that happens.
    world.write(Node { jumps_at: 80, ..Node::calm("b:9100") }.series(0..92)).await;
    let told = receiver.next().await;
    assert_eq!(told[0]["labels"]["instance"], "b:9100");
    assert_eq!(counter(&world, "alerts_dropped_total", "expired").await, 0.0);
    world.stop().await;
}

#[tokio::test]
async fn a_webhook_in_trouble_costs_nothing_else() {
    type Rows = std::collections::BTreeMap<i64, Value>;
    let write = async |world: &World, scrapes: std::ops::Range<usize>, rows: &mut Rows| {
        for k in scrapes.step_by(4) {
            world.write(jumping().series(k..k + 4)).await;
            world.collect_rows("a:9100", rows).await;
        }
    };
    let quiet = World::start(CONFIG, &FEATURES).await;
    let mut expected = Rows::new();
    write(&quiet, 0..HOUR, &mut expected).await;
    assert!(!quiet.metrics().await.contains("outlierd_webhook_"), "nothing of it exists unless it is configured");
    quiet.stop().await;
    let check = async |answer: Answer, code: &str| {
        let receiver = Receiver::start(answer);
        let world = world(&receiver.url(), "timeout: 10ms, retry_min: 1ms, retry_max: 5ms").await;
        let mut rows = Rows::new();
        write(&world, 0..92, &mut rows).await;
        until(async || (counter(&world, "failed_requests_total", code).await >= 3.0).then_some(())).await;
        write(&world, 92..HOUR, &mut rows).await;
        assert!(rows == expected, "{code}");
        assert_eq!(counter(&world, "alerts_total", "firing").await, 0.0);
        // It waits for nobody either.
        world.stop().await;
    };
    check(Answer::Hang, "timeout").await;
    check(Answer::Close, "connection").await;
    check(Answer::Status(500), "500").await;
    check(Answer::Status(429), "429").await;
}

#[tokio::test]
async fn what_is_refused_is_counted_and_not_sent_in_a_circle() {
    for status in [400, 401, 404, 301] {
        let mut receiver = Receiver::start(Answer::Status(status));
        let world = world(&receiver.url(), "bearer_token: abc").await;
        world.write(jumping().series(0..92)).await;
        let refused = async || counter(&world, "alerts_dropped_total", "refused").await;
        until(async || (refused().await == 1.0).then_some(())).await;
        assert_eq!(counter(&world, "failed_requests_total", &status.to_string()).await, 1.0);
        receiver.next().await;
        world.write(jumping().series(92..96)).await;
        assert_eq!((refused().await, receiver.rest()), (1.0, 0), "{status}");
        world.stop().await;
    }
}

/// What a request is answered.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Status(u16),
    /// Nothing, until the sender goes away.
    Hang,
    /// The connection is closed without a word.
    Close,
    /// What the one behind answers.
    Forward(SocketAddr),
}

/// A receiver that does as it is told.
struct Receiver {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    bodies: mpsc::Receiver<Value>,
}

impl Receiver {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let (seen, bodies) = mpsc::channel(100_000);
        let told = Arc::clone(&answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (told, seen) = (Arc::clone(&told), seen.clone());
                // Who goes away while it is answered is no failure of the test.
                std::thread::spawn(move || stream.and_then(|stream| respond(stream, &told, &seen)));
            }
        });
        Self { address, answer, bodies }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The next request's alerts.
    async fn next(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.bodies.recv()).await.unwrap().unwrap()
    }

    /// Number of requests that came and were not looked at.
    fn rest(&mut self) -> usize {
        std::iter::from_fn(|| self.bodies.try_recv().ok()).count()
    }
}

fn respond(mut stream: TcpStream, answer: &Mutex<Answer>, seen: &mpsc::Sender<Value>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(text.starts_with("post /api/v2/alerts http/1.1\r\n"), "{text}");
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let _ = seen.try_send(serde_json::from_slice(&body).unwrap());
    let answer = *answer.lock().unwrap();
    match answer {
        Answer::Status(status) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        }
        Answer::Hang => stream.read(&mut byte).map(drop),
        Answer::Close => Ok(()),
        Answer::Forward(to) => {
            let mut behind = TcpStream::connect(to)?;
            let request = format!(
                "POST /api/v2/alerts HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            behind.write_all(&[request.as_bytes(), &body].concat())?;
            std::io::copy(&mut behind, &mut stream).map(drop)
        }
    }
}
