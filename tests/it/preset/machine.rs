//! A machine whose counters grow in proportion to its uptime, as node_exporter shows it, so that every rate is known exactly.

use std::collections::BTreeMap;

/// A scrape: by name and labels the value.
pub type Page = BTreeMap<(String, Vec<(String, String)>), f64>;

/// Share of its time that a CPU spends in each mode.
const CPU_SHARES: [(&str, f64); 8] = [
    ("idle", 0.70),
    ("iowait", 0.03),
    ("irq", 0.01),
    ("nice", 0.01),
    ("softirq", 0.01),
    ("steal", 0.01),
    ("system", 0.08),
    ("user", 0.15),
];

/// Per second, of each disk. The first disk is busier, see [`Machine::disks`].
const DISK_RATES: [(&str, f64); 8] = [
    ("reads_completed_total", 10.0),
    ("writes_completed_total", 20.0),
    ("read_bytes_total", 40_960.0),
    ("written_bytes_total", 163_840.0),
    ("read_time_seconds_total", 0.02),
    ("write_time_seconds_total", 0.1),
    ("io_time_seconds_total", 0.05),
    ("io_time_weighted_seconds_total", 0.12),
];

/// Per second, of each physical network device.
const NET_RATES: [(&str, f64); 8] = [
    ("receive_bytes_total", 1_000.0),
    ("transmit_bytes_total", 500.0),
    ("receive_packets_total", 10.0),
    ("transmit_packets_total", 5.0),
    ("receive_errs_total", 0.1),
    ("transmit_errs_total", 0.2),
    ("receive_drop_total", 0.3),
    ("transmit_drop_total", 0.4),
];

/// Per second.
const RATES: [(&str, f64); 20] = [
    ("vmstat_pswpin", 3.0),
    ("vmstat_pswpout", 5.0),
    ("vmstat_pgmajfault", 7.0),
    ("vmstat_oom_kill", 0.01),
    ("netstat_Tcp_ActiveOpens", 1.0),
    ("netstat_Tcp_PassiveOpens", 2.0),
    ("netstat_Tcp_InSegs", 300.0),
    ("netstat_Tcp_OutSegs", 200.0),
    ("netstat_Tcp_RetransSegs", 0.5),
    ("netstat_TcpExt_TCPTimeouts", 0.25),
    ("netstat_Tcp_OutRsts", 0.75),
    ("netstat_Tcp_InErrs", 0.125),
    ("netstat_TcpExt_ListenOverflows", 0.0625),
    ("netstat_Udp_InDatagrams", 11.0),
    ("netstat_Udp_OutDatagrams", 12.0),
    ("netstat_Udp_RcvbufErrors", 0.15),
    ("netstat_Udp_SndbufErrors", 0.05),
    ("context_switches_total", 5_000.0),
    ("forks_total", 6.0),
    ("intr_total", 9_000.0),
];

/// As they are.
const GAUGES: [(&str, f64); 16] = [
    ("load1", 1.5),
    ("load5", 1.2),
    ("load15", 0.9),
    ("memory_MemTotal_bytes", 8e9),
    ("memory_MemFree_bytes", 1e9),
    ("memory_MemAvailable_bytes", 6e9),
    ("memory_Shmem_bytes", 2e8),
    ("memory_SwapTotal_bytes", 2e9),
    ("memory_SwapFree_bytes", 1.5e9),
    ("netstat_Tcp_CurrEstab", 42.0),
    ("sockstat_TCP_inuse", 50.0),
    ("sockstat_TCP_tw", 9.0),
    ("procs_blocked", 2.0),
    ("nf_conntrack_entries", 1_000.0),
    ("nf_conntrack_entries_limit", 4_000.0),
    ("filefd_allocated", 2_048.0),
];

