//! Standardisation by hand, over days, and with values that cannot be.

use super::*;

const MINUTE_MS: i64 = 60_000;
const DAY_ROWS: usize = 1440;
const FEATURE: ScoredFeature = ScoredFeature { feature: 0, floor: 0.0, range_rows: 0 };

/// Standardises a series of one row a minute.
fn run(values: impl IntoIterator<Item = f64>) -> Vec<Option<Standardised>> {
    let c = Constants::default().in_rows(MINUTE_MS);
    let mut statistics = Standardiser::default();
    values.into_iter().zip(0..).map(|(x, row)| statistics.observe(x, row * MINUTE_MS, &FEATURE, &c)).collect()
}

/// Reproducible noise, uniform with mean 0 and deviation 1.
fn noise(rows: usize) -> impl Iterator<Item = f64> {
    let mut state = 7_u64;
    (0..rows).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
    })
}

#[test]
fn a_sequence_computed_by_hand() {
    let c = RowConstants {
        memory: 4,
        warmup: 2,
        winsor: 5.0,
        floor: 0.05,
        floor_young: 0.2,
        young: 1.0,
        fast: 2,
        takeover_deviations: 2.0,
        takeover_hold: 100,
        bucket_ms: 1000,
        remembered: 5000,
        confirm: 1,
    };
    let mut statistics = Standardiser::default();
    let mut check = |x: f64, floor: f64, expected: Option<(f64, f64, f64)>| {
        let got = statistics.observe(x, 0, &ScoredFeature { floor, ..FEATURE }, &c).map(|s| (s.z, s.mean, s.deviation));
        match (got, expected) {
            (None, None) => {}
            (Some(got), Some(want)) => {
                let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
                assert!(close(got.0, want.0) && close(got.1, want.1) && close(got.2, want.2), "{got:?} {want:?}");
            }
            _ => panic!("{got:?} instead of {expected:?}"),
        }
    };
    check(0.0, 0.0, None);
    check(2.0, 0.0, None);
    // mean 1, variance 1; 4 confirms the 2: range 2, share .05 + .2/3: sqrt(1 + .233333²)
    check(4.0, 0.0, Some((2.921_523, 1.0, 1.026_862)));
    // 4 is within reach: mean 1 + 3/3, variance 1 + (9 - 1)/3, range 4, share .05 + .2/4: sqrt(3.666667 + .4²)
    check(2.0, 0.0, Some((0.0, 2.0, 1.956_187)));
    // mean 2, variance 3.666667 · 3/4, a floor of 3 units beats the range's: sqrt(2.75 + 9)
    check(2.0, 3.0, Some((0.0, 2.0, 3.427_827)));
}

#[test]
fn nothing_is_standardised_in_the_first_hour() {
    let z = run(noise(100));
    assert_eq!(z.iter().position(Option::is_some), Some(60));
    assert!(z[60..].iter().all(Option::is_some));
}

#[test]
fn a_level_shift_is_taken_over_in_12_to_16_hours() {
    let shift_at = 8 * DAY_ROWS;
    for deviations in [5.0, 20.0] {
        let z = run(noise(12 * DAY_ROWS)
            .enumerate()
            .map(|(row, x)| 50.0 + x + if row < shift_at { 0.0 } else { deviations }));
        let last = z.iter().rposition(|s| s.is_some_and(|s| s.z.abs() > 3.0)).unwrap();
        let hours = (last - shift_at) as f64 / 60.0;
        assert!((12.0..=16.0).contains(&hours), "{deviations}σ: {hours} h");
    }
}

#[test]
fn a_daily_burst_stays_within_20_from_the_second_one_on() {
    let z = run((0..10 * DAY_ROWS).map(|row| if row % DAY_ROWS == DAY_ROWS - 1 { 300.0 } else { 0.0 }));
    assert!(z[DAY_ROWS - 1].unwrap().z > 1e6, "the first change of a constant feature");
    for day in 1..10 {
        assert!(z[day * DAY_ROWS + DAY_ROWS - 1].unwrap().z <= 20.0 + 1e-9);
    }
}

#[test]
fn scale_and_shift_change_nothing() {
    let values: Vec<f64> =
        noise(3 * DAY_ROWS).enumerate().map(|(row, x)| if row > 3000 { x + 8.0 } else { x }).collect();
    let reference = run(values.iter().copied());
    for (scale, shift) in [(1e3, 0.0), (1e9, 0.0), (-1e-9, 0.0), (1.0, 1e6), (1e9, -1e12)] {
        for (a, b) in reference.iter().zip(run(values.iter().map(|x| scale * x + shift))) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            assert!((a.z * f64::signum(scale) - b.z).abs() < 1e-5, "scale {scale}, shift {shift}: {a:?} {b:?}");
        }
    }
}

#[test]
fn a_constant_feature_is_zero_at_any_level() {
    for level in [0.0, 0.3, -1e9, 1e29] {
        assert!(run(vec![level; 200]).into_iter().flatten().all(|s| s.z == 0.0 && s.deviation > 0.0));
    }
}

