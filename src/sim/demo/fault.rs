//! The faults: what can go wrong, on whom, from when to when, and how hard it strains the host.
//!
//! Owns the timetable of the demonstration; knows nothing of how a host shows the strain.

use crate::series::TimestampMs;

const MINUTE_MS: i64 = 60_000;

/// Kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A process burns CPU without end.
    CpuHog,
    /// A process takes memory until it is killed.
    MemoryLeak,
    /// Something writes more than the disk can take.
    DiskSaturation,
    /// A flood of small packets.
    NetworkFlood,
    /// The network loses segments.
    PacketLoss,
    /// The host restarts: two failed scrapes, then counters from 0.
    Reboot,
    /// `node_exporter` can't be reached: `up` is 0.
    Down,
    /// Nothing is heard of the host, not even `up`.
    Silent,
}

/// Reaction that is expected of the service to a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The host is flagged.
    Flag,
    /// Nothing, or at most a short flag.
    Nothing,
    /// The host's state is this one.
    State(&'static str),
    /// Nothing yet: how long a host was silent is told by the real clock, which the replay outruns.
    Silence,
}

impl Kind {
    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::CpuHog => "CPU hog",
            Self::MemoryLeak => "memory leak",
            Self::DiskSaturation => "disk saturation",
            Self::NetworkFlood => "network flood",
            Self::PacketLoss => "packet loss",
            Self::Reboot => "reboot",
            Self::Down => "exporter down",
            Self::Silent => "silence",
        }
    }

    /// Returns what the service should make of it.
    #[must_use]
    pub fn expected(self) -> Expected {
        match self {
            Self::Reboot => Expected::Nothing,
            Self::Down => Expected::State("down"),
            Self::Silent => Expected::Silence,
            _ => Expected::Flag,
        }
    }
}

/// One fault of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The host's place in the fleet.
    pub host: usize,
    /// Kind of the fault.
    pub kind: Kind,
    /// Time at which it begins.
    pub from_ms: TimestampMs,
    /// Time at which it ends, exclusive.
    pub to_ms: TimestampMs,
}

/// Effect of faults on a host's signals at one moment; all 0 for a healthy one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Strain {
    /// CPUs burnt, as a share of all.
    pub busy: f64,
    /// Memory taken, as a share of all.
    pub memory: f64,
    /// Degree to which the disk is pushed to its limit, 0..1.
    pub disk: f64,
    /// Packets received beyond the normal, as a multiple of it.
    pub packets: f64,
    /// Share of segments that must be sent again.
    pub loss: f64,
}

impl Fault {
    /// Whether the fault is on at `t_ms`.
    #[must_use]
    pub fn active(&self, t_ms: TimestampMs) -> bool {
        (self.from_ms..self.to_ms).contains(&t_ms)
    }

    /// Returns what it does to the host at `t_ms`.
    #[must_use]
    pub fn strain(&self, t_ms: TimestampMs) -> Strain {
        if !self.active(t_ms) {
            return Strain::default();
        }
        let age_min = (t_ms - self.from_ms) as f64 / MINUTE_MS as f64;
        match self.kind {
            Kind::CpuHog => Strain { busy: 0.55, ..Strain::default() },
            Kind::MemoryLeak => Strain { memory: (0.008 * age_min).min(0.6), ..Strain::default() },
            Kind::DiskSaturation => Strain { disk: (0.5 + 0.1 * age_min).min(1.0), ..Strain::default() },
            Kind::NetworkFlood => Strain { packets: 14.0, ..Strain::default() },
            Kind::PacketLoss => Strain { loss: 0.06, ..Strain::default() },
            Kind::Reboot | Kind::Down | Kind::Silent => Strain::default(),
        }
    }
}

/// The faults of the demonstration. `end_ms` is the present: the last ones are still on then, and for an hour more.
/// The first comes after more than half of the history, when the service may flag (6 h) and has seen enough to judge.
#[must_use]
pub fn timetable(end_ms: TimestampMs, n_hosts: usize) -> Vec<Fault> {
    let on = |host: usize, kind, begins_min: i64, lasts_min: i64| Fault {
        host: host % n_hosts.max(1),
        kind,
        from_ms: end_ms - begins_min * MINUTE_MS,
        to_ms: end_ms - (begins_min - lasts_min) * MINUTE_MS,
    };
    vec![
        on(2, Kind::CpuHog, 390, 45),
        on(15, Kind::DiskSaturation, 330, 40),
        on(5, Kind::Reboot, 285, 2),
        on(8, Kind::NetworkFlood, 240, 30),
        on(13, Kind::MemoryLeak, 200, 75),
        on(25, Kind::PacketLoss, 150, 40),
        on(11, Kind::CpuHog, 100, 60),
        on(20, Kind::Down, 40, 100),
        on(33, Kind::Silent, 30, 90),
        on(3, Kind::DiskSaturation, 25, 85),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_at_most_one_fault() {
        let mut hosts: Vec<usize> = timetable(0, 36).iter().map(|fault| fault.host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), timetable(0, 36).len());
    }

    #[test]
    fn a_fault_strains_only_while_it_is_on() {
        let fault = Fault { host: 0, kind: Kind::MemoryLeak, from_ms: 0, to_ms: 10 * MINUTE_MS };
        assert_eq!(fault.strain(-1), Strain::default());
        assert!(fault.strain(9 * MINUTE_MS).memory > fault.strain(MINUTE_MS).memory);
        assert_eq!(fault.strain(10 * MINUTE_MS), Strain::default());
    }
}