/// What the preset's features are of [`Machine::new`], worked out by hand from the figures above.
pub const EXPECTED: [(&str, f64); 56] = [
    ("cpu_busy", 0.30),
    ("cpu_user", 0.16),
    ("cpu_system", 0.10),
    ("cpu_iowait", 0.03),
    ("cpu_steal", 0.01),
    ("load1", 1.5),
    ("load5", 1.2),
    ("load15", 0.9),
    ("load_per_core", 0.75),
    ("mem_used", 0.25),
    ("mem_used_with_cache", 0.875),
    ("mem_shared", 2e8),
    ("swap_used", 0.25),
    ("swap_in", 3.0),
    ("swap_out", 5.0),
    ("major_faults", 7.0),
    ("oom_kills", 0.6),
    ("disk_queue", 0.24),
    ("disk_utilisation", 0.25),
    ("disk_reads", 20.0),
    ("disk_writes", 40.0),
    ("disk_read_bytes", 81_920.0),
    ("disk_written_bytes", 327_680.0),
    ("disk_service_time", 0.005),
    ("disk_await", 0.004),
    ("filesystem_used", 0.4),
    ("net_rx_bytes", 2_000.0),
    ("net_tx_bytes", 1_000.0),
    ("net_rx_packets", 20.0),
    ("net_tx_packets", 10.0),
    ("net_errors", 0.6),
    ("net_drops", 1.4),
    ("tcp_established", 42.0),
    ("tcp_in_use", 50.0),
    ("tcp_time_wait", 9.0),
    ("tcp_active_opens", 1.0),
    ("tcp_passive_opens", 2.0),
    ("tcp_in_segments", 300.0),
    ("tcp_out_segments", 200.0),
    ("tcp_retransmits", 0.5),
    ("tcp_timeouts", 0.25),
    ("tcp_out_resets", 0.75),
    ("tcp_in_errors", 0.125),
    ("tcp_listen_overflows", 0.0625),
    ("udp_in_datagrams", 11.0),
    ("udp_out_datagrams", 12.0),
    ("udp_receive_buffer_errors", 0.15),
    ("udp_send_buffer_errors", 0.05),
    ("context_switches", 5_000.0),
    ("forks", 6.0),
    ("processes_blocked", 2.0),
    ("conntrack_used", 0.25),
    ("file_descriptors_used", 2_048.0),
    ("pressure_cpu", 0.11),
    ("pressure_memory", 0.02),
    ("pressure_io", 0.13),
];

/// A network device as the netclass collector shows it.
#[derive(Debug, Clone)]
pub struct Nic {
    pub name: String,
    pub operstate: &'static str,
    /// ARPHRD: 1 Ethernet, 32 InfiniBand, 772 loopback, 65534 none.
    pub protocol_type: f64,
    /// Index of the device that it is linked to, less its own.
    pub link: f64,
    /// Bits of `IFF_…`.
    pub flags: f64,
    /// 0 for an address that is burnt in.
    pub address: f64,
    /// In bytes per second; negative where it is not known.
    pub speed: f64,
}

/// Up, broadcast, multicast.
const IFF_USUAL: f64 = 4_099.0;

impl Nic {
    /// A network card of a machine.
    pub fn real(name: &str) -> Self {
        let name = name.to_owned();
        let (operstate, protocol_type, link, flags, address, speed) = ("up", 1.0, 0.0, IFF_USUAL, 0.0, 1.25e9);
        Self { name, operstate, protocol_type, link, flags, address, speed }
    }

    /// One of a virtual machine: the hypervisor tells no speed.
    pub fn guest(name: &str) -> Self {
        Self { speed: -125_000.0, ..Self::real(name) }
    }

    /// An Ethernet device that only its unknown speed and its random address tell from a real one: an old kernel's bridge.
    pub fn bridge(name: &str) -> Self {
        Self { address: 1.0, speed: -125_000.0, ..Self::real(name) }
    }

    /// One end of a pair.
    pub fn veth(name: &str) -> Self {
        Self { link: -3.0, ..Self::bridge(name) }
    }

    /// WireGuard and the like.
    pub fn tunnel(name: &str) -> Self {
        Self { operstate: "unknown", protocol_type: 65_534.0, address: 0.0, ..Self::bridge(name) }
    }

    /// A master of other devices: its speed is their sum.
    pub fn bond(name: &str) -> Self {
        Self { flags: IFF_USUAL + 1_024.0, address: 3.0, ..Self::real(name) }
    }

    /// Its metrics of the netclass collector, without their prefix.
    fn netclass(&self, index: f64) -> [(&'static str, f64); 7] {
        [
            ("info", 1.0),
            ("protocol_type", self.protocol_type),
            ("iface_id", index),
            ("iface_link", index + self.link),
            ("flags", self.flags),
            ("address_assign_type", self.address),
            ("speed_bytes", self.speed),
        ]
    }
}

/// All that [`Nic::netclass`] has.
pub const NETCLASS: [&str; 6] = ["info", "protocol_type", "iface_", "flags", "address_assign_type", "speed_bytes"];

/// What may change of a machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Counters began here.
    pub boot_ms: i64,
    /// Per CPU since when it counts; `None` while it is switched off.
    pub cpus: Vec<Option<i64>>,
    /// Whole disks; the first is busy 0.25 of its time, the others 0.05.
    pub disks: Vec<String>,
    /// Whether the disks do anything.
    pub disks_work: bool,
    /// File systems; the first is filled to 0.4, the others to 0.1.
    pub filesystems: usize,
    /// Network devices that count.
    pub nics: Vec<Nic>,
    /// Other network devices, which carry a thousand times as much.
    pub virtual_nics: Vec<Nic>,
    /// What the netclass collector exposes of all of them, by the beginning of the metrics' names.
    pub netclass: Vec<&'static str>,
    /// Whether the kernel has pressure stall information.
    pub has_psi: bool,
    /// Whether there is swap.
    pub has_swap: bool,
    /// Further metrics, each a gauge of one series.
    pub others: Vec<String>,
}

