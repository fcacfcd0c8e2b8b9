//! The metrics of the process, as the registry has them, in either format.

use std::fmt::Write as _;

use prometheus::TextEncoder;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::results::exposition::{Format, Kind, number};
use crate::series::Quoted;

/// All of `families`.
///
/// # Errors
/// The client library cannot write them.
pub(super) fn text(families: &[MetricFamily], format: Format) -> Result<String, prometheus::Error> {
    match format {
        Format::Text => TextEncoder::new().encode_to_string(families),
        Format::OpenMetrics => Ok(open_metrics(families)),
    }
}

/// The client library writes no OpenMetrics.
fn open_metrics(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        let name = family.name();
        let (name, kind) = match family.get_field_type() {
            // The family of a counter is called without `_total`, which its samples have. A counter without keeps its name, but
            // may not be called one.
            MetricType::COUNTER => name.strip_suffix("_total").map_or((name, Kind::Unknown), |n| (n, Kind::Counter)),
            MetricType::GAUGE => (name, Kind::Gauge),
            MetricType::HISTOGRAM => (name, Kind::Histogram),
            // Nothing in the library makes one.
            MetricType::SUMMARY | MetricType::UNTYPED => continue,
        };
        Format::OpenMetrics.head(&mut out, name, kind, &family.help().replace('\n', " "));
        for metric in family.get_metric() {
            match (kind, family.get_field_type()) {
                (Kind::Histogram, _) => histogram(&mut out, name, metric),
                (_, MetricType::GAUGE) => sample(&mut out, name, "", metric, None, metric.get_gauge().get_value()),
                (Kind::Counter, _) => sample(&mut out, name, "_total", metric, None, metric.get_counter().get_value()),
                _ => sample(&mut out, name, "", metric, None, metric.get_counter().get_value()),
            }
        }
    }
    out
}

fn histogram(out: &mut String, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let all = histogram.get_sample_count() as f64;
    for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
        // `{:?}` has a decimal point in whole numbers, as the format wants.
        let bound = format!("{:?}", bucket.upper_bound());
        sample(out, name, "_bucket", metric, Some(&bound), bucket.cumulative_count() as f64);
    }
    sample(out, name, "_bucket", metric, Some("+Inf"), all);
    sample(out, name, "_sum", metric, None, histogram.get_sample_sum());
    sample(out, name, "_count", metric, None, all);
}

/// One line; `le` is the bound of a bucket.
fn sample(out: &mut String, name: &str, suffix: &str, metric: &Metric, le: Option<&str>, value: f64) {
    // Writing to a String can't fail.
    let _ = write!(out, "{name}{suffix}");
    let labels = metric.get_label().iter().map(|label| (label.name(), label.value()));
    let mut open = '{';
    for (name, value) in labels.chain(le.map(|le| ("le", le))) {
        let _ = write!(out, "{open}{name}={}", Quoted(value));
        open = ',';
    }
    out.push_str(if open == '{' { " " } else { "} " });
    number(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Counter, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

    #[test]
    fn the_exact_text() {
        let registry = Registry::new();
        let counters = IntCounterVec::new(Opts::new("a_bytes_total", "Bytes \"in\"."), &["of", "why"]).unwrap();
        counters.with_label_values(&["x\"\\\n", ""]).inc_by(3);
        let odd = Counter::new("b", "No total.").unwrap();
        odd.inc_by(0.5);
        let opts = HistogramOpts::new("c_seconds", "Time.").const_label("k", "v").buckets(vec![0.025, 1.0]);
        let histogram = Histogram::with_opts(opts).unwrap();
        histogram.observe(0.5);
        histogram.observe(9.5);
        let gauge = IntGauge::new("d", "Two\nlines.").unwrap();
        gauge.set(-7);
        registry.register(Box::new(counters)).unwrap();
        registry.register(Box::new(odd)).unwrap();
        registry.register(Box::new(histogram)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        let expected = r#"# HELP a_bytes Bytes \"in\".
# TYPE a_bytes counter
# UNIT a_bytes bytes
a_bytes_total{of="x\"\\\n",why=""} 3
# HELP b No total.
# TYPE b unknown
b 0.5
# HELP c_seconds Time.
# TYPE c_seconds histogram
# UNIT c_seconds seconds
c_seconds_bucket{k="v",le="0.025"} 0
c_seconds_bucket{k="v",le="1.0"} 1
c_seconds_bucket{k="v",le="+Inf"} 2
c_seconds_sum{k="v"} 10
c_seconds_count{k="v"} 2
# HELP d Two lines.
# TYPE d gauge
d -7
"#;
        assert_eq!(text(&registry.gather(), Format::OpenMetrics).unwrap(), expected);
    }
}
