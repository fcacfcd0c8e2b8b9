//! A configuration and its bundle, compiled and checked against each other: what a service, a training and an evaluation run on.
//!
//! Starts nothing: the running service stands on it, and changes nothing of it.

mod advice;
mod matching;
mod shadow;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use crate::base::clock::Clock;
use crate::config::silence::{Schedule, Silence, When};
use crate::config::{self, Config, Limit, Scale};
use crate::decode;
use crate::decode::Wanted;
use crate::detect::decision::{Decision, Decisions, FeatureRule, Override, OwnLimit};
use crate::detect::host_detector::{Model, Models};
use crate::engine::standardise::Constants;
use crate::engine::windows::WindowConfig;
use crate::engine::{EngineConfig, EngineLimits, ScoredFeature};
use crate::model::batch::Batch;
use crate::model::bundle::Bundle;
use crate::model::manifest::Manifest;
use crate::model::session::{Runtime, Session};
use crate::promql::plan::{FeatureId, Spans, UP, UP_NAME};
use crate::promql::{FeatureSource, Plan, host_selector};
use crate::results::{FeatureInfo, ResultSchema, ShadowSchema};

use matching::{add_from_preset, in_file, load_bundle, match_features};
pub use shadow::ShadowPlan;

/// Rows in a row over the limit that raise the flag, where neither the configuration nor the bundle says.
const FOR_ROWS: u32 = 3;

/// Environment of a service: what it has beside its configuration.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `--storage.path`: the folder for what survives a restart; nothing is written without it.
    pub storage: Option<PathBuf>,
    /// The time; simulated in tests.
    pub clock: Clock,
}

/// Everything that a configuration and its bundle come to, checked against each other.
#[derive(Debug)]
pub struct Setup {
    /// Configuration that runs.
    pub config: Config,
    /// The model.
    pub bundle: Bundle,
    /// The compiled features.
    pub plan: Arc<Plan>,
    /// For each of the bundle's features the index of the configured one.
    pub scored: Vec<u16>,
    /// Environment that it runs in.
    pub environment: Environment,
    /// Changes to the detection for some hosts.
    overrides: Vec<Override>,
    /// The maintenance windows.
    pub maintenance: Vec<Arc<Silence>>,
    /// The model that scores beside and never flags.
    pub shadow: Option<ShadowPlan>,
}

