//! Constants of a host's decision, by which errors become a flag, and which host has which.
//!
//! Pure. Numbers are settled here; `verdict` applies them.

use std::collections::HashMap;
use std::sync::Arc;

pub use crate::config::{Detect, Limit, Rule};
use crate::model::residual::Constants;
use crate::promql::selector::Selector;
use crate::series::Labels;

/// Constants by which errors become a flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The smoothed mse over which a row counts as anomalous; where there is an `own_limit`, what a host begins with.
    pub limit: f64,
    /// A limit by the host's own history instead; `None` for the fixed one.
    pub own_limit: Option<OwnLimit>,
    /// Time constant of the smoothing, in rows.
    pub smoothing_rows: f64,
    /// Time constant of a second, shorter smoothing for incidents that are over before the first has risen; none where it is not
    /// shorter.
    pub short_smoothing_rows: f64,
    /// Factor that the mse of the shorter smoothing is multiplied with before the larger one counts.
    pub short_weight: f64,
    /// Constants of what errors are relative to; the plain squares count where `None`.
    pub residual: Option<Constants>,
    /// Rows in a row over the limit that raise the flag.
    pub for_rows: u32,
    /// The score under which the flag is cleared.
    pub clear: f64,
    /// Interval between rows.
    pub step_ms: i64,
    /// Silence after which the smoothing starts over.
    pub reset_after_ms: i64,
    /// Factor that the limit is multiplied with, because of what people said of the host's events.
    pub feedback: f64,
    /// `[F]` in the order of the bundle: which errors count. Empty where all do.
    pub rules: Arc<[FeatureRule]>,
}

impl Decision {
    /// The same for rows `step_ms` apart. Time constants in rows stay: so many rows are needed, however far apart, before one that
    /// is odd by chance counts for little.
    #[must_use]
    pub fn at_step(&self, step_ms: i64) -> Self {
        let reset_after_ms = self.reset_after_ms / self.step_ms.max(1) * step_ms;
        Self { step_ms, reset_after_ms, ..self.clone() }
    }
}

/// A limit that follows a quantile of the host's own smoothed mse, within bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnLimit {
    /// The quantile that is followed.
    pub quantile: f64,
    /// Factor that it is multiplied with.
    pub factor: f64,
    /// The least limit.
    pub least: f64,
    /// The greatest limit.
    pub most: f64,
}

/// Share by which the estimate of a quantile moves at a row over it.
const QUANTILE_GAIN: f64 = 0.05;

impl OwnLimit {
    /// Returns what was measured beside the fixed `limit`: 1.6 times the 0.98 quantile, between 0.9 and 1.55 times the limit.
    #[must_use]
    pub fn around(limit: f64) -> Self {
        Self { quantile: 0.98, factor: 1.6, least: 0.9 * limit, most: 1.55 * limit }
    }

    /// The limit by an estimate of the quantile; `None` before the first row.
    #[must_use]
    pub fn limit(&self, estimate: Option<f64>) -> f64 {
        (self.factor * estimate.unwrap_or_else(|| self.first())).clamp(self.least, self.most)
    }

    /// The estimate after one more smoothed mse: it grows by a share at each row over it and shrinks by less at each other row, so
    /// that it rests where the share of rows over it is `1 − quantile`.
    #[must_use]
    pub fn next(&self, estimate: Option<f64>, smoothed: f64) -> f64 {
        let estimate = estimate.unwrap_or_else(|| self.first());
        let over = if smoothed > estimate { 1.0 } else { 0.0 };
        let moved = estimate * (QUANTILE_GAIN * (over - (1.0 - self.quantile))).exp();
        // Kept near the bounds, so that a long quiet or a long incident is not remembered for longer than it takes to return.
        moved.clamp(0.5 * self.least / self.factor, 2.0 * self.most / self.factor)
    }

    fn first(&self) -> f64 {
        (self.least * self.most).sqrt() / self.factor
    }
}

/// Which errors of a feature count.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FeatureRule {
    /// On which side.
    pub detect: Detect,
    /// Least distance from the expected value, in the feature's own unit.
    pub min_dev: f64,
    /// Least distance from the expected value, as a share of it.
    pub min_rel_dev: f64,
}

