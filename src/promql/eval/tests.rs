//! Each line: an expression over one host's series, and its value as Prometheus gives it. A range function gives the value
//! of the series as it is: those have their own tests.

use super::*;
use crate::promql::plan::{FeatureSource, Plan};
use crate::series::METRIC_NAME;

/// Name, labels, value.
type Series = (&'static str, &'static [(&'static str, &'static str)], f64);

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// 2024-02-29 13:01:01.5, a Thursday.
const T_MS: i64 = 1_709_211_661_500;

const SERIES: &[Series] = &[
    ("cpu", &[("cpu", "0"), ("mode", "idle")], 0.9),
    ("cpu", &[("cpu", "0"), ("mode", "user")], 0.1),
    ("cpu", &[("cpu", "1"), ("mode", "idle")], 0.5),
    ("cpu", &[("cpu", "1"), ("mode", "user")], 0.5),
    ("total", &[], 8.0),
    ("free", &[], 2.0),
    ("zero", &[], 0.0),
    ("half", &[], 0.5),
    ("reads", &[("device", "sda")], 10.0),
    ("reads", &[("device", "sdb")], 30.0),
    ("busy", &[("device", "sda")], 5.0),
    ("busy", &[("device", "sdc")], 7.0),
    ("disk_info", &[("device", "sda"), ("model", "x")], 1.0),
    ("disk_info", &[("device", "sdb"), ("model", "y")], 1.0),
    ("twin_info", &[("device", "sda"), ("slot", "1")], 1.0),
    ("twin_info", &[("device", "sda"), ("slot", "2")], 1.0),
    ("odd", &[("n", "1")], NAN),
    ("odd", &[("n", "2")], 3.0),
    ("odd", &[("n", "3")], -1.0),
    ("huge", &[("n", "1")], 1e308),
    ("huge", &[("n", "2")], 1e308),
    ("uneven", &[("n", "1")], 1e100),
    ("uneven", &[("n", "2")], 1.0),
    ("uneven", &[("n", "3")], -1e100),
    ("poles", &[("n", "1")], INF),
    ("poles", &[("n", "2")], -INF),
    ("stamp", &[], 1_735_689_599.0), // 2024-12-31 23:59:59
    ("void", &[], NAN),
];

fn evaluate(expr: &str) -> Result<Option<f64>, EvalError> {
    let source = FeatureSource { name: "f", expr, at: "test:1:1" };
    let plan = Plan::compile(&[source], 300_000).unwrap_or_else(|errors| panic!("{}", errors[0]));
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
    Evaluation {
        t_ms: T_MS,
        leaves: &leaves,
        incomplete: &[],
        parts: &plan.parts,
        values_of_parts: &mut Vec::new(),
        shared_labels: &Labels::default(),
        sets: &mut sets,
        spare: &mut Vec::new(),
    }
    .value(&plan.features[0])
}

fn check(expr: &str, expected: Option<f64>) {
    let got = evaluate(expr).unwrap();
    assert!(crate::promql::naive::same(got, expected), "{expr}: {got:?} instead of {expected:?}");
}

fn check_error(expr: &str, expected: EvalError) {
    assert_eq!(evaluate(expr), Err(expected), "{expr}");
}

#[test]
fn arithmetic() {
    check("1 - free / total", Some(0.75));
    check("-free", Some(-2.0));
    check("+free", Some(2.0));
    check("2 ^ free", Some(4.0));
    check("-2 ^ free", Some(-4.0)); // a sign binds less than a power
    check("2 ^ 3 ^ free", Some(512.0)); // a power binds to the right
    check("total % 3", Some(2.0));
    check("-total % 3", Some(-2.0));
    check("total % zero", Some(NAN));
    check("total atan2 total", Some(std::f64::consts::FRAC_PI_4));
    check("(1 + 2) * free", Some(6.0));
    check("10 - total - free", Some(0.0));
    check("free / zero", Some(INF));
    check("zero / zero", Some(NAN));
    check("missing / total", None);
    check("total / missing", None);
    check(&format!("free{}", " + free".repeat(250)), Some(502.0));
    check("5m * free", Some(600.0)); // a duration is its seconds
    check("0x10 + free", Some(18.0));
    check("1e-1 * free", Some(0.2));
    check("Inf * free", Some(INF));
}

