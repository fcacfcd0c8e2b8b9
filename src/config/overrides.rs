//! `overrides` and `maintenance`: what holds for some hosts alone, or for some time.

use std::collections::HashMap;

use super::Limit;
use super::reader::{Context, Map};
use super::yaml::Node;
use crate::config::silence::Schedule;
use crate::config::silence::hosts::HostLabels;

const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400 * SECOND_MS;
/// Entries of either list: each is compared with every host.
const ENTRIES_MAX: usize = 1_000;
/// Example of a list of hosts.
const MATCH_EXPECTED: &str = "label matchers in quotes, such as '{job=\"db\",instance=~\"eu-.*\"}'";

/// Changes to the detection for some hosts. What is `None` stays; of several that match, the last one that says something of a
/// number has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// Which hosts: label matchers in braces, valid.
    pub hosts: String,
    /// As `detection.limit`.
    pub limit: Option<Limit>,
    /// As `detection.for`.
    pub for_rows: Option<u32>,
    /// As `detection.clear`.
    pub clear: Option<f64>,
    /// By the feature's name.
    pub features: Vec<(String, Rule)>,
}

/// Which errors of a feature count. What is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rule {
    /// On which side of the expected value.
    pub detect: Option<Detect>,
    /// Least distance from it, in the feature's own unit.
    pub min_dev: Option<f64>,
    /// Least distance from it, as a share of it.
    pub min_rel_dev: Option<f64>,
}

/// On which side of the expected value a feature's errors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detect {
    /// Above and below.
    #[default]
    Both,
    /// Values above what was expected.
    Above,
    /// Values below what was expected.
    Below,
    /// Nowhere: the model sees the feature, but it raises no flag.
    Never,
}

/// A recurring span of time in which some hosts are neither flagged nor learnt from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Unique.
    pub name: String,
    /// Which hosts: label matchers in braces, valid.
    pub hosts: String,
    /// When it starts, as cron has it, valid.
    pub schedule: String,
    /// Duration.
    pub duration_ms: i64,
}

/// The keys of a rule, which a feature and an override have.
pub(super) fn rule(map: &mut Map<'_>) -> Rule {
    let detect = |text: &str| match text {
        "both" => Some(Detect::Both),
        "above" => Some(Detect::Above),
        "below" => Some(Detect::Below),
        "never" => Some(Detect::Never),
        _ => None,
    };
    Rule {
        detect: map.parsed("detect", "`both`, `above`, `below` or `never`", detect),
        min_dev: map.number("min_dev", "a number of at least 0 in the feature's own unit", |n| n >= 0.0),
        min_rel_dev: map.number("min_rel_dev", "a share of the expected value, such as 0.2", |n| n >= 0.0),
    }
}

/// `limit`, here and under `detection`.
pub(super) fn limit(map: &mut Map<'_>) -> Option<Limit> {
    let limit = |text: &str| match text {
        "auto" => Some(Limit::Auto),
        _ => text.parse().ok().filter(|limit: &f64| limit.is_finite() && *limit > 0.0).map(Limit::Fixed),
    };
    map.parsed("limit", "a number above 0, such as 1.0, or `auto`", limit)
}

/// `for` and `clear`, here and under `detection`.
pub(super) fn hold(map: &mut Map<'_>) -> (Option<u32>, Option<f64>) {
    let for_rows = map.whole("for", 1..=1_000, "rows").and_then(|rows| u32::try_from(rows).ok());
    (for_rows, map.number("clear", "a number above 0 and at most 1, such as 0.7", |n| n > 0.0 && n <= 1.0))
}

/// The list under `overrides`.
pub(super) fn overrides(map: &mut Map<'_>, labels: &HostLabels) -> Vec<Override> {
    let context = map.context();
    let mut lines = HashMap::new();
    items(map, "overrides", "a list, each item with `match`")
        .filter_map(|item| one(context, item, labels, &mut lines))
        .collect()
}

fn one<'a>(
    context: &'a Context<'a>,
    item: &'a Node,
    labels: &HostLabels,
    lines: &mut HashMap<String, usize>,
) -> Option<Override> {
    let mut map = context.map(Some(item), "overrides[]");
    let hosts = hosts(context, &mut map, item, labels);
    let limit = limit(&mut map);
    let (for_rows, clear) = hold(&mut map);
    let expected = "a list, each item with `name`";
    let features = map.list("features", expected).unwrap_or_default();
    let mut names: HashMap<String, usize> = HashMap::new();
    let features: Vec<_> = features.iter().filter_map(|item| feature(context, item, &mut names)).collect();
    let says_something = ["limit", "for", "clear", "features"].iter().any(|key| map.find(key).is_some());
    map.finish();
    if !says_something {
        let message = "this override changes nothing; give it a `limit`, `for`, `clear` or `features`";
        context.problem(item.place, message.to_owned());
    }
    let hosts = hosts?;
    if let Some(line) = lines.insert(hosts.clone(), item.place.line) {
        let message = format!("a second override of `{hosts}`, the first is in line {line}; make one of them");
        context.problem(item.place, message);
    }
    Some(Override { hosts, limit, for_rows, clear, features })
}

