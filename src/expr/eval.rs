//! Runs the programs of a plan over the leaf vectors of one host at one step.

use super::labelset::{GroupingId, LabelSetId, LabelSets};
use super::plan::{Aggregation, Arithmetic, MapFunction, Node};
use crate::series::TimestampMs;

/// One element of a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Element {
    /// Its labels without the metric name and the identity label.
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
    /// One-to-one matching found several elements with the same labels on one side.
    ManyToMany,
}

impl EvalError {
    /// Value of the label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ManyValues => "many_values",
            Self::ManyToMany => "many_to_many",
        }
    }
}

/// Everything that an evaluation reads, and the vectors that it borrows for intermediate results.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The step.
    pub t_ms: TimestampMs,
    /// One vector per leaf of the plan.
    pub leaves: &'a [Vector],
    /// The shard's label sets.
    pub sets: &'a mut LabelSets,
    /// Vectors to reuse, so that a step allocates nothing once warm.
    pub spare: &'a mut Vec<Vector>,
}

impl Evaluation<'_> {
    /// The single value of `node`; `None` where it gives nothing.
    ///
    /// # Errors
    /// More than one value, or vectors that do not match one to one.
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

    fn vector(&mut self, node: &Node) -> Result<Vector, EvalError> {
        match node {
            Node::Leaf(leaf) => {
                let mut out = self.take();
                out.extend_from_slice(&self.leaves[*leaf as usize]);
                Ok(out)
            }
            Node::Map(function, argument) => {
                let mut out = self.vector(argument)?;
                out.retain_mut(|element| function.apply(element));
                Ok(out)
            }
            Node::WithNumber { operator, vector, number, number_first } => {
                let mut out = self.vector(vector)?;
                for element in &mut out {
                    let (a, b) = if *number_first { (*number, element.value) } else { (element.value, *number) };
                    element.value = operator.apply(a, b);
                }
                Ok(out)
            }
            Node::Matched { operator, left, right, matching } => {
                let (left, right) = self.both(left, right)?;
                self.matched(*operator, left, right, *matching)
            }
            Node::Or { left, right, matching } => {
                let (left, right) = self.both(left, right)?;
                Ok(self.either(left, right, *matching))
            }
            Node::Aggregate { operator, argument, grouping } => {
                let argument = self.vector(argument)?;
                Ok(self.aggregate(*operator, argument, *grouping))
            }
        }
    }

    fn both(&mut self, left: &Node, right: &Node) -> Result<(Vector, Vector), EvalError> {
        Ok((self.vector(left)?, self.vector(right)?))
    }

    /// One-to-one: the result has the labels that were matched.
    fn matched(
        &mut self,
        operator: Arithmetic,
        mut left: Vector,
        mut right: Vector,
        matching: GroupingId,
    ) -> Result<Vector, EvalError> {
        if left.is_empty() || right.is_empty() {
            // As in Prometheus: nothing matches, whatever the other side holds.
            left.clear();
            self.give_back(right);
            return Ok(left);
        }
        self.project(&mut left, matching);
        self.project(&mut right, matching);
        left.sort_unstable_by_key(|element| element.labels);
        right.sort_unstable_by_key(|element| element.labels);
        // Prometheus looks at the right side's duplicates even where nothing matches them.
        if has_duplicates(&right) {
            return Err(EvalError::ManyToMany);
        }
        let find = |labels| right.binary_search_by_key(&labels, |element| element.labels).ok().map(|i| right[i].value);
        let mut previous = None;
        let mut many = false;
        left.retain_mut(|element| {
            let Some(other) = find(element.labels) else { return false };
            many |= previous.replace(element.labels) == Some(element.labels);
            element.value = operator.apply(element.value, other);
            true
        });
        self.give_back(right);
        if many { Err(EvalError::ManyToMany) } else { Ok(left) }
    }

    fn either(&mut self, mut left: Vector, right: Vector, matching: GroupingId) -> Vector {
        let n_left = left.len();
        for element in &right {
            let key = self.sets.project(element.labels, matching);
            let is_known = left[..n_left].iter().any(|other| self.sets.project(other.labels, matching) == key);
            if !is_known {
                left.push(*element);
            }
        }
        self.give_back(right);
        left
    }

    fn aggregate(&mut self, operator: Aggregation, argument: Vector, grouping: GroupingId) -> Vector {
        let mut groups = self.take();
        let mut counts = self.take();
        for element in &argument {
            let labels = self.sets.project(element.labels, grouping);
            // Few groups, and series of one group often stand together: look from the end.
            if let Some(group) = groups.iter().rposition(|group| group.labels == labels) {
                operator.add(&mut groups[group].value, element.value);
                counts[group].value += 1.0;
            } else {
                groups.push(Element { labels, value: element.value });
                counts.push(Element { labels, value: 1.0 });
            }
        }
        match operator {
            Aggregation::Count => groups.clone_from(&counts),
            Aggregation::Avg => groups.iter_mut().zip(&counts).for_each(|(group, count)| group.value /= count.value),
            Aggregation::Sum | Aggregation::Min | Aggregation::Max => {}
        }
        self.give_back(argument);
        self.give_back(counts);
        groups
    }

    fn project(&mut self, vector: &mut Vector, grouping: GroupingId) {
        for element in vector {
            element.labels = self.sets.project(element.labels, grouping);
        }
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

impl Arithmetic {
    /// `a operator b` as Go computes it.
    #[must_use]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Modulo => a % b,
            Self::Power => a.powf(b),
        }
    }
}

impl Aggregation {
    /// Adds one element to its group; averages and counts are finished by the caller.
    fn add(self, group: &mut f64, value: f64) {
        match self {
            Self::Sum | Self::Avg => *group += value,
            // A NaN yields to any number, as in Prometheus.
            Self::Min if value < *group || group.is_nan() => *group = value,
            Self::Max if value > *group || group.is_nan() => *group = value,
            Self::Min | Self::Max | Self::Count => {}
        }
    }
}

impl MapFunction {
    /// Changes the element; whether it stays.
    fn apply(self, element: &mut Element) -> bool {
        match self {
            Self::Abs => element.value = element.value.abs(),
            Self::Sqrt => element.value = element.value.sqrt(),
            Self::Negate => element.value = -element.value,
            Self::Clamp(low, high) if low > high => return false,
            Self::Clamp(low, high) => element.value = go_min(high, go_max(low, element.value)),
        }
        true
    }
}

/// Go's `math.Max`: NaN if either is.
fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Go's `math.Min`: NaN if either is.
fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

#[cfg(test)]
mod tests;
