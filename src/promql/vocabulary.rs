//! Every function, aggregation, operator and modifier of PromQL, with what becomes of it: the one list that `parse` decides
//! by and that `docs/promql.md` is written from.

use super::program::{Aggregation, DatePart, MapFunction, Order};
use super::range_function::RangeFunction;

/// What becomes of a function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    /// Of a range.
    Range(RangeFunction),
    /// `quantile_over_time`
    QuantileOverTime,
    /// Of each element.
    Map(MapFunction),
    Clamp,
    ClampMin,
    ClampMax,
    Round,
    Vector,
    Scalar,
    Absent,
    Time,
    Pi,
    Date(DatePart),
    /// Refused, and why or what to write instead.
    Refused(&'static str),
}

/// What becomes of an aggregation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Grouped {
    One(Aggregation),
    Quantile,
    Ranked(Order),
    /// Refused, and why or what to write instead.
    Refused(&'static str),
}

const ORDER: &str = "a feature is one number, so order has no meaning: leave it out";
const LABELS: &str = "labels are not rewritten: relabel before sending, or match with on, ignoring and group_left";
const NATIVE: &str = "native histograms are not read";
const BUCKETS: &str =
    "buckets are not read as a histogram: use a ratio of two rate()s, such as sum over count, or one bucket";
const EXPERIMENTAL: &str = "it is experimental in Prometheus";
const STAMPS: &str = "the time of a sample is not a feature: use time(), or changes() to see whether it still moves";
const QUERY: &str = "there is no query with a start and an end: features are evaluated at every step";

