//! The counters of decode.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::DecodeStats;
use super::labels::InvalidSeries;

/// Why samples that were accepted do nothing. No sample has two reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// Features read the metric, and the series lacks the identity label.
    NoIdentity,
    /// No feature reads the metric.
    NoFeature,
    /// Of a target of which no feature reads any series: it is no host, only its `up` is wanted.
    NoHost,
}

impl Unused {
    /// Every reason; its position is `reason as usize`.
    pub const ALL: [Self; 3] = [Self::NoIdentity, Self::NoFeature, Self::NoHost];

    /// The value of the label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoIdentity => "no_identity",
            Self::NoFeature => "no_feature",
            Self::NoHost => "no_host",
        }
    }
}

/// Counters of what all decoders of the process have done.
#[derive(Debug, Clone)]
pub struct Metrics {
    received: IntCounter,
    kept: IntCounter,
    ignored: IntCounter,
    future: IntCounter,
    too_old: IntCounter,
    /// By [`Unused`].
    unused: [IntCounter; Unused::ALL.len()],
    /// By [`InvalidSeries`].
    invalid: [IntCounter; InvalidSeries::ALL.len()],
    histograms: IntCounter,
    exemplars: IntCounter,
    metadata: IntCounter,
    compressed: IntCounter,
    decompressed: IntCounter,
}

impl Metrics {
    /// Registers the counters.
    ///
    /// # Errors
    /// If `registry` has one of the names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let by_reason = |name: &str, help: &str| -> prometheus::Result<IntCounterVec> {
            let counters = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let rejected = by_reason(
            "outlierd_samples_rejected_total",
            "Samples of wanted series that were dropped because of their timestamp.",
        )?;
        let unused = by_reason(
            "outlierd_samples_unused_total",
            "Samples that were accepted and do nothing; /api/v1/status says of which jobs, and what to set.",
        )?;
        let invalid = by_reason("outlierd_series_invalid_total", "Series that were skipped because of their labels.")?;
        Ok(Self {
            received: counter("outlierd_samples_received_total", "Samples in the bodies that were accepted.")?,
            kept: counter("outlierd_samples_kept_total", "Samples that some feature reads.")?,
            ignored: counter("outlierd_samples_ignored_total", "Samples whose metric no feature reads.")?,
            future: rejected.with_label_values(&["future"]),
            too_old: rejected.with_label_values(&["too_old"]),
            unused: Unused::ALL.map(|reason| unused.with_label_values(&[reason.as_str()])),
            invalid: InvalidSeries::ALL.map(|reason| invalid.with_label_values(&[reason.as_str()])),
            histograms: counter("outlierd_histograms_skipped_total", "Native histograms; no feature reads them.")?,
            exemplars: counter("outlierd_exemplars_skipped_total", "Exemplars; no feature reads them.")?,
            metadata: counter("outlierd_metadata_skipped_total", "Metadata entries; no feature reads them.")?,
            compressed: counter("outlierd_body_compressed_bytes_total", "Bytes of accepted bodies as received.")?,
            decompressed: counter("outlierd_body_decompressed_bytes_total", "Bytes of accepted bodies, decompressed.")?,
        })
    }

    /// Adds what a body had.
    pub fn observe(&self, stats: &DecodeStats) {
        self.received.inc_by(stats.received_samples);
        self.kept.inc_by(stats.kept_samples);
        self.ignored.inc_by(stats.ignored_samples);
        self.future.inc_by(stats.future_samples);
        self.too_old.inc_by(stats.too_old_samples);
        self.unused(Unused::NoIdentity).inc_by(stats.unidentified_samples);
        self.unused(Unused::NoFeature).inc_by(stats.ignored_samples);
        for (counter, n) in self.invalid.iter().zip(stats.invalid_series) {
            counter.inc_by(n);
        }
        self.histograms.inc_by(stats.histograms);
        self.exemplars.inc_by(stats.exemplars);
        self.metadata.inc_by(stats.metadata);
        self.compressed.inc_by(stats.compressed_bytes);
        self.decompressed.inc_by(stats.decompressed_bytes);
    }

    /// The counter of samples that do nothing because of `reason`.
    #[must_use]
    pub fn unused(&self, reason: Unused) -> &IntCounter {
        &self.unused[reason as usize]
    }

    /// Adds series that turned out invalid when they were met for the first time, after decode.
    pub fn observe_invalid(&self, reason: InvalidSeries, series: u64) {
        self.invalid[reason as usize].inc_by(series);
    }
}
