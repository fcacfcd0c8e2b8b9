//! Hosts of which something is missing: for minutes, for an hour, for good.

use outlierd::base::proto::prometheus::TimeSeries;
use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::{Counters, Role};
use serde_json::Value;

use super::body::Body;
use super::machine::Machine;
use super::{DAY, HOUR, World, time_of, told};

const CALM: Strain = Strain { busy: 0.0, memory: 0.0, disk: 0.0, packets: 0.0, loss: 0.0 };
/// When things begin to be missing.
const GAP: i64 = DAY + 14 * HOUR;

/// Series whose names don't begin with one of `lacks`.
fn without(scrape: Vec<TimeSeries>, lacks: &[&str]) -> Vec<TimeSeries> {
    let is_there = |one: &TimeSeries| !lacks.iter().any(|lacked| one.labels[0].value.starts_with(lacked));
    scrape.into_iter().filter(is_there).collect()
}

/// Counters begin again; everything that is measured stays.
fn reset(machine: &mut Machine, minute: i64) {
    machine.host.counters = Counters { cpu_s: vec![[0.0; 8]; machine.host.profile.cpus], ..Counters::default() };
    machine.host.boot_ms = machine.time_of(minute);
}

#[tokio::test]
async fn a_reboot_is_not_flagged_because_of_the_reset() {
    let world = World::start("").await;
    // Three minutes without a sample, then counters from 0. The second host also lost its page cache and load, which is real.
    let mut reset_only = Machine::new("reset:9100", Role::Web, 21);
    let mut rebooted = Machine::new("reboot:9100", Role::Db, 22);
    let mut scrape = |minute: i64, body: &mut Body| {
        if (GAP..GAP + 3).contains(&minute) {
            reset_only.live(minute, CALM);
            reset(&mut reset_only, minute);
            rebooted.host.reboot(time_of(minute, 0));
        } else {
            body.add(&reset_only.scrape(minute, CALM));
            body.add(&rebooted.scrape(minute, CALM));
        }
    };
    world.play(0..GAP + 20, &mut scrape).await;
    let host = world.host("reset:9100").await;
    let column = |name: &str| host["features"].as_array().unwrap().iter().position(|f| f["name"] == name).unwrap();
    // While a range holds the gap, what is counted in it is less than usual, and so is idle time.
    let sees_gap = |row: &&Value| (time_of(GAP, 0)..time_of(GAP + 8, 0)).contains(&row["t_ms"].as_i64().unwrap());
    for name in ["cpu_busy", "net_rx_bytes", "tcp_in_segments", "disk_writes"] {
        let settled = rows(&host).iter().filter(|row| !sees_gap(row));
        let values: Vec<f64> = settled.filter_map(|row| row["values"][column(name)].as_f64()).collect();
        let (least, most) = values.iter().fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
        assert!(values.len() >= 50 && least > 0.5 * most, "{name}: {values:?}");
    }
    assert_eq!(world.brief("reset:9100").await, "ok |  | false");
    world.play(GAP + 20..GAP + 6 * HOUR, &mut scrape).await;
    world.assert_calm("reset:9100").await;
    let spans = world.events("reboot:9100").await;
    let is_real = |name: &str| name.starts_with("mem_") || name.starts_with("load");
    let is_by_reset = |(name, share): &(String, f64)| !is_real(name) && *share > 0.2;
    assert!(!spans.iter().any(|span| span.features.iter().any(is_by_reset)), "{}", told(&spans));
    world.stop().await;
}

fn rows(host: &Value) -> &Vec<Value> {
    host["rows"].as_array().unwrap()
}

