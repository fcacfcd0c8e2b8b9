//! Labelled hosts played to a service as node_exporters: what the whole system makes of them, over the network it is used by.
//!
//! ```text
//! rows → exporter (values become gauges and counters) → remote write → service → API → scores and flags by row
//! ```
//! Owns no metric of quality: `evaluate` judges what comes back.

pub mod exporter;
pub mod player;
