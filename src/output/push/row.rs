//! A row on its way to the database.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::engine::row::HostId;
use crate::series::TimestampMs;

/// A row on its way.
#[derive(Debug)]
pub struct QueuedRow {
    /// The host that it is of.
    pub host: Arc<HostId>,
    /// The step: the timestamp of its samples.
    pub t_ms: TimestampMs,
    /// One value per series of the [`Layout`](super::series::Layout); NaN where there is none.
    pub values: Box<[f64]>,
    /// The room that it takes, one per sample; free again when this is dropped.
    pub room: OwnedSemaphorePermit,
}
