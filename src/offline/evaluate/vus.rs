//! VUS-PR: the volume under the range-based precision-recall surface.
//!
//! The definition of Paparrizos et al., "Volume Under the Surface", PVLDB 15(11), 2022, as the benchmark TSB-AD computes it
//! (`RangeAUC_volume_opt`), to the last detail: an incident gets a buffer of rows on both sides whose labels fall off with a square
//! root, recall is scaled by the share of incidents that were touched at all, and the area is averaged over buffers of 0 to
//! [`BUFFER_ROWS`] rows. What is different is the way: predictions at falling thresholds are nested, so every sum over rows is a
//! histogram over the threshold at which a row is first predicted.

use std::ops::Range;

use super::runs;

/// The longest buffer, as TSB-AD has it for multivariate data.
pub const BUFFER_ROWS: usize = 100;
/// Thresholds that the curve is made of.
const THRESHOLDS: usize = 250;

/// The volume for buffers of 0 to `buffer_rows` rows; `None` without a row or an incident.
#[must_use]
pub fn vus_pr(scores: &[f64], labels: &[bool], buffer_rows: usize) -> Option<f64> {
    let events = runs(labels, 0);
    if events.is_empty() || scores.len() != labels.len() {
        return None;
    }
    let surface = Surface::new(scores, labels, &events);
    let mut label = vec![0.0; scores.len()];
    let areas = (0..=buffer_rows).map(|buffer| surface.area(buffer, &mut label));
    Some(areas.sum::<f64>() / (buffer_rows + 1) as f64)
}

/// Data that all buffers share.
struct Surface<'a> {
    /// Runs of labelled rows.
    events: &'a [Range<usize>],
    /// By row, the first threshold at which it is predicted.
    ranks: Vec<usize>,
    /// By threshold, the rows that are predicted.
    n_predicted: Vec<f64>,
    /// By threshold, the labelled rows that are predicted.
    n_labelled: Vec<f64>,
    labels: &'a [bool],
    /// Labelled rows.
    n_positive: f64,
}

impl<'a> Surface<'a> {
    fn new(scores: &[f64], labels: &'a [bool], events: &'a [Range<usize>]) -> Self {
        let thresholds = thresholds(scores);
        let ranks: Vec<usize> = scores.iter().map(|score| thresholds.partition_point(|t| t > score)).collect();
        let mut n_predicted = vec![0.0; THRESHOLDS];
        let mut n_labelled = vec![0.0; THRESHOLDS];
        for (rank, label) in ranks.iter().zip(labels) {
            n_predicted[*rank] += 1.0;
            n_labelled[*rank] += f64::from(u8::from(*label));
        }
        let n_positive = n_labelled.iter().sum();
        accumulate(&mut n_predicted);
        accumulate(&mut n_labelled);
        Self { events, ranks, n_predicted, n_labelled, labels, n_positive }
    }

    /// The area under the precision-recall curve for one buffer; `label` is all 0, and is again afterwards.
    fn area(&self, buffer: usize, label: &mut [f64]) -> f64 {
        let mut buffered = vec![0.0; THRESHOLDS];
        self.label_buffers(buffer, label);
        for row in self.buffers(buffer).flatten() {
            // A row in two buffers is met twice, and counted once.
            buffered[self.ranks[row]] += std::mem::take(&mut label[row]);
        }
        accumulate(&mut buffered);
        let ranges = self.ranges(buffer);
        let mut touched = vec![0.0; THRESHOLDS];
        for range in &ranges {
            if let Some(first) = self.ranks[range.clone()].iter().min() {
                touched[*first] += 1.0;
            }
        }
        accumulate(&mut touched);
        let (mut area, mut recall_before) = (0.0, 0.0);
        for k in 0..THRESHOLDS {
            let hits = self.n_labelled[k] + buffered[k];
            // Labelled rows always count as positive, those of a buffer as far as they are predicted.
            let n_positive = f64::midpoint(self.n_positive, self.n_positive + buffered[k]);
            let recall = (hits / n_positive).min(1.0) * (touched[k] / ranges.len() as f64);
            area += (recall - recall_before) * (hits / self.n_predicted[k]);
            recall_before = recall;
        }
        area
    }

