//! What the service says of senders that have no effect: by HTTP, on `/metrics` and in `/api/v1/status`.

use serde_json::{Value, json};

use super::bodies::{message, series, snappy};
use super::node::{CONFIG, FEATURES, Node, START_MS};
use super::reload::Reloading;
use super::{SNAPPY, World, pages};

/// `/api/v1/status`.
async fn status(world: &World) -> Value {
    let mut answer: Value = serde_json::from_str(&world.get("/api/v1/status").await).unwrap();
    assert_eq!(answer["status"], "success");
    answer["data"].take()
}

/// Samples that do nothing, by reason.
fn unused(page: &str) -> [f64; 3] {
    ["no_feature", "no_host", "no_identity"]
        .map(|reason| pages::value(page, "outlierd_samples_unused_total", &format!("\"{reason}\"")).unwrap())
}

#[tokio::test]
async fn samples_that_do_nothing_are_counted_once_and_explained() {
    let world = World::start(CONFIG, &FEATURES).await;
    assert_eq!(unused(&world.metrics().await), [0.0; 3]);
    let one = |labels: &[(&str, &str)]| series(labels, &[(START_MS, 1.0)]);
    // The host is known by its features and has an `up` too; 20 series.
    world.write(Node::calm("a:9100").scrape(0)).await;
    // An exporter that no feature reads, on a target of its own.
    let win = [("instance", "w:9182"), ("job", "win")];
    let of_win = |name, core| one(&[("__name__", name), ("core", core), win[0], win[1]]);
    let windows =
        vec![of_win("windows_time", "0"), of_win("windows_time", "1"), of_win("up", ""), of_win("go_info", "")];
    world.write(windows).await;
    // A sender that calls hosts by another label.
    let of_bit = |name| one(&[("__name__", name), ("hostname", "b"), ("job", "bit")]);
    world.write(vec![of_bit("node_load1"), of_bit("node_load5"), of_bit("node_arp_entries")]).await;

    let page = world.metrics().await;
    assert_eq!(unused(&page), [4.0, 1.0, 2.0]);
    let total = |name: &str| pages::value(&page, name, "").unwrap();
    assert_eq!((total("outlierd_samples_ignored_total"), total("outlierd_samples_kept_total")), (4.0, 21.0));
    assert_eq!(pages::value(&page, "outlierd_series_invalid_total", "\"no_identity\""), Some(2.0));
    assert_eq!(total("outlierd_hosts"), 1.0);

    let status = status(&world).await;
    let ingest = &status["ingest"];
    assert_eq!(ingest["identity"], "instance");
    assert_eq!(ingest["unused_samples"], json!({"no_feature": 4, "no_host": 1, "no_identity": 2}));
    let jobs = ingest["jobs"].as_array().unwrap();
    let named: Vec<(&str, bool, u64, u64)> = jobs
        .iter()
        .map(|job| {
            let n = |key: &str| job[key].as_u64().unwrap();
            (job["job"].as_str().unwrap(), job["used"].as_bool().unwrap(), n("series"), n("used_series"))
        })
        .collect();
    assert_eq!(named, [("bit", false, 3, 0), ("node", true, 20, 19), ("win", false, 4, 0)]);
    let prefix = |prefix: &str, series: u64| json!({"prefix": prefix, "series": series, "used": false});
    assert_eq!(jobs[2]["prefixes"], json!([prefix("go_", 1), prefix("up", 1), prefix("windows_", 2)]));
    assert_eq!(jobs[1]["reason"], Value::Null);
    for (job, words) in [(0, ["\"hostname\"", "`identity.label`"]), (2, ["\"windows_\"", "`features`"])] {
        let reason = jobs[job]["reason"].as_str().unwrap();
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
    }
    let lacking = &ingest["without_identity"];
    assert_eq!((&lacking["series"], &lacking["labels"]), (&json!(3), &json!(["hostname", "job"])));

    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["model"]["alias"], "default");
    let states = json!({"warming": 1, "ok": 0, "anomalous": 0, "partial": 0, "stale": 0, "down": 0});
    assert_eq!(status["hosts"], json!({"total": 1, "by_state": states}));
    world.stop().await;
}

#[tokio::test]
async fn a_reload_that_mends_it_is_seen() {
    let service = Reloading::start().await;
    let world = &service.world;
    let other = || vec![series(&[("__name__", "other_x"), ("instance", "a"), ("job", "x")], &[(START_MS, 1.0)])];
    let job = async || {
        world.write(other()).await;
        let job = status(world).await["ingest"]["jobs"][0].take();
        (job["job"].clone(), job["used"].clone(), job["reason"].is_string())
    };
    assert_eq!(job().await, (json!("x"), json!(false), true));
    let load1 = "- {name: load1, expr: node_load1}";
    service.reload(&[(load1, &format!("{load1}\n- {{name: x, expr: other_x}}"))]).await;
    assert_eq!(job().await, (json!("x"), json!(true), false));
    service.world.stop().await;
}

#[tokio::test]
async fn every_path_of_a_receiver_takes_samples() {
    let world = World::start(CONFIG, &FEATURES).await;
    let paths = [
        "/api/v1/write",
        "/api/v1/push",
        "/api/v1/receive",
        "/receive",
        "/api/prom/push",
        "/insert/0/prometheus/api/v1/write",
        "/insert/7:8/prometheus/api/v1/write",
        "//api/v1/write",
        "/api//v1/write",
    ];
    for (i, path) in paths.iter().enumerate() {
        let url = format!("http://{}{path}", world.address);
        let handshake = world.client.get(format!("{url}?get_vm_proto_version=1")).send().await.unwrap();
        assert_eq!((handshake.status().as_u16(), handshake.text().await.unwrap().as_str()), (200, "1"), "{path}");
        let host = format!("h{i}:9100");
        let labels = [("__name__", "node_load1"), ("instance", &host), ("job", "node")];
        let body = snappy(&message(vec![series(&labels, &[(START_MS, 1.0)])]));
        let mut request = world.client.post(&url).body(body);
        for (name, value) in SNAPPY {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), 204, "{path}");
        assert_eq!(world.host(&host).await["host"], host.as_str(), "{path}");
    }
    world.stop().await;
}