#[tokio::test]
async fn a_family_of_features_that_disappears() {
    let world = World::start("").await;
    let (mut one, mut most) = (Machine::new("one:9100", Role::Db, 23), Machine::new("most:9100", Role::Web, 24));
    let families = ["node_disk", "node_netstat", "node_sockstat", "node_network", "node_vmstat"];
    let mut scrape = |minute: i64, body: &mut Body| {
        let (one, most) = (one.scrape(minute, CALM), most.scrape(minute, CALM));
        let is_gone = minute >= GAP;
        body.add(&without(one, if is_gone { &families[..1] } else { &[] }));
        body.add(&without(most, if is_gone { &families } else { &[] }));
    };
    world.play(0..GAP + 3 * HOUR, &mut scrape).await;
    let missing = |host: &Value| -> Vec<String> {
        let missing = host["missing"].as_array().unwrap().iter();
        missing.map(|m| format!("{}: {}", m["feature"].as_str().unwrap(), m["reason"].as_str().unwrap())).collect()
    };

    // One family of several: judged by the others.
    let host = world.host("one:9100").await;
    assert_eq!(world.brief("one:9100").await, "ok |  | false");
    assert!(host["score"].is_number(), "{host}");
    let why = missing(&host);
    for name in ["disk_queue", "disk_reads", "disk_written_bytes", "disk_await"] {
        let said = why.iter().find(|reason| reason.starts_with(&format!("{name}: no series arrives that node_disk_")));
        let selector = r#"{device!~"(loop|ram|zram|sr|fd|dm-|md).*"} selects"#;
        assert!(said.is_some_and(|said| said.contains(selector)), "{why:?}");
    }
    let contributions = host["contributions"].as_array().unwrap();
    assert!(contributions.iter().all(|c| !c["feature"].as_str().unwrap().starts_with("disk_") || c["share"] == 0.0));

    // Most of them: not judged, and it says why.
    let host = world.host("most:9100").await;
    let brief = world.brief("most:9100").await;
    assert!(brief.starts_with("partial | ") && brief.contains(" features missing: "), "{brief}");
    assert!(host["score"].is_null() && host["flag"].is_null(), "{host}");
    assert!(missing(&host).iter().any(|m| m.starts_with("tcp_in_segments: ")), "{host}");

    world.assert_calm("one:9100").await;
    world.assert_calm("most:9100").await;

    // And it is back: judged again, and no surprise.
    let scrape = |minute: i64, body: &mut Body| {
        body.add(&one.scrape(minute, CALM));
        body.add(&most.scrape(minute, CALM));
    };
    world.play(GAP + 3 * HOUR..GAP + 6 * HOUR, scrape).await;
    for name in ["one:9100", "most:9100"] {
        assert_eq!(world.brief(name).await, "ok |  | false");
        world.assert_calm(name).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_host_that_stops_and_one_that_returns() {
    const FAULT: Strain = Strain { busy: 0.55, packets: 14.0, ..CALM };
    let world = World::start("").await;
    let (mut calm, mut ill) = (Machine::new("calm:9100", Role::Web, 25), Machine::new("ill:9100", Role::Web, 26));
    let mut other = Machine::new("other:9100", Role::Db, 27);
    // In its last twenty minutes one is flagged.
    let scrape = |minute: i64, body: &mut Body| {
        body.add(&calm.scrape(minute, CALM));
        body.add(&ill.scrape(minute, if minute >= GAP - 20 { FAULT } else { CALM }));
        body.add(&other.scrape(minute, CALM));
    };
    world.play(0..GAP, scrape).await;
    assert_eq!(world.brief("calm:9100").await, "ok |  | false");
    let brief = world.brief("ill:9100").await;
    assert!(brief.starts_with("anomalous | for ") && brief.ends_with(" | true"), "{brief}");

    // The others go on. Short of five minutes nothing has happened; after them neither has a verdict.
    let mut only_other = |minute: i64, body: &mut Body| {
        calm.live(minute, CALM);
        ill.live(minute, CALM);
        body.add(&other.scrape(minute, CALM));
    };
    world.play(GAP..GAP + 5, &mut only_other).await;
    assert_eq!(world.brief("calm:9100").await, "ok |  | false");
    world.set_clock(time_of(GAP + 5, 0));
    for name in ["calm:9100", "ill:9100"] {
        assert_eq!(world.brief(name).await, "stale | nothing received for 5m1s | null");
        let host = world.host(name).await;
        assert!(host["score"].is_null() && host["mse"].is_null() && host["contributions"] == serde_json::json!([]));
    }
    let metrics = world.metrics().await;
    for family in ["outlierd_host_anomaly", "outlierd_host_mse", "outlierd_host_score", "outlierd_feature_contribution"]
    {
        let of_stopped = |line: &str| line.starts_with(family) && !line.contains("other:9100");
        assert!(!metrics.lines().any(of_stopped), "{family} of a host that is stale");
    }
    let is_state = |line: &&str| line.starts_with("outlierd_host_state{") && line.contains(r#"state="stale""#);
    assert_eq!(metrics.lines().filter(is_state).count(), 2);
    world.play(GAP + 5..GAP + 60, only_other).await;
    let spans = world.events("ill:9100").await;
    assert!(
        spans.len() == 1 && spans[0].to.is_some_and(|to| to <= GAP),
        "over when the host is gone: {}",
        told(&spans)
    );
    world.assert_calm("calm:9100").await;

    // Both are back after an hour, well: windows refill.
    let mut all = |minute: i64, body: &mut Body| {
        body.add(&calm.scrape(minute, CALM));
        body.add(&ill.scrape(minute, CALM));
        body.add(&other.scrape(minute, CALM));
    };
    world.play(GAP + 60..GAP + 70, &mut all).await;
    for name in ["calm:9100", "ill:9100"] {
        let brief = world.brief(name).await;
        assert!(brief.starts_with("warming | ") && brief.ends_with(" of 60 rows | null"), "{name}: {brief}");
    }
    world.play(GAP + 70..GAP + 4 * HOUR, &mut all).await;
    for name in ["calm:9100", "ill:9100", "other:9100"] {
        assert_eq!(world.brief(name).await, "ok |  | false", "{name}");
    }
    world.assert_calm("calm:9100").await;
    world.assert_calm("other:9100").await;
    assert_eq!(world.events("ill:9100").await.len(), 1);
    world.stop().await;
}
