//! Hosts, frames, steps, rows and windows of one shard.
//!
//! Pure: no clock, thread, channel, lock, file or network; time is an argument.

pub mod row;
pub mod standardise;
