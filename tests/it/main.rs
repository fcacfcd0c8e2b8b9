//! The one integration binary: a module per subject.
mod decode;
mod e2e;
mod onnx;
mod proto;
mod tidy;
