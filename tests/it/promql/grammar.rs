//! Expressions drawn from a typed grammar: whatever comes out is valid, ends as one value per host and nearly always has one.
//!
//! Not drawn, because rounding alone may decide them and both sides round in their own order: steps (`floor`, `%`) and equality of
//! computed numbers, `topk` among equals, the deviation of what should be equal.

use super::draw::Draw;

/// How deep operators nest.
const DEPTH: u32 = 4;

/// The label that the elements of a vector differ in, beside `instance` and `job`.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// `part`
    Part,
    /// `code` and `method`
    Requests,
    /// One element.
    Nothing,
}

const RANGES: &[&str] = &["37s", "1m", "90s", "2m", "5m", "10m", "1h"];

/// `n` different expressions.
pub(super) fn expressions(n: usize, seed: u64) -> Vec<String> {
    let mut draw = Draw::new(seed);
    let mut all: Vec<String> = Vec::new();
    while all.len() < n {
        let by = draw.one(&[By::Part, By::Part, By::Requests, By::Requests, By::Nothing]);
        let depth = 1 + draw.below(u64::from(DEPTH)) as u32;
        let vector = vector(by, depth, &mut draw);
        let aggregation = draw.one(&["sum", "avg", "min", "max", "count", "quantile"]);
        let expr = aggregate(aggregation, "instance", &vector, &mut draw);
        if !all.contains(&expr) {
            all.push(expr);
        }
    }
    all
}

fn aggregate(aggregation: &str, by: &str, vector: &str, draw: &mut Draw) -> String {
    match aggregation {
        "quantile" => format!("quantile by ({by}) ({}, {vector})", draw.one(&["0.1", "0.5", "0.95"])),
        _ => format!("{aggregation} by ({by}) ({vector})"),
    }
}

fn vector(by: By, depth: u32, draw: &mut Draw) -> String {
    if depth == 0 {
        return selected(by, draw);
    }
    match draw.below(9) {
        0 | 1 => selected(by, draw),
        2 => mapped(&vector(by, depth - 1, draw), draw),
        3 => with_scalar(by, depth, draw),
        4 => with_vector(by, depth, draw),
        5 => filtered(by, depth, draw),
        6 => set_operation(by, depth, draw),
        7 => grouped(by, depth, draw),
        _ => with_one(by, depth, draw),
    }
}

/// The name of a gauge.
fn gauge(by: By, draw: &mut Draw) -> &'static str {
    match by {
        By::Part => draw.one(&["own_temperature", "own_level", "own_whole", "own_temperature{part!=\"c\"}"]),
        By::Requests => draw.one(&["own_requests_total", "own_seconds_total"]),
        By::Nothing => draw.one(&["own_moving", "own_temporary", "node_load1", "own_rare", "own_constant", "own_flag"]),
    }
}

fn counter(by: By, draw: &mut Draw) -> &'static str {
    match by {
        By::Part | By::Requests => draw.one(&["own_requests_total", "own_seconds_total{code!=\"500\"}"]),
        By::Nothing => draw.one(&["node_netstat_Tcp_InSegs", "own_late_total", "node_forks_total"]),
    }
}

/// A selector, plain or over a range.
fn selected(by: By, draw: &mut Draw) -> String {
    let offset = if draw.below(5) == 0 { draw.one(&[" offset 1m", " offset 7m", " offset 50s"]) } else { "" };
    let range = draw.one(RANGES);
    let gauge = gauge(by, draw);
    match draw.below(if by == By::Part { 6 } else { 9 }) {
        0 | 1 => format!("{gauge}{offset}"),
        2 | 3 => {
            let function = draw.one(&["avg", "min", "max", "sum", "count", "last"]);
            format!("{function}_over_time({gauge}[{range}]{offset})")
        }
        4 => format!("quantile_over_time({}, {gauge}[{range}]{offset})", draw.one(&["0.2", "0.5", "0.9"])),
        5 => format!("{}({gauge}[{range}]{offset})", draw.one(&["delta", "idelta", "changes", "deriv"])),
        _ => {
            let function = draw.one(&["rate", "rate", "increase", "irate", "resets"]);
            format!("{function}({}[{range}]{offset})", counter(by, draw))
        }
    }
}

