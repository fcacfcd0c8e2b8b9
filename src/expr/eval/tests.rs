//! Each line: an expression over one host's series, and its value as Prometheus gives it.

use super::*;
use crate::expr::plan::{FeatureSource, Plan};
use crate::series::{Labels, METRIC_NAME};

/// Name, labels, value.
type Series = (&'static str, &'static [(&'static str, &'static str)], f64);

const SERIES: &[Series] = &[
    ("cpu", &[("cpu", "0"), ("mode", "idle")], 0.9),
    ("cpu", &[("cpu", "0"), ("mode", "user")], 0.1),
    ("cpu", &[("cpu", "1"), ("mode", "idle")], 0.5),
    ("cpu", &[("cpu", "1"), ("mode", "user")], 0.5),
    ("total", &[], 8.0),
    ("free", &[], 2.0),
    ("zero", &[], 0.0),
    ("reads", &[("device", "sda")], 10.0),
    ("reads", &[("device", "sdb")], 30.0),
    ("time", &[("device", "sda")], 5.0),
    ("time", &[("device", "sdc")], 7.0),
    ("odd", &[("n", "1")], f64::NAN),
    ("odd", &[("n", "2")], 3.0),
];

fn evaluate(expr: &str) -> Result<Option<f64>, EvalError> {
    let source = FeatureSource { name: "f", expr, at: "test:1:1" };
    let plan = Plan::compile(&[source], "instance", 300_000).unwrap();
    let mut sets = LabelSets::new(plan.groupings.clone());
    let mut leaves = Vec::new();
    for leaf in &plan.leaves {
        let mut vector = Vector::new();
        for (metric, labels, value) in SERIES {
            let mut all = vec![(METRIC_NAME, *metric), ("instance", "a")];
            all.extend_from_slice(labels);
            if leaf.selector.is_match(&all) {
                let labels = sets.intern(Labels::from_pairs(labels.iter().copied()));
                vector.push(Element { labels, value: *value });
            }
        }
        leaves.push(vector);
    }
    Evaluation { t_ms: 0, leaves: &leaves, sets: &mut sets, spare: &mut Vec::new() }.value(&plan.features[0])
}

fn check(expr: &str, expected: Option<f64>) {
    let got = evaluate(expr).unwrap();
    assert!(crate::expr::naive::same(got, expected), "{expr}: {got:?} instead of {expected:?}");
}

fn check_error(expr: &str, expected: EvalError) {
    assert_eq!(evaluate(expr), Err(expected), "{expr}");
}

#[test]
fn arithmetic() {
    check("1 - free / total", Some(0.75));
    check("-free", Some(-2.0));
    check("2 ^ free", Some(4.0));
    check("total % 3", Some(2.0));
    check("(1 + 2) * free", Some(6.0));
    check("free / zero", Some(f64::INFINITY));
    check("zero / zero", Some(f64::NAN));
    check("missing / total", None);
    check("abs(free - total)", Some(6.0));
    check("sqrt(free * total)", Some(4.0));
    check("clamp(total, 1, 5)", Some(5.0));
    check("clamp_min(free, 3)", Some(3.0));
    check("clamp_max(free, 1)", Some(1.0));
    check("clamp(total, 5, 1)", None);
}

#[test]
fn aggregation() {
    check(r#"1 - avg by (instance) (cpu{mode="idle"})"#, Some(0.3));
    check("sum(reads)", Some(40.0));
    check("max by (instance) (reads)", Some(30.0));
    check("min without (device) (reads)", Some(10.0));
    check("count by (instance) (count by (instance, cpu) (cpu))", Some(2.0));
    check("max(sum by (cpu) (cpu))", Some(1.0));
    check("max(odd)", Some(3.0));
    check("min(odd)", Some(3.0));
    check("sum(odd)", Some(f64::NAN));
    check("sum(missing)", None);
}

#[test]
fn matching() {
    check("sum(time / reads)", Some(0.5)); // only sda has both
    check("sum(time / on (device) reads)", Some(0.5));
    check("max(reads or time)", Some(30.0));
    check("count(reads or time)", Some(3.0)); // sdc has no reads
    check("missing or free", Some(2.0));
    check(r#"sum(cpu{mode="idle"} - ignoring (mode) cpu{mode="user"})"#, Some(0.8));
    check("(missing / on () reads) or total", Some(8.0));
    check_error("reads", EvalError::ManyValues);
    check_error("sum(time / on () reads)", EvalError::ManyToMany);
    check_error("free / on () reads", EvalError::ManyToMany);
}

fn check_refused(expr: &str, expected: &str) {
    let source = FeatureSource { name: "f", expr, at: "f.yml:3:5" };
    let errors = Plan::compile(&[source], "instance", 300_000).unwrap_err();
    assert_eq!(errors.len(), 1, "{expr}");
    let text = errors[0].to_string();
    assert!(text.starts_with("f.yml:3:5: feature f: ") && text.contains(expected), "{expr}: {text}");
}

#[test]
fn what_is_not_evaluated_is_refused_with_the_construct() {
    check_refused("rate(x[5m]) +", "is not PromQL");
    check_refused("x default 0", "MetricsQL");
    check_refused("rate(x[$__rate_interval])", "Grafana variables");
    check_refused("42", "is the number 42 on every host");
    check_refused("x[5m]", "is a range");
    check_refused("rate(sum(x)[5m:1m])", "a range such as `[2m]` on a plain selector");
    check_refused("x offset 5m", "offset is not evaluated");
    check_refused("x @ 5", "@ modifier");
    check_refused("topk(1, x)", "`topk` is not evaluated");
    check_refused("sum by (__name__) (x)", "__name__");
    check_refused("x > 1", "`>`");
    check_refused("x * on (a) group_left y", "group_left");
    check_refused("histogram_quantile(0.9, x)", "`histogram_quantile()` is not evaluated");
}

#[test]
fn leaves_are_shared_and_up_is_always_wanted() {
    let sources =
        ["rate(x[2m]) / y", "sum(rate(x[2m]))", "rate(x[5m])"].map(|expr| FeatureSource { name: "f", expr, at: "t" });
    let plan = Plan::compile(&sources, "instance", 300_000).unwrap();
    assert_eq!(plan.leaves.len(), 3);
    assert_eq!(plan.metrics, ["up", "x", "y"]);
    assert!(!plan.wants_every_metric());
}
