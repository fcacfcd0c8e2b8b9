//! Pages: their exact text in both formats, their limits, their pieces.

use bytes::Bytes;

use super::*;
use crate::config::{Detail, Metrics};
use crate::results::exposition::Format;
use crate::results::metrics_text::{Omitted, Page};

fn page(results: &Arc<Results>, detail: Detail, max_series: usize, format: Format) -> Page {
    Page::new(results, NOW_MS, &Metrics { detail, max_series }, format)
}

fn text(page: Page) -> String {
    page.map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect()
}

/// An anomalous host, and one that is warming and has an awkward name.
fn two_hosts() -> Arc<Results> {
    let results = Arc::new(Results::new(Arc::new(schema())));
    results.record_status(&status("a"), NOW_MS);
    results.record_row(scored("a", NOW_MS - MINUTE_MS, true), 60);
    let awkward = HostId { name: "b".into(), labels: Labels::from_pairs([("instance", "b\\\"\n")]) };
    results.record_status(&HostStatus { host: Arc::new(awkward), window_rows: 31, ..status("b") }, NOW_MS);
    results
}

/// `hosts` anomalous hosts with ten series each.
fn many(hosts: usize) -> Arc<Results> {
    let results = Arc::new(Results::new(Arc::new(ResultSchema { scored: vec![0], ..schema() })));
    for host in 0..hosts {
        let name = format!("host-{host:06}");
        results.record_status(&status(&name), NOW_MS);
        results.record_row(scored(&name, NOW_MS - MINUTE_MS, true), 1);
    }
    results
}

const EXPECTED: &str = r#"# HELP outlierd_host_anomaly 1 where the host is anomalous; absent where it can't be judged.
# TYPE outlierd_host_anomaly gauge
outlierd_host_anomaly{instance="a",job="node",model="default"} 1
# HELP outlierd_host_mse Smoothed mean squared error of the newest window.
# TYPE outlierd_host_mse gauge
outlierd_host_mse{instance="a",job="node",model="default"} 1.5
# HELP outlierd_host_state Always 1; the label says the host's state.
# TYPE outlierd_host_state gauge
outlierd_host_state{instance="a",job="node",model="default",state="anomalous"} 1
outlierd_host_state{instance="b\\\"\n",model="default",state="warming"} 1
# HELP outlierd_host_threshold The mse limit that the host is compared with.
# TYPE outlierd_host_threshold gauge
outlierd_host_threshold{instance="a",job="node",model="default"} 1
# HELP outlierd_host_score mse / threshold; above 1 is anomalous.
# TYPE outlierd_host_score gauge
outlierd_host_score{instance="a",job="node",model="default"} 1.5
# HELP outlierd_host_last_sample_timestamp_seconds Timestamp of the host's newest sample.
# TYPE outlierd_host_last_sample_timestamp_seconds gauge
outlierd_host_last_sample_timestamp_seconds{instance="a",job="node",model="default"} 1699999998.5
outlierd_host_last_sample_timestamp_seconds{instance="b\\\"\n",model="default"} 1699999998.5
# HELP outlierd_host_window_rows Rows in the host's window.
# TYPE outlierd_host_window_rows gauge
outlierd_host_window_rows{instance="a",job="node",model="default"} 60
outlierd_host_window_rows{instance="b\\\"\n",model="default"} 31
# HELP outlierd_feature_contribution Share of the error of an anomalous host that is this feature's.
# TYPE outlierd_feature_contribution gauge
outlierd_feature_contribution{instance="a",job="node",model="default",feature="cpu"} 1
outlierd_feature_contribution{instance="a",job="node",model="default",feature="disk"} 0
# HELP outlierd_feature_value Value of the feature of an anomalous host.
# TYPE outlierd_feature_value gauge
outlierd_feature_value{instance="a",job="node",model="default",feature="cpu"} 0.75
# HELP outlierd_feature_expected Value that the model expected of the feature of an anomalous host.
# TYPE outlierd_feature_expected gauge
outlierd_feature_expected{instance="a",job="node",model="default",feature="cpu"} 0.25
# HELP outlierd_results_compact 1 where only flag, mse and state of the hosts are here, as configured or since all were too many.
# TYPE outlierd_results_compact gauge
outlierd_results_compact 0
"#;

#[test]
fn the_exact_page() {
    let empty = Arc::new(Results::new(Arc::new(schema())));
    let without_hosts = text(page(&empty, Detail::Full, 100, Format::Text));
    assert_eq!(without_hosts.lines().count(), 3, "without hosts there are no empty families");
    assert_eq!(text(page(&two_hosts(), Detail::Full, 100, Format::Text)), EXPECTED);
}

