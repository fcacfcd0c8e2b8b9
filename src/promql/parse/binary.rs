//! Operators: which it is, between what, and how the sides are matched.

use promql_parser::parser::{BinaryExpr, VectorMatchCardinality};

use super::{Compiler, Operand, Refusal, VectorOperand, scalars};
use crate::promql::labelset::{Grouping, GroupingId};
use crate::promql::program::{Arithmetic, Cardinality, Comparison, Node, Operator, SetOperator};
use crate::promql::vocabulary;

impl Compiler<'_> {
    pub(super) fn binary(&mut self, binary: &BinaryExpr) -> Result<Operand, Refusal> {
        let symbol = binary.op.to_string();
        let fill = binary.modifier.as_ref().is_some_and(|m| m.fill_values.lhs.or(m.fill_values.rhs).is_some());
        if fill {
            return Err(Refusal::whole(format!("`fill` in `{binary}` is not evaluated: {}", vocabulary::FILL)));
        }
        let (left, right) = (self.operand(&binary.lhs)?, self.operand(&binary.rhs)?);
        if let Some(operator) = set_operator(&symbol) {
            let (Operand::Vector(left), Operand::Vector(right)) = (left, right) else {
                let message = format!("`{binary}`: `{symbol}` needs a vector on both sides");
                return Err(self.tokens.refuse_at(&symbol, message));
            };
            return Ok(Operand::Vector(self.set(operator, left, right, binary)?));
        }
        let Some(operator) = operator(&symbol, binary.return_bool()) else {
            let message = format!("`{symbol}` in `{binary}` is not evaluated");
            return Err(self.tokens.refuse_at(&symbol, message));
        };
        let with_scalar = |vector: VectorOperand, scalar, scalar_first| {
            let make = |vector| Node::WithScalar { operator, vector, scalar: Box::new(scalar), scalar_first };
            let keeps_names = matches!(operator, Operator::Filter(_));
            if keeps_names { vector.with_names(make) } else { vector.without_names(make) }
        };
        Ok(match (left, right) {
            (Operand::Scalar(a), Operand::Scalar(b)) => Operand::Scalar(scalars(operator, a, b)),
            (Operand::Vector(vector), Operand::Scalar(scalar)) => Operand::Vector(with_scalar(vector, scalar, false)),
            (Operand::Scalar(scalar), Operand::Vector(vector)) => Operand::Vector(with_scalar(vector, scalar, true)),
            (Operand::Vector(left), Operand::Vector(right)) => {
                Operand::Vector(self.matched(operator, left, right, binary)?)
            }
        })
    }

    fn matched(
        &mut self,
        operator: Operator,
        left: VectorOperand,
        right: VectorOperand,
        binary: &BinaryExpr,
    ) -> Result<VectorOperand, Refusal> {
        let matching = self.matching(binary)?;
        let modifier = binary.modifier.as_ref();
        let cardinality = match modifier.map(|modifier| &modifier.card) {
            Some(VectorMatchCardinality::ManyToOne(labels)) => Cardinality::ManyToOne(self.included(&labels.labels)?),
            Some(VectorMatchCardinality::OneToMany(labels)) => Cardinality::OneToMany(self.included(&labels.labels)?),
            _ => Cardinality::OneToOne,
        };
        // A filter keeps the names of the side that gives the labels, unless `on` leaves them out.
        let (named, repeat) = match cardinality {
            Cardinality::OneToOne => (left.may_be_named && !binary.is_matching_on(), false),
            Cardinality::ManyToOne(_) => (left.may_be_named, left.may_repeat),
            Cardinality::OneToMany(_) => (right.may_be_named, right.may_repeat),
        };
        let is_filter = matches!(operator, Operator::Filter(_));
        let (left, right) = (Box::new(left.node), Box::new(right.node));
        Ok(VectorOperand {
            node: Node::Matched { operator, left, right, matching, cardinality },
            may_be_named: named && is_filter,
            may_repeat: repeat && is_filter,
        })
    }

    fn set(
        &mut self,
        operator: SetOperator,
        left: VectorOperand,
        right: VectorOperand,
        binary: &BinaryExpr,
    ) -> Result<VectorOperand, Refusal> {
        let matching = self.matching(binary)?;
        let matches_all = binary.modifier.as_ref().is_none_or(|modifier| modifier.matching.is_none());
        let may_be_named = left.may_be_named || operator == SetOperator::Or && right.may_be_named;
        let may_repeat = match operator {
            SetOperator::And | SetOperator::Unless => left.may_repeat,
            SetOperator::Or => left.may_repeat || right.may_repeat || !matches_all,
        };
        let node = Node::Set { operator, left: Box::new(left.node), right: Box::new(right.node), matching };
        if may_repeat && !may_be_named {
            return Ok(VectorOperand::unique(Node::Unique(Box::new(node))));
        }
        Ok(VectorOperand { node, may_be_named, may_repeat })
    }

    fn matching(&mut self, binary: &BinaryExpr) -> Result<GroupingId, Refusal> {
        match binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()) {
            Some(labels) => self.grouping(labels),
            None => Ok(self.builder.grouping(Grouping::Without(Vec::new()))?),
        }
    }

    fn included(&mut self, labels: &[String]) -> Result<GroupingId, Refusal> {
        Ok(self.builder.grouping(Grouping::By(super::sorted(labels)))?)
    }
}

fn set_operator(symbol: &str) -> Option<SetOperator> {
    Some(match symbol {
        "and" => SetOperator::And,
        "or" => SetOperator::Or,
        "unless" => SetOperator::Unless,
        _ => return None,
    })
}

fn operator(symbol: &str, with_bool: bool) -> Option<Operator> {
    let comparison = |comparison| if with_bool { Operator::Bool(comparison) } else { Operator::Filter(comparison) };
    Some(match symbol {
        "+" => Operator::Arithmetic(Arithmetic::Add),
        "-" => Operator::Arithmetic(Arithmetic::Subtract),
        "*" => Operator::Arithmetic(Arithmetic::Multiply),
        "/" => Operator::Arithmetic(Arithmetic::Divide),
        "%" => Operator::Arithmetic(Arithmetic::Modulo),
        "^" => Operator::Arithmetic(Arithmetic::Power),
        "atan2" => Operator::Arithmetic(Arithmetic::Atan2),
        "==" => comparison(Comparison::Equal),
        "!=" => comparison(Comparison::NotEqual),
        ">" => comparison(Comparison::Greater),
        "<" => comparison(Comparison::Less),
        ">=" => comparison(Comparison::GreaterOrEqual),
        "<=" => comparison(Comparison::LessOrEqual),
        _ => return None,
    })
}
