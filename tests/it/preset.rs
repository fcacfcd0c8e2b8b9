//! The built-in preset through decode and an engine, on machines that change as machines do. Every value is worked out by hand,
//! see `machine`.

mod glitches;
mod interfaces;
pub(crate) mod machine;
mod pipeline;

use std::collections::BTreeSet;

use outlierd::config::{self, Config};
use outlierd::engine::EngineCounter;
use outlierd::setup::Setup;

use machine::{EXPECTED, Machine, Nic};
use pipeline::{Pipeline, Row};

const START_MS: i64 = 1_700_000_007_000;
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// The scrape intervals that people have.
const INTERVALS_MS: [i64; 2] = [15_000, 60_000];

/// What the preset's ranges reach back at scrapes `interval_ms` apart.
fn range_ms(interval_ms: i64) -> i64 {
    (4 * interval_ms).max(2 * MINUTE_MS)
}

fn machine() -> Machine {
    Machine::new(START_MS - DAY_MS)
}

/// Times of `n` scrapes.
fn times(interval_ms: i64, n: i64) -> impl Iterator<Item = i64> {
    (0..n).map(move |i| START_MS + i * interval_ms)
}

/// Checks every feature of a row; `others` are those that are not as [`EXPECTED`], NaN for one that must be masked.
fn check_row(pipeline: &Pipeline, row: &Row, others: &[(&str, f64)]) {
    for (feature, usual) in EXPECTED {
        let expected = others.iter().find(|(name, _)| *name == feature).map_or(usual, |(_, value)| *value);
        let got = pipeline.value(row, feature);
        let is_right = if expected.is_nan() { got.is_nan() } else { close(got, expected) };
        assert!(is_right, "{feature} {} ms after the start: {got}, not {expected}", row.0 - START_MS);
    }
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-9 * expected.abs()
}

fn check_no_limit(pipeline: &Pipeline) {
    for event in [
        EngineCounter::SeriesPerHost,
        EngineCounter::FramesPerHost,
        EngineCounter::SamplesPerHost,
        EngineCounter::Late,
        EngineCounter::Duplicate,
    ] {
        assert_eq!(pipeline.count(event), 0, "{}", event.as_str());
    }
}

/// 20 minutes of `machine`, a row per minute, from where the ranges are filled on.
fn check_machine(machine: &Machine, others: &[(&str, f64)]) {
    for interval_ms in INTERVALS_MS {
        let mut pipeline = Pipeline::new(Config::default(), MINUTE_MS);
        for t_ms in times(interval_ms, 20 * MINUTE_MS / interval_ms + 1) {
            pipeline.scrape(t_ms, &machine.page(t_ms));
        }
        pipeline.finish();
        assert_eq!(pipeline.rows.iter().map(|row| row.0).collect::<Vec<_>>(), times(MINUTE_MS, 21).collect::<Vec<_>>());
        check_no_limit(&pipeline);
        for row in pipeline.rows.iter().filter(|row| row.0 >= START_MS + range_ms(interval_ms)) {
            check_row(&pipeline, row, others);
        }
    }
}

#[test]
fn every_metric_of_the_preset_is_node_exporter_s() {
    let setup = Setup::new(Config::default()).unwrap();
    for (version, names) in VERSIONS {
        let names: BTreeSet<&str> = names.lines().collect();
        for metric in setup.plan.metrics.iter().filter(|metric| *metric != "up") {
            assert!(names.contains(metric.as_str()), "node_exporter {version} has no {metric}");
        }
    }
    let covered: Vec<&str> = setup.config.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(covered, EXPECTED.map(|(name, _)| name));
    for feature in &setup.config.features {
        let is_complete = !feature.unit.is_empty() && !feature.help.is_empty() && feature.floor > 0.0;
        assert!(is_complete, "{} lacks unit, help or floor", feature.name);
        let is_bounded = feature.bounds.ends().iter().all(Option::is_some);
        assert!(is_bounded && feature.bounds.apply(1e15).is_none(), "{} has no bounds", feature.name);
    }
}

