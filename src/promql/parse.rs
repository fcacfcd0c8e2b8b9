//! PromQL text → program: with the files beside, the only part that sees the parser's types.
//!
//! Anything that is not evaluated is refused with the construct, its place and, where there is one, the way to write it instead.

mod binary;
mod checks;
mod selector;
mod tokens;

pub use self::selector::host_selector;

use promql_parser::parser::{self as promql, AggregateExpr, Call, Expr, LabelModifier};

use self::tokens::{SCRAPES, SCRAPES_MS, Tokens};
use super::labelset::{Grouping, GroupingId};
use super::plan::{Builder, Range, Rollup};
use super::program::{MapFunction, Node, Operator, Scalar};
use super::range_function::RangeFunction;
use super::vocabulary::{self, Function, Grouped};

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Place in the expression, counted in characters from 1; `None` where all of it is meant.
    pub(super) character: Option<usize>,
    /// The construct, and what to write instead where there is something.
    pub(super) message: String,
}

impl Refusal {
    fn whole(message: String) -> Self {
        Self { character: None, message }
    }

    /// The parser shows what was put in the place of `$range`.
    fn with_range_as_written(self) -> Self {
        Self { message: self.message.replace(&format!("[{SCRAPES}]"), "[$range]"), ..self }
    }
}

/// A parsed operand.
enum Operand {
    Scalar(Scalar),
    Vector(VectorOperand),
}

/// A node with what is known of its elements' metric names, which label sets lack.
struct VectorOperand {
    node: Node,
    /// Whether elements may have a metric name in Prometheus.
    may_be_named: bool,
    /// Whether label sets may repeat: series that differ in their metric name alone.
    may_repeat: bool,
}

impl VectorOperand {
    /// Elements with unique labels and no names.
    fn unique(node: Node) -> Self {
        Self { node, may_be_named: false, may_repeat: false }
    }

    /// `make` of the node as an operation that drops the names, after which Prometheus refuses labels that repeat.
    fn without_names(self, make: impl FnOnce(Box<Node>) -> Node) -> Self {
        let node = make(Box::new(self.node));
        Self::unique(if self.may_repeat { Node::Unique(Box::new(node)) } else { node })
    }

    /// `make` of the node as an operation that leaves elements as they are or out.
    fn with_names(self, make: impl FnOnce(Box<Node>) -> Node) -> Self {
        Self { node: make(Box::new(self.node)), ..self }
    }
}

/// Compiles the text of one feature.
pub(super) fn compile(text: &str, builder: &mut Builder) -> Result<Node, Refusal> {
    let tokens = Tokens::read(text)?;
    let expr = promql::parse(&tokens.normalized()).map_err(|error| syntax_error(&tokens, text, &error))?;
    match (Compiler { tokens: &tokens, builder }).operand(&expr).map_err(Refusal::with_range_as_written)? {
        Operand::Vector(vector) => Ok(vector.node),
        Operand::Scalar(Scalar::Number(number)) => {
            Err(Refusal::whole(format!("`{text}` is the number {number} on every host: read some series")))
        }
        Operand::Scalar(scalar) => Ok(Node::OfScalar(Box::new(scalar))),
    }
}

fn syntax_error(tokens: &Tokens<'_>, text: &str, error: &str) -> Refusal {
    const METRICSQL: [&str; 4] = [" default ", "WITH", "keep_metric_names", " limit "];
    let hint = if METRICSQL.iter().any(|word| text.contains(word)) {
        "; this looks like MetricsQL: only PromQL is evaluated"
    } else if error.contains("expected type matrix") {
        "; a range such as [2m] is missing"
    } else if error.contains("expected type vector") && error.contains("got scalar") {
        "; vector(…) makes a vector of a number"
    } else if error.contains("expected type scalar") && error.contains("got vector") {
        "; scalar(…) makes a number of a vector"
    } else {
        ""
    };
    let message = format!("`{text}` is not PromQL: {error}{hint}");
    // Errors of types and arguments name the function in quotes; its place is the best that is known.
    match error.split('\'').nth(1).filter(|name| vocabulary::function(name).is_some()) {
        Some(name) => tokens.refuse_at(name, message),
        None => tokens.refuse_syntax(message),
    }
}

struct Compiler<'a> {
    tokens: &'a Tokens<'a>,
    builder: &'a mut Builder,
}

