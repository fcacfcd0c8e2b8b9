//! One simulated host: a few signals (how busy its users keep it) drive everything its kernel would count.
//!
//! Owns the counters and gauges; knows neither series nor time zones, and takes time as an argument.

use std::f64::consts::TAU;

use super::fault::Strain;
use super::wander::Wander;
use crate::base::random::Random;
use crate::series::TimestampMs;

/// Purpose of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Many connections, little disk.
    Web,
    /// Much memory and disk.
    Db,
    /// Works off jobs in turns.
    Batch,
}

/// Properties of a host that never change.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Purpose of the host.
    pub role: Role,
    /// Number of CPUs.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory: f64,
    /// Size of its file system in bytes.
    pub filesystem: f64,
    /// Requests per second on an average hour.
    rps: f64,
    /// CPU seconds per request.
    cost: f64,
    /// Bytes received per request.
    rx: f64,
    /// Bytes sent per request.
    tx: f64,
    /// Disk reads and writes per request.
    io: [f64; 2],
    /// Share of memory that programs hold.
    held: f64,
    /// Hour (UTC) of the daily peak.
    peak_hour: f64,
    /// Period of its jobs in seconds; 0 for none.
    job_period_s: f64,
}

impl Profile {
    /// A host of a role; hosts of one role differ somewhat.
    #[must_use]
    pub fn new(role: Role, random: &mut Random) -> Self {
        const GIB: f64 = 1_073_741_824.0;
        let (cpus, gib, rps, cost, rx, tx, io, held) = match role {
            Role::Web => (4, 8.0, 450.0, 0.0022, 900.0, 9_000.0, [0.01, 0.04], 0.45),
            Role::Db => (8, 32.0, 800.0, 0.0024, 1_400.0, 5_000.0, [0.25, 0.35], 0.62),
            Role::Batch => (8, 16.0, 60.0, 0.022, 40_000.0, 12_000.0, [1.2, 1.6], 0.30),
        };
        Self {
            role,
            cpus,
            memory: gib * GIB,
            filesystem: 20.0 * gib * GIB,
            rps: rps * random.between(0.8, 1.2),
            cost: cost * random.between(0.85, 1.15),
            rx: rx * random.between(0.8, 1.2),
            tx: tx * random.between(0.8, 1.2),
            io: io.map(|v: f64| v * random.between(0.8, 1.2)),
            held: held * random.between(0.9, 1.1),
            peak_hour: random.between(12.0, 15.0),
            job_period_s: if role == Role::Batch { random.between(1_500.0, 2_400.0) } else { 0.0 },
        }
    }
}

/// The modes of `node_cpu_seconds_total`, in the order of [`Counters::cpu_s`].
pub const CPU_MODES: [&str; 8] = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];

/// Counters of the kernel since the boot.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Seconds of each CPU in each of [`CPU_MODES`].
    pub cpu_s: Vec<[f64; 8]>,
    /// Context switches, interrupts and forks.
    pub switches: f64,
    /// See `switches`.
    pub interrupts: f64,
    /// See `switches`.
    pub forks: f64,
    /// Disk: operations, bytes and seconds, of reads and of writes.
    pub disk_ops: [f64; 2],
    /// See `disk_ops`.
    pub disk_bytes: [f64; 2],
    /// See `disk_ops`.
    pub disk_s: [f64; 2],
    /// Seconds with I/O going on.
    pub disk_busy_s: f64,
    /// The same, weighted with the length of the queue.
    pub disk_weighted_s: f64,
    /// Network: bytes, packets and drops, received and sent.
    pub net_bytes: [f64; 2],
    /// See `net_bytes`.
    pub net_packets: [f64; 2],
    /// See `net_bytes`.
    pub net_drops: [f64; 2],
    /// TCP connections opened by others and by the host.
    pub passive_opens: f64,
    /// See `passive_opens`.
    pub active_opens: f64,
    /// TCP segments in, out and sent again.
    pub segments: [f64; 2],
    /// See `segments`.
    pub retransmits: f64,
    /// TCP timeouts, resets sent, damaged segments, refused connections.
    pub timeouts: f64,
    /// See `timeouts`.
    pub resets: f64,
    /// See `timeouts`.
    pub overflows: f64,
    /// UDP datagrams in and out.
    pub datagrams: [f64; 2],
    /// UDP datagrams lost because a buffer was full.
    pub datagrams_lost: f64,
    /// Page faults, and those that went to the disk.
    pub faults: [f64; 2],
    /// Pages swapped in and out.
    pub swapped: [f64; 2],
    /// Seconds in which something waited for CPU, memory or I/O (PSI).
    pub waited_s: [f64; 3],
}

