//! Tests of what is refused, where, and what is said of it; and that no text does harm.

use proptest::prelude::*;

use crate::promql::plan::{FeatureSource, Plan, Spans};

fn check_refused(expr: &str, character: usize, expected: &str) {
    let source = FeatureSource { name: "f", expr, at: "f.yml:3:5" };
    let errors = Plan::compile(&[source], 300_000).expect_err(expr);
    assert_eq!(errors.len(), 1, "{expr}");
    let text = errors[0].to_string();
    assert!(text.starts_with("f.yml:3:5: feature f: ") && text.contains(expected), "{expr}: {text}");
    assert_eq!(errors[0].character.unwrap_or(0), character, "{expr}: {text}");
}

fn check_accepted(expr: &str) -> Plan {
    let source = FeatureSource { name: "f", expr, at: "f.yml:3:5" };
    Plan::compile(&[source], 300_000).unwrap_or_else(|errors| panic!("{expr}: {}", errors[0]))
}

#[test]
fn functions_and_aggregations() {
    check_refused("sum(timestamp(x))", 5, "`timestamp()` is not evaluated: the time of a sample");
    check_refused("sort(x)", 1, "order has no meaning");
    check_refused("1 + label_replace(x, \"a\", \"b\", \"c\", \"d\")", 5, "relabel before sending");
    check_refused("histogram_quantile(0.9, x)", 1, "a ratio of two rate()s");
    check_refused("predict_linear(x[5m], 60)", 1, "deriv(v[d])");
    check_refused("max_of(1, 2)", 1, "experimental");
    check_refused("x - start()", 5, "no query with a start");
    check_refused("rollup_rate(x[5m])", 1, "is no function of PromQL");
    check_refused("RATE(x[5m])", 1, "write rate()");
    check_refused("count_values(\"v\", x)", 1, "count(v == 1)");
    check_refused("COUNT_VALUES by (a) (\"v\", x)", 1, "count(v == 1)");
    check_refused("sum(limitk(2, x))", 5, "use topk() or bottomk()");
    check_refused("limit_ratio(0.5, x)", 1, "aggregate all of them");
    check_refused("quantile_over_time(scalar(y), x[5m])", 1, "must be a constant number");
    check_refused("rate(x)", 1, "expected type matrix");
    check_refused("y + abs(2)", 5, "vector(…) makes a vector of a number");
    check_refused("clamp_min(x, y)", 1, "scalar(…) makes a number of a vector");
    check_refused("rate(sum(x)[5m:1m])", 12, "subqueries are not evaluated");
}

#[test]
fn modifiers() {
    check_refused("x @ 5", 3, "a stream has no fixed time");
    check_refused("x @ end()", 3, "a stream has no fixed time");
    check_refused("rate(x[5m] @ start())", 12, "a stream has no fixed time");
    check_refused("x offset -5m", 3, "looks into the future");
    check_refused("x[5m] offset (5m)", 7, "durations are not computed");
    check_refused("max_over_time(x[1h:5m])", 16, "subqueries are not evaluated");
    check_refused("max_over_time(x[1h:])", 16, "subqueries are not evaluated");
    check_refused("rate(x[5m * 2])", 11, "durations are not computed");
    check_refused("rate(x[step()])", 8, "durations are not computed");
    check_refused("rate(x[Inf])", 8, "durations are not computed");
    check_refused("rate(x[0])", 8, "no duration");
    check_refused("rate(x[1e300])", 8, "no duration");
    check_refused("rate(x[99999999999s])", 8, "no duration");
    check_refused("rate(x[5m1h])", 8, "no duration");
    check_refused("rate(x[5m] smoothed)", 12, "experimental");
    check_refused("x anchored", 3, "experimental");
    check_refused("x[5m]", 2, "is a range");
    check_refused("rate(x[$__rate_interval])", 8, "Grafana variables");
    check_refused("rate(x[$range:1m])", 8, "write [$range]");
    check_refused("rate(x[$ range])", 8, "write [$range]");
    check_refused("rate(x[range])", 8, "`range` is not evaluated");
    check_refused("x offset $range", 10, "Grafana variables");
    check_refused("x > $range", 5, "Grafana variables");
    check_refused("x[$range]", 2, "`x[$range]` is a range");
    check_refused("x{a$=\"b\"}", 0, "is not PromQL");
    check_refused("x > $limit", 5, "Grafana variables");
}

#[test]
fn operators_and_matching() {
    check_refused("sum by (a, __name__) (x)", 12, "use one selector per metric");
    check_refused("x * on (__name__) y", 9, "use one selector per metric");
    check_refused("x * on (a) group_left (__name__) y", 24, "use one selector per metric");
    check_refused("x + fill(0) y", 5, "`fill` is not evaluated");
    check_refused("x{a=\"b\" or c=\"d\"}", 9, "MetricsQL: write a regular expression");
    check_refused("1 > 2", 0, "BOOL");
    check_refused("42", 0, "is the number 42 on every host");
    check_refused("2 * pi()", 0, "on every host");
    check_refused("\"text\"", 0, "is a string");
}

