//! Every query of the alert rules and of the dashboard, asked of a real Prometheus that scrapes a service in all kinds of trouble.

use std::time::Duration;

use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

use super::node::{CONFIG, FEATURES, HOUR, Node, SCRAPE_MS, START_MS};
use super::{SNAPPY, World, bodies, pages};
use crate::deploy;
use crate::servers::{Program, Server};

/// Queries that give nothing in this run, and why; that all their metrics exist is looked at.
const QUIET: [(&str, &str); 8] = [
    ("OutlierdDown", "it is scraped"),
    ("OutlierdNoSamples", "samples come"),
    ("OutlierdNoRows", "rows are closed"),
    ("OutlierdNothingRead", "rows are closed"),
    ("OutlierdRowsShed", "this takes a scorer that is too slow"),
    ("OutlierdScoringFails", "this takes an ONNX Runtime that fails"),
    ("OutlierdReloadFailed", "nothing is reloaded"),
    ("OutlierdEventsNotStored", "this takes a disk that fails"),
];

/// Hosts that jump.
const JUMPING: [&str; 5] = ["a:9100", "b:9100", "c:9100", "d:9100", "e:9100"];

/// Ten minutes of scrapes.
const BLOCK: usize = 20;

/// A service that pushes and alerts to one that has no place for it; each host may have as many series as it has.
async fn world(refusing: &World) -> World {
    let nowhere = format!("http://{}/nowhere", refusing.address);
    let limits = "limits: {series_per_host: 20}";
    let outputs = format!("push: {{url: '{nowhere}', interval: 10ms}}\nwebhook: {{url: '{nowhere}'}}");
    World::start(&format!("{CONFIG}\n{limits}\n{outputs}\n"), &FEATURES).await
}

/// Something of everything that counts, once more with each round.
async fn trouble(world: &World, round: usize) {
    let calm = Node::calm("calm:9100");
    world.write(calm.series(HOUR + round * BLOCK..HOUR + (round + 1) * BLOCK)).await;
    for name in JUMPING.into_iter().skip(round).step_by(2) {
        world.write(Node { jumps_at: 86, ..Node::calm(name) }.series(0..100)).await;
    }
    let load = |of: &str, t_ms: i64| {
        let labels = [("__name__", "node_load1"), ("instance", "calm:9100"), ("job", "node"), ("of", of)];
        bodies::series(&labels, &[(t_ms, 1.0)])
    };
    let now_ms = START_MS + (HOUR + (round + 1) * BLOCK) as i64 * SCRAPE_MS;
    // Without the identity label.
    let samples: Vec<(i64, f64)> = (0..2_000).map(|i| (START_MS + i, 1.0)).collect();
    world.write(vec![bodies::series(&[("__name__", "node_load1"), ("job", "node")], &samples)]).await;
    // Late, more series than a host may have, from the next century, and no message.
    world.write(calm.series(1..BLOCK)).await;
    world.write((0..BLOCK).map(|i| load(&format!("{round} {i}"), now_ms)).collect()).await;
    world.write(vec![load("", 4_102_444_800_000)]).await;
    assert_eq!(world.post(SNAPPY, b"no message".to_vec()).await.0, 400);
}

/// What Prometheus answers to `expr` now: labels and values that are numbers.
fn ask(server: &Server, expr: &str) -> Vec<Value> {
    let encoded: String = expr.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut found = server.api(&format!("/api/v1/query?query={encoded}"))["result"].take();
    found.as_array_mut().unwrap().retain(|series| series["value"][1] != "NaN");
    found.as_array().unwrap().clone()
}