impl Machine {
    /// Two CPUs, two disks, two file systems, two network devices, long since booted.
    pub fn new(boot_ms: i64) -> Self {
        Self {
            boot_ms,
            cpus: vec![Some(boot_ms); 2],
            disks: vec!["sda".to_owned(), "nvme0n1".to_owned()],
            disks_work: true,
            filesystems: 2,
            nics: ["eth0", "enp3s0f1"].map(Nic::real).into(),
            virtual_nics: vec![Nic { protocol_type: 772.0, ..Nic::tunnel("lo") }],
            netclass: NETCLASS.into(),
            has_psi: true,
            has_swap: true,
            others: Vec::new(),
        }
    }

    /// The metrics at `t_ms`.
    pub fn page(&self, t_ms: i64) -> Page {
        let mut page = Page::new();
        let mut put = |name: &str, labels: &[(&str, &str)], value: f64| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let twice = page.insert((format!("node_{name}"), labels), value);
            assert_eq!(twice, None, "node_{name}");
        };
        let since = |from_ms: i64| (t_ms - from_ms) as f64 / 1e3;
        let up_s = since(self.boot_ms);
        for (i, on_ms) in self.cpus.iter().enumerate().filter_map(|(i, on)| Some((i.to_string(), (*on)?))) {
            for (mode, share) in CPU_SHARES {
                put("cpu_seconds_total", &[("cpu", &i), ("mode", mode)], share * since(on_ms));
            }
        }
        for (i, device) in self.disks.iter().map(String::as_str).chain(["loop0", "dm-0", "md0"]).enumerate() {
            for (name, rate) in DISK_RATES {
                let busier = if name == "io_time_seconds_total" && i == 0 { 5.0 } else { 1.0 };
                let factor = if !self.disks_work {
                    0.0
                } else if i < self.disks.len() {
                    busier
                } else {
                    1e3
                };
                put(&format!("disk_{name}"), &[("device", device)], rate * factor * up_s);
            }
        }
        let filled = |i| if i == 0 { 0.4 } else { 0.1 };
        let real = (0..self.filesystems).map(|i| (format!("/mnt/{i}"), "ext4", filled(i)));
        let other = [("/run", "tmpfs", 0.9), ("/snap/core/1", "squashfs", 1.0), ("/merged", "overlay", 0.8)];
        for (mount, fstype, filled) in real.chain(other.map(|(mount, fstype, f)| (mount.to_owned(), fstype, f))) {
            let labels = [("device", "/dev/x"), ("fstype", fstype), ("mountpoint", mount.as_str())];
            put("filesystem_size_bytes", &labels, 1e11);
            put("filesystem_avail_bytes", &labels, 1e11 * (1.0 - filled));
        }
        let physical = self.nics.iter().map(|nic| (nic, 1.0));
        let nics = physical.chain(self.virtual_nics.iter().map(|nic| (nic, 1e3)));
        for (index, (nic, factor)) in (10..).zip(nics) {
            for (name, rate) in NET_RATES {
                put(&format!("network_{name}"), &[("device", &nic.name)], rate * factor * up_s);
            }
            for (name, value) in nic.netclass(f64::from(index)) {
                let labels = [("device", nic.name.as_str()), ("duplex", "full"), ("operstate", nic.operstate)];
                let n_labels = if name == "info" { 3 } else { 1 };
                if self.netclass.iter().any(|shown| name.starts_with(shown)) {
                    put(&format!("network_{name}"), &labels[..n_labels], value);
                }
            }
        }
        for (name, rate) in RATES {
            put(name, &[], rate * up_s);
        }
        for (name, value) in GAUGES {
            put(name, &[], if name.contains("Swap") && !self.has_swap { 0.0 } else { value });
        }
        for (name, rate) in [("cpu", 0.11), ("memory", 0.02), ("io", 0.13)].into_iter().filter(|_| self.has_psi) {
            put(&format!("pressure_{name}_waiting_seconds_total"), &[], rate * up_s);
        }
        page.extend(self.others.iter().map(|name| ((name.clone(), Vec::new()), 1.0)));
        page
    }
}
