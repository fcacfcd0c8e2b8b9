//! `docs/promql.md`, written from the tables that `parse` decides by, so that it can't say anything else.

use std::fmt::Write as _;

use super::vocabulary::{AGGREGATIONS, FUNCTIONS, Function, Grouped, MODIFIERS, OPERATORS};

const HEAD: &str = "\
# PromQL: what is evaluated

Written by the tests from the tables in `src/promql/vocabulary.rs`; change those, then run
`REGENERATE=1 cargo test --test it promql`.

A feature is an expression of PromQL as Prometheus 3 defines it, with its rules for lookback, left-open ranges, extrapolation,
counter resets, stale markers, NaN and matching. Whatever is refused below is refused when the configuration is read, with the
construct and its place. What differs from a query:

- An expression is evaluated for each host over that host's series alone. So `sum(x)` is the sum of one host, as
  `sum by (instance) (x)` is, and nothing can be compared with another host.
- An expression must give at most one value per host. More than one is an error, as is what Prometheus refuses while it
  evaluates: the feature is missing in that row, and `outlierd_feature_errors_total` counts it with its reason
  (`many_values`, `many_to_many`, `two_senders`, `same_labels`, `bad_parameter`; `counter_fell_back` where a feature has `bounds` and
  depends on a counter that had a wrong value; `samples_not_kept` where `limits.samples_per_host` was reached;
  `just_begun` where a reload brought it and its range has not been seen yet).
- Native histograms are not read.
- An expression has at most 16 KiB, 250 operators and brackets 50 deep; a range or offset at most 24 days.
";

/// The text of `docs/promql.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    let functions = FUNCTIONS.iter().map(|(name, arguments, function, remark)| {
        let refused = if let Function::Refused(why) = function { Some(*why) } else { None };
        (format!("`{name}({arguments})`"), refused, *remark)
    });
    table(&mut out, "Functions", functions);
    let aggregations = AGGREGATIONS.iter().map(|(name, arguments, grouped, remark)| {
        let refused = if let Grouped::Refused(why) = grouped { Some(*why) } else { None };
        (format!("`{name}({arguments})`"), refused, *remark)
    });
    table(&mut out, "Aggregations", aggregations);
    table(
        &mut out,
        "Operators and matching",
        OPERATORS.iter().map(|(name, why, remark)| ((*name).to_owned(), *why, *remark)),
    );
    table(&mut out, "Selectors", MODIFIERS.iter().map(|(name, why, remark)| ((*name).to_owned(), *why, *remark)));
    out
}

fn table<'a>(out: &mut String, title: &str, rows: impl Iterator<Item = (String, Option<&'a str>, &'a str)>) {
    let _ = writeln!(out, "\n## {title}\n\n| | evaluated | |\n|---|---|---|");
    for (name, refused, remark) in rows {
        let (evaluated, remark) = refused.map_or(("yes", remark), |why| ("no", why));
        let (name, remark) = (name.replace('|', "\\|"), remark.replace('|', "\\|"));
        let _ = writeln!(out, "| {name} | {evaluated} | {remark} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of promql/parser/functions.go in Prometheus 3.13.
    const PROMETHEUS: &str = "abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp \
        clamp_max clamp_min cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv \
        double_exponential_smoothing end exp first_over_time floor histogram_avg histogram_count histogram_fraction \
        histogram_quantile histogram_quantiles histogram_stddev histogram_stdvar histogram_sum hour idelta increase info irate \
        label_join label_replace last_over_time ln log10 log2 mad_over_time max_of max_over_time min_of min_over_time minute \
        month pi predict_linear present_over_time quantile_over_time rad range rate resets round scalar sgn sin sinh sort \
        sort_by_label sort_by_label_desc sort_desc sqrt start stddev_over_time stdvar_over_time step sum_over_time tan tanh \
        time timestamp ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time vector year";

    #[test]
    fn every_function_of_prometheus_is_listed_in_order() {
        let names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, PROMETHEUS.split_whitespace().collect::<Vec<&str>>());
        assert!(AGGREGATIONS.is_sorted_by_key(|(name, ..)| *name));
    }
}
