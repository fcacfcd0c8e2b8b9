//! Who a host is: the labels that its results carry and what follows from them, by which target it is down, and what matchers may be
//! about.

use outlierd::base::clock::Clock;
use outlierd::base::proto::prometheus::{Label, TimeSeries};
use outlierd::series::STALE_NAN_BITS;
use serde_json::{Value, json};

use super::bodies::series;
use super::node::{CONFIG, FEATURES, HOUR, Node, SCRAPE_MS, START_MS};
use super::{World, pages, stored_in};

const HOST: &str = "a:9100";

fn brief(host: &Value) -> String {
    let text = |name: &str| host[name].as_str().unwrap_or("?");
    format!("{} | {} | {}", text("state"), text("reason"), host["flag"])
}

/// `scrapes` as the sender of `team` labels them.
fn of_team(mut scrapes: Vec<TimeSeries>, team: &str) -> Vec<TimeSeries> {
    for one in &mut scrapes {
        one.labels.push(Label { name: "team".to_owned(), value: team.to_owned() });
    }
    scrapes
}

/// `up` of `job` at scrape `k`.
fn up(job: &str, k: usize, value: f64) -> TimeSeries {
    let labels = [("__name__", "up"), ("instance", HOST), ("job", job)];
    series(&labels, &[(START_MS + k as i64 * SCRAPE_MS, value)])
}

