//! Counters of the push; clones share them.

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of what became of samples and requests.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Samples that the receiver took.
    pub sent: IntCounter,
    /// Samples that nobody got, by reason.
    dropped: IntCounterVec,
    /// Requests that failed or were refused, by status or kind.
    pub failed: IntCounterVec,
    /// Samples that have room in the queue, or are in the request that is being sent.
    pub queue: IntGauge,
    /// Limit of `queue`.
    limit: IntGauge,
    /// When the receiver last took something.
    pub last_success: Gauge,
    /// Duration of each request.
    pub seconds: Histogram,
}

/// Why samples are dropped.
const REASONS: [&str; 3] = ["queue_full", "refused", "shutdown"];

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            sent: IntCounter::new("outlierd_push_samples_total", "Samples that the receiver of the push took.")?,
            dropped: IntCounterVec::new(
                Opts::new("outlierd_push_samples_dropped_total", "Samples that could not be pushed."),
                &["reason"],
            )?,
            failed: IntCounterVec::new(
                Opts::new("outlierd_push_failed_requests_total", "Requests of the push that failed or were refused."),
                &["code"],
            )?,
            queue: IntGauge::new("outlierd_push_queue_samples", "Samples that wait to be pushed.")?,
            limit: IntGauge::new("outlierd_push_queue_limit_samples", "Samples that may wait to be pushed.")?,
            last_success: Gauge::new(
                "outlierd_push_last_success_timestamp_seconds",
                "When the receiver of the push last took samples.",
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new("outlierd_push_request_duration_seconds", "Duration of a request of the push.")
                    .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
            )?,
        };
        for reason in REASONS {
            metrics.dropped.with_label_values(&[reason]);
        }
        registry.register(Box::new(metrics.sent.clone()))?;
        registry.register(Box::new(metrics.dropped.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        registry.register(Box::new(metrics.queue.clone()))?;
        registry.register(Box::new(metrics.limit.clone()))?;
        registry.register(Box::new(metrics.last_success.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }

    /// Tells the queue's limit.
    pub fn set_limit(&self, queue_samples: usize) {
        self.limit.set(i64::try_from(queue_samples).unwrap_or(i64::MAX));
    }

    /// Counts samples that nobody will get; `reason` is one of `REASONS`.
    pub fn dropped(&self, reason: &'static str, n_samples: usize) {
        self.dropped.with_label_values(&[reason]).inc_by(n_samples as u64);
    }
}
