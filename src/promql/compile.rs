//! Features as text → a plan.

use super::parse::{self, Refusal};
use super::plan::{Builder, ExprError, FeatureId, FeatureSource, Plan};

impl Plan {
    /// Compiles `features`.
    ///
    /// # Errors
    /// Every feature that is no PromQL, or more of it than is evaluated.
    pub fn compile(features: &[FeatureSource<'_>], lookback_ms: i64) -> Result<Self, Vec<ExprError>> {
        let mut builder = Builder::default();
        let mut programs = Vec::with_capacity(features.len());
        let (mut leaves_of, mut errors) = (Vec::with_capacity(features.len()), Vec::new());
        for feature in features {
            match parse::compile(feature.expr, &mut builder) {
                Ok(node) => {
                    programs.push(node);
                    leaves_of.push(std::mem::take(&mut builder.read).into());
                }
                Err(Refusal { character, message }) => {
                    let (at, feature) = (feature.at.into(), feature.name.into());
                    errors.push(ExprError { at, feature, character, message });
                }
            }
        }
        let ids = features.iter().map(|f| FeatureId { name: f.name.into(), expr: f.expr.into() }).collect();
        if errors.is_empty() { Ok(builder.finish(ids, programs, leaves_of, lookback_ms)) } else { Err(errors) }
    }
}
