//! Output to others: remote write of results, alerts.

pub mod push;
pub mod webhook;
