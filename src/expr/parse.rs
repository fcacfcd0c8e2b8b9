//! PromQL text → [`Node`]: the only file that sees the parser's types.
//!
//! What is not evaluated is refused with the construct and, where there is one, the way to write it instead.

use promql_parser::label::MatchOp;
use promql_parser::parser::{
    self as promql, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};

use super::labelset::{Grouping, GroupingId};
use super::plan::{Aggregation, Arithmetic, Builder, MapFunction, Node, Rollup};
use super::range_function::RangeFunction;
use super::selector::{Matcher, Selector};
use crate::series::METRIC_NAME;

/// Functions that are evaluated, for messages.
const FUNCTIONS: &str = "rate, increase, abs, sqrt, clamp, clamp_min, clamp_max";

/// A parsed operand.
enum Operand {
    Number(f64),
    Vector(Node),
}

/// Compiles the text of one feature.
pub(super) fn compile(text: &str, builder: &mut Builder) -> Result<Node, String> {
    let expr = promql::parse(text).map_err(|error| syntax_error(text, &error))?;
    match operand(&expr, builder)? {
        Operand::Vector(node) => Ok(node),
        Operand::Number(number) => Err(format!("`{text}` is the number {number} on every host: read some series")),
    }
}

fn syntax_error(text: &str, error: &str) -> String {
    const METRICSQL: [&str; 4] = [" default ", "WITH", "keep_metric_names", " limit "];
    let hint = if METRICSQL.iter().any(|word| text.contains(word)) {
        "; this looks like MetricsQL: only PromQL is evaluated"
    } else if text.contains('$') {
        "; Grafana variables are not expanded: write the range out, such as [2m]"
    } else {
        ""
    };
    format!("`{text}` is not PromQL: {error}{hint}")
}

fn operand(expr: &Expr, builder: &mut Builder) -> Result<Operand, String> {
    Ok(Operand::Vector(match expr {
        Expr::Paren(paren) => return operand(&paren.expr, builder),
        Expr::NumberLiteral(number) => return Ok(Operand::Number(number.val)),
        Expr::Unary(unary) => match operand(&unary.expr, builder)? {
            Operand::Number(number) => return Ok(Operand::Number(-number)),
            Operand::Vector(node) => Node::Map(MapFunction::Negate, Box::new(node)),
        },
        Expr::VectorSelector(vector) => Node::Leaf(leaf(vector, Rollup::Instant, builder)?),
        Expr::Aggregate(aggregate) => aggregation(aggregate, builder)?,
        Expr::Call(call) => self::call(call, builder)?,
        Expr::Binary(binary) => return self::binary(binary, builder),
        Expr::MatrixSelector(matrix) => return Err(format!("`{matrix}` is a range: put it into rate() or increase()")),
        Expr::Subquery(subquery) => return Err(format!("`{subquery}`: subqueries are not evaluated")),
        Expr::StringLiteral(string) => return Err(format!("`{string}` is a string")),
        Expr::Extension(_) => return Err("an extension of PromQL is not evaluated".to_owned()),
    }))
}

fn vector(expr: &Expr, builder: &mut Builder) -> Result<Node, String> {
    match operand(expr, builder)? {
        Operand::Vector(node) => Ok(node),
        Operand::Number(_) => Err(format!("`{expr}` is a number where a vector is needed")),
    }
}

fn number(expr: &Expr, builder: &mut Builder) -> Result<f64, String> {
    match operand(expr, builder)? {
        Operand::Number(number) => Ok(number),
        Operand::Vector(_) => Err(format!("`{expr}` must be a plain number here")),
    }
}

fn leaf(vector: &VectorSelector, rollup: Rollup, builder: &mut Builder) -> Result<u16, String> {
    if vector.offset.is_some() {
        return Err(format!("`{vector}`: offset is not evaluated"));
    }
    if vector.at.is_some() {
        return Err(format!("`{vector}`: the @ modifier is not evaluated: a stream has no fixed time"));
    }
    if !vector.matchers.or_matchers.is_empty() {
        return Err(format!("`{vector}`: `or` between matchers is MetricsQL: write a regular expression"));
    }
    let mut matchers = Vec::new();
    for matcher in &vector.matchers.matchers {
        let (name, value) = (matcher.name.as_str(), matcher.value.as_str());
        matchers.push(match &matcher.op {
            MatchOp::Equal => Matcher::equal(name, value),
            MatchOp::NotEqual => Matcher::not_equal(name, value),
            MatchOp::Re(_) => Matcher::pattern(name, value, false).map_err(|e| e.to_string())?,
            MatchOp::NotRe(_) => Matcher::pattern(name, value, true).map_err(|e| e.to_string())?,
        });
    }
    builder.leaf(Selector::new(vector.name.as_deref(), matchers), rollup, 0)
}