/// Gauges of the kernel at the present moment.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Load averages over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Bytes held by programs, of the page cache, of shared memory, not yet written.
    pub held: f64,
    /// See `held`.
    pub cached: f64,
    /// See `held`.
    pub shared: f64,
    /// See `held`.
    pub dirty: f64,
    /// Bytes of swap in use.
    pub swap_used: f64,
    /// Bytes used on the file system.
    pub disk_used: f64,
    /// Requests in the disk's queue.
    pub disk_queue: f64,
    /// Processes that run, and that wait for I/O.
    pub running: f64,
    /// See `running`.
    pub blocked: f64,
    /// TCP connections: established, and in `TIME_WAIT`.
    pub established: f64,
    /// See `established`.
    pub time_wait: f64,
}

/// One host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Properties that never change.
    pub profile: Profile,
    /// Counters since its boot.
    pub counters: Counters,
    /// Gauges at the present moment.
    pub gauges: Gauges,
    /// Time of the boot.
    pub boot_ms: TimestampMs,
    /// Demand of its users, beside the daily rhythm: slow and quick.
    demand: [Wander; 2],
    /// Memory that its programs hold, beside the load.
    appetite: Wander,
    random: Random,
}

/// Demands of users and faults on the host in one step, per second.
struct Demand {
    /// Requests.
    rps: f64,
    /// Share of all CPUs that is busy, 0..1.
    busy: f64,
    /// CPUs asked for, as a share; may be over 1.
    wanted: f64,
    /// Share of time that the disk is busy, 0..1.
    disk_busy: f64,
}

impl Host {
    /// A host that has been up for some days.
    #[must_use]
    pub fn new(role: Role, boot_ms: TimestampMs, mut random: Random) -> Self {
        let profile = Profile::new(role, &mut random);
        let counters = Counters { cpu_s: vec![[0.0; 8]; profile.cpus], ..Counters::default() };
        let gauges = Gauges {
            held: profile.held * profile.memory,
            cached: 0.25 * profile.memory,
            disk_used: random.between(0.3, 0.6) * profile.filesystem,
            ..Gauges::default()
        };
        let demand = [Wander::new(2_400.0), Wander::new(90.0)];
        Self { profile, counters, gauges, boot_ms, demand, appetite: Wander::new(5_400.0), random }
    }

    /// Counters and memory as after a boot at `t_ms`.
    pub fn reboot(&mut self, t_ms: TimestampMs) {
        self.boot_ms = t_ms;
        self.counters = Counters { cpu_s: vec![[0.0; 8]; self.profile.cpus], ..Counters::default() };
        self.gauges.swap_used = 0.0;
        self.gauges.cached = 0.15 * self.profile.memory;
        self.gauges.load = [0.0; 3];
    }

    /// Lives through the `dt_s` seconds before `t_ms`.
    pub fn step(&mut self, t_ms: TimestampMs, dt_s: f64, strain: Strain) {
        let demand = self.demand(t_ms, dt_s, strain);
        self.step_cpu(&demand, dt_s);
        self.step_disk(&demand, dt_s, strain);
        self.step_memory(&demand, dt_s, strain);
        self.step_network(&demand, dt_s, strain);
    }