#[test]
fn functions() {
    check("abs(free - total)", Some(6.0));
    check("ceil(half) + floor(half)", Some(1.0));
    check("round(half)", Some(1.0)); // ties go up
    check("round(-half)", Some(0.0));
    check("round(total, 5)", Some(10.0));
    check("round(total, 0.3)", Some(8.1));
    check("round(total, scalar(free) + 1)", Some(9.0));
    check("sqrt(free * total)", Some(4.0));
    check("sqrt(-free)", Some(NAN));
    check("exp(zero)", Some(1.0));
    check("ln(exp(free))", Some(2.0));
    check("ln(zero)", Some(-INF));
    check("log2(total)", Some(3.0));
    check("log10(total * 125)", Some(3.0));
    check("log2(total) == 3", Some(3.0));
    check("log10(total / 80) == -1", None); // Go is one bit off
    check("log2(-free)", Some(NAN));
    check("log10(zero)", Some(-INF));
    check("sgn(-free)", Some(-1.0));
    check("sgn(total) + sgn(zero)", Some(1.0));
    check("sgn(void)", Some(NAN));
    check("sin(zero) + cos(zero) + tan(zero)", Some(1.0));
    check("asin(half) + acos(half)", Some(std::f64::consts::FRAC_PI_2));
    check("atan(free / free)", Some(std::f64::consts::FRAC_PI_4));
    check("asinh(sinh(free)) + acosh(cosh(free)) + atanh(tanh(half))", Some(4.5));
    check("deg(free) * pi() / 180", Some(2.0));
    check("rad(free * 90)", Some(std::f64::consts::PI));
    check("acosh(half)", Some(NAN));
    check("max(asinh(huge) - acosh(huge))", Some(0.0));
    check("min(asinh(-huge))", Some(-(1e308f64.ln() + std::f64::consts::LN_2)));
    check("sinh(free * 355.1)", Some(INF));
    check("cosh(-free * 11)", Some(22f64.exp() / 2.0));
    check("sinh(-zero - Inf)", Some(-INF));
}

#[test]
fn clamps() {
    check("clamp(total, 1, 5)", Some(5.0));
    check("clamp(total, 10, 12)", Some(10.0));
    check("clamp_min(free, 3)", Some(3.0));
    check("clamp_max(free, 1)", Some(1.0));
    check("clamp(total, 5, 1)", None);
    check("clamp_max(total, scalar(free))", Some(2.0));
    check("clamp_max(total, scalar(missing))", Some(NAN));
    check("clamp(void, 1, 2)", Some(NAN));
}

#[test]
fn numbers_of_time_and_data() {
    check("time()", Some(1_709_211_661.5));
    check("time() - 1700000000", Some(9_211_661.5));
    check("vector(1)", Some(1.0));
    check("vector(time()) - free", Some(1_709_211_659.5));
    check("scalar(free)", Some(2.0));
    check("scalar(missing)", Some(NAN));
    check("scalar(reads)", Some(NAN));
    check("-scalar(free) + 1", Some(-1.0));
    check("scalar(free) > bool 1", Some(1.0));
    check("vector(scalar(free) <= bool 1)", Some(0.0));
    check("free * scalar(total)", Some(16.0));
    check("scalar(total) - free", Some(6.0));
    check("total > scalar(free)", Some(8.0));
    check("pi() * free / pi()", Some(2.0));
    check("absent(free)", None);
    check("absent(missing)", Some(1.0));
    check("absent(missing{a=\"b\"}) * on (a) absent(missing{a=\"b\", c!=\"d\"})", Some(1.0));
    check("absent(missing{a=\"b\"}) * absent(missing)", None);
    check("absent(sum(missing))", Some(1.0));
    check("sum(missing) or vector(0)", Some(0.0));
}

