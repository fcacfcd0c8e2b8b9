//! From the error of a window to a verdict: score, limit, flag, contributions.
//!
//! Numbers in, numbers out; [`mod@host_detector`] alone owns a session and runs it.

pub mod decision;
pub mod host_detector;
pub mod verdict;