/// Names of the metrics of a Linux machine, with node_exporter's default collectors.
const VERSIONS: [(&str, &str); 2] = [
    ("1.5.0", include_str!("../fixtures/node_exporter/1.5.0.txt")),
    ("1.12.1", include_str!("../fixtures/node_exporter/1.12.1.txt")),
];

#[test]
fn values_are_those_worked_out_by_hand() {
    check_machine(&machine(), &[]);
}

#[test]
fn what_a_machine_lacks_is_masked() {
    let no_psi = ["pressure_cpu", "pressure_memory", "pressure_io"].map(|feature| (feature, f64::NAN));
    check_machine(&Machine { has_psi: false, ..machine() }, &no_psi);
    check_machine(&Machine { has_swap: false, ..machine() }, &[("swap_used", f64::NAN)]);
    // 0 requests in 0 seconds take no time that could be told.
    let still = ["queue", "utilisation", "reads", "writes", "read_bytes", "written_bytes"];
    let names = still.map(|name| format!("disk_{name}"));
    let mut idle: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 0.0)).collect();
    idle.extend([("disk_service_time", f64::NAN), ("disk_await", f64::NAN)]);
    check_machine(&Machine { disks_work: false, ..machine() }, &idle);
    let no_disks = names.iter().map(|name| (name.as_str(), f64::NAN)).chain(idle[6..].iter().copied());
    check_machine(&Machine { disks: Vec::new(), ..machine() }, &no_disks.collect::<Vec<_>>());
}

#[test]
fn many_devices_and_only_physical_ones_count() {
    let virtual_nics =
        ["lo", "docker0", "br0", "br-0a1b2c3d4e5f", "virbr0", "vnet7", "bond0", "team0", "vlan10", "vxlan.calico"];
    let more =
        ["eth0.100", "enp3s0f1.7", "cni0", "cali0123456789a", "flannel.1", "cilium_host", "kube-ipvs0", "dummy0"];
    let tunnels =
        ["tun0", "tunl0", "tap3", "wg0", "gre0", "gretap0", "sit0", "ifb1", "ovs-system", "lxcbr0", "podman1"];
    let virtual_nics = [&virtual_nics[..], &more, &tunnels].concat().into_iter().map(Nic::bridge);
    let machine = Machine {
        disks: (0..200).map(|i| format!("sd{i}")).collect(),
        filesystems: 40,
        virtual_nics: virtual_nics.chain((0..100).map(|i| Nic::veth(&format!("veth{i:07x}")))).collect(),
        ..machine()
    };
    let disks = [
        ("disk_queue", 24.0),
        ("disk_reads", 2_000.0),
        ("disk_writes", 4_000.0),
        ("disk_read_bytes", 8_192_000.0),
        ("disk_written_bytes", 32_768_000.0),
        // The first is busy 0.25 of its time, 199 are busy 0.05.
        ("disk_service_time", 10.2 / 6_000.0),
    ];
    check_machine(&machine, &disks);
}

/// The least `limits.series_per_host` that `machine` does with.
fn series_needed(machine: &Machine) -> usize {
    let is_enough = |series_per_host: usize| {
        let mut pipeline = Pipeline::new(with_series(series_per_host), MINUTE_MS);
        pipeline.scrape(START_MS, &machine.page(START_MS));
        pipeline.count(EngineCounter::SeriesPerHost) == 0
    };
    let all = machine.page(START_MS).len() + 1;
    assert!(is_enough(all) && !is_enough(1));
    let limits: Vec<usize> = (1..=all).collect();
    limits[limits.partition_point(|&limit| !is_enough(limit))]
}

fn with_series(series_per_host: usize) -> Config {
    let mut config = Config::default();
    config.limits.series_per_host = series_per_host;
    config
}

/// 500 scrapes of a machine that `change` changes before each, with room for `spare` series beyond its own.
fn check_churn(spare: usize, change: impl Fn(&mut Machine, i64)) {
    let mut machine = machine();
    let mut pipeline = Pipeline::new(with_series(series_needed(&machine) + spare), 15_000);
    for (i, t_ms) in (0..).zip(times(15_000, 500)) {
        change(&mut machine, i);
        pipeline.scrape(t_ms, &machine.page(t_ms));
    }
    pipeline.finish();
    assert_eq!(pipeline.rows.len(), 500);
    check_no_limit(&pipeline);
    for row in pipeline.rows.iter().filter(|row| row.0 >= START_MS + range_ms(15_000)) {
        check_row(&pipeline, row, &[]);
    }
}