#[test]
fn what_is_no_promql() {
    check_refused("rate(x[5m]) +", 13, "is not PromQL");
    check_refused("x default 0", 3, "MetricsQL");
    check_refused("x y", 3, "is not PromQL");
    check_refused("sum(x) by (a) y", 0, "is not PromQL");
    check_refused("x * on (a) y z", 14, "is not PromQL");
    check_refused("x * / y", 5, "is not PromQL");
    check_refused("sum(x + )", 9, "is not PromQL");
    check_refused("sum by a (x)", 5, "`by` needs its labels in brackets: (a)");
    check_refused("sum(x", 4, "`(` is not closed");
    check_refused("sum(x]", 6, "`]` closes nothing");
    check_refused("x{a=\"b}", 5, "the string that begins here is not closed");
    check_refused("", 0, "is not PromQL");
    check_refused("x{a=~\"(\"}", 0, "illegal regex");
}

#[test]
fn what_is_too_much() {
    check_refused(&format!("x{}", " ".repeat(20_000)), 0, "16384 at most");
    check_refused(&format!("{}x{}", "(".repeat(60), ")".repeat(60)), 51, "nested more than 50 deep");
    check_refused(&format!("x{}", " + x".repeat(300)), 0, "300 operators");
    check_refused(&format!("{}x", "-".repeat(5_000)), 0, "5000 operators");
    check_refused(&format!("x{}", " and x".repeat(300)), 0, "300 operators");
    check_accepted(&format!("{}x{}", "(".repeat(50), ")".repeat(50)));
    check_accepted(&format!("{}x{}{}", "-abs(".repeat(50), ")".repeat(50), " + x".repeat(200)));
    check_accepted(&format!("x{}", " ^ x".repeat(250)));
}

#[test]
fn what_prometheus_takes() {
    check_accepted("rate(x[1h30m])");
    check_accepted("rate((x[5m]))");
    check_accepted("sum(x) BY (a) > BOOL 1 or vector(0)");
    check_accepted("{\"my metric\", \"my label\"=\"y\"}");
    check_accepted("sum by (\"my label\", or) (x{or=\"1\", by=~\"2\"})");
    check_accepted("x{a=~`eth\\d+`}");
    check_accepted("x{a='b'} # a remark with ) and \" in it");
    check_accepted("offset + offset offset 5m");
    check_accepted("x > 1_000");
    check_accepted("sum (x) \n/\n count (x)");
    check_accepted("topk(2, x) * on(a) group_left() y");
    let offsets = |expr: &str| check_accepted(expr).leaves.iter().map(|leaf| leaf.offset_ms).collect::<Vec<i64>>();
    assert_eq!(offsets("x offset 5m + rate(x[5m] offset 1h30m) + x"), [300_000, 5_400_000, 0]);
    assert_eq!(offsets("x offset +90"), [90_000]);
    let spans = Spans { lookback_ms: 300_000, range_ms: 360_000 };
    assert_eq!(check_accepted("rate(x[300] offset 1h)").reach_ms_max(spans), 3_900_000);
    assert_eq!(check_accepted("rate(x[$range] offset 1h) + rate(x[ $range ])").reach_ms_max(spans), 3_960_000);
}

#[test]
fn leaves_are_shared_and_up_is_always_wanted() {
    let exprs = ["rate(x[2m]) / y", "sum(rate(x[2m]))", "rate(x[5m])", "quantile_over_time(0.5, x[5m])", "y offset 5m"];
    let sources = exprs.map(|expr| FeatureSource { name: "f", expr, at: "t" });
    let plan = Plan::compile(&sources, 300_000).unwrap();
    assert_eq!(plan.leaves.len(), 5);
    assert_eq!(plan.metrics, ["up", "x", "y"]);
    assert!(!plan.wants_every_metric());
}

/// Parts that texts of the alphabet of PromQL are drawn from.
const PARTS: &[&str] = &[
    "x",
    "rate",
    "sum",
    "topk",
    "by",
    "on",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "5m",
    "1h",
    "0",
    "1e308",
    "Inf",
    "NaN",
    "9999999999w",
    "offset",
    "@",
    "start",
    "end",
    "bool",
    "and",
    "or",
    "unless",
    "group_left",
    "ignoring",
    "fill",
    "\"a\"",
    "'",
    "`",
    "\\",
    "é",
    "=",
    "=~",
    "!=",
    "!",
    "==",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    ",",
    ":",
    "#",
    "\n",
    " ",
    "$",
    ".",
    "0x",
    "e",
    "scalar",
    "vector",
    "time",
    "quantile_over_time",
    "clamp",
    "absent",
    "\"(\"",
    "\"{3\"",
    "\u{301}",
    "\0",
    "__name__",
];

proptest! {
    #[test]
    fn no_text_panics(parts in prop::collection::vec(prop::sample::select(PARTS), 0..40)) {
        for separator in ["", " "] {
            let expr = parts.join(separator);
            let _ = Plan::compile(&[FeatureSource { name: "f", expr: &expr, at: "t" }], 300_000);
        }
    }

    #[test]
    fn no_string_panics(expr in "\\PC{0,60}") {
        let _ = Plan::compile(&[FeatureSource { name: "f", expr: &expr, at: "t" }], 300_000);
    }
}