/// Name, what stands between its parentheses, what becomes of it, and a remark for the documentation.
pub(super) const FUNCTIONS: &[(&str, &str, Function, &str)] = &[
    ("abs", "v", Function::Map(MapFunction::Abs), ""),
    ("absent", "v", Function::Absent, "for a host that sends something else"),
    ("absent_over_time", "v[d]", Function::Refused("write absent(last_over_time(v[d]))"), ""),
    ("acos", "v", Function::Map(MapFunction::Acos), ""),
    ("acosh", "v", Function::Map(MapFunction::Acosh), ""),
    ("asin", "v", Function::Map(MapFunction::Asin), ""),
    ("asinh", "v", Function::Map(MapFunction::Asinh), ""),
    ("atan", "v", Function::Map(MapFunction::Atan), ""),
    ("atanh", "v", Function::Map(MapFunction::Atanh), ""),
    ("avg_over_time", "v[d]", Function::Range(RangeFunction::Avg), ""),
    ("ceil", "v", Function::Map(MapFunction::Ceil), ""),
    ("changes", "v[d]", Function::Range(RangeFunction::Changes), ""),
    ("clamp", "v, min, max", Function::Clamp, ""),
    ("clamp_max", "v, max", Function::ClampMax, ""),
    ("clamp_min", "v, min", Function::ClampMin, ""),
    ("cos", "v", Function::Map(MapFunction::Cos), ""),
    ("cosh", "v", Function::Map(MapFunction::Cosh), ""),
    ("count_over_time", "v[d]", Function::Range(RangeFunction::Count), ""),
    ("day_of_month", "v=vector(time())", Function::Date(DatePart::DayOfMonth), "UTC; of NaN it is NaN"),
    ("day_of_week", "v=vector(time())", Function::Date(DatePart::DayOfWeek), "UTC, Sunday is 0; of NaN it is NaN"),
    ("day_of_year", "v=vector(time())", Function::Date(DatePart::DayOfYear), "UTC; of NaN it is NaN"),
    ("days_in_month", "v=vector(time())", Function::Date(DatePart::DaysInMonth), "UTC; of NaN it is NaN"),
    ("deg", "v", Function::Map(MapFunction::Deg), ""),
    ("delta", "v[d]", Function::Range(RangeFunction::Delta), ""),
    ("deriv", "v[d]", Function::Range(RangeFunction::Deriv), ""),
    ("double_exponential_smoothing", "v[d], sf, tf", Function::Refused("use avg_over_time() or deriv()"), ""),
    ("end", "", Function::Refused(QUERY), ""),
    ("exp", "v", Function::Map(MapFunction::Exp), ""),
    ("first_over_time", "v[d]", Function::Refused(EXPERIMENTAL), ""),
    ("floor", "v", Function::Map(MapFunction::Floor), ""),
    ("histogram_avg", "v", Function::Refused(NATIVE), ""),
    ("histogram_count", "v", Function::Refused(NATIVE), ""),
    ("histogram_fraction", "a, b, v", Function::Refused(BUCKETS), ""),
    ("histogram_quantile", "φ, v", Function::Refused(BUCKETS), ""),
    ("histogram_quantiles", "v, label, φ, …", Function::Refused(BUCKETS), ""),
    ("histogram_stddev", "v", Function::Refused(NATIVE), ""),
    ("histogram_stdvar", "v", Function::Refused(NATIVE), ""),
    ("histogram_sum", "v", Function::Refused(NATIVE), ""),
    ("hour", "v=vector(time())", Function::Date(DatePart::Hour), "UTC; of NaN it is NaN"),
    ("idelta", "v[d]", Function::Range(RangeFunction::Idelta), ""),
    ("increase", "v[d]", Function::Range(RangeFunction::Increase), ""),
    ("info", "v, l", Function::Refused("write `v * on (…) group_left (…) target_info`"), ""),
    ("irate", "v[d]", Function::Range(RangeFunction::Irate), ""),
    ("label_join", "v, …", Function::Refused(LABELS), ""),
    ("label_replace", "v, …", Function::Refused(LABELS), ""),
    ("last_over_time", "v[d]", Function::Range(RangeFunction::Last), ""),
    ("ln", "v", Function::Map(MapFunction::Ln), ""),
    ("log10", "v", Function::Map(MapFunction::Log10), ""),
    ("log2", "v", Function::Map(MapFunction::Log2), ""),
    ("mad_over_time", "v[d]", Function::Refused("it is experimental in Prometheus: use stddev_over_time()"), ""),
    ("max_of", "a, b", Function::Refused(EXPERIMENTAL), ""),
    ("max_over_time", "v[d]", Function::Range(RangeFunction::Max), ""),
    ("min_of", "a, b", Function::Refused(EXPERIMENTAL), ""),
    ("min_over_time", "v[d]", Function::Range(RangeFunction::Min), ""),
    ("minute", "v=vector(time())", Function::Date(DatePart::Minute), "UTC; of NaN it is NaN"),
    ("month", "v=vector(time())", Function::Date(DatePart::Month), "UTC; of NaN it is NaN"),
    ("pi", "", Function::Pi, ""),
    (
        "predict_linear",
        "v[d], s",
        Function::Refused("write `v + s * deriv(v[d])`, which starts from the newest value"),
        "",
    ),
    ("present_over_time", "v[d]", Function::Range(RangeFunction::Present), ""),
    ("quantile_over_time", "φ, v[d]", Function::QuantileOverTime, "φ must be a constant"),
    ("rad", "v", Function::Map(MapFunction::Rad), ""),
    ("range", "", Function::Refused(QUERY), ""),
    ("rate", "v[d]", Function::Range(RangeFunction::Rate), ""),
    ("resets", "v[d]", Function::Range(RangeFunction::Resets), ""),
    ("round", "v, to=1", Function::Round, ""),
    ("scalar", "v", Function::Scalar, "of the host's own series"),
    ("sgn", "v", Function::Map(MapFunction::Sgn), ""),
    ("sin", "v", Function::Map(MapFunction::Sin), ""),
    ("sinh", "v", Function::Map(MapFunction::Sinh), ""),
    ("sort", "v", Function::Refused(ORDER), ""),
    ("sort_by_label", "v, label, …", Function::Refused(ORDER), ""),
    ("sort_by_label_desc", "v, label, …", Function::Refused(ORDER), ""),
    ("sort_desc", "v", Function::Refused(ORDER), ""),
    ("sqrt", "v", Function::Map(MapFunction::Sqrt), ""),
    ("start", "", Function::Refused(QUERY), ""),
    ("stddev_over_time", "v[d]", Function::Range(RangeFunction::Stddev), ""),
    ("stdvar_over_time", "v[d]", Function::Range(RangeFunction::Stdvar), ""),
    ("step", "", Function::Refused(QUERY), ""),
    ("sum_over_time", "v[d]", Function::Range(RangeFunction::Sum), ""),
    ("tan", "v", Function::Map(MapFunction::Tan), ""),
    ("tanh", "v", Function::Map(MapFunction::Tanh), ""),
    ("time", "", Function::Time, "the step, in seconds"),
    ("timestamp", "v", Function::Refused(STAMPS), ""),
    ("ts_of_first_over_time", "v[d]", Function::Refused(STAMPS), ""),
    ("ts_of_last_over_time", "v[d]", Function::Refused(STAMPS), ""),
    ("ts_of_max_over_time", "v[d]", Function::Refused(STAMPS), ""),
    ("ts_of_min_over_time", "v[d]", Function::Refused(STAMPS), ""),
    ("vector", "s", Function::Vector, ""),
    ("year", "v=vector(time())", Function::Date(DatePart::Year), "UTC; of NaN it is NaN"),
];

