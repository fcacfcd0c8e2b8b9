//! Names, labels and values of series; what a block holds; what finds no room.

use std::sync::Arc;

use prometheus::{Encoder as _, Registry, TextEncoder};
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};

use super::metrics::Metrics;
use super::queue::Outbox;
use super::row::QueuedRow;
use super::series::{Block, Layout};
use crate::base::clock::Clock;
use crate::base::proto::prometheus::WriteRequest;
use crate::config::push::{Push, PushSeries};
use crate::detect::verdict::FeatureScore;
use crate::engine::row::{AlertEligibility, HostId};
use crate::results::{FeatureInfo, ResultSchema, ScoredRow, Verdict};
use crate::series::Labels;

const T_MS: i64 = 1_700_000_000_000;

fn push(more: &str) -> Push {
    let text = format!("push: {{url: 'http://vm:8428/api/v1/write', {more}}}");
    crate::config::parse("o.yaml", &text).unwrap().push.unwrap()
}

/// Four configured features, two of them scored, in another order.
fn schema() -> ResultSchema {
    let feature =
        |name: &str| FeatureInfo { name: name.into(), expr: String::new(), unit: String::new(), help: String::new() };
    ResultSchema {
        features: ["cpu", "mem", "disk", "net"].map(feature).into(),
        selectors: Vec::new(),
        scored: vec![2, 0],
        model_alias: "eu".into(),
        bundle: 0,
        shadow: None,
        window: 60,
        step_ms: 60_000,
        min_history_ms: 0,
        stale_after_ms: 300_000,
        max_lag_ms: 15 * 60_000,
    }
}

fn layout(more: &str) -> Arc<Layout> {
    Arc::new(Layout::new(&push(more), &schema()))
}

fn host(labels: &[(&str, &str)]) -> Arc<HostId> {
    Arc::new(HostId { name: "a".into(), labels: Labels::from_pairs(labels.iter().copied()) })
}

/// `disk` is missing.
fn row(t_ms: i64) -> ScoredRow {
    let verdict = Verdict {
        mse: 3.0,
        limit: 2.0,
        score: 1.5,
        flag: Some(true),
        flagged_since_ms: None,
        expected: [f64::NAN, 0.25].into(),
        contributions: [0.0, 1.0].into(),
    };
    let host = host(&[("instance", "a:9100"), ("job", "node")]);
    let (values, eligibility) = ([0.75, 4e9, f64::NAN, 7.0].into(), AlertEligibility::Full);
    ScoredRow { host, t_ms, values, eligibility, verdict: Some(verdict), shadow: None }
}

/// The same, with another flag.
fn with_flag(flag: Option<bool>, row: ScoredRow) -> ScoredRow {
    ScoredRow { verdict: row.verdict.map(|verdict| Verdict { flag, ..verdict }), ..row }
}

const ALONE: [FeatureScore; 2] =
    [FeatureScore { score: f64::NAN, reach: [5.0; 2] }, FeatureScore { score: 6.25, reach: [0.125, 0.25] }];

/// A queue of `n` samples, its end for scoring and its end for sending.
fn queue(layout: &Arc<Layout>, n: usize) -> (Outbox, mpsc::Receiver<Vec<QueuedRow>>, Registry) {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let (sender, receiver) = mpsc::channel(n);
    (Outbox::new(Arc::clone(layout), sender, Arc::new(Semaphore::new(n)), metrics), receiver, registry)
}

/// Returns what reaches the wire of `row`, a line per sample.
fn wire(more: &str, row: ScoredRow, flag: Option<bool>) -> Vec<String> {
    let layout = layout(more);
    let (mut outbox, mut receiver, _) = queue(&layout, 1_000);
    outbox.add(&with_flag(flag, row), &ALONE);
    outbox.send();
    let mut block = Block::new(layout);
    for row in receiver.try_recv().into_iter().flatten() {
        let before = block.n_samples();
        block.push(&row).unwrap();
        assert_eq!(block.n_samples() - before, row.room.num_permits(), "a sample has its room");
    }
    let body = block.take().unwrap();
    assert_eq!(block.n_samples(), 0);
    let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let request = WriteRequest::decode(message.as_slice()).unwrap();
    let line = |series: &crate::base::proto::prometheus::TimeSeries| {
        assert!(series.labels.is_sorted_by(|a, b| a.name < b.name), "{series:?}");
        let labels = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
        let [sample] = series.samples[..] else { panic!("{series:?}") };
        format!("{} {} {}", Labels::from_pairs(labels), sample.value, sample.timestamp - T_MS)
    };
    request.timeseries.iter().map(line).collect()
}

#[test]
fn a_judged_row_has_vmanomalys_series() {
    let of = |name: &str, of: &str, value: &str| {
        format!(
            "{{__name__=\"{name}\", for=\"{of}\", instance=\"a:9100\", job=\"node\", model_alias=\"eu\", \
             preset=\"node-exporter\", scheduler_alias=\"stream\"}} {value} 5"
        )
    };
    let whole = of("anomaly_score", "whole-host", "1.5");
    let all = [
        whole.clone(),
        of("anomaly_score", "cpu", "6.25"),
        of("y", "cpu", "0.75"),
        of("yhat", "cpu", "0.25"),
        of("yhat_lower", "cpu", "0.125"),
        of("yhat_upper", "cpu", "0.5"),
    ];
    assert_eq!(wire("", row(T_MS + 5), Some(true)), all);
    assert_eq!(wire("series: host", row(T_MS + 5), Some(false)), [whole]);
    let renamed = wire("series: host, prefix: vmanomaly_, preset: p, scheduler_alias: s", row(T_MS + 5), Some(false));
    let expected = r#"{__name__="vmanomaly_anomaly_score", for="whole-host", instance="a:9100", job="node", model_alias="eu", preset="p", scheduler_alias="s"} 1.5 5"#;
    assert_eq!(renamed, [expected]);
}

