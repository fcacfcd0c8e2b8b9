//! Another configuration in the middle of a run: what stays is as if nothing had happened, what is new is missing before it is right.

use super::*;
use crate::engine::row::Window;

/// Features of every kind of state, over two metrics; one selects by a pattern of names, one by a label that series share.
const FEATURES: [&str; 10] = [
    "sum(rate(c[2m]))",
    "g",
    "sum(sum_over_time(c[3m]))",
    "sum(rate(c[15m]))",
    "sum(changes(c[2m]))",
    "sum(c offset 2m)",
    "sum(rate(c[2m] offset 1m))",
    "count({__name__=~'c|g'}) or vector(0)",
    "sum(c{job='node', device='x'})",
    "absent(c{device='y'}) or vector(0)",
];

/// The features with these numbers, of which all are scored.
fn config(features: &[usize]) -> EngineConfig {
    let sources: Vec<FeatureSource<'_>> =
        features.iter().map(|i| FeatureSource { name: "f", expr: FEATURES[*i], at: "test" }).collect();
    let mut config = engine().shared.config.clone();
    config.plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
    config.windows = windows(features.len(), T);
    config
}

fn windows(n_features: usize, window_rows: usize) -> WindowConfig {
    let scored = (0..n_features as u16).map(|feature| ScoredFeature { feature, floor: 0.0, range_rows: 0 }).collect();
    WindowConfig { scored, window_rows, max_missing: 1.0, ..engine().shared.config.windows.clone() }
}

/// Sends `points`, at a time after all of them.
fn push(engine: &mut Engine, points: &[Point], out: &mut Output) {
    let mut batch = SampleBatch::default();
    for p in points {
        let labels = [(METRIC_NAME, p.metric), ("device", p.device), ("instance", p.host), ("job", "node")];
        // The number of another list of names: nothing may depend on it.
        batch.push(labels, p.host, 7, &[Sample { t_ms: p.t_ms, value: p.value }]);
    }
    engine.apply(Input::Samples { batch: &batch, now_ms: 10 * END_MS }, out);
}

/// Runs through `points`, one a time; before the ones with these numbers another configuration comes.
fn run(first: &EngineConfig, points: &[Point], then: &[(usize, EngineConfig)]) -> Vec<Row> {
    let mut engine = Engine::new(first.clone());
    let mut out = Output::default();
    push(&mut engine, &scrape(-15_000), &mut out);
    for (i, p) in points.iter().enumerate() {
        for (_, config) in then.iter().filter(|(at, _)| *at == i) {
            engine.reconfigure(config.clone());
        }
        push(&mut engine, &[*p], &mut out);
    }
    push(&mut engine, &scrape(END_MS), &mut out);
    out.rows
}

/// One scrape every 15 s, with counters that are reset and a device that comes and goes.
fn steady(n: i64) -> Vec<Point> {
    let scrape = |k: i64| {
        let t_ms = k * 15_000;
        let mut points = vec![point("g", "", t_ms, (k % 5) as f64), point("c", "x", t_ms, (k % 7) as f64)];
        if k % 40 < 25 {
            points.push(point("c", "y", t_ms, k as f64));
        }
        points
    };
    (0..n).flat_map(scrape).collect()
}

/// A row, its window and its shadow's as comparable text.
fn texts(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| format!("{} {:?} {:?} {:?}", row.t_ms, row.values, row.window, row.shadow)).collect()
}

/// The columns of a row's features that `columns` names, in its order: value, z, mean, deviation, and the last cells of the window.
fn columns(row: &Row, columns: &[usize]) -> String {
    let of_window = |window: &Window, i: usize| {
        let cells: Vec<f32> = window.input.chunks(window.target.len()).map(|row| row[i]).collect();
        format!("{:?} {:?} {:?} {cells:?}", window.target[i], window.mean[i], window.deviation[i])
    };
    let column = |i: &usize| format!("{:?} {:?}", row.values[*i], row.window.as_ref().map(|w| of_window(w, *i)));
    format!("{} {:?}", row.t_ms, columns.iter().map(column).collect::<Vec<_>>())
}

fn assert_same_columns(got: (&[Row], &[usize]), expected: (&[Row], &[usize])) {
    assert_eq!(got.0.len(), expected.0.len());
    for (a, b) in got.0.iter().zip(expected.0) {
        assert_eq!(columns(a, got.1), columns(b, expected.1));
    }
}

fn all() -> Vec<usize> {
    (0..FEATURES.len()).collect()
}

