//! Advice on what of a configuration can't work, or may not, as far as it can be told before the first sample.

use crate::config::{Config, Feature, duration_text};
use crate::promql::Plan;
use crate::promql::labelset::Grouping;
use crate::promql::plan::{RANGE_INTERVALS, Range, Rollup};

/// Keeps the labels that some feature reads, unless somebody chose to drop them.
pub(super) fn keep_labels_that_are_read(config: &mut Config, plan: &Plan) {
    let is_grouped = |label: &str| {
        plan.groupings.iter().any(|grouping| match grouping {
            Grouping::By(labels) => labels.iter().any(|name| name == label),
            Grouping::Without(_) => false,
        })
    };
    let is_read = |label: &str| plan.leaves.iter().any(|leaf| leaf.selector.reads(label)) || is_grouped(label);
    if config.identity.is_drop_default {
        config.identity.drop.retain(|label| !is_read(label));
    }
}

/// Every range that holds too few scrapes, with what to write: those that never work where `ingest.interval` says how often hosts
/// are scraped.
///
/// # Errors
/// The same, one a line.
pub(super) fn check_ranges(config: &Config, plan: &Plan) -> anyhow::Result<()> {
    let Some(interval_ms) = config.ingest.interval_ms else { return Ok(()) };
    let interval = duration_text(interval_ms);
    let lines: Vec<String> = short_ranges(config, plan, interval_ms, 0)
        .map(|short| {
            let Short { feature, range_ms, n_needed } = short;
            format!(
                "{}: feature {}: [{}] holds fewer than the {n_needed} scrapes that it needs, which are {interval} apart \
                 (`ingest.interval`): write {}",
                feature.at,
                feature.name,
                duration_text(range_ms),
                proposed(interval_ms),
            )
        })
        .collect();
    anyhow::ensure!(lines.is_empty(), "{}", lines.join("\n"));
    Ok(())
}

/// Warns of what may not work: ranges that hold too few scrapes where hosts are scraped once a step; and where it is known how
/// often they are scraped, ranges that hold no scrape more than they need.
pub(super) fn warnings(config: &Config, plan: &Plan, step_ms: i64) -> Vec<String> {
    let warning = |short: Short<'_>| {
        let Short { feature, range_ms, n_needed } = short;
        let (at, name, range) = (&feature.at, &feature.name, duration_text(range_ms));
        match config.ingest.interval_ms {
            Some(interval_ms) => format!(
                "{at}: feature {name}: [{range}] holds the {n_needed} scrapes that it needs and no more, so that jitter or one missed \
                 scrape leaves it without a value: write {}",
                proposed(interval_ms),
            ),
            None => format!(
                "{at}: feature {name}: [{range}] is too short for hosts that are scraped each {} or less often, of which it needs {n_needed} \
                 scrapes: write {}, or say how often they are scraped with `ingest.interval`",
                duration_text(step_ms),
                proposed(step_ms),
            ),
        }
    };
    let (interval_ms, n_spare) = config.ingest.interval_ms.map_or((step_ms, 0), |interval_ms| (interval_ms, 1));
    short_ranges(config, plan, interval_ms, n_spare).map(warning).collect()
}

fn proposed(interval_ms: i64) -> String {
    format!(
        "[$range], which follows the interval, or at least [{}]",
        duration_text(RANGE_INTERVALS.saturating_mul(interval_ms))
    )
}

/// A range that holds too few scrapes.
struct Short<'a> {
    feature: &'a Feature,
    range_ms: i64,
    n_needed: i64,
}

/// The first range of each feature that doesn't hold `n_spare` more than it needs of scrapes `interval_ms` apart.
fn short_ranges<'a>(
    config: &'a Config,
    plan: &'a Plan,
    interval_ms: i64,
    n_spare: i64,
) -> impl Iterator<Item = Short<'a>> {
    config.features.iter().zip(&plan.leaves_of).filter_map(move |(feature, leaves)| {
        leaves.iter().find_map(|leaf| match plan.leaves.get(usize::from(*leaf))?.rollup {
            Rollup::Range(function, Range::Fixed(range_ms)) => {
                let n_needed = function.samples_min();
                (range_ms < interval_ms.saturating_mul(n_needed + n_spare)).then_some(Short {
                    feature,
                    range_ms,
                    n_needed,
                })
            }
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::config;
    use crate::setup::Setup;

    /// Checks what is said of a configuration with the feature `expr`; an error begins with `!`.
    fn check(settings: &str, expr: &str, expected: &[&str]) {
        let text = format!("{settings}\nfeatures: [{{name: own, expr: '{expr}'}}]\n");
        let said = match Setup::new(config::parse("o.yaml", &text).unwrap()) {
            Ok(setup) => setup.warnings(),
            Err(error) => error.to_string().lines().map(|line| format!("!{line}")).collect(),
        };
        let is_said = said.len() == expected.len() && said.iter().zip(expected).all(|(said, part)| said.contains(part));
        assert!(is_said, "{text}: {said:#?}");
    }

    #[test]
    fn ranges_that_hold_too_few_scrapes() {
        let few = "[1m] is too short for hosts that are scraped each 1m or less often, of which it needs 2 scrapes";
        check("", "sum(rate(x[1m]))", &[few]);
        check("", "sum(rate(x[2m]))", &[]);
        check("", "sum(rate(x[$range]))", &[]);
        check("", "max(max_over_time(x[1m]))", &[]);
        check("step: 5m", "sum(rate(x[2m]))", &["write [$range], which follows the interval, or at least [20m]"]);
        check("ingest: {interval: 15s}", "sum(rate(x[1m]))", &[]);
        check("ingest: {interval: 30s}", "sum(rate(x[1m]))", &["and no more, so that jitter or one missed scrape"]);
        let never =
            "!o.yaml:2:30: feature own: [2m] holds fewer than the 2 scrapes that it needs, which are 1m30s apart";
        check("ingest: {interval: 90s}", "sum(rate(x[2m]))", &[never]);
    }

    #[test]
    fn labels_that_a_feature_reads_are_no_replica_labels() {
        let check = |settings: &str, expr: &str, expected: &[&str]| {
            let text = format!("{settings}\nfeatures: [{{name: own, expr: '{expr}'}}]\n");
            let setup = Setup::new(config::parse("o.yaml", &text).unwrap()).unwrap();
            assert_eq!(setup.config.identity.drop, expected, "{text}");
        };
        check("", "sum(x)", &["prometheus_replica", "__replica__", "replica", "receive_replica"]);
        check("", "max(sum by (replica) (x))", &["prometheus_replica", "__replica__", "receive_replica"]);
        check("", "sum(x{receive_replica=\"a\"})", &["prometheus_replica", "__replica__", "replica"]);
        check("identity: {keep: [replica]}", "sum(x)", &["prometheus_replica", "__replica__", "receive_replica"]);
        check("identity: {drop: [replica]}", "max(sum by (replica) (x))", &["replica"]);
        check("identity: {drop: []}", "sum(x)", &[]);
    }
}
