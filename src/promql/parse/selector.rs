//! Selectors: matchers, offset, and the labels that `absent` makes of them.

use std::collections::HashMap;

use promql_parser::label::{self, MatchOp};
use promql_parser::parser::{Expr, Offset, VectorSelector};

use super::{Compiler, Refusal, VectorOperand};
use crate::promql::plan::Rollup;
use crate::promql::program::Node;
use crate::promql::range_function::RangeFunction;
use crate::promql::selector::{Matcher, Selector};
use crate::promql::vocabulary;
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
        let refuse = |(name, message): (String, String)| self.tokens.refuse_at(&name, message);
        let matchers = matchers(vector).map_err(refuse)?;
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

/// The conditions on labels.
///
/// # Errors
/// The label, and what is wrong with its regular expression.
fn matchers(vector: &VectorSelector) -> Result<Vec<Matcher>, (String, String)> {
    let matcher = |matcher: &label::Matcher| {
        let (name, value) = (matcher.name.as_str(), matcher.value.as_str());
        // The parser's own text of a pattern: it has escaped the braces that Go takes for themselves.
        let pattern = |regex: &str, negated| {
            let error = |error| (name.to_owned(), format!("`{value}` is no regular expression: {error}"));
            Matcher::pattern(name, regex, negated).map_err(error)
        };
        match &matcher.op {
            MatchOp::Equal => Ok(Matcher::equal(name, value)),
            MatchOp::NotEqual => Ok(Matcher::not_equal(name, value)),
            MatchOp::Re(regex) => pattern(regex.as_str(), false),
            MatchOp::NotRe(regex) => pattern(regex.as_str(), true),
        }
    };
    vector.matchers.matchers.iter().map(matcher).collect()
}

/// The hosts that `text` selects by their labels, such as `{job="db",instance=~"eu-.*"}`.
///
/// # Errors
/// It is something else; says what to write.
pub fn host_selector(text: &str) -> Result<Selector, String> {
    let expected = "write label matchers, such as {job=\"db\",instance=~\"eu-.*\"}";
    let text = text.trim();
    if !text.starts_with('{') {
        return Err(format!("`{text}` is more than the labels of a host; {expected}"));
    }
    // With a name before them, as matchers alone Prometheus refuses those that an empty label meets, such as job!="db".
    let parsed = promql_parser::parser::parse(&format!("host{text}"));
    let parsed = parsed.map_err(|error| format!("`{text}`: {error}; {expected}"))?;
    let Expr::VectorSelector(vector) = parsed else { return Err(format!("`{text}` selects no hosts; {expected}")) };
    let is_plain = vector.offset.is_none() && vector.at.is_none() && vector.matchers.or_matchers.is_empty();
    if !is_plain || vector.matchers.matchers.iter().any(|matcher| matcher.name == METRIC_NAME) {
        return Err(format!("`{text}` is more than the labels of a host; {expected}"));
    }
    matchers(&vector)
        .map(|matchers| Selector::new(None, matchers))
        .map_err(|(_, message)| format!("{message}; {expected}"))
}

/// Converts `ms`, which the tokens have made sure fits.
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

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &[(&str, &str)] = &[("instance", "eu-1:9100"), ("job", "db")];

    fn check(text: &str, expected: Result<bool, &str>) {
        let selected = host_selector(text).map(|selector| selector.is_match(LABELS));
        match (&selected, expected) {
            (Err(message), Err(part)) => assert!(message.contains(part), "{text}: {message}"),
            _ => assert_eq!(selected, expected.map_err(str::to_owned), "{text}"),
        }
    }

    #[test]
    fn hosts_are_selected_by_their_labels() {
        check(r#"{job="db"}"#, Ok(true));
        check(r#"{job="db",instance=~"eu-.*"}"#, Ok(true));
        check(r#"{job="db",instance!~"eu-.*"}"#, Ok(false));
        check(r#"{job!="db"}"#, Ok(false));
        check("up", Err("more than the labels of a host"));
        check(r#"{__name__="up"}"#, Err("write label matchers"));
        check(r#"{job="db"} offset 5m"#, Err("more than the labels of a host"));
        check("{job=\"db\"} + 1", Err("selects no hosts; write label matchers"));
        check("{job=\"db\"}[5m]", Err("selects no hosts; write label matchers"));
        check("{job=", Err("write label matchers"));
        check("{}", Ok(true));
        check(r#"{job=~"("}"#, Err("write label matchers"));
        check("", Err("write label matchers"));
    }
}
