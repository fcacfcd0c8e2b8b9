//! The bundle, the session that runs it, and the verdicts.

pub mod batch;
pub mod bundle;
pub mod decision;
pub mod judge;
pub mod manifest;
pub mod onnx;
pub mod residual;
pub mod session;
pub mod verdict;
