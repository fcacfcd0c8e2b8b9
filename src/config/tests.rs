//! Tests of what is accepted, what is refused, and with which words.

use super::push::PushSeries;
use super::*;

fn read(text: &str) -> Result<Config, String> {
    let env = |name: &str| (name == "SITE").then(|| "eu-1".to_owned());
    parse_with("o.yaml", text, &env).map_err(|errors| errors.to_string())
}

/// `text` is refused with exactly the `expected` lines; the snippets are left out where `expected` has none.
#[track_caller]
fn check(text: &str, expected: &str) {
    let rendered = match read(text) {
        Ok(_) => "accepted".to_owned(),
        Err(rendered) => rendered,
    };
    let snippet = |line: &&str| line.starts_with("  ");
    if expected.lines().any(|line| snippet(&line)) {
        return assert_eq!(rendered, expected);
    }
    let messages: Vec<&str> = rendered.lines().filter(|line| !snippet(line)).collect();
    assert_eq!(messages.join("\n"), expected);
}

#[test]
fn nothing_written_is_the_default() {
    for text in ["", "# nothing\n", "---\n", "model:\n  # bundle: x\n", "{}"] {
        assert_eq!(read(text), Ok(Config::default()), "{text}");
    }
    assert!(!Config::default().features.is_empty());
    assert_eq!(features::preset().map_err(|e| e.to_string()).map(|f| f.is_empty()), Ok(false));
}

