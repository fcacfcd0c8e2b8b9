//! The commands: wiring in the order of the data flow.

pub mod check_config;
pub mod demo;
pub mod evaluate;
pub mod features;
pub mod history;
pub mod model;
mod output;
pub mod record;
pub mod serve;
pub mod train;
mod train_report;
