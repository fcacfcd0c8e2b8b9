//! What a host has to say: its series, how their values move and when they are there.

use super::draw::Draw;

/// One series of a host.
pub(super) struct Series {
    /// Without the labels that every series of the host has.
    pub(super) labels: Vec<(String, String)>,
    shape: Shape,
    presence: Presence,
    /// The newest value of a shape that moves on from it.
    value: f64,
    /// Whether the last scrape had it.
    is_there: bool,
}

/// How values move.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Counts up to so much per scrape, starts anew once in so many scrapes.
    Counter { per_scrape: f64, resets_every: u64 },
    /// A counter that is still in most half hours: 0 / 0 for ratios of its rates.
    Bursts { per_scrape: f64 },
    /// Anything from the first to the second.
    Gauge(f64, f64),
    /// A whole number under it.
    Whole(u64),
    /// Always the same.
    Constant(f64),
    /// One of these, each as often.
    OneOf(&'static [f64]),
}

/// When a series is there.
#[derive(Clone, Copy)]
pub(super) enum Presence {
    Always,
    /// In every so manieth scrape; nothing says that it was absent from the others.
    Every(u64),
    /// Missing from one scrape in so many, without a marker.
    Gaps(u64),
    /// From the so manieth scrape on.
    From(u64),
    /// Alternately there and gone for so many scrapes; with `marked`, its end is a stale marker.
    ComesAndGoes {
        there: u64,
        gone: u64,
        marked: bool,
    },
}

/// Numbers that break careless arithmetic.
const SPECIAL: &[f64] =
    &[1.0, 2.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 5e-324, -1e-300, 1e300, -1.7e308, 3.0, 4.25];

impl Series {
    fn new(name: &str, labels: &[(&str, &str)], shape: Shape, presence: Presence) -> Self {
        let mut all = vec![("__name__".to_owned(), name.to_owned())];
        all.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self { labels: all, shape, presence, value: 0.0, is_there: false }
    }

    /// Its sample of the scrape with number `k`; the stale marker where it ended with one, `None` where it has none.
    pub(super) fn scrape(&mut self, k: u64, draw: &mut Draw) -> Option<f64> {
        let was_there = self.is_there;
        let (is_there, marked) = match self.presence {
            Presence::Always => (true, true),
            Presence::Every(n) => (k.is_multiple_of(n), false),
            Presence::Gaps(n) => (draw.below(n) > 0, false),
            Presence::From(first) => (k >= first, true),
            Presence::ComesAndGoes { there, gone, marked } => (k % (there + gone) < there, marked),
        };
        self.is_there = is_there;
        if is_there {
            return Some(self.next_value(k, draw));
        }
        (was_there && marked).then_some(f64::from_bits(outlierd::series::STALE_NAN_BITS))
    }

    fn next_value(&mut self, k: u64, draw: &mut Draw) -> f64 {
        match self.shape {
            Shape::Counter { per_scrape, resets_every } => {
                if draw.below(resets_every) == 0 {
                    self.value = 0.0;
                }
                self.value += per_scrape * draw.unit();
            }
            Shape::Bursts { per_scrape } if k % 160 > 120 => self.value += per_scrape * draw.unit(),
            Shape::Bursts { .. } => {}
            Shape::Gauge(low, high) => self.value = low + (high - low) * draw.unit(),
            Shape::Whole(under) => self.value = draw.below(under) as f64,
            Shape::Constant(value) => self.value = value,
            Shape::OneOf(values) => self.value = draw.one(values),
        }
        self.value
    }
}

/// Every series of one host.
pub(super) fn of_host() -> Vec<Series> {
    let mut all = node_exporter();
    all.extend(own());
    // As senders do it: their own series of the target come last.
    all.push(Series::new("up", &[], Shape::Constant(1.0), Presence::Always));
    all
}