/// Waits until `look` gives something: no program says when it has scraped, judged its rules, or sent what it has.
async fn until<T>(wanted: &str, look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look().await {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not yet: {wanted}");
}

/// Waits until everything is pushed and alerted, and what the service then says is scraped.
async fn scraped(world: &World, server: &Server) {
    let names = ["outlierd_samples_received_total", "outlierd_push_samples_dropped_total{reason=\"refused\"}"];
    until("nothing waits, and all is scraped", async || {
        let page = world.metrics().await;
        let now = pages::samples(&page);
        let waits = ["outlierd_push_queue_samples", "outlierd_webhook_pending_alerts"].map(|name| now[name]);
        let is_scraped = |name: &&str| !ask(server, &format!("{name} == {}", now[*name])).is_empty();
        (waits == [0.0, 0.0] && names.iter().all(is_scraped)).then_some(())
    })
    .await;
}

/// The selectors of `expr`.
fn selectors(expr: &str) -> Vec<String> {
    struct Selectors(Vec<String>);
    impl ExprVisitor for Selectors {
        type Error = ();
        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, ()> {
            match expr {
                Expr::VectorSelector(selector) => self.0.push(selector.to_string()),
                Expr::MatrixSelector(selector) => self.0.push(selector.vs.to_string()),
                _ => {}
            }
            Ok(true)
        }
    }
    let mut found = Selectors(Vec::new());
    walk_expr(&mut found, &parser::parse(expr).unwrap()).unwrap();
    assert!(!found.0.is_empty(), "{expr}");
    found.0
}

/// Asks `expr`, which must give something, or where it is quiet for a reason all that it selects; says what is wrong.
fn fault(server: &Server, name: &str, expr: &str) -> Option<String> {
    let found = ask(server, expr);
    let Some((_, why)) = QUIET.iter().find(|(quiet, _)| *quiet == name) else {
        return found.is_empty().then(|| format!("{name} gives nothing: {expr}"));
    };
    if !found.is_empty() {
        return Some(format!("{name} does give something; it is said not to, since {why}: {found:?}"));
    }
    let missing = selectors(expr).into_iter().find(|selector| ask(server, selector).is_empty());
    missing.map(|selector| format!("{name}: there is no {selector}"))
}

/// `expr` as Grafana would send it for the first host that jumps.
fn filled_in(expr: &str) -> String {
    let values = [
        ("$__rate_interval", "1m"),
        ("$__range", "5m"),
        ("$job", ".*"),
        ("$model", ".*"),
        ("$instance", JUMPING[0]),
        ("$feature", "load1"),
    ];
    let filled = values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value));
    assert!(!filled.contains('$'), "{expr}");
    filled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_dashboard_have_data() {
    let refusing = World::start(CONFIG, &FEATURES).await;
    let world = world(&refusing).await;
    world.write(Node::calm("calm:9100").series(0..HOUR)).await;
    let lacks: &[&str] = &["node_cpu", "node_disk", "node_network", "node_filesystem"];
    world.write(Node::calm("partial:9100").series(0..60)).await;
    world.write(Node { lacks, ..Node::calm("partial:9100") }.series(60..HOUR)).await;
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}']\n\
         scrape_configs: [{{job_name: outlierd, honor_labels: true, static_configs: [{{targets: ['{}']}}]}}]\n",
        deploy::file("alerts.yml").display(),
        world.address
    );
    let Some(server) = Server::start_with(Program::Prometheus, &config) else { return };
    scraped(&world, &server).await;
    for round in 0..2 {
        trouble(&world, round).await;
        scraped(&world, &server).await;
    }

    let rules = until("every rule is evaluated", async || {
        let groups = server.api("/api/v1/rules")["groups"].take();
        let rules: Vec<Value> =
            groups.as_array()?.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        rules.iter().all(|rule| rule["health"] == "ok").then_some(rules)
    })
    .await;
    let text = |rule: &Value, name: &str| rule[name].as_str().unwrap().to_owned();
    let asked = rules.iter().map(|rule| (text(rule, "name"), text(rule, "query")));
    let asked = asked.chain(deploy::queries().into_iter().map(|query| (query.of, filled_in(&query.expr))));
    let faults: Vec<String> = asked.filter_map(|(name, expr)| fault(&server, &name, &expr)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    let is_rule = |name: &str| rules.iter().any(|rule| rule["name"] == name);
    assert!(QUIET.iter().all(|(name, _)| is_rule(name)), "something is quiet that isn't there");

    for (name, query) in deploy::variables().into_iter().filter_map(|(name, query)| Some((name, query?))) {
        let inner = query.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap();
        let (expr, label) = match query.starts_with("label_values(") {
            true => inner.rsplit_once(',').unwrap(),
            false => (inner, name.as_str()),
        };
        let found = ask(&server, &filled_in(expr));
        assert!(!found.is_empty() && found.iter().all(|series| series["metric"][label].is_string()), "{query}");
    }
    the_alert_of_a_host(&world, &server).await;
    world.stop().await;
    refusing.stop().await;
}

/// What the alert says is what the API says.
async fn the_alert_of_a_host(world: &World, server: &Server) {
    let host = world.host(JUMPING[0]).await;
    let top = &host["contributions"][0];
    let alert = until("the alert fires", async || {
        let alerts = server.api("/api/v1/alerts")["alerts"].take();
        let is_of_host = |alert: &&Value| {
            alert["labels"]["alertname"] == "HostAnomalous" && alert["labels"]["instance"] == JUMPING[0]
        };
        alerts.as_array()?.iter().find(is_of_host).cloned()
    })
    .await;
    let labels = serde_json::json!({
        "alertname": "HostAnomalous", "instance": JUMPING[0], "job": "node", "model": "default", "severity": "warning",
    });
    assert_eq!((&alert["labels"], &alert["state"]), (&labels, &Value::from("firing")));
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    let (feature, values) = summary.split_once(": ").and_then(|(_, told)| told.split_once(" is ")).unwrap();
    assert_eq!(feature, top["feature"], "{summary}");
    let (actual, expected) = values.split_once(", expected ").unwrap();
    for (told, known) in [(actual, &top["actual"]), (expected, &top["expected"])] {
        let (told, known): (f64, f64) = (told.parse().unwrap(), known.as_f64().unwrap());
        assert!((told - known).abs() <= 0.01 * known.abs(), "{summary}: {top}");
    }
    let description = alert["annotations"]["description"].as_str().unwrap();
    assert!(
        description.starts_with("Score ") && description.contains(&format!("Of the error: {feature} ")),
        "{description}"
    );
}