    fn demand(&mut self, t_ms: TimestampMs, dt_s: f64, strain: Strain) -> Demand {
        let p = &self.profile;
        let t_s = t_ms as f64 / 1e3;
        let daily = 1.0 + 0.22 * (TAU * (t_s / 3_600.0 - p.peak_hour) / 24.0).cos();
        let slow = self.demand[0].step(dt_s, &mut self.random);
        let quick = self.demand[1].step(dt_s, &mut self.random);
        // Jobs fill 40 % of their period and idle on 15 % between.
        let turn = if p.job_period_s > 0.0 && (t_s / p.job_period_s).fract() > 0.4 { 0.15 } else { 1.0 };
        let rps = p.rps * daily * turn * (1.0 + 0.06 * slow + 0.05 * quick).max(0.2);
        // Traffic that is thrown away costs the kernel a little CPU; a stuck disk holds the requests back.
        let rps = rps * (1.0 - 0.6 * strain.disk) * (1.0 - 4.0 * strain.loss).max(0.3);
        let wanted = 0.02 + rps * p.cost / p.cpus as f64 + strain.busy + 0.008 * strain.packets;
        let operations = p.io.iter().sum::<f64>() * rps + 4.0;
        let disk_busy = (operations * 0.0006).min(0.6) + strain.disk;
        Demand { rps, busy: wanted.min(0.985), wanted, disk_busy: disk_busy.min(0.995) }
    }

    fn step_cpu(&mut self, demand: &Demand, dt_s: f64) {
        let (random, counters, cpus) = (&mut self.random, &mut self.counters, self.profile.cpus as f64);
        let iowait = (0.12 * demand.disk_busy.powi(2)).min(1.0 - demand.busy);
        for cpu in &mut counters.cpu_s {
            let busy = (demand.busy * random.about_one(0.06)).min(1.0 - iowait);
            let shares = [0.0, iowait, 0.0, 0.004, 0.035 * busy, 0.002, 0.23 * busy, 0.72 * busy];
            let idle = 1.0 - shares.iter().sum::<f64>();
            for (seconds, share) in cpu.iter_mut().zip([idle.max(0.0)].iter().chain(&shares[1..])) {
                *seconds += share * dt_s;
            }
        }
        let queue = demand.wanted * cpus + 2.0 * demand.disk_busy.powi(4) * 4.0;
        for (load, minutes) in self.gauges.load.iter_mut().zip([1.0, 5.0, 15.0]) {
            let keep = (-dt_s / (60.0 * minutes)).exp();
            *load = *load * keep + queue * random.about_one(0.05) * (1.0 - keep);
        }
        counters.switches += dt_s * (600.0 * cpus + 14.0 * demand.rps) * random.about_one(0.03);
        counters.interrupts += dt_s * (250.0 * cpus + 6.0 * demand.rps) * random.about_one(0.03);
        counters.forks += dt_s * 3.0 * random.about_one(0.1);
        counters.waited_s[0] += dt_s * (0.5 * demand.busy.powi(3) + 0.2 * (demand.wanted - demand.busy)).min(1.0);
        self.gauges.running = 1.0 + (demand.wanted * cpus * random.about_one(0.3)).floor();
    }

    fn step_disk(&mut self, demand: &Demand, dt_s: f64, strain: Strain) {
        let (random, counters, gauges) = (&mut self.random, &mut self.counters, &mut self.gauges);
        let flood = [40.0, 900.0];
        // The busier the disk, the longer each operation waits (as for one server with a queue).
        let wait_s = 0.0005 / (1.0 - demand.disk_busy) * random.about_one(0.08);
        for i in 0..2 {
            let operations = self.profile.io[i] * demand.rps + 2.0 + strain.disk * flood[i];
            let operations = operations * random.about_one(0.05) * dt_s;
            counters.disk_ops[i] += operations;
            counters.disk_bytes[i] += operations * [16_384.0, 24_576.0][i] * random.about_one(0.04);
            counters.disk_s[i] += operations * wait_s * [1.0, 1.6][i];
        }
        let busy = (demand.disk_busy * random.about_one(0.05)).min(1.0);
        let queue = demand.disk_busy / (1.0 - demand.disk_busy);
        counters.disk_busy_s += dt_s * busy;
        counters.disk_weighted_s += dt_s * queue * random.about_one(0.08);
        counters.waited_s[2] += dt_s * (0.3 * demand.disk_busy.powi(2)).min(1.0);
        gauges.disk_queue = (queue * random.about_one(0.3)).floor();
        gauges.blocked = (queue.min(24.0) * 0.5 * random.about_one(0.3)).floor();
        // Logs grow; once they have taken 5 % of the file system, a rotation gives it back.
        gauges.disk_used += dt_s * (2_000.0 + 40.0 * demand.rps + 4e5 * strain.disk);
        if gauges.disk_used > 0.75 * self.profile.filesystem {
            gauges.disk_used -= 0.05 * self.profile.filesystem;
        }
    }