/// All families that the preset reads.
fn node_exporter() -> Vec<Series> {
    use Presence::{Always, ComesAndGoes, Gaps};
    const STEADY: u64 = 1_000_000;
    let mut all = Vec::new();
    let mut add = |name: &str, labels: &[(&str, &str)], shape, presence| {
        all.push(Series::new(name, labels, shape, presence));
    };
    let counter = |per_scrape| Shape::Counter { per_scrape, resets_every: 300 };
    for (cpu, presence) in
        [("0", Always), ("1", Always), ("2", Gaps(9)), ("3", ComesAndGoes { there: 200, gone: 90, marked: true })]
    {
        for (mode, per_scrape) in [
            ("idle", 12.0),
            ("user", 3.0),
            ("system", 1.5),
            ("iowait", 0.7),
            ("steal", 0.1),
            ("nice", 0.2),
            ("irq", 0.05),
            ("softirq", 0.05),
        ] {
            let shape = Shape::Counter { per_scrape, resets_every: STEADY };
            add("node_cpu_seconds_total", &[("cpu", cpu), ("mode", mode)], shape, presence);
        }
    }
    for device in ["sda", "nvme0n1", "dm-0", "loop0"] {
        for (name, per_scrape) in [
            ("io_time_weighted_seconds_total", 4.0),
            ("io_time_seconds_total", 2.0),
            ("reads_completed_total", 900.0),
            ("writes_completed_total", 700.0),
            ("read_bytes_total", 9e6),
            ("written_bytes_total", 7e6),
            ("read_time_seconds_total", 1.5),
            ("write_time_seconds_total", 2.5),
        ] {
            add(&format!("node_disk_{name}"), &[("device", device)], Shape::Bursts { per_scrape }, Always);
        }
    }
    for (mount, fstype) in [("/", "ext4"), ("/data", "xfs"), ("/run", "tmpfs")] {
        let labels = [("device", "/dev/x"), ("fstype", fstype), ("mountpoint", mount)];
        add("node_filesystem_avail_bytes", &labels, Shape::Gauge(1e9, 4e10), Always);
        add("node_filesystem_size_bytes", &labels, Shape::Constant(5e10), Always);
    }
    let veth = ComesAndGoes { there: 40, gone: 25, marked: true };
    for (device, presence) in [("eth0", Always), ("eth1", Gaps(20)), ("lo", Always), ("veth1a2b", veth)] {
        for (name, per_scrape) in [("bytes", 1e7), ("packets", 1e4), ("errs", 0.5), ("drop", 2.0)] {
            for way in ["receive", "transmit"] {
                let name = format!("node_network_{way}_{name}_total");
                add(&name, &[("device", device)], counter(per_scrape), presence);
            }
        }
    }
    all.extend(single_valued());
    all
}

/// The families of node_exporter with one series each.
fn single_valued() -> Vec<Series> {
    let mut all = Vec::new();
    for name in ["load1", "load5", "load15"] {
        all.push((format!("node_{name}"), Shape::Gauge(0.0, 8.0)));
    }
    for (name, high) in [("MemAvailable", 3e10), ("MemFree", 1e10), ("Shmem", 2e8), ("SwapFree", 4e9)] {
        all.push((format!("node_memory_{name}_bytes"), Shape::Gauge(high / 4.0, high)));
    }
    for (name, value) in [("MemTotal", 3.4e10), ("SwapTotal", 4e9)] {
        all.push((format!("node_memory_{name}_bytes"), Shape::Constant(value)));
    }
    for name in [
        "node_vmstat_pswpin",
        "node_vmstat_pswpout",
        "node_vmstat_pgmajfault",
        "node_vmstat_oom_kill",
        "node_netstat_Tcp_ActiveOpens",
        "node_netstat_Tcp_PassiveOpens",
        "node_netstat_Tcp_InSegs",
        "node_netstat_Tcp_OutSegs",
        "node_netstat_Tcp_RetransSegs",
        "node_netstat_TcpExt_TCPTimeouts",
        "node_netstat_Tcp_OutRsts",
        "node_netstat_Tcp_InErrs",
        "node_netstat_TcpExt_ListenOverflows",
        "node_netstat_TcpExt_ListenDrops",
        "node_netstat_Udp_InDatagrams",
        "node_netstat_Udp_OutDatagrams",
        "node_netstat_Udp_InErrors",
        "node_netstat_Udp_NoPorts",
        "node_netstat_Udp_RcvbufErrors",
        "node_netstat_Udp_SndbufErrors",
        "node_context_switches_total",
        "node_forks_total",
        "node_intr_total",
        "node_pressure_cpu_waiting_seconds_total",
        "node_pressure_memory_waiting_seconds_total",
        "node_pressure_memory_stalled_seconds_total",
        "node_pressure_io_waiting_seconds_total",
        "node_pressure_io_stalled_seconds_total",
    ] {
        all.push((name.to_owned(), Shape::Counter { per_scrape: 50.0, resets_every: 200 }));
    }
    for (name, under) in [
        ("node_netstat_Tcp_CurrEstab", 300),
        ("node_sockstat_TCP_inuse", 200),
        ("node_sockstat_TCP_tw", 90),
        ("node_sockstat_sockets_used", 900),
        ("node_procs_blocked", 4),
        ("node_procs_running", 9),
        ("node_nf_conntrack_entries", 60_000),
        ("node_filefd_allocated", 9_000),
    ] {
        all.push((name.to_owned(), Shape::Whole(under)));
    }
    for (name, value) in [("node_nf_conntrack_entries_limit", 65_536.0), ("node_filefd_maximum", 1e6)] {
        all.push((name.to_owned(), Shape::Constant(value)));
    }
    all.into_iter().map(|(name, shape)| Series::new(&name, &[], shape, Presence::Always)).collect()
}

