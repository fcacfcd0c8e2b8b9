//! Label matchers of a selector.

use std::fmt;

use regex::Regex;

use crate::series::METRIC_NAME;

/// Comparison of a matcher. Regular expressions are anchored at both ends, and `.` matches a line end, as in Prometheus.
#[derive(Debug, Clone)]
enum Comparison {
    Equal(Box<str>),
    NotEqual(Box<str>),
    Matches(Regex),
    MatchesNot(Regex),
}

/// One condition on one label. An absent label has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    label: Box<str>,
    comparison: Comparison,
}

impl Matcher {
    /// `label="value"`.
    #[must_use]
    pub fn equal(label: &str, value: &str) -> Self {
        Self { label: label.into(), comparison: Comparison::Equal(value.into()) }
    }

    /// `label!="value"`.
    #[must_use]
    pub fn not_equal(label: &str, value: &str) -> Self {
        Self { label: label.into(), comparison: Comparison::NotEqual(value.into()) }
    }

    /// `label=~"pattern"`, or `label!~"pattern"` where `negated`.
    ///
    /// # Errors
    /// The pattern is no regular expression.
    pub fn pattern(label: &str, pattern: &str, negated: bool) -> Result<Self, regex::Error> {
        let regex = Regex::new(&format!("^(?s:{pattern})$"))?;
        let comparison = if negated { Comparison::MatchesNot(regex) } else { Comparison::Matches(regex) };
        Ok(Self { label: label.into(), comparison })
    }

    fn is_match(&self, value: &str) -> bool {
        match &self.comparison {
            Comparison::Equal(wanted) => **wanted == *value,
            Comparison::NotEqual(unwanted) => **unwanted != *value,
            Comparison::Matches(regex) => regex.is_match(value),
            Comparison::MatchesNot(regex) => !regex.is_match(value),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = match &self.comparison {
            Comparison::Equal(value) => ("=", value.as_ref()),
            Comparison::NotEqual(value) => ("!=", value.as_ref()),
            Comparison::Matches(regex) => ("=~", as_written(regex)),
            Comparison::MatchesNot(regex) => ("!~", as_written(regex)),
        };
        write!(f, "{}{operator}{value:?}", self.label)
    }
}

/// The pattern without its anchors: ours, and within them those of the parser.
fn as_written(regex: &Regex) -> &str {
    ["^(?s:", "^(?:"].iter().fold(regex.as_str(), |text, start| {
        text.strip_prefix(start).and_then(|text| text.strip_suffix(")$")).unwrap_or(text)
    })
}

/// All conditions that a series must meet.
#[derive(Debug, Clone)]
pub struct Selector {
    /// The metric name where it is given as a plain name.
    pub metric: Option<Box<str>>,
    matchers: Box<[Matcher]>,
}

impl Selector {
    /// `metric{matchers}`; a matcher `__name__="x"` counts as the name.
    #[must_use]
    pub fn new(metric: Option<&str>, matchers: Vec<Matcher>) -> Self {
        let mut metric: Option<Box<str>> = metric.map(Into::into);
        let mut rest = Vec::with_capacity(matchers.len());
        for matcher in matchers {
            match &matcher.comparison {
                Comparison::Equal(name) if *matcher.label == *METRIC_NAME && metric.is_none() => {
                    metric = Some(name.clone());
                }
                _ => rest.push(matcher),
            }
        }
        Self { metric, matchers: rest.into_boxed_slice() }
    }

    /// The label of each condition.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.matchers.iter().map(|matcher| matcher.label.as_ref())
    }

    /// Whether some condition is on this label.
    #[must_use]
    pub fn reads(&self, label: &str) -> bool {
        self.matchers.iter().any(|matcher| *matcher.label == *label)
    }

    /// Whether the series with these labels is selected. `labels` holds `__name__` too.
    pub fn is_match(&self, labels: &[(&str, &str)]) -> bool {
        let value_of = |name: &str| labels.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| *v);
        self.metric.as_deref().is_none_or(|metric| value_of(METRIC_NAME) == metric)
            && self.matchers.iter().all(|matcher| matcher.is_match(value_of(&matcher.label)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric.as_deref().unwrap_or_default())?;
        if self.metric.is_none() || !self.matchers.is_empty() {
            let matchers: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
            write!(f, "{{{}}}", matchers.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: &[(&str, &str)] = &[(METRIC_NAME, "node_cpu_seconds_total"), ("cpu", "0"), ("mode", "idle")];

    fn check(matcher: Matcher, expected: bool) {
        let text = matcher.to_string();
        let selector = Selector::new(Some("node_cpu_seconds_total"), vec![matcher]);
        assert_eq!(selector.is_match(IDLE), expected, "{text}");
    }

    #[test]
    fn the_four_matchers() {
        check(Matcher::equal("mode", "idle"), true);
        check(Matcher::equal("mode", "user"), false);
        check(Matcher::not_equal("mode", "idle"), false);
        check(Matcher::not_equal("mode", "user"), true);
        check(Matcher::pattern("mode", "id.*", false).unwrap(), true);
        check(Matcher::pattern("mode", "dle", false).unwrap(), false); // anchored
        check(Matcher::pattern("mode", "user|system", true).unwrap(), true);
        check(Matcher::pattern("mode", "idle|system", true).unwrap(), false);
    }

    #[test]
    fn it_is_shown_as_it_was_written() {
        let pattern = |pattern: &str| Matcher::pattern("mode", pattern, false).unwrap().to_string();
        assert_eq!(pattern("id.*|(user)"), r#"mode=~"id.*|(user)""#);
        assert_eq!(pattern("^(?:id.*)$"), r#"mode=~"id.*""#, "as the parser gives it");
    }

    #[test]
    fn an_absent_label_is_empty() {
        check(Matcher::equal("device", ""), true);
        check(Matcher::not_equal("device", ""), false);
        check(Matcher::pattern("device", ".*", false).unwrap(), true);
        check(Matcher::pattern("device", ".+", false).unwrap(), false);
    }

    #[test]
    fn the_name_counts() {
        assert!(!Selector::new(Some("up"), vec![]).is_match(IDLE));
        let by_matcher = Selector::new(None, vec![Matcher::equal(METRIC_NAME, "node_cpu_seconds_total")]);
        assert_eq!(by_matcher.metric.as_deref(), Some("node_cpu_seconds_total"));
        assert!(by_matcher.is_match(IDLE));
    }
}
