//! At its limits an engine leaves out what it cannot know, and says nothing wrong.

use super::*;

/// Features that keep samples, and two that don't.
const FEATURES: [&str; 8] = [
    "sum(rate(c[2m]))",
    "g",
    "sum(sum_over_time(c[3m]))",
    "sum(rate(c[15m]))",
    "sum(changes(c[2m]))",
    "sum(c offset 2m)",
    "sum(rate(c[2m] offset 1m))",
    "count(c offset 2m) or vector(0)",
];

/// Values by row; a host with two counters, one of which is reset, runs for an hour.
fn rows(samples_per_host: usize) -> (Vec<Vec<f64>>, Output) {
    let sources = FEATURES.map(|expr| FeatureSource { name: "f", expr, at: "test" });
    let plan = Arc::new(Plan::compile(&sources, 300_000).unwrap());
    let mut engine = engine_with(|config| {
        config.plan = plan;
        config.limits.samples_per_host = samples_per_host;
    });
    let mut out = Output::default();
    for k in 0..240 {
        let t_ms = k * 15_000;
        // In the middle of the hour there is one counter alone, so that there is room.
        let mut points = vec![point("g", "", t_ms, 5.0), point("c", "x", t_ms, (k % 7) as f64)];
        if !(80..160).contains(&k) {
            points.push(point("c", "y", t_ms, k as f64));
        }
        send(&mut engine, &points, t_ms, &mut out);
    }
    (out.rows.iter().map(|row| row.values.to_vec()).collect(), out)
}

#[test]
fn what_was_not_kept_is_missing_and_never_wrong() {
    let (whole, out) = rows(100_000);
    assert_eq!(out.counts.get(EngineCounter::SamplesPerHost), 0);
    for n in [1, 3, 10, 40, 60, 80, 100, 150] {
        let (limited, out) = rows(n);
        assert!(out.counts.get(EngineCounter::SamplesPerHost) > 0, "{n}");
        assert!(out.feature_errors.iter().all(|(_, error)| *error == EvalError::SamplesNotKept));
        assert_eq!(limited.len(), whole.len());
        for (k, (limited, whole)) in limited.iter().zip(&whole).enumerate() {
            for (feature, (limited, whole)) in limited.iter().zip(whole).enumerate() {
                let must_be_there = feature < 2;
                let is_right = limited.to_bits() == whole.to_bits() || limited.is_nan() && !must_be_there;
                assert!(is_right, "{n}, row {k}, {}: {limited} instead of {whole}", FEATURES[feature]);
            }
        }
    }
    // There is room again, and then values too.
    let (limited, out) = rows(150);
    assert!(limited[38][3].is_finite() && out.feature_errors.iter().any(|(feature, _)| *feature == 3));
}
