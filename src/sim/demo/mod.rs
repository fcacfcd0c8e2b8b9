//! The demonstration: a simulated fleet that sends genuine remote write, faults at known times, and what was found of them.
//!
//! ```text
//! Fault → Host (signals → counters) → exposition (node_exporter's series) → Fleet (scrapes in order of time)
//!       → Sender (remote write) → service → Watch (its API) → report
//! ```
//! Everything but `remote_write` and `watch` is pure and seeded: the same seed and start give the same bytes. No file
//! reads the clock.

pub mod api;
pub mod exposition;
pub mod fault;
pub mod fleet;
pub mod host;
pub mod remote_write;
pub mod report;
pub mod wander;
pub mod watch;
