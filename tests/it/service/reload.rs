//! Another configuration for a running service: what takes effect, what is kept, and what is refused.

use outlierd::base::clock::Clock;
use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::node::{CONFIG, FEATURES, HOUR, Node, START_MS};
use super::push::receiver::{Receiver, Request, TAKEN};
use super::*;

const HOST: &str = "a:9100";

/// A service that was started with a file.
pub(super) struct Reloading {
    pub(super) world: World,
}

impl Reloading {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
        write("small.onnx", bundle(&FEATURES));
        write("other.onnx", expecting(&FEATURES, 0.01));
        write("wrong.onnx", expecting(&FEATURES, 3.0));
        write("fewer.onnx", expecting(&["load5", "cpu_busy", "load1"], 0.01));
        write("another.onnx", bundle(&[&FEATURES[..6], &["cpu_system"]].concat()));
        write("foreign.onnx", bundle(&["temperature"]));
        let path = folder.path().join("o.yaml");
        fs::write(&path, file(&folder, CONFIG)).unwrap();
        let setup = Setup::new(config::load(&path).unwrap()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::start(&setup, listener, None).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { world: World { service, address, client, _folder: folder } }
    }

    /// Writes the file: [`CONFIG`] with some texts replaced.
    fn write_file(&self, changes: &[(&str, &str)]) {
        let text = changes.iter().fold(CONFIG.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let folder = &self.world._folder;
        fs::write(folder.path().join("o.yaml"), file(folder, &text)).unwrap();
    }

    /// `POST /-/reload`: status and text, with `DIR` for the folder.
    async fn post(&self) -> (u16, String) {
        let answer = self.world.client.post(format!("http://{}/-/reload", self.world.address)).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, text.trim_end().replace(&self.world._folder.path().display().to_string(), "DIR"))
    }

    /// Runs [`CONFIG`] with these changes from now on.
    pub(super) async fn reload(&self, changes: &[(&str, &str)]) {
        self.write_file(changes);
        assert_eq!(self.post().await, (200, "reloaded".to_owned()), "{changes:?}");
    }

    async fn value(&self, name: &str, label: &str) -> Option<f64> {
        pages::value(&self.world.metrics().await, name, label)
    }

    async fn is_successful(&self) -> bool {
        self.value("outlierd_config_last_reload_successful", "").await == Some(1.0)
    }
}

/// `text` with the bundle that it names, or the usual one, in `folder`.
fn file(folder: &TempDir, text: &str) -> String {
    let in_folder = |name: &str| folder.path().join(name).display().to_string();
    let text = text.replace("model: {window: 10}", "model: {window: 10, bundle: small.onnx}");
    ["small.onnx", "other.onnx", "wrong.onnx", "fewer.onnx", "another.onnx", "foreign.onnx"]
        .iter()
        .fold(text, |text, name| text.replace(&format!("bundle: {name}"), &format!("bundle: {}", in_folder(name))))
}

/// A bundle that expects every feature about so many deviations above its mean.
fn expecting(features: &[&str], deviations: f32) -> Vec<u8> {
    let mut manifest = manifest(features.len());
    for (feature, name) in manifest.features.iter_mut().zip(features) {
        (*name).clone_into(&mut feature.name);
    }
    let mut weights = small_weights(features.len());
    weights.head_b.iter_mut().for_each(|bias| *bias = deviations);
    write_graph(&weights, &manifest, Dims::default()).unwrap()
}

/// `state | reason | flag | rows with a score`.
fn brief(host: &Value) -> String {
    let text = |name: &str| host[name].as_str().unwrap_or("?");
    let n_scored = host["rows"].as_array().unwrap().iter().filter(|row| row["mse"].is_number()).count();
    format!("{} | {} | {} | {n_scored}", text("state"), text("reason"), host["flag"])
}

