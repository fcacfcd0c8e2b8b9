//! What of a configuration can't work, or may not, as far as it can be told before the first sample.

use crate::config::{Config, Feature, duration_text};
use crate::expr::Plan;
use crate::expr::labelset::Grouping;
use crate::expr::plan::{Range, Rollup};

/// Scrape intervals in the range that is proposed: as many as `[$range]` holds.
const PROPOSED_INTERVALS: i64 = 4;

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
    let lines: Vec<String> = short_ranges(config, plan, interval_ms)
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

/// What may not work: ranges that hold too few scrapes where hosts are scraped once a step.
pub(super) fn warnings(config: &Config, plan: &Plan, step_ms: i64) -> Vec<String> {
    if config.ingest.interval_ms.is_some() {
        return Vec::new();
    }
    let step = duration_text(step_ms);
    let warning = |short: Short<'_>| {
        let Short { feature, range_ms, n_needed } = short;
        format!(
            "{}: feature {}: [{}] holds fewer than the {n_needed} scrapes that it needs where hosts are scraped each {step} or \
             less often: write {}, or say how often they are scraped with `ingest.interval`",
            feature.at,
            feature.name,
            duration_text(range_ms),
            proposed(step_ms),
        )
    };
    short_ranges(config, plan, step_ms).map(warning).collect()
}

fn proposed(interval_ms: i64) -> String {
    format!("[$range], which follows the interval, or at least [{}]", duration_text(PROPOSED_INTERVALS * interval_ms))
}

/// A range that holds too few scrapes.
struct Short<'a> {
    feature: &'a Feature,
    range_ms: i64,
    n_needed: i64,
}

/// The first such range of each feature, of scrapes `interval_ms` apart.
fn short_ranges<'a>(config: &'a Config, plan: &'a Plan, interval_ms: i64) -> impl Iterator<Item = Short<'a>> {
    config.features.iter().zip(&plan.leaves_of).filter_map(move |(feature, leaves)| {
        leaves.iter().find_map(|leaf| match plan.leaves.get(usize::from(*leaf))?.rollup {
            Rollup::Range(function, Range::Fixed(range_ms)) => {
                let n_needed = function.samples_min();
                (range_ms < interval_ms.saturating_mul(n_needed)).then_some(Short { feature, range_ms, n_needed })
            }
            _ => None,
        })
    })
}
