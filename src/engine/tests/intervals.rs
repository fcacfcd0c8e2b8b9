//! Hosts that are scraped at any interval, with jitter and losses: which rows they have, and that none lacks a rate.

use super::*;
use crate::promql::naive::range_value;
use crate::promql::rollup::RangeFunction;

/// Features over a gauge and a counter: by the placeholder, and by a range of two minutes.
const FEATURES: [&str; 3] = ["g", "sum(rate(c[$range]))", "sum(rate(c[2m]))"];

/// An engine that is told nothing of intervals, unless `interval_ms` is given.
fn engine_at(interval_ms: Option<i64>) -> Engine {
    let sources = FEATURES.map(|expr| FeatureSource { name: "f", expr, at: "test" });
    engine_with(|config| {
        config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
        config.interval_ms = interval_ms;
    })
}

/// Sends a gauge and a counter at each of `times`.
fn play(engine: &mut Engine, times: impl IntoIterator<Item = i64>) -> Output {
    let mut out = Output::default();
    for t_ms in times {
        let count = t_ms as f64 / 1_000.0;
        send(engine, &[point("g", "", t_ms, count), point("c", "x", t_ms, count)], t_ms, &mut out);
    }
    out
}

/// Times `interval_s` apart, each later by up to `jitter_ms`, of which each `lost`-th is missing.
fn times(interval_s: i64, jitter_ms: u64, lost: usize, n: usize) -> Vec<i64> {
    let mut state = 11_u64;
    let mut jitter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % (jitter_ms + 1)
    };
    let all = (0..n).map(|k| k as i64 * interval_s * 1_000 + jitter() as i64);
    all.enumerate().filter(|(k, _)| lost == 0 || k % lost != lost - 1).map(|(_, t_ms)| t_ms).collect()
}

/// Scrapes each `interval_s`: the distance of rows and the range that follow from it.
fn check(interval_s: i64, (step_s, range_s): (i64, i64)) {
    for (jitter_ms, lost) in [(0, 0), (5, 0), (100, 0), (2_000, 0), (interval_s as u64 * 490, 0), (5, 10), (100, 7)] {
        let case = format!("each {interval_s} s, jitter {jitter_ms} ms, lost {lost}");
        let times = times(interval_s, jitter_ms, lost, 80);
        let out = play(&mut engine_at(None), times.iter().copied());
        let rows: Vec<&Row> = out.rows.iter().collect();
        // From where the range is filled on, if the interval is known by then.
        let settled_ms = times[0] + 1_000 * (range_s + 10 * interval_s);
        let rows: Vec<&&Row> = rows.iter().filter(|row| row.t_ms >= settled_ms).collect();
        assert!(rows.len() as i64 >= 50 * interval_s / step_s.max(interval_s) / 2, "{case}: {} rows", rows.len());
        let lacking = rows.iter().filter(|row| row.values[..2].iter().any(|value| value.is_nan())).count();
        assert_eq!(lacking, 0, "{case}: of {} rows", rows.len());
        let is_regular = jitter_ms <= 5;
        if is_regular {
            assert!(rows.windows(2).all(|pair| pair[1].t_ms - pair[0].t_ms == step_s * 1_000), "{case}");
            assert!(rows.iter().all(|row| row.step_ms == step_s * 1_000), "{case}");
            assert_eq!(out.statuses.last().unwrap().interval_ms, Some(interval_s * 1_000), "{case}");
            let samples: Vec<Sample> =
                times.iter().map(|t_ms| Sample { t_ms: *t_ms, value: *t_ms as f64 / 1_000.0 }).collect();
            for row in &rows {
                let expected = range_value(RangeFunction::Rate, &samples, row.t_ms, range_s * 1_000).unwrap();
                assert!((row.values[1] - expected).abs() < 1e-9, "{case}: {} instead of {expected}", row.values[1]);
            }
        }
    }
}

#[test]
fn ranges_and_rows_follow_the_interval() {
    check(5, (60, 120));
    check(15, (60, 120));
    check(30, (60, 120));
    check(60, (60, 240));
    check(90, (90, 360));
    check(120, (120, 480));
    check(300, (300, 1_200));
}

