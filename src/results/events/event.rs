//! An event: one host, from the row at which its flag rose to the one at which it was over. What is kept, shown and stored of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::fnv::Fnv;
use crate::engine::row::HostId;
use crate::results::{ResultSchema, ScoredRow, Verdict};
use crate::series::TimestampMs;

/// Features that an event names.
pub const FEATURES_NAMED: usize = 5;

/// One stretch of time in which a host was flagged. Times are event time: those of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unique, also over restarts: made of the host and the start.
    pub id: String,
    /// Name of the host.
    pub host: String,
    /// The labels that its results carry; while the event is open the newest ones.
    pub labels: BTreeMap<String, String>,
    /// The alias of the bundle that raised the flag.
    pub model: String,
    /// The first row with the flag.
    pub start_ms: TimestampMs,
    /// The row at which the flag was cleared; where it ended in another way, the last one that had it. `None` while it is open.
    pub end_ms: Option<TimestampMs>,
    /// Manner in which it ended; `None` while it is open.
    pub ended: Option<Ending>,
    /// The newest row that had the flag.
    pub last_ms: TimestampMs,
    /// The score of the newest row.
    pub score: f64,
    /// The highest score.
    pub peak_score: f64,
    /// The row of the highest score.
    pub peak_ms: TimestampMs,
    /// As it was at the peak: the features with the largest share of the error since the flag rose, at most [`FEATURES_NAMED`].
    pub features: Vec<TopFeature>,
}

/// Part of a feature in an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopFeature {
    /// Its name.
    pub feature: String,
    /// Its unit; may be empty.
    pub unit: String,
    /// Its share of the error from the rise of the flag to the peak.
    pub share: f64,
    /// Its value at the peak.
    pub actual: Option<f64>,
    /// Value that the model expected at the peak.
    pub expected: Option<f64>,
}

/// Manner in which an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The score fell under `detection.clear`.
    Cleared,
    /// Nothing arrives from the host any more.
    Stale,
    /// Its scrape fails.
    Down,
    /// Too many of its features are missing to judge it.
    Partial,
    /// Its window, or its history, began anew.
    Warming,
    /// Somebody silenced it, or its maintenance began.
    Silenced,
    /// It was silent for so long that it was forgotten.
    Forgotten,
    /// It was open when the service stopped, and the flag was not up again in time.
    Restart,
}

impl Event {
    /// Whether it is not over.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.end_ms.is_none()
    }

    /// Until when it is known to have lasted: its end, or the newest row with the flag.
    #[must_use]
    pub fn until_ms(&self) -> TimestampMs {
        self.end_ms.unwrap_or(self.last_ms)
    }
}

/// The id of an event: 64 bits of the host's name (FNV-1a, which stays the same over versions and machines), and the start.
#[must_use]
pub fn id_of(host: &HostId, start_ms: TimestampMs) -> String {
    let hash = Fnv::new().with(host.name.bytes()).hash();
    format!("{hash:016x}-{start_ms:x}")
}

/// The features with the largest share, largest first.
#[must_use]
pub fn top_features(row: &ScoredRow, verdict: &Verdict, schema: &ResultSchema) -> Vec<TopFeature> {
    let number = |value: Option<&f64>| value.copied().filter(|v| v.is_finite());
    let of_feature = |(i, column): (usize, &usize)| {
        let info = schema.features.get(*column)?;
        let share = number(verdict.contributions.get(i)).filter(|share| *share > 0.0)?;
        Some(TopFeature {
            feature: info.name.clone(),
            unit: info.unit.clone(),
            share,
            actual: number(row.values.get(*column)),
            expected: number(verdict.expected.get(i)),
        })
    };
    let mut top: Vec<TopFeature> = schema.scored.iter().enumerate().filter_map(of_feature).collect();
    top.sort_by(|a, b| b.share.total_cmp(&a.share));
    top.truncate(FEATURES_NAMED);
    top
}

#[cfg(test)]
impl Event {
    /// One that is open, for tests that look at nothing else of it.
    pub(crate) fn of(host: &str, id: &str) -> Self {
        Self {
            id: id.into(),
            host: host.into(),
            labels: [].into(),
            model: String::new(),
            start_ms: 0,
            end_ms: None,
            ended: None,
            last_ms: 0,
            score: 2.0,
            peak_score: 2.0,
            peak_ms: 0,
            features: Vec::new(),
        }
    }
}