#[tokio::test]
async fn a_limit_takes_effect_with_the_next_row_and_nothing_is_lost() {
    let service = Reloading::start().await;
    let world = &service.world;
    let node = Node::calm(HOST);
    world.write(node.series(0..60)).await;
    let before = world.host(HOST).await;
    assert_eq!(brief(&before), "ok |  | false | 10");
    assert_eq!(before["threshold"], 4.0);
    service.reload(&[("limit: 4", "limit: 7")]).await;
    let after = world.host(HOST).await;
    assert_eq!((&after["rows"], brief(&after)), (&before["rows"], brief(&before)), "as if nothing had happened");
    world.write(node.series(60..62)).await;
    let host = world.host(HOST).await;
    assert_eq!((host["threshold"].as_f64(), brief(&host)), (Some(7.0), "ok |  | false | 10".to_owned()));
    assert!(service.is_successful().await);
    let at = service.value("outlierd_config_last_reload_success_timestamp_seconds", "").await.unwrap();
    assert!(at > 1.7e9 && at < 1e10, "{at}");
    service.world.stop().await;
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_said() {
    let service = Reloading::start().await;
    let world = &service.world;
    let node = Node::calm(HOST);
    world.write(node.series(0..60)).await;
    let rows = world.host(HOST).await["rows"].clone();
    let check = async |changes: &[(&str, &str)], expected: &str| {
        // The limit must not be taken either.
        service.write_file(&[&[("limit: 4", "limit: 9")], changes].concat());
        let (status, text) = service.post().await;
        let expected = format!("cannot reload, the old configuration stays:\n{expected}");
        assert!(status == 500 && text.starts_with(&expected), "{status} {text}\ninstead of\n{expected}");
        assert!(!service.is_successful().await);
        let host = world.host(HOST).await;
        assert_eq!((&host["rows"], &host["threshold"]), (&rows, &Value::from(4.0)));
    };
    check(&[("step: 60s", "step: 60s\nstepp: 3")], "DIR/o.yaml:3:1: unknown key `stepp`; did you mean `step`?").await;
    let open = "DIR/o.yaml:11:42: feature load1: `(` is not closed";
    check(&[("expr: node_load1", "expr: 'sum by (instance) (nope_load1'")], open).await;
    check(&[("{window: 10}", "{window: 10, bundle: no/such.onnx}")], "cannot read the bundle no/such.onnx: ").await;
    let foreign = "DIR/foreign.onnx scores features that are neither configured nor in the preset: temperature";
    check(&[("{window: 10}", "{window: 10, bundle: foreign.onnx}")], foreign).await;
    check(&[("{window: 10}", "{window: 10, bundle: o.yaml}")], "cannot read the bundle o.yaml").await;
    check(&[("shards: 2", "shards: 3")], "`threads.shards` cannot change while it runs: restart outlierd").await;
    let read = "the default of identity.drop, less the labels that features read, cannot change while it runs";
    check(&[("expr: node_load1", "expr: 'max by (replica) (node_load1)'")], read).await;
    let two =
        "`identity.label`, `threads.scorers` cannot change while it runs: restart outlierd, or take the change back";
    check(&[("scorers: 1", "scorers: 2"), ("step: 60s", "step: 60s\nidentity: {label: node}")], two).await;
    let same = "`shadow.alias` is `default`, as `model.alias` is";
    check(&[("step: 60s", "step: 60s\nshadow: {alias: default}")], &format!("DIR/o.yaml:3:1: {same}")).await;
    let unknown = "hosts carry no label `env`, so that it is empty for every host; match by `instance` or `job`, or add `env` to \
                   `identity.keep`";
    let maintenance = "maintenance: [{name: a, match: '{env!=\"prod\"}', schedule: '0 2 * * *', duration: 1h}]";
    let changes = [("step: 60s", &*format!("step: 60s\n{maintenance}"))];
    check(&changes, &format!("DIR/o.yaml:3:32: {unknown}")).await;
    let overrides = "overrides: [{match: '{env=\"prod\"}', limit: 2}]";
    check(&[("step: 60s", &format!("step: 60s\n{overrides}"))], &format!("DIR/o.yaml:3:21: {unknown}")).await;
    fs::remove_file(world._folder.path().join("o.yaml")).unwrap();
    let (status, text) = service.post().await;
    assert!(status == 500 && text.contains("DIR/o.yaml: cannot read the file: "), "{status} {text}");
    assert!(!service.is_successful().await);

    // It goes on with the old one, and takes the next that is whole.
    world.write(node.series(60..62)).await;
    assert_eq!(world.host(HOST).await["threshold"], 4.0);
    service.reload(&[("limit: 4", "limit: 9")]).await;
    assert!(service.is_successful().await);
    world.write(node.series(62..64)).await;
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false | 10");
    assert_eq!(world.host(HOST).await["threshold"], 9.0);
    service.world.stop().await;
}

#[tokio::test]
async fn only_a_post_reloads_and_only_where_there_is_a_file() {
    let world = World::start(CONFIG, &FEATURES).await;
    let url = format!("http://{}/-/reload", world.address);
    let got = world.client.get(&url).send().await.unwrap();
    assert_eq!((got.status().as_u16(), got.headers()["allow"].to_str().unwrap()), (405, "POST, PUT"));
    let posted = world.client.post(&url).send().await.unwrap();
    assert_eq!(posted.status().as_u16(), 500);
    assert!(posted.text().await.unwrap().contains("start it with --config.file"));
    world.stop().await;
}

#[tokio::test]
async fn a_hundred_reloads_under_load_lose_no_row_and_no_window() {
    let service = Reloading::start().await;
    let world = &service.world;
    let nodes = ["a:9100", "b:9100", "c:9100"].map(Node::calm);
    let load = async {
        let mut rows: [BTreeMap<i64, Value>; 3] = Default::default();
        for k in (0..2 * HOUR).step_by(4) {
            for (node, rows) in nodes.iter().zip(&mut rows) {
                world.write(node.series(k..k + 4)).await;
                world.collect_rows(node.name, rows).await;
            }
        }
        rows
    };
    let reloads = async {
        for n in 0..100 {
            let name = if n % 2 == 0 { "other" } else { "small" };
            let with = format!("{{window: 10, bundle: {name}.onnx}}");
            service.reload(&[("{window: 10}", &with), ("limit: 4", &format!("limit: {}", 4 + n))]).await;
            // Signals that come together are one reload or two; nobody waits for them.
            (0..20).for_each(|_| world.service.reload());
        }
    };
    let (rows, ()) = tokio::join!(load, reloads);
    for rows in rows {
        let times: Vec<i64> = rows.keys().copied().collect();
        assert_eq!(times.len(), 118, "two hours less the lateness");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 60_000), "{times:?}");
        let unscored = rows.values().take_while(|row| row["mse"].is_null()).count();
        assert!(unscored < 13, "{unscored}");
        assert!(rows.values().skip(unscored).all(|row| row["mse"].is_number()), "a window was lost");
    }
    assert_eq!(service.value("outlierd_windows_failed_total", "").await, Some(0.0));
    assert_eq!(service.value("outlierd_rows_shed_total", "").await, Some(0.0));
    service.world.stop().await;
}

