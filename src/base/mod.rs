//! Base of everything else, which nobody has to know: the clock, random numbers, files that survive a crash, settings of outbound
//! requests, the generated messages, the bounds of values.

pub mod bounds;
pub mod clock;
pub mod fnv;
pub mod outbound;
pub mod proto;
pub mod random;
pub mod remap;
pub mod storage;
pub mod write_request;
