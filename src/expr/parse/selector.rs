//! Selectors: matchers, offset, and the labels that `absent` makes of them.

use std::collections::HashMap;

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, Offset, VectorSelector};

use super::{Compiler, Refusal, VectorOperand};
use crate::expr::plan::Rollup;
use crate::expr::program::Node;
use crate::expr::range_function::RangeFunction;
use crate::expr::selector::{Matcher, Selector};
use crate::expr::vocabulary;
use crate::series::{Labels, METRIC_NAME};

impl Compiler<'_> {
    /// The leaf of a selector, shared where it is there already.
    pub(super) fn leaf(&mut self, vector: &VectorSelector, rollup: Rollup) -> Result<VectorOperand, Refusal> {
        let offset_ms = match &vector.offset {
            None => 0,
            Some(Offset::Pos(offset)) => milliseconds(offset.as_millis()),
            Some(Offset::Neg(_)) => {
                let message = format!("`{vector}`: {}", vocabulary::FUTURE);
                return Err(self.tokens.refuse_at("offset", message));
            }
        };
        if vector.at.is_some() {
            return Err(self.tokens.refuse_at("@", format!("`{vector}`: {}", vocabulary::AT)));
        }
        if !vector.matchers.or_matchers.is_empty() {
            let message = format!("`{vector}`: `or` between matchers is MetricsQL: write a regular expression");
            return Err(self.tokens.refuse_at("or", message));
        }
        let mut matchers = Vec::new();
        for matcher in &vector.matchers.matchers {
            let (name, value) = (matcher.name.as_str(), matcher.value.as_str());
            // The parser's own text of a pattern: it has escaped the braces that Go takes for themselves.
            let pattern = |regex: &str, negated| {
                let error = |error| self.tokens.refuse_at(name, format!("`{value}` is no regular expression: {error}"));
                Matcher::pattern(name, regex, negated).map_err(error)
            };
            matchers.push(match &matcher.op {
                MatchOp::Equal => Matcher::equal(name, value),
                MatchOp::NotEqual => Matcher::not_equal(name, value),
                MatchOp::Re(regex) => pattern(regex.as_str(), false)?,
                MatchOp::NotRe(regex) => pattern(regex.as_str(), true)?,
            });
        }
        let selector = Selector::new(vector.name.as_deref(), matchers);
        let may_repeat = selector.metric.is_none();
        let node = Node::Leaf(self.builder.leaf(selector, rollup, offset_ms)?);
        let keeps_name = matches!(rollup, Rollup::Instant | Rollup::Range(RangeFunction::Last, _));
        Ok(match keeps_name {
            true => VectorOperand { node, may_be_named: true, may_repeat },
            false if may_repeat => VectorOperand::unique(Node::Unique(Box::new(node))),
            false => VectorOperand::unique(node),
        })
    }
}

/// What the tokens have made sure of fits.
pub(super) fn milliseconds(ms: u128) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// The labels of `absent(expr)`: those that a plain selector asks for with `=`, but for what a second matcher takes back.
pub(super) fn absent_labels(expr: &Expr) -> Labels {
    let Expr::VectorSelector(selector) = expr else { return Labels::default() };
    let mut values: HashMap<&str, Option<&str>> = HashMap::new();
    for matcher in &selector.matchers.matchers {
        let sets = matcher.op == MatchOp::Equal && !values.contains_key(matcher.name.as_str());
        if sets {
            values.insert(&matcher.name, Some(&matcher.value));
        } else if let Some(value) = values.get_mut(matcher.name.as_str()) {
            *value = None;
        }
    }
    let pairs = values.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    Labels::from_pairs(pairs.filter(|(name, value)| !value.is_empty() && *name != METRIC_NAME))
}