#[test]
fn dates() {
    check("minute()", Some(1.0));
    check("hour()", Some(13.0));
    check("day_of_week()", Some(4.0));
    check("day_of_month()", Some(29.0));
    check("day_of_year()", Some(60.0));
    check("days_in_month()", Some(29.0));
    check("month()", Some(2.0));
    check("year()", Some(2024.0));
    check("minute(stamp)", Some(59.0));
    check("hour(stamp)", Some(23.0));
    check("day_of_week(stamp)", Some(2.0));
    check("day_of_month(stamp)", Some(31.0));
    check("day_of_year(stamp)", Some(366.0));
    check("days_in_month(stamp)", Some(31.0));
    check("month(stamp)", Some(12.0));
    check("year(vector(time()))", Some(2024.0));
    check("sin(2 * pi() * hour() / 24)", Some((std::f64::consts::TAU * 13.0 / 24.0).sin()));
    check("hour(missing)", None);
}

#[test]
fn comparisons() {
    check("total > 5", Some(8.0));
    check("total < 5", None);
    check("5 < total", Some(8.0)); // the vector's value on either side
    check("5 > total", None);
    check("total > bool 5", Some(1.0));
    check("5 > bool total", Some(0.0));
    check("total == 8", Some(8.0));
    check("total != 8", None);
    check("total >= 8", Some(8.0));
    check("total <= 7", None);
    check("void == void", None);
    check("void != void", Some(NAN));
    check("void == bool void", Some(0.0));
    check("void > 0", None);
    check("total > free", Some(8.0));
    check("free > total", None);
    check("free > bool total", Some(0.0));
    check("sum(reads > 20)", Some(30.0));
    check("count(reads > bool 20)", Some(2.0));
    check("sum(reads > busy)", Some(10.0));
    check("(reads > 20) - 1", Some(29.0));
}