#[test]
fn our_own_names_are_as_on_metrics() {
    let lines = wire("series: host, host_metrics: true", row(T_MS), Some(true));
    let labels = r#"instance="a:9100", job="node", model="eu"} "#;
    let of = |name: &str, value: &str| format!("{{__name__=\"outlierd_host_{name}\", {labels}{value} 0");
    assert_eq!(lines[1..], [of("anomaly", "1"), of("score", "1.5"), of("mse", "3"), of("threshold", "2")]);
}

#[test]
fn what_rules_alert_on_is_absent_where_the_host_cannot_be_judged() {
    let lines = wire("host_metrics: true", row(T_MS), None);
    let names: Vec<&str> = lines.iter().map(|line| line.split('"').nth(1).unwrap()).collect();
    let expected = [
        "outlierd_host_score",
        "outlierd_host_mse",
        "outlierd_host_threshold",
        "y",
        "yhat",
        "yhat_lower",
        "yhat_upper",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_row_without_a_verdict_and_numbers_that_are_none_are_not_sent() {
    assert_eq!(wire("", ScoredRow { verdict: None, ..row(T_MS) }, None), Vec::<String>::new());
    let infinite = ScoredRow { values: [f64::INFINITY, 0.0, f64::NAN, 0.0].into(), ..row(T_MS) };
    let lines = wire("", infinite, Some(false));
    assert!(lines.iter().all(|line| !line.contains("\"y\"")), "{lines:?}");
}

#[test]
fn labels_are_sorted_whatever_a_host_is_called_by_and_empty_ones_are_left_out() {
    let odd = ScoredRow { host: host(&[("Zone", "1"), ("zz", "é\"\n"), ("a", ""), ("g", "2")]), ..row(T_MS) };
    let line = &wire("series: host", odd, Some(false))[0];
    assert!(line.starts_with(r#"{Zone="1", __name__="anomaly_score", for="whole-host", g="2", model_alias"#), "{line}");
}

#[test]
fn the_newest_are_dropped_where_there_is_no_room() {
    // Six samples to a row.
    let (mut outbox, mut receiver, registry) = queue(&layout(""), 20);
    for k in 0..5 {
        outbox.add(&row(T_MS + k), &ALONE);
        outbox.send();
    }
    let metric = |name: &str| {
        let mut page = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap()
    };
    assert_eq!(metric("outlierd_push_samples_dropped_total{reason=\"queue_full\"}"), 12.0);
    assert_eq!(metric("outlierd_push_queue_samples "), 18.0);
    let queued: Vec<i64> = std::iter::from_fn(|| receiver.try_recv().ok()).flatten().map(|row| row.t_ms).collect();
    assert_eq!(queued, [T_MS, T_MS + 1, T_MS + 2]);
    // Taken rows were dropped with their room: there is some again.
    outbox.add(&row(T_MS + 9), &ALONE);
    outbox.send();
    assert_eq!(receiver.try_recv().unwrap()[0].t_ms, T_MS + 9);
    // Nobody sends any more.
    drop(receiver);
    outbox.add(&row(T_MS), &ALONE);
    outbox.send();
    assert_eq!(metric("outlierd_push_samples_dropped_total{reason=\"shutdown\"}"), 6.0);
}

#[test]
fn one_message_for_all_rows_of_a_batch() {
    let (mut outbox, mut receiver, _) = queue(&layout("series: host"), 100);
    (0..64).for_each(|k| outbox.add(&row(T_MS + k), &[]));
    outbox.send();
    outbox.send();
    assert_eq!(receiver.try_recv().unwrap().len(), 64);
    assert!(receiver.try_recv().is_err());
}

#[tokio::test]
async fn a_queue_that_has_no_room_for_a_row_is_refused() {
    let features = (0..1_000).map(|i| FeatureInfo {
        name: format!("f{i}"),
        expr: String::new(),
        unit: String::new(),
        help: String::new(),
    });
    let schema = ResultSchema { features: features.collect(), scored: (0..1_000).collect(), ..schema() };
    let start = |more: &str| {
        super::Pusher::start(
            &push(more),
            &schema,
            super::metrics::Metrics::new(&Registry::new()).unwrap(),
            Clock::System,
        )
        .map(|_| ())
    };
    let said = start("queue: 5000").unwrap_err().to_string();
    assert_eq!(said, "`push.queue` must be at least 5001: so many samples has each row");
    assert!(start("queue: 5001").is_ok());
    assert_eq!(push("series: host").series, PushSeries::Host);
}

#[test]
fn secrets_are_not_shown() {
    let more = "bearer_token: hush1, headers: ['X-Key: hush2']";
    let shown = format!("{:?}", push(more));
    assert!(shown.contains("<secret>") && !shown.contains("hush"), "{shown}");
    let shown = format!("{:?}", push("username: u, password: hush"));
    assert!(!shown.contains("hush"), "{shown}");
}
