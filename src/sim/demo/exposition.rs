//! A host's counters as the series that node_exporter exposes: its names, its labels, in its units.
//!
//! Owns the wording; every value is computed in `host`.

use super::host::{CPU_MODES, Host};
use crate::base::proto::prometheus::{Label, Sample, TimeSeries};
use crate::series::{METRIC_NAME, STALE_NAN_BITS, TimestampMs};

/// Bytes of a memory page and of a disk sector.
const PAGE: f64 = 4_096.0;

/// The series of one target, kept from scrape to scrape: the labels are built once, the samples overwritten.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// One sample each; exporter's series first, then what the scraper adds.
    series: Vec<TimeSeries>,
    /// Place of the next series of the scrape that is being written.
    next: usize,
    /// Number of `series` that come from the exporter.
    exported: usize,
    /// Labels that the scraper adds to each.
    target: Vec<(String, String)>,
    /// Time at which the scrape is said to have been.
    t_ms: TimestampMs,
}

impl Page {
    /// The page of `instance` as scraped by `job`.
    #[must_use]
    pub fn new(instance: &str, job: &str) -> Self {
        let target = vec![("instance".to_owned(), instance.to_owned()), ("job".to_owned(), job.to_owned())];
        Self { target, ..Self::default() }
    }

    /// A successful scrape of `host`.
    pub fn scrape(&mut self, host: &Host, t_ms: TimestampMs) -> &[TimeSeries] {
        self.write(t_ms, |page| {
            cpu(page, host);
            disk(page, host);
            memory(page, host);
            network(page, host);
            tcp(page, host);
            others(page, host);
        })
    }

    /// A successful scrape of what `exporter` puts, the same series in the same order each time.
    pub fn write(&mut self, t_ms: TimestampMs, exporter: impl FnOnce(&mut Self)) -> &[TimeSeries] {
        (self.t_ms, self.next) = (t_ms, 0);
        exporter(self);
        self.exported = self.next;
        self.scraper(true);
        &self.series
    }

    /// A failed scrape: `up` 0 and, with `ending`, a stale marker for each series that the last scrape had.
    pub fn fail(&mut self, t_ms: TimestampMs, ending: bool) -> &[TimeSeries] {
        self.t_ms = t_ms;
        if ending {
            for series in &mut self.series[..self.exported] {
                series.samples = vec![Sample { value: f64::from_bits(STALE_NAN_BITS), timestamp: t_ms }];
            }
        }
        self.next = self.exported;
        self.scraper(false);
        &self.series[if ending { 0 } else { self.exported }..]
    }

    /// Writes what the scraper itself says of a target; last, as vmagent does.
    fn scraper(&mut self, up: bool) {
        let exported = if up { self.exported as f64 } else { 0.0 };
        self.put("up", &[], f64::from(u8::from(up)));
        self.put("scrape_duration_seconds", &[], if up { 0.011 } else { 0.001 });
        self.put("scrape_timeout_seconds", &[], 10.0);
        self.put("scrape_samples_scraped", &[], exported);
        self.put("scrape_samples_post_metric_relabeling", &[], exported);
        self.put("scrape_series_added", &[], 0.0);
    }

    /// The next series of the scrape. Every scrape puts the same series in the same order.
    pub fn put(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        if self.next == self.series.len() {
            let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
            let target = self.target.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let all = std::iter::once((METRIC_NAME, name)).chain(labels.iter().copied()).chain(target);
            self.series.push(TimeSeries { labels: all.map(label).collect(), ..TimeSeries::default() });
        }
        let series = &mut self.series[self.next];
        debug_assert_eq!(series.labels[0].value, name, "a scrape must not change the order of its series");
        series.samples.clear();
        series.samples.push(Sample { value, timestamp: self.t_ms });
        self.next += 1;
    }

    /// A counter of whole things.
    fn count(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.put(name, labels, value.floor());
    }
}

