//! The online service: threads, queues, HTTP. Each stage is a file; [`mod@service`] wires them.

pub mod http;
pub mod ingest;
pub mod scorer;
pub mod service;
pub mod shard;
pub mod silences;
