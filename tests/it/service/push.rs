//! The push: real databases answer queries for every row of a run at the row's own time, and a receiver in trouble costs samples,
//! counted, but neither memory nor ingest.

pub mod receiver;

use std::collections::BTreeMap;

use serde_json::Value;

use self::receiver::{Answer, PATIENCE, Receiver, Request, TAKEN};
use super::node::{CONFIG, FEATURES, HOUR, Node, START_MS};
use super::{World, pages};
use crate::servers::{Program, Server};

const MINUTE_MS: i64 = 60_000;
/// Series of a host that is judged, with our own names: one and four of the host, five of each feature.
const SERIES: usize = 5 + 5 * FEATURES.len();

/// Rows of the API by time.
type Rows = BTreeMap<i64, Value>;
/// Values by time, by name, `for` (empty where there is none).
type Pushed = BTreeMap<(String, String), BTreeMap<i64, f64>>;

/// A service that pushes to `url`.
async fn world(url: &str, more: &str) -> World {
    let interval = if more.contains("interval") { "" } else { "interval: 1ms, " };
    let push = format!("push: {{url: '{url}', host_metrics: true, {interval}{more}}}");
    World::start(&format!("{CONFIG}\n{push}"), &FEATURES).await
}

async fn world_for(receiver: &Receiver, more: &str) -> World {
    world(&format!("http://{}/api/v1/write", receiver.address), more).await
}

/// The hour in which a host jumps, scrape by scrape.
async fn run(world: &World) -> Rows {
    let node = Node { jumps_at: 80, ..Node::calm("a:9100") };
    let mut rows = Rows::new();
    for k in 0..HOUR {
        world.write(node.scrape(k)).await;
        world.collect_rows("a:9100", &mut rows).await;
    }
    rows
}

