//! The bundle, and the session that runs it.

pub mod batch;
pub mod bundle;
pub mod manifest;
pub mod onnx;
pub mod residual;
pub mod session;