fn feature<'a>(context: &'a Context<'a>, item: &'a Node, names: &mut HashMap<String, usize>) -> Option<(String, Rule)> {
    let mut map = context.map(Some(item), "overrides[].features[]");
    let name = map.text("name", "the name of a feature");
    let rule = rule(&mut map);
    let says_something = ["detect", "min_dev", "min_rel_dev"].iter().any(|key| map.find(key).is_some());
    map.finish();
    let Some(name) = name else {
        context.problem(item.place, "this feature has no `name`".to_owned());
        return None;
    };
    if !says_something {
        context.problem(item.place, "nothing is changed here; give `detect`, `min_dev` or `min_rel_dev`".to_owned());
    }
    if let Some(line) = names.insert(name.clone(), item.place.line) {
        context.problem(item.place, format!("a second `{name}` in one override, the first is in line {line}"));
    }
    Some((name, rule))
}

/// The list under `maintenance`.
pub(super) fn maintenance(map: &mut Map<'_>, labels: &HostLabels) -> Vec<Maintenance> {
    let context = map.context();
    let mut lines = HashMap::new();
    let expected = "a list, each item with `name`, `match`, `schedule` and `duration`";
    items(map, "maintenance", expected).filter_map(|item| span(context, item, labels, &mut lines)).collect()
}

fn span<'a>(
    context: &'a Context<'a>,
    item: &'a Node,
    labels: &HostLabels,
    lines: &mut HashMap<String, usize>,
) -> Option<Maintenance> {
    let mut map = context.map(Some(item), "maintenance[]");
    let name = map.text("name", "a short name, such as backup");
    let hosts = hosts(context, &mut map, item, labels);
    let place = map.find("schedule").map_or(item.place, |entry| entry.value.place);
    let expected = "when it starts: minute hour day month weekday, and a time zone's name where it is not UTC";
    let schedule = map.text("schedule", expected);
    let schedule = schedule.filter(|text| match Schedule::parse(text) {
        Ok(_) => true,
        Err(error) => {
            let message = format!(
                "`{text}` is no schedule; write {expected}, such as '0 2 * * * Europe/Berlin': {}",
                one_line(&error)
            );
            context.problem(place, message);
            false
        }
    });
    let has_schedule = map.find("schedule").is_some();
    let has_duration = map.find("duration").is_some();
    let duration_ms = map.duration("duration", SECOND_MS..=30 * DAY_MS, "2h");
    map.finish();
    for (key, is_there) in [("name", name.is_some()), ("schedule", has_schedule), ("duration", has_duration)] {
        if !is_there {
            context.problem(item.place, format!("this maintenance has no `{key}`"));
        }
    }
    let maintenance = Maintenance { name: name?, hosts: hosts?, schedule: schedule?, duration_ms: duration_ms? };
    if let Some(line) = lines.insert(maintenance.name.clone(), item.place.line) {
        let message = format!("a second maintenance `{}`, the first is in line {line}; rename one", maintenance.name);
        context.problem(item.place, message);
    }
    Some(maintenance)
}

/// `match`, which must be there.
fn hosts<'a>(context: &'a Context<'a>, map: &mut Map<'a>, item: &Node, labels: &HostLabels) -> Option<String> {
    let Some(place) = map.find("match").map(|entry| entry.value.place) else {
        map.take("match");
        context.problem(item.place, format!("`match` is missing; write {MATCH_EXPECTED}"));
        return None;
    };
    let text = map.text("match", MATCH_EXPECTED)?;
    match labels.selector(&text) {
        Ok(_) => Some(text),
        Err(message) => {
            context.problem(place, message);
            None
        }
    }
}

/// The items of the list under `key`; a problem where they are too many.
fn items<'a>(map: &mut Map<'a>, key: &'static str, expected: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
    let place = map.find(key).map(|entry| entry.place);
    let items = map.list(key, expected).unwrap_or_default();
    if let Some(place) = place.filter(|_| items.len() > ENTRIES_MAX) {
        map.context().problem(place, format!("{} entries; at most {ENTRIES_MAX} can stand in `{key}`", items.len()));
    }
    items.iter().take(ENTRIES_MAX)
}

/// Parsers draw their errors over several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
