//! History: what was recorded before, given to an engine as `serve` would have given it.
//!
//! Needs neither a clock nor the network: the time is the recording's.

pub mod recording;
pub mod replay;