#[test]
fn containers_come_and_go() {
    // What no feature selects takes no room at all.
    check_churn(0, |machine, i| {
        machine.virtual_nics.truncate(1);
        machine.virtual_nics.extend((2 * i..2 * i + 2).map(|i| Nic::veth(&format!("veth{i:07x}"))));
    });
}

#[test]
fn disks_come_and_go() {
    // One scrape gives no rate. A series that is gone is kept for the lookback of 5 minutes and is looked for as often: at most
    // 40 of 500 disks are there at a time, with 8 series each.
    check_churn(8 * 42, |machine, i| {
        machine.disks.truncate(2);
        machine.disks.push(format!("usb{i}"));
    });
}

#[test]
fn cpus_are_switched_on_and_off() {
    for interval_ms in INTERVALS_MS {
        let mut machine = Machine { cpus: vec![Some(START_MS - DAY_MS); 4], ..machine() };
        let mut pipeline = Pipeline::new(Config::default(), interval_ms);
        let (on_ms, off_ms) = (START_MS + 10 * MINUTE_MS, START_MS + 20 * MINUTE_MS);
        for t_ms in times(interval_ms, 30 * MINUTE_MS / interval_ms) {
            if t_ms == on_ms {
                // They were switched on since the last scrape.
                machine.cpus.resize(8, Some(t_ms - interval_ms / 2));
            } else if t_ms == off_ms {
                machine.cpus.truncate(4);
            }
            pipeline.scrape(t_ms, &machine.page(t_ms));
        }
        pipeline.finish();
        assert_eq!(pipeline.rows.len() as i64, 30 * MINUTE_MS / interval_ms);
        for row in pipeline.rows.iter().filter(|row| row.0 >= START_MS + range_ms(interval_ms)) {
            let cpus = if (on_ms..off_ms).contains(&row.0) { 8.0 } else { 4.0 };
            assert_eq!(pipeline.value(row, "load_per_core"), 1.5 / cpus, "at {}", row.0 - START_MS);
            // Never more than the machine really did; `cpu_busy` is what isn't idle, so that it errs to the other side.
            let most =
                [("cpu_busy", 1.0), ("cpu_user", 0.16), ("cpu_system", 0.1), ("cpu_iowait", 0.03), ("cpu_steal", 0.01)];
            for (feature, most) in most {
                let share = pipeline.value(row, feature);
                assert!((0.0..=most + 1e-9).contains(&share), "{feature} {share} at {}", row.0 - START_MS);
            }
            // While a range sees the change it holds fewer samples of some CPUs, and the shares are off; then they are right.
            if [on_ms, off_ms].iter().all(|change_ms| !(0..range_ms(interval_ms)).contains(&(row.0 - change_ms))) {
                check_row(&pipeline, row, &[("load_per_core", 1.5 / cpus)]);
            }
        }
    }
}

/// Features whose value is what a counter grew by: in a range that the machine was down for a part of they are lower.
fn rates() -> BTreeSet<String> {
    let is_rate = |feature: &config::Feature| {
        let is_share = feature.name.starts_with("cpu_") || feature.unit == "seconds";
        !is_share && (feature.expr.contains("rate(") || feature.expr.contains("increase("))
    };
    Config::default().features.into_iter().filter(is_rate).map(|feature| feature.name).collect()
}