impl FeatureRule {
    /// The rule with what `change` says.
    #[must_use]
    pub fn with(self, change: &Rule) -> Self {
        Self {
            detect: change.detect.unwrap_or(self.detect),
            min_dev: change.min_dev.unwrap_or(self.min_dev),
            min_rel_dev: change.min_rel_dev.unwrap_or(self.min_rel_dev),
        }
    }

    /// The least distances below and above `expected` that count, in the feature's own unit; infinite on a side that doesn't.
    #[must_use]
    pub fn reach(&self, expected: f64) -> [f64; 2] {
        let least = self.min_dev.max(self.min_rel_dev * expected.abs());
        match self.detect {
            Detect::Both => [least; 2],
            Detect::Above => [f64::INFINITY, least],
            Detect::Below => [least, f64::INFINITY],
            Detect::Never => [f64::INFINITY; 2],
        }
    }

    /// Whether the distance of `actual` from `expected` counts; both in the feature's own unit.
    #[must_use]
    pub fn counts(&self, actual: f64, expected: f64) -> bool {
        let is_on_side = match self.detect {
            Detect::Both => true,
            Detect::Above => actual > expected,
            Detect::Below => actual < expected,
            Detect::Never => false,
        };
        let distance = (actual - expected).abs();
        is_on_side && distance >= self.min_dev && distance >= self.min_rel_dev * expected.abs()
    }
}

/// Changes to the decision for some hosts. What is `None` stays.
#[derive(Debug, Clone)]
pub struct Override {
    /// Which hosts.
    pub hosts: Selector,
    /// A limit, or that the host's own is followed.
    pub limit: Option<Limit>,
    /// See [`Decision::for_rows`].
    pub for_rows: Option<u32>,
    /// See [`Decision::clear`].
    pub clear: Option<f64>,
    /// Features by their place in the bundle, with what changes of their rule.
    pub features: Vec<(usize, Rule)>,
}

/// The decision of every host.
#[derive(Debug, Clone)]
pub struct Decisions {
    /// For hosts that no override is for.
    base: Arc<Decision>,
    /// In the order of the file: the last that matches and says something of a number has it.
    overrides: Arc<[Override]>,
    /// By the overrides that match: few of the combinations occur.
    known: HashMap<Vec<usize>, Arc<Decision>>,
}

impl Decisions {
    /// `base`, with changes for some hosts.
    #[must_use]
    pub fn new(base: Decision, overrides: Vec<Override>) -> Self {
        Self { base: Arc::new(base), overrides: overrides.into(), known: HashMap::new() }
    }

    /// The decision of the host with these labels.
    pub fn of(&mut self, labels: &Labels) -> Arc<Decision> {
        if self.overrides.is_empty() {
            return Arc::clone(&self.base);
        }
        let labels: Vec<(&str, &str)> = labels.iter().collect();
        let matching = (0..).zip(self.overrides.iter()).filter(|(_, o)| o.hosts.is_match(&labels)).map(|(i, _)| i);
        let matching: Vec<usize> = matching.collect();
        if let Some(known) = self.known.get(&matching) {
            return Arc::clone(known);
        }
        let mut decision = Decision::clone(&self.base);
        matching.iter().filter_map(|i| self.overrides.get(*i)).for_each(|change| change.apply(&mut decision));
        let decision = Arc::new(decision);
        self.known.insert(matching, Arc::clone(&decision));
        decision
    }
}