fn mapped(vector: &str, draw: &mut Draw) -> String {
    match draw.below(8) {
        0 => format!("abs({vector})"),
        1 => format!("sqrt(abs({vector}))"),
        2 => format!("ln(abs({vector}) + 1)"),
        3 => format!("log2(2 + abs({vector}))"),
        4 => format!("exp(clamp({vector}, -3, 3))"),
        5 => format!("clamp_max({vector}, 17.3)"),
        6 => format!("clamp_min({vector}, 0.37)"),
        _ => format!("-({vector})"),
    }
}

/// A number that no computed value is likely to hit.
fn odd_number(draw: &mut Draw) -> &'static str {
    draw.one(&["0.7312345", "3.1415927", "11.0000137", "-2.7182818", "55.5000123"])
}

fn with_scalar(by: By, depth: u32, draw: &mut Draw) -> String {
    let vector = vector(by, depth - 1, draw);
    let scalar = match draw.below(5) {
        0 => "scalar(own_moving)",
        1 => "scalar(own_temporary)",
        _ => odd_number(draw),
    };
    match draw.below(7) {
        0 => format!("({vector}) + {scalar}"),
        1 => format!("{scalar} - ({vector})"),
        2 => format!("({vector}) * {scalar}"),
        3 => format!("({vector}) / {scalar}"),
        4 => format!("{scalar} / ({vector})"),
        5 => format!("({vector}) ^ 2"),
        _ => format!("({vector}) > bool {scalar}"),
    }
}

fn with_vector(by: By, depth: u32, draw: &mut Draw) -> String {
    let (left, right) = (vector(by, depth - 1, draw), vector(by, depth - 1, draw));
    let operator = draw.one(&["+", "-", "*", "/"]);
    let matching = match by {
        By::Part => draw.one(&["", "", " on (instance, part)", " ignoring (job)"]),
        By::Requests => draw.one(&["", "", " on (instance, code, method)"]),
        By::Nothing => draw.one(&["", " on (instance)"]),
    };
    format!("({left}) {operator}{matching} ({right})")
}

fn filtered(by: By, depth: u32, draw: &mut Draw) -> String {
    let vector = vector(by, depth - 1, draw);
    let (operator, number) = (draw.one(&[">", "<", ">=", "<="]), odd_number(draw));
    if draw.below(2) == 0 {
        format!("({vector}) {operator} {number}")
    } else {
        format!("{number} {operator} ({vector})")
    }
}

fn set_operation(by: By, depth: u32, draw: &mut Draw) -> String {
    let (left, right) = (vector(by, depth - 1, draw), vector(by, depth - 1, draw));
    format!("({left}) {} ({right})", draw.one(&["and", "or", "unless"]))
}

/// By fewer labels, then spread over all of them again.
fn grouped(by: By, depth: u32, draw: &mut Draw) -> String {
    let (left, right) = (vector(by, depth - 1, draw), vector(by, depth - 1, draw));
    let aggregation = draw.one(&["sum", "avg", "max", "min", "count", "quantile"]);
    let (kept, matching) = match by {
        By::Requests if draw.below(2) == 0 => ("instance, method", "on (instance, method)"),
        By::Part | By::Requests | By::Nothing => ("instance", "on (instance)"),
    };
    let group = aggregate(aggregation, kept, &right, draw);
    format!("({left}) {} {matching} group_left () {group}", draw.one(&["+", "*", "/", "<"]))
}

/// With the only element of another vector.
fn with_one(by: By, depth: u32, draw: &mut Draw) -> String {
    let (many, one) = (vector(by, depth - 1, draw), vector(By::Nothing, depth - 1, draw));
    let operator = draw.one(&["+", "-", "*", "/", ">", "<= bool"]);
    if draw.below(2) == 0 {
        format!("({many}) {operator} on (instance) group_left () ({one})")
    } else {
        format!("({one}) {operator} on (instance) group_right () ({many})")
    }
}