#[tokio::test]
async fn features_come_and_go() {
    let service = Reloading::start().await;
    let world = &service.world;
    let node = Node::calm(HOST);
    world.write(node.series(0..60)).await;
    let column = |host: &Value, name: &str| -> Vec<Value> {
        let features = host["features"].as_array().unwrap();
        let at = features.iter().position(|feature| feature["name"] == name).unwrap();
        host["rows"].as_array().unwrap().iter().map(|row| row["values"][at].clone()).collect()
    };
    let before = world.host(HOST).await;
    // One that the model doesn't know, before the others, and one of the model's in other words.
    let new = "- {name: free, expr: 'node_filesystem_avail_bytes{mountpoint=\"/\"}'}\n- {name: cpu_busy";
    let changes = [("- {name: cpu_busy", new), ("expr: node_load5", "expr: node_load5 + 0")];
    service.reload(&changes).await;
    let after = world.host(HOST).await;
    assert_eq!(brief(&after), "ok |  | false | 10");
    assert_eq!(column(&after, "load1"), column(&before, "load1"));
    for name in ["free", "load5"] {
        assert!(column(&after, name).iter().all(Value::is_null), "{name} begins anew: {after}");
    }
    world.write(node.series(60..66)).await;
    let host = world.host(HOST).await;
    assert_eq!(brief(&host), "ok |  | false | 10");
    let why = "it came with the last reload and waits until its range is full, or the lookback has passed: nothing is to be done";
    // What `load5` reads was read before.
    let missing = serde_json::json!([{"feature": "free", "reason": why}]);
    assert_eq!(host["missing"], missing);
    world.write(node.series(66..HOUR)).await;
    let host = world.host(HOST).await;
    assert_eq!(brief(&host), "ok |  | false | 10");
    assert!(column(&host, "free").iter().chain(&column(&host, "load5")).all(Value::is_number), "{host}");

    // Another model with fewer features in another order, and back.
    service.reload(&[("{window: 10}", "{window: 10, bundle: fewer.onnx}"), changes[1]]).await;
    world.write(node.series(HOUR..HOUR + 4)).await;
    let host = world.host(HOST).await;
    assert_eq!(brief(&host), "ok |  | false | 10");
    let expected = |host: &Value| {
        let newest = host["rows"].as_array().unwrap().last().unwrap().clone();
        newest["expected"].as_array().unwrap().iter().map(Value::is_number).collect::<Vec<_>>()
    };
    assert_eq!(expected(&host), [true, false, true, true, false, false, false, false]);
    service.reload(&[("{window: 10}", "{window: 10, bundle: another.onnx}")]).await;
    world.write(node.series(HOUR + 4..HOUR + 8)).await;
    let host = world.host(HOST).await;
    assert_eq!(host["features"].as_array().unwrap().len(), 9, "the preset's cpu_system is there for the model");
    // Four of its seven features are new to the model: the history begins anew.
    assert_eq!(host["state"], "warming");
    service.world.stop().await;
}

