//! outlierd: streaming anomaly detection for Prometheus remote write.
//!
//! ```text
//! POST body → decode → shard queue → Engine (features, windows) → window queue → Scorer (ONNX Runtime) → Results → /metrics · API
//! ```
//!
//! Modules in reading order: [`cmd`] (the commands), [`service`] (the wiring of the stages), [`http`] (requests in, pages out),
//! [`ingest`] and [`decode`] (a body → batches per shard), [`shard`] (threads that own an engine each), [`engine`] (hosts, frames,
//! steps, rows, windows), [`expr`] (PromQL → a plan for the engine), [`model`] (bundle, session, verdict), [`scorer`] (scoring threads),
//! [`results`] (what readers see), [`events`] (flags as events, and their history), [`push`] (results to a database), [`webhook`]
//! (events to Alertmanager), [`feedback`] (what people say of events). [`demo`] is a simulated fleet that writes to all this; [`history`] gives an engine what was recorded,
//! or what a database has stored; [`labelled`] reads data whose incidents are known, [`evaluate`] says how well they are found, and
//! [`playback`] plays them to a service. [`silence`] says when nobody is to be woken, and [`silences`] keeps what was asked for. [`series`], [`bounds`], [`config`], [`clock`], [`random`],
//! [`outbound`] and
//! [`proto`] are what all of them speak of.
//!
//! Which of them may import which is a table in `tests/it/tidy.rs`, from the ground up.
//!
//! Invariants:
//! - [`expr`], [`engine`], [`evaluate`], [`model::verdict`] and [`events::book`] know no clock, thread, channel, lock, file or network: time is an argument;
//! - what an engine gives out depends on the plan and its inputs alone, and any order or repetition of samples within the
//!   lateness gives identical rows; a closed step is never rewritten;
//! - immutable things are shared (`Arc`): configuration, plan, bundle; mutable things have one owner: hosts live in their shard,
//!   a session and the verdict states in their scoring thread;
//! - every queue, buffer and table has a limit in [`config`], and reaching it moves a counter with a reason;
//! - a request is refused as a whole with nothing applied, or answered 204 with bad series skipped and counted.

pub mod bounds;
pub mod clock;
pub mod cmd;
pub mod config;
pub mod decode;
pub mod demo;
pub mod engine;
pub mod evaluate;
pub mod events;
pub mod expr;
pub mod feedback;
pub mod history;
pub mod http;
pub mod ingest;
pub mod labelled;
pub mod model;
pub mod outbound;
pub mod playback;
pub mod proto;
pub mod push;
pub mod random;
pub mod results;
pub mod scorer;
pub mod series;
pub mod service;
pub mod shard;
pub mod silence;
pub mod silences;
#[cfg(feature = "train")]
pub mod train;
pub mod webhook;