#[test]
fn open_metrics_has_units_and_an_end() {
    let name = "outlierd_host_last_sample_timestamp_seconds";
    let head = format!("# TYPE {name} gauge\n");
    let expected = EXPECTED.replace(&head, &format!("{head}# UNIT {name} seconds\n")) + "# EOF\n";
    assert_eq!(text(page(&two_hosts(), Detail::Full, 100, Format::OpenMetrics)), expected);
}

#[test]
fn a_compact_page_has_flag_mse_and_state() {
    // The number of series, of which kinds, and what the limits kept off.
    let check = |detail: Detail, max_series: usize, n_series: usize, n_families: usize, compact, max| {
        let page = page(&two_hosts(), detail, max_series, Format::Text);
        assert_eq!(page.omitted, Omitted { compact, max_series: max }, "{detail:?} {max_series}");
        let text = text(page);
        // The gauge that says whether it is compact counts to neither.
        let n = text.lines().filter(|line| !line.starts_with('#')).count() - 1;
        assert_eq!((n, text.matches("# TYPE ").count() - 1), (n_series, n_families), "{text}");
        let says = format!("outlierd_results_compact {}\n", u8::from(n_families == 3));
        assert!(text.ends_with(&says), "{text}");
    };
    check(Detail::Full, 14, 14, 10, 0, 0);
    check(Detail::Full, 13, 4, 3, 10, 0);
    check(Detail::Full, 4, 4, 3, 10, 0);
    check(Detail::Full, 1, 1, 3, 10, 3);
    check(Detail::Compact, 100, 4, 3, 0, 0);
    check(Detail::Compact, 4, 4, 3, 0, 0);
    check(Detail::Compact, 3, 3, 3, 0, 1);
    let flags_first = text(page(&two_hosts(), Detail::Full, 1, Format::Text));
    assert!(flags_first.contains("\noutlierd_host_anomaly{"), "{flags_first}");
}

#[test]
fn hosts_that_come_and_go_while_it_is_written() {
    let results = many(2_000);
    let mut page = page(&results, Detail::Full, 1_000_000, Format::Text);
    let first = page.next().unwrap();
    results.forget("host-001999");
    results.record_status(&status("new"), NOW_MS);
    let rest = text(page);
    assert!(first.len() >= 64 << 10 && !rest.contains("host-001999") && !rest.contains("\"new\""));
    assert!(rest.ends_with("outlierd_results_compact 0\n"));
}

#[test]
fn a_million_series_come_in_pieces() {
    const SERIES: usize = 1_000_000;
    let results = many(SERIES / 10);
    let check = |max_series: usize, n_series: usize, omitted: Omitted| {
        let page = page(&results, Detail::Full, max_series, Format::OpenMetrics);
        assert_eq!(page.omitted, omitted);
        let (mut n, mut end) = (0, Bytes::new());
        for piece in page {
            // One host past 64 KiB at most, and no room left over.
            assert!(piece.len() < 65 << 10, "{}", piece.len());
            n += piece.iter().filter(|byte| **byte == b'\n').count();
            end = piece;
        }
        // Two lines of each family's head, the last family's sample, and the end.
        assert_eq!(n, n_series + 4 * 2 + 2);
        assert!(end.ends_with(b"# EOF\n"));
    };
    check(SERIES - 1, SERIES / 10 * 3, Omitted { compact: SERIES / 10 * 7, max_series: 0 });
    check(SERIES / 10, SERIES / 10, Omitted { compact: SERIES / 10 * 7, max_series: SERIES / 10 * 2 });
}

#[test]
fn a_host_with_other_labels_has_no_second_series() {
    let results = Arc::new(Results::new(Arc::new(schema())));
    let relabelled = |team: &str| {
        let labels = Labels::from_pairs([("instance", "a"), ("team", team)]);
        HostStatus { host: Arc::new(HostId { name: "a".into(), labels }), ..status("a") }
    };
    results.record_status(&relabelled("x"), NOW_MS);
    results.record_row(scored("a", NOW_MS - MINUTE_MS, false), 60);
    results.record_status(&relabelled("y"), NOW_MS);
    let text = text(page(&results, Detail::Full, 1_000, Format::Text));
    let flags: Vec<&str> = text.lines().filter(|line| line.starts_with("outlierd_host_anomaly{")).collect();
    assert_eq!(flags, [r#"outlierd_host_anomaly{instance="a",team="y",model="default"} 0"#]);
    assert!(!text.contains(r#"team="x""#), "{text}");
}