impl Setup {
    /// As [`Setup::in_environment`], for what stores nothing and needs no other clock than the system's.
    ///
    /// # Errors
    /// As there.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        Self::in_environment(config, Environment::default())
    }

    /// Compiles the features, loads the bundle and matches the two.
    ///
    /// # Errors
    /// Every expression that is refused; a bundle that cannot be used, or that needs a feature that isn't configured.
    pub fn in_environment(mut config: Config, environment: Environment) -> anyhow::Result<Self> {
        let bundle = load_bundle(&config.model)?;
        add_from_preset(&mut config, &bundle);
        let shadow = config.shadow.clone().map(|shadow| Ok::<_, anyhow::Error>((load_bundle(&shadow)?, shadow)));
        let shadow = shadow.transpose()?;
        shadow.iter().for_each(|(bundle, _)| add_from_preset(&mut config, bundle));
        let sources: Vec<FeatureSource<'_>> =
            config.features.iter().map(|f| FeatureSource { name: &f.name, expr: &f.expr, at: &f.at }).collect();
        let plan = Plan::compile(&sources, config.ingest.lookback_ms).map_err(|errors| {
            let lines: Vec<String> = errors.into_iter().map(|error| in_file(error, &config).to_string()).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        })?;
        advice::check_ranges(&config, &plan)?;
        advice::keep_labels_that_are_read(&mut config, &plan);
        let scored = match_features(&config, &bundle)?;
        let shadow = shadow.map(|(bundle, model)| ShadowPlan::new(&config, bundle, model)).transpose()?;
        let overrides = overrides(&config, &scored)?;
        let maintenance = maintenance(&config)?;
        let plan = Arc::new(plan);
        let setup = Self { config, bundle, plan, scored, environment, overrides, maintenance, shadow };
        setup.check_shadows_step()?;
        Ok(setup)
    }

    /// Warns of what may not work as it was meant, and says what to write instead.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        advice::warnings(&self.config, &self.plan, self.step_ms())
    }

    /// Rows of a window.
    #[must_use]
    pub fn window(&self) -> usize {
        self.config.model.window.unwrap_or(self.bundle.manifest.window)
    }

    /// The step: milliseconds from one row to the next.
    #[must_use]
    pub fn step_ms(&self) -> i64 {
        self.config.step_ms.unwrap_or(self.bundle.manifest.step_ms)
    }

    /// Returns what decode keeps of a body, and into how many batches it splits it.
    ///
    /// # Errors
    /// As [`Wanted::new`].
    pub fn wanted(&self) -> anyhow::Result<Wanted> {
        let (config, names) = (&self.config, self.plan.metrics.iter().map(String::as_str));
        let wanted = Wanted::new(names, &config.identity.label, config.threads.shards, &config.limits)?;
        let is_up_read = self.plan.candidates(UP_NAME).next().is_some();
        let wanted = if is_up_read { wanted } else { wanted.beside_features(UP) };
        Ok(if self.plan.wants_every_metric() { wanted.all_names() } else { wanted })
    }

    /// Constants of the running statistics: the bundle's, as far as the configuration gives no others.
    #[must_use]
    pub fn statistics(&self) -> Constants {
        self.statistics_over(self.bundle.manifest.standardisation.clone())
    }

    /// `statistics` with what the configuration gives of them. A new model has none from another's bundle.
    #[must_use]
    pub fn statistics_over(&self, mut statistics: Constants) -> Constants {
        let overrides = &self.config.standardisation;
        for (target, given) in [
            (&mut statistics.memory_s, overrides.memory_s),
            (&mut statistics.warmup_s, overrides.warmup_s),
            (&mut statistics.floor, overrides.floor),
            (&mut statistics.takeover_hold_s, overrides.takeover_hold_s),
        ] {
            *target = given.unwrap_or(*target);
        }
        statistics
    }

    /// Returns the settings that each shard's engine is built with.
    #[must_use]
    pub fn engine(&self) -> EngineConfig {
        let config = &self.config;
        let limits = &config.limits;
        let shadow = self.shadow.as_ref();
        EngineConfig {
            plan: Arc::clone(&self.plan),
            bounds: config.features.iter().map(|feature| feature.bounds).collect(),
            identity: config.identity.label.clone(),
            drop: config.identity.drop.clone(),
            keep: config.identity.keep.clone(),
            step_ms: self.step_ms(),
            interval_ms: config.ingest.interval_ms,
            lateness_ms: config.ingest.lateness_ms,
            max_lag_ms: config.detection.max_lag_ms,
            min_history_ms: config.detection.min_history_ms,
            windows: self.windows(&self.bundle, &self.scored, self.window()),
            shadow: shadow.map(|shadow| self.windows(&shadow.bundle, &shadow.scored, shadow.window)),
            limits: EngineLimits {
                hosts: limits.hosts.div_ceil(config.threads.shards),
                series_per_host: limits.series_per_host,
                frames_per_host: limits.frames_per_host,
                samples_per_host: limits.samples_per_host,
                labels: decode::LabelLimits::from(limits),
                series_label_bytes: limits.series_label_bytes,
                host_idle_ms: limits.host_idle_ms,
            },
        }
    }

    /// Returns the settings of windows of `bundle`.
    fn windows(&self, bundle: &Bundle, scored: &[u16], window_rows: usize) -> WindowConfig {
        let (config, manifest) = (&self.config, &bundle.manifest);
        let step_ms = self.step_ms();
        let spans = Spans::of_scrapes(config.ingest.interval_ms.unwrap_or(step_ms), config.ingest.lookback_ms);
        let feature = |&feature: &u16| ScoredFeature {
            feature,
            floor: config.features[feature as usize].floor,
            range_rows: u32::try_from(self.plan.range_ms(feature, spans) / step_ms + 2).unwrap_or(u32::MAX),
        };
        WindowConfig {
            window_rows,
            scored: scored.iter().map(feature).collect(),
            input_clip: manifest.input_clip,
            target_clip: manifest.target_clip,
            statistics: self.statistics_over(manifest.standardisation.clone()).in_rows(step_ms),
            max_missing: config.detection.max_missing,
        }
    }

    /// The models of one scoring thread.
    ///
    /// # Errors
    /// ONNX Runtime cannot run a bundle, or its graph is not what its manifest says.
    pub fn models(&self, runtime: &Runtime) -> anyhow::Result<Models> {
        let model = |bundle: &Bundle, window: usize, scored: &[u16], decisions: Decisions| {
            let features: Vec<FeatureId> = scored.iter().map(|i| self.plan.ids[usize::from(*i)].clone()).collect();
            let batch = Batch::new(Session::open(runtime, bundle, window)?, window, features.len());
            anyhow::Ok(Model { batch, decisions, features, bundle: bundle.id() })
        };
        let shadow = self.shadow.as_ref().map(|shadow| {
            let decisions = self.decisions_of(&shadow.bundle, shadow.window, &shadow.scored, &shadow.overrides);
            model(&shadow.bundle, shadow.window, &shadow.scored, decisions)
        });
        Ok(Models {
            live: model(&self.bundle, self.window(), &self.scored, self.decisions())?,
            shadow: shadow.transpose()?,
        })
    }

    /// Returns the rules by which errors become a flag, by host.
    #[must_use]
    pub fn decisions(&self) -> Decisions {
        self.decisions_of(&self.bundle, self.window(), &self.scored, &self.overrides)
    }

    fn decisions_of(&self, bundle: &Bundle, window: usize, scored: &[u16], overrides: &[Override]) -> Decisions {
        let base = decision(&self.config.detection, &bundle.manifest, window, self.step_ms());
        let rule = |feature: &u16| FeatureRule::default().with(&self.config.features[usize::from(*feature)].rule);
        let rules: Vec<FeatureRule> = scored.iter().map(rule).collect();
        let all_count = rules.iter().all(|rule| *rule == FeatureRule::default());
        let rules = if all_count { Arc::default() } else { rules.into() };
        Decisions::new(Decision { rules, ..base }, overrides.to_vec())
    }

    /// Returns what readers of the results are told.
    #[must_use]
    pub fn schema(&self) -> ResultSchema {
        let config = &self.config;
        let feature = |f: &crate::config::Feature| FeatureInfo {
            name: f.name.clone(),
            expr: f.expr.clone(),
            unit: f.unit.clone(),
            help: f.help.clone(),
        };
        ResultSchema {
            features: config.features.iter().map(feature).collect(),
            selectors: self.plan.leaves.iter().map(|leaf| leaf.selector.to_string()).collect(),
            scored: self.scored.iter().map(|&i| usize::from(i)).collect(),
            model_alias: config.model.alias.clone(),
            bundle: self.bundle.id(),
            shadow: self.shadow.as_ref().map(|shadow| ShadowSchema {
                alias: shadow.alias.clone(),
                bundle: shadow.bundle.id(),
                scored: shadow.scored.iter().map(|&i| usize::from(i)).collect(),
            }),
            window: self.window(),
            step_ms: self.step_ms(),
            min_history_ms: config.detection.min_history_ms,
            stale_after_ms: config.detection.stale_after_ms,
            max_lag_ms: config.detection.max_lag_ms,
        }
    }
}