/// Asks for a silence: status and text of the answer.
async fn silence(world: &World, hosts: &str) -> (u16, String) {
    // From the first sample on, and for an hour by the service's clock.
    let until_s = Clock::System.now_ms() / 1_000 + 3_600;
    let silence = json!({"match": hosts, "starts_at": START_MS / 1_000, "ends_at": until_s});
    let request = world.client.post(format!("http://{}/api/v1/silences", world.address)).body(silence.to_string());
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Series of the host on `/metrics`, and how many of them have `team`.
async fn shown(world: &World, team: &str) -> (usize, usize) {
    let page = world.metrics().await;
    pages::assert_finite(&page);
    let of_host = || page.lines().filter(|line| line.contains(r#"instance="a:9100""#));
    let mut names: Vec<&str> = of_host().filter_map(|line| line.split_once('{')).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), of_host().count(), "no family has the host twice: {page}");
    (of_host().count(), of_host().filter(|line| line.contains(&format!("team=\"{team}\""))).count())
}

#[tokio::test]
async fn results_follow_the_labels() {
    let overrides = "identity: {keep: [job, team]}\noverrides: [{match: '{team=\"y\"}', limit: 9}]";
    let world = World::start(&format!("{CONFIG}{overrides}\n"), &FEATURES).await;
    let node = Node::calm(HOST);
    world.write(of_team(node.series(0..60), "x")).await;
    let host = world.host(HOST).await;
    assert_eq!(host["labels"], json!({"instance": HOST, "job": "node", "team": "x"}));
    assert_eq!((brief(&host).as_str(), &host["threshold"]), ("ok |  | false", &json!(4.0)));
    let (n, n_of_x) = shown(&world, "x").await;
    assert!(n > 5 && n_of_x == n, "{n_of_x} of {n}");

    // The sender relabels: old series end, and others begin with the same scrape.
    let mut ends = of_team(node.scrape(60), "x");
    ends.iter_mut().for_each(|one| one.samples[0].value = f64::from_bits(STALE_NAN_BITS));
    world.write([of_team(node.scrape(60), "y"), ends].concat()).await;
    world.write(of_team(node.series(61..72), "y")).await;
    let host = world.host(HOST).await;
    assert_eq!(host["labels"]["team"], "y");
    assert_eq!((brief(&host).as_str(), &host["threshold"]), ("ok |  | false", &json!(9.0)), "its override, too");
    assert_eq!(shown(&world, "y").await, (n, n));

    // Silences: that of the old team is not for it any more.
    assert_eq!(silence(&world, r#"{team="x"}"#).await.0, 200);
    world.write(of_team(node.series(72..76), "y")).await;
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false");
    assert_eq!(silence(&world, r#"{team="y"}"#).await.0, 200);
    world.write(of_team(node.series(76..80), "y")).await;
    let silenced = brief(&world.host(HOST).await);
    assert!(silenced.starts_with("ok | silenced by silence-"), "{silenced}");

    // Without stale markers: once the old ones are not seen any more.
    world.write(of_team(node.series(80..HOUR), "x")).await;
    assert_eq!(world.host(HOST).await["labels"]["team"], "x");
    assert_eq!(shown(&world, "x").await.1, shown(&world, "x").await.0);
    world.stop().await;
}

#[tokio::test]
async fn a_host_is_down_by_the_exporter_whose_features_are_scored() {
    let world = World::start(CONFIG, &FEATURES).await;
    let node = Node::calm(HOST);
    let app = |k: usize, value: f64| vec![up("app", k, value)];
    // Another job's target of the same instance is down: that says nothing.
    for k in 0..60 {
        world.write([app(k, 0.0), node.scrape(k)].concat()).await;
    }
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false");
    // And nothing either where it is up, and the exporter isn't.
    for k in 60..70 {
        world.write([app(k, 1.0), node.failed_scrape(k)].concat()).await;
    }
    let down = "down | up is 0: the scrape fails | null";
    assert_eq!(brief(&world.host(HOST).await), down);
    // Still after ten minutes, when the series of the exporter are forgotten.
    for k in 70..90 {
        world.write([app(k, 1.0), vec![up("node", k, 0.0)]].concat()).await;
    }
    let host = world.host(HOST).await;
    assert_eq!((brief(&host).as_str(), &host["labels"]["job"]), (down, &json!("node")));
    for k in 90..HOUR {
        world.write([app(k, 1.0), node.scrape(k)].concat()).await;
    }
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false");
    world.stop().await;
}

#[tokio::test]
async fn a_silence_of_a_label_that_hosts_do_not_carry_is_refused() {
    let world = World::start(CONFIG, &FEATURES).await;
    let node = Node::calm(HOST);
    world.write(node.series(0..60)).await;
    let (status, text) = silence(&world, r#"{env!="prod"}"#).await;
    let expected = "`match`: hosts carry no label `env`, so that it is empty for every host; match by `instance` or `job`, or add \
                    `env` to `identity.keep`";
    assert!(status == 400 && text.contains(expected), "{status} {text}");
    world.write(node.series(60..66)).await;
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false");
    world.stop().await;
}

#[tokio::test]
async fn a_stored_silence_of_a_label_that_is_not_kept_any_more_is_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |identity: &str| {
        let config = format!("{CONFIG}{identity}\n");
        World::start_in(&config, &FEATURES, stored_in(folder.path())).await
    };
    let world = start("identity: {keep: [job, env]}").await;
    assert_eq!(silence(&world, r#"{env!="prod"}"#).await.0, 200);
    world.stop().await;
    let file = folder.path().join("silences.json");
    let kept = std::fs::read_to_string(&file).unwrap();

    let world = start("").await;
    let node = Node::calm(HOST);
    world.write(node.series(0..60)).await;
    assert_eq!(brief(&world.host(HOST).await), "ok |  | false");
    let list: Value = serde_json::from_str(&world.get("/api/v1/silences").await).unwrap();
    let error = list["data"]["silences"][0]["error"].as_str().unwrap();
    assert!(error.contains("hosts carry no label `env`"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
    world.stop().await;

    // With the label it is what it was: silenced from its first row on, the host learns nothing.
    let world = start("identity: {keep: [job, env]}").await;
    world.write(node.series(0..60)).await;
    let unlearnt = "warming | mean and deviation of its features are still being learnt | null";
    assert_eq!(brief(&world.host(HOST).await), unlearnt);
    let list: Value = serde_json::from_str(&world.get("/api/v1/silences").await).unwrap();
    assert_eq!(
        (&list["data"]["silences"][0]["error"], list["data"]["silences"].as_array().unwrap().len()),
        (&Value::Null, 1)
    );
    world.stop().await;
}
