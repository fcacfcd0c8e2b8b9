//! outlierd: streaming anomaly detection for Prometheus remote write.
//!
//! ```text
//! POST body → decode → shard queue → Engine (features, windows) → window queue → Scorer (ONNX Runtime) → Results → /metrics · API
//! ```

pub mod clock;
pub mod cmd;
pub mod config;
pub mod decode;
pub mod demo;
pub mod engine;
pub mod expr;
pub mod http;
pub mod model;
pub mod proto;
pub mod results;
pub mod series;
#[cfg(feature = "train")]
pub mod train;
