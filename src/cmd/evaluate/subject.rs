//! Subject of an evaluation: a bundle and the ways of the service around it, or those ways alone for the baselines.

use ndarray::Array2;

use crate::base::bounds::Bounds;
use crate::config::Config;
use crate::engine::ScoredFeature;
use crate::engine::windows::WindowConfig;
use crate::model::bundle::Bundle;
use crate::offline::evaluate::judge::Rule;
use crate::offline::labelled::{Blame, LabelledHost, moving_features};
use crate::setup;

/// Names that a message lists at most.
const LISTED: usize = 12;

/// Everything that hosts are judged by.
#[derive(Debug)]
pub(super) struct Subject {
    /// `None` where baselines are measured alone.
    pub(super) bundle: Option<Bundle>,
    /// Features that the model sees, in its order.
    pub(super) features: Vec<String>,
    /// Settings of windows.
    pub(super) windows: WindowConfig,
    /// By feature, the values that it can take.
    pub(super) bounds: Vec<Bounds>,
    /// From errors to flags.
    pub(super) rule: Rule,
    /// Step, in milliseconds.
    pub(super) step_ms: i64,
}

impl Subject {
    /// `bundle`, at the step of the data or else its own.
    pub(super) fn new(bundle: Bundle, hosts: &[LabelledHost], step_ms: Option<i64>) -> Self {
        let features = bundle.manifest.features.iter().map(|feature| feature.name.clone()).collect();
        Self { bundle: Some(bundle.clone()), ..Self::with_features(&bundle, features, hosts, step_ms) }
    }

    /// No model: everything but the weights and the features of `bundle`.
    pub(super) fn bare(bundle: &Bundle, hosts: &[LabelledHost], step_ms: Option<i64>) -> Self {
        Self::with_features(bundle, moving_features(hosts), hosts, step_ms)
    }

    fn with_features(bundle: &Bundle, features: Vec<String>, hosts: &[LabelledHost], step_ms: Option<i64>) -> Self {
        let (config, manifest) = (Config::default(), &bundle.manifest);
        let step_ms = step_ms.unwrap_or(manifest.step_ms);
        let has_units = !hosts.iter().all(LabelledHost::is_scaled);
        // The floors and bounds of the preset are in the features' units.
        let known = |name: &String| config.features.iter().find(|feature| feature.name == *name && has_units);
        let bounds = features.iter().map(|name| known(name).map_or(Bounds::NONE, |f| f.bounds)).collect();
        let scored = (0..).zip(&features);
        let scored = scored.map(|(feature, name)| ScoredFeature {
            feature,
            floor: known(name).map_or(0.0, |f| f.floor),
            range_rows: 0,
        });
        let windows = WindowConfig {
            window_rows: manifest.window,
            scored: scored.collect(),
            input_clip: manifest.input_clip,
            target_clip: manifest.target_clip,
            statistics: manifest.standardisation.in_rows(step_ms),
            max_missing: config.detection.max_missing,
        };
        let decision = setup::decision(&config.detection, manifest, manifest.window, step_ms);
        let rule = Rule { decision, min_history_ms: config.detection.min_history_ms };
        Self { bundle: None, features, windows, bounds, rule, step_ms }
    }

    /// The rows of `host` with the columns that the model sees, in its order; those that the host lacks are missing, and so are
    /// values that their feature cannot take.
    pub(super) fn values(&self, host: &LabelledHost) -> Array2<f64> {
        let columns: Vec<Option<usize>> = self.features.iter().map(|name| column(host, name)).collect();
        let cell = |(row, feature): (usize, usize)| {
            let value = columns[feature].map(|column| host.values[[row, column]]);
            value.and_then(|value| self.bounds[feature].apply(value)).unwrap_or(f64::NAN)
        };
        Array2::from_shape_fn((host.values.nrows(), columns.len()), cell)
    }

    /// Returns what was blamed, by the model's features; those that it doesn't see are left out.
    pub(super) fn blames(&self, host: &LabelledHost) -> Vec<Blame> {
        let feature = |column: &usize| self.features.iter().position(|name| *name == host.features[*column]);
        let blame = |blame: &Blame| Blame {
            rows: blame.rows.clone(),
            columns: blame.columns.iter().filter_map(feature).collect(),
        };
        host.blames.iter().map(blame).collect()
    }

    /// Returns notes on what is not there, for whoever reads the result.
    ///
    /// # Errors
    /// A host has none of the features.
    pub(super) fn notes(&self, hosts: &[LabelledHost]) -> anyhow::Result<Vec<String>> {
        if let Some(host) = hosts.iter().find(|host| self.features.iter().all(|name| column(host, name).is_none())) {
            anyhow::bail!(
                "the host {} has none of the model's features: its columns are {}, the model's features {}. Give columns of a CSV the \
                 names of the features, or name with --bundle a bundle that was trained on such data; `--bundle none --baselines` \
                 measures the baselines alone",
                host.name,
                listed(&host.features),
                listed(&self.features)
            );
        }
        let mut notes = Vec::new();
        let lacks = |name: &&String| hosts.iter().any(|host| column(host, name).is_none());
        let missing: Vec<String> = self.features.iter().filter(lacks).cloned().collect();
        if !missing.is_empty() {
            notes.push(format!("features that hosts lack, masked: {}", missing.join(" ")));
        }
        let mut unknown: Vec<String> = hosts.iter().flat_map(|host| host.features.iter().cloned()).collect();
        unknown.sort();
        unknown.dedup();
        unknown.retain(|name| !self.features.contains(name));
        if !unknown.is_empty() {
            notes.push(format!("columns that the model doesn't know, left out: {}", unknown.join(" ")));
        }
        Ok(notes)
    }
}

fn column(host: &LabelledHost, name: &str) -> Option<usize> {
    host.features.iter().position(|feature| feature == name)
}

fn listed(names: &[String]) -> String {
    let more = if names.len() > LISTED { " …" } else { "" };
    format!("{}{more}", names[..names.len().min(LISTED)].join(" "))
}
