//! What the text of `/metrics` says.

use std::collections::BTreeMap;

/// Counters of what became of a body's series and samples.
const FATES: [&str; 10] = [
    "outlierd_samples_received_total",
    "outlierd_samples_kept_total",
    "outlierd_samples_ignored_total",
    "outlierd_samples_rejected_total",
    "outlierd_samples_dropped_total",
    "outlierd_samples_duplicate_total",
    "outlierd_series_invalid_total",
    "outlierd_new_series_invalid_total",
    "outlierd_exemplars_skipped_total",
    "outlierd_metadata_skipped_total",
];

/// Value by series; a line that is no sample fails.
pub fn samples(page: &str) -> BTreeMap<&str, f64> {
    let sample = |line| str::rsplit_once(line, ' ').and_then(|(series, value)| Some((series, value.parse().ok()?)));
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect()
}

/// The value of the one series that begins with `name` and contains `label`; `None` where there is none.
pub fn value(page: &str, name: &str, label: &str) -> Option<f64> {
    let samples = samples(page);
    let mut found =
        samples.iter().filter(|(series, _)| series.split('{').next() == Some(name) && series.contains(label));
    let value = found.next().map(|(_, value)| *value);
    assert!(found.next().is_none(), "{name} with {label} is there more than once");
    value
}

/// The counters of [`FATES`] that differ, without prefix and suffix: `samples_kept 1, series_invalid no_name 1`.
pub fn fates(before: &str, after: &str) -> String {
    let before = samples(before);
    let mut changed = Vec::new();
    for name in FATES {
        for (series, value) in samples(after).range(name..).take_while(|(series, _)| series.starts_with(name)) {
            let n = value - before.get(series).unwrap_or(&0.0);
            if n != 0.0 {
                let reason = series.split('"').nth(1).map_or_else(String::new, |reason| format!("{reason} "));
                let name = name.trim_start_matches("outlierd_").trim_end_matches("_total");
                changed.push(format!("{name} {reason}{n}"));
            }
        }
    }
    changed.join(", ")
}

/// Every sample of a host or feature is a number.
pub fn assert_finite(page: &str) {
    for (series, value) in samples(page) {
        let of_host = series.starts_with("outlierd_host_") || series.starts_with("outlierd_feature_");
        assert!(!of_host || value.is_finite(), "{series} {value}");
    }
}
