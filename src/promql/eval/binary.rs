//! Operators between two vectors: sides are sorted by the labels that must agree, then looked up.

use super::{Element, EvalError, Evaluation, Vector, has_duplicates};
use crate::promql::labelset::{GroupingId, LabelSetId, LabelSets};
use crate::promql::program::{Cardinality, Operator, SetOperator};

impl Evaluation<'_> {
    /// `left operator right` of the elements that match (promql/engine.go, `VectorBinop`).
    pub(super) fn matched(
        &mut self,
        operator: Operator,
        mut left: Vector,
        right: Vector,
        matching: GroupingId,
        cardinality: Cardinality,
    ) -> Result<Vector, EvalError> {
        if left.is_empty() || right.is_empty() {
            // As in Prometheus: nothing matches, whatever the other side holds.
            left.clear();
            self.give_back(right);
            return Ok(left);
        }
        let (many, one) = match cardinality {
            Cardinality::OneToOne => return self.one_to_one(operator, left, right, matching),
            Cardinality::ManyToOne(_) => (left, right),
            Cardinality::OneToMany(_) => (right, left),
        };
        self.many_to_one(operator, many, one, matching, cardinality)
    }

    /// The result has the labels that were matched.
    fn one_to_one(
        &mut self,
        operator: Operator,
        mut left: Vector,
        mut right: Vector,
        matching: GroupingId,
    ) -> Result<Vector, EvalError> {
        self.project(&mut left, matching);
        self.project(&mut right, matching);
        left.sort_unstable_by_key(|element| element.labels);
        right.sort_unstable_by_key(|element| element.labels);
        // Prometheus looks at the right side's duplicates even where nothing matches them, and at the left side's before a
        // comparison drops them.
        let mut many = has_duplicates(&right);
        let mut previous = None;
        left.retain_mut(|element| {
            let Some(other) = find(&right, element.labels) else { return false };
            many |= previous.replace(element.labels) == Some(element.labels);
            match operator.apply(element.value, other) {
                Some(value) => element.value = value,
                None => return false,
            }
            true
        });
        self.give_back(right);
        self.unless(many, left)
    }

    /// The result has the labels of the many, with some of the one.
    fn many_to_one(
        &mut self,
        operator: Operator,
        mut many: Vector,
        mut one: Vector,
        matching: GroupingId,
        cardinality: Cardinality,
    ) -> Result<Vector, EvalError> {
        let (many_is_left, included) = match cardinality {
            Cardinality::OneToMany(included) => (false, included),
            Cardinality::ManyToOne(included) => (true, included),
            Cardinality::OneToOne => (true, matching),
        };
        let sets = &mut *self.sets;
        one.sort_unstable_by_key(|element| sets.project(element.labels, matching));
        let duplicates = one.windows(2).any(|pair| {
            let key = |sets: &mut LabelSets, i: usize| sets.project(pair[i].labels, matching);
            key(sets, 0) == key(sets, 1)
        });
        let mut matches = self.spare.pop().unwrap_or_default();
        many.retain_mut(|element| {
            let key = sets.project(element.labels, matching);
            let found = one.binary_search_by_key(&key, |other| sets.project(other.labels, matching));
            let Ok(other) = found.map(|i| one[i]) else { return false };
            let before = f64::from(element.labels.number());
            element.labels = sets.join(element.labels, other.labels, included);
            matches.push(Element { labels: element.labels, value: before });
            let (a, b) = if many_is_left { (element.value, other.value) } else { (other.value, element.value) };
            match operator.apply(a, b) {
                Some(value) => element.value = value,
                None => return false,
            }
            true
        });
        // Results must be unique before a comparison drops some. A filter keeps names, and elements that had the same labels
        // before differ in theirs.
        matches.sort_unstable_by(|a, b| a.labels.cmp(&b.labels).then_with(|| a.value.total_cmp(&b.value)));
        if matches!(operator, Operator::Filter(_)) {
            matches.dedup();
        }
        let failed = duplicates || has_duplicates(&matches);
        self.give_back(matches);
        self.give_back(one);
        self.unless(failed, many)
    }

    fn unless(&mut self, failed: bool, vector: Vector) -> Result<Vector, EvalError> {
        if failed {
            self.give_back(vector);
            return Err(EvalError::ManyToMany);
        }
        Ok(vector)
    }

    /// `and`, `or`, `unless`: elements stay as they are.
    pub(super) fn set(
        &mut self,
        operator: SetOperator,
        mut left: Vector,
        right: Vector,
        matching: GroupingId,
    ) -> Vector {
        let mut keys = self.take();
        keys.extend_from_slice(if operator == SetOperator::Or { &left } else { &right });
        self.project(&mut keys, matching);
        keys.sort_unstable_by_key(|element| element.labels);
        let sets = &mut *self.sets;
        let mut is_known = |element: &Element| {
            keys.binary_search_by_key(&sets.project(element.labels, matching), |k| k.labels).is_ok()
        };
        match operator {
            SetOperator::And => left.retain(is_known),
            SetOperator::Unless => left.retain(|element| !is_known(element)),
            SetOperator::Or => left.extend(right.iter().filter(|element| !is_known(element))),
        }
        self.give_back(keys);
        self.give_back(right);
        left
    }
}

fn find(sorted: &[Element], labels: LabelSetId) -> Option<f64> {
    sorted.binary_search_by_key(&labels, |element| element.labels).ok().map(|i| sorted[i].value)
}
