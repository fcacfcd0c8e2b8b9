//! The key `features`, and the built-in preset.

use std::collections::HashMap;

use super::errors::{ConfigErrors, Place};
use super::placeholders::Placeholders;
use super::reader::{Context, Map, is_name};
use super::yaml::{self, Node, Value};
use super::{Feature, overrides};
use crate::base::bounds::Bounds;

/// Features of one configuration; the input of a model is seldom past a hundred.
const FEATURES_MAX: usize = 1_000;

/// The features of a node_exporter host: what is watched unless the file says otherwise.
const PRESET: &str = include_str!("presets/node-exporter.yaml");

/// The name under which messages speak of [`PRESET`].
const PRESET_NAME: &str = "node-exporter.yaml (built in)";

/// The features of the built-in preset. A test holds that it has no errors.
pub(super) fn preset() -> Result<Vec<Feature>, ConfigErrors> {
    features_alone(PRESET_NAME, PRESET)
}

/// Validates a text that has `features`, perhaps `placeholders` for their expressions, and nothing else: a preset.
fn features_alone(file: &str, text: &str) -> Result<Vec<Feature>, ConfigErrors> {
    let (root, problems) = yaml::read(text);
    let context = Context::new(text, &|_| None, problems);
    let mut map = context.map(root.as_ref(), "");
    let placeholders = map.take("placeholders").map(|entry| Placeholders::read(&entry.value)).unwrap_or_default();
    let mut found = features(file, &mut map, &[]).unwrap_or_default();
    for feature in &mut found {
        let expanded = placeholders.expand(&feature.expr);
        if expanded != feature.expr {
            // Its characters stand in no line of the file any more.
            (feature.expr, feature.lines) = (expanded, Vec::new());
        }
    }
    map.finish();
    let problems = context.problems();
    if problems.is_empty() { Ok(found) } else { Err(ConfigErrors::new(file, text, problems)) }
}

/// The key `features` in `map`; `None` where it is not there. What a feature with a name of the `preset` doesn't say is as there.
pub(super) fn features(file: &str, map: &mut Map<'_>, preset: &[Feature]) -> Option<Vec<Feature>> {
    let context = map.context();
    let place = map.find("features").map(|entry| entry.place);
    let expected = "a list, each item with `name` and `expr`";
    let items = map.list("features", expected);
    let place = place?;
    let Some(items) = items else { return Some(Vec::new()) };
    if items.is_empty() {
        context.problem(place, "`features` is empty; list some, or leave the key out to have the preset".to_owned());
    }
    if items.len() > FEATURES_MAX {
        context.problem(place, format!("{} features; at most {FEATURES_MAX} can be watched", items.len()));
    }
    let mut first_lines: HashMap<String, usize> = HashMap::new();
    let found = items.iter().take(FEATURES_MAX);
    let found = found.filter_map(|item| feature(file, context, item, preset, &mut first_lines));
    Some(found.collect())
}

fn feature<'a>(
    file: &str,
    context: &'a Context<'a>,
    item: &'a Node,
    preset: &[Feature],
    first_lines: &mut HashMap<String, usize>,
) -> Option<Feature> {
    let mut map = context.map(Some(item), "features[]");
    let name_place = map.find("name").map(|entry| entry.value.place);
    let expr_place = map.find("expr").map(|entry| entry.value.place);
    let of_name = |text: &str| is_name(text).then(|| text.to_owned());
    let name = map.parsed("name", "a name of letters, digits and `_`, such as cpu_busy", of_name);
    let expr = map.text("expr", "a PromQL expression").map(|expr| expr.trim().to_owned()).unwrap_or_default();
    let name = name.unwrap_or_default();
    let known = preset.iter().find(|feature| feature.name == name);
    let unit = map.text("unit", "a unit, such as ratio").or_else(|| known.map(|f| f.unit.clone()));
    let help = map.text("help", "one line that says what it is").or_else(|| known.map(|f| f.help.clone()));
    let floor = map.number("floor", "a number of at least 0 in the feature's own unit", |n| n >= 0.0);
    // Another expression may be in percent, or a sum over CPUs: the preset's bounds would take its values for impossible.
    let known_bounds = known.filter(|known| known.expr == expr).map(|known| known.bounds);
    let feature = Feature {
        name,
        bounds: bounds(&mut map).or(known_bounds).unwrap_or(Bounds::NONE),
        unit: unit.unwrap_or_default(),
        help: help.unwrap_or_default(),
        floor: floor.or(known.map(|f| f.floor)).unwrap_or(0.0),
        rule: overrides::rule(&mut map),
        at: expr_place.map_or_else(String::new, |p: Place| format!("{file}:{}:{}", p.line, p.column)),
        lines: expr_place.map_or_else(Vec::new, |place| context.lines_of(&expr, place)),
        expr,
    };
    map.finish();
    for (key, place) in [("name", name_place), ("expr", expr_place)] {
        if place.is_none() {
            context.problem(item.place, format!("this feature has no `{key}`"));
        }
    }
    if let Some(line) = first_lines.insert(feature.name.clone(), item.place.line).filter(|_| !feature.name.is_empty()) {
        let message = format!("a second feature `{}`, the first is in line {line}; rename one", feature.name);
        context.problem(name_place.unwrap_or(item.place), message);
    }
    (!feature.name.is_empty() && !feature.expr.is_empty()).then_some(feature)
}

/// `bounds: [min, max]`, of which either may be null; `None` where there is no such key, or after a problem.
fn bounds(map: &mut Map<'_>) -> Option<Bounds> {
    let expected = "two numbers in the feature's own unit, the least and the greatest value, such as [0, 1], or [0, null] for no greatest";
    let place = map.find("bounds").map(|entry| entry.value.place);
    let items = map.list("bounds", expected)?;
    let end = |item: &Node| match &item.value {
        Value::Null => Some(None),
        Value::Scalar(text) => text.parse().ok().filter(|n: &f64| n.is_finite()).map(Some),
        Value::List(_) | Value::Map(_) => None,
    };
    let bounds = match items {
        [min, max] => end(min).zip(end(max)).map(|(min, max)| (Bounds::new(min, max), min, max)),
        _ => None,
    };
    let message = match bounds {
        Some((Some(bounds), ..)) => return Some(bounds),
        Some((None, min, max)) => {
            let number = |end: Option<f64>| end.unwrap_or_default();
            format!("`features[].bounds`: {} is not less than {}", number(min), number(max))
        }
        None => format!("`features[].bounds` must be {expected}"),
    };
    map.context().problem(place?, message);
    None
}