impl Override {
    fn apply(&self, decision: &mut Decision) {
        match self.limit {
            Some(Limit::Fixed(limit)) => (decision.limit, decision.own_limit) = (limit, None),
            Some(Limit::Auto) => decision.own_limit = Some(OwnLimit::around(decision.limit)),
            None => {}
        }
        decision.for_rows = self.for_rows.unwrap_or(decision.for_rows);
        decision.clear = self.clear.unwrap_or(decision.clear);
        let n_rules = self.features.iter().map(|(feature, _)| feature + 1).max().unwrap_or(0);
        if n_rules == 0 {
            return;
        }
        let mut rules = decision.rules.to_vec();
        rules.resize(rules.len().max(n_rules), FeatureRule::default());
        for (feature, change) in &self.features {
            rules[*feature] = rules[*feature].with(change);
        }
        decision.rules = rules.into();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::promql::host_selector;

    /// Plain: no smoothing, no relation to what is usual.
    pub(crate) fn decision(limit: f64) -> Decision {
        Decision {
            limit,
            own_limit: None,
            feedback: 1.0,
            smoothing_rows: 1.0,
            short_smoothing_rows: 1.0,
            short_weight: 1.0,
            residual: None,
            for_rows: 3,
            clear: 0.7,
            step_ms: 60_000,
            reset_after_ms: 600_000,
            rules: Arc::default(),
        }
    }

    #[test]
    fn rules() {
        let check = |detect, min_dev, min_rel_dev, (actual, expected): (f64, f64), counts: bool| {
            let rule = FeatureRule { detect, min_dev, min_rel_dev };
            assert_eq!(rule.counts(actual, expected), counts, "{rule:?}: {actual} {expected}");
        };
        check(Detect::Both, 0.0, 0.0, (1.0, 2.0), true);
        check(Detect::Above, 0.0, 0.0, (1.0, 2.0), false);
        check(Detect::Above, 0.0, 0.0, (3.0, 2.0), true);
        check(Detect::Below, 0.0, 0.0, (1.0, 2.0), true);
        check(Detect::Below, 0.0, 0.0, (3.0, 2.0), false);
        check(Detect::Never, 0.0, 0.0, (9.0, 2.0), false);
        check(Detect::Both, 1.5, 0.0, (3.0, 2.0), false);
        check(Detect::Both, 1.0, 0.0, (3.0, 2.0), true);
        check(Detect::Both, 0.0, 0.6, (3.0, 2.0), false);
        check(Detect::Both, 0.0, 0.5, (1.0, -2.0), true);
        check(Detect::Both, 1.0, 0.6, (3.0, 2.0), false);
    }

    fn change(hosts: &str, limit: Option<f64>, for_rows: Option<u32>) -> Override {
        let limit = limit.map(Limit::Fixed);
        Override { hosts: host_selector(hosts).unwrap(), limit, for_rows, clear: None, features: Vec::new() }
    }

    #[test]
    fn the_last_override_that_says_something_counts() {
        let muted = Override {
            features: vec![(2, Rule { detect: Some(Detect::Never), ..Rule::default() })],
            ..change(r#"{instance="b"}"#, None, None)
        };
        let overrides =
            vec![change(r#"{job="db"}"#, Some(2.0), Some(5)), change(r#"{instance=~"a|b"}"#, Some(3.0), None), muted];
        let mut decisions = Decisions::new(decision(1.0), overrides);
        let mut check = |job: &str, instance: &str, expected: (f64, u32, usize)| {
            let labels = Labels::from_pairs([("job", job), ("instance", instance)]);
            let of = decisions.of(&labels);
            assert_eq!((of.limit, of.for_rows, of.rules.len()), expected, "{job} {instance}");
            assert!(Arc::ptr_eq(&of, &decisions.of(&labels)));
        };
        check("web", "c", (1.0, 3, 0));
        check("db", "c", (2.0, 5, 0));
        check("db", "a", (3.0, 5, 0));
        check("web", "b", (3.0, 3, 3));
    }

    #[test]
    fn an_own_limit_finds_its_quantile_within_bounds() {
        let own = OwnLimit { quantile: 0.9, factor: 1.0, least: 0.1, most: 10.0 };
        // A fixed point: of the values 1 to 100, each in turn, a tenth is over 90.
        let wide = OwnLimit { most: 1e3, ..own };
        let values = (0..20_000).map(|k| f64::from(k * 37 % 100 + 1));
        let estimate = values.fold(None, |estimate, value| Some(wide.next(estimate, value))).unwrap();
        assert!((80.0..97.0).contains(&estimate), "{estimate}");
        let quiet = (0..10_000).fold(None, |estimate, _| Some(own.next(estimate, 0.0)));
        assert_eq!((own.limit(quiet), quiet), (0.1, Some(0.05)));
        let loud = (0..10_000).fold(None, |estimate, _| Some(own.next(estimate, 1e9)));
        assert_eq!(own.limit(loud), 10.0);
        assert!((own.limit(None) - 1.0).abs() < 1e-12);
    }
}
