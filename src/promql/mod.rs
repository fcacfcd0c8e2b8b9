//! Feature text → plan: PromQL parsed, checked and compiled for incremental evaluation per host.
//!
//! Pure: knows no clock, thread, file or network. Whatever is not evaluated is refused here, so that evaluation cannot fail
//! later for anything but the data (two values where one is asked for).

mod compile;
pub mod duration;
pub mod eval;
pub mod labelset;
#[cfg(test)]
pub(crate) mod naive;
mod over;
mod parse;
mod parts;
pub mod plan;
pub mod program;
mod range_function;
pub mod reference;
pub mod rollup;
pub mod selector;
mod statistics;
mod vocabulary;

pub use over::over;
pub use parse::host_selector;
pub use plan::{ExprError, FeatureSource, Plan};
pub use range_function::RangeFunction;
