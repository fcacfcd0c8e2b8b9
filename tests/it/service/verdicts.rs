//! From scrapes to verdicts: what `/metrics` and the API say of hosts that are well, jump, end, lack something or are new.

use std::collections::BTreeMap;

use outlierd::series::STALE_NAN_BITS;
use serde_json::Value;

use super::World;
use super::node::{CONFIG, FEATURES, HOUR, JUMPING, Node, START_MS};
use super::pages;

/// Equal but for the last bits: `serde_json` reads numbers to within one rounding.
fn is_close(a: Option<f64>, b: &Value) -> bool {
    a.zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= 1e-12 * a.abs())
}

async fn world() -> World {
    World::start(CONFIG, &FEATURES).await
}

/// `state | reason | whether it is flagged`.
fn brief(host: &Value) -> String {
    let text = |name: &str| host[name].as_str().unwrap_or("?");
    format!("{} | {} | {}", text("state"), text("reason"), host["flag"])
}

fn rows(host: &Value) -> &Vec<Value> {
    host["rows"].as_array().unwrap()
}

#[tokio::test]
async fn an_hour_of_a_calm_host() {
    let world = world().await;
    let node = Node::calm("a:9100");
    assert_eq!(node.scrape(0).len(), 20);
    let check = async |until: usize, from: usize, expected: &str| {
        world.write(node.series(from..until)).await;
        let host = world.host("a:9100").await;
        assert_eq!(brief(&host), expected, "after {until} scrapes");
        host
    };
    // A row is closed once the lateness of two minutes has passed.
    let first = check(4, 0, "warming | 0 of 10 rows | null").await;
    assert_eq!(rows(&first).len(), 0);
    check(10, 4, "warming | 3 of 10 rows | null").await;
    check(24, 10, "warming | mean and deviation of its features are still being learnt | null").await;
    check(26, 24, "warming | 10m of 12m history | null").await;
    let page = world.metrics().await;
    assert_eq!(pages::value(&page, "outlierd_host_anomaly", "a:9100"), None, "a host that is warming has no flag");
    check(30, 26, "ok |  | false").await;
    let host = check(HOUR, 30, "ok |  | false").await;

    assert_eq!(host["labels"], serde_json::json!({"instance": "a:9100", "job": "node"}));
    assert_eq!((rows(&host).len(), host["missing"].as_array().unwrap().len()), (10, 0));
    for row in rows(&host) {
        assert_eq!((row["t_ms"].as_i64().unwrap() - START_MS) % 60_000, 0);
        for column in ["values", "expected"] {
            let numbers = row[column].as_array().unwrap();
            assert!(numbers.len() == 8 && numbers.iter().all(Value::is_number), "{row}");
        }
        assert!(row["mse"].as_f64().is_some_and(|mse| (0.0..4.0).contains(&mse)), "{row}");
    }
    let newest = rows(&host).last().unwrap();
    let near = |i: usize, usual: f64| (newest["values"][i].as_f64().unwrap() - usual).abs() < 0.06 * usual;
    // 1 - rate of idle
    assert!(near(0, 0.2) && near(2, 1.0) && near(4, 0.5) && near(5, 25.0) && near(6, 1e5) && near(7, 0.5), "{newest}");

    let page = world.metrics().await;
    pages::assert_finite(&page);
    let value = |name: &str| pages::value(&page, name, r#"instance="a:9100",job="node",model="default""#);
    assert_eq!(value("outlierd_host_anomaly"), Some(0.0));
    assert!(is_close(value("outlierd_host_mse"), &newest["mse"]), "{page}");
    assert_eq!(value("outlierd_host_threshold"), Some(4.0));
    assert_eq!(value("outlierd_feature_contribution"), None, "contributions are for anomalies");
    let ok = pages::value(&page, "outlierd_host_state", r#"state="ok""#);
    assert_eq!(ok, Some(1.0));
    world.stop().await;
}

#[tokio::test]
async fn a_jump_of_several_features() {
    let world = world().await;
    let node = Node { jumps_at: 80, ..Node::calm("a:9100") };
    // Eight rows: a host of an hour learns fast, and would have taken the new level for usual after some twenty.
    let mut flags = Vec::new();
    // Two scrapes to a row: one more row is closed each time.
    world.write(node.series(0..80)).await;
    for k in (80..96).step_by(2) {
        world.write(node.series(k..k + 2)).await;
        let host = world.host("a:9100").await;
        let newest = rows(&host).last().unwrap();
        flags.push((newest["score"].as_f64().unwrap() > 1.0, newest["flag"].as_bool().unwrap()));
    }
    let first_over = flags.iter().position(|(is_over, _)| *is_over).unwrap();
    assert!(first_over > 0, "over the limit before the jump");
    let tail: Vec<bool> = flags[first_over..].iter().map(|(_, flag)| *flag).collect();
    assert_eq!(tail[..4], [false, false, true, true], "the third row over the limit raises the flag");

    let host = world.host("a:9100").await;
    assert!(brief(&host).starts_with("anomalous | for "), "{}", brief(&host));
    let contributions = host["contributions"].as_array().unwrap();
    let shares: Vec<f64> = contributions.iter().map(|c| c["share"].as_f64().unwrap()).collect();
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
    assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
    let order: Vec<&str> = contributions.iter().map(|c| c["feature"].as_str().unwrap()).collect();
    assert!(order[..JUMPING].iter().all(|name| FEATURES[..JUMPING].contains(name)), "{contributions:?}");
    assert!(shares[JUMPING..].iter().all(|share| *share < 0.01), "{contributions:?}");

    let page = world.metrics().await;
    pages::assert_finite(&page);
    assert_eq!(pages::value(&page, "outlierd_host_anomaly", "a:9100"), Some(1.0));
    for (contribution, name) in contributions.iter().zip(&order) {
        let of = |family: &str| pages::value(&page, family, &format!("feature=\"{name}\""));
        for (family, column) in [("contribution", "share"), ("value", "actual"), ("expected", "expected")] {
            assert!(is_close(of(&format!("outlierd_feature_{family}")), &contribution[column]), "{family} of {name}");
        }
    }
    world.stop().await;
}

/// How an hour of scrapes is sent.
#[derive(Debug, Clone, Copy)]
enum Sending {
    InOrder,
    /// Four scrapes at a time from the newest to the oldest, within the lateness, and each twice.
    ShuffledAndTwice,
    /// Each scrape in two requests.
    Cut,
    /// Several samples per series.
    InBlocks,
    /// All series of a request in reverse.
    SeriesReversed,
}

/// Every row of the hour by time, as the API has it.
async fn rows_of(sending: Sending) -> BTreeMap<i64, Value> {
    let world = world().await;
    let node = Node { jumps_at: 60, ..Node::calm("a:9100") };
    let mut rows = BTreeMap::new();
    for start in (0..HOUR).step_by(4) {
        let scrapes = start..start + 4;
        match sending {
            Sending::InBlocks => world.write(node.series(scrapes)).await,
            Sending::InOrder => {
                for k in scrapes {
                    world.write(node.scrape(k)).await;
                }
            }
            Sending::ShuffledAndTwice => {
                for k in scrapes.rev().chain([start + 2, start, start + 3, start + 1]) {
                    world.write(node.scrape(k)).await;
                }
            }
            Sending::Cut => {
                for k in scrapes {
                    let mut series = node.scrape(k);
                    let rest = series.split_off(7 + k % 5);
                    world.write(rest).await;
                    world.write(series).await;
                }
            }
            Sending::SeriesReversed => {
                for k in scrapes {
                    world.write(node.scrape(k).into_iter().rev().collect()).await;
                }
            }
        }
        world.collect_rows("a:9100", &mut rows).await;
    }
    world.stop().await;
    rows
}

/// Equal, but for roundings in what the model computes: they depend on how many windows it is given at once.
fn is_same(row: &Value, expected: &Value) -> bool {
    match (row, expected) {
        (Value::Number(a), Value::Number(b)) if !a.is_i64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-5 * (1.0 + b.abs())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let is_same_in = |name: &String| is_same(&a[name], &b[name]);
            a.keys().eq(b.keys()) && a["values"] == b["values"] && a.keys().all(is_same_in)
        }
        _ => row == expected,
    }
}

#[tokio::test]
async fn how_it_is_sent_makes_no_difference() {
    let expected = rows_of(Sending::InOrder).await;
    assert_eq!(expected.len(), 58, "an hour less the lateness");
    assert!(expected.values().any(|row| row["flag"] == true));
    let check = async |sending: Sending| {
        let rows = rows_of(sending).await;
        assert!(rows.keys().eq(expected.keys()), "{sending:?}");
        for (row, expected) in rows.values().zip(expected.values()) {
            assert!(is_same(row, expected), "{sending:?}\n{row}\n{expected}");
        }
    };
    check(Sending::ShuffledAndTwice).await;
    check(Sending::Cut).await;
    check(Sending::InBlocks).await;
    check(Sending::SeriesReversed).await;
}

#[tokio::test]
async fn a_host_that_fails_is_down() {
    let world = world().await;
    let node = Node::calm("a:9100");
    world.write(node.series(0..60)).await;
    assert_eq!(brief(&world.host("a:9100").await), "ok |  | false");
    for k in 60..70 {
        world.write(node.failed_scrape(k)).await;
    }
    let host = world.host("a:9100").await;
    assert_eq!(brief(&host), "down | up is 0: the scrape fails | null");
    assert_eq!((&host["mse"], &host["score"]), (&Value::Null, &Value::Null));
    let page = world.metrics().await;
    let value = |name: &str, label: &str| pages::value(&page, name, label);
    assert_eq!(value("outlierd_host_anomaly", "a:9100"), None, "a host that is down has no flag, not even 0");
    assert_eq!(value("outlierd_host_mse", "a:9100"), None);
    assert_eq!(value("outlierd_host_state", r#"state="down""#), Some(1.0));

    // Back again: judged as soon as its window has enough of it.
    world.write(node.series(70..HOUR)).await;
    assert_eq!(brief(&world.host("a:9100").await), "ok |  | false");
    world.stop().await;
}

#[tokio::test]
async fn a_host_that_loses_features_is_partial_and_one_that_never_had_them_is_judged() {
    let world = world().await;
    let lacks: &[&str] = &["node_cpu", "node_disk", "node_network", "node_filesystem"];
    let (whole, part) = (Node::calm("a:9100"), Node { lacks, ..Node::calm("a:9100") });
    world.write(whole.series(0..60)).await;
    world.write(part.series(60..HOUR)).await;
    world.write(Node { name: "b:9100", ..part }.series(0..HOUR)).await;
    let host = world.host("a:9100").await;
    let reason = "5 of 8 features missing: cpu_busy, cpu_user, disk_reads and 2 more";
    assert_eq!(brief(&host), format!("partial | {reason} | null"));
    let names = |host: &Value, key: &str| -> Vec<String> {
        host[key].as_array().unwrap().iter().map(|m| m["feature"].as_str().unwrap().to_owned()).collect()
    };
    // Each says which selector matched nothing.
    let why = |at: usize| host["missing"][at]["reason"].as_str().unwrap();
    assert_eq!(why(2), "no series arrives that node_disk_reads_completed_total selects");
    assert_eq!(why(0), r#"no series arrives that node_cpu_seconds_total{mode="idle"} selects"#);
    let lacking = ["cpu_busy", "cpu_user", "disk_reads", "net_in", "filesystem_used"];
    assert_eq!(names(&host, "missing"), lacking);
    assert_eq!(host["not_applicable"], serde_json::json!([]));
    let part = world.host("b:9100").await;
    assert_eq!((brief(&part), names(&part, "missing").len()), ("ok |  | false".to_owned(), 0));
    assert_eq!(names(&part, "not_applicable"), lacking);
    assert_eq!(part["not_applicable"][2]["reason"], host["missing"][2]["reason"]);
    assert!(rows(&part).iter().all(|row| row["score"].is_number()), "{part}");
    let page = world.metrics().await;
    pages::assert_finite(&page);
    assert_eq!(pages::value(&page, "outlierd_host_anomaly", "a:9100"), None);
    assert_eq!(pages::value(&page, "outlierd_host_anomaly", "b:9100"), Some(0.0));
    assert_eq!(pages::value(&page, "outlierd_host_state", r#"state="partial""#), Some(1.0));
    world.stop().await;
}

#[tokio::test]
async fn a_host_of_which_the_model_knows_nothing_says_so() {
    let config = CONFIG.replace("features:\n", "features:\n- {name: memory, expr: node_memory_MemAvailable_bytes}\n");
    let world = World::start(&config, &["load1", "load5"]).await;
    world.write(Node { lacks: &["node_load"], ..Node::calm("a:9100") }.series(0..HOUR)).await;
    let host = world.host("a:9100").await;
    let reason = "the model knows none of the features that this host has; train a model of them (outlierd train) and name it in \
                  model.bundle";
    assert_eq!(brief(&host), format!("partial | {reason} | null"));
    assert_eq!(host["window_rows"], 10);
    world.stop().await;
}

#[tokio::test]
async fn numbers_that_are_none() {
    // Without the preset's bounds, which would make all of them missing.
    let config = CONFIG.replace("expr: node_load1}", "expr: node_load1, bounds: [~, ~]}");
    let world = World::start(&config, &FEATURES).await;
    let node = Node::calm("a:9100");
    world.write(node.series(0..60)).await;
    let check = async |from: usize, odd: f64, expected: fn(&Value) -> bool| {
        // The newest row that is closed is among these eight.
        for k in from..from + 8 {
            let mut series = node.scrape(k);
            series.iter_mut().for_each(|one| one.samples[0].value = odd);
            world.write(series).await;
        }
        pages::assert_finite(&world.metrics().await);
        let host = world.host("a:9100").await;
        let newest = rows(&host).last().unwrap();
        // Of a gauge; what rates are made of is as odd.
        assert!(expected(&newest["values"][2]), "{odd}: {newest}");
    };
    check(60, f64::NAN, Value::is_null).await;
    check(68, f64::INFINITY, Value::is_null).await;
    check(76, f64::NEG_INFINITY, Value::is_null).await;
    check(84, f64::from_bits(STALE_NAN_BITS), Value::is_null).await;
    // Beyond what the API's numbers hold.
    check(92, f64::MAX, Value::is_null).await;
    check(100, -1e300, Value::is_null).await;
    check(108, 1e30, Value::is_number).await;
    check(116, f64::MIN_POSITIVE, Value::is_number).await;
    check(124, -1.0, Value::is_number).await;
    // Well again: what was learnt from the odd ones must not have spoilt the statistics.
    world.write(node.series(132..2 * HOUR)).await;
    let host = world.host("a:9100").await;
    assert!(host["mse"].as_f64().is_some_and(f64::is_finite), "{host}");
    assert!(rows(&host).iter().all(|row| row["values"].as_array().unwrap().iter().all(Value::is_number)), "{host}");
    pages::assert_finite(&world.metrics().await);
    world.stop().await;
}
