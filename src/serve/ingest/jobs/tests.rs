//! Bodies in, notices and the report out, through the decoder.

use prost::Message;

use super::*;
use crate::base::proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use crate::config::Limits;
use crate::decode::{Decoder, Encoding, TimeBounds};

const NAMES: [&str; 3] = ["up", "node_load1", "node_cpu_seconds_total"];

struct World {
    jobs: Jobs,
    decoder: Decoder,
    wanted: Wanted,
}

impl World {
    fn new() -> Self {
        let wanted = Wanted::new(NAMES, "instance", 1, &Limits::default()).unwrap().beside_features(0);
        Self { jobs: Jobs::new(&wanted), decoder: Decoder::new(), wanted }
    }

    /// Sends a body of series, each written as `name job=node instance=a`; gives the notices that come of it.
    fn send(&mut self, now_ms: i64, series: &[&str]) -> Vec<Notice> {
        let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
        let one = |text: &&str| {
            let (name, labels) = text.split_once(' ').unwrap_or((text, ""));
            let labels = labels.split_whitespace().filter_map(|pair| pair.split_once('='));
            TimeSeries {
                labels: std::iter::once(label("__name__", name)).chain(labels.map(|(n, v)| label(n, v))).collect(),
                samples: vec![Sample { value: 1.0, timestamp: 1 }],
                exemplars: Vec::new(),
            }
        };
        let message = WriteRequest { timeseries: series.iter().map(one).collect(), metadata: Vec::new() };
        let body = snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap();
        let Self { jobs, decoder, wanted } = self;
        let decode = |look: Look<'_>| decoder.decode_and_look(&body, Encoding::Snappy, wanted, TimeBounds::NONE, look);
        let (decoded, notices) = jobs.look(now_ms, decode);
        assert!(decoded.is_ok());
        notices
    }

    /// The jobs of the report in short: `windows: unused, 2 of 3 series used, windows_ go_*`, a used prefix with a star.
    fn report(&self) -> Vec<String> {
        let job = |job: &JobReport| {
            let prefix = |p: &PrefixReport| format!(" {}{}{}", p.prefix, p.series, if p.used { "*" } else { "" });
            let prefixes: String = job.prefixes.iter().map(prefix).collect();
            format!("{}: {}/{}{prefixes}", job.job, job.used_series, job.series)
        };
        self.jobs.report().jobs.iter().map(job).collect()
    }
}

fn unused(job: &str, prefixes: &[&str]) -> Notice {
    Notice::Unused { job: job.to_owned(), prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect() }
}

fn no_identity(job: &str, labels: &[&str]) -> Notice {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Notice::NoIdentity { job: job.to_owned(), identity: "instance".to_owned(), labels, is_some: false }
}

#[test]
fn a_body_comes_to_notices_and_a_report() {
    let check = |series: &[&str], notices: &[Notice], report: &[&str]| {
        let mut world = World::new();
        assert_eq!(world.send(0, series), notices, "{series:?}");
        assert_eq!(world.report(), report, "{series:?}");
    };
    check(&[], &[], &[]);
    check(
        &["node_load1 job=node instance=a", "up job=node instance=a", "node_arp_entries job=node instance=a"],
        &[],
        &["node: 1/3 node_2* up1*"],
    );
    // One that no feature reads, whose `up` is kept all the same.
    check(
        &[
            "go_goroutines job=win instance=w",
            "up job=win instance=w",
            "windows_cpu_time_total job=win instance=w core=0",
            "windows_cpu_time_total job=win instance=w core=1",
        ],
        &[unused("win", &["windows_", "go_", "up"])],
        &["win: 0/4 go_1 up1 windows_2"],
    );
    // Both, and a series without a job.
    check(
        &["node_load1 job=node instance=a", "mysql_up job=db instance=d", "mysql_up instance=d"],
        &[unused("", &["mysql_"]), unused("db", &["mysql_"])],
        &[": 0/1 mysql_1", "db: 0/1 mysql_1", "node: 1/1 node_1*"],
    );
    // Without the identity label: what would be read is told of, the rest is counted.
    check(
        &["node_load1 job=fb host=a", "node_cpu_seconds_total job=fb host=a cpu=0", "node_arp_entries job=fb host=a"],
        &[no_identity("fb", &["host", "job"])],
        &["fb: 0/3 node_3"],
    );
    check(&["ALERTS job=node alertname=x", "node_load1 job=node instance=a"], &[], &["node: 1/2 ALERTS1 node_1*"]);
    check(
        &["node_load1 job=node instance=", "node_load1 job=node instance=a"],
        &[Notice::NoIdentity {
            job: "node".to_owned(),
            identity: "instance".to_owned(),
            labels: vec!["job".to_owned()],
            is_some: true,
        }],
        &["node: 1/2 node_2*"],
    );
    check(&["up job=fb host=a"], &[], &["fb: 0/1 up1"]);
    check(&["job:load:avg job=rules instance=a"], &[unused("rules", &["job:"])], &["rules: 0/1 job:1"]);
    check(&["outlierd_hosts job=outlierd instance=o"], &[], &["outlierd: 0/1 outlierd_1"]);
}

