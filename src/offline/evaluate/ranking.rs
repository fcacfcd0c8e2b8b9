//! Quality of the ranking of rows by scores: average precision and the best F1, by row and without adjusting points.

/// Rows at or over one threshold.
struct Cut {
    /// Rows.
    n_rows: usize,
    /// Labelled rows.
    n_hits: usize,
    /// Labelled rows that the threshold before didn't have.
    n_new_hits: usize,
}

/// The cuts at every score from the highest on, equal scores at once.
fn cuts(scores: &[f64], labels: &[bool]) -> Vec<Cut> {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut n_rows, mut n_hits) = (0, 0);
    let cut = |equal: &[(f64, bool)]| {
        let n_new_hits = equal.iter().filter(|(_, label)| *label).count();
        n_rows += equal.len();
        n_hits += n_new_hits;
        Cut { n_rows, n_hits, n_new_hits }
    };
    ranked.chunk_by(|a, b| a.0 == b.0).map(cut).collect()
}

/// Area under the precision-recall curve as average precision: `Σ (recallₙ - recallₙ₋₁) · precisionₙ` over falling scores. `None`
/// without a labelled row.
#[must_use]
pub fn average_precision(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let n_labelled = labels.iter().filter(|label| **label).count();
    let area = |cut: &Cut| cut.n_new_hits as f64 * cut.n_hits as f64 / cut.n_rows as f64;
    (n_labelled > 0).then(|| cuts(scores, labels).iter().map(area).sum::<f64>() / n_labelled as f64)
}

/// The highest F1 that any threshold reaches: what an oracle would choose, never what a rule finds. `None` without a labelled row.
#[must_use]
pub fn best_f1(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let n_labelled = labels.iter().filter(|label| **label).count();
    let f1 = |cut: &Cut| 2.0 * cut.n_hits as f64 / (cut.n_rows + n_labelled) as f64;
    (n_labelled > 0).then(|| cuts(scores, labels).iter().map(f1).fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scores: &[f64], labels: &[u8], precision: f64, f1: f64) {
        let labels: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
        let close = |got: Option<f64>, expected: f64| (got.unwrap() - expected).abs() < 1e-12;
        assert!(close(average_precision(scores, &labels), precision), "{:?}", average_precision(scores, &labels));
        assert!(close(best_f1(scores, &labels), f1), "{:?}", best_f1(scores, &labels));
    }

    #[test]
    fn known_rankings() {
        check(&[0.9, 0.8, 0.2, 0.1], &[1, 1, 0, 0], 1.0, 1.0);
        // ½ · ½ + ½ · 2/4; the best threshold takes all four: precision ½, recall 1.
        check(&[0.9, 0.8, 0.2, 0.1], &[0, 1, 0, 1], 0.5, 2.0 / 3.0);
        // The example of scikit-learn's documentation: ½ · 1 + ½ · 2/3; three rows hold both: 2 · (2/3 · 1) / (2/3 + 1).
        check(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1], 0.5 + 1.0 / 3.0, 0.8);
        // One threshold for all: precision 2/8, recall 1.
        check(&[0.5; 8], &[0, 1, 0, 0, 0, 0, 0, 1], 0.25, 0.4);
    }

    #[test]
    fn nothing_to_find_has_no_number() {
        assert_eq!((average_precision(&[1.0], &[false]), best_f1(&[], &[])), (None, None));
    }
}
