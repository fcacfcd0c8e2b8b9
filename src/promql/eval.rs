//! Runs the programs of a plan over the leaf vectors of one host at one step.
//!
//! Knows the tree; what is done at a node stands in the files beside.

mod aggregate;
mod binary;
pub(crate) mod date;
mod functions;

use super::labelset::{LabelSetId, LabelSets, SHARED};
use super::program::{LeafId, Node, PartId, Scalar};
use crate::series::{Labels, TimestampMs};

/// One element of a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element {
    /// Its labels without the metric name.
    pub labels: LabelSetId,
    /// Its value.
    pub value: f64,
}

/// An instant vector of one host. Label sets are unique but for series that differ in their name alone.
pub type Vector = Vec<Element>;

/// Why a feature has no value although its series do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalError {
    /// The expression gave more than one element for the host.
    ManyValues,
    /// Matching found several elements with the same labels on a side where one is asked for, or gave some.
    ManyToMany,
    /// Series that differ in their metric name alone met an operation that drops the name.
    SameLabels,
    /// The host has more samples in the range, or within the offset, than are kept.
    SamplesNotKept,
    /// It is evaluated since a moment ago only: what it read before then is not known.
    JustBegun,
    /// Two senders write the host at once, and their series differ in a label, so that there are too many of them.
    TwoSenders,
    /// A counter that it depends on was wrong within its range: it fell, and not as one does that begins anew, or rose back.
    CounterFellBack,
    /// The k of `topk` or `bottomk` is no number or out of bounds.
    BadParameter,
}

impl EvalError {
    /// Value of the label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ManyValues => "many_values",
            Self::ManyToMany => "many_to_many",
            Self::SameLabels => "same_labels",
            Self::SamplesNotKept => "samples_not_kept",
            Self::JustBegun => "just_begun",
            Self::TwoSenders => "two_senders",
            Self::CounterFellBack => "counter_fell_back",
            Self::BadParameter => "bad_parameter",
        }
    }

    /// Returns what is wrong and what to do about it, for people.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::ManyValues => {
                "its expression has many values for a host: aggregate them, such as with sum by (instance) (…)"
            }
            Self::ManyToMany => {
                "its operands match many to many: aggregate one side, or say on(…) or ignoring(…) with group_left or group_right"
            }
            Self::SameLabels => {
                "it operates on series that differ in their metric name alone: select one name, or aggregate"
            }
            Self::SamplesNotKept => {
                "the host has more samples in its range than are kept: shorten the range, or raise limits.samples_per_host"
            }
            Self::JustBegun => {
                "it came with the last reload and waits until its range is full, or the lookback has passed: nothing is to be done"
            }
            Self::TwoSenders => {
                "two senders write the host at once, and their series differ in a label: add it to `identity.drop`"
            }
            Self::CounterFellBack => {
                "a counter that it reads had a wrong value, such as a small step back: it is missing until its range has passed that; if it \
                 recurs, look at the exporter"
            }
            Self::BadParameter => "the k of its topk or bottomk is no number from 0 on",
        }
    }
}

/// Result of a part at a step; `None` where no feature has asked for it.
pub type PartValue = Option<Result<Vector, EvalError>>;

/// Ends a step of a host: what its parts gave is forgotten, and their vectors come to `spare`.
pub fn give_back_parts(values: &mut Vec<PartValue>, spare: &mut Vec<Vector>) {
    for mut vector in values.drain(..).flatten().flatten() {
        vector.clear();
        spare.push(vector);
    }
}

/// Everything that an evaluation reads, and the vectors that it borrows for intermediate results.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The step.
    pub t_ms: TimestampMs,
    /// One vector per leaf of the plan.
    pub leaves: &'a [Vector],
    /// By leaf: why samples of it are not known, if so. To take it for empty would be wrong, as in `x or vector(0)`. All are
    /// known where this is shorter.
    pub incomplete: &'a [Option<EvalError>],
    /// The parts of the plan.
    pub parts: &'a [Node],
    /// Results of the parts, in the same order: nothing of another host or step, see [`give_back_parts`].
    pub values_of_parts: &'a mut Vec<PartValue>,
    /// The labels that all series of the host have with the same value, which stand as [`SHARED`] in its label sets.
    pub shared_labels: &'a Labels,
    /// The shard's label sets.
    pub sets: &'a mut LabelSets,
    /// Vectors to reuse, so that a step allocates nothing once warm.
    pub spare: &'a mut Vec<Vector>,
}

