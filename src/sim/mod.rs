//! Made-up data: a simulated fleet for the demonstration, and labelled data played as if a sender sent it.

pub mod demo;
pub mod playback;