impl Compiler<'_> {
    fn operand(&mut self, expr: &Expr) -> Result<Operand, Refusal> {
        Ok(match expr {
            Expr::Paren(paren) => return self.operand(&paren.expr),
            Expr::NumberLiteral(number) => Operand::Scalar(Scalar::Number(number.val)),
            Expr::Unary(unary) => match self.operand(&unary.expr)? {
                Operand::Scalar(Scalar::Number(number)) => Operand::Scalar(Scalar::Number(-number)),
                Operand::Scalar(scalar) => Operand::Scalar(Scalar::Negate(Box::new(scalar))),
                Operand::Vector(vector) => {
                    Operand::Vector(vector.without_names(|node| Node::Map(MapFunction::Negate, node)))
                }
            },
            Expr::VectorSelector(selector) => Operand::Vector(self.leaf(selector, Rollup::Instant)?),
            Expr::Aggregate(aggregate) => Operand::Vector(self.aggregation(aggregate)?),
            Expr::Call(call) => return self.call(call),
            Expr::Binary(binary) => return self.binary(binary),
            Expr::MatrixSelector(matrix) => {
                let message =
                    format!("`{matrix}` is a range: put it into a function such as rate() or avg_over_time()");
                return Err(self.tokens.refuse_at("[", message));
            }
            Expr::Subquery(_) => {
                return Err(self.tokens.refuse_at("[", format!("a subquery: {}", vocabulary::SUBQUERY)));
            }
            Expr::StringLiteral(string) => {
                return Err(Refusal::whole(format!("`{string}` is a string: a feature is a number")));
            }
            Expr::Extension(_) => return Err(Refusal::whole("an extension of PromQL is not evaluated".to_owned())),
        })
    }

    fn vector(&mut self, expr: &Expr) -> Result<VectorOperand, Refusal> {
        match self.operand(expr)? {
            Operand::Vector(vector) => Ok(vector),
            Operand::Scalar(_) => {
                Err(Refusal::whole(format!("`{expr}` is a number where a vector is needed: write vector({expr})")))
            }
        }
    }

    fn scalar(&mut self, expr: &Expr) -> Result<Box<Scalar>, Refusal> {
        match self.operand(expr)? {
            Operand::Scalar(scalar) => Ok(Box::new(scalar)),
            Operand::Vector(_) => {
                Err(Refusal::whole(format!("`{expr}` is a vector where a number is needed: write scalar({expr})")))
            }
        }
    }

    fn aggregation(&mut self, aggregate: &AggregateExpr) -> Result<VectorOperand, Refusal> {
        let name = aggregate.op.to_string();
        let parameter = match &aggregate.param {
            Some(parameter) => Some(self.scalar(parameter)?),
            None => None,
        };
        let argument = self.vector(&aggregate.expr)?;
        let grouping = match &aggregate.modifier {
            Some(modifier) => self.grouping(modifier)?,
            None => self.builder.grouping(Grouping::By(Vec::new()))?,
        };
        Ok(match (vocabulary::aggregation(&name), parameter) {
            (Some(Grouped::One(operator)), None) => {
                VectorOperand::unique(Node::Aggregate { operator, argument: Box::new(argument.node), grouping })
            }
            (Some(Grouped::Quantile), Some(phi)) => {
                VectorOperand::unique(Node::Quantile { phi, argument: Box::new(argument.node), grouping })
            }
            (Some(Grouped::Ranked(order)), Some(k)) => {
                argument.with_names(|argument| Node::Ranked { order, k, argument, grouping })
            }
            _ => return Err(self.tokens.refuse_at(&name, format!("`{name}` with these arguments is not evaluated"))),
        })
    }

    fn call(&mut self, call: &Call) -> Result<Operand, Refusal> {
        let name = call.func.name;
        let args: Vec<&Expr> = call.args.args.iter().map(AsRef::as_ref).collect();
        let function = vocabulary::function(name);
        Ok(match (function, args.as_slice()) {
            (Some(Function::Time), []) => Operand::Scalar(Scalar::Time),
            (Some(Function::Pi), []) => Operand::Scalar(Scalar::Number(std::f64::consts::PI)),
            (Some(Function::Scalar), [v]) => Operand::Scalar(Scalar::Of(Box::new(self.vector(v)?.node))),
            _ => Operand::Vector(self.vector_call(name, function, &args)?),
        })
    }

    fn vector_call(
        &mut self,
        name: &str,
        function: Option<Function>,
        args: &[&Expr],
    ) -> Result<VectorOperand, Refusal> {
        const INFINITY: Scalar = Scalar::Number(f64::INFINITY);
        const MINUS_INFINITY: Scalar = Scalar::Number(f64::NEG_INFINITY);
        Ok(match (function, args) {
            (Some(Function::Range(function)), [range]) => self.range(name, function, range)?,
            (Some(Function::QuantileOverTime), [phi, range]) => {
                let Operand::Scalar(Scalar::Number(phi)) = self.operand(phi)? else {
                    let message = format!("`{phi}` in {name}() must be a constant number");
                    return Err(self.tokens.refuse_at(name, message));
                };
                self.range(name, RangeFunction::Quantile(phi), range)?
            }
            (Some(Function::Map(function)), [v]) => {
                self.vector(v)?.without_names(|argument| Node::Map(function, argument))
            }
            (Some(Function::Clamp), [v, low, high]) => {
                let (vector, low, high) = (self.vector(v)?, self.scalar(low)?, self.scalar(high)?);
                vector.without_names(|vector| Node::Clamp { vector, low, high })
            }
            (Some(Function::ClampMin), [v, low]) => {
                let (vector, low) = (self.vector(v)?, self.scalar(low)?);
                vector.without_names(|vector| Node::Clamp { vector, low, high: Box::new(INFINITY) })
            }
            (Some(Function::ClampMax), [v, high]) => {
                let (vector, high) = (self.vector(v)?, self.scalar(high)?);
                vector.without_names(|vector| Node::Clamp { vector, low: Box::new(MINUS_INFINITY), high })
            }
            (Some(Function::Round), [v, rest @ ..]) => {
                let vector = self.vector(v)?;
                let to = match rest {
                    [] => Box::new(Scalar::Number(1.0)),
                    [to, ..] => self.scalar(to)?,
                };
                vector.without_names(|vector| Node::Round { vector, to })
            }
            (Some(Function::Vector), [s]) => VectorOperand::unique(Node::OfScalar(self.scalar(s)?)),
            (Some(Function::Absent), [v]) => {
                let labels = selector::absent_labels(v);
                VectorOperand::unique(Node::Absent { argument: Box::new(self.vector(v)?.node), labels })
            }
            (Some(Function::Date(part)), []) => VectorOperand::unique(Node::Date(part, None)),
            (Some(Function::Date(part)), [v]) => {
                self.vector(v)?.without_names(|argument| Node::Date(part, Some(argument)))
            }
            _ => return Err(self.tokens.refuse_at(name, format!("`{name}()` with these arguments is not evaluated"))),
        })
    }

    fn range(&mut self, name: &str, function: RangeFunction, argument: &Expr) -> Result<VectorOperand, Refusal> {
        let mut inner = argument;
        while let Expr::Paren(paren) = inner {
            inner = &paren.expr;
        }
        let Expr::MatrixSelector(matrix) = inner else {
            let message = format!("`{argument}` in {name}(): a range such as `[2m]` on a plain selector is needed");
            return Err(self.tokens.refuse_at(name, message));
        };
        let range = match selector::milliseconds(matrix.range.as_millis()) {
            SCRAPES_MS => Range::Scrapes,
            range_ms => Range::Fixed(range_ms),
        };
        self.leaf(&matrix.vs, Rollup::Range(function, range))
    }

    fn grouping(&mut self, modifier: &LabelModifier) -> Result<GroupingId, Refusal> {
        let labels = sorted(&modifier.labels().labels);
        let grouping = match modifier {
            LabelModifier::Include(_) => Grouping::By(labels),
            LabelModifier::Exclude(_) => Grouping::Without(labels),
        };
        Ok(self.builder.grouping(grouping)?)
    }
}

/// Equal lists of labels are to be equal groupings.
fn sorted(labels: &[String]) -> Vec<String> {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    labels.dedup();
    labels
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::whole(message)
    }
}

/// `a operator b`, computed now where both are constants.
fn scalars(operator: Operator, a: Scalar, b: Scalar) -> Scalar {
    match (&a, &b) {
        (Scalar::Number(a), Scalar::Number(b)) => Scalar::Number(operator.number(*a, *b)),
        _ => Scalar::Binary(operator, Box::new(a), Box::new(b)),
    }
}

#[cfg(test)]
mod tests;
