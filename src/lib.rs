//! outlierd: streaming anomaly detection for Prometheus remote write.
//!
//! ```text
//! POST body → decode → shard queue → Engine (features, windows) → window queue → Scorer (ONNX Runtime) → Results → /metrics · API
//! ```
//!
//! ARCHITECTURE.md has the rooms, the way of one sample and where new things go; a table in `tests/it/tidy.rs` says which room may import which.
//!
//! Words, the same in code, API, docs and metrics:
//! - **host**: what is judged: all series with one value of the identity label (`instance`);
//! - **feature**: a PromQL expression that gives one value per host;
//! - **frame**: the samples of a host with one timestamp;
//! - **step**, **row**: the features of a host are evaluated once per step, which gives a row;
//! - **window**: the last T rows of a host, standardised: the input of the model;
//! - **bundle**: an ONNX model with its manifest: features, step, window, statistics, limit;
//! - **score**: the error of a row over the limit; **verdict**: score, flag and contributions;
//! - **event**: a time in which a host is flagged; **silence**: a time in which nothing is flagged or learnt;
//! - **sender**: who writes a host's samples; several that tell themselves apart by a label are replicas;
//! - **setup**: a configuration and its bundles, compiled and checked.
//!
//! Invariants:
//! - [`promql`], [`engine`], [`detect`], [`offline::evaluate`], [`config::silence`] and [`results::events::store`] know no clock, thread, channel, lock, file or network: time is an argument;
//! - what an engine gives out depends on the plan and its inputs alone, and any order or repetition of samples within the
//!   lateness gives identical rows; a closed step is never rewritten;
//! - immutable things are shared (`Arc`): configuration, plan, bundle; mutable things have one owner: hosts live in their shard,
//!   a session and the verdict states in their scoring thread;
//! - every queue, buffer and table has a limit in [`config`], and reaching it moves a counter with a reason;
//! - a request is refused as a whole with nothing applied, or answered 204 with bad series skipped and counted.

pub mod base;
pub mod cmd;
pub mod config;
pub mod decode;
pub mod detect;
pub mod engine;
pub mod model;
pub mod offline;
pub mod output;
pub mod promql;
pub mod results;
pub mod series;
pub mod serve;
pub mod setup;
pub mod sim;
