//! What senders do to the times of samples: late ones, wrong clocks, two of a kind, a backlog.

use std::collections::BTreeMap;

use outlierd::base::proto::prometheus::{Label, TimeSeries};
use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::Role;
use serde_json::Value;

use super::body::Body;
use super::machine::{Machine, noise};
use super::{DAY, HOUR, MINUTE_MS, World, told};

const CALM: Strain = Strain { busy: 0.0, memory: 0.0, disk: 0.0, packets: 0.0, loss: 0.0 };
const FAULT: Strain = Strain { busy: 0.55, packets: 14.0, ..CALM };
/// When something begins to go wrong with the times.
const WRONG: i64 = DAY + 14 * HOUR;

/// The value of the one line of `/metrics` that begins so; 0 where there is none.
fn counter(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(series));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

const LATE: &str = r#"outlierd_samples_dropped_total{reason="late"}"#;

/// A tenth of `scrape`, and the rest.
fn tenth(scrape: Vec<TimeSeries>, minute: i64) -> (Vec<TimeSeries>, Vec<TimeSeries>) {
    let mut place = 0;
    scrape.into_iter().partition(|_| {
        place += 1;
        noise(place, minute) < -0.8
    })
}

/// Values and scores by row.
async fn rows(world: &World, host: &str) -> BTreeMap<i64, (Value, Option<f64>)> {
    let host = world.host(host).await;
    let rows = host["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["t_ms"].as_i64().unwrap(), (row["values"].clone(), row["score"].as_f64()))).collect()
}

#[tokio::test]
async fn a_tenth_of_the_samples_is_late() {
    let world = World::start("").await;
    // The same host three times.
    let names = ["prompt:9100", "late:9100", "lost:9100"];
    let [mut prompt, mut late, mut lost] = names.map(|name| Machine::new(name, Role::Web, 41));
    world
        .play(0..WRONG, |minute, body| {
            for host in [&mut prompt, &mut late, &mut lost] {
                body.add(&host.scrape(minute, CALM));
            }
        })
        .await;
    let (mut beyond, mut n_beyond, mut n_within) = (Vec::new(), 0, 0);
    for minute in WRONG..WRONG + 2 * HOUR {
        // The first request a second after the scrape, with what the last scrape of one host still lacks; a tenth of the other
        // comes eight seconds later, within the lateness of ten.
        let mut now = Body::default();
        now.add(&prompt.scrape(minute, CALM));
        let (later, rest) = tenth(late.scrape(minute, CALM), minute);
        now.add(&rest);
        let (never, rest) = tenth(lost.scrape(minute, CALM), minute);
        now.add(&rest);
        world.set_clock(prompt.time_of(minute) + 1_000);
        world.write(now).await;
        let mut then = Body::default();
        then.add(&later);
        then.add(&beyond);
        (n_within, n_beyond) = (n_within + later.len(), n_beyond + beyond.len() as u64);
        world.set_clock(prompt.time_of(minute) + 9_000);
        world.write(then).await;
        beyond = never;
    }
    assert!(n_within > 300 && n_beyond > 300);
    // Within the lateness nothing is different, to the last bit of a value; scores but for how many are computed at once.
    let (expected, got) = (rows(&world, "prompt:9100").await, rows(&world, "late:9100").await);
    assert!(expected.len() == 60 && expected.keys().eq(got.keys()));
    for ((a, x), (b, y)) in expected.values().zip(got.values()) {
        assert_eq!(a, b);
        assert!(x.zip(*y).is_some_and(|(x, y)| (x - y).abs() < 1e-4), "{x:?} {y:?}");
    }
    // Beyond it every sample is counted, its cells are missing, and the host is judged by what there is.
    let metrics = world.metrics().await;
    assert_eq!(counter(&metrics, LATE), n_beyond);
    assert_eq!(world.brief("lost:9100").await, "ok |  | false");
    assert!(rows(&world, "lost:9100").await.values().all(|(_, score)| score.is_some()));
    for name in names {
        world.assert_calm(name).await;
    }
    world.stop().await;
}

/// `scrape` as by a clock that is `by_ms` ahead.
fn shifted(mut scrape: Vec<TimeSeries>, by_ms: i64) -> Vec<TimeSeries> {
    scrape.iter_mut().flat_map(|one| &mut one.samples).for_each(|sample| sample.timestamp += by_ms);
    scrape
}

#[tokio::test]
async fn clocks_that_jump() {
    let world = World::start("").await;
    // For half an hour.
    let jumps = [("ahead:9100", 60 * MINUTE_MS), ("behind:9100", -60 * MINUTE_MS)];
    let mut hosts = jumps.map(|(name, by_ms)| (Machine::new(name, Role::Web, 42), by_ms));
    let mut steady = Machine::new("steady:9100", Role::Web, 43);
    let mut n_wrong = 0;
    let mut scrape = |minute: i64, body: &mut Body| {
        for (host, by_ms) in &mut hosts {
            let is_wrong = (WRONG..WRONG + 30).contains(&minute);
            let scrape = shifted(host.scrape(minute, CALM), if is_wrong { *by_ms } else { 0 });
            n_wrong += if is_wrong && host.name == "ahead:9100" { scrape.len() as u64 } else { 0 };
            body.add(&scrape);
        }
        body.add(&steady.scrape(minute, CALM));
    };
    world.play(0..WRONG + 30, &mut scrape).await;
    // Nothing of the others is lost meanwhile.
    let steady = rows(&world, "steady:9100").await;
    assert_eq!((steady.len(), steady.values().filter(|(_, score)| score.is_some()).count()), (60, 60));
    assert!(steady.keys().zip(steady.keys().skip(1)).all(|(a, b)| b - a == MINUTE_MS), "{steady:?}");
    world.play(WRONG + 30..WRONG + 5 * HOUR, &mut scrape).await;
    let metrics = world.metrics().await;
    let rejected = |reason: &str| counter(&metrics, &format!("outlierd_samples_rejected_total{{reason=\"{reason}\"}}"));
    assert_eq!((rejected("future"), counter(&metrics, LATE) > 500), (n_wrong, true), "{metrics}");
    for (name, _) in jumps {
        world.assert_calm(name).await;
        assert_eq!(world.brief(name).await, "ok |  | false", "{name}");
    }
    world.assert_calm("steady:9100").await;
    world.stop().await;
}

/// `scrape` as a replica sends it.
fn by_replica(mut scrape: Vec<TimeSeries>, replica: &str) -> Vec<TimeSeries> {
    let label = Label { name: "replica".to_owned(), value: replica.to_owned() };
    scrape.iter_mut().for_each(|one| one.labels.push(label.clone()));
    scrape
}

#[tokio::test]
async fn two_vmagents_send_the_same() {
    let world = World::start("").await;
    let (mut one, mut two) = (Machine::new("one:9100", Role::Web, 44), Machine::new("two:9100", Role::Web, 44));
    let strain = |minute: i64| if (WRONG..WRONG + 40).contains(&minute) { FAULT } else { CALM };
    // The second replica scrapes 1.7 s after the first. Both hosts live the same.
    let scrape = |minute: i64, body: &mut Body| {
        let (first_ms, second_ms) = (one.time_of(minute), one.time_of(minute) + 1_700);
        for host in [&mut one, &mut two] {
            host.host.step(first_ms, 58.3, strain(minute));
            let first = host.expose(first_ms);
            host.host.step(second_ms, 1.7, strain(minute));
            if host.name == "one:9100" {
                body.add(&first);
            } else {
                body.add(&by_replica(first, "a"));
                body.add(&by_replica(host.expose(second_ms), "b"));
            }
        }
    };
    world.play(0..WRONG + 4 * HOUR, scrape).await;
    assert_eq!(world.data("/api/v1/hosts").await["total"], 2, "replicas are no hosts");
    let times: Vec<i64> = rows(&world, "two:9100").await.into_keys().collect();
    assert!(times.len() == 60 && times.windows(2).all(|pair| pair[1] - pair[0] == MINUTE_MS), "{times:?}");
    let (by_one, by_two) = (world.events("one:9100").await, world.events("two:9100").await);
    let both = format!("one:\n{}\ntwo:\n{}", told(&by_one), told(&by_two));
    let is_flagged_once = |spans: &[super::Span]| spans.len() == 1 && (WRONG..WRONG + 10).contains(&spans[0].from);
    assert!(is_flagged_once(&by_one) && is_flagged_once(&by_two), "{both}");
    assert!((by_one[0].from - by_two[0].from).abs() <= 1, "{both}");
    assert!((by_one[0].peak / by_two[0].peak - 1.0).abs() < 0.15, "{both}");
    world.stop().await;
}

/// Three hours in which a sender could not reach us, and then sends all it kept.
#[tokio::test]
async fn a_backlog_is_learnt_and_not_flagged() {
    let world = World::start("").await;
    // The same host twice: of one nothing comes for three hours.
    let mut hosts = ["steady:9100", "cut:9100"].map(|name| Machine::new(name, Role::Web, 45));
    let (gone, live) = (WRONG, WRONG + 3 * HOUR);
    // One fault within the backlog, and another one that begins shortly before its end and goes on.
    let (inner, outer) = (gone + 60..gone + 100, live - 20..live + 25);
    let strain = |minute: i64| match minute {
        minute if inner.contains(&minute) => Strain { disk: 0.95, ..CALM },
        minute if outer.contains(&minute) => FAULT,
        _ => CALM,
    };
    let mut scrape = |minute: i64| hosts.each_mut().map(|host| host.scrape(minute, strain(minute)));
    world.play(0..gone, |minute, body| scrape(minute).iter().for_each(|scrape| body.add(scrape))).await;
    let mut kept = [Body::default(), Body::default()];
    let keep = |minute: i64, body: &mut Body| {
        let [steady, cut] = scrape(minute);
        body.add(&steady);
        kept[usize::from(minute >= gone + 90)].add(&cut);
    };
    world.play(gone..live, keep).await;
    assert_eq!(world.brief("cut:9100").await, "stale | nothing received for 3h | null");

    // The first hour and a half of it: rows are scored, none is flagged.
    let [first, second] = kept;
    world.write(first).await;
    let brief = world.brief("cut:9100").await;
    assert_eq!(brief, "warming | its samples come 1h30m late: learnt, not flagged | null");
    let host = world.host("cut:9100").await;
    assert_eq!((&host["window_rows"], host["score"].as_f64() > Some(1.0)), (&60.into(), true), "{host}");
    let is_flag = |line: &str| line.starts_with("outlierd_host_anomaly{") && line.contains("cut:9100");
    assert!(!world.metrics().await.lines().any(is_flag), "no flag, not even 0");

    // The rest, and on as usual.
    world.write(second).await;
    let on = |minute: i64, body: &mut Body| scrape(minute).iter().for_each(|scrape| body.add(scrape));
    world.play(live..live + 3 * HOUR, on).await;
    let (steady, cut) = (world.events("steady:9100").await, world.events("cut:9100").await);
    let told = format!("steady:\n{}\ncut:\n{}", told(&steady), told(&cut));
    assert!(steady.len() == 2 && (inner.start..inner.start + 15).contains(&steady[0].from), "{told}");
    // A row may raise a flag from a quarter of an hour before now on.
    assert!(cut.len() == 1 && (live - 16..live + 10).contains(&cut[0].from), "{told}");
    assert_eq!(world.brief("cut:9100").await, "ok |  | false");
    world.stop().await;
}
