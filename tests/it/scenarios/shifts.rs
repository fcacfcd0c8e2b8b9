//! Hosts that change for good: flagged once, at once, and taken for normal within 16 hours.

use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::Role;

use super::body::Body;
use super::machine::{Machine, Puppet, noise};
use super::{DAY, HOUR, Span, World, told};

/// A change must be flagged within so many minutes.
const SOON: i64 = 15;
/// A new level is normal after so many minutes at most.
const LEARNT: i64 = 16 * HOUR;

/// One event that begins soon after `at` and ends before the new level must be normal; only `features` have to do with it.
fn assert_flagged_once(host: &str, spans: &[Span], at: i64, features: &[&str]) {
    let [span] = spans else { panic!("{host} must be flagged once, not {}:\n{}", spans.len(), told(spans)) };
    assert!((at..at + SOON).contains(&span.from), "{host}: {}", told(spans));
    assert!(span.to.is_some_and(|to| to < at + LEARNT), "{host}: {}", told(spans));
    assert!(span.features.iter().all(|(name, _)| features.contains(&name.as_str())), "{host}: {}", told(spans));
}

const MOVING: [&str; 8] =
    ["cpu_busy", "load1", "load5", "load15", "net_rx_bytes", "net_tx_bytes", "tcp_in_segments", "tcp_out_segments"];

/// A host on which nothing ever moved is put to use.
#[tokio::test]
async fn a_flat_host_that_starts_moving() {
    let world = World::start("").await;
    let (mut flat, starts) = (Puppet::new("flat:9100"), DAY + 15 * HOUR);
    let mut scrape = |minute: i64, body: &mut Body| {
        let value = |name: &str| match MOVING.iter().position(|moving| *moving == name) {
            Some(i) if minute >= starts => 0.3 + 0.1 * noise(i as u64, minute),
            _ => 0.1,
        };
        body.add(&flat.scrape(minute, value));
    };
    world.play(0..starts, &mut scrape).await;
    assert_eq!(world.brief("flat:9100").await, "ok |  | false");
    world.assert_calm("flat:9100").await;
    world.play(starts..starts + DAY + 12 * HOUR, &mut scrape).await;
    assert_flagged_once("flat:9100", &world.events("flat:9100").await, starts, &MOVING);
    assert_eq!(world.brief("flat:9100").await, "ok |  | false");
    world.stop().await;
}

/// A new version needs half of the CPUs more, and gets several times the packets.
#[tokio::test]
async fn a_level_shift() {
    const STRAIN: Strain = Strain { busy: 0.45, packets: 8.0, memory: 0.0, disk: 0.0, loss: 0.0 };
    let world = World::start("").await;
    let (mut web, mut calm) = (Machine::new("web:9100", Role::Web, 3), Machine::new("calm:9100", Role::Web, 4));
    let shift = DAY + 22 * HOUR;
    let scrape = |minute: i64, body: &mut Body| {
        body.add(&web.scrape(minute, if minute >= shift { STRAIN } else { Strain::default() }));
        body.add(&calm.scrape(minute, Strain::default()));
    };
    world.play(0..shift + 2 * DAY, scrape).await;
    let spans = world.events("web:9100").await;
    let features = [
        "cpu_busy",
        "load1",
        "load5",
        "load15",
        "net_rx_packets",
        "net_tx_packets",
        "net_rx_bytes",
        "net_tx_bytes",
        "tcp_in_segments",
        "tcp_out_segments",
        "tcp_passive_opens",
        "tcp_listen_overflows",
        "tcp_out_resets",
        "tcp_time_wait",
        "udp_receive_buffer_errors",
        "tcp_retransmits",
    ];
    assert_flagged_once("web:9100", &spans, shift, &features);
    assert_eq!(world.brief("web:9100").await, "ok |  | false");
    world.assert_calm("calm:9100").await;
    world.stop().await;
}
