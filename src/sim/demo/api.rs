//! Part of the service's API that the demonstration reads: `/api/v1/hosts` and `/api/v1/hosts/{host}`.
//!
//! Fields that are not read are not named; a missing field is an error that says which.

use serde::Deserialize;

use crate::series::TimestampMs;

/// The envelope of every answer.
#[derive(Debug, Deserialize)]
pub struct Answer<T> {
    /// `success`.
    pub status: String,
    /// Data that was asked for.
    pub data: T,
}

/// `/api/v1/hosts`.
#[derive(Debug, Deserialize)]
pub struct Hosts {
    /// In the order asked for.
    pub hosts: Vec<Host>,
}

/// A host in the list.
#[derive(Debug, Clone, Deserialize)]
pub struct Host {
    /// Its identity.
    pub host: String,
}

/// `/api/v1/hosts/{host}`.
#[derive(Debug, Clone, Deserialize)]
pub struct HostDetail {
    /// `ok`, `anomalous`, `down`, …
    pub state: String,
    /// Timestamp of its newest sample.
    pub last_sample_ms: TimestampMs,
    /// The configured features, in the order of a row's values.
    pub features: Vec<Feature>,
    /// The last T rows, oldest first.
    pub rows: Vec<Row>,
    /// Shares of the error since the flag rose.
    pub contributions: Vec<Contribution>,
}

/// A feature as the API names it.
#[derive(Debug, Clone, Deserialize)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// `bytes/s`, `ratio`, …
    #[serde(default)]
    pub unit: String,
}

/// A closed row.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// Its step.
    pub t_ms: TimestampMs,
    /// One per feature; absent where missing.
    pub values: Vec<Option<f64>>,
    /// Absent where the row was not scored.
    pub score: Option<f64>,
    /// Absent where the row was not scored or may not be flagged yet.
    pub flag: Option<bool>,
}

/// Contribution of a feature to a flag.
#[derive(Debug, Clone, Deserialize)]
pub struct Contribution {
    /// Its name.
    pub feature: String,
    /// 0..1.
    pub share: f64,
    /// In the feature's unit.
    pub actual: Option<f64>,
    /// In the feature's unit.
    pub expected: Option<f64>,
}