fn cpu(page: &mut Page, host: &Host) {
    let (counters, gauges) = (&host.counters, &host.gauges);
    for (number, seconds) in counters.cpu_s.iter().enumerate() {
        let number = number.to_string();
        for (mode, value) in CPU_MODES.iter().zip(seconds) {
            let hundredths = (value * 100.0).floor() / 100.0;
            page.put("node_cpu_seconds_total", &[("cpu", &number), ("mode", mode)], hundredths);
        }
    }
    for (name, value) in ["node_load1", "node_load5", "node_load15"].into_iter().zip(gauges.load) {
        page.put(name, &[], (value * 100.0).round() / 100.0);
    }
    page.count("node_context_switches_total", &[], counters.switches);
    page.count("node_intr_total", &[], counters.interrupts);
    page.count("node_forks_total", &[], counters.forks);
    page.put("node_procs_running", &[], gauges.running);
    page.put("node_procs_blocked", &[], gauges.blocked);
    page.put("node_boot_time_seconds", &[], (host.boot_ms / 1_000) as f64);
    page.put("node_pressure_cpu_waiting_seconds_total", &[], counters.waited_s[0]);
    page.put("node_pressure_memory_waiting_seconds_total", &[], counters.waited_s[1]);
    page.put("node_pressure_memory_stalled_seconds_total", &[], 0.4 * counters.waited_s[1]);
    page.put("node_pressure_io_waiting_seconds_total", &[], counters.waited_s[2]);
    page.put("node_pressure_io_stalled_seconds_total", &[], 0.7 * counters.waited_s[2]);
}

fn disk(page: &mut Page, host: &Host) {
    let (counters, gauges) = (&host.counters, &host.gauges);
    let device: &[(&str, &str)] = &[("device", "vda")];
    let names = [
        ["reads_completed_total", "read_bytes_total", "read_time_seconds_total"],
        ["writes_completed_total", "written_bytes_total", "write_time_seconds_total"],
    ];
    for (i, [completed, bytes, time]) in names.into_iter().enumerate() {
        page.count(&format!("node_disk_{completed}"), device, counters.disk_ops[i]);
        page.count(&format!("node_disk_{bytes}"), device, (counters.disk_bytes[i] / 512.0).floor() * 512.0);
        page.put(&format!("node_disk_{time}"), device, counters.disk_s[i]);
    }
    page.count("node_disk_reads_merged_total", device, 0.2 * counters.disk_ops[0]);
    page.count("node_disk_writes_merged_total", device, 1.4 * counters.disk_ops[1]);
    page.put("node_disk_io_now", device, gauges.disk_queue);
    page.put("node_disk_io_time_seconds_total", device, counters.disk_busy_s);
    page.put("node_disk_io_time_weighted_seconds_total", device, counters.disk_weighted_s);

    let root: &[(&str, &str)] = &[("device", "/dev/vda1"), ("fstype", "ext4"), ("mountpoint", "/")];
    let (size, used) = (host.profile.filesystem, gauges.disk_used);
    page.put("node_filesystem_size_bytes", root, size);
    page.put("node_filesystem_free_bytes", root, (size - used).floor());
    page.put("node_filesystem_avail_bytes", root, (0.95 * size - used).floor());
    page.put("node_filesystem_files", root, (size / 16_384.0).floor());
    page.put("node_filesystem_files_free", root, (size / 16_384.0 - used / 60_000.0).floor());
    page.put("node_filesystem_readonly", root, 0.0);
    page.put("node_filesystem_device_error", root, 0.0);
}

