//! Rows under maintenance, and rows that come late.

use super::*;
use crate::config::silence::When;
use crate::engine::row::AlertEligibility;
use crate::promql::host_selector;

fn silence(hosts: &str, from_ms: i64, until_ms: i64) -> Arc<Silence> {
    Arc::new(Silence { name: "work".into(), hosts: host_selector(hosts).unwrap(), when: When::Once(from_ms, until_ms) })
}

/// A scrape in which the gauge is `value`.
fn scrape_of(t_ms: i64, value: f64) -> Vec<Point> {
    let mut points = scrape(t_ms);
    points[0].value = value;
    points
}

/// Rows of a gauge that is `normal`, but in the silence `strange`.
fn silenced_run(strange: f64) -> Output {
    let mut engine = engine();
    let silences = [silence(r#"{instance="a"}"#, 20 * STEP_MS, 40 * STEP_MS)];
    let mut out = Output::default();
    engine.apply(Input::Silences(&silences), &mut out);
    for k in 0..60 {
        let (t_ms, value) = (k * STEP_MS, if (20..40).contains(&k) { strange } else { 5.0 + (k % 3) as f64 });
        send(&mut engine, &scrape_of(t_ms, value), t_ms, &mut out);
    }
    out
}

#[test]
fn nothing_is_learnt_from_silenced_rows() {
    let (quiet, loud) = (silenced_run(5.0), silenced_run(1e6));
    let treatments = |out: &Output| out.rows.iter().map(|row| row.eligibility).collect::<Vec<_>>();
    let expected = (0..59)
        .map(|k| if (20..40).contains(&k) { AlertEligibility::Silenced } else { AlertEligibility::Full })
        .collect::<Vec<_>>();
    assert_eq!(treatments(&loud), expected);
    for (quiet, loud) in quiet.rows.iter().zip(&loud.rows).skip(40) {
        let (quiet, loud) = (quiet.window.as_ref().unwrap(), loud.window.as_ref().unwrap());
        assert_eq!((&quiet.mean, &quiet.deviation), (&loud.mean, &loud.deviation));
    }
    // They are in the window all the same, standardised.
    let window = loud.rows[30].window.as_ref().unwrap();
    assert_eq!(window.target[0], 20.0);
    let status = loud.statuses.iter().find(|status| status.last_sample_ms == 30 * STEP_MS).unwrap();
    assert_eq!(status.silenced.as_ref().map(|s| (&*s.name, s.until_ms)), Some(("work", 40 * STEP_MS)));
    assert_eq!(loud.statuses.last().unwrap().silenced, None);
}

#[test]
fn silences_come_and_go_and_are_for_the_hosts_that_they_match() {
    let mut engine = engine();
    let silenced = |out: &Output| out.rows.iter().filter(|row| row.eligibility == AlertEligibility::Silenced).count();
    let mut step = |silences: Option<&[Arc<Silence>]>, from: i64| {
        let mut out = Output::default();
        if let Some(silences) = silences {
            engine.apply(Input::Silences(silences), &mut out);
        }
        for k in from..from + 10 {
            send(&mut engine, &scrape(k * STEP_MS), k * STEP_MS, &mut out);
        }
        silenced(&out)
    };
    let other = [silence(r#"{instance="b"}"#, 0, i64::MAX)];
    let ours = [silence(r#"{instance="b"}"#, 0, i64::MAX), silence(r#"{job="node"}"#, 0, i64::MAX)];
    assert_eq!(step(None, 0), 0);
    assert_eq!(step(Some(&other), 10), 0);
    assert_eq!(step(Some(&ours), 20), 10);
    assert_eq!(step(None, 30), 10);
    assert_eq!(step(Some(&[]), 40), 0);
}

#[test]
fn rows_that_come_late_are_a_backlog() {
    let mut engine = engine_with(|config| config.max_lag_ms = 5 * STEP_MS);
    let mut out = Output::default();
    for k in 0..20 {
        // Ten minutes behind, then with the clock.
        let lag_ms = if k < 10 { 10 * STEP_MS } else { 0 };
        send(&mut engine, &scrape(k * STEP_MS), k * STEP_MS + lag_ms, &mut out);
    }
    let late = out.rows.iter().filter(|row| row.eligibility == AlertEligibility::Backlog).count();
    // The tenth is closed by the next sample, which is on time.
    assert!(late == 9 && out.rows[..9].iter().all(|row| row.eligibility == AlertEligibility::Backlog));
    assert!(out.rows[8].window.is_some(), "windows fill meanwhile");
}
