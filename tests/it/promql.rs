//! Features are what Prometheus answers: the same remote write bodies go to outlierd and to Prometheus 3, and every row is
//! compared with the answer to a range query at its time.
//!
//! Twice: with answers that were recorded, so that it needs nothing, and live, with more. How: tests/peers/README.md.

mod case;
pub(crate) mod comparison;
mod documentation;
mod draw;
mod expressions;
mod grammar;
mod ours;
mod recorded;
pub(crate) mod reference;
mod series;

use std::path::Path;
use std::sync::OnceLock;

use outlierd::config::Config;

use self::case::{Body, Case, HOSTS, LONG, SPARSE};
use self::comparison::Comparison;
use self::expressions::{FUNCTIONS, NEVER, SEMANTICS};
use self::ours::Rows;
use self::reference::Reference;

/// Expressions drawn from the grammar for each case.
const N_DRAWN: usize = 150;

/// Numbers that each expression must have been compared in.
const N_FINITE_MIN: u64 = 20;

#[test]
fn rows_are_what_prometheus_answered() {
    let bodies = bodies(&LONG);
    let exprs = by_hand();
    let (known, refused) = compiled(&exprs);
    let rows = ours::rows(&LONG, &bodies, &known);
    let mut comparison = Comparison::default();
    for recorded in recorded::parse(fixture(), &bodies, &exprs) {
        let Some(feature) = known.iter().position(|expr| *expr == recorded.expr) else { continue };
        let rows = &rows[recorded.host];
        let values = column(rows, feature);
        comparison.add(HOSTS[recorded.host], &recorded.expr, &rows.times_ms, &values, &recorded.answer);
    }
    comparison.check(&refused, N_FINITE_MIN / 5, NEVER, &[]);
}

#[test]
fn rows_are_what_prometheus_answers_live() {
    let Some(program) = reference::program() else { return };
    let mut comparison = Comparison::default();
    let (mut all_refused, mut all_drawn) = (Vec::new(), Vec::new());
    for (case, seed) in [(&LONG, 1), (&SPARSE, 2)] {
        let mut exprs = by_hand();
        // The placeholder is compared in `senders`.
        exprs.extend(Config::default().features.into_iter().map(|feature| feature.expr.replace("$range", "2m")));
        let drawn = grammar::expressions(N_DRAWN, seed);
        exprs.extend(drawn.iter().cloned());
        all_drawn.extend(drawn);
        let bodies = bodies(case);
        let (known, refused) = compiled(&exprs);
        let rows = ours::rows(case, &bodies, &known);
        let reference = started(&program, case, &bodies);
        for expr in &exprs {
            assert_eq!(reference.parse_error(expr), None, "{expr} is not PromQL");
        }
        if case.name == LONG.name {
            let text = recorded::record(&reference, &bodies, &rows, case.step_ms, &by_hand());
            assert!(text == fixture(), "the recorded answers are not the program's: see tests/peers/README.md");
        }
        for (feature, expr) in known.iter().enumerate() {
            for (host, rows) in HOSTS.iter().zip(&rows) {
                let answer = reference.answer(host, expr, &rows.times_ms, case.step_ms);
                let place = format!("{} case, {host}", case.name);
                comparison.add(&place, expr, &rows.times_ms, &column(rows, feature), &answer);
            }
        }
        all_refused.extend(refused);
    }
    comparison.check(&all_refused, N_FINITE_MIN, NEVER, &all_drawn);
}

/// The committed answers; written anew first where that is asked for.
fn fixture() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        if std::env::var_os("REGENERATE").is_some() {
            let program = reference::program().unwrap();
            let bodies = bodies(&LONG);
            let rows = ours::rows(&LONG, &bodies, &[]);
            let reference = started(&program, &LONG, &bodies);
            recorded::write(&recorded::record(&reference, &bodies, &rows, LONG.step_ms, &by_hand()));
        }
        recorded::read()
    })
}

/// The program, holding `bodies`, each host's in a database of its own.
fn started(program: &Path, case: &Case, bodies: &[Vec<Body>]) -> Reference {
    let reference = Reference::start(program, case.lookback_ms);
    for (host, bodies) in HOSTS.iter().zip(bodies) {
        bodies.iter().for_each(|body| reference.write(host, &body.bytes));
    }
    reference
}

fn bodies(case: &Case) -> Vec<Vec<Body>> {
    (0..HOSTS.len()).map(|host| case.bodies(host)).collect()
}

fn by_hand() -> Vec<String> {
    [NEVER, FUNCTIONS, SEMANTICS].into_iter().flatten().map(|expr| (*expr).to_owned()).collect()
}

/// The expressions that outlierd takes, and those that it refuses with the reason.
fn compiled(exprs: &[String]) -> (Vec<String>, Vec<String>) {
    let mut known = Vec::new();
    let mut refused = Vec::new();
    for expr in exprs {
        match ours::refusal(expr) {
            None => known.push(expr.clone()),
            Some(reason) => refused.push(format!("{expr}: {reason}")),
        }
    }
    (known, refused)
}

/// All values of one feature.
fn column(rows: &Rows, feature: usize) -> Vec<f64> {
    rows.values.iter().map(|values| values[feature]).collect()
}