/// The interval that the first scrapes tell holds from the first row on.
#[test]
fn the_first_rows_are_as_if_the_interval_had_been_known() {
    for interval_s in [5, 15, 60] {
        let times = || (0..20 * 60 / interval_s).map(|k| 7_000 + k * interval_s * 1_000);
        let rows = |interval_ms| {
            let out = play(&mut engine_at(interval_ms), times());
            let row = |row: &Row| (row.t_ms, row.values.iter().map(|value| value.to_bits()).collect::<Vec<u64>>());
            out.rows.iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(rows(None), rows(Some(interval_s * 1_000)), "each {interval_s} s");
    }
}

#[test]
fn another_interval_is_followed_and_costs_no_wrong_row() {
    let mut engine = engine_at(None);
    let change_ms = 1_200_000;
    let before = (0..change_ms / 15_000).map(|k| k * 15_000);
    let after = (0..60).map(|k| change_ms + k * 120_000);
    let out = play(&mut engine, before.chain(after));
    let last = out.statuses.last().unwrap();
    assert_eq!((last.interval_ms, last.step_ms), (Some(120_000), 120_000));
    // The counter counts seconds.
    // Until it is known, two minutes hold one scrape or two.
    let is_settled = |row: &&Row| row.t_ms <= change_ms || row.t_ms > change_ms + 20 * 120_000;
    let settled: Vec<&Row> = out.rows.iter().skip(5).filter(is_settled).collect();
    assert!(settled.iter().all(|row| (row.values[1] - 1.0).abs() < 1e-9 && !row.values[0].is_nan()), "{settled:?}");
    assert_eq!((settled.len() > 40, settled.last().unwrap().step_ms), (true, 120_000));
}

/// Two vmagents without a label of their own have the same offset: their scrapes are a few milliseconds apart, in any order.
#[test]
fn two_senders_that_nothing_tells_apart_cost_no_row() {
    let mut out = Output::default();
    let mut engine = engine_at(None);
    for k in 0..80 {
        let t_ms = k * 15_000;
        // Whoever comes later has read earlier: to the counter it would be a restart.
        let scrape = |after_ms: i64| {
            let (t_ms, count) = (t_ms + after_ms, (t_ms - after_ms) as f64);
            [point("g", "", t_ms, count), point("c", "x", t_ms, count / 1_000.0)]
        };
        send(&mut engine, &[scrape(0), scrape(4 + k % 3)].concat(), t_ms + 9, &mut out);
    }
    assert_eq!(out.statuses.last().unwrap().interval_ms, Some(15_000));
    let settled: Vec<&Row> = out.rows.iter().skip(2).collect();
    assert!(settled.len() > 15 && settled.iter().all(|row| (row.values[1] - 1.0).abs() < 1e-3), "{settled:?}");
    assert!(out.counts.get(EngineCounter::Duplicate) >= 150, "{}", out.counts.get(EngineCounter::Duplicate));
}

#[test]
fn a_slow_target_that_begins_later_is_followed() {
    let mut engine = engine_at(None);
    let begins_ms = 1_200_000;
    let sent_at = |t_ms: i64| {
        let slow = (t_ms >= begins_ms && t_ms % 90_000 == 0).then(|| point("c", "x", t_ms, t_ms as f64 / 1_000.0));
        std::iter::once(point("g", "", t_ms, 1.0)).chain(slow).collect::<Vec<_>>()
    };
    let mut out = Output::default();
    for t_ms in (0..400).map(|k| k * 15_000) {
        send(&mut engine, &sent_at(t_ms), t_ms, &mut out);
    }
    assert_eq!(out.statuses.last().unwrap().interval_ms, Some(90_000));
    let settled: Vec<&Row> = out.rows.iter().filter(|row| row.t_ms > begins_ms + 12 * 90_000).collect();
    assert!(settled.len() > 30 && settled.iter().all(|row| (row.values[1] - 1.0).abs() < 1e-9), "{settled:?}");
}

#[test]
fn a_range_that_is_too_short_is_told_as_that() {
    let mut engine = engine_at(None);
    let out = play(&mut engine, (0..20).map(|k| k * 120_000));
    let missing =
        |feature| out.statuses.last().unwrap().missing.iter().find(|missing| missing.feature == feature).copied();
    let leaf = engine.plan().leaves_of[2][0];
    assert_eq!(missing(2).map(|missing| missing.why), Some(row::MissingReason::RangeTooShort(leaf)));
    assert_eq!(missing(1), None);
    // Once nothing arrives, that is the reason.
    let mut out = Output::default();
    for k in 20..40 {
        send(&mut engine, &[point("g", "", k * 120_000, 1.0)], k * 120_000, &mut out);
    }
    let missing = out.statuses.last().unwrap().missing.iter().find(|missing| missing.feature == 2).unwrap();
    assert_eq!(missing.why, row::MissingReason::Unmatched(leaf));
}

#[test]
fn a_host_that_is_scraped_less_often_than_configured_is_told_as_that() {
    let missing = |distance_ms: i64| {
        let out = play(&mut engine_at(Some(15_000)), (0..20).map(|k| k * distance_ms));
        let missing = out.statuses.last().unwrap().missing.iter().map(|missing| (missing.feature, missing.why));
        missing.collect::<Vec<_>>()
    };
    assert_eq!(missing(15_000), []);
    assert_eq!(missing(180_000)[0], (1, row::MissingReason::SeldomScraped));
}
