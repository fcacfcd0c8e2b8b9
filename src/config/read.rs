//! As written → validated: which keys there are, what they may hold, and what must hold between them.

use std::path::PathBuf;

use super::errors::ConfigErrors;
use super::features::{features, preset};
use super::reader::{Context, Map, is_name};
use super::yaml;
use super::{
    Config, Detail, Detection, Feedback, Identity, Ingest, Limits, Metrics, Model, Scale, StandardisationOverrides,
    Threads, overrides, push, webhook,
};

const SECOND_MS: i64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;

/// Scrapes that are nearer to each other are taken for one by two senders.
const INTERVAL_MS_MIN: i64 = 250;

/// Things of one kind: more is a slip of the pen.
const MANY: usize = 1_000_000_000;

/// Labels that our own series have.
const OWN_LABELS: [&str; 7] = ["model", "state", "feature", "for", "model_alias", "scheduler_alias", "preset"];

/// Validates `text`; `env` looks environment variables up.
pub(super) fn config(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    let (root, problems) = yaml::read(text);
    let context = Context::new(text, env, problems);
    let config = root_map(file, context.map(root.as_ref(), ""));
    let problems = context.problems();
    if problems.is_empty() { Ok(config) } else { Err(ConfigErrors::new(file, text, problems)) }
}

/// Path of every key there is.
#[cfg(test)]
pub(super) fn keys() -> Vec<String> {
    let text = "features: [{name: a, expr: b}]\noverrides: [{features: [{name: a}]}]\nmaintenance: [{name: a}]";
    let (root, problems) = yaml::read(text);
    let context = Context::new(text, &|_| None, problems);
    root_map("", context.map(root.as_ref(), ""));
    context.asked()
}

fn root_map(file: &str, mut map: Map<'_>) -> Config {
    let mut config = Config::without_features();
    identity(map.section("identity"), &mut config.identity);
    let step_place = map.find("step").map(|entry| entry.place);
    config.step_ms = map.duration("step", 1..=DAY_MS, "60s");
    model(map.section("model"), &mut config.model);
    config.shadow = shadow(&mut map, &config.model);
    detection(map.section("detection"), &mut config.detection);
    let host_labels = config.identity.host_labels();
    config.overrides = overrides::overrides(&mut map, &host_labels);
    config.maintenance = overrides::maintenance(&mut map, &host_labels);
    standardisation(map.section("standardisation"), &mut config.standardisation);
    let preset = preset().unwrap_or_default();
    config.features = features(file, &mut map, &preset).unwrap_or(preset);
    ingest(map.section("ingest"), &mut config.ingest);
    feedback(map.section("feedback"), &mut config.feedback);
    let push_place = map.find("push").map(|entry| entry.place);
    config.push = push::read(map.section("push"), push_place);
    let webhook_place = map.find("webhook").map(|entry| entry.place);
    config.webhook = webhook::read(map.section("webhook"), webhook_place);
    limits(map.section("limits"), &mut config.limits);
    metrics(map.section("metrics"), &mut config.metrics);
    threads(map.section("threads"), &mut config.threads);
    let context = map.context();
    map.finish();
    if let (Some(place), Some(step_ms)) = (step_place, config.step_ms)
        && step_ms > config.detection.stale_after_ms
    {
        let stale_after = super::duration_text(config.detection.stale_after_ms);
        let message = format!(
            "`step` is longer than `detection.stale_after` ({stale_after}), so every host would be stale between two \
             rows; raise `detection.stale_after`"
        );
        context.problem(place, message);
    }
    config
}

/// Puts `value` into `target` where there is one.
fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn identity(mut map: Map<'_>, identity: &mut Identity) {
    let expected = "a label name, such as instance";
    set(&mut identity.label, map.parsed("label", expected, |text| is_host_label(text).then(|| text.to_owned())));
    let label = identity.label.clone();
    let explicit = label_list(&mut map, "drop", |name| (name == label).then_some("it names the hosts"));
    let dropped = explicit.clone().unwrap_or_default();
    let refused = |name: &str| {
        let own = OWN_LABELS.contains(&name).then_some("the results have a label of their own with that name");
        own.or(dropped.iter().any(|d| d == name).then_some("`identity.drop` removes it"))
    };
    set(&mut identity.keep, label_list(&mut map, "keep", refused));
    identity.keep.retain(|name| *name != identity.label && !dropped.contains(name));
    identity.is_drop_default = explicit.is_none();
    set(&mut identity.drop, explicit);
    if identity.is_drop_default {
        identity.drop.retain(|name| *name != identity.label && !identity.keep.contains(name));
    }
    map.finish();
}

