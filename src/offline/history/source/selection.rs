//! Series that are asked for: those with the metric names that features read, of one host.
//!
//! By names alone, not by the features' selectors: these overlap, and what overlaps comes twice from some servers.

use crate::promql::Plan;
use crate::promql::plan::{UP, UP_NAME};
use crate::series::{METRIC_NAME, Quoted};

/// Selection of what is asked for.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The label whose values are the hosts.
    pub identity: String,
    /// A pattern of the metric names, `None` for all of them.
    pub pattern: Option<String>,
    /// The same of the names that make a host: `up` alone, which every target has, makes none.
    pub host_pattern: Option<String>,
    /// The metric names that features read.
    pub names: Vec<String>,
}

impl Selection {
    /// Selects what the features of `plan` read.
    #[must_use]
    pub fn new(plan: &Plan, identity: &str) -> Self {
        let is_read = |metric: &usize| *metric != usize::from(UP) || plan.candidates(UP_NAME).next().is_some();
        let names: Vec<String> = (0..plan.metrics.len()).filter(is_read).map(|i| plan.metrics[i].clone()).collect();
        let any_of = |names: &mut dyn Iterator<Item = &String>| {
            let escaped: Vec<String> = names.map(|name| regex::escape(name)).collect();
            (!plan.wants_every_metric()).then(|| escaped.join("|"))
        };
        Self {
            identity: identity.to_owned(),
            pattern: any_of(&mut plan.metrics.iter()),
            host_pattern: any_of(&mut names.iter()),
            names,
        }
    }

    /// Selects nothing on any server.
    pub(super) fn nothing() -> Self {
        let pattern = Some("outlierd_asks_what_you_are".to_owned());
        Self { identity: "instance".into(), host_pattern: pattern.clone(), pattern, names: Vec::new() }
    }

    /// The series of one host, as PromQL.
    pub(super) fn of_host(&self, host: &str) -> String {
        let name = self.pattern.as_ref().map_or(String::new(), |p| format!("{METRIC_NAME}=~{},", Quoted(p)));
        format!("{{{name}{}={}}}", self.identity, Quoted(host))
    }

    /// The series that make hosts, as PromQL.
    pub(super) fn of_hosts(&self) -> String {
        let name = self.host_pattern.as_ref().map_or(String::new(), |p| format!("{METRIC_NAME}=~{},", Quoted(p)));
        format!("{{{name}{}!=\"\"}}", self.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::FeatureSource;

    #[test]
    fn selectors() {
        let check = |exprs: &[&str], host: &str, of_host: &str, of_hosts: &str| {
            let source = |expr| FeatureSource { name: "f", expr, at: "test" };
            let sources: Vec<FeatureSource<'_>> = exprs.iter().copied().map(source).collect();
            let selection = Selection::new(&Plan::compile(&sources, 300_000).unwrap(), "instance");
            assert_eq!((selection.of_host(host).as_str(), selection.of_hosts().as_str()), (of_host, of_hosts));
        };
        let load = ["node_load1", "rate(node_load5{a=\"b\"}[5m])"];
        check(
            &load,
            "a\\\"\n",
            r#"{__name__=~"up|node_load1|node_load5",instance="a\\\"\n"}"#,
            r#"{__name__=~"node_load1|node_load5",instance!=""}"#,
        );
        check(&["up"], "a", r#"{__name__=~"up",instance="a"}"#, r#"{__name__=~"up",instance!=""}"#);
        check(&["sum({job=\"x\"})"], "a", r#"{instance="a"}"#, r#"{instance!=""}"#);
        check(
            &["{\"node.load\"}"],
            "a",
            r#"{__name__=~"up|node\\.load",instance="a"}"#,
            r#"{__name__=~"node\\.load",instance!=""}"#,
        );
    }
}
