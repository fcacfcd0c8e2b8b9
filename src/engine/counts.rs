//! Counts of the engine during one `apply`; the caller adds them to its metrics.

/// Something that happened to a sample, a series or a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineCounter {
    /// A sample came after its frame was applied: dropped.
    Late,
    /// A series had a sample at that time already.
    Duplicate,
    /// A sample of a host beyond `limits.hosts`: dropped.
    Hosts,
    /// A sample of a series beyond `limits.series_per_host`: dropped.
    SeriesPerHost,
    /// A frame was applied early because more than `limits.frames_per_host` waited.
    FramesPerHost,
    /// A frame was kept from range selectors because they held `limits.samples_per_host` samples.
    SamplesPerHost,
    /// A sample of a replica while another one speaks for the host: dropped.
    Replica,
    /// Another replica speaks for a host.
    SenderChange,
    /// A series whose labels are not valid: dropped.
    InvalidLabels,
    /// A sample of a target that is no host, since no feature reads any of its series: dropped.
    NoHost,
    /// A step was closed.
    RowClosed,
    /// A step in a gap so long that the window was emptied.
    StepSkipped,
}

/// Every [`EngineCounter`], by its discriminant.
pub const ENGINE_COUNTERS: [EngineCounter; 12] = [
    EngineCounter::Late,
    EngineCounter::Duplicate,
    EngineCounter::Hosts,
    EngineCounter::SeriesPerHost,
    EngineCounter::FramesPerHost,
    EngineCounter::SamplesPerHost,
    EngineCounter::Replica,
    EngineCounter::SenderChange,
    EngineCounter::InvalidLabels,
    EngineCounter::NoHost,
    EngineCounter::RowClosed,
    EngineCounter::StepSkipped,
];

impl EngineCounter {
    /// Value of the label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Hosts => "hosts",
            Self::SeriesPerHost => "series_per_host",
            Self::FramesPerHost => "frames_per_host",
            Self::SamplesPerHost => "samples_per_host",
            Self::Replica => "replica",
            Self::SenderChange => "sender_change",
            Self::InvalidLabels => "invalid_labels",
            Self::NoHost => "no_host",
            Self::RowClosed => "row_closed",
            Self::StepSkipped => "step_skipped",
        }
    }
}

/// Number of times that each [`EngineCounter`] happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; ENGINE_COUNTERS.len()]);

impl Counts {
    /// Adds `n` events.
    pub fn add(&mut self, event: EngineCounter, n: u64) {
        self.0[event as usize] += n;
    }

    /// Returns how often `event` happened.
    #[must_use]
    pub fn get(&self, event: EngineCounter) -> u64 {
        self.0[event as usize]
    }
}