proptest! {
    #[test]
    fn the_same_plan_at_any_point_changes_nothing(points in points(), at in 0..120usize) {
        let expected = run(&config(&all()), &points, &[]);
        prop_assert_eq!(texts(&run(&config(&all()), &points, &[(at, config(&all()))])), texts(&expected));
    }

    #[test]
    fn what_stays_of_another_plan_is_as_before(points in points(), at in 0..120usize, back in 0..120usize) {
        // The selector without a name may be found anew, see `Engine::reconfigure`: not here.
        let first = [0, 1, 2, 3, 5, 8];
        let second = [4, 8, 5, 6, 3, 2, 9, 1, 0];
        let expected = run(&config(&first), &points, &[]);
        let got = run(&config(&first), &points, &[(at, config(&second))]);
        let (before, after): (Vec<Row>, Vec<Row>) = got.into_iter().partition(|row| row.values.len() == first.len());
        let n = before.len();
        assert_same_columns((&before, &[0, 1, 2, 3, 4, 5]), (&expected[..n], &[0, 1, 2, 3, 4, 5]));
        assert_same_columns((&after, &[8, 7, 5, 4, 2, 1]), (&expected[n..], &[0, 1, 2, 3, 4, 5]));
        if at < back {
            let got = run(&config(&first), &points, &[(at, config(&second)), (back, config(&first))]);
            let n = got.iter().rposition(|row| row.values.len() != first.len()).map_or(0, |i| i + 1);
            assert_same_columns((&got[n..], &[0, 1, 2, 3, 4, 5]), (&expected[n..], &[0, 1, 2, 3, 4, 5]));
        }
    }

    #[test]
    fn a_new_feature_is_missing_until_it_is_right(points in points(), at in 0..120usize, new in 0..FEATURES.len()) {
        let whole = run(&config(&all()), &points, &[]);
        let others: Vec<usize> = all().into_iter().filter(|i| *i != new).collect();
        let got = run(&config(&others), &points, &[(at, config(&all()))]);
        for (got, whole) in got.iter().zip(&whole).filter(|(got, _)| got.values.len() == FEATURES.len()) {
            let (got, whole) = (got.values[new], whole.values[new]);
            // What differs in the last bits was summed in another order.
            let is_right = got.is_nan() || (got - whole).abs() <= 1e-9 * whole.abs() + 1e-12;
            prop_assert!(is_right, "{}: {got} instead of {whole}", FEATURES[new]);
        }
    }
}

#[test]
fn a_new_feature_comes_by_itself() {
    let points = steady(240);
    let others: Vec<usize> = all().into_iter().filter(|i| *i != 2).collect();
    let got = run(&config(&others), &points, &[(300, config(&all()))]);
    let first = got.iter().position(|row| row.values.len() == FEATURES.len()).unwrap();
    let seen = got[first..].iter().position(|row| row.values[2].is_finite()).unwrap();
    // Three minutes of range, and one for what was on the way.
    assert!((3..=5).contains(&seen), "{seen}");
    assert!(got[first..].iter().all(|row| row.values[0].is_finite()));
    assert!(got[first..].iter().all(|row| row.window.is_some()), "the others' rows are still there");
}

#[test]
fn another_number_of_rows_keeps_the_newest() {
    let points = steady(240);
    let with_rows = |n: usize| EngineConfig { windows: windows(3, n), ..config(&[0, 1, 2]) };
    let check = |n: usize, n_without: usize| {
        let whole = run(&with_rows(n), &points, &[]);
        let got = run(&with_rows(T), &points, &[(300, with_rows(n))]);
        let changed = got.iter().position(|row| row.window.as_ref().is_some_and(|w| w.input.len() == 3 * n)).unwrap();
        let last_before = got.iter().rposition(|row| row.window.as_ref().is_some_and(|w| w.input.len() == 3 * T));
        assert_eq!(changed - last_before.unwrap() - 1, n_without, "{n}");
        assert_eq!(texts(&got[changed..]), texts(&whole[changed..]));
    };
    check(T - 2, 0);
    // T rows are there, and one more is, when the first window is complete again.
    check(T + 5, 4);
}

#[test]
fn another_step_starts_windows_over_on_the_same_grid() {
    let points = steady(240);
    let slow = EngineConfig { step_ms: 2 * STEP_MS, ..config(&[0, 1, 3]) };
    let got = run(&config(&[0, 1, 3]), &points, &[(300, slow.clone())]);
    let whole = run(&slow, &points, &[]);
    let gap = got.windows(2).position(|pair| pair[1].t_ms - pair[0].t_ms == 2 * STEP_MS).unwrap();
    for row in &got[gap + 1..] {
        let expected = whole.iter().find(|other| other.t_ms == row.t_ms).unwrap();
        assert_eq!(row.values[1], expected.values[1]);
        // What is kept of the range of 2 minutes depends on the step.
        assert!(row.values[0].is_nan() || (row.values[0] - expected.values[0]).abs() < 1e-9);
    }
    assert!(got.last().unwrap().values.iter().all(|value| value.is_finite()));
    let without = got[gap + 1..].iter().position(|row| row.window.is_some()).unwrap();
    assert!(without >= T - 2, "{without}");
}