fn aggregation(aggregate: &AggregateExpr, builder: &mut Builder) -> Result<Node, String> {
    let operator = match aggregate.op.to_string().as_str() {
        "sum" => Aggregation::Sum,
        "avg" => Aggregation::Avg,
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "count" => Aggregation::Count,
        other => return Err(format!("`{other}` is not evaluated; sum, avg, min, max and count are")),
    };
    let argument = Box::new(vector(&aggregate.expr, builder)?);
    let grouping = match &aggregate.modifier {
        Some(modifier) => self::grouping(modifier, builder)?,
        None => builder.grouping(Grouping::By(Vec::new()))?,
    };
    Ok(Node::Aggregate { operator, argument, grouping })
}

fn call(call: &Call, builder: &mut Builder) -> Result<Node, String> {
    let args: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
    let map = |function: MapFunction, builder: &mut Builder| {
        Ok::<_, String>(Node::Map(function, Box::new(vector(args[0], builder)?)))
    };
    match (call.func.name, args.len()) {
        ("rate", 1) => range(RangeFunction::Rate, args[0], builder),
        ("increase", 1) => range(RangeFunction::Increase, args[0], builder),
        ("abs", 1) => map(MapFunction::Abs, builder),
        ("sqrt", 1) => map(MapFunction::Sqrt, builder),
        ("clamp", 3) => {
            let bounds = MapFunction::Clamp(number(args[1], builder)?, number(args[2], builder)?);
            map(bounds, builder)
        }
        ("clamp_min", 2) => {
            let bounds = MapFunction::Clamp(number(args[1], builder)?, f64::INFINITY);
            map(bounds, builder)
        }
        ("clamp_max", 2) => {
            let bounds = MapFunction::Clamp(f64::NEG_INFINITY, number(args[1], builder)?);
            map(bounds, builder)
        }
        (name, _) => Err(format!("`{name}()` is not evaluated; {FUNCTIONS} are")),
    }
}

fn range(function: RangeFunction, argument: &Expr, builder: &mut Builder) -> Result<Node, String> {
    let Expr::MatrixSelector(matrix) = argument else {
        return Err(format!("`{argument}`: a range such as `[2m]` on a plain selector is needed"));
    };
    let range_ms = i64::try_from(matrix.range.as_millis()).map_err(|_| format!("`{matrix}`: the range is too long"))?;
    Ok(Node::Leaf(leaf(&matrix.vs, Rollup::Range(function, range_ms), builder)?))
}

fn binary(binary: &BinaryExpr, builder: &mut Builder) -> Result<Operand, String> {
    let symbol = binary.op.to_string();
    let matching = matching(binary, builder)?;
    let (left, right) = (operand(&binary.lhs, builder)?, operand(&binary.rhs, builder)?);
    if symbol == "or" {
        return match (left, right) {
            (Operand::Vector(left), Operand::Vector(right)) => {
                Ok(Operand::Vector(Node::Or { left: Box::new(left), right: Box::new(right), matching }))
            }
            _ => Err(format!("`{binary}`: `or` needs a vector on both sides")),
        };
    }
    let operator = match symbol.as_str() {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Modulo,
        "^" => Arithmetic::Power,
        other => return Err(format!("`{other}` in `{binary}` is not evaluated; + - * / % ^ and `or` are")),
    };
    Ok(match (left, right) {
        (Operand::Number(a), Operand::Number(b)) => Operand::Number(operator.apply(a, b)),
        (Operand::Vector(vector), Operand::Number(number)) => {
            Operand::Vector(Node::WithNumber { operator, vector: Box::new(vector), number, number_first: false })
        }
        (Operand::Number(number), Operand::Vector(vector)) => {
            Operand::Vector(Node::WithNumber { operator, vector: Box::new(vector), number, number_first: true })
        }
        (Operand::Vector(left), Operand::Vector(right)) => {
            Operand::Vector(Node::Matched { operator, left: Box::new(left), right: Box::new(right), matching })
        }
    })
}

fn matching(binary: &BinaryExpr, builder: &mut Builder) -> Result<GroupingId, String> {
    let Some(modifier) = &binary.modifier else { return builder.grouping(Grouping::Without(Vec::new())) };
    if matches!(modifier.card, VectorMatchCardinality::ManyToOne(_) | VectorMatchCardinality::OneToMany(_)) {
        return Err(format!("`{binary}`: group_left and group_right are not evaluated: aggregate one side first"));
    }
    match &modifier.matching {
        Some(labels) => grouping(labels, builder),
        None => builder.grouping(Grouping::Without(Vec::new())),
    }
}

fn grouping(modifier: &LabelModifier, builder: &mut Builder) -> Result<GroupingId, String> {
    let labels: Vec<String> = modifier.labels().labels.clone();
    if labels.iter().any(|label| label == METRIC_NAME) {
        return Err(format!("grouping or matching by `{METRIC_NAME}` is not evaluated: use one selector per metric"));
    }
    let identity = builder.identity.clone();
    let kept = move |labels: Vec<String>| {
        let mut labels: Vec<String> = labels.into_iter().filter(|l| *l != identity).collect();
        labels.sort_unstable();
        labels
    };
    match modifier {
        LabelModifier::Include(_) => builder.grouping(Grouping::By(kept(labels))),
        LabelModifier::Exclude(_) => builder.grouping(Grouping::Without(kept(labels))),
    }
}