    fn step_memory(&mut self, demand: &Demand, dt_s: f64, strain: Strain) {
        let (random, counters, gauges, p) = (&mut self.random, &mut self.counters, &mut self.gauges, &self.profile);
        let appetite = self.appetite.step(dt_s, random);
        let load = demand.rps / p.rps - 1.0;
        let share = p.held * (1.0 + 0.025 * appetite + 0.05 * load) + strain.memory;
        let over = (share - 0.93).max(0.0);
        gauges.held += ((share - over) * p.memory - gauges.held) * (1.0 - (-dt_s / 120.0).exp());
        gauges.shared = (0.01 + 0.002 * appetite) * p.memory;
        gauges.dirty = (3e6 + 2e5 * demand.rps * p.io[1] + 4e8 * strain.disk) * random.about_one(0.2);
        // The cache fills what is left, slowly; programs push it out at once.
        let room = (0.93 * p.memory - gauges.held).max(0.01 * p.memory);
        gauges.cached += (0.8 * room - gauges.cached) * (1.0 - (-dt_s / 3_600.0).exp());
        gauges.cached = gauges.cached.min(room);
        gauges.swap_used += (over * p.memory - gauges.swap_used) * (1.0 - (-dt_s / 300.0).exp());
        let pressure = ((share - 0.88) / 0.1).clamp(0.0, 1.0);
        counters.faults[0] += dt_s * (900.0 + 20.0 * demand.rps) * random.about_one(0.06);
        counters.faults[1] += dt_s * (0.3 + 300.0 * pressure) * random.about_one(0.2);
        counters.swapped[0] += dt_s * 400.0 * pressure * random.about_one(0.2);
        counters.swapped[1] += dt_s * 900.0 * pressure * random.about_one(0.2);
        counters.waited_s[1] += dt_s * 0.4 * pressure;
    }

    fn step_network(&mut self, demand: &Demand, dt_s: f64, strain: Strain) {
        let (random, counters, gauges, p) = (&mut self.random, &mut self.counters, &mut self.gauges, &self.profile);
        let bytes = [p.rx, p.tx].map(|per_request| demand.rps * per_request * random.about_one(0.04) + 4_000.0);
        let packets = bytes.map(|bytes| bytes / 700.0 + 0.8 * demand.rps + 10.0);
        let flood = strain.packets * packets[0];
        let received = [bytes[0] + flood * 90.0, bytes[1] + flood * 12.0];
        let carried = [packets[0] + flood, packets[1] + 0.2 * flood];
        for i in 0..2 {
            counters.net_bytes[i] += dt_s * received[i];
            counters.net_packets[i] += dt_s * carried[i];
            counters.segments[i] += dt_s * carried[i] * [0.97, 0.96][i];
            counters.datagrams[i] += dt_s * (3.0 + 0.02 * demand.rps) * random.about_one(0.08);
        }
        counters.net_drops[0] += dt_s * flood * 0.01;
        counters.datagrams_lost += dt_s * flood * 0.0005;
        let opens = demand.rps * 0.08 + 1.0;
        counters.passive_opens += dt_s * (opens + 0.15 * flood) * random.about_one(0.05);
        counters.active_opens += dt_s * (0.3 * opens + 0.5) * random.about_one(0.06);
        counters.retransmits += dt_s * carried[1] * (0.0004 + strain.loss) * random.about_one(0.15);
        counters.timeouts += dt_s * (0.02 + carried[1] * strain.loss * 0.2) * random.about_one(0.2);
        counters.resets += dt_s * (0.05 * opens + 0.1 * flood) * random.about_one(0.1);
        counters.overflows += dt_s * 0.05 * flood * random.about_one(0.1);
        let slower = 1.0 + 8.0 * strain.loss + 2.0 * strain.disk;
        gauges.established = (40.0 + 0.35 * demand.rps * slower) * random.about_one(0.03);
        gauges.time_wait = (20.0 + 18.0 * opens + 0.5 * flood.min(20_000.0)) * random.about_one(0.05);
    }
}