    /// The rows beside each event that a buffer adds.
    fn buffers(&self, buffer: usize) -> impl Iterator<Item = Range<usize>> {
        let (half, n_rows) = (buffer / 2, self.ranks.len());
        let both = move |event: &Range<usize>| {
            [event.start.saturating_sub(half)..event.start, event.end..(event.end + half).min(n_rows)]
        };
        self.events.iter().flat_map(both)
    }

    /// Sets the labels of the rows in buffers, 0 for those that are labelled anyway.
    fn label_buffers(&self, buffer: usize, label: &mut [f64]) {
        for (side, rows) in self.buffers(buffer).enumerate() {
            let (start, end) = (rows.start, rows.end);
            for row in rows.filter(|row| !self.labels[*row]) {
                let distance = if side % 2 == 0 { end - row } else { row + 1 - start };
                label[row] = (label[row] + (1.0 - distance as f64 / buffer as f64).sqrt()).min(1.0);
            }
        }
    }

    /// Events with their buffers; one where two touch.
    fn ranges(&self, buffer: usize) -> Vec<Range<usize>> {
        let (half, n_rows) = (buffer / 2, self.ranks.len());
        let mut ranges: Vec<Range<usize>> = Vec::with_capacity(self.events.len());
        for event in self.events {
            let buffered = event.start.saturating_sub(half)..(event.end + half).min(n_rows);
            match ranges.last_mut() {
                // The last row of one and the first of the next may be neighbours.
                Some(last) if event.start < last.end + half => last.end = buffered.end,
                _ => ranges.push(buffered),
            }
        }
        ranges
    }
}

/// Scores at equal distances of their falling order: of the first, the last, and those between.
fn thresholds(scores: &[f64]) -> Vec<f64> {
    let mut falling = scores.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    let last = falling.len() - 1;
    let step = last as f64 / (THRESHOLDS - 1) as f64;
    // The last index is exact, the others are truncated as NumPy's `linspace(…).astype(int)` does.
    let index = |k: usize| if k + 1 == THRESHOLDS { last } else { (k as f64 * step) as usize };
    (0..THRESHOLDS).map(|k| falling[index(k).min(last)]).collect()
}

