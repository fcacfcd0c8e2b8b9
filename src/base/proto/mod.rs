//! Generated from `proto/*.proto`, committed so that a build needs no protobuf compiler.
//!
//! `tests/it/proto.rs` fails when these files differ from the contracts; `REGENERATE=1 cargo test --test it proto` writes them.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod onnx;
pub mod prometheus;