fn memory(page: &mut Page, host: &Host) {
    let (g, total) = (&host.gauges, host.profile.memory);
    let (buffers, slab) = (0.01 * total, 0.02 * total);
    let free = (total - g.held - g.cached - buffers - slab).max(0.01 * total);
    let available = (free + 0.85 * (g.cached + buffers) + 0.5 * slab).min(total - g.held);
    let swap = 0.25 * total;
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", available),
        ("Buffers", buffers),
        ("Cached", g.cached + g.shared),
        ("Shmem", g.shared),
        ("AnonPages", 0.96 * g.held),
        ("Active", 0.7 * g.held + 0.4 * g.cached),
        ("Inactive", 0.3 * g.held + 0.6 * g.cached),
        ("Active_anon", 0.7 * g.held),
        ("Inactive_anon", 0.26 * g.held),
        ("Active_file", 0.4 * g.cached),
        ("Inactive_file", 0.6 * g.cached),
        ("Mapped", 0.1 * g.cached),
        ("Dirty", g.dirty),
        ("Writeback", 0.02 * g.dirty),
        ("Slab", slab),
        ("SReclaimable", 0.5 * slab),
        ("SUnreclaim", 0.5 * slab),
        ("KernelStack", 12e6),
        ("PageTables", 0.002 * g.held),
        ("SwapTotal", swap),
        ("SwapFree", swap - g.swap_used.min(swap)),
        ("SwapCached", 0.1 * g.swap_used.min(swap)),
        ("CommitLimit", swap + 0.5 * total),
        ("Committed_AS", 1.3 * g.held),
    ] {
        page.put(&format!("node_memory_{name}_bytes"), &[], (value / PAGE).floor() * PAGE);
    }
    let c = &host.counters;
    page.count("node_vmstat_pgfault", &[], c.faults[0]);
    page.count("node_vmstat_pgmajfault", &[], c.faults[1]);
    page.count("node_vmstat_pgpgin", &[], c.disk_bytes[0] / 1_024.0);
    page.count("node_vmstat_pgpgout", &[], c.disk_bytes[1] / 1_024.0);
    page.count("node_vmstat_pswpin", &[], c.swapped[0]);
    page.count("node_vmstat_pswpout", &[], c.swapped[1]);
    page.put("node_vmstat_oom_kill", &[], 0.0);
}

fn network(page: &mut Page, host: &Host) {
    let c = &host.counters;
    for (device, share) in [("eth0", 1.0), ("lo", 0.05)] {
        let device = &[("device", device)];
        for (i, direction) in ["receive", "transmit"].into_iter().enumerate() {
            let drops = if share < 1.0 { 0.0 } else { c.net_drops[i] };
            page.count(&format!("node_network_{direction}_bytes_total"), device, share * c.net_bytes[i]);
            page.count(&format!("node_network_{direction}_packets_total"), device, share * c.net_packets[i]);
            page.put(&format!("node_network_{direction}_errs_total"), device, 0.0);
            page.count(&format!("node_network_{direction}_drop_total"), device, drops);
            page.put(&format!("node_network_{direction}_fifo_total"), device, 0.0);
        }
        page.put("node_network_mtu_bytes", device, if share < 1.0 { 65_536.0 } else { 1_500.0 });
        page.put("node_network_up", device, if share < 1.0 { 0.0 } else { 1.0 });
        page.put("node_network_carrier", device, 1.0);
    }
    let per_cpu = host.profile.cpus as f64;
    for number in 0..host.profile.cpus {
        let cpu = number.to_string();
        let cpu = &[("cpu", cpu.as_str())];
        page.count("node_softnet_processed_total", cpu, c.net_packets[0] / per_cpu);
        page.count("node_softnet_dropped_total", cpu, c.net_drops[0] / per_cpu);
        page.put("node_softnet_times_squeezed_total", cpu, 0.0);
    }
}