#[test]
fn a_job_may_be_unused_only_so_far() {
    let check = |first: &[&str], after_ms: i64, then: &[&str], expected: &[Notice]| {
        let mut world = World::new();
        assert_eq!(world.send(0, first), [], "{first:?}");
        assert_eq!(world.send(after_ms, then), expected, "{first:?}, then {then:?}");
        // Once is enough.
        assert_eq!(world.send(after_ms + 10 * LOOK_EVERY_MS, then), [], "{then:?}");
    };
    // The first part of a scrape of node_exporter, and a node_exporter without what features read.
    let (go, arp, load) =
        ("go_x job=node instance=a", "node_arp_entries job=node instance=a", "node_load1 job=node instance=a");
    check(&[go], 1, &[arp, load], &[]);
    check(&[go], 60_000, &[go], &[unused("node", &["go_"])]);
    check(&[go, arp], 60_000, &[arp], &[unused("node", &["node_", "go_"])]);

    let mut world = World::new();
    assert_eq!(world.send(0, &[go]), []);
    assert_eq!(world.send(DOUBT_MS - 1, &[go]), []);

    let mut world = World::new();
    let apt = "apt_upgrades_pending job=node instance=a";
    assert_eq!(world.send(0, &[apt]), [unused("node", &["apt_"])]);
    assert_eq!(world.send(LOOK_EVERY_MS, &[load]), [Notice::UsedAfterAll { job: "node".to_owned() }]);
    assert_eq!(world.send(2 * LOOK_EVERY_MS, &[load, apt]), []);
}

#[test]
fn what_is_new_is_found_at_once_and_all_else_after_a_while() {
    let mut world = World::new();
    let known = ["node_load1 job=node instance=a", "node_x job=node instance=a"];
    world.send(0, &known);
    let mut check = |now_ms: i64, series: &str, n_jobs: usize| {
        world.send(now_ms, &[known[0], known[1], series]);
        assert_eq!(world.report().len(), n_jobs, "{series} at {now_ms}");
    };
    // A second job with known names alone.
    check(1, "node_load1 job=second instance=b", 1);
    check(LOOK_EVERY_MS - 1, "node_x job=second instance=b", 1);
    check(LOOK_EVERY_MS, "node_x job=second instance=b", 2);
    // A new name, whatever is due. Its own look moves the next one.
    check(LOOK_EVERY_MS + 1, "mysql_up job=db instance=b", 3);
    check(2 * LOOK_EVERY_MS, "mysql_up job=third instance=b", 3);
    check(2 * LOOK_EVERY_MS + 1, "mysql_up job=third instance=b", 4);
    // The first that lacks the identity label.
    check(2 * LOOK_EVERY_MS + 2, "node_load1 job=fourth host=b", 5);
    check(2 * LOOK_EVERY_MS + 3, "node_load1 job=fifth host=b", 5);
}

#[test]
fn another_configuration_begins_anew() {
    let mut world = World::new();
    let windows = ["windows_os_info job=win instance=w"];
    assert_eq!(world.send(0, &windows), [unused("win", &["windows_"])]);
    world.wanted = Wanted::new(["up", "windows_os_info"], "instance", 1, &Limits::default()).unwrap();
    world.jobs.reconfigure(&world.wanted);
    assert_eq!(world.report(), [""; 0]);
    assert_eq!(world.send(1, &windows), []);
    assert_eq!(world.report(), ["win: 1/1 windows_1*"]);
    assert_eq!(world.send(2, &["node_load1 job=node instance=a"]), [unused("node", &["node_"])]);
}

