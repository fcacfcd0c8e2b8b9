//! Values that a feature cannot take.

use super::*;
use crate::base::bounds::Bounds;
use crate::engine::row::{Missing, MissingReason};

/// An engine whose gauge `g` and rate of `c` are within 0 and 100.
fn bounded() -> Engine {
    engine_with(|config| config.bounds = vec![Bounds::new(Some(0.0), Some(100.0)).unwrap(); 2].into())
}

/// 40 scrapes a step apart, of which `change` may change the points.
fn run(engine: &mut Engine, change: impl Fn(i64, &mut Vec<Point>)) -> Output {
    let mut out = Output::default();
    for k in 0..40 {
        let mut points = scrape(k * STEP_MS);
        points[0].value = 5.0 + (k % 3) as f64;
        change(k, &mut points);
        send(engine, &points, k * STEP_MS, &mut out);
    }
    out
}

#[test]
fn they_are_missing_with_their_reason_and_counted() {
    let out = run(&mut bounded(), |k, points| {
        if k == 20 {
            points[0].value = 1e6;
        }
    });
    let missing: Vec<usize> = (0..39).filter(|k| out.rows[*k].values[0].is_nan()).collect();
    assert_eq!(missing, [20], "an instant selector has no range that would hold it longer");
    let counted: Vec<_> = out.out_of_bounds.iter().map(|o| (o.host.name.as_ref(), o.feature, o.value)).collect();
    assert_eq!(counted, [("a", 0, 1e6)]);
    let out = run(&mut bounded(), |k, points| {
        if k == 20 {
            points[0].value = f64::INFINITY;
        }
    });
    assert_eq!(out.out_of_bounds.len(), 1, "no number is as great");
    let told: Vec<_> = out.statuses.iter().filter(|status| !status.missing.is_empty()).skip(1).collect();
    let expected = [Missing { feature: 0, why: MissingReason::OutOfBounds }];
    assert!(told.len() == 1 && told[0].missing.as_ref() == expected, "{told:?}");
}

#[test]
fn they_teach_nothing() {
    let stale = f64::from_bits(STALE_NAN_BITS);
    let with = |value: f64| {
        run(&mut bounded(), |k, points| {
            if k == 20 {
                points[0].value = value;
            }
        })
    };
    let without = with(stale);
    for value in [1e3, -1e6, 1e30, 1e300, -1e300, f64::NAN, f64::INFINITY] {
        let glitched = with(value);
        for (expected, got) in without.rows.iter().zip(&glitched.rows).skip(15) {
            // As text, since NaN is missing in both.
            assert_eq!(format!("{:?}", expected.window), format!("{:?}", got.window), "{value}");
        }
    }
    // Within the bounds it is learnt.
    let learnt = |out: &Output| out.rows[30].window.as_ref().map(|window| window.deviation[0]);
    assert!(learnt(&with(90.0)) > learnt(&without));
}

/// Returns the output of 40 minutes in which one device shows 10^12 once: the fall back looks like a restart, after which the
/// counter would have counted to 1,200. `then` is done a minute later.
fn with_a_jump(then: impl Fn(&mut Engine)) -> Output {
    let mut engine = bounded();
    let mut out = Output::default();
    for k in 0..160 {
        let mut points = scrape(k * 15_000);
        if k == 81 {
            points[1].value = 1e12;
        } else if k == 86 {
            then(&mut engine);
        }
        send(&mut engine, &points, k * 15_000, &mut out);
    }
    out
}

fn missing(out: &Output) -> Vec<usize> {
    (1..39).filter(|k| out.rows[*k].values[1].is_nan()).collect()
}