fn tcp(page: &mut Page, host: &Host) {
    let (c, g) = (&host.counters, &host.gauges);
    for (name, value) in [
        ("Tcp_ActiveOpens", c.active_opens),
        ("Tcp_PassiveOpens", c.passive_opens),
        ("Tcp_CurrEstab", g.established),
        ("Tcp_InSegs", c.segments[0]),
        ("Tcp_OutSegs", c.segments[1]),
        ("Tcp_RetransSegs", c.retransmits),
        ("Tcp_InErrs", 0.0),
        ("Tcp_OutRsts", c.resets),
        ("TcpExt_ListenDrops", c.overflows),
        ("TcpExt_ListenOverflows", c.overflows),
        ("TcpExt_TCPSynRetrans", 0.1 * c.retransmits),
        ("TcpExt_TCPTimeouts", c.timeouts),
        ("TcpExt_SyncookiesSent", 0.0),
        ("Udp_InDatagrams", c.datagrams[0]),
        ("Udp_OutDatagrams", c.datagrams[1]),
        ("Udp_InErrors", c.datagrams_lost),
        ("Udp_NoPorts", 0.0),
        ("Udp_RcvbufErrors", c.datagrams_lost),
        ("Udp_SndbufErrors", 0.0),
        ("Icmp_InMsgs", 0.0),
        ("Icmp_OutMsgs", 0.0),
        ("Ip_Forwarding", 2.0),
        ("IpExt_InOctets", c.net_bytes[0]),
        ("IpExt_OutOctets", c.net_bytes[1]),
    ] {
        page.count(&format!("node_netstat_{name}"), &[], value);
    }
    let sockets = g.established + 24.0;
    for (name, value) in [
        ("TCP_inuse", sockets),
        ("TCP_alloc", sockets + 6.0),
        ("TCP_tw", g.time_wait),
        ("TCP_orphan", 0.0),
        ("TCP_mem", 0.4 * sockets),
        ("TCP_mem_bytes", (0.4 * sockets).floor() * PAGE),
        ("UDP_inuse", 6.0),
        ("UDP_mem", 2.0),
        ("sockets_used", sockets + 120.0),
    ] {
        page.count(&format!("node_sockstat_{name}"), &[], value);
    }
}

fn others(page: &mut Page, host: &Host) {
    let g = &host.gauges;
    page.put("node_filefd_allocated", &[], (1_400.0 + 1.6 * g.established).floor());
    page.put("node_filefd_maximum", &[], 1_048_576.0);
    page.put("node_nf_conntrack_entries", &[], (g.established + 0.6 * g.time_wait).floor());
    page.put("node_nf_conntrack_entries_limit", &[], 262_144.0);
    page.put("node_entropy_available_bits", &[], 256.0);
    page.put("node_time_seconds", &[], page.t_ms as f64 / 1e3);
    page.put("node_timex_offset_seconds", &[], 0.0);
    page.put("node_timex_sync_status", &[], 1.0);
    let uname: &[(&str, &str)] = &[("machine", "x86_64"), ("release", "6.1.0-28-amd64"), ("sysname", "Linux")];
    page.put("node_uname_info", uname, 1.0);
    page.put("node_exporter_build_info", &[("goversion", "go1.26.0"), ("version", "1.12.1")], 1.0);
    for collector in ["cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "netstat", "sockstat", "vmstat"]
    {
        page.put("node_scrape_collector_success", &[("collector", collector)], 1.0);
        page.put("node_scrape_collector_duration_seconds", &[("collector", collector)], 0.0004);
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Role;
    use super::*;
    use crate::base::random::Random;

    fn host() -> Host {
        let mut host = Host::new(Role::Db, 0, Random::new(1));
        host.step(60_000, 60.0, Default::default());
        host
    }

    fn value(series: &[TimeSeries], name: &str) -> f64 {
        series.iter().find(|s| s.labels[0].value == name).map_or(f64::NAN, |s| s.samples[0].value)
    }

    #[test]
    fn a_scrape_has_every_series_once_and_ends_with_what_the_scraper_adds() {
        let mut page = Page::new("db-00:9100", "node");
        let series = page.scrape(&host(), 60_000).to_vec();
        let mut names: Vec<String> = series.iter().map(|s| format!("{:?}", s.labels)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), series.len());
        assert!(series.len() > 200, "{}", series.len());
        assert!(series.iter().all(|s| s.samples[0].timestamp == 60_000 && s.samples[0].value.is_finite()));
        assert_eq!(series[series.len() - 6].labels[0].value, "up");
    }

    #[test]
    fn a_failed_scrape_is_up_0_and_stale_markers_once() {
        let mut page = Page::new("db-00:9100", "node");
        let all = page.scrape(&host(), 60_000).len();
        let first = page.fail(120_000, true);
        assert_eq!(first.len(), all);
        assert_eq!(first[0].samples[0].value.to_bits(), STALE_NAN_BITS);
        assert_eq!(value(first, "up"), 0.0);
        assert_eq!(page.fail(180_000, false).len(), 6);
        assert_eq!(value(page.scrape(&host(), 240_000), "up"), 1.0);
    }
}
