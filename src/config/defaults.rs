//! Defaults: what runs without a configuration file.

use super::{
    Config, Detail, Detection, Feedback, Identity, Ingest, Limits, Metrics, Model, StandardisationOverrides, Threads,
    features::preset,
};

/// The labels by which replicas of a sender tell themselves apart, unless somebody chose others: those of the Prometheus operator, of
/// Mimir and Cortex, of Thanos and VictoriaMetrics' examples, and of Thanos' receivers.
const REPLICA_LABELS: [&str; 4] = ["prometheus_replica", "__replica__", "replica", "receive_replica"];

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Default for Config {
    fn default() -> Self {
        Self { features: preset().unwrap_or_default(), ..Self::without_features() }
    }
}

impl Config {
    /// All defaults but the features.
    pub(super) fn without_features() -> Self {
        Self {
            file: None,
            identity: Identity::default(),
            step_ms: None,
            model: Model::default(),
            shadow: None,
            detection: Detection::default(),
            overrides: Vec::new(),
            maintenance: Vec::new(),
            standardisation: StandardisationOverrides::default(),
            features: Vec::new(),
            ingest: Ingest::default(),
            push: None,
            feedback: Feedback::default(),
            webhook: None,
            limits: Limits::default(),
            metrics: Metrics::default(),
            threads: Threads::default(),
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        let drop = REPLICA_LABELS.map(str::to_owned).to_vec();
        Self { label: "instance".to_owned(), drop, is_drop_default: true, keep: vec!["job".to_owned()] }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self { bundle: None, alias: "default".to_owned(), window: None }
    }
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            limit: None,
            smoothing_rows: None,
            scale: None,
            for_rows: None,
            clear: 0.7,
            min_history_ms: 6 * HOUR_MS,
            max_missing: 0.5,
            stale_after_ms: 5 * MINUTE_MS,
            merge_ms: 15 * MINUTE_MS,
            max_lag_ms: 15 * MINUTE_MS,
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            interval_ms: None,
            lateness_ms: 10 * SECOND_MS,
            lookback_ms: 5 * MINUTE_MS,
            max_future_ms: 10 * MINUTE_MS,
            max_age_ms: 7 * DAY_MS,
        }
    }
}

impl Default for Feedback {
    fn default() -> Self {
        Self { step: 1.1, min: 0.5, max: 3.0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 * MIB,
            concurrent_requests: 2 * cores(),
            queue_wait_ms: 10_000,
            connections: 10_000,
            hosts: 100_000,
            series_per_host: 5_000,
            labels_per_series: 64,
            label_name_bytes: 256,
            label_value_bytes: 4 * KIB,
            series_label_bytes: 8 * KIB,
            frames_per_host: 256,
            samples_per_host: 200_000,
            shard_queue: 64,
            scorer_queue: 8_192,
            host_idle_ms: DAY_MS,
            silences: 1_000,
            events: 10_000,
            feedback: 10_000,
            event_log_bytes: 64 * MIB,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { detail: Detail::Full, max_series: 1_000_000 }
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self { shards: cores().min(4), scorers: (cores() / 2).max(1) }
    }
}