#[tokio::test]
async fn another_number_of_rows_and_another_step() {
    let service = Reloading::start().await;
    let world = &service.world;
    let node = Node::calm(HOST);
    world.write(node.series(0..60)).await;
    service.reload(&[("{window: 10}", "{window: 6, bundle: small.onnx}")]).await;
    world.write(node.series(60..62)).await;
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false | 6");
    service.reload(&[("{window: 10}", "{window: 9, bundle: small.onnx}")]).await;
    world.write(node.series(62..64)).await;
    let host = world.host(HOST).await;
    assert_eq!((&host["state"], &host["reason"]), (&"warming".into(), &"7 of 9 rows".into()));
    world.write(node.series(64..68)).await;
    assert_eq!(world.host(HOST).await["state"], "ok");
    service.reload(&[("step: 60s", "step: 120s")]).await;
    world.write(node.series(68..76)).await;
    let host = world.host(HOST).await;
    assert_eq!(host["state"], "warming");
    assert!(host["reason"].as_str().unwrap().ends_with("of 10 rows"), "{host}");
    service.world.stop().await;
}

#[tokio::test]
async fn a_shadow_is_exported_and_never_flags_and_goes_live_and_back() {
    let service = Reloading::start().await;
    let world = &service.world;
    let node = Node::calm(HOST);
    world.write(node.series(0..60)).await;
    let with = |live: &str, shadow: &str| {
        let models = format!("model: {{window: 10, bundle: {live}.onnx, alias: {live}}}\n");
        format!("{models}shadow: {{window: 10, bundle: {shadow}.onnx, alias: {shadow}}}")
    };
    let (first, promoted) = (with("small", "wrong"), with("wrong", "small"));
    service.reload(&[("model: {window: 10}", &first)]).await;
    world.write(node.series(60..90)).await;
    let page = world.metrics().await;
    let value = |name: &str, model: &str| {
        pages::value(
            &page,
            &format!("outlierd_host_{name}"),
            &format!("instance=\"{HOST}\",job=\"node\",model=\"{model}\""),
        )
    };
    assert!(value("score", "wrong").unwrap() > 1.0 && value("score", "small").unwrap() < 1.0, "{page}");
    assert!(value("mse", "wrong").is_some() && value("threshold", "wrong") == Some(4.0), "{page}");
    assert_eq!((value("anomaly", "small"), value("anomaly", "wrong")), (Some(0.0), None), "a shadow has no flag");
    assert_eq!((value("state", "wrong"), value("window_rows", "wrong")), (None, None), "nor a state");
    let of_model = async |model: &str| {
        let text = world.get(&format!("/api/v1/hosts/{HOST}?model={model}")).await;
        serde_json::from_str::<Value>(&text).unwrap()["data"].take()
    };
    let shadow = of_model("wrong").await;
    assert_eq!(
        (&shadow["model"], &shadow["flag"], &shadow["contributions"]),
        (&"wrong".into(), &Value::Null, &Value::Array(vec![]))
    );
    assert!(shadow["score"].as_f64().unwrap() > 1.0);
    assert!(shadow["rows"].as_array().unwrap().iter().all(|row| row["score"].is_number() && row["flag"].is_null()));
    assert_eq!(of_model("small").await, world.host(HOST).await);
    let none =
        world.client.get(format!("http://{}/api/v1/hosts/{HOST}?model=none", world.address)).send().await.unwrap();
    assert_eq!(none.status().as_u16(), 400);

    // Live: it knows the host as well as it did, and its flag counts now.
    service.reload(&[("model: {window: 10}", &promoted)]).await;
    let host = world.host(HOST).await;
    assert!(brief(&host).starts_with("anomalous | for "), "{}", brief(&host));
    assert_eq!((&host["model"], &host["mse"]), (&"wrong".into(), &shadow["mse"]));
    let old = of_model("small").await;
    assert_eq!((old["flag"].is_null(), old["score"].as_f64().unwrap() < 1.0), (true, true));
    world.write(node.series(90..92)).await;
    let host = world.host(HOST).await;
    assert!(brief(&host).starts_with("anomalous | for ") && brief(&host).ends_with("| 10"), "{}", brief(&host));
    // And back.
    service.reload(&[("model: {window: 10}", &first)]).await;
    world.write(node.series(92..94)).await;
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false | 10");
    // Without a shadow nothing is left of it.
    service.reload(&[("model: {window: 10}", "model: {window: 10, bundle: small.onnx, alias: small}")]).await;
    world.write(node.series(94..96)).await;
    assert!(!world.metrics().await.contains("wrong"));
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false | 10");
    service.world.stop().await;
}