#[test]
fn aggregation() {
    check(r#"1 - avg by (instance) (cpu{mode="idle"})"#, Some(0.3));
    check("sum(reads)", Some(40.0));
    check("SUM(reads)", Some(40.0));
    check("max by (instance) (reads)", Some(30.0));
    check("min without (device) (reads)", Some(10.0));
    check("count by (instance) (count by (instance, cpu) (cpu))", Some(2.0));
    check("max(sum by (cpu) (cpu))", Some(1.0));
    check("max by (instance) (sum by (instance, mode) (cpu))", Some(1.4));
    check("sum(sum without (cpu) (cpu))", Some(2.0));
    check("max(odd)", Some(3.0));
    check("min(odd)", Some(-1.0));
    check("min(odd > 10)", None);
    check("max(void)", Some(NAN));
    check("sum(odd)", Some(NAN));
    check("sum(missing)", None);
    check("count(odd)", Some(3.0));
    check("group(reads)", Some(1.0));
    check("sum(group by (device) (reads))", Some(2.0));
    check("stddev(reads)", Some(10.0));
    check("stdvar(reads)", Some(100.0));
    check("stddev(free)", Some(0.0));
    check("stddev(odd)", Some(NAN));
    check("stdvar(poles)", Some(NAN));
    check("avg(huge)", Some(1e308)); // no overflow
    check("sum(huge)", Some(INF));
    check("sum(uneven)", Some(1.0)); // nothing lost to rounding
    check("avg(uneven)", Some(1.0 / 3.0));
    check("sum(poles)", Some(NAN));
    check("avg(poles)", Some(NAN));
}

#[test]
fn ranked() {
    check("topk(1, reads)", Some(30.0));
    check("bottomk(1, reads)", Some(10.0));
    check("sum(topk(3, cpu))", Some(1.9));
    check("sum(topk by (mode) (1, cpu))", Some(1.4));
    check("sum(bottomk without (cpu) (1, cpu))", Some(0.6));
    check("topk(1, odd)", Some(3.0)); // NaN comes last in both
    check("bottomk(1, odd)", Some(-1.0));
    check("count(topk(3, odd))", Some(3.0));
    check("count(topk(9, odd))", Some(3.0));
    check("count(topk(2.9, odd))", Some(2.0));
    check("topk(0, reads)", None);
    check("topk(-1, reads)", None);
    check("count(topk(scalar(free), odd))", Some(2.0));
    check_error("topk(scalar(missing), reads)", EvalError::BadParameter);
    check_error("topk(Inf, reads)", EvalError::BadParameter);
    check_error("topk(2, reads)", EvalError::ManyValues);
    check("quantile(0.5, reads)", Some(20.0));
    check("quantile(0, cpu)", Some(0.1));
    check("quantile(1, cpu)", Some(0.9));
    check("quantile(0.25, cpu)", Some(0.4));
    check("sum(quantile by (mode) (0.5, cpu))", Some(1.0));
    check("quantile(0.5, odd)", Some(-1.0)); // NaN is the smallest
    check("quantile(0, odd)", Some(NAN));
    check("quantile(-1, reads)", Some(-INF));
    check("quantile(2, reads)", Some(INF));
    check("quantile(scalar(missing), reads)", Some(NAN));
}

#[test]
fn one_to_one() {
    check("sum(busy / reads)", Some(0.5)); // only sda has both
    check("sum(busy / on (device) reads)", Some(0.5));
    check("sum(busy / on (instance, device) reads)", Some(0.5));
    check(r#"sum(cpu{mode="idle"} - ignoring (mode) cpu{mode="user"})"#, Some(0.8));
    check(r#"sum by (cpu) (cpu{cpu="0"}) - on (cpu) cpu{mode="idle"}"#, Some(0.1));
    check(r#"count(cpu{mode="idle"} > ignoring (mode) cpu{mode="user"})"#, Some(1.0));
    check("missing / on () reads", None);
    check("(missing / on () reads) or total", Some(8.0));
    check("total * on () free", Some(16.0));
    check_error("reads", EvalError::ManyValues);
    check_error("sum(busy / on () reads)", EvalError::ManyToMany);
    check_error("free / on () reads", EvalError::ManyToMany);
    check_error("reads / on () free", EvalError::ManyToMany);
    check_error("reads > on () total", EvalError::ManyToMany); // even where all but one would be dropped
    check_error("sum(reads / on (device) twin_info)", EvalError::ManyToMany);
}

#[test]
fn many_to_one() {
    check("sum(reads / on () group_left total)", Some(5.0));
    check("sum(total / on () group_right reads)", Some(8.0 / 10.0 + 8.0 / 30.0));
    check(r#"sum(reads * on (device) group_left (model) disk_info{model="x"})"#, Some(10.0));
    check("count(count by (model) (reads * on (device) group_left (model) disk_info))", Some(2.0));
    check("count(count by (model) (reads * on (device) group_left (instance) disk_info))", Some(1.0));
    check("count(count by (model) (reads * on (device) group_left disk_info))", Some(1.0));
    check("count(count by (slot) (reads * on (device) group_right twin_info))", Some(2.0));
    check("sum(cpu / ignoring (mode) group_left sum without (mode) (cpu))", Some(2.0));
    check("sum(cpu > on () group_left half)", Some(0.9));
    check("sum(half < on () group_right cpu)", Some(0.5)); // the left value, for each match
    check("sum(cpu >= bool on () group_left half)", Some(3.0));
    check("reads / on () group_left missing", None);
    check_error("sum(reads / on (device) group_left twin_info)", EvalError::ManyToMany);
    // `reads` has no slot, so the results would have none either.
    check_error("sum(reads * on (device) group_right (slot) twin_info)", EvalError::ManyToMany);
    check_error("sum(free / on () group_left reads)", EvalError::ManyToMany);
    check_error("sum(twin_info * on (device) group_left (slot) reads)", EvalError::ManyToMany);
}

#[test]
fn sets() {
    check("max(reads or busy)", Some(30.0));
    check("count(reads or busy)", Some(3.0)); // sdc has no reads
    check("missing or free", Some(2.0));
    check("free or missing", Some(2.0));
    check("count(reads or on () busy)", Some(2.0));
    check("sum(reads and busy)", Some(10.0));
    check("count(reads and on () total)", Some(2.0));
    check("reads and missing", None);
    check("sum(reads unless busy)", Some(30.0));
    check("reads unless on () total", None);
    check("sum(reads unless missing)", Some(40.0));
    check("free and total > 5", Some(2.0)); // a comparison binds tighter
    check("free and total > 9", None);
    check("count(cpu and ignoring (mode) cpu{mode=\"idle\", cpu=\"1\"})", Some(2.0));
}

#[test]
fn names() {
    check(r#"sum({__name__=~"total|free"})"#, Some(10.0));
    check(r#"count({__name__=~"total|free"} > 1)"#, Some(2.0));
    check(r#"sum(topk(2, {__name__=~"total|free|zero"}))"#, Some(10.0));
    check(r#"sum(last_over_time({__name__=~"total|free"}[5m]))"#, Some(10.0));
    check(r#"abs({__name__="free"})"#, Some(2.0));
    check(r#"sum(rate({__name__=~"free|reads"}[5m]))"#, Some(42.0));
    check("count(total or on (x) free)", Some(1.0));
    check(r#"sum({__name__=~"total|free"} > on () group_left half)"#, Some(10.0));
    check_error(r#"abs({__name__=~"total|free"} > on () group_left half)"#, EvalError::SameLabels);
    check_error(r#"sum({__name__=~"total|free"} * on () group_left half)"#, EvalError::ManyToMany);
    check_error(r#"{__name__=~"total|free"}"#, EvalError::ManyValues);
    check_error(r#"sum(abs({__name__=~"total|free"}))"#, EvalError::SameLabels);
    check_error(r#"sum(-{__name__=~"total|free"})"#, EvalError::SameLabels);
    check_error(r#"sum({__name__=~"total|free"} + 1)"#, EvalError::SameLabels);
    check_error(r#"sum({__name__=~"total|free"} > bool 1)"#, EvalError::SameLabels);
    check_error(r#"sum(rate({__name__=~"total|free"}[5m]))"#, EvalError::SameLabels);
    check_error(r#"sum(hour({__name__=~"total|free"}))"#, EvalError::SameLabels);
    check_error(r#"total / {__name__=~"total|free"}"#, EvalError::ManyToMany);
}

#[test]
fn nothing_is_allocated_for_vectors_once_warm() {
    let expr = "sum(topk(2, reads) / on (device) group_left (model) disk_info) + count(cpu and cpu > 0.2) + absent(missing) + count(cpu > 0.2)";
    let plan = Plan::compile(&[FeatureSource { name: "f", expr, at: "t" }], 300_000).unwrap();
    let mut sets = LabelSets::new(plan.groupings.clone());
    let leaves = vec![Vector::new(); plan.leaves.len()];
    assert!(!plan.parts.is_empty());
    let (mut spare, mut values_of_parts) = (Vec::new(), Vec::new());
    let mut run = |spare: &mut Vec<Vector>| {
        Evaluation {
            t_ms: T_MS,
            leaves: &leaves,
            incomplete: &[],
            parts: &plan.parts,
            values_of_parts: &mut values_of_parts,
            shared_labels: &Labels::default(),
            sets: &mut sets,
            spare,
        }
        .value(&plan.features[0])
        .unwrap();
        give_back_parts(&mut values_of_parts, spare);
        spare.len()
    };
    let warm = run(&mut spare);
    assert!(warm > 0);
    assert_eq!(run(&mut spare), warm, "every vector that was taken is given back, and none beside");
}
