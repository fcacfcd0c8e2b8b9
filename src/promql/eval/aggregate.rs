//! Aggregations: the vector is sorted by group, then each group is folded where it stands.

use std::cmp::Ordering;

use super::{Element, EvalError, Evaluation, Vector};
use crate::promql::labelset::GroupingId;
use crate::promql::program::{Aggregation, Order};
use crate::promql::statistics::{CompensatedSum, Mean, quantile_of_sorted};

impl Evaluation<'_> {
    pub(super) fn aggregate(&mut self, operator: Aggregation, mut vector: Vector, grouping: GroupingId) -> Vector {
        self.project(&mut vector, grouping);
        vector.sort_unstable_by_key(|element| element.labels);
        fold_groups(vector, |group| operator.of(group))
    }

    /// NaN is the smallest value.
    pub(super) fn quantile(&mut self, phi: f64, mut vector: Vector, grouping: GroupingId) -> Vector {
        self.project(&mut vector, grouping);
        let nan_first = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()));
        vector.sort_unstable_by(|a, b| a.labels.cmp(&b.labels).then_with(|| nan_first(a.value, b.value)));
        fold_groups(vector, |group| quantile_of_sorted(phi, group.len(), |i| group[i].value))
    }

    pub(super) fn ranked(
        &mut self,
        order: Order,
        k: f64,
        mut vector: Vector,
        grouping: GroupingId,
    ) -> Result<Vector, EvalError> {
        if k < 1.0 {
            vector.clear();
            return Ok(vector);
        }
        // What doesn't fit into Go's int64 is an error in Prometheus.
        if k.is_nan() || k >= i64::MAX as f64 {
            self.give_back(vector);
            return Err(EvalError::BadParameter);
        }
        let sets = &mut *self.sets;
        vector.sort_unstable_by(|a, b| {
            let groups = sets.project(a.labels, grouping).cmp(&sets.project(b.labels, grouping));
            // Equal values by their labels' text, so that a restart makes no difference.
            let labels = |sets: &super::LabelSets| sets.get(a.labels).cmp(sets.get(b.labels));
            groups.then_with(|| order.compare(a.value, b.value)).then_with(|| labels(sets))
        });
        let (mut group, mut n_kept) = (None, 0usize);
        vector.retain(|element| {
            let labels = Some(sets.project(element.labels, grouping));
            n_kept = if group == labels { n_kept + 1 } else { 1 };
            group = labels;
            n_kept as f64 <= k
        });
        Ok(vector)
    }

    pub(super) fn project(&mut self, vector: &mut Vector, grouping: GroupingId) {
        for element in vector {
            element.labels = self.sets.project(element.labels, grouping);
        }
    }
}

/// One element per run of equal labels.
fn fold_groups(mut vector: Vector, value_of: impl Fn(&[Element]) -> f64) -> Vector {
    let (mut n_groups, mut from) = (0, 0);
    while let Some(first) = vector.get(from) {
        let labels = first.labels;
        let n = vector[from..].partition_point(|element| element.labels == labels);
        vector[n_groups] = Element { labels, value: value_of(&vector[from..from + n]) };
        n_groups += 1;
        from += n;
    }
    vector.truncate(n_groups);
    vector
}

impl Aggregation {
    /// Of a group, which is never empty.
    fn of(self, group: &[Element]) -> f64 {
        let first = group[0].value;
        let values = group.iter().map(|element| element.value);
        match self {
            Self::Sum => values.fold(CompensatedSum::default(), CompensatedSum::plus).total(),
            Self::Avg => values.skip(1).fold(Mean::of(first), Mean::plus).value(),
            // A NaN yields to any number.
            Self::Min => values.fold(first, |min, v| if v < min || min.is_nan() { v } else { min }),
            Self::Max => values.fold(first, |max, v| if v > max || max.is_nan() { v } else { max }),
            Self::Count => group.len() as f64,
            Self::Group => 1.0,
            Self::Stddev => variance(first, values.skip(1)).sqrt(),
            Self::Stdvar => variance(first, values.skip(1)),
        }
    }
}

/// Population variance by Welford's recurrence, which starts from the first value and is not compensated here.
fn variance(first: f64, rest: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut mean) = (1.0, first);
    let mut squares = if first.is_finite() { 0.0 } else { f64::NAN };
    for value in rest {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

impl Order {
    fn compare(self, a: f64, b: f64) -> Ordering {
        let ascending = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        let by_value = if self == Self::Top { ascending.reverse() } else { ascending };
        a.is_nan().cmp(&b.is_nan()).then(by_value)
    }
}