#[test]
fn another_clip_of_inputs_keeps_the_window() {
    let points = steady(240);
    let clipped = |input_clip: f32| {
        let config = config(&[0, 1]);
        EngineConfig { windows: WindowConfig { input_clip, ..config.windows }, ..config }
    };
    let whole = run(&clipped(3.0), &points, &[]);
    let got = run(&clipped(5.0), &points, &[(300, clipped(3.0))]);
    for (a, b) in got.iter().zip(&whole).skip(40) {
        let (a, b) = (a.window.as_ref().unwrap(), b.window.as_ref().unwrap());
        assert!(a.input.iter().zip(&b.input).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?} {b:?}");
    }
}

#[test]
fn a_shadow_has_windows_of_its_own_and_takes_them_along() {
    let points = steady(240);
    // Two models of three configured features: other features in another order, another number of rows.
    let scored = |features: &[u16], rows: usize| {
        let scored =
            features.iter().map(|feature| ScoredFeature { feature: *feature, floor: 0.0, range_rows: 0 }).collect();
        WindowConfig { scored, ..windows(0, rows) }
    };
    let with =
        |live: WindowConfig, shadow: Option<WindowConfig>| EngineConfig { windows: live, shadow, ..config(&[0, 1, 2]) };
    let (a, b) = (|| scored(&[0, 1], T), || scored(&[2, 1], T + 3));
    let only_a = run(&with(a(), None), &points, &[]);
    let only_b = run(&with(b(), None), &points, &[]);
    let both = run(&with(a(), Some(b())), &points, &[]);
    let promoted = run(&with(a(), Some(b())), &points, &[(300, with(b(), Some(a()))), (450, with(a(), Some(b())))]);
    let windows = |rows: &[Row], of: fn(&Row) -> String| -> Vec<String> { rows.iter().map(of).collect() };
    let live = |row: &Row| format!("{:?}", row.window);
    let shadow = |row: &Row| format!("{:?}", row.shadow);
    assert_eq!(windows(&both, live), windows(&only_a, live));
    assert_eq!(windows(&both, shadow), windows(&only_b, live));
    for (row, (a, b)) in promoted.iter().zip(only_a.iter().zip(&only_b)) {
        let b_is_live = row.window.as_ref().is_some_and(|window| window.input.len() == 2 * (T + 3));
        let (live, shadow) = if b_is_live { (b, a) } else { (a, b) };
        let expected = format!("{:?} {:?}", live.window, shadow.window);
        assert_eq!(format!("{:?} {:?}", row.window, row.shadow), expected, "at {}", row.t_ms);
    }
    let n_live_b = promoted.iter().filter(|row| row.window.as_ref().is_some_and(|w| w.input.len() == 2 * (T + 3)));
    assert!(n_live_b.count() > 5);
    // A shadow that comes late starts with what the live model has of its features.
    let late = run(&with(a(), None), &points, &[(300, with(a(), Some(scored(&[1], T))))]);
    let first = late.iter().position(|row| row.shadow.is_some()).unwrap();
    assert_eq!(late[first..].iter().filter(|row| row.shadow.is_none()).count(), 0);
    let target = |window: &Window, i: usize| window.target[i];
    assert_eq!(target(late[first].shadow.as_ref().unwrap(), 0), target(only_a[first].window.as_ref().unwrap(), 1));
}

#[test]
fn new_features_alone_begin_a_new_history() {
    let points = steady(240);
    let mut engine = Engine::new(config(&[0, 1, 2]));
    let mut out = Output::default();
    let mut history = |engine: &mut Engine, points: &[Point]| {
        points.iter().for_each(|p| push(engine, &[*p], &mut out));
        out.statuses.last().unwrap().history_ms
    };
    let before = history(&mut engine, &points[..300]);
    engine.reconfigure(config(&[0, 1, 2, 3, 5]));
    assert!(history(&mut engine, &points[300..330]) >= before);
    engine.reconfigure(config(&[0, 4, 6, 8, 9]));
    assert!(history(&mut engine, &points[330..360]) < before / 2);
}
