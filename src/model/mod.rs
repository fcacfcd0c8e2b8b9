//! The bundle, the session that runs it, and the verdicts.

pub mod manifest;
pub mod onnx;