#[tokio::test]
async fn overrides_and_maintenance_follow_and_silences_stay() {
    let service = Reloading::start().await;
    let world = &service.world;
    let nodes = ["a:9100", "b:9100"].map(Node::calm);
    let write = async |scrapes: std::ops::Range<usize>| {
        for node in nodes {
            world.write(node.series(scrapes.clone())).await;
        }
    };
    write(0..60).await;
    // Of the samples' time, which is long over, until an hour from now.
    let until_s = Clock::System.now_ms() / 1_000 + 3_600;
    let silence =
        format!(r#"{{"match": "{{instance=\"b:9100\"}}", "starts_at": {}, "ends_at": {until_s}}}"#, START_MS / 1_000);
    let url = format!("http://{}/api/v1/silences", world.address);
    let asked = world.client.post(url).header("content-type", "application/json").body(silence).send().await.unwrap();
    assert!(asked.status().is_success(), "{}", asked.text().await.unwrap());

    let overrides = "overrides: [{match: '{instance=\"a:9100\"}', limit: 9}]";
    service.reload(&[("threads:", &format!("{overrides}\nthreads:"))]).await;
    write(60..62).await;
    let (a, b) = (world.host("a:9100").await, world.host("b:9100").await);
    assert_eq!((&a["threshold"], &b["threshold"]), (&9.0.into(), &4.0.into()));
    assert_eq!(brief(&a), "ok |  | false | 10");
    let silenced = |host: &Value| host["flag"].is_null() && host["reason"].as_str().unwrap().starts_with("silenced");
    assert!(silenced(&b) && !silenced(&a), "{b}");

    let maintenance = "maintenance: [{name: nightly, match: '{}', schedule: '* * * * *', duration: 1h}]";
    service.reload(&[("threads:", &format!("{maintenance}\nthreads:"))]).await;
    write(62..64).await;
    let a = world.host("a:9100").await;
    assert!(silenced(&a) && a["reason"].as_str().unwrap().contains("nightly"), "{a}");
    assert_eq!(a["threshold"], 4.0);
    service.reload(&[]).await;
    write(64..66).await;
    let (a, b) = (world.host("a:9100").await, world.host("b:9100").await);
    assert!(silenced(&b) && !silenced(&a), "what was asked for outlives every reload: {a} {b}");
    service.world.stop().await;
}

#[tokio::test]
async fn what_is_pushed_follows_without_a_gap() {
    let mut receiver = Receiver::start(&[], TAKEN);
    let service = Reloading::start().await;
    let world = &service.world;
    let node = Node::calm(HOST);
    // As scrapes come: what lies far behind the newest sample is not judged.
    let write = async |scrapes: std::ops::Range<usize>| {
        for k in scrapes {
            world.write(node.scrape(k)).await;
        }
        world.service.settle().await;
    };
    write(0..40).await;
    // Nothing is sent before a push is over.
    let push = format!("push: {{url: 'http://{}/api/v1/write', interval: 10m, series: host}}", receiver.address);
    let with = |alias: &str| {
        let model = format!("{{window: 10, bundle: small.onnx, alias: {alias}}}");
        (model, format!("{push}\nthreads:"))
    };
    let (model, threads) = with("one");
    service.reload(&[("{window: 10}", &model), ("threads:", &threads)]).await;
    write(40..60).await;
    // The same again changes nothing.
    service.reload(&[("{window: 10}", &model), ("threads:", &threads), ("limit: 4", "limit: 5")]).await;
    write(60..80).await;
    let (model, threads) = with("two");
    service.reload(&[("{window: 10}", &model), ("threads:", &threads)]).await;
    write(80..100).await;
    let scores = |request: &Request| -> Vec<(String, i64)> {
        let series = request.body.timeseries.iter();
        series
            .flat_map(|series| {
                let alias = series.labels.iter().find(|label| label.name == "model_alias").unwrap().value.clone();
                series.samples.iter().map(move |sample| (alias.clone(), sample.timestamp))
            })
            .collect()
    };
    let of_one = scores(&receiver.next().await);
    service.reload(&[]).await;
    write(100..HOUR).await;
    let of_two = scores(&receiver.next().await);
    service.world.stop().await;
    assert!(of_one.iter().all(|(alias, _)| alias == "one") && of_two.iter().all(|(alias, _)| alias == "two"));
    let times: Vec<i64> = of_one.iter().chain(&of_two).map(|(_, t_ms)| *t_ms).collect();
    let expected: Vec<i64> = (times[0]..=*times.last().unwrap()).step_by(60_000).collect();
    assert_eq!(times, expected, "every row once, with the name that its model had");
    assert_eq!(times.len(), 30);
    assert_eq!(receiver.rest().len(), 0, "nothing is pushed any more");
}
