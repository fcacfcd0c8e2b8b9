//! What happens every night at the same hour is normal after a week, and nobody's business under `maintenance`.

use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::Role;

use super::body::Body;
use super::machine::{Machine, Puppet, noise};
use super::{DAY, HOUR, World, told};

/// A backup reads everything: the disk is busy, and a CPU.
const BACKUP: Strain = Strain { busy: 0.15, memory: 0.0, disk: 0.75, packets: 0.0, loss: 0.0 };

/// From two to three o'clock.
fn is_backup(minute: i64) -> bool {
    (2 * HOUR..3 * HOUR).contains(&minute.rem_euclid(DAY))
}

fn backup(minute: i64) -> Strain {
    if is_backup(minute) { BACKUP } else { Strain::default() }
}

#[tokio::test]
async fn a_nightly_backup_is_normal_after_a_week() {
    let world = World::start("").await;
    let mut db = Machine::new("db:9100", Role::Db, 11);
    // The first is in the third night.
    let backup = |minute: i64| if minute >= 2 * DAY { backup(minute) } else { Strain::default() };
    world.play(0..11 * DAY, |minute, body| body.add(&db.scrape(minute, backup(minute)))).await;
    let spans = world.events("db:9100").await;
    let first = spans.first().map(|span| span.from - 2 * DAY);
    assert!(first.is_some_and(|first| (2 * HOUR..2 * HOUR + 20).contains(&first)), "it is news:\n{}", told(&spans));
    assert!(spans.iter().all(|span| span.from < 9 * DAY), "after a week:\n{}", told(&spans));
    // A quarter of an hour in which the load averages fall is part of it.
    let is_of_backup = |minute: i64| is_backup(minute) || is_backup(minute - 15);
    assert!(spans.iter().all(|span| is_of_backup(span.from)), "not by the backup:\n{}", told(&spans));
    // The same at another hour of the day is still news.
    let afternoon = 11 * DAY + 14 * HOUR;
    let strain = |minute: i64| if minute >= afternoon { BACKUP } else { backup(minute) };
    world.play(11 * DAY..afternoon + HOUR, |minute, body| body.add(&db.scrape(minute, strain(minute)))).await;
    let spans = world.events("db:9100").await;
    let last = spans.last().map(|span| span.from);
    assert!(last.is_some_and(|from| (afternoon..afternoon + 20).contains(&from)), "{}", told(&spans));
    world.stop().await;
}

#[tokio::test]
async fn a_backup_under_maintenance_is_neither_flagged_nor_learnt() {
    let config = r#"
maintenance:
- {name: backup, match: '{instance="db:9100"}', schedule: "55 1 * * *", duration: 2h}
"#;
    let world = World::start(config).await;
    // The same host twice: one has backups.
    let (mut db, mut calm) = (Machine::new("db:9100", Role::Db, 12), Machine::new("calm:9100", Role::Db, 12));
    let mut scrape = |minute: i64, body: &mut Body| {
        body.add(&db.scrape(minute, backup(minute)));
        body.add(&calm.scrape(minute, Strain::default()));
    };
    world.play(0..3 * DAY + 150, &mut scrape).await;
    assert_eq!(world.brief("db:9100").await, "ok | silenced by backup for another 1h25m | null");
    assert!(world.host("db:9100").await["score"].as_f64() > Some(1.0), "the score is shown all the same");
    world.play(3 * DAY + 150..3 * DAY + 14 * HOUR, &mut scrape).await;
    world.assert_calm("db:9100").await;
    world.assert_calm("calm:9100").await;
    assert_eq!(world.brief("db:9100").await, "ok |  | false");

    // A backup out of turn surprises as if there had never been one.
    let afternoon = 3 * DAY + 14 * HOUR;
    let scrape = |minute: i64, body: &mut Body| {
        body.add(&db.scrape(minute, BACKUP));
        body.add(&calm.scrape(minute, BACKUP));
    };
    world.play(afternoon..afternoon + HOUR, scrape).await;
    let (db, calm) = (world.events("db:9100").await, world.events("calm:9100").await);
    let both = format!("with backups:\n{}\nwithout:\n{}", told(&db), told(&calm));
    assert!(db.len() == 1 && calm.len() == 1, "{both}");
    assert!((db[0].from - calm[0].from).abs() <= 3 && db[0].from < afternoon + 20, "{both}");
    assert!((db[0].peak / calm[0].peak - 1.0).abs() < 0.25, "{both}");
    world.stop().await;
}

/// One minute of swapping a day, always at another time, in a host that never swaps else.
#[tokio::test]
async fn a_daily_burst_of_one_feature() {
    let world = World::start("").await;
    let mut host = Puppet::new("burst:9100");
    let is_burst = |minute: i64| minute % DAY == 9 * HOUR + 137 * (minute / DAY);
    let scrape = |minute: i64, body: &mut Body| {
        let value = |name: &str| match name {
            "swap_out" => f64::from(u8::from(is_burst(minute))),
            _ => {
                let stream: u64 = name.bytes().map(u64::from).sum();
                let daily = (minute as f64 / DAY as f64 * std::f64::consts::TAU + stream as f64).sin();
                0.3 + 0.1 * daily + 0.01 * noise(stream, minute)
            }
        };
        body.add(&host.scrape(minute, value));
    };
    world.play(0..5 * DAY, scrape).await;
    let spans = world.events("burst:9100").await;
    assert!(
        spans.iter().all(|span| is_burst(span.from) && span.from < DAY),
        "but for the first one:\n{}",
        told(&spans)
    );
    world.stop().await;
}
