//! The one integration binary: a module per subject.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on says why by panicking
mod binary;
mod decode;
mod deploy;
mod e2e;
mod evaluate;
mod features;
mod history;
mod model;
mod onnx;
mod peers;
mod playback;
mod preset;
mod promql;
mod proto;
mod scenarios;
mod senders;
mod servers;
mod service;
mod tidy;
mod train;