#[test]
fn a_machine_reboots() {
    let rates = rates();
    // The last scrape before and the first one after are at least 90 s apart.
    for (interval_ms, gap_ms) in [(15_000, 90_000), (60_000, 120_000)] {
        let mut machine = machine();
        let mut pipeline = Pipeline::new(Config::default(), interval_ms);
        let down_ms = START_MS + 10 * MINUTE_MS;
        let up_ms = down_ms + gap_ms;
        for t_ms in times(interval_ms, 20 * MINUTE_MS / interval_ms) {
            if down_ms < t_ms && t_ms < up_ms {
                pipeline.fail(t_ms);
                continue;
            }
            if t_ms == up_ms {
                // Every counter began anew.
                machine = Machine::new(up_ms - 10_000);
            }
            pipeline.scrape(t_ms, &machine.page(t_ms));
        }
        pipeline.finish();
        assert_eq!(pipeline.rows.len() as i64, 20 * MINUTE_MS / interval_ms);
        for row in pipeline.rows.iter().filter(|row| row.0 >= START_MS + range_ms(interval_ms)) {
            let is_down = down_ms < row.0 && row.0 < up_ms;
            for (feature, usual) in EXPECTED {
                let (got, at) = (pipeline.value(row, feature), row.0 - START_MS);
                if rates.contains(feature) {
                    assert!(got.is_nan() || (0.0..=usual * (1.0 + 1e-9)).contains(&got), "{feature} {got} at {at}");
                } else if feature.starts_with("cpu_") {
                    assert!(got.is_nan() || (0.0..=1.0).contains(&got), "{feature} {got} at {at}");
                } else if is_down && !feature.starts_with("disk_") {
                    assert!(got.is_nan(), "{feature} {got} at {at}, while the machine is down");
                } else {
                    assert!(got.is_nan() || close(got, usual), "{feature} {got} at {at}");
                }
                // At one scrape a minute the first one after the boot is alone in its range: no rate yet.
                let is_alone = interval_ms == 60_000 && row.0 == up_ms;
                assert!(is_down || is_alone || !got.is_nan(), "{feature} is masked at {at}");
            }
            if row.0 <= down_ms || row.0 >= up_ms + range_ms(interval_ms) {
                check_row(&pipeline, row, &[]);
            }
        }
    }
}

#[test]
fn node_exporter_is_upgraded() {
    let others = |names: &str, machine: &Machine| {
        let page = machine.page(START_MS);
        let own: BTreeSet<&str> = page.keys().map(|(name, _)| name.as_str()).collect();
        let not_own = names.lines().filter(|name| !own.contains(name) && !name.starts_with("node_pressure"));
        not_own.map(str::to_owned).collect::<Vec<_>>()
    };
    for interval_ms in INTERVALS_MS {
        // The old one ran without the collector of pressure.
        let mut machine = Machine { has_psi: false, ..machine() };
        machine.others = others(VERSIONS[0].1, &machine);
        let mut pipeline = Pipeline::new(Config::default(), interval_ms);
        let upgrade_ms = START_MS + 10 * MINUTE_MS;
        for t_ms in times(interval_ms, 20 * MINUTE_MS / interval_ms) {
            if t_ms == upgrade_ms {
                machine.others = others(VERSIONS[1].1, &machine);
                machine.has_psi = true;
            }
            pipeline.scrape(t_ms, &machine.page(t_ms));
        }
        pipeline.finish();
        check_no_limit(&pipeline);
        let no_psi = ["pressure_cpu", "pressure_memory", "pressure_io"].map(|feature| (feature, f64::NAN));
        for row in pipeline.rows.iter().filter(|row| row.0 >= START_MS + range_ms(interval_ms)) {
            if row.0 <= upgrade_ms {
                check_row(&pipeline, row, &no_psi);
            } else if row.0 >= upgrade_ms + range_ms(interval_ms) {
                check_row(&pipeline, row, &[]);
            } else {
                let filling = no_psi.map(|(feature, _)| (feature, pipeline.value(row, feature)));
                check_row(&pipeline, row, &filling);
            }
        }
    }
}

#[test]
fn a_feature_of_the_file_replaces_the_preset_s() {
    let text = "features:\n- {name: load1, expr: node_load1 * 10}\n- {name: own, expr: sum(node_load5)}\n";
    let mut pipeline = Pipeline::new(config::parse("o.yaml", text).unwrap(), MINUTE_MS);
    pipeline.scrape(START_MS, &machine().page(START_MS));
    pipeline.finish();
    let row = &pipeline.rows[0];
    // The file's two and the 36 others that the bundle scores.
    assert_eq!(row.1.len(), 38);
    let values = ["load1", "own", "load5"].map(|feature| pipeline.value(row, feature));
    assert_eq!(values, [15.0, 1.2, 1.2]);
}
