//! Days in the life of hosts, in simulated time: what is flagged and what is not, and when.
//!
//! The service is the real one over loopback with the shipped bundle, the preset and the defaults of every setting; its clock is
//! the test's, so that how late a sample is, and how long a host has been silent, is simulated too. Each scenario says what a
//! user must see; none says what a score happens to be.

mod body;
mod features;
mod gaps;
mod glitches;
mod machine;
mod nights;
mod senders;
mod shifts;
mod silences;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use outlierd::base::clock::Clock;
use outlierd::config;
use outlierd::series::TimestampMs;
use outlierd::serve::service::Service;
use outlierd::setup::{Environment, Setup};
use serde_json::Value;
use tokio::net::TcpListener;

use body::Body;

/// A midnight (UTC): minutes are counted from here.
const START_MS: TimestampMs = 1_699_920_000_000;
const MINUTE_MS: i64 = 60_000;
/// In minutes.
const HOUR: i64 = 60;
/// In minutes.
const DAY: i64 = 24 * HOUR;
/// Minutes of one request: fewer than make a host stale.
const MINUTES_SENT: i64 = 4;

/// The scrape of `minute` by a host whose scrapes come `phase_ms` after the full minute.
fn time_of(minute: i64, phase_ms: i64) -> TimestampMs {
    START_MS + minute * MINUTE_MS + phase_ms
}

/// A running service with its clock.
struct World {
    service: Service,
    address: SocketAddr,
    client: reqwest::Client,
    clock: Arc<AtomicI64>,
}

/// An event of a host, in minutes from the start.
#[derive(Debug, Clone)]
struct Span {
    from: i64,
    /// `None` while it is open.
    to: Option<i64>,
    peak: f64,
    /// The features that it names, the largest share first.
    features: Vec<(String, f64)>,
}

impl World {
    /// Starts a service with `config` (YAML) on a clock of its own.
    async fn start(config: &str) -> Self {
        let clock = Arc::new(AtomicI64::new(START_MS));
        let config = format!("threads: {{shards: 2, scorers: 1}}\n{config}");
        let environment = Environment { clock: Clock::Simulated(Arc::clone(&clock)), ..Environment::default() };
        let setup = Setup::in_environment(config::parse("test.yaml", &config).unwrap(), environment).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::start(&setup, listener, None).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { service, address, client, clock }
    }

    /// What the service's clock shows from now on.
    fn set_clock(&self, t_ms: TimestampMs) {
        self.clock.store(t_ms, Ordering::SeqCst);
    }

    /// Sends what `scrape` adds for each minute, a few minutes to a request, each at the end of its last minute.
    async fn play(&self, minutes: Range<i64>, mut scrape: impl FnMut(i64, &mut Body)) {
        let mut body = Body::default();
        for minute in minutes.clone() {
            scrape(minute, &mut body);
            if (minute + 1 - minutes.start) % MINUTES_SENT == 0 || minute + 1 == minutes.end {
                self.set_clock(time_of(minute, 59_000));
                self.write(std::mem::take(&mut body)).await;
            }
        }
        self.service.settle().await;
    }

    /// Sends a body, which must be taken.
    async fn write(&self, body: Body) {
        let request = self.client.post(format!("http://{}/api/v1/write", self.address));
        let request = request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
        let answer = request.body(body.encoded()).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!((status, text.as_str()), (204, ""));
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.text().await.unwrap()
    }

    async fn data(&self, path: &str) -> Value {
        let mut answer: Value = serde_json::from_str(&self.get(path).await).unwrap();
        answer["data"].take()
    }

    /// `/metrics` after everything written so far is scored.
    async fn metrics(&self) -> String {
        self.service.settle().await;
        self.get("/metrics").await
    }

    /// What the API says of a host after everything written so far is scored.
    async fn host(&self, name: &str) -> Value {
        self.service.settle().await;
        self.data(&format!("/api/v1/hosts/{name}")).await
    }

    /// `state | reason | flag` of a host.
    async fn brief(&self, name: &str) -> String {
        let host = self.host(name).await;
        let text = |name: &str| host[name].as_str().unwrap_or("?").to_owned();
        format!("{} | {} | {}", text("state"), text("reason"), host["flag"])
    }

    /// The events of a host, the first one first.
    async fn events(&self, host: &str) -> Vec<Span> {
        self.service.settle().await;
        let page = self.data(&format!("/api/v1/events?limit=10000&host={host}")).await;
        let minute = |value: &Value| value.as_i64().map(|t_ms| (t_ms - START_MS).div_euclid(MINUTE_MS));
        let feature = |f: &Value| (f["feature"].as_str().unwrap().to_owned(), f["share"].as_f64().unwrap());
        let span = |event: &Value| Span {
            from: minute(&event["start_ms"]).unwrap(),
            to: minute(&event["end_ms"]),
            peak: event["peak_score"].as_f64().unwrap(),
            features: event["features"].as_array().unwrap().iter().map(feature).collect(),
        };
        let mut spans: Vec<Span> = page["events"].as_array().unwrap().iter().map(span).collect();
        spans.sort_by_key(|span| span.from);
        spans
    }

    /// Fails where a host has events.
    async fn assert_calm(&self, host: &str) {
        let spans = self.events(host).await;
        assert!(spans.is_empty(), "{host} is flagged without a reason: {}", told(&spans));
    }

    async fn stop(self) {
        self.service.stop().await.unwrap();
    }
}

/// Events for people: `day 2 03:15 to day 2 04:00, peak 2.1, cpu_busy 0.6 load1 0.3`.
fn told(spans: &[Span]) -> String {
    let time = |minute: i64| format!("day {} {:02}:{:02}", minute / DAY, minute % DAY / HOUR, minute % HOUR);
    let one = |span: &Span| {
        let to = span.to.map_or("open".to_owned(), time);
        let features: Vec<String> = span.features.iter().map(|(name, share)| format!("{name} {share:.2}")).collect();
        format!("{} to {to}, peak {:.2}, {}", time(span.from), span.peak, features.join(" "))
    };
    spans.iter().map(one).collect::<Vec<_>>().join("\n")
}
