//! Hosts that have a part of the features: from the start, or since they lost the others.

use outlierd::base::proto::prometheus::TimeSeries;
use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::Role;
use serde_json::Value;

use super::body::Body;
use super::machine::Machine;
use super::{DAY, HOUR, Span, World, told};

const CALM: Strain = Strain { busy: 0.0, memory: 0.0, disk: 0.0, packets: 0.0, loss: 0.0 };
/// When a fault begins, or features are lost.
const WRONG: i64 = DAY + 14 * HOUR;

/// Families of eleven features, which an exporter of another system than Linux has.
const FEW: [&str; 4] = ["node_load", "node_cpu", "node_network", "node_vmstat_psw"];

/// Series whose names begin with one of `families`, and `up`.
fn with(scrape: Vec<TimeSeries>, families: &[&str]) -> Vec<TimeSeries> {
    let is_there = |name: &str| name == "up" || families.iter().any(|family| name.starts_with(family));
    scrape.into_iter().filter(|one| is_there(&one.labels[0].value)).collect()
}

/// The features under `key` of a host.
fn names(host: &Value, key: &str) -> Vec<String> {
    host[key].as_array().unwrap().iter().map(|f| f["feature"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_host_is_judged_on_the_features_that_it_has() {
    let world = World::start("").await;
    let (mut calm, mut ill) = (Machine::new("calm:9100", Role::Web, 61), Machine::new("ill:9100", Role::Web, 62));
    let mut one = Machine::new("one:9100", Role::Db, 63);
    let fault = Strain { busy: 0.8, ..CALM };
    let mut scrape = |minute: i64, body: &mut Body| {
        let is_ill = (WRONG..WRONG + 40).contains(&minute);
        body.add(&with(calm.scrape(minute, CALM), &FEW));
        body.add(&with(ill.scrape(minute, if is_ill { fault } else { CALM }), &FEW));
        body.add(&with(one.scrape(minute, CALM), &["node_load1"]));
    };
    let hosts = ["calm:9100", "ill:9100", "one:9100"];
    // In the first hour nothing is said that the next rows could belie.
    world.play(0..30, &mut scrape).await;
    for name in hosts {
        let host = world.host(name).await;
        assert_eq!((host["state"].as_str(), names(&host, "not_applicable").len()), (Some("warming"), 0), "{host}");
    }
    for from in (30..WRONG + 20).step_by(50) {
        world.play(from..from + 50, &mut scrape).await;
        for name in hosts {
            let brief = world.brief(name).await;
            assert!(!brief.starts_with("partial"), "{name} at {from}: {brief}");
        }
    }
    let host = world.host("calm:9100").await;
    assert_eq!((names(&host, "missing").len(), names(&host, "not_applicable").len()), (0, 56 - 11), "{host}");
    let pressure = host["not_applicable"].as_array().unwrap().iter().find(|f| f["feature"] == "pressure_cpu").unwrap();
    let reason = "no series arrives that node_pressure_cpu_waiting_seconds_total selects";
    assert_eq!(pressure["reason"], reason);
    for name in ["calm:9100", "one:9100"] {
        assert_eq!(world.brief(name).await, "ok |  | false");
        assert!(world.host(name).await["score"].is_number());
        world.assert_calm(name).await;
    }
    let spans = world.events("ill:9100").await;
    // The end of a fault may be a surprise too.
    let is_of_fault = |span: &Span| (WRONG..WRONG + 60).contains(&span.from);
    assert!(spans.iter().all(is_of_fault) && (WRONG..WRONG + 10).contains(&spans[0].from), "{}", told(&spans));
    let blamed = &spans[0].features[0].0;
    assert!(blamed.starts_with("cpu_") || blamed.starts_with("load"), "{}", told(&spans));
    world.stop().await;
}

#[tokio::test]
async fn what_was_lost_is_missing_for_a_day() {
    let world = World::start("").await;
    let mut host = Machine::new("lost:9100", Role::Web, 64);
    let mut scrape = |minute: i64, body: &mut Body| {
        let all = host.scrape(minute, CALM);
        body.add(&if minute < WRONG { all } else { with(all, &FEW) });
    };
    world.play(0..WRONG + 3 * HOUR, &mut scrape).await;
    let brief = world.brief("lost:9100").await;
    assert!(brief.starts_with("partial | 27 of 38 features missing: mem_used, "), "{brief}");
    let lost = world.host("lost:9100").await;
    assert!(names(&lost, "missing").contains(&"tcp_in_segments".to_owned()), "{lost}");
    // Those of the preset that the machine never sends.
    assert_eq!(names(&lost, "not_applicable").len(), 56 - 38, "{lost}");
    world.play(WRONG + 3 * HOUR..WRONG + DAY - 10, &mut scrape).await;
    let brief = world.brief("lost:9100").await;
    assert!(brief.starts_with("partial | "), "{brief}");

    // A day after they were last seen: judged on what is there.
    world.play(WRONG + DAY - 10..WRONG + DAY + 20, &mut scrape).await;
    assert_eq!(world.brief("lost:9100").await, "ok |  | false");
    let rest = world.host("lost:9100").await;
    assert_eq!((names(&rest, "missing").len(), names(&rest, "not_applicable").len()), (0, 56 - 11), "{rest}");
    assert!(rest["score"].is_number());

    // They are back, all at once: nothing changes for the others, nor is it a surprise.
    let mut all = |minute: i64, body: &mut Body| body.add(&host.scrape(minute, CALM));
    let back = WRONG + DAY + 20;
    for (from, to) in [(0, 4), (4, 30), (30, 62), (62, 120)] {
        world.play(back + from..back + to, &mut all).await;
        assert_eq!(world.brief("lost:9100").await, "ok |  | false", "{to} minutes later");
    }
    assert_eq!(names(&world.host("lost:9100").await, "not_applicable").len(), 56 - 38);
    world.assert_calm("lost:9100").await;
    world.stop().await;
}
