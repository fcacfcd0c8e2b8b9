//! `/metrics` as those read it for whom it is: real databases that scrape it, and promtool.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::node::{CONFIG, FEATURES, Node};
use super::{World, pages};
use crate::peers;
use crate::servers::{Program, Server};

/// A service with a host that is well, one that jumped, and one without a row.
async fn world() -> World {
    let world = World::start(CONFIG, &FEATURES).await;
    world.write(Node::calm("calm:9100").series(0..100)).await;
    world.write(Node { jumps_at: 86, ..Node::calm("jumped:9100") }.series(0..100)).await;
    world.write(Node::calm("new:9100").scrape(99)).await;
    let page = world.metrics().await;
    assert_eq!(pages::value(&page, "outlierd_host_anomaly", "jumped"), Some(1.0), "{page}");
    world
}

/// Names of the series on a page.
fn names(page: &str) -> BTreeSet<String> {
    pages::samples(page).keys().map(|series| series.split('{').next().unwrap().to_owned()).collect()
}

/// The values of `query`, once there are any: no program says when it has scraped.
fn values(server: &Server, query: &str) -> Vec<(Value, f64)> {
    for _ in 0..600 {
        let answer = server.api(&format!("/api/v1/query?query={query}"));
        let found = answer["result"].as_array().unwrap();
        if !found.is_empty() {
            let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
            return found.iter().map(|series| (series["metric"].clone(), value(series))).collect();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{query}: nothing was scraped; targets: {}", server.api("/api/v1/targets"));
}

/// Scrapes the service with `program` and compares what it then has with what the page says.
async fn check(world: &World, program: Program) -> Option<Server> {
    let server = Server::scraping(program, world.address)?;
    let flags = values(&server, "outlierd_host_anomaly");
    let flag = |host: &str| {
        let labels = serde_json::json!({"__name__": "outlierd_host_anomaly", "instance": host, "job": "node", "model": "default"});
        flags.iter().find(|(found, _)| *found == labels).map(|(_, value)| *value)
    };
    assert_eq!([flag("jumped:9100"), flag("calm:9100"), flag("new:9100")], [Some(1.0), Some(0.0), None], "{flags:?}");
    // The second scrape has what the first one has moved.
    values(&server, "outlierd_http_requests_total%7Bhandler=%22metrics%22%7D%20%3E%201");
    let stored: BTreeSet<String> = server
        .api("/api/v1/label/__name__/values")
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    let page = world.metrics().await;
    let shown = names(&page);
    let missing: Vec<&String> = shown.difference(&stored).collect();
    assert!(missing.is_empty(), "{program:?} lacks {missing:?}");
    assert!(values(&server, "up").iter().all(|(_, up)| *up == 1.0));
    Some(server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_and_victoria_metrics() {
    let world = world().await;
    for program in [Program::OldVictoriaMetrics, Program::VictoriaMetrics] {
        check(&world, program).await;
    }
    if let Some(server) = check(&world, Program::Prometheus).await {
        // What only OpenMetrics says: that counters are called without `_total`, and what units are.
        let of = |family: &str| server.api(&format!("/api/v1/metadata?metric={family}"))[family][0].take();
        let requests = of("outlierd_http_requests");
        assert_eq!(
            (&requests["type"], &requests["help"]),
            (&Value::from("counter"), &Value::from("Requests answered."))
        );
        assert_eq!(of("outlierd_http_request_duration_seconds")["unit"], "seconds");
    }
    world.stop().await;
}

#[tokio::test]
async fn promtool() {
    let Some(folder) = peers::folder(&["promtool-2.42"], "checking the page with promtool") else { return };
    let world = world().await;
    let page = world.metrics().await;
    let mut command = Command::new(folder.join("promtool-2.42"));
    let command =
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    world.stop().await;
}
