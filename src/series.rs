//! The vocabulary of time series: labels, samples, timestamps and the stale marker.
//!
//! Owns no state and knows no wire format.

use std::fmt::{self, Write as _};

/// Milliseconds since the Unix epoch, as remote write carries them.
pub type TimestampMs = i64;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// The NaN that Prometheus writes when a series ends. Compare bits: arithmetic or a cast to f32 turns it into an ordinary NaN.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether `value` is the stale marker (and not an ordinary NaN).
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When it was scraped.
    pub t_ms: TimestampMs,
    /// Its value; may be NaN, infinite or the stale marker.
    pub value: f64,
}

/// A set of labels, sorted by name, without duplicates. Two allocations however many there are: every host and every series has
/// some.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels {
    /// Name and value of each label, back to back.
    text: Box<str>,
    /// End of each name and each value in `text`.
    ends: Box<[(u32, u32)]>,
}

impl Labels {
    /// Sorts `pairs` by name. Names must be unique: the caller has checked.
    #[must_use]
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().collect();
        pairs.sort_unstable();
        let mut text = String::with_capacity(pairs.iter().map(|(name, value)| name.len() + value.len()).sum());
        let mut ends = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            text.push_str(name);
            let name_end = text.len() as u32;
            text.push_str(value);
            ends.push((name_end, text.len() as u32));
        }
        Self { text: text.into(), ends: ends.into() }
    }

    /// The value of the label `name`; `None` where the set lacks it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Name and value of every label, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut from = 0;
        self.ends.iter().map(move |(name_end, end)| {
            let (name_end, end) = (*name_end as usize, *end as usize);
            let label = (&self.text[from..name_end], &self.text[name_end..end]);
            from = end;
            label
        })
    }
}

/// A text in quotes, escaped as PromQL and the Prometheus text format do.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

impl fmt::Display for Labels {
    /// `{a="1", b="2"}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{name}={}", Quoted(value))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_found() {
        let labels = Labels::from_pairs([("mode", "idle"), ("cpu", "0")]);
        assert_eq!(labels.to_string(), r#"{cpu="0", mode="idle"}"#);
        assert_eq!(labels.get("mode"), Some("idle"));
        assert_eq!(labels.get("device"), None);
    }

    #[test]
    fn texts_are_quoted() {
        assert_eq!(Quoted("a\"b\\c\nd\té").to_string(), "\"a\\\"b\\\\c\\nd\té\"");
    }

    #[test]
    fn only_the_marker_is_stale() {
        assert!(is_stale(f64::from_bits(STALE_NAN_BITS)));
        assert!(!is_stale(f64::NAN));
        assert!(!is_stale(0.0));
    }
}
