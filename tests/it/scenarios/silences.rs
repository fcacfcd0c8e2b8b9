//! A silence that somebody asks for while a fault is on.

use outlierd::sim::demo::fault::Strain;
use outlierd::sim::demo::host::Role;
use serde_json::json;

use super::body::Body;
use super::machine::Machine;
use super::{DAY, HOUR, World, told};

const CALM: Strain = Strain { busy: 0.0, memory: 0.0, disk: 0.0, packets: 0.0, loss: 0.0 };
const FAULT: Strain = Strain { busy: 0.55, packets: 14.0, ..CALM };

#[tokio::test]
async fn a_silence_during_a_fault() {
    let world = World::start("").await;
    // Of the first the fault outlasts the silence; of the second it ends within it.
    let (mut long, mut short) = (Machine::new("long:9100", Role::Web, 31), Machine::new("short:9100", Role::Web, 32));
    let fault = DAY + 14 * HOUR;
    let (silenced, over) = (fault + 10, fault + 10 + HOUR);
    let mut scrape = |minute: i64, body: &mut Body| {
        let is_in = |range: std::ops::Range<i64>| if range.contains(&minute) { FAULT } else { CALM };
        body.add(&long.scrape(minute, is_in(fault..over + 15)));
        body.add(&short.scrape(minute, is_in(fault..silenced + 10)));
    };
    world.play(0..silenced, &mut scrape).await;
    for name in ["long:9100", "short:9100"] {
        let spans = world.events(name).await;
        assert!(spans.len() == 1 && spans[0].to.is_none() && spans[0].from < fault + 10, "{}", told(&spans));
    }

    let silence = json!({"match": r#"{job="node"}"#, "duration": "1h", "comment": "moving the rack"});
    let request = world.client.post(format!("http://{}/api/v1/silences", world.address)).body(silence.to_string());
    let answer = request.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    world.play(silenced..over - 10, &mut scrape).await;
    for name in ["long:9100", "short:9100"] {
        let brief = world.brief(name).await;
        assert!(brief.starts_with("ok | silenced by ") && brief.ends_with(" | null"), "{brief}");
        let spans = world.events(name).await;
        assert!(spans.len() == 1 && spans[0].to.is_some_and(|to| to <= silenced + 5), "{}", told(&spans));
    }
    let score = world.host("long:9100").await["score"].as_f64();
    assert!(score > Some(1.0), "the score is shown all the same: {score:?}");
    assert!(world.host("short:9100").await["score"].as_f64() < Some(1.0), "what was normal before is normal still");

    // It is over: what is still wrong is flagged at once, what is well is not.
    world.play(over - 10..over + 30, &mut scrape).await;
    let spans = world.events("long:9100").await;
    let again = spans.last().map(|span| span.from);
    assert!(spans.len() == 2 && again.is_some_and(|from| (over..over + 10).contains(&from)), "{}", told(&spans));
    world.play(over + 30..over + 6 * HOUR, &mut scrape).await;
    for (name, events) in [("long:9100", 2), ("short:9100", 1)] {
        let spans = world.events(name).await;
        assert_eq!(spans.len(), events, "{name}: {}", told(&spans));
        assert_eq!(world.brief(name).await, "ok |  | false");
    }
    assert_eq!(world.data("/api/v1/silences").await["silences"], json!([]), "it is over");
    world.stop().await;
}