/// `/metrics` once it is as it should be.
async fn until(world: &World, is_there: impl Fn(&str) -> bool) -> String {
    let wait = async {
        loop {
            let page = world.metrics().await;
            if is_there(&page) {
                return page;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

fn counter(page: &str, name: &str, label: &str) -> f64 {
    pages::value(page, &format!("outlierd_push_{name}"), label).unwrap_or_default()
}

/// What `requests` that were taken hold; every sample once, each series in order of time.
fn taken(requests: &[Request]) -> Pushed {
    let mut pushed = Pushed::new();
    for request in requests.iter().filter(|request| request.answer == TAKEN) {
        for series in &request.body.timeseries {
            let label = |name: &str| {
                let found = series.labels.iter().find(|label| label.name == name);
                found.map_or_else(String::new, |label| label.value.clone())
            };
            assert_eq!((label("instance"), label("job")), ("a:9100".to_owned(), "node".to_owned()));
            let of = pushed.entry((label("__name__"), label("for"))).or_default();
            for sample in &series.samples {
                assert!(of.last_key_value().is_none_or(|(t_ms, _)| *t_ms < sample.timestamp), "{series:?}");
                of.insert(sample.timestamp, sample.value);
            }
        }
    }
    pushed
}

fn n_samples(pushed: &Pushed) -> f64 {
    pushed.values().map(BTreeMap::len).sum::<usize>() as f64
}

/// All that the database has of the run, by a query.
fn stored(server: &Server) -> Pushed {
    server.flush();
    let end_s = START_MS / 1_000 + 7_200;
    // {__name__=~".+"}[3h]
    let path = format!("/api/v1/query?query=%7B__name__%3D~%22.%2B%22%7D%5B3h%5D&time={end_s}");
    let answer: Value = serde_json::from_str(&server.get(&path)).unwrap();
    let mut stored = Pushed::new();
    for series in answer["data"]["result"].as_array().unwrap() {
        let label = |name: &str| series["metric"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!((label("instance"), label("job")), ("a:9100".to_owned(), "node".to_owned()));
        let is_ours = label("__name__").starts_with("outlierd_");
        let aliases = if is_ours {
            [("model", "default"), ("model_alias", ""), ("scheduler_alias", ""), ("preset", "")]
        } else {
            [("model", ""), ("model_alias", "default"), ("scheduler_alias", "stream"), ("preset", "node-exporter")]
        };
        aliases.iter().for_each(|(name, value)| assert_eq!(label(name), *value, "{series}"));
        let samples = series["values"].as_array().unwrap().iter().map(|pair| {
            let t_ms = (pair[0].as_f64().unwrap() * 1_000.0).round() as i64;
            (t_ms, pair[1].as_str().unwrap().parse().unwrap())
        });
        assert!(stored.insert((label("__name__"), label("for")), samples.collect()).is_none(), "{series}");
    }
    stored
}

fn assert_close(a: f64, b: f64, tolerance: f64, what: &str) {
    assert!((a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0), "{what}: {a} and {b}");
}

/// `pushed` says of every row of `rows` what the API says; rules' series begin where the host is judged.
fn assert_is_the_run(pushed: &Pushed, rows: &Rows) {
    assert_eq!(pushed.len(), SERIES, "{:?}", pushed.keys());
    let of = |name: &str, of: &str| &pushed[&(name.to_owned(), of.to_owned())];
    let scored: Vec<i64> = rows.iter().filter(|(_, row)| row["score"].is_number()).map(|(t_ms, _)| *t_ms).collect();
    assert!(scored.len() > 40);
    // Twelve minutes of history.
    let judged: Vec<i64> = scored.iter().copied().filter(|t_ms| t_ms - START_MS >= 12 * MINUTE_MS).collect();
    assert!(judged.len() < scored.len());
    let times = |name: &str, feature: &str| of(name, feature).keys().copied().collect::<Vec<i64>>();
    for name in ["outlierd_host_score", "outlierd_host_mse", "outlierd_host_threshold"] {
        assert_eq!(times(name, ""), scored, "{name}");
    }
    assert_eq!(times("outlierd_host_anomaly", ""), judged);
    assert_eq!(times("anomaly_score", "whole-host"), judged);
    for (i, feature) in FEATURES.iter().enumerate() {
        assert_eq!(times("anomaly_score", feature), judged, "{feature}");
        for name in ["y", "yhat", "yhat_lower", "yhat_upper"] {
            assert_eq!(times(name, feature), scored, "{name} of {feature}");
        }
        for t_ms in &scored {
            let [y, yhat, lower, upper] = ["y", "yhat", "yhat_lower", "yhat_upper"].map(|name| of(name, feature)[t_ms]);
            // The API has single precision.
            assert_close(y, rows[t_ms]["values"][i].as_f64().unwrap(), 1e-6, "y");
            assert_close(yhat, rows[t_ms]["expected"][i].as_f64().unwrap(), 1e-6, "yhat");
            assert!(lower < yhat && yhat < upper, "{feature} at {t_ms}");
            if let Some(score) = of("anomaly_score", feature).get(t_ms) {
                assert_eq!(*score > 1.0, y < lower || y > upper, "{feature} at {t_ms}: {lower} {y} {upper}");
            }
        }
    }
    for t_ms in &scored {
        assert_close(of("outlierd_host_score", "")[t_ms], rows[t_ms]["score"].as_f64().unwrap(), 1e-12, "score");
        assert_close(of("outlierd_host_mse", "")[t_ms], rows[t_ms]["mse"].as_f64().unwrap(), 1e-12, "mse");
    }
    for t_ms in &judged {
        let score = of("anomaly_score", "whole-host")[t_ms];
        assert_close(score, rows[t_ms]["score"].as_f64().unwrap(), 1e-12, "score");
        // Nothing is smoothed in this configuration. At the jump the bound of a burst holds for a row: 10 of a limit of 4.
        let parts: Vec<f64> = FEATURES.iter().map(|feature| of("anomaly_score", feature)[t_ms]).collect();
        let bounded: f64 = parts.iter().map(|part| part.min(2.5)).sum();
        let sum = parts.iter().sum::<f64>();
        let expected = if sum - score > 1e-6 { bounded } else { sum };
        assert_close(score, expected, 1e-9, "the parts of a score");
        assert_eq!(of("outlierd_host_anomaly", "")[t_ms] == 1.0, rows[t_ms]["flag"] == true);
    }
    assert!(judged.iter().any(|t_ms| rows[t_ms]["flag"] == true), "the host jumped");
}

/// vmanomaly's own rule (its preset's alerts) for a feature: the value that it fires with, if it does.
fn rule(server: &Server, feature: &str, t_ms: i64) -> Option<f64> {
    // min(anomaly_score{preset="node-exporter", for="…"}) without (model_alias, scheduler_alias)>=1.0
    let query = format!(
        "min(anomaly_score%7Bpreset%3D%22node-exporter%22%2Cfor%3D%22{feature}%22%7D)\
         %20without%20(model_alias%2C%20scheduler_alias)%3E%3D1.0"
    );
    let answer = server.get(&format!("/api/v1/query?query={query}&time={}", t_ms / 1_000));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let [series] = answer["data"]["result"].as_array().unwrap().as_slice() else { return None };
    assert_eq!(series["metric"]["instance"], "a:9100");
    series["value"][1].as_str().unwrap().parse().ok()
}

#[tokio::test]
async fn a_database_has_every_row_of_a_run_at_its_own_time() {
    for program in [Program::VictoriaMetrics, Program::OldVictoriaMetrics, Program::Prometheus] {
        let Some(server) = Server::start(program) else { continue };
        let world = world(&format!("{}/api/v1/write", server.url()), "").await;
        let rows = run(&world).await;
        until(&world, |page| counter(page, "queue_samples", "") == 0.0).await;
        world.stop().await;
        let stored = stored(&server);
        assert_is_the_run(&stored, &rows);
        // The rule that people have fires where the feature alone is too far off.
        let scores = &stored[&("anomaly_score".to_owned(), "load1".to_owned())];
        let fired = scores.iter().filter(|(t_ms, score)| {
            let fires_with = rule(&server, "load1", **t_ms);
            assert_eq!(fires_with.is_some(), **score >= 1.0, "{program:?} at {t_ms}: {score}");
            fires_with.is_some()
        });
        assert!((1..scores.len()).contains(&fired.count()));
    }
}

#[tokio::test]
async fn a_receiver_that_fails_for_long_gets_everything_once_it_is_well() {
    let failing = [Answer::Status(500, ""), Answer::Status(503, ""), Answer::Close, Answer::Status(502, "")].repeat(10);
    let mut receiver = Receiver::start(&failing, TAKEN);
    let world = world_for(&receiver, "retry_min: 1ms, retry_max: 5ms").await;
    let rows = run(&world).await;
    let page = until(&world, |page| counter(page, "queue_samples", "") == 0.0).await;
    let requests = receiver.rest();
    let pushed = taken(&requests);
    assert_is_the_run(&pushed, &rows);
    assert_eq!(counter(&page, "samples_total", ""), n_samples(&pushed));
    for code in ["500", "502", "503", "connection"] {
        assert_eq!(counter(&page, "failed_requests_total", code), 10.0, "{code}");
    }
    for reason in ["queue_full", "refused", "shutdown"] {
        assert_eq!(counter(&page, "samples_dropped_total", reason), 0.0, "{reason}");
    }
    assert!(counter(&page, "last_success_timestamp_seconds", "") > 1.7e9);
    let first = &requests[0].head;
    for header in ["content-encoding: snappy", "content-type: application/x-protobuf", "-remote-write-version: 0.1.0"] {
        assert!(first.contains(header), "{first}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_pause_that_is_asked_for_replaces_our_own() {
    let asked = Answer::Status(429, "Retry-After: 0\r\n");
    let mut receiver = Receiver::start(&[asked; 2], TAKEN);
    // Without the header, the test would wait for half an hour.
    let world = world_for(&receiver, "retry_min: 1h, retry_max: 1h").await;
    let rows = run(&world).await;
    let page = until(&world, |page| counter(page, "queue_samples", "") == 0.0).await;
    assert_is_the_run(&taken(&receiver.rest()), &rows);
    assert_eq!(counter(&page, "failed_requests_total", "429"), 2.0);
    world.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_dropped_and_counted() {
    for (status, headers) in [(400, ""), (401, ""), (413, ""), (301, "Location: /elsewhere\r\n")] {
        let mut receiver = Receiver::start(&[Answer::Status(status, headers)], TAKEN);
        let world = world_for(&receiver, "").await;
        run(&world).await;
        let page = until(&world, |page| counter(page, "queue_samples", "") == 0.0).await;
        let requests = receiver.rest();
        let refused = requests[0].body.timeseries.len() as f64;
        assert!(refused > 0.0 && requests[0].answer != TAKEN);
        assert_eq!(counter(&page, "samples_dropped_total", "refused"), refused, "{status}");
        assert_eq!(counter(&page, "failed_requests_total", &status.to_string()), 1.0);
        assert_eq!(counter(&page, "samples_total", ""), n_samples(&taken(&requests)));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_the_newest_samples_and_nothing_else() {
    let unpushed = World::start(CONFIG, &FEATURES).await;
    let expected = run(&unpushed).await;
    assert!(!unpushed.metrics().await.contains("outlierd_push_"), "nothing of it exists unless it is configured");
    unpushed.stop().await;

    let mut receiver = Receiver::start(&[], Answer::Hang);
    let more = "timeout: 100ms, queue: 1000, batch: 100, retry_min: 1ms, retry_max: 2ms";
    let world = world_for(&receiver, more).await;
    let rows = run(&world).await;
    assert!(rows == expected, "the push changes nothing of what it pushes");
    let page = until(&world, |page| counter(page, "failed_requests_total", "timeout") >= 3.0).await;
    let queued = counter(&page, "queue_samples", "");
    let dropped = counter(&page, "samples_dropped_total", "queue_full");
    assert!((900.0..=1_000.0).contains(&queued) && dropped > 500.0, "{queued} {dropped}");
    assert_eq!(counter(&page, "samples_total", ""), 0.0);

    receiver.answer(TAKEN);
    let page = until(&world, |page| counter(page, "queue_samples", "") == 0.0).await;
    // A body whose answer came too late is sent again.
    let mut requests = receiver.rest();
    requests.retain(|request| request.answer == TAKEN);
    requests.dedup_by(|again, before| again.body == before.body);
    let pushed = taken(&requests);
    assert_eq!((counter(&page, "samples_total", ""), n_samples(&pushed)), (queued, queued));
    assert_eq!(counter(&page, "samples_dropped_total", "queue_full"), dropped);
    // The oldest are there, without a hole.
    let y: Vec<i64> = pushed[&("y".to_owned(), "load1".to_owned())].keys().copied().collect();
    let scored = rows.iter().filter(|(_, row)| row["score"].is_number()).map(|(t_ms, _)| *t_ms);
    assert_eq!(y, scored.take(y.len()).collect::<Vec<i64>>());
    world.stop().await;
}

#[tokio::test]
async fn the_end_of_the_service_sends_what_is_left_and_waits_for_nobody() {
    let mut receiver = Receiver::start(&[], TAKEN);
    let world = world_for(&receiver, "interval: 10m").await;
    let rows = run(&world).await;
    assert_eq!(receiver.rest().len(), 0);
    world.stop().await;
    assert_is_the_run(&taken(&[receiver.next().await]), &rows);

    // A pause is cut short for one last attempt.
    let mut receiver = Receiver::start(&[Answer::Status(500, "")], TAKEN);
    let world = world_for(&receiver, "retry_min: 1h, retry_max: 1h").await;
    let rows = run(&world).await;
    assert_eq!(receiver.next().await.answer, Answer::Status(500, ""));
    world.stop().await;
    assert_is_the_run(&taken(&receiver.rest()), &rows);

    // Neither this one nor the next may hold the end up: they have a second and a half, and one attempt.
    let receiver = Receiver::start(&[], Answer::Hang);
    let world = world_for(&receiver, "").await;
    run(&world).await;
    world.stop().await;
    let mut receiver = Receiver::start(&[], Answer::Status(500, ""));
    let world = world_for(&receiver, "batch: 10, retry_min: 1h, retry_max: 1h").await;
    run(&world).await;
    world.stop().await;
    assert_eq!(receiver.rest().len(), 2, "one that made it pause, and one last");
}

#[tokio::test]
async fn who_we_are_is_said_as_configured() {
    let check = async |more: &str, expected: &str| {
        let mut receiver = Receiver::start(&[], TAKEN);
        let world = world_for(&receiver, more).await;
        world.write(Node::calm("a:9100").series(0..HOUR)).await;
        world.stop().await;
        let head = receiver.next().await.head;
        assert!(head.contains(expected), "{head}");
    };
    check("bearer_token: abc", "authorization: bearer abc\r\n").await;
    // In lower case, as heads are here.
    check("username: u, password: p", "authorization: basic dtpw\r\n").await;
    check("headers: ['X-Scope-OrgID: ops', 'X-More: 1']", "x-scope-orgid: ops\r\n").await;
}