#[test]
fn everything_written_arrives() {
    let example = include_str!("../../docs/configuration.example.yaml");
    let config = read(example).unwrap();
    assert_eq!(config.identity.label, "host");
    assert_eq!(config.identity.drop, ["replica"]);
    assert_eq!(config.identity.keep, ["job", "cluster"]);
    assert_eq!(config.step_ms, Some(60_000));
    assert_eq!(config.model.bundle, Some(PathBuf::from("models/node-exporter.onnx")));
    assert_eq!(config.model.alias, "eu-1");
    assert_eq!(config.model.window, Some(60));
    assert_eq!(config.detection.limit, Some(Limit::Fixed(1.0)));
    assert_eq!(config.detection.smoothing_rows, Some(10.0));
    assert_eq!((config.detection.scale, config.detection.for_rows), (Some(Scale::Residual), Some(3)));
    assert_eq!(config.detection.min_history_ms, 6 * 3_600_000);
    assert_eq!(config.standardisation.memory_s, Some(604_800.0));
    assert_eq!(config.features.len(), 2);
    assert_eq!(config.features[0].name, "cpu_busy");
    let line = example.lines().position(|line| line.contains("expr: 1 - avg")).unwrap() + 1;
    assert_eq!(config.features[0].at, format!("o.yaml:{line}:11"));
    let rule = |detect, min_dev, min_rel_dev| Rule { detect, min_dev, min_rel_dev };
    assert_eq!(config.features[1].rule, rule(Some(Detect::Above), Some(0.05), Some(0.0)));
    let cpu = ("cpu_busy".to_owned(), rule(Some(Detect::Above), Some(0.2), Some(0.1)));
    let (limit, for_rows, clear) = (Some(Limit::Auto), Some(5), Some(0.5));
    let batch = Override { hosts: r#"{job="batch"}"#.to_owned(), limit, for_rows, clear, features: vec![cpu] };
    assert_eq!(config.overrides, [batch]);
    let maintenance = &config.maintenance[0];
    assert_eq!((maintenance.name.as_str(), maintenance.duration_ms), ("backup", 2 * 3_600_000));
    assert_eq!(config.features[1].floor, 0.01);
    assert!(config.features[1].expr.starts_with("1 - node_memory_MemAvailable_bytes\n"));
    assert_eq!(config.ingest, Ingest { interval_ms: Some(60_000), ..Ingest::default() });
    let push = config.push.unwrap();
    assert_eq!(push.url.as_str(), "http://victoriametrics:8428/api/v1/write");
    assert_eq!((push.batch_samples, push.queue_samples, push.interval_ms), (10_000, 1_000_000, 5_000));
    assert_eq!(config.limits.body_bytes, 32 << 20);
    assert_eq!(config.limits.queue_wait_ms, 10_000);
    assert_eq!(config.metrics, Metrics { detail: Detail::Compact, max_series: 2_000_000 });
    assert_eq!(config.threads, Threads { shards: 4, scorers: 2 });
}

#[test]
fn a_feature_called_as_one_of_the_preset_has_its_unit_help_and_floor() {
    let text = "features:\n- {name: cpu_busy, expr: up}\n- {name: mem_used, expr: up, floor: 0, unit: x}\n- {name: mine, expr: up}";
    let features = read(text).unwrap().features;
    let of = |i: usize| (features[i].unit.as_str(), features[i].help.is_empty(), features[i].floor);
    assert_eq!(of(0), ("ratio", false, 0.01));
    assert_eq!(of(1), ("x", false, 0.0));
    assert_eq!(of(2), ("", true, 0.0));
}

#[test]
fn bounds_are_given_or_the_preset_s_with_its_expression() {
    let check = |feature: &str, expected: &str| {
        let config = read(&format!("features: [{{{feature}}}]")).unwrap();
        assert_eq!(config.features[0].bounds.to_string(), expected, "{feature}");
    };
    check("name: mine, expr: up", "");
    check("name: mine, expr: up, bounds: [0, 1]", "0..1");
    check("name: mine, expr: up, bounds: [-2.5, ~]", "-2.5..");
    check("name: mine, expr: up, bounds: [null, 1e6]", "..1e6");
    check("name: mine, expr: up, bounds: [~, ~]", "");
    check("name: load5, expr: node_load5", "0..1e5");
    check("name: load5, expr: node_load5, unit: x, bounds: [0, 1]", "0..1");
    check("name: load5, expr: node_load5, bounds: [~, ~]", "");
    check("name: load5, expr: 100 * node_load5", "");
    check("name: load1, expr: node_load5", "");
}

#[test]
fn messages_show_the_line() {
    check(
        "identity:\n  lable: host\nstep: 5 min\n",
        "o.yaml:2:3: unknown key `identity.lable`; did you mean `label`?\n  \
           2 |   lable: host\n    |   ^^^^^\n\
         o.yaml:3:7: `step` must be a duration from 1ms to 1d, such as 60s, not `5 min`\n  \
           3 | step: 5 min\n    |       ^^^^^",
    );
}

#[test]
fn unknown_and_duplicate_keys() {
    let known = "known here: identity, step, model, shadow, detection, overrides, maintenance, standardisation, features, ingest, feedback, push, webhook, limits, metrics, threads";
    check("modle: {}", "o.yaml:1:1: unknown key `modle`; did you mean `model`?");
    check("prometheus: {}", &format!("o.yaml:1:1: unknown key `prometheus`; {known}"));
    check("limits: {host: 3}", "o.yaml:1:10: unknown key `limits.host`; did you mean `hosts`?");
    check("step: 1m\nstep: 2m", "o.yaml:2:1: `step` is given twice, first in line 1; keep one of them");
    check(
        "step: 1m\nstep: 2m\nmodel: {windw: 3}",
        "o.yaml:2:1: `step` is given twice, first in line 1; keep one of them\n\
         o.yaml:3:9: unknown key `model.windw`; did you mean `window`?",
    );
    check("[a]: 3", "o.yaml:1:1: a key must be a word");
}

#[test]
fn wrong_types_and_values() {
    check("- step", "o.yaml:1:1: the file must be a mapping: lines of `key: value`");
    check("model: x", "o.yaml:1:8: `model` must be a mapping: lines of `key: value`");
    check(
        "step: [1m]",
        "o.yaml:1:7: `step` must be a duration from 1ms to 1d, such as 60s; a text that begins with a brace or bracket needs quotes",
    );
    check(
        "step:",
        "o.yaml:1:1: `step` has no value; write a duration from 1ms to 1d, such as 60s, or leave the line out",
    );
    check("step: 0s", "o.yaml:1:7: `step` must be a duration from 1ms to 1d, such as 60s, not `0s`");
    check("step: 60", "o.yaml:1:7: `step` must be a duration from 1ms to 1d, such as 60s, not `60`");
    check("detection: {for: 0}", "o.yaml:1:18: `detection.for` must be a whole number of rows from 1 to 1000, not `0`");
    check(
        "detection: {for: 3m}",
        "o.yaml:1:18: `detection.for` must be a whole number of rows from 1 to 1000, not `3m`",
    );
    let clear = "`detection.clear` must be a number above 0 and at most 1, such as 0.7, not";
    check("detection: {clear: 0}", &format!("o.yaml:1:20: {clear} `0`"));
    check("detection: {clear: 1.5}", &format!("o.yaml:1:20: {clear} `1.5`"));
    check("detection: {clear: .nan}", &format!("o.yaml:1:20: {clear} `.nan`"));
    check(
        "limits: {hosts: 0}",
        "o.yaml:1:17: `limits.hosts` must be a whole number of hosts from 1 to 1000000000, not `0`",
    );
    check(
        "limits: {body: 2GiB}",
        "o.yaml:1:16: `limits.body` must be a size from 1B to 1GiB, such as 32MiB, not `2GiB`",
    );
    check("identity: {drop: replica}", "o.yaml:1:12: `identity.drop` must be a list of label names, such as [replica]");
}

#[test]
fn labels() {
    check("identity: {label: a-b}", "o.yaml:1:19: `identity.label` must be a label name, such as instance, not `a-b`");
    check(
        "identity: {label: model}",
        "o.yaml:1:19: `identity.label` must be a label name, such as instance, not `model`",
    );
    check("identity: {drop: [instance]}", "o.yaml:1:19: `instance` can't stand in `identity.drop`: it names the hosts");
    check(
        "identity: {drop: [a], keep: [a, state, '1']}",
        "o.yaml:1:30: `a` can't stand in `identity.keep`: `identity.drop` removes it\n\
         o.yaml:1:33: `state` can't stand in `identity.keep`: the results have a label of their own with that name\n\
         o.yaml:1:40: `1` is no label name; letters, digits and `_` make one, such as replica",
    );
    let keep = |text: &str| read(text).map(|config| config.identity.keep);
    assert_eq!(keep("identity: {keep: [dc, dc, instance]}"), Ok(vec!["dc".to_owned()]));
}

#[test]
fn features() {
    check("features: []", "o.yaml:1:1: `features` is empty; list some, or leave the key out to have the preset");
    check(
        "features:\n- name: a\n  expr: {job=\"x\"}",
        "o.yaml:3:9: `features[].expr` must be a PromQL expression; a text that begins with a brace or bracket needs quotes",
    );
    check("features: cpu", "o.yaml:1:1: `features` must be a list, each item with `name` and `expr`");
    check("features:\n- name: a", "o.yaml:2:3: this feature has no `expr`");
    check(
        "features:\n- name: 1a\n  expr: up\n  scale: 3",
        "o.yaml:2:9: `features[].name` must be a name of letters, digits and `_`, such as cpu_busy, not `1a`\n\
         o.yaml:4:3: unknown key `features[].scale`; known here: name, expr, unit, help, floor, bounds, detect, min_dev, min_rel_dev",
    );
    check(
        "features:\n- {name: a, expr: up}\n- {name: a, expr: down}",
        "o.yaml:3:10: a second feature `a`, the first is in line 2; rename one",
    );
    check(
        "features:\n- {name: a, expr: up, floor: -1}",
        "o.yaml:2:30: `features[].floor` must be a number of at least 0 in the feature's own unit, not `-1`",
    );
    let pair = "must be two numbers in the feature's own unit, the least and the greatest value, such as [0, 1], or [0, null] for no greatest";
    for bounds in ["[0]", "[0, 1, 2]", "[0, high]", "[.inf, 1]", "[inf, 1]", "[[0], 1]"] {
        let text = format!("features:\n- {{name: a, expr: up, bounds: {bounds}}}");
        check(&text, &format!("o.yaml:2:31: `features[].bounds` {pair}"));
    }
    check("features:\n- {name: a, expr: up, bounds: 1}", &format!("o.yaml:2:23: `features[].bounds` {pair}"));
    check("features:\n- {name: a, expr: up, bounds: [1, 1]}", "o.yaml:2:31: `features[].bounds`: 1 is not less than 1");
    check("features:\n- {name: a, expr: ''}", "o.yaml:2:19: `features[].expr` must be a PromQL expression, not ``");
}

#[test]
fn push() {
    let url = "url: 'http://vm:8428/api/v1/write'";
    assert_eq!(read("").map(|config| config.push), Ok(None));
    let defaults = read(&format!("push: {{{url}}}")).unwrap().push.unwrap();
    assert_eq!((defaults.series, defaults.host_metrics), (PushSeries::All, false));
    assert_eq!((defaults.retry_min_ms, defaults.retry_max_ms, defaults.timeout_ms), (1_000, 60_000, 30_000));

    check("push: {}", "o.yaml:1:1: `push` has no `url`; write one, such as http://victoriametrics:8428/api/v1/write");
    check(
        "push: {url: 'https://u:hush@vm/api/v1/write'}",
        "o.yaml:1:13: `push.url`: https isn't supported yet; let a vmagent on this machine take it over http and send it on \
         with -remoteWrite.url=https://vm/api/v1/write",
    );
    let no_url = "`push.url` must be a URL that begins with http://, such as http://victoriametrics:8428/api/v1/write";
    check("push: {url: 'ftp://vm'}", &format!("o.yaml:1:13: {no_url}"));
    check("push: {url: vm}", &format!("o.yaml:1:13: {no_url}"));
    check(
        "push: {url: 'http://u:hush@vm'}",
        "o.yaml:1:13: `push.url` has a user; write it as `push.username` and `push.password`, which are never shown",
    );
    let one = |more: &str, expected: &str| check(&format!("push: {{{url}, {more}}}"), &format!("o.yaml:1:{expected}"));
    one("username: u", "1: `push` needs both `username` and `password`, or neither");
    one("password: p, username: u, bearer_token: t", "1: `push` has both `bearer_token` and a user; keep one of them");
    one("headers: ['X-A: b', c]", "64: `push.headers` must have `name: value`, such as 'X-Scope-OrgID: ops'");
    one("headers: ['Content-Type: b']", "54: `content-type` can't stand in `push.headers`: it says what we send");
    one("series: some", "52: `push.series` must be `all` or `host`, not `some`");
    one("host_metrics: yes", "58: `push.host_metrics` must be `true` or `false`, not `yes`");
    one("prefix: a-b", "52: `push.prefix` must be the beginning of a metric name, such as vmanomaly_, not `a-b`");
    one("queue: 10", "51: `push.queue` must be a whole number of samples from 1000 to 1000000000, not `10`");
    one("retry_min: 2m", "55: `push.retry_max` must not be shorter than `push.retry_min`");
    check(
        "push: {interval: 0s, batch: x, timeout: 1y, quueue: 3}",
        "o.yaml:1:1: `push` has no `url`; write one, such as http://victoriametrics:8428/api/v1/write\n\
         o.yaml:1:18: `push.interval` must be a duration from 1ms to 10m, such as 5s, not `0s`\n\
         o.yaml:1:29: `push.batch` must be a whole number of samples from 1 to 1000000, not `x`\n\
         o.yaml:1:41: `push.timeout` must be a duration from 10ms to 10m, such as 30s, not `1y`\n\
         o.yaml:1:45: unknown key `push.quueue`; did you mean `queue`?",
    );
}

#[test]
fn secrets_of_the_environment_are_not_in_messages() {
    let env = |_: &str| Some("hush\nhush".to_owned());
    let said = |text: &str| parse_with("o.yaml", text, &env).unwrap_err().to_string();
    for key in ["url: '%{URL}'", "url: http://vm, bearer_token: '%{T}'", "url: http://vm, headers: ['X: %{T}']"] {
        let said = said(&format!("push: {{{key}}}"));
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn broken_yaml() {
    check("step: \"1m", "o.yaml:1:7: not valid YAML: while scanning a quoted scalar, found unexpected end of stream");
    check("step: &a 1m", "o.yaml:1:7: anchors (`&name`) are not read here; write the value where it is meant");
    check("step: !x 1m", "o.yaml:1:7: tags (`!name`) are not read here; leave it out");
    check(
        "model:\n  alias: x\n   window: 3",
        "o.yaml:3:10: not valid YAML: mapping values are not allowed in this context; check the indentation, and put \
         quotes around a value with `: ` in it",
    );
    check("step: 1m\n---\nstep: 2m", "o.yaml:3:1: a second document; put everything into one, without `---`");
}

#[test]
fn environment() {
    let alias = |text: &str| read(text).map(|config| config.model.alias);
    assert_eq!(alias("model: {alias: \"%{SITE}\"}"), Ok("eu-1".to_owned()));
    assert_eq!(alias("model: {alias: \"a-%{SITE}-b-%{SITE}\"}"), Ok("a-eu-1-b-eu-1".to_owned()));
    assert_eq!(alias("model: {alias: 100%}"), Ok("100%".to_owned()));
    assert_eq!(alias("model: {alias: \"x%{SITE\"}"), Ok("x%{SITE".to_owned()));
    check("model:\n  alias: a-%{NOPE}", "o.yaml:2:12: the environment variable `NOPE` is not set");
    let expr = read("features: [{name: a, expr: 'b %{job=\"x\"}'}]").map(|config| config.features[0].expr.clone());
    assert_eq!(expr.as_deref(), Ok("b %{job=\"x\"}"));
}

#[test]
fn between_keys() {
    check(
        "step: 10m",
        "o.yaml:1:1: `step` is longer than `detection.stale_after` (5m), so every host would be stale between two rows; \
         raise `detection.stale_after`",
    );
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let text = format!("model: {{alias: \"{}%{{NOPE}}{}\"}}", "a".repeat(200), "b".repeat(200));
    let rendered = read(&text).unwrap_err();
    let lines: Vec<&str> = rendered.lines().collect();
    assert_eq!(lines[1], format!("  1 | …{}%{{NOPE}}{}…", "a".repeat(50), "b".repeat(43)));
    assert_eq!(lines[2], format!("    | {}^^^^^^^", " ".repeat(51)));
}

#[test]
fn a_file_that_is_not_there() {
    let errors = load(Path::new("no/such/file.yaml")).unwrap_err();
    assert!(errors.to_string().starts_with("no/such/file.yaml: cannot read the file: "), "{errors}");
}

#[test]
fn every_key_is_documented() {
    let documentation = include_str!("../../docs/configuration.md");
    let missing: Vec<String> =
        read::keys().into_iter().filter(|key| !documentation.contains(&format!("`{key}`"))).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn overrides() {
    const MATCH: &str = "label matchers in quotes, such as '{job=\"db\",instance=~\"eu-.*\"}'";
    check("overrides: [{limit: 2}]", &format!("o.yaml:1:13: `match` is missing; write {MATCH}"));
    check(
        "overrides: [{match: '{job=\"db\"}'}]",
        "o.yaml:1:13: this override changes nothing; give it a `limit`, `for`, `clear` or `features`",
    );
    check(
        "overrides:\n  - {match: '{job=\"b\"}', limit: 2}\n  - {match: '{job=\"b\"}', for: 2}",
        "o.yaml:3:5: a second override of `{job=\"b\"}`, the first is in line 2; make one of them",
    );
    check(
        "overrides: [{match: up, limit: -1}]",
        "o.yaml:1:21: `up` is more than the labels of a host; write label matchers, such as \
         {job=\"db\",instance=~\"eu-.*\"}\no.yaml:1:32: `overrides[].limit` must be a number above 0, such as 1.0, or `auto`, not `-1`",
    );
    check(
        "overrides: [{match: '{}', features: [{detect: up}, {name: a}, {name: a, min_dev: 1}]}]",
        "o.yaml:1:38: this feature has no `name`\n\
         o.yaml:1:47: `overrides[].features[].detect` must be `both`, `above`, `below` or `never`, not `up`\n\
         o.yaml:1:52: nothing is changed here; give `detect`, `min_dev` or `min_rel_dev`\n\
         o.yaml:1:63: a second `a` in one override, the first is in line 1",
    );
}

#[test]
fn matchers_are_about_labels_that_hosts_carry() {
    let entries = "overrides: [{match: '{env=\"prod\"}', limit: 2}]\n\
        maintenance: [{name: a, match: '{job=\"b\",env!=\"prod\"}', schedule: '0 2 * * *', duration: 2h}]";
    let unknown = |names: &str| {
        format!(
            "hosts carry no label `env`, so that it is empty for every host; match by {names}, or add `env` to `identity.keep`"
        )
    };
    let names = "`instance` or `job`";
    check(entries, &format!("o.yaml:1:21: {}\no.yaml:2:32: {}", unknown(names), unknown(names)));
    let with = |identity: &str| read(&format!("{entries}\nidentity: {identity}"));
    // Wherever the section stands.
    assert_eq!(with("{keep: [job, env]}").map(|config| config.overrides.len()), Ok(1));
    assert_eq!(with("{label: env, keep: [job]}").map(|config| config.maintenance.len()), Ok(1));
    let refused = with("{label: node, keep: [team, job]}").unwrap_err();
    assert!(refused.contains(&unknown("`node` or `team` or `job`")), "{refused}");
}

#[test]
fn maintenance() {
    check(
        "maintenance: [{name: a, match: '{}'}]",
        "o.yaml:1:15: this maintenance has no `schedule`\no.yaml:1:15: this maintenance has no `duration`",
    );
    let one = "{name: a, match: '{}', schedule: '0 2 * * *', duration: 2h}";
    check(
        &format!("maintenance:\n  - {one}\n  - {one}"),
        "o.yaml:3:5: a second maintenance `a`, the first is in line 2; rename one",
    );
    for (schedule, duration) in
        [("0 25 * * *", "2h"), ("nightly", "2h"), ("0 2 * * *", "90d"), ("0 2 * * * Mars", "2h")]
    {
        let text = format!("maintenance: [{{name: a, match: '{{}}', schedule: '{schedule}', duration: {duration}}}]");
        let refused = read(&text).unwrap_err();
        let expected =
            if duration == "2h" { "is no schedule; write when it starts" } else { "`maintenance[].duration` must be" };
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn webhook() {
    let of = |text: &str| read(text).unwrap().webhook.unwrap();
    assert_eq!(read("").map(|config| config.webhook), Ok(None));
    check(
        "feedback: {step: 0.9, min: 0, max: .inf}",
        "o.yaml:1:18: `feedback.step` must be a factor from 1 to 2, such as 1.1, not `0.9`\n\
         o.yaml:1:28: `feedback.min` must be a factor above 0 and at most 1, such as 0.5, not `0`\n\
         o.yaml:1:36: `feedback.max` must be a factor from 1 to 100, such as 3, not `.inf`",
    );
    let defaults = of("webhook: {url: 'http://am:9093'}");
    assert_eq!(defaults.url.as_str(), "http://am:9093/api/v2/alerts");
    assert_eq!((defaults.resend_ms, defaults.timeout_ms, defaults.batch_alerts), (60_000, 10_000, 500));
    assert_eq!((&defaults.external_url, &defaults.credentials), (&None, &None));
    for (url, expected) in [
        ("http://am/prefix/", "http://am/prefix/api/v2/alerts"),
        ("http://am/api/v2/alerts", "http://am/api/v2/alerts"),
        ("http://am/x/api/v2/alerts/", "http://am/x/api/v2/alerts"),
    ] {
        assert_eq!(of(&format!("webhook: {{url: '{url}'}}")).url.as_str(), expected);
    }
    let labels = |text: &str| {
        let labels = of(&format!("webhook: {{url: 'http://am', labels: {text}}}")).labels;
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(labels("[]"), "alertname=HostAnomalous severity=warning");
    assert_eq!(labels("['severity:', 'team: a: b']"), "alertname=HostAnomalous severity= team=a: b");
    let external = |url: &str| of(&format!("webhook: {{url: 'http://am', external_url: '{url}'}}")).external_url;
    assert_eq!(external("https://o.example/x/").as_deref(), Some("https://o.example/x"));

    let url = "url: 'http://am'";
    check("webhook: {}", "o.yaml:1:1: `webhook` has no `url`; write one, such as http://alertmanager:9093");
    check(
        "webhook: {url: 'https://am'}",
        "o.yaml:1:16: `webhook.url`: https isn't supported yet; use a proxy on this machine that adds TLS, or http",
    );
    check(
        &format!("webhook: {{{url}, external_url: outlierd}}"),
        "o.yaml:1:43: `webhook.external_url` must be the URL under which people reach outlierd, such as \
         http://outlierd:9201, not `outlierd`",
    );
    check(
        &format!("webhook: {{{url}, labels: [team, 'a-b: c', 'alertname: ']}}"),
        "o.yaml:1:38: `webhook.labels` must have `name: value`, such as 'severity: critical'\n\
         o.yaml:1:44: `webhook.labels` must have `name: value`, such as 'severity: critical'\n\
         o.yaml:1:54: `webhook.labels` can't leave `alertname` empty",
    );
    check(
        &format!("webhook: {{{url}, resend: 1ms, retry_min: 1m}}"),
        "o.yaml:1:37: `webhook.resend` must be a duration from 1s to 1h, such as 1m, not `1ms`\n\
         o.yaml:1:53: `webhook.retry_max` must not be shorter than `webhook.retry_min`",
    );
    check(
        &format!("webhook: {{{url}, username: u}}"),
        "o.yaml:1:1: `webhook` needs both `username` and `password`, or neither",
    );
}
