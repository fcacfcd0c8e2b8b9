//! The manifest of a model trained elsewhere, as a person writes it for `outlierd model import`.
//!
//! Owns its keys and defaults; `model::manifest` owns what a bundle says.

use std::path::Path;

use super::errors::{ConfigErrors, Problem};
use super::reader::{Context, Map, is_name};
use super::yaml::{self, Node, Value};

/// A window longer than this would cost the service too much memory per host.
const WINDOW_MAX: usize = 10_000;
const DAY_MS: i64 = 86_400_000;

/// Description that a model trained elsewhere must give of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelManifest {
    /// A short name.
    pub name: String,
    /// Whether it reconstructs its window; else it forecasts the newest row.
    pub reconstructs: bool,
    /// Interval between rows.
    pub step_ms: i64,
    /// T: rows of a window, the newest included.
    pub window: usize,
    /// In the order of the graph's last axis.
    pub features: Vec<ModelFeature>,
    /// Standardised inputs are clipped to ± this. Default 5.
    pub input_clip: f64,
    /// The newest standardised row is clipped to ± this before the residual is taken. Default 20.
    pub target_clip: f64,
    /// The smoothed mse over which a row counts. Default 1.
    pub limit: f64,
    /// Time constant of the smoothing, in rows. Default 10.
    pub smoothing_rows: f64,
    /// Data that it was trained on, in a sentence.
    pub trained_on: String,
}

/// One column of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFeature {
    /// The name that the configuration's feature must have.
    pub name: String,
    /// The PromQL that it was trained with.
    pub expr: Option<String>,
    /// The least deviation that it was standardised with, in its own unit; 0 for none.
    pub floor: f64,
}

/// Reads and validates the file at `path`.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn load(path: &Path) -> Result<ModelManifest, ConfigErrors> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text),
        Err(error) => {
            let message = format!("cannot read the file: {error}");
            Err(ConfigErrors::new(&file, "", vec![Problem { place: None, message }]))
        }
    }
}

/// Validates `text`; `file` is what messages call it.
///
/// # Errors
/// All that is wrong with it, each with line, column and what to write instead.
pub fn parse(file: &str, text: &str) -> Result<ModelManifest, ConfigErrors> {
    let (root, problems) = yaml::read(text);
    let context = Context::new(text, &|_| None, problems);
    let manifest = manifest(context.map(root.as_ref(), ""));
    let mut problems = context.problems();
    let Some(manifest) = manifest else {
        if problems.is_empty() {
            let message = "`name`, `type`, `step`, `window` and `features` are needed; docs/models.md shows an example";
            problems.push(Problem { place: None, message: message.to_owned() });
        }
        return Err(ConfigErrors::new(file, text, problems));
    };
    if problems.is_empty() { Ok(manifest) } else { Err(ConfigErrors::new(file, text, problems)) }
}

fn manifest(mut map: Map<'_>) -> Option<ModelManifest> {
    let kind = map.parsed("type", "forecast or reconstruct", |text| match text {
        "forecast" => Some(false),
        "reconstruct" => Some(true),
        _ => None,
    });
    let name = map.text("name", "a short name, such as my-lstm");
    let step_ms = map.duration("step", 1..=DAY_MS, "60s");
    let window = map.whole("window", 2..=WINDOW_MAX, "rows");
    let features = features(&mut map);
    let positive = "a number above 0";
    let input_clip = map.number("input_clip", positive, |n| n > 0.0).unwrap_or(5.0);
    let target_clip = map.number("target_clip", positive, |n| n > 0.0).unwrap_or(20.0);
    let trained_on = map.text("trained_on", "a sentence").unwrap_or_else(|| "not said".to_owned());
    let mut detection = map.section("detection");
    let limit = detection.number("limit", positive, |n| n > 0.0).unwrap_or(1.0);
    let smoothing_rows = detection.number("smoothing", "a number of rows of at least 1", |n| n >= 1.0).unwrap_or(10.0);
    detection.finish();
    map.finish();
    Some(ModelManifest {
        name: name?,
        reconstructs: kind?,
        step_ms: step_ms?,
        window: window?,
        features: features?,
        input_clip,
        target_clip,
        limit,
        smoothing_rows,
        trained_on,
    })
}

/// Names alone, or mappings with `name` and perhaps `expr` and `floor`.
fn features(map: &mut Map<'_>) -> Option<Vec<ModelFeature>> {
    let context = map.context();
    let items = map.list("features", "a list of names, in the order of the graph's last axis")?;
    let feature = |item: &Node| -> Option<ModelFeature> {
        if let Value::Scalar(name) = &item.value {
            if is_name(name) {
                return Some(ModelFeature { name: name.clone(), expr: None, floor: 0.0 });
            }
            let message = format!("`{name}` is no feature name; letters, digits and `_` make one, such as cpu_busy");
            context.problem(item.place, message);
            return None;
        }
        let mut map = context.map(Some(item), "features[]");
        let of_name = |text: &str| is_name(text).then(|| text.to_owned());
        let name = map.parsed("name", "a name of letters, digits and `_`, such as cpu_busy", of_name);
        let expr = map.text("expr", "a PromQL expression");
        let floor = map.number("floor", "a number of at least 0 in the feature's own unit", |n| n >= 0.0);
        map.finish();
        Some(ModelFeature { name: name?, expr, floor: floor.unwrap_or(0.0) })
    };
    Some(items.iter().filter_map(feature).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_with_defaults() {
        let text = "name: mine\ntype: forecast\nstep: 30s\nwindow: 40\nfeatures: [cpu_busy, {name: load1, expr: node_load1, floor: 0.5}]\n";
        let manifest = parse("m.yaml", text).unwrap();
        assert_eq!((manifest.step_ms, manifest.window, manifest.reconstructs), (30_000, 40, false));
        assert_eq!(
            (manifest.input_clip, manifest.target_clip, manifest.limit, manifest.smoothing_rows),
            (5.0, 20.0, 1.0, 10.0)
        );
        let feature = ModelFeature { name: "load1".into(), expr: Some("node_load1".into()), floor: 0.5 };
        assert_eq!(manifest.features[1], feature);
        assert_eq!(manifest.features[0].name, "cpu_busy");
    }

    #[test]
    fn every_mistake_has_its_place() {
        let check = |text: &str, expected: &[&str]| {
            let error = parse("m.yaml", text).unwrap_err().to_string();
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        };
        check("", &["`features` are needed"]);
        check("name: a\ntype: forcast\n", &["m.yaml:2:7", "forecast or reconstruct"]);
        check(
            "name: a\ntype: forecast\nstep: 60\nwindow: 1\nfeatures: [a b]\ninputclip: 3\n",
            &["m.yaml:3:7", "m.yaml:4:9", "`a b` is no feature name", "did you mean `input_clip`?"],
        );
    }
}