#[test]
fn extremes_are_forgotten_after_a_month() {
    let mut values = vec![0.0; 40 * DAY_ROWS];
    values[2 * DAY_ROWS..2 * DAY_ROWS + 6].fill(1000.0);
    values.iter_mut().enumerate().for_each(|(row, x)| *x += f64::from(u8::from(row % 2 == 0)));
    let z = run(values);
    let deviation = |day: usize| z[day * DAY_ROWS].unwrap().deviation;
    assert!(deviation(25) > 50.0);
    assert!(deviation(33) < 2.0);
}

/// `n_rows` values of `size` from the row `at` on change no deviation by more than `most`, nor a z, five rows later.
fn check_absurd(base: &[f64], (at, n_rows): (usize, usize), size: f64, most: f64) {
    let mut with = base.to_vec();
    with[at..at + n_rows].fill(size);
    let both = run(base.iter().copied()).into_iter().zip(run(with)).enumerate().skip(at + n_rows + 5);
    for (row, (a, b)) in both {
        let (Some(a), Some(b)) = (a, b) else {
            assert_eq!(a, b);
            continue;
        };
        let is_alike = (b.deviation / a.deviation).ln().abs() <= most && (a.z - b.z).abs() <= most * a.z.abs().max(1.0);
        assert!(is_alike, "{n_rows} of {size:e} at {at}: {b:?} instead of {a:?} at {row}");
    }
}

#[test]
fn one_absurd_value_of_any_size_spoils_nothing() {
    let noisy: Vec<f64> = noise(3 * DAY_ROWS).map(|x| 1e5 + 1e3 * x).collect();
    let quiet = vec![0.0; 3 * DAY_ROWS];
    for size in [1e6, 1e9, 1e12, 1e15, 1e29, -1e6, -1e15] {
        for base in [&noisy, &quiet] {
            // In the warm-up one row of some; afterwards as many as a range holds.
            [10, 30, 59].iter().for_each(|at| check_absurd(base, (*at, 1), size, 0.3));
            for n_rows in [1, 3, 5] {
                // What five rows of 5 deviations add to the variance.
                for (at, most) in [(60, 0.9), (500, 0.25), (DAY_ROWS, 0.1)] {
                    check_absurd(base, (at, n_rows), size, most);
                }
            }
        }
    }
}

#[test]
fn a_feature_of_a_long_range_is_learnt_as_another() {
    let c = Constants::default().in_rows(MINUTE_MS);
    for range_rows in [31, 361, 1441] {
        let feature = ScoredFeature { range_rows, ..FEATURE };
        let (mut long, mut short) = (Standardiser::default(), Standardiser::default());
        // What is averaged over a long range moves slowly.
        let mut level = 0.0;
        for (x, t_ms) in noise(3 * DAY_ROWS).zip((0..).step_by(MINUTE_MS as usize)) {
            level += (x - level) / 60.0;
            let both = (long.observe(level, t_ms, &feature, &c), short.observe(level, t_ms, &FEATURE, &c));
            let (Some(a), Some(b)) = both else { continue };
            assert!((a.z - b.z).abs() <= 0.2 * b.z.abs().max(1.0), "{range_rows}: {a:?} {b:?} at {t_ms}");
        }
    }
}

#[test]
fn an_absurd_value_after_a_gap_longer_than_the_range() {
    let c = Constants::default().in_rows(MINUTE_MS);
    let mut statistics = Standardiser::default();
    let mut t_ms = 0;
    let mut last = None;
    for (row, x) in noise(3 * DAY_ROWS).enumerate() {
        t_ms += if row == DAY_ROWS { 40 * DAY_ROWS as i64 * MINUTE_MS } else { MINUTE_MS };
        let x = if row == DAY_ROWS { 1e12 } else { 100.0 + x };
        last = statistics.observe(x, t_ms, &FEATURE, &c);
    }
    let last = last.unwrap();
    assert!((last.mean - 100.0).abs() < 0.5 && last.deviation < 2.0, "{last:?}");
}

#[test]
fn an_outlier_confirms_no_absurd_value() {
    let mut values: Vec<f64> = noise(20 * DAY_ROWS).map(|x| 100.0 + x).collect();
    values[10 * DAY_ROWS] = 1e15;
    values[18 * DAY_ROWS] = 1e6;
    assert!(run(values).last().unwrap().unwrap().deviation < 2.0);
}

#[test]
fn values_that_cannot_be_squared_are_not_learnt() {
    let c = Constants { warmup_s: 0.0, ..Constants::default() }.in_rows(MINUTE_MS);
    let mut statistics = Standardiser::default();
    statistics.observe(1.0, 0, &FEATURE, &c);
    let before = statistics.clone();
    assert_eq!(statistics.observe(1e300, MINUTE_MS, &FEATURE, &c), None);
    assert_eq!(statistics, before);
}

#[test]
fn any_step_gives_at_least_a_row() {
    for step_ms in [i64::MIN, 0, 1, 15_000, 86_400_000 * 365] {
        let c = Constants::default().in_rows(step_ms);
        assert!(c.memory.min(c.warmup).min(c.fast).min(c.takeover_hold) >= 1 && c.bucket_ms >= 1);
        let mut statistics = Standardiser::default();
        for (row, x) in noise(50).enumerate() {
            let z = statistics.observe(x, row as i64 * step_ms.max(0), &FEATURE, &c);
            assert!(z.is_none_or(|s| s.z.is_finite() && s.deviation > 0.0));
        }
    }
}

#[test]
fn it_is_small() {
    assert!(size_of::<Standardiser>() <= 112);
}