#[test]
fn the_way_back_is_missing_as_long_as_a_range_holds_it() {
    let out = with_a_jump(|_| {});
    assert_eq!(missing(&out), [21, 22]);
    assert!((out.rows[23].values[1] - 2.0).abs() < 1e-9);
    assert_eq!(out.out_of_bounds.iter().map(|outside| outside.feature).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_reload_keeps_what_is_suspected() {
    let out = with_a_jump(|engine| engine.reconfigure(engine.shared.config.clone()));
    assert_eq!(missing(&out), [21, 22]);
}

/// Such as the mean time of a read, where reads were far too many once.
#[test]
fn what_else_reads_an_impossible_value_is_missing_too() {
    let sources = ["sum(rate(c[2m]))", "sum(rate(d[2m])) / sum(rate(c[2m]))", "sum(g) / sum(rate(d[2m]))"];
    let sources = sources.map(|expr| FeatureSource { name: "f", expr, at: "test" });
    let mut engine = engine_with(|config| {
        config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
        config.windows.scored = Vec::new();
        config.bounds = vec![Bounds::new(Some(0.0), Some(1e6)).unwrap(); 3].into();
    });
    let mut out = Output::default();
    for k in 0..40_i64 {
        let count = if k == 20 { 1e15 } else { 60.0 * k as f64 };
        let t_ms = k * STEP_MS;
        let points = [point("g", "", t_ms, 1.0), point("c", "x", t_ms, count), point("d", "x", t_ms, 60.0 * k as f64)];
        send(&mut engine, &points, t_ms, &mut out);
    }
    let missing = |feature: usize| (5..39).filter(|k| out.rows[*k].values[feature].is_nan()).collect::<Vec<_>>();
    assert_eq!((missing(0), missing(1), missing(2)), (vec![20, 21], vec![20, 21], vec![]));
    assert!(out.out_of_bounds.iter().all(|outside| outside.feature == 0), "the others are not counted");
}

/// A driver that tells nonsense for a while: the fall back is what a restart of the counter is, too.
#[test]
fn a_counter_that_falls_back_late_gives_no_wrong_rate() {
    for n_wrong in [1, 2, 3, 10, 30] {
        let sources = ["sum(rate(c[2m]))"].map(|expr| FeatureSource { name: "f", expr, at: "test" });
        let mut engine = engine_with(|config| {
            config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
            config.windows.scored = Vec::new();
            config.bounds = vec![Bounds::new(Some(0.0), Some(1e11)).unwrap()].into();
        });
        let mut out = Output::default();
        for k in 0..80_i64 {
            let true_count = 1e12 + 60.0 * k as f64;
            let count = true_count + if (20..20 + n_wrong).contains(&k) { 1e15 } else { 0.0 };
            send(&mut engine, &[point("c", "x", k * STEP_MS, count)], k * STEP_MS, &mut out);
        }
        let wrong: Vec<(usize, f64)> = (5..79)
            .map(|k| (k, out.rows[k].values[0]))
            .filter(|(_, value)| !value.is_nan() && (value - 1.0).abs() > 1e-3)
            .collect();
        assert!(wrong.is_empty(), "{n_wrong} scrapes: {wrong:?}");
        let n_missing = (5..79).filter(|k| out.rows[*k].values[0].is_nan()).count();
        assert!(n_missing <= 5, "{n_wrong} scrapes: {n_missing} rows");
    }
}

/// Returns what the rate of a counter over two rows gives, of 80 scrapes each 15 s, where `change` alters what it shows.
fn rates(bounds: Option<Bounds>, change: impl Fn(i64, f64) -> f64) -> Vec<f64> {
    rates_over("2m", bounds, change)
}

/// The same over another range: of more than eight rows, samples are kept one by one.
fn rates_over(range: &str, bounds: Option<Bounds>, change: impl Fn(i64, f64) -> f64) -> Vec<f64> {
    let expr = format!("sum(rate(c[{range}]))");
    let sources = [FeatureSource { name: "f", expr: &expr, at: "test" }];
    let mut engine = engine_with(|config| {
        config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
        config.windows.scored = Vec::new();
        config.bounds = bounds.into_iter().collect();
    });
    let mut out = Output::default();
    for k in 0..80_i64 {
        let t_ms = k * 15_000;
        send(&mut engine, &[point("c", "x", t_ms, change(k, 1e9 + 15.0 * k as f64))], t_ms, &mut out);
    }
    out.rows.iter().skip(3).map(|row| row.values[0]).collect()
}

/// One that falls by less than a machine's restart does, or back from one wrong value, however small that is.
#[test]
fn a_fall_that_no_restart_explains_gives_no_value_within_the_bounds() {
    let bounds = Bounds::new(Some(0.0), Some(1e12));
    let is_usual = |value: &f64| (value - 1.0).abs() < 1e-3;
    for back in [0.02, 15.1, 1e3, 1e6, 4e8] {
        for at in 40..44 {
            let fell = |k, value| if k >= at { value - back - 15.0 } else { value };
            let got = rates(bounds, fell);
            let n_missing = got.iter().filter(|value| value.is_nan()).count();
            assert!((1..=2).contains(&n_missing), "{back} at {at}: {got:?}");
            assert!(got.iter().all(|value| value.is_nan() || is_usual(value)), "{back} at {at}: {got:?}");
            // Without bounds, everything is as in Prometheus.
            let as_prometheus = rates(None, fell);
            assert!(as_prometheus.iter().all(|value| !value.is_nan()), "{back} at {at}: {as_prometheus:?}");
        }
    }
    for size in [1e6, 1e9, 1e12, 1e15] {
        for at in 40..44 {
            let got = rates(bounds, |k, value| if k == at { value + size } else { value });
            assert!(got.iter().filter(|value| value.is_nan()).count() <= 2, "{size} at {at}: {got:?}");
            // A row that ends before the fall shows the jump, which is within the bounds for all that is known then.
            let n_other = got.iter().filter(|value| !value.is_nan() && !is_usual(value)).count();
            assert!(n_other <= usize::from(at == 40 && size < 1e14), "{size} at {at}: {got:?}");
        }
    }
}

/// One that is wrong for several scrapes, too high or too low: once it is right again, no row shows what lies between.
#[test]
fn a_counter_that_is_wrong_for_a_while_gives_no_value_on_its_way_back() {
    let bounds = Bounds::new(Some(0.0), Some(1e12));
    for (wrong, (range, n_rows)) in
        [0.0, 1.0, 1e8, 1e10, 1e12].into_iter().flat_map(|wrong| [("2m", 2), ("9m", 9)].map(|range| (wrong, range)))
    {
        for (at, n) in (40..44).flat_map(|at| (1..=20).map(move |n| (at, n))) {
            let got = rates_over(range, bounds, |k, value| if (at..at + n).contains(&k) { wrong } else { value });
            // Rows of four scrapes, from the fourth one on; a range holds two.
            let back = (at + n - 1) as usize / 4 + 1 - 3;
            let after: Vec<f64> = got.iter().skip(back).copied().collect();
            let is_right = |value: &f64| value.is_nan() || (value - 1.0).abs() < 1e-3;
            assert!(after.iter().all(is_right), "{wrong} for {n} from {at}: {got:?}");
            let n_missing = after.iter().filter(|value| value.is_nan()).count();
            assert!((1..=n_rows + 1).contains(&n_missing), "{wrong} for {n} from {at} over {range}: {got:?}");
        }
    }
}

/// Such as that of a device that is not the machine's own.
#[test]
fn a_counter_that_the_value_does_not_depend_on_costs_nothing() {
    let sources = ["sum(rate(c[2m]) and on (device) g)", "max(rate(c[2m]))", "min(rate(c[2m]))"];
    let sources = sources.map(|expr| FeatureSource { name: "f", expr, at: "test" });
    let mut engine = engine_with(|config| {
        config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
        config.windows.scored = Vec::new();
        config.bounds = vec![Bounds::new(Some(0.0), Some(1e12)).unwrap(); 3].into();
    });
    let mut out = Output::default();
    for k in 0..40_i64 {
        let t_ms = k * STEP_MS;
        let points = [
            point("g", "own", t_ms, 1.0),
            point("c", "own", t_ms, 60.0 * k as f64),
            point("c", "other", t_ms, 1e6 - k as f64),
        ];
        send(&mut engine, &points, t_ms, &mut out);
    }
    let rows = &out.rows[5..];
    assert!(rows.iter().all(|row| (row.values[0] - 1.0).abs() < 1e-9), "{rows:?}");
    assert!(rows.iter().all(|row| row.values[1].is_nan()), "the greatest is that of the other: {rows:?}");
    assert!(rows.iter().all(|row| row.values[2].is_nan()), "nobody knows the least: {rows:?}");
}

#[test]
fn a_restart_costs_no_row() {
    let restarted = |k: i64, value: f64| if k >= 42 { 15.0 * (k - 42) as f64 } else { value };
    let got = rates(Bounds::new(Some(0.0), Some(1e12)), restarted);
    assert!(got.iter().all(|value| (value - 1.0).abs() < 0.2), "{got:?}");
}
