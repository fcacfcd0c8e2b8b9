//! Compares rows with answers and reports every difference of a case together.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::reference::Answer;

/// Differences shown; the rest is counted.
const SHOWN_MAX: usize = 20;

/// Of a finite number that must count as the same.
const TOLERANCE: f64 = 1e-9;

/// Everything that was compared.
#[derive(Default)]
pub(crate) struct Comparison {
    /// The first difference of each expression.
    differences: Vec<String>,
    /// Differences per expression.
    n_differences: BTreeMap<String, u64>,
    /// Finite numbers that Prometheus gave, per expression.
    n_finite: BTreeMap<String, u64>,
}

impl Comparison {
    /// Takes the values of one expression and host, `ours` with NaN where masked.
    pub(crate) fn add(&mut self, place: &str, expr: &str, times_ms: &[i64], ours: &[f64], theirs: &Answer) {
        let n_finite = theirs.iter().filter(|value| value.is_some()).count();
        *self.n_finite.entry(expr.to_owned()).or_default() += n_finite as u64;
        assert_eq!(ours.len(), theirs.len(), "{place} {expr}");
        let mut n = 0;
        for ((t_ms, &ours), &theirs) in times_ms.iter().zip(ours).zip(theirs) {
            if is_same(ours, theirs) {
                continue;
            }
            n += 1;
            if n == 1 && !self.n_differences.contains_key(expr) {
                let theirs = theirs.map_or("nothing".to_owned(), |value| format!("{value:?}"));
                let row = (t_ms - times_ms[0]) / (times_ms[1] - times_ms[0]);
                self.differences
                    .push(format!("{place}, row {row} at {t_ms}: {expr}\n    ours {ours:?}, Prometheus {theirs}"));
            }
        }
        if n > 0 {
            *self.n_differences.entry(expr.to_owned()).or_default() += n;
        }
    }

    /// Fails on any difference, and where an expression was answered with fewer than `n_finite_min` numbers, so that nothing was
    /// really compared. `never_answers` are those that are known for it; they must give none at all. Of the `drawn` ones, which
    /// nobody looked at, half must be answered.
    pub(crate) fn check(&self, refused: &[String], n_finite_min: u64, never_answers: &[&str], drawn: &[String]) {
        let mut faults = String::new();
        for refusal in refused {
            let _ = writeln!(faults, "refused: {refusal}");
        }
        let is_answered = |n: u64| n >= n_finite_min;
        for (expr, &n) in self.n_finite.iter().filter(|(expr, _)| !drawn.contains(expr)) {
            if if never_answers.contains(&expr.as_str()) { n > 0 } else { !is_answered(n) } {
                let _ = writeln!(faults, "Prometheus answers {n} numbers: {expr}");
            }
        }
        let n_answered = drawn.iter().filter(|expr| self.n_finite.get(*expr).copied().is_some_and(is_answered)).count();
        if n_answered * 2 < drawn.len() {
            let _ = writeln!(faults, "Prometheus answers {n_answered} of {} drawn expressions", drawn.len());
        }
        for difference in self.differences.iter().take(SHOWN_MAX) {
            let _ = writeln!(faults, "{difference}");
        }
        if !self.n_differences.is_empty() {
            let _ = writeln!(faults, "differences by expression:");
            for (expr, n) in &self.n_differences {
                let _ = writeln!(faults, "{n:>6} of {:>6} {expr}", self.n_finite[expr]);
            }
        }
        assert!(faults.is_empty(), "\n{faults}");
    }
}

/// Whether a feature's value is the number that Prometheus gives, masked where it gives none.
fn is_same(ours: f64, theirs: Option<f64>) -> bool {
    match theirs {
        None => ours.is_nan(),
        Some(theirs) => (ours - theirs).abs() <= TOLERANCE * theirs.abs(),
    }
}

#[test]
fn a_difference_is_one() {
    let check = |ours: f64, theirs: Option<f64>, expected: bool| {
        assert_eq!(is_same(ours, theirs), expected, "{ours} and {theirs:?}");
    };
    check(1.0, Some(1.0 + 1e-10), true);
    check(1.0, Some(1.0 + 1e-8), false);
    check(-0.0, Some(0.0), true);
    check(1e-300, Some(0.0), false);
    check(f64::NAN, None, true);
    check(f64::NAN, Some(1.0), false);
    check(1.0, None, false);
    check(0.0, None, false);
}
