//! What people say of an event moves the limit of its host from the next row on, is listed, can be taken back, and survives.

use serde_json::{Value, json};

use super::node::{CONFIG, FEATURES, HOUR, Node};
use super::pages;
use super::{World, stored_in};

const JSON: &str = "application/json";

/// Asks, and gives status and body.
async fn ask(world: &World, method: &str, path: &str, content_type: &str, body: &str) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = world.client.request(method, format!("http://{}{path}", world.address));
    let request = request.header("content-type", content_type).body(body.to_owned());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
}

fn jumping() -> Node {
    Node { jumps_at: 80, ..Node::calm("a:9100") }
}

/// Id of the only event.
async fn event(world: &World) -> String {
    world.service.settle().await;
    let page: Value = serde_json::from_str(&world.get("/api/v1/events").await).unwrap();
    assert_eq!(page["data"]["total"], 1);
    page["data"]["events"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_expected_event_raises_the_limit_of_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{CONFIG}\nfeedback: {{step: 1.5, max: 2}}");
    let start = async || World::start_in(&config, &FEATURES, stored_in(folder.path())).await;
    let threshold = async |world: &World, host: &str| world.host(host).await["threshold"].as_f64().unwrap();
    let world = start().await;
    world.write(Node::calm("b:9100").series(0..HOUR)).await;
    world.write(jumping().series(0..92)).await;
    let path = format!("/api/v1/events/{}/feedback", event(&world).await);
    assert_eq!(threshold(&world, "a:9100").await, 4.0);
    let (status, answer) = ask(&world, "POST", &path, JSON, r#"{"verdict":"expected"}"#).await;
    assert_eq!((status, &answer["data"]["host"], &answer["data"]["factor"]), (200, &json!("a:9100"), &json!(1.5)));
    world.write(jumping().series(92..96)).await;
    assert_eq!(threshold(&world, "a:9100").await, 6.0);
    assert_eq!(threshold(&world, "b:9100").await, 4.0, "another host's stays");
    let list: Value = serde_json::from_str(&world.get("/api/v1/feedback").await).unwrap();
    let hosts = list["data"]["hosts"].as_array().unwrap();
    assert_eq!((hosts.len(), &hosts[0]["feedback"][0]["verdict"]), (1, &json!("expected")));
    let page = world.metrics().await;
    assert_eq!(pages::value(&page, "outlierd_feedback_opinions", ""), Some(1.0));
    world.stop().await;

    // In force after a restart too.
    let world = start().await;
    assert_eq!(serde_json::from_str::<Value>(&world.get("/api/v1/feedback").await).unwrap(), list);
    world.write(Node::calm("a:9100").series(0..HOUR)).await;
    assert_eq!(threshold(&world, "a:9100").await, 6.0);
    assert_eq!(ask(&world, "POST", &path, JSON, r#"{"verdict":"useful"}"#).await.0, 200);
    world.write(Node::calm("a:9100").series(HOUR..HOUR + 4)).await;
    assert!((threshold(&world, "a:9100").await - 4.0 / 1.5).abs() < 1e-9);
    let (status, answer) = ask(&world, "DELETE", &path, JSON, "").await;
    assert_eq!((status, &answer["data"]["factor"]), (200, &json!(1.0)));
    world.write(Node::calm("a:9100").series(HOUR + 4..HOUR + 8)).await;
    assert_eq!(threshold(&world, "a:9100").await, 4.0);
    assert_eq!(ask(&world, "DELETE", &path, JSON, "").await.0, 404);
    world.stop().await;
}

#[tokio::test]
async fn feedback_that_makes_no_sense() {
    let world = World::start(CONFIG, &FEATURES).await;
    world.write(jumping().series(0..92)).await;
    let path = format!("/api/v1/events/{}/feedback", event(&world).await);
    let check = async |method: &str, path: &str, content_type: &str, body: &str, status: u16, expected: &str| {
        let (found, answer) = ask(&world, method, path, content_type, body).await;
        let said = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && said.contains(expected), "{method} {path} {body}: {found} {answer}");
    };
    let good = r#"{"verdict":"useful"}"#;
    check("POST", "/api/v1/events/0-0/feedback", JSON, good, 404, r#"there is no event "0-0""#).await;
    check("DELETE", "/api/v1/events/0-0/feedback", JSON, "", 404, "nothing was said").await;
    for (body, expected) in [
        ("", "send {\"verdict\": \"expected\"} or"),
        ("[]", "send {\"verdict\": \"expected\"} or"),
        ("{}", "missing field `verdict`"),
        (r#"{"verdict":"wrong"}"#, "unknown variant `wrong`, expected `expected` or `useful`"),
        (r#"{"verdict":"useful","who":"me"}"#, "unknown field `who`"),
    ] {
        check("POST", &path, JSON, body, 400, expected).await;
    }
    check("POST", &path, JSON, &" ".repeat(70_000), 400, "larger than 65536 bytes").await;
    check("POST", &path, "text/plain", good, 415, "application/json").await;
    check("GET", &path, JSON, "", 405, "").await;
    check("POST", "/api/v1/feedback", JSON, good, 405, "").await;
    let list: Value = serde_json::from_str(&world.get("/api/v1/feedback").await).unwrap();
    assert_eq!(list["data"], json!({"hosts": []}));
    world.stop().await;
}