impl Evaluation<'_> {
    /// The single value of `node`; `None` where it gives nothing.
    ///
    /// # Errors
    /// More than one value, or what Prometheus would refuse of these series.
    pub fn value(&mut self, node: &Node) -> Result<Option<f64>, EvalError> {
        let vector = self.vector(node)?;
        let value = match vector.as_slice() {
            [] => Ok(None),
            [element] => Ok(Some(element.value)),
            _ => Err(EvalError::ManyValues),
        };
        self.give_back(vector);
        value
    }

    fn leaf(&mut self, leaf: LeafId) -> Result<Vector, EvalError> {
        if let Some(Some(why)) = self.incomplete.get(leaf as usize) {
            return Err(*why);
        }
        let mut out = self.take();
        out.extend_from_slice(&self.leaves[leaf as usize]);
        Ok(out)
    }

    fn part(&mut self, id: PartId) -> Result<Vector, EvalError> {
        let (parts, index) = (self.parts, usize::from(id));
        if let Some(Some(known)) = self.values_of_parts.get(index) {
            let known = known.as_ref().map_err(|why| *why)?;
            let mut out = self.spare.pop().unwrap_or_default();
            out.extend_from_slice(known);
            return Ok(out);
        }
        let value = self.vector(&parts[index]);
        let kept = value.as_ref().map_err(|why| *why).map(|vector| {
            let mut kept = self.spare.pop().unwrap_or_default();
            kept.extend_from_slice(vector);
            kept
        });
        self.values_of_parts.resize_with(parts.len(), || None);
        self.values_of_parts[index] = Some(kept);
        value
    }

    fn vector(&mut self, node: &Node) -> Result<Vector, EvalError> {
        match node {
            Node::Leaf(leaf) => self.leaf(*leaf),
            Node::Part(part) => self.part(*part),
            Node::Unique(argument) => {
                let vector = self.vector(argument)?;
                self.unique(vector)
            }
            Node::Map(function, argument) => self.map(argument, |value| function.apply(value)),
            Node::Clamp { vector, low, high } => {
                let (low, high) = (self.scalar(low)?, self.scalar(high)?);
                let mut out = self.map(vector, |value| functions::clamp(value, low, high))?;
                if high < low {
                    out.clear();
                }
                Ok(out)
            }
            Node::Round { vector, to } => {
                let to = self.scalar(to)?;
                self.map(vector, |value| functions::round(value, to))
            }
            Node::WithScalar { operator, vector, scalar, scalar_first } => {
                let (scalar, vector) = (self.scalar(scalar)?, self.vector(vector)?);
                Ok(operator.with_scalar(vector, scalar, *scalar_first))
            }
            Node::Matched { operator, left, right, matching, cardinality } => {
                let (left, right) = self.both(left, right)?;
                self.matched(*operator, left, right, *matching, *cardinality)
            }
            Node::Set { operator, left, right, matching } => {
                let (left, right) = self.both(left, right)?;
                Ok(self.set(*operator, left, right, *matching))
            }
            Node::Aggregate { operator, argument, grouping } => {
                let argument = self.vector(argument)?;
                Ok(self.aggregate(*operator, argument, *grouping))
            }
            Node::Quantile { phi, argument, grouping } => {
                let (phi, argument) = (self.scalar(phi)?, self.vector(argument)?);
                Ok(self.quantile(phi, argument, *grouping))
            }
            Node::Ranked { order, k, argument, grouping } => {
                let (k, argument) = (self.scalar(k)?, self.vector(argument)?);
                self.ranked(*order, k, argument, *grouping)
            }
            Node::OfScalar(scalar) => {
                let value = self.scalar(scalar)?;
                Ok(self.single(&Labels::default(), value))
            }
            Node::Absent { argument, labels } => {
                let mut vector = self.vector(argument)?;
                if vector.is_empty() {
                    self.give_back(vector);
                    let is_shared = |name: &str, value: &str| self.shared_labels.get(name) == Some(value);
                    let value = |(name, value)| (name, if is_shared(name, value) { SHARED } else { value });
                    let labels = Labels::from_pairs(labels.iter().map(value));
                    return Ok(self.single(&labels, 1.0));
                }
                vector.clear();
                Ok(vector)
            }
            Node::Date(part, None) => {
                let seconds = self.t_ms.div_euclid(1000) as f64;
                Ok(self.single(&Labels::default(), part.of(seconds)))
            }
            Node::Date(part, Some(argument)) => self.map(argument, |value| part.of(value)),
        }
    }

    fn scalar(&mut self, scalar: &Scalar) -> Result<f64, EvalError> {
        Ok(match scalar {
            Scalar::Number(number) => *number,
            Scalar::Time => self.t_ms as f64 / 1000.0,
            Scalar::Of(node) => {
                let vector = self.vector(node)?;
                let value = if let [element] = vector.as_slice() { element.value } else { f64::NAN };
                self.give_back(vector);
                value
            }
            Scalar::Negate(scalar) => -self.scalar(scalar)?,
            Scalar::Binary(operator, left, right) => operator.number(self.scalar(left)?, self.scalar(right)?),
        })
    }

    fn both(&mut self, left: &Node, right: &Node) -> Result<(Vector, Vector), EvalError> {
        let left = self.vector(left)?;
        match self.vector(right) {
            Ok(right) => Ok((left, right)),
            Err(error) => {
                self.give_back(left);
                Err(error)
            }
        }
    }

    fn map(&mut self, argument: &Node, function: impl Fn(f64) -> f64) -> Result<Vector, EvalError> {
        let mut out = self.vector(argument)?;
        out.iter_mut().for_each(|element| element.value = function(element.value));
        Ok(out)
    }

    /// A vector of one element.
    fn single(&mut self, labels: &Labels, value: f64) -> Vector {
        let mut out = self.take();
        out.push(Element { labels: self.sets.intern_known(labels), value });
        out
    }

    /// `vector`, sorted, where its label sets are unique.
    fn unique(&mut self, mut vector: Vector) -> Result<Vector, EvalError> {
        vector.sort_unstable_by_key(|element| element.labels);
        if has_duplicates(&vector) {
            self.give_back(vector);
            return Err(EvalError::SameLabels);
        }
        Ok(vector)
    }

    fn take(&mut self) -> Vector {
        self.spare.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut vector: Vector) {
        vector.clear();
        self.spare.push(vector);
    }
}

fn has_duplicates(sorted: &[Element]) -> bool {
    sorted.windows(2).any(|pair| pair[0].labels == pair[1].labels)
}

#[cfg(test)]
mod tests;