/// Each element becomes the sum of those up to it.
fn accumulate(values: &mut [f64]) {
    let mut sum = 0.0;
    for value in values {
        sum += *value;
        *value = sum;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, row by row for each threshold and buffer.
    fn naive(scores: &[f64], labels: &[bool], buffer_rows: usize) -> f64 {
        let n = scores.len();
        let mut falling = scores.to_vec();
        falling.sort_by(|a, b| b.total_cmp(a));
        let events: Vec<(i64, i64)> = runs(labels, 0).iter().map(|r| (r.start as i64, r.end as i64 - 1)).collect();
        // Inclusive ends, not clipped at the end but for the last.
        let merged = |buffer: i64| {
            let half = buffer / 2;
            let mut all = Vec::new();
            let mut start = (events[0].0 - half).max(0);
            for pair in events.windows(2) {
                if pair[0].1 + half < pair[1].0 - half {
                    all.push((start, pair[0].1 + half));
                    start = pair[1].0 - half;
                }
            }
            all.push((start, (events.last().unwrap().1 + half).min(n as i64 - 1)));
            all
        };
        let outer = merged(buffer_rows as i64);
        let mut areas = 0.0;
        for buffer in 0..=buffer_rows as i64 {
            let mut extended: Vec<f64> = labels.iter().map(|l| f64::from(u8::from(*l))).collect();
            for &(start, end) in &events {
                for row in end + 1..(end + buffer / 2 + 1).min(n as i64) {
                    extended[row as usize] += (1.0 - (row - end) as f64 / buffer as f64).sqrt();
                }
                for row in (start - buffer / 2).max(0)..start {
                    extended[row as usize] += (1.0 - (start - row) as f64 / buffer as f64).sqrt();
                }
            }
            extended.iter_mut().for_each(|label| *label = label.min(1.0));
            let ranges = merged(buffer);
            let mut before = 0.0;
            for k in 0..THRESHOLDS {
                let index = if k + 1 == THRESHOLDS {
                    n - 1
                } else {
                    (k as f64 * ((n - 1) as f64 / (THRESHOLDS - 1) as f64)) as usize
                };
                let predicted: Vec<f64> = scores.iter().map(|s| f64::from(u8::from(*s >= falling[index]))).collect();
                let mut label = extended.clone();
                let mut touched = 0.0;
                for &(start, end) in &ranges {
                    let rows = start as usize..=end as usize;
                    rows.clone().for_each(|row| label[row] = extended[row] * predicted[row]);
                    touched += f64::from(u8::from(predicted[rows].contains(&1.0)));
                }
                for &(start, end) in &events {
                    label[start as usize..=end as usize].fill(1.0);
                }
                let (mut hits, mut n_labels) = (0.0, 0.0);
                for row in outer.iter().flat_map(|(start, end)| *start as usize..=*end as usize) {
                    hits += label[row] * predicted[row];
                    n_labels += label[row];
                }
                let n_positive = (labels.iter().filter(|l| **l).count() as f64 + n_labels) / 2.0;
                let recall = (hits / n_positive).min(1.0) * touched / ranges.len() as f64;
                areas += (recall - before) * hits / predicted.iter().sum::<f64>();
                before = recall;
            }
        }
        areas / (buffer_rows + 1) as f64
    }

    #[test]
    fn volumes_worked_out_by_hand() {
        let check = |scores: &[f64], labels: &[u8], buffer: usize, expected: f64| {
            let labels: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
            let got = vus_pr(scores, &labels, buffer).unwrap();
            assert!((got - expected).abs() < 1e-12, "{got} instead of {expected}");
        };
        // One threshold finds all and nothing else.
        check(&[0.0, 0.0, 1.0, 0.0], &[0, 0, 1, 0], 0, 1.0);
        // The event comes second: recall 0 at precision 0, then 1 at 1/2.
        check(&[0.5, 1.0, 0.0, 0.0], &[1, 0, 0, 0], 0, 0.5);
        // Buffers 0 and 1 add no row: 1/2 each. Buffer 2 labels rows 0 and 2 with √½. Row 1 first: hit 1 of (1 + 1)/2, precision
        // 1, all at once. Were row 0 first: hits √½ of 1 + √½/2, precision √½, then 1 + √½ of 1 + √½/2, capped at 1, at (1 + √½)/2.
        check(&[0.0, 1.0, 0.0, 0.0], &[0, 1, 0, 0], 2, 1.0);
        let half = 0.5_f64.sqrt();
        let first = half / (1.0 + half / 2.0);
        let third = first * half + (1.0 - first) * f64::midpoint(1.0, half);
        check(&[1.0, 0.5, 0.0, 0.0], &[0, 1, 0, 0], 2, (0.5 + 0.5 + third) / 3.0);
        // Everything alike is one threshold: recall 1 at the share of labelled rows.
        check(&[3.0; 8], &[0, 0, 1, 1, 0, 0, 0, 0], 0, 0.25);
    }

    #[test]
    fn nothing_to_find_has_no_volume() {
        assert_eq!(vus_pr(&[1.0, 2.0], &[false, false], 100), None);
        assert_eq!(vus_pr(&[], &[], 100), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_equals_the_definition(
            rows in prop::collection::vec((0_u8..12, prop::bool::weighted(0.9)), 1..160),
            stretch in 1_usize..6,
            buffer in 0_usize..30,
        ) {
            // Labels in runs, scores with and without ties.
            let labels: Vec<bool> = (0..rows.len()).map(|row| !rows[row / stretch].1).collect();
            let scores: Vec<f64> =
                rows.iter().enumerate().map(|(n, (score, _))| f64::from(*score) + 1e-3 * (n % 5) as f64).collect();
            prop_assume!(labels.contains(&true));
            let got = vus_pr(&scores, &labels, buffer).unwrap();
            let expected = naive(&scores, &labels, buffer);
            prop_assert!((got - expected).abs() < 1e-9, "{} instead of {}", got, expected);
        }
    }
}
