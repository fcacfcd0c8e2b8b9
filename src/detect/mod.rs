//! From the error of a window to a verdict: score, limit, flag, contributions.
//!
//! Pure: numbers in, numbers out.

pub mod decision;
pub mod host_detector;
pub mod verdict;