fn is_host_label(name: &str) -> bool {
    is_name(name) && name != crate::series::METRIC_NAME && !OWN_LABELS.contains(&name)
}

/// The label names under `key`; `refused` gives the reason why a name can't stand there.
fn label_list(
    map: &mut Map<'_>,
    key: &'static str,
    refused: impl Fn(&str) -> Option<&'static str>,
) -> Option<Vec<String>> {
    let texts = map.texts(key, "a list of label names, such as [replica]")?;
    let mut names: Vec<String> = Vec::new();
    for found in texts {
        let name = found.text;
        if !is_name(&name) || name == crate::series::METRIC_NAME {
            let message = format!("`{name}` is no label name; letters, digits and `_` make one, such as replica");
            map.context().problem(found.place, message);
        } else if let Some(reason) = refused(&name) {
            map.context().problem(found.place, format!("`{name}` can't stand in `identity.{key}`: {reason}"));
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

fn model(mut map: Map<'_>, model: &mut Model) {
    model.bundle = map.text("bundle", "the path of an .onnx file").map(PathBuf::from);
    set(&mut model.alias, map.text("alias", "a short name, such as default"));
    model.window = map.whole("window", 2..=10_000, "rows");
    map.finish();
}

/// The model that scores beside the live one; none without the key.
fn shadow(map: &mut Map<'_>, live: &Model) -> Option<Model> {
    let place = map.find("shadow").map(|entry| entry.place);
    let mut shadow = Model { alias: "shadow".to_owned(), ..Model::default() };
    model(map.section("shadow"), &mut shadow);
    let place = place?;
    if shadow.alias == live.alias {
        let message = format!("`shadow.alias` is `{}`, as `model.alias` is; results are told apart by it", live.alias);
        map.context().problem(place, message);
    }
    Some(shadow)
}

fn detection(mut map: Map<'_>, detection: &mut Detection) {
    detection.limit = overrides::limit(&mut map);
    detection.smoothing_rows = map.number("smoothing", "a number of rows from 1 to 10000, such as 10", in_rows);
    let scale = |text: &str| match text {
        "residual" => Some(Scale::Residual),
        "none" => Some(Scale::None),
        _ => None,
    };
    detection.scale = map.parsed("scale", "`residual` or `none`", scale);
    let (for_rows, clear) = overrides::hold(&mut map);
    detection.for_rows = for_rows;
    set(&mut detection.clear, clear);
    set(&mut detection.min_history_ms, map.duration("min_history", 0..=YEAR_MS, "6h"));
    set(&mut detection.max_missing, map.number("max_missing", "a share from 0 to 1, such as 0.5", is_share));
    set(&mut detection.stale_after_ms, map.duration("stale_after", SECOND_MS..=30 * DAY_MS, "5m"));
    set(&mut detection.merge_ms, map.duration("merge", 0..=30 * DAY_MS, "15m"));
    set(&mut detection.max_lag_ms, map.duration("max_lag", SECOND_MS..=100 * YEAR_MS, "15m"));
    map.finish();
}

fn in_rows(n: f64) -> bool {
    (1.0..=10_000.0).contains(&n)
}

fn is_share(n: f64) -> bool {
    (0.0..=1.0).contains(&n)
}

fn standardisation(mut map: Map<'_>, overrides: &mut StandardisationOverrides) {
    overrides.memory_s = map.duration("memory", HOUR_MS..=YEAR_MS, "7d").map(seconds);
    overrides.warmup_s = map.duration("warmup", 0..=30 * DAY_MS, "1h").map(seconds);
    overrides.floor = map.number("floor", "a share from 0 to 1, such as 0.05", is_share);
    overrides.takeover_hold_s = map.duration("takeover_hold", 0..=30 * DAY_MS, "12h").map(seconds);
    map.finish();
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

/// The features that the file gives; `None` where it has no such key.
/// A feature that is called as one of the `preset` has its unit, help and floor, and with the same expression its bounds, unless
/// it says otherwise.
fn ingest(mut map: Map<'_>, ingest: &mut Ingest) {
    ingest.interval_ms = map.duration("interval", INTERVAL_MS_MIN..=HOUR_MS, "60s");
    set(&mut ingest.lateness_ms, map.duration("lateness", 0..=HOUR_MS, "10s"));
    set(&mut ingest.lookback_ms, map.duration("lookback", 1..=DAY_MS, "5m"));
    set(&mut ingest.max_future_ms, map.duration("max_future", 0..=YEAR_MS, "10m"));
    set(&mut ingest.max_age_ms, map.duration("max_age", SECOND_MS..=100 * YEAR_MS, "7d"));
    map.finish();
}

fn feedback(mut map: Map<'_>, feedback: &mut Feedback) {
    set(&mut feedback.step, map.number("step", "a factor from 1 to 2, such as 1.1", |n| (1.0..=2.0).contains(&n)));
    set(&mut feedback.min, map.number("min", "a factor above 0 and at most 1, such as 0.5", |n| n > 0.0 && n <= 1.0));
    set(&mut feedback.max, map.number("max", "a factor from 1 to 100, such as 3", |n| (1.0..=100.0).contains(&n)));
    map.finish();
}

fn limits(mut map: Map<'_>, limits: &mut Limits) {
    const GIB: u64 = 1 << 30;
    set(&mut limits.body_bytes, map.size("body", 1..=GIB, "32MiB"));
    set(&mut limits.concurrent_requests, map.whole("concurrent_requests", 1..=100_000, "requests"));
    let queue_wait = map.duration("queue_wait", 0..=60 * SECOND_MS, "10s").map(i64::unsigned_abs);
    set(&mut limits.queue_wait_ms, queue_wait);
    set(&mut limits.connections, map.whole("connections", 1..=1_000_000, "connections"));
    set(&mut limits.hosts, map.whole("hosts", 1..=MANY, "hosts"));
    set(&mut limits.series_per_host, map.whole("series_per_host", 1..=MANY, "series"));
    set(&mut limits.labels_per_series, map.whole("labels_per_series", 1..=10_000, "labels"));
    set(&mut limits.label_name_bytes, map.size("label_name", 1..=1 << 20, "256B"));
    set(&mut limits.label_value_bytes, map.size("label_value", 1..=1 << 20, "4KiB"));
    set(&mut limits.series_label_bytes, map.size("series_labels", 1..=1 << 24, "8KiB"));
    set(&mut limits.frames_per_host, map.whole("frames_per_host", 1..=MANY, "frames"));
    set(&mut limits.samples_per_host, map.whole("samples_per_host", 1..=MANY, "samples"));
    set(&mut limits.shard_queue, map.whole("shard_queue", 1..=1_000_000, "batches"));
    set(&mut limits.scorer_queue, map.whole("scorer_queue", 1..=MANY, "rows"));
    set(&mut limits.host_idle_ms, map.duration("host_idle", SECOND_MS..=YEAR_MS, "24h"));
    set(&mut limits.silences, map.whole("silences", 1..=60_000, "silences"));
    set(&mut limits.events, map.whole("events", 1..=10_000_000, "events"));
    set(&mut limits.feedback, map.whole("feedback", 1..=1_000_000, "opinions"));
    set(&mut limits.event_log_bytes, map.size("event_log", 1 << 16..=GIB, "64MiB"));
    map.finish();
}

fn metrics(mut map: Map<'_>, metrics: &mut Metrics) {
    let detail = |text: &str| match text {
        "full" => Some(Detail::Full),
        "compact" => Some(Detail::Compact),
        _ => None,
    };
    set(&mut metrics.detail, map.parsed("detail", "`full` or `compact`", detail));
    set(&mut metrics.max_series, map.whole("max_series", 1..=MANY, "series"));
    map.finish();
}

fn threads(mut map: Map<'_>, threads: &mut Threads) {
    set(&mut threads.shards, map.whole("shards", 1..=1_024, "threads"));
    set(&mut threads.scorers, map.whole("scorers", 1..=1_024, "threads"));
    map.finish();
}
