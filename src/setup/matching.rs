//! A configuration and its bundle, matched with each other: which feature is which.

use anyhow::{Context, bail};

use crate::config::{self, Config};
use crate::model::bundle::Bundle;
use crate::promql::ExprError;

/// The bundle that `model` names.
///
/// # Errors
/// It cannot be used.
pub(super) fn load_bundle(model: &config::Model) -> anyhow::Result<Bundle> {
    match &model.bundle {
        Some(path) => Bundle::load(path),
        None => Bundle::built_in(),
    }
}

/// `error` at the place of the construct in the file, where that can be told.
pub(super) fn in_file(mut error: ExprError, config: &Config) -> ExprError {
    let feature = config.features.iter().find(|feature| feature.name == error.feature);
    let at = error.character.and_then(|character| feature?.at_character(character));
    if let Some(at) = at {
        (error.at, error.character) = (at, None);
    }
    error
}

/// Adds the preset's features that the bundle scores and the file doesn't define, so that one more feature, or another
/// expression for one, doesn't mean to write out all of them.
pub(super) fn add_from_preset(config: &mut Config, bundle: &Bundle) {
    for feature in Config::default().features {
        let is_scored = bundle.manifest.features.iter().any(|wanted| wanted.name == feature.name);
        if is_scored && config.features.iter().all(|f| f.name != feature.name) {
            config.features.push(feature);
        }
    }
}

/// For each feature of the bundle the configured one of the same name.
pub(super) fn match_features(config: &Config, bundle: &Bundle) -> anyhow::Result<Vec<u16>> {
    let mut scored = Vec::new();
    let mut missing = Vec::new();
    for wanted in &bundle.manifest.features {
        let Some(index) = config.features.iter().position(|f| f.name == wanted.name) else {
            missing.push(wanted.name.as_str());
            continue;
        };
        scored.push(u16::try_from(index).context("more than 65535 features are configured")?);
        let expr = &config.features[index].expr;
        if let Some(trained_with) = wanted.expr.as_ref().filter(|trained_with| *trained_with != expr) {
            tracing::warn!(feature = wanted.name, expr, trained_with, "the bundle was trained with another expression");
        }
    }
    if !missing.is_empty() {
        bail!(
            "{} scores features that are neither configured nor in the preset: {}; add them to `features`",
            bundle.source,
            missing.join(", ")
        );
    }
    Ok(scored)
}
