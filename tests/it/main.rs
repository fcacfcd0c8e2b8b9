//! The one integration binary: a module per subject.
mod decode;
mod onnx;
mod proto;
mod tidy;
