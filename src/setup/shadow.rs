//! The shadow's part of the setup: a second model over the same rows.

use anyhow::ensure;

use super::{Setup, match_features, overrides};
use crate::config::{self, Config};
use crate::detect::decision::Override;
use crate::model::bundle::Bundle;

/// The shadow's part of the setup.
#[derive(Debug)]
pub struct ShadowPlan {
    /// The model.
    pub bundle: Bundle,
    /// As [`Setup::scored`].
    pub scored: Vec<u16>,
    /// As those of [`Setup`], with features by their place in this bundle.
    pub(super) overrides: Vec<Override>,
    /// The label `model` of its series.
    pub alias: String,
    /// T: rows of a window.
    pub window: usize,
}

impl ShadowPlan {
    /// Matches the shadow's bundle with the configured features.
    ///
    /// # Errors
    /// It needs a feature that isn't configured.
    pub(super) fn new(config: &Config, bundle: Bundle, model: config::Model) -> anyhow::Result<Self> {
        let scored = match_features(config, &bundle)?;
        let overrides = overrides(config, &scored)?;
        let window = model.window.unwrap_or(bundle.manifest.window);
        Ok(Self { overrides, scored, alias: model.alias, window, bundle })
    }
}

impl Setup {
    /// The shadow scores the live model's rows, so they must be as far apart as it learnt them.
    pub(super) fn check_shadows_step(&self) -> anyhow::Result<()> {
        let Some(shadow) = self.shadow.as_ref().filter(|_| self.config.step_ms.is_none()) else { return Ok(()) };
        let (own, live) = (shadow.bundle.manifest.step_ms, self.bundle.manifest.step_ms);
        ensure!(
            own == live,
            "the shadow {} has steps of {}, the live model of {}: give `step` to have both score the same rows",
            shadow.bundle.source,
            config::duration_text(own),
            config::duration_text(live)
        );
        Ok(())
    }
}
