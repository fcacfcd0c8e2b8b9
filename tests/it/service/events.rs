//! Flags as events: when they begin and end, what they say, and what a restart keeps.

use serde_json::{Value, json};

use super::node::{CONFIG, FEATURES, HOUR, JUMPING, Node, SCRAPE_MS, START_MS};
use super::pages;
use super::{World, stored_in};

/// Scrapes of the lateness: what was sent, less these, is in closed rows.
const LATENESS: usize = 4;

fn jumping() -> Node {
    Node { jumps_at: 80, ..Node::calm("a:9100") }
}

async fn events(world: &World, query: &str) -> Value {
    world.service.settle().await;
    let mut answer: Value = serde_json::from_str(&world.get(&format!("/api/v1/events{query}")).await).unwrap();
    answer["data"].take()
}

/// `state how`, newest first.
fn brief(page: &Value) -> String {
    let one = |event: &Value| {
        let ended = event["ended"].as_str().map_or(String::new(), |ended| format!(" {ended}"));
        format!("{}{ended}", event["state"].as_str().unwrap())
    };
    page["events"].as_array().unwrap().iter().map(one).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn a_jump_is_an_event_that_ends() {
    let world = World::start(CONFIG, &FEATURES).await;
    world.write(Node::calm("b:9100").series(0..HOUR)).await;
    world.write(jumping().series(0..80)).await;
    assert_eq!(events(&world, "").await, json!({"total": 0, "events": []}));
    // Two scrapes to a row: one more row is closed each time, and the event is there with the flag, not later.
    let mut begun = None;
    for k in (80..96).step_by(2) {
        world.write(jumping().series(k..k + 2)).await;
        let host = world.host("a:9100").await;
        let newest = host["rows"].as_array().unwrap().last().unwrap();
        let is_open = events(&world, "?state=open").await["total"] == 1;
        assert_eq!(is_open, newest["flag"] == true);
        if is_open && begun.is_none() {
            begun = newest["t_ms"].as_i64();
        }
    }
    let page = events(&world, "").await;
    let event = &page["events"][0];
    assert_eq!((page["total"].as_u64(), event["start_ms"].as_i64()), (Some(1), begun));
    assert_eq!(
        (&event["host"], &event["state"], &event["model"]),
        (&json!("a:9100"), &json!("open"), &json!("default"))
    );
    assert_eq!(event["labels"], json!({"instance": "a:9100", "job": "node"}));
    assert_eq!((&event["end_ms"], &event["ended"]), (&Value::Null, &Value::Null));
    assert!(event["peak_score"].as_f64() >= event["score"].as_f64() && event["score"].as_f64() > Some(1.0), "{event}");
    let features = event["features"].as_array().unwrap();
    assert_eq!(features.len(), 5);
    let is_jumping = |f: &Value| FEATURES[..JUMPING].contains(&f["feature"].as_str().unwrap());
    assert!(features.iter().all(|f| is_jumping(f) && f["actual"].is_number() && f["expected"].is_number()), "{event}");
    let host = world.host("a:9100").await;
    assert_eq!(host["events"], page["events"], "the host's page has it too");
    let metrics = world.metrics().await;
    let value = |name: &str| pages::value(&metrics, name, "");
    assert_eq!((value("outlierd_events_total"), value("outlierd_events_open")), (Some(1.0), Some(1.0)));

    // The new level is learnt, or the host is calm again: the flag is cleared.
    let calm = Node::calm("a:9100");
    world.write(calm.series(96..3 * HOUR)).await;
    let page = events(&world, "?host=a:9100&state=closed").await;
    assert_eq!(brief(&page), "closed cleared");
    let closed = &page["events"][0];
    assert!(closed["end_ms"].as_i64() > closed["last_ms"].as_i64() && closed["start_ms"].as_i64() == begun, "{closed}");
    let until = START_MS + (96 + LATENESS as i64) * SCRAPE_MS;
    assert!(closed["peak_ms"].as_i64() <= Some(until), "{closed}");
    assert_eq!(events(&world, "?state=open").await["total"], 0);
    assert_eq!(events(&world, "?host=b:9100").await["total"], 0);
    let end_ms = closed["end_ms"].as_i64().unwrap();
    assert_eq!(events(&world, &format!("?since={end_ms}")).await["total"], 1);
    assert_eq!(events(&world, &format!("?since={}", end_ms + 1)).await["total"], 0);
    assert_eq!(events(&world, &format!("?until={}", begun.unwrap() - 1)).await["total"], 0);
    assert_eq!(events(&world, "?since=1h").await["total"], 0, "of the last hour by the clock");
    world.stop().await;
}

#[tokio::test]
async fn flags_close_to_each_other_are_one_event() {
    let spike = |k: usize| Node {
        jumps_at: if (80..90).contains(&k) || (100..110).contains(&k) { 0 } else { usize::MAX },
        ..Node::calm("a:9100")
    };
    let check = async |merge: &str, expected: usize| {
        // The second time is less of a surprise.
        let config = CONFIG.replace("limit: 4", &format!("limit: 1, merge: {merge}"));
        let world = World::start(&config, &FEATURES).await;
        for k in 0..140 {
            // Gauges alone: a counter that jumps back is a reset.
            let gauges = |s: &outlierd::base::proto::prometheus::TimeSeries| !s.labels[0].value.ends_with("_total");
            world.write(spike(k).scrape(k).into_iter().filter(gauges).collect()).await;
        }
        let page = events(&world, "").await;
        assert_eq!(brief(&page), vec!["closed cleared"; expected].join(", "), "{page}");
        world.stop().await;
    };
    check("0s", 2).await;
    check("30m", 1).await;
}

#[tokio::test]
async fn a_host_whose_scrape_fails_has_no_open_event() {
    let world = World::start(CONFIG, &FEATURES).await;
    world.write(jumping().series(0..92)).await;
    assert_eq!(brief(&events(&world, "").await), "open");
    for k in 92..100 {
        world.write(jumping().failed_scrape(k)).await;
    }
    let page = events(&world, "").await;
    assert_eq!(brief(&page), "closed down");
    assert_eq!(page["events"][0]["end_ms"], page["events"][0]["last_ms"], "until the last row with the flag");
    world.stop().await;
}

#[tokio::test]
async fn events_survive_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let config = CONFIG.replace("min_history: 12m", "min_history: 12m, merge: 5m");
    let start = async || World::start_in(&config, &FEATURES, stored_in(folder.path())).await;
    let world = start().await;
    world.write(jumping().series(0..92)).await;
    let before = events(&world, "").await;
    assert_eq!(brief(&before), "open");
    world.stop().await;

    // Open still: its host has five minutes to come back and be flagged.
    let world = start().await;
    assert_eq!(events(&world, "").await, before);
    // It comes back and has to warm up for longer than that.
    world.write(Node::calm("a:9100").series(92..92 + HOUR)).await;
    let page = events(&world, "").await;
    assert_eq!(brief(&page), "closed restart");
    assert_eq!(page["events"][0]["id"], before["events"][0]["id"]);
    world.stop().await;

    // What another program, or a crash, left there.
    let file = folder.path().join("events.jsonl");
    let mut text = std::fs::read(&file).unwrap();
    text.extend_from_slice(b"{\"id\":\"torn");
    std::fs::write(&file, &text).unwrap();
    let world = start().await;
    assert_eq!(events(&world, "").await, page);
    let unreadable = pages::value(&world.metrics().await, "outlierd_events_unreadable_total", "line");
    assert_eq!(unreadable, Some(1.0));
    world.stop().await;
    std::fs::write(&file, "something else").unwrap();
    let world = start().await;
    assert_eq!(events(&world, "").await["total"], 0);
    assert_eq!(std::fs::read(folder.path().join("events.jsonl.unreadable")).unwrap(), b"something else");
    world.stop().await;
}