/// Families made for this test: `own_*`.
fn own() -> Vec<Series> {
    use Presence::{Always, ComesAndGoes, Every, From, Gaps};
    let mut all = Vec::new();
    let mut add = |name: &str, labels: &[(&str, &str)], shape, presence| {
        all.push(Series::new(name, labels, shape, presence));
    };
    for (code, method, presence) in
        [("200", "GET", Always), ("200", "PUT", Gaps(7)), ("404", "GET", Gaps(4)), ("500", "GET", From(300))]
    {
        let labels = [("code", code), ("method", method)];
        add("own_requests_total", &labels, Shape::Counter { per_scrape: 40.0, resets_every: 60 }, presence);
        add("own_seconds_total", &labels, Shape::Counter { per_scrape: 0.3, resets_every: 90 }, presence);
    }
    let parts = [
        ("a", Always, Shape::Gauge(-40.0, 60.0)),
        ("b", Gaps(5), Shape::Gauge(10.0, 20.0)),
        ("c", ComesAndGoes { there: 30, gone: 33, marked: true }, Shape::Gauge(0.0, 1.0)),
        ("d", ComesAndGoes { there: 50, gone: 41, marked: false }, Shape::Gauge(5.0, 50.0)),
        ("e", Every(4), Shape::Gauge(100.0, 101.0)),
    ];
    for (part, presence, shape) in parts {
        add("own_temperature", &[("part", part)], shape, presence);
        let is_steady = matches!(presence, Always | Gaps(_));
        add("own_level", &[("part", part)], Shape::Gauge(1.0, 9.0), if is_steady { Always } else { Gaps(11) });
        add("own_whole", &[("part", part)], Shape::Whole(5), presence);
        add("own_capacity", &[("part", part), ("unit", "W")], Shape::Constant(80.0), Always);
        add("own_limit", &[("part", part), ("unit", "W")], Shape::Constant(90.0), Always);
        let version = if part == "a" { "1" } else { "2" };
        add("own_info", &[("part", part), ("version", version)], Shape::Constant(1.0), Always);
    }
    for k in ["a", "b", "c"] {
        add("own_special", &[("kind", k)], Shape::OneOf(SPECIAL), Gaps(6));
    }
    add("own_nan", &[], Shape::Constant(f64::NAN), Always);
    add("own_nan_sometimes", &[], Shape::OneOf(&[f64::NAN, 1.0, 2.0]), Always);
    add(
        "own_infinite",
        &[],
        Shape::OneOf(&[f64::INFINITY, 1.0, -7.0, 12.0, 0.5, 3.25, 4.0, 9.0, 2.0, 6.5, 5.0, 11.0, 8.0, 7.5]),
        Always,
    );
    add("own_zero", &[], Shape::OneOf(&[0.0, -0.0]), Always);
    add("own_tiny", &[], Shape::OneOf(&[2e-308, 1e-310, -3e-308]), Always);
    add("own_huge", &[], Shape::OneOf(&[1e15, 1.0, 2e15, 3.0]), Always);
    // Sums over a moving range must be rid of a spike that has left it
    add("own_spike", &[], Shape::OneOf(&[0.1, 0.2, 0.3, 0.7, 1.1, 1.3, 2.1, 2.3, 3.1, 1e18]), Always);
    add("own_spike_total", &[], Shape::OneOf(&[1.0, 2.5, 4.0, 1e6]), Gaps(9));
    // Small changes far from zero
    add("own_raised", &[], Shape::Gauge(1e6, 1e6 + 1.0), Always);
    add("own_constant", &[], Shape::Constant(0.1), Always);
    add("own_rare", &[], Shape::Gauge(3.0, 4.0), Every(4));
    add("own_rare_total", &[], Shape::Counter { per_scrape: 5.0, resets_every: 8 }, Every(4));
    add("own_late_total", &[], Shape::Counter { per_scrape: 2.0, resets_every: 1_000_000 }, From(203));
    add("own_flag", &[], Shape::Whole(2), Always);
    add("own_temporary", &[], Shape::Gauge(1.0, 2.0), ComesAndGoes { there: 55, gone: 29, marked: true });
    add("own_vanishing", &[], Shape::Gauge(1.0, 2.0), ComesAndGoes { there: 55, gone: 70, marked: false });
    add("own_moving", &[], Shape::Gauge(1.0, 3.0), Gaps(8));
    all
}
