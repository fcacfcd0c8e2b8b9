//! Part of the collected rows that can be learnt from, and what a person should know of the rest.
//!
//! Leaves hosts and features out by name and with the reason; decides nothing about windows.

use anyhow::ensure;

use super::dataset::{Dataset, HostRows};

/// Features with values in fewer of all rows are left out: a model would see their absence more often than them.
const FEATURE_PRESENT_MIN: f64 = 0.05;
/// Hosts on which fewer of the kept features' values are there are left out: the service would not score them either.
const HOST_PRESENT_MIN: f64 = 0.5;
/// History shorter than this shows no day.
const DAY_MS: i64 = 24 * 3_600_000;
/// Names listed in one line of a message; more are counted.
const NAMES_SHOWN: usize = 10;

/// Findings about the rows: what was left out, and what is doubtful.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Features without enough values, by name.
    pub missing: Vec<String>,
    /// Features that never changed on any host; they are kept.
    pub constant: Vec<String>,
    /// Hosts left out: name and reason.
    pub hosts: Vec<(String, String)>,
    /// Hosts with less than a day, which are kept.
    pub young: Vec<String>,
}

/// Takes out of `data` what cannot be learnt from with windows of `window` rows.
///
/// # Errors
/// Where nothing is left: says why and what to do.
pub fn keep_usable(data: &mut Dataset, window: usize) -> anyhow::Result<Findings> {
    ensure!(!data.hosts.is_empty(), "no rows came: is the time range right, and do the features' metrics exist there?");
    let n_rows: usize = data.hosts.iter().map(|host| host.n_rows).sum();
    let n_present = |n: usize| data.hosts.iter().map(|host| host.seen[n].n_present).sum::<usize>();
    let kept: Vec<bool> = (0..data.columns.len())
        .map(|n| n_present(n) as f64 >= FEATURE_PRESENT_MIN * n_rows as f64 && n_present(n) > 0)
        .collect();
    ensure!(
        kept.contains(&true),
        "no feature has values in {n_rows} rows of {} hosts: check the expressions with `outlierd check-config --show-expressions`",
        data.hosts.len()
    );
    let names = data.columns.iter().map(|column| column.name.clone());
    let missing = names.zip(&kept).filter(|(_, kept)| !**kept).map(|(name, _)| name).collect();
    data.keep_columns(&kept);
    let is_constant = |n: usize| data.hosts.iter().all(|host| host.seen[n].range.0 >= host.seen[n].range.1);
    let constant = (0..data.columns.len()).filter(|&n| is_constant(n)).map(|n| data.columns[n].name.clone()).collect();
    let mut findings = Findings { missing, constant, ..Findings::default() };
    data.hosts.retain(|host| match unusable(host, window) {
        Some(reason) => {
            findings.hosts.push((host.name.clone(), reason));
            false
        }
        None => {
            if host.newest_ms - host.first_ms < DAY_MS {
                findings.young.push(host.name.clone());
            }
            true
        }
    });
    ensure!(!data.hosts.is_empty(), "no host can be learnt from:\n{}", findings.text());
    Ok(findings)
}

/// Why a host cannot be learnt from.
fn unusable(host: &HostRows, window: usize) -> Option<String> {
    let longest = host.stretches.iter().map(std::ops::Range::len).max().unwrap_or(0);
    let present = host.present();
    if longest < window {
        let n = host.n_rows;
        Some(format!(
            "{longest} rows without a gap after the warm-up (of {n} in all), a window takes {window}: let it run longer, or choose a shorter \
             --window; or is --step not the distance of its rows?"
        ))
    } else if present < HOST_PRESENT_MIN {
        Some(format!("{:.0} % of the values are missing: does it have another exporter?", 100.0 * (1.0 - present)))
    } else {
        None
    }
}

impl Findings {
    /// Returns what holds for names, each with what to do, and the names.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, &[String]); 3] {
        [
            ("features left out, without values in 95 % of the rows (is the collector enabled?)", &self.missing),
            ("features that never changed on any host; kept, so that a change is an anomaly", &self.constant),
            ("hosts with less than a day of history; kept, but the model will not know their nights", &self.young),
        ]
    }

    /// One line per finding, each with what to do; empty where there is none.
    #[must_use]
    pub fn text(&self) -> String {
        let lists = self.lists().into_iter().filter(|(_, names)| !names.is_empty());
        let mut text: String = lists.map(|(what, names)| format!("{what}: {}\n", listed(names))).collect();
        for (host, reason) in &self.hosts {
            text.push_str(&format!("host left out: {host}: {reason}\n"));
        }
        text
    }
}

fn listed(names: &[String]) -> String {
    match names.len().checked_sub(NAMES_SHOWN) {
        None | Some(0) => names.join(" "),
        Some(more) => format!("{} and {more} more", names[..NAMES_SHOWN].join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::Collector;
    use super::super::dataset::tests::{STEP_MS, columns, dataset, scale};
    use super::*;

    #[test]
    fn features_that_are_missing_go_and_constant_ones_stay() {
        let value = |_: usize, row: usize, feature: usize| match feature {
            0 => f64::NAN,
            1 => 7.0,
            2 if row.is_multiple_of(40) => 1.0,
            2 => f64::NAN,
            _ => (row % 5) as f64,
        };
        let mut data = dataset(2, 1500, &["none", "flat", "rare", "good"], value);
        let findings = keep_usable(&mut data, 60).unwrap();
        assert_eq!((findings.missing, findings.constant), (vec!["none".into(), "rare".into()], vec!["flat".into()]));
        assert!(findings.young.is_empty() && findings.hosts.is_empty());
        assert_eq!(data.columns.len(), 2);
    }

    #[test]
    fn bad_hosts_are_named_with_the_reason() {
        let mut collector = Collector::new(columns(&["a", "b"]), scale());
        for row in 0..1500 {
            let value = (row % 7) as f64;
            collector.push("good", row * STEP_MS, &[value, value]);
            collector.push("halved", row * STEP_MS, &[if row % 3 == 0 { value } else { f64::NAN }, f64::NAN]);
            if row < 100 {
                collector.push("new", row * STEP_MS, &[value, value]);
            }
        }
        let mut data = collector.finish();
        let text = keep_usable(&mut data, 60).unwrap().text();
        assert_eq!(data.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["good"]);
        assert!(text.contains("host left out: new: 40 rows without a gap after the warm-up (of 100 in all)"), "{text}");
        assert!(text.contains("host left out: halved: 83 % of the values are missing"), "{text}");
    }

    #[test]
    fn nothing_usable_is_an_error() {
        let check = |mut data: Dataset, expected: &str| {
            let error = keep_usable(&mut data, 60).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(dataset(0, 0, &["a"], |_, _, _| 0.0), "no rows came");
        check(dataset(1, 99, &["a"], |_, _, _| f64::NAN), "no feature has values in 99 rows of 1 hosts");
        check(dataset(1, 99, &["a"], |_, _, _| 0.0), "no host can be learnt from:\n");
    }
}
