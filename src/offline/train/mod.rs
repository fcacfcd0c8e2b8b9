//! Training of bundles: rows of hosts → standardised by the engine's own statistics → windows → LSTM → weights.
//!
//! Owns no grid and no format: the engine standardises and
//! `model::onnx` writes. Every random choice comes from one seed; the same seed gives the same bytes on the same machine.

pub mod activation;
pub mod adam;
pub mod bundle;
pub mod dataset;
pub mod errors;
pub mod fit;
pub mod linear;
pub mod lstm;
pub mod network;
pub mod sample;
pub mod source;
pub mod split;
pub mod usable;
