//! The formats of `/metrics`: Prometheus' text format 0.0.4 and OpenMetrics 1.0 (github.com/prometheus/OpenMetrics).
//!
//! Owns what they differ in: heads, the end, their names. Which families there are is for those who write them.

use std::fmt::Write as _;

/// One of the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

/// Type of a family's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Not said.
    Unknown,
}

/// Ends of names that are units to OpenMetrics.
const UNITS: [&str; 2] = ["seconds", "bytes"];

impl Format {
    /// The `Content-Type` of a page.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Appends what stands before the samples of the family `name`. `help` has no line breaks.
    pub fn head(self, out: &mut String, name: &str, kind: Kind, help: &str) {
        let kind = match (self, kind) {
            (_, Kind::Counter) => "counter",
            (_, Kind::Gauge) => "gauge",
            (_, Kind::Histogram) => "histogram",
            (Self::Text, Kind::Unknown) => "untyped",
            (Self::OpenMetrics, Kind::Unknown) => "unknown",
        };
        // Writing to a String can't fail.
        let _ = match self {
            Self::Text => write!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", help.replace('\\', "\\\\")),
            Self::OpenMetrics => {
                let help = help.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
                let has = |unit: &&str| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'));
                UNITS.into_iter().find(has).map_or(Ok(()), |unit| writeln!(out, "# UNIT {name} {unit}"))
            }
        };
    }

    /// Returns the end of a page.
    #[must_use]
    pub fn end(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::OpenMetrics => "# EOF\n",
        }
    }
}

/// Appends `value` and a line break.
pub fn number(out: &mut String, value: f64) {
    let magnitude = value.abs();
    let _ = if value.is_nan() {
        writeln!(out, "NaN")
    } else if value.is_infinite() {
        writeln!(out, "{}Inf", if value > 0.0 { '+' } else { '-' })
    } else if value == 0.0 || (1e-5..1e16).contains(&magnitude) {
        writeln!(out, "{value}")
    } else {
        writeln!(out, "{value:e}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let check = |format: Format, name: &str, kind: Kind, help: &str, expected: &str| {
            let mut out = String::new();
            format.head(&mut out, name, kind, help);
            assert_eq!(out, expected);
        };
        check(
            Format::Text,
            "a_seconds",
            Kind::Unknown,
            "x\\\"",
            "# HELP a_seconds x\\\\\"\n# TYPE a_seconds untyped\n",
        );
        check(Format::OpenMetrics, "a", Kind::Unknown, "x\\\"", "# HELP a x\\\\\\\"\n# TYPE a unknown\n");
        let with_unit = "# HELP a_bytes x\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\n";
        check(Format::OpenMetrics, "a_bytes", Kind::Gauge, "x", with_unit);
        check(Format::OpenMetrics, "abytes", Kind::Counter, "x", "# HELP abytes x\n# TYPE abytes counter\n");
    }

    #[test]
    fn numbers() {
        let check = |value: f64, expected: &str| {
            let mut out = String::new();
            number(&mut out, value);
            assert_eq!(out.trim_end(), expected);
        };
        check(0.0, "0");
        check(1.5, "1.5");
        check(-3e-7, "-3e-7");
        check(1e300, "1e300");
        check(1_699_999_998.5, "1699999998.5");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Inf");
    }
}