/// Returns how errors become a flag, as the configuration has it and else the bundle, for windows of `window` rows `step_ms` apart.
#[must_use]
pub fn decision(detection: &config::Detection, manifest: &Manifest, window: usize, step_ms: i64) -> Decision {
    let bundle = &manifest.detection;
    let (limit, own_limit) = match detection.limit {
        None => (bundle.limit, None),
        Some(Limit::Fixed(limit)) => (limit, None),
        Some(Limit::Auto) => (bundle.limit, Some(OwnLimit::around(bundle.limit))),
    };
    Decision {
        limit,
        own_limit,
        smoothing_rows: detection.smoothing_rows.unwrap_or(bundle.smoothing_rows),
        short_smoothing_rows: bundle.short_smoothing_rows.unwrap_or(f64::INFINITY),
        short_weight: bundle.short_weight.unwrap_or(1.0),
        residual: match detection.scale {
            None => bundle.residual.clone(),
            Some(Scale::Residual) => Some(bundle.residual.clone().unwrap_or_default()),
            Some(Scale::None) => None,
        },
        for_rows: detection.for_rows.or(bundle.for_rows).unwrap_or(FOR_ROWS),
        clear: detection.clear,
        step_ms,
        reset_after_ms: window as i64 * step_ms,
        feedback: 1.0,
        rules: Arc::default(),
    }
}

/// The overrides, with features by their place in the bundle.
fn overrides(config: &Config, scored: &[u16]) -> anyhow::Result<Vec<Override>> {
    let of_feature = |(name, rule): &(String, config::Rule)| {
        let column = config.features.iter().position(|feature| feature.name == *name);
        let column = column.with_context(|| format!("`overrides` names `{name}`, which is no feature"))?;
        // What the bundle doesn't score raises no flag anyway.
        let place = scored.iter().position(|scored| usize::from(*scored) == column);
        Ok(place.map(|place| (place, *rule)))
    };
    let one = |written: &config::Override| {
        let features: anyhow::Result<Vec<_>> = written.features.iter().map(of_feature).collect();
        Ok(Override {
            hosts: host_selector(&written.hosts).map_err(anyhow::Error::msg)?,
            limit: written.limit,
            for_rows: written.for_rows,
            clear: written.clear,
            features: features?.into_iter().flatten().collect(),
        })
    };
    config.overrides.iter().map(one).collect()
}

fn maintenance(config: &Config) -> anyhow::Result<Vec<Arc<Silence>>> {
    let one = |written: &config::Maintenance| {
        let schedule = Schedule::parse(&written.schedule).map_err(anyhow::Error::msg)?;
        Ok(Arc::new(Silence {
            name: written.name.as_str().into(),
            hosts: host_selector(&written.hosts).map_err(anyhow::Error::msg)?,
            when: When::Each(schedule, written.duration_ms),
        }))
    };
    config.maintenance.iter().map(one).collect()
}
