//! The program of a feature: a tree of operations on the vectors and numbers of one host.

use super::labelset::GroupingId;
use crate::series::Labels;

/// Index of a leaf in the plan.
pub type LeafId = u16;

/// Index of a part in the plan.
pub type PartId = u16;

/// A node that gives a vector.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// The vector of a leaf.
    Leaf(LeafId),
    /// The vector of a part that stands in several places.
    Part(PartId),
    /// The vector as it is, where no two elements have the same labels; else an error. Stands where Prometheus drops metric
    /// names and then refuses series that differed in their name alone.
    Unique(Box<Node>),
    /// A function of each element.
    Map(MapFunction, Box<Node>),
    /// `clamp`, `clamp_min`, `clamp_max`: nothing where `low` is above `high`.
    Clamp {
        /// Of what.
        vector: Box<Node>,
        /// Least value.
        low: Box<Scalar>,
        /// Greatest value.
        high: Box<Scalar>,
    },
    /// `round` to a multiple.
    Round {
        /// Of what.
        vector: Box<Node>,
        /// The multiple.
        to: Box<Scalar>,
    },
    /// `vector operator scalar`, or `scalar operator vector` where `scalar_first`.
    WithScalar {
        /// The operator.
        operator: Operator,
        /// The vector.
        vector: Box<Node>,
        /// The number.
        scalar: Box<Scalar>,
        /// Which side the number is on.
        scalar_first: bool,
    },
    /// Matching of two vectors.
    Matched {
        /// The operator.
        operator: Operator,
        /// Left operand.
        left: Box<Node>,
        /// Right operand.
        right: Box<Node>,
        /// Which labels must agree.
        matching: GroupingId,
        /// Number of elements of each side that may match.
        cardinality: Cardinality,
    },
    /// `and`, `or`, `unless`.
    Set {
        /// The operator.
        operator: SetOperator,
        /// Left operand.
        left: Box<Node>,
        /// Right operand.
        right: Box<Node>,
        /// Which labels must agree.
        matching: GroupingId,
    },
    /// An aggregation into one element per group.
    Aggregate {
        /// Which.
        operator: Aggregation,
        /// Over what.
        argument: Box<Node>,
        /// Into which groups.
        grouping: GroupingId,
    },
    /// `quantile(φ, …)` per group.
    Quantile {
        /// φ.
        phi: Box<Scalar>,
        /// Over what.
        argument: Box<Node>,
        /// Into which groups.
        grouping: GroupingId,
    },
    /// `topk(k, …)` or `bottomk(k, …)`: some elements of each group as they are.
    Ranked {
        /// The greatest, or the least.
        order: Order,
        /// Number of elements.
        k: Box<Scalar>,
        /// Of what.
        argument: Box<Node>,
        /// Within which groups.
        grouping: GroupingId,
    },
    /// `vector(s)`.
    OfScalar(Box<Scalar>),
    /// `absent(v)`: a 1 with `labels` where `v` is empty.
    Absent {
        /// v.
        argument: Box<Node>,
        /// Labels that the selector asks for with `=`.
        labels: Labels,
    },
    /// A part of the date: of the step without an argument.
    Date(DatePart, Option<Box<Node>>),
}

impl Node {
    /// Calls `f` with each vector that it reads, those within its numbers included, but not with theirs.
    pub(super) fn for_each_operand(&mut self, f: &mut dyn FnMut(&mut Self)) {
        match self {
            Self::Leaf(_) | Self::Part(_) | Self::Date(_, None) => {}
            Self::OfScalar(number) => number.for_each_operand(f),
            Self::Unique(argument)
            | Self::Map(_, argument)
            | Self::Aggregate { argument, .. }
            | Self::Absent { argument, .. }
            | Self::Date(_, Some(argument)) => f(argument),
            Self::Clamp { vector, low, high } => {
                f(vector);
                low.for_each_operand(f);
                high.for_each_operand(f);
            }
            Self::Round { vector: argument, to: number }
            | Self::WithScalar { vector: argument, scalar: number, .. }
            | Self::Quantile { argument, phi: number, .. }
            | Self::Ranked { argument, k: number, .. } => {
                f(argument);
                number.for_each_operand(f);
            }
            Self::Matched { left, right, .. } | Self::Set { left, right, .. } => {
                f(left);
                f(right);
            }
        }
    }
}

impl Scalar {
    fn for_each_operand(&mut self, f: &mut dyn FnMut(&mut Node)) {
        match self {
            Self::Number(_) | Self::Time => {}
            Self::Of(node) => f(node),
            Self::Negate(number) => number.for_each_operand(f),
            Self::Binary(_, left, right) => {
                left.for_each_operand(f);
                right.for_each_operand(f);
            }
        }
    }
}

/// A node that gives one number, whatever the host has.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A constant.
    Number(f64),
    /// `time()`: the step in seconds.
    Time,
    /// `scalar(v)`: the value of the only element, else NaN.
    Of(Box<Node>),
    /// Unary minus.
    Negate(Box<Scalar>),
    /// Two numbers; a comparison gives 0 or 1.
    Binary(Operator, Box<Scalar>, Box<Scalar>),
}

/// Operators between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Computes.
    Arithmetic(Arithmetic),
    /// Keeps the left value where it holds.
    Filter(Comparison),
    /// With `bool`: 1 where it holds, else 0.
    Bool(Comparison),
}

/// `+ - * / % ^ atan2`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`, with the sign of the dividend
    Modulo,
    /// `^`
    Power,
    /// `atan2`
    Atan2,
}

/// `== != > < >= <=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `>=`
    GreaterOrEqual,
    /// `<=`
    LessOrEqual,
}

/// `and`, `or`, `unless`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOperator {
    /// `and`: left elements that match.
    And,
    /// `or`: left elements, and right ones that match none of them.
    Or,
    /// `unless`: left elements that match nothing.
    Unless,
}

/// Number of elements of each side that may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// One of each; the result has the labels that were matched.
    OneToOne,
    /// `group_left`: many on the left. The result has their labels, with those of the given `By` taken from the one.
    ManyToOne(GroupingId),
    /// `group_right`: the same with many on the right.
    OneToMany(GroupingId),
}

/// Aggregations into one element per group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `count`
    Count,
    /// `group`: 1
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
}

/// Which elements come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `topk`: the greatest, NaN last.
    Top,
    /// `bottomk`: the least, NaN last.
    Bottom,
}

/// Functions of one vector, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they have the names of PromQL's functions")]
pub enum MapFunction {
    /// Unary minus.
    Negate,
    Abs,
    Ceil,
    Floor,
    Sqrt,
    Exp,
    Ln,
    Log2,
    Log10,
    Sgn,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Deg,
    Rad,
}

/// Parts of a date, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they have the names of PromQL's functions")]
pub enum DatePart {
    Minute,
    Hour,
    /// From 0 for Sunday.
    DayOfWeek,
    /// From 1.
    DayOfMonth,
    /// From 1.
    DayOfYear,
    DaysInMonth,
    /// From 1.
    Month,
    Year,
}
