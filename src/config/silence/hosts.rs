//! Which hosts a silence, a maintenance or an override is for: matchers of labels that hosts carry.
//!
//! A label that no host carries is empty for all of them, so `{env!="prod"}` would be for every host, production too: such
//! matchers are refused.

use crate::promql::host_selector;
use crate::promql::selector::Selector;

/// The labels that hosts carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLabels {
    /// The identity label first.
    names: Vec<String>,
}

impl HostLabels {
    /// The label that hosts are named by, and those that are kept beside it.
    #[must_use]
    pub fn new(identity: &str, keep: &[String]) -> Self {
        Self { names: std::iter::once(identity.to_owned()).chain(keep.iter().cloned()).collect() }
    }

    /// Label matchers in braces.
    ///
    /// # Errors
    /// They are no matchers, or are about labels that hosts don't carry; in one line.
    pub fn selector(&self, text: &str) -> Result<Selector, String> {
        let selector = host_selector(text);
        // Parsers draw their errors over several lines.
        let selector = selector.map_err(|error| error.split_whitespace().collect::<Vec<_>>().join(" "))?;
        self.check(&selector)?;
        Ok(selector)
    }

    /// Holds matchers to the labels that hosts carry.
    ///
    /// # Errors
    /// A matcher is about another label; the error names it, and says what to write.
    pub fn check(&self, selector: &Selector) -> Result<(), String> {
        let Some(unknown) = selector.labels().find(|label| self.names.iter().all(|name| name != label)) else {
            return Ok(());
        };
        let names: Vec<String> = self.names.iter().map(|name| format!("`{name}`")).collect();
        Err(format!(
            "hosts carry no label `{unknown}`, so that it is empty for every host; match by {}, or add `{unknown}` to `identity.keep`",
            names.join(" or ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let labels = HostLabels::new("instance", &["job".to_owned(), "team".to_owned()]);
        let selector = labels.selector(text);
        match (selector, expected) {
            (Ok(selector), Ok(expected)) => assert_eq!(selector.to_string(), expected),
            (Err(error), Err(expected)) => assert!(error.contains(expected) && !error.contains('\n'), "{error}"),
            (selector, _) => panic!("{text}: {selector:?}"),
        }
    }

    #[test]
    fn matchers_are_about_labels_that_hosts_carry() {
        check("{}", Ok("{}"));
        check(r#"{job="db",team!="a",instance=~"eu-.*"}"#, Ok(r#"{job="db",team!="a",instance=~"eu-.*"}"#));
        let refused = "hosts carry no label `env`, so that it is empty for every host; match by `instance` or `job` or `team`, or add \
                       `env` to `identity.keep`";
        check(r#"{env!="prod"}"#, Err(refused));
        check(r#"{job="db",env=~".*"}"#, Err(refused));
        check(r#"{env=""}"#, Err(refused));
        check("up", Err("`up` is more than the labels of a host"));
        check("{job=}", Err("write label matchers"));
    }
}