#[test]
fn tables_are_bounded() {
    let mut world = World::new();
    let series: Vec<String> = (0..JOBS_MAX + 50).map(|i| format!("x{i}_y job=j{i:03} instance=a")).collect();
    let series: Vec<&str> = series.iter().map(String::as_str).collect();
    let notices = world.send(0, &series);
    assert_eq!((notices.len(), notices.last()), (11, Some(&Notice::More)));
    let left_out = |world: &World| (world.report().len(), world.jobs.report().jobs_left_out);
    assert_eq!(left_out(&world), (JOBS_MAX, 50));
    // One that is silent for long makes place.
    world.send(FORGET_MS + 1, &["late_x job=late instance=a"]);
    assert_eq!(left_out(&world), (JOBS_MAX, 50));
    assert!(world.report().contains(&"late: 0/1 late_1".to_owned()));

    let mut world = World::new();
    let series: Vec<String> = (0..PREFIXES_MAX + 5).map(|i| format!("x{i:02}_y job=j instance=a")).collect();
    world.send(0, &series.iter().map(String::as_str).collect::<Vec<_>>());
    let report = world.jobs.report();
    let job = &report.jobs[0];
    assert_eq!((job.series, job.prefixes.len(), job.prefixes_left_out), (35, PREFIXES_MAX, 5));

    let mut world = World::new();
    let labels: String = (0..30).map(|i| format!(" l{i}=v")).collect();
    let long = "é".repeat(300);
    world.send(0, &[&format!("node_load1 job={long}{labels}"), &format!("{long} job={long} instance=a")]);
    let report = world.jobs.report();
    assert_eq!(report.without_identity.labels.len(), LABELS_MAX);
    assert_eq!((report.jobs[0].job.chars().count(), report.jobs[0].prefixes[1].prefix.chars().count()), (64, 64));
}

#[test]
fn reasons_name_the_key_to_set() {
    let mut world = World::new();
    world.send(5, &["node_load1 job=fb host=a", "windows_x job=win instance=a", "node_load1 job=node instance=a"]);
    let report = world.jobs.report();
    let reason = |i: usize| report.jobs[i].reason.clone().unwrap_or_default();
    assert!(reason(0).contains("\"instance\"") && reason(0).contains("`identity.label`"), "{}", reason(0));
    assert_eq!((report.jobs[1].job.as_str(), report.jobs[1].reason.clone()), ("node", None));
    assert!(reason(2).contains("\"windows_\"") && reason(2).contains("`features`"), "{}", reason(2));
    let lacking = &report.without_identity;
    assert_eq!(
        (lacking.series, lacking.read_series, &lacking.labels[..]),
        (1, 1, &["host".to_owned(), "job".to_owned()][..])
    );
    assert!(lacking.reason.as_ref().unwrap().contains("`identity.label`"));
    assert_eq!((report.identity.as_str(), report.looked_at_ms), ("instance", Some(5)));
    assert_eq!((report.jobs[1].first_seen_ms, report.jobs[1].last_seen_ms), (5, 5));
}

/// As where a sender keeps `up|node_.*` of all that it scrapes.
#[test]
fn a_job_of_which_up_alone_comes_needs_no_line() {
    let mut world = World::new();
    let series = ["up job=db instance=a", "scrape_duration_seconds job=db instance=a"];
    assert_eq!(world.send(0, &series), []);
    assert_eq!(world.send(10 * DOUBT_MS, &series), []);
    assert_eq!(world.report(), ["db: 0/2 scrape_1 up1"]);
}

#[test]
fn a_job_that_features_read_takes_the_place_of_one_that_none_reads() {
    let mut world = World::new();
    let many: Vec<String> = (0..JOBS_MAX).map(|i| format!("mysql_up job=job{i} instance=a")).collect();
    world.send(0, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let notices = world.send(DOUBT_MS, &["node_load1 job=node host=a", "mysql_up job=other instance=a"]);
    assert!(world.report().contains(&"node: 0/1 node_1".to_owned()), "{:?}", world.report());
    assert!(
        notices.iter().all(|notice| !matches!(notice, Notice::Unused { job, .. } if job == "other")),
        "{notices:?}"
    );
}