/// Name, what stands between its parentheses, what becomes of it, and a remark for the documentation.
pub(super) const AGGREGATIONS: &[(&str, &str, Grouped, &str)] = &[
    ("avg", "v", Grouped::One(Aggregation::Avg), ""),
    ("bottomk", "k, v", Grouped::Ranked(Order::Bottom), "of equal values those whose labels come first"),
    ("count", "v", Grouped::One(Aggregation::Count), ""),
    ("count_values", "label, v", Grouped::Refused("write count(v == 1) for each value that matters"), ""),
    ("group", "v", Grouped::One(Aggregation::Group), ""),
    ("limit_ratio", "r, v", Grouped::Refused("which series it takes has no meaning: aggregate all of them"), ""),
    ("limitk", "k, v", Grouped::Refused("which series it takes has no meaning: use topk() or bottomk()"), ""),
    ("max", "v", Grouped::One(Aggregation::Max), ""),
    ("min", "v", Grouped::One(Aggregation::Min), ""),
    ("quantile", "φ, v", Grouped::Quantile, ""),
    ("stddev", "v", Grouped::One(Aggregation::Stddev), ""),
    ("stdvar", "v", Grouped::One(Aggregation::Stdvar), ""),
    ("sum", "v", Grouped::One(Aggregation::Sum), ""),
    ("topk", "k, v", Grouped::Ranked(Order::Top), "of equal values those whose labels come first"),
];

/// The construct, why it is refused where it is, and a remark where it is not.
pub(super) const OPERATORS: &[(&str, Option<&str>, &str)] = &[
    ("`+` `-` `*` `/` `%` `^` `atan2`", None, ""),
    ("`==` `!=` `>` `<` `>=` `<=`", None, "as filters, and with `bool`"),
    ("`and` `or` `unless`", None, ""),
    ("`by` `without`", None, "not by `__name__`"),
    ("`on` `ignoring`", None, "not on `__name__`"),
    ("`group_left` `group_right`", None, "not with `__name__`; both sides are the host's own"),
    ("`fill` `fill_left` `fill_right`", Some(FILL), ""),
    ("`</` `>/`", Some(NATIVE), ""),
];

/// The construct, why it is refused where it is, and a remark where it is not.
pub(super) const MODIFIERS: &[(&str, Option<&str>, &str)] = &[
    (
        "`x{a=\"b\", c!=\"d\", e=~\"f\", g!~\"h\"}`",
        None,
        "regular expressions are those of Rust: no look-around either",
    ),
    ("`x[5m]`", None, "on a plain selector; `[1h30m]` and `[300]` too"),
    (
        "`x[$range]`",
        None,
        "four scrape intervals of the host, at least 2m; the interval is that of its samples, or `ingest.interval`",
    ),
    ("`x offset 5m`", None, ""),
    ("`x offset -5m`", Some(FUTURE), ""),
    ("`x @ 1609746000`, `@ start()`, `@ end()`", Some(AT), ""),
    ("`x[1h:5m]`", Some(SUBQUERY), ""),
    ("`x[5m] anchored`, `smoothed`", Some(EXPERIMENTAL), ""),
    ("`x[5m * 2]`, `offset (step())`", Some(COMPUTED), ""),
];

pub(super) const FILL: &str = "it is experimental in Prometheus: write `(x or on (…) y * 0)`";
pub(super) const FUTURE: &str = "a negative offset looks into the future";
pub(super) const AT: &str = "a stream has no fixed time to look at: use offset";
pub(super) const SUBQUERY: &str = "subqueries are not evaluated: put the range on a plain selector, or record the inner \
                                   expression as a series of its own";
pub(super) const COMPUTED: &str = "durations are not computed: write the result";
pub(super) const MODIFIER_EXPERIMENTAL: &str = EXPERIMENTAL;

/// What becomes of the function `name`; `None` where PromQL has none.
pub(super) fn function(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|(known, ..)| *known == name).map(|(_, _, function, _)| *function)
}

/// What becomes of the aggregation `name`, in lower case; `None` where PromQL has none.
pub(super) fn aggregation(name: &str) -> Option<Grouped> {
    AGGREGATIONS.iter().find(|(known, ..)| *known == name).map(|(_, _, grouped, _)| *grouped)
}
