//! What `deploy/` has for others, as they read it: promtool checks and tests the alert rules, Alertmanager has their inhibitions, and
//! the dashboard is built as Grafana exports one. Their queries are asked in `service::queries`.

mod dashboard;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

pub use self::dashboard::{queries, variables};
use crate::peers;
use crate::servers::{ALERTMANAGER, Program, Server};

/// A file of `deploy/`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// The alerts that the rules define.
fn alerts() -> Vec<String> {
    let rules = text("alerts.yml");
    let names = rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn promtool_takes_the_rules() {
    let Some(folder) = peers::folder(&["promtool-2.42"], "checking the alert rules with promtool") else { return };
    let check = |args: [&str; 2], name: &str| {
        let output = Command::new(folder.join("promtool-2.42")).args(args).arg(file(name)).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
    };
    check(["check", "rules"], "alerts.yml");
    check(["test", "rules"], "tests/alerts_test.yml");
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let cases = text("tests/alerts_test.yml");
    let cases: Vec<(&str, bool)> = cases
        .split("alertname: ")
        .skip(1)
        .map(|case| (case.split([',', '\n']).next().unwrap(), !case.contains("exp_alerts: []")))
        .collect();
    for alert in alerts() {
        let fires = |expected: bool| cases.iter().any(|(name, fires)| *name == alert && *fires == expected);
        assert!(fires(true), "{alert} is never expected to fire");
        assert!(fires(false), "{alert} is never expected not to fire");
    }
    assert!(cases.iter().all(|(name, _)| alerts().iter().any(|alert| alert == name)), "a case of no alert");
}

/// The inhibitions that the head of the rules shows, as Alertmanager has them.
fn inhibitions() -> String {
    let rules = text("alerts.yml");
    let comment = rules.lines().skip_while(|line| *line != "#   inhibit_rules:");
    let lines: Vec<&str> = comment.map_while(|line| line.strip_prefix("#   ")).collect();
    lines.join("\n")
}

#[test]
fn many_hosts_at_once_are_one_message() {
    let config = format!("{ALERTMANAGER}{}\n", inhibitions());
    let Some(server) = Server::start_with(Program::Alertmanager, &config) else { return };
    let mut posted = Vec::new();
    let mut post = |alert: &str, labels: Value| {
        let mut labels = labels;
        labels["alertname"] = alert.into();
        posted.push(json!({"labels": labels}));
    };
    post("ManyHostsAnomalous", json!({"model": "a"}));
    post("HostAnomalous", json!({"model": "a", "instance": "1"}));
    post("HostAnomalous", json!({"model": "b", "instance": "2"}));
    post("OutlierdNoSamples", json!({"instance": "outlierd:9201"}));
    post("HostNotWatched", json!({"model": "a", "instance": "3"}));
    server.post("/api/v2/alerts", &Value::from(posted).to_string());
    let of = |filter: &str| -> Vec<String> {
        let found: Value = serde_json::from_str(&server.get(&format!("/api/v2/alerts?{filter}"))).unwrap();
        let mut names: Vec<String> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| format!("{} {}", alert["labels"]["alertname"], alert["labels"]["instance"]).replace('"', ""))
            .collect();
        names.sort();
        names
    };
    assert_eq!(of("").len(), 5);
    assert_eq!(
        of("inhibited=false"),
        ["HostAnomalous 2", "ManyHostsAnomalous null", "OutlierdNoSamples outlierd:9201"]
    );
}
