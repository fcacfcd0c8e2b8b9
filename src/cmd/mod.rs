//! The commands: wiring in the order of the data flow.

pub mod demo;
