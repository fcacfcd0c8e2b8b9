//! The scoring threads of a service, and their queues.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use crossbeam_channel::Sender;
use prometheus::Registry;

use crate::model::session::Runtime;
use crate::output::push::Pusher;
use crate::results::Results;
use crate::results::events::Events;
use crate::results::feedback::Feedback;
use crate::serve::scorer::{self, Message, ROWS_PER_MESSAGE, Scorer, ScorerQueue};
use crate::setup::Setup;

/// The scoring threads.
pub(super) struct Scorers {
    /// By shard, the queue to its thread.
    pub(super) queues: Vec<ScorerQueue>,
    /// By thread, its queue.
    pub(super) senders: Vec<Sender<Message>>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

/// Starts the scoring threads.
pub(super) fn start_scorers(
    setup: &Setup,
    runtime: &Runtime,
    results: &Arc<Results>,
    events: &Arc<Events>,
    feedback: &Arc<Feedback>,
    registry: &Registry,
    push: Option<&Pusher>,
) -> anyhow::Result<Scorers> {
    let config = &setup.config;
    let metrics = scorer::Metrics::new(registry)?;
    let n_scorers = config.threads.scorers.clamp(1, config.threads.shards);
    let n_messages = (config.limits.scorer_queue / n_scorers / ROWS_PER_MESSAGE).max(1);
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    for i in 0..n_scorers {
        let (results, events) = (Arc::clone(results), Arc::clone(events));
        let scorer = Scorer::new(setup.models(runtime)?, results, events, metrics.clone())
            .with_feedback(Arc::clone(feedback))
            .with_outbox(push.map(Pusher::outbox));
        let (sender, receiver) = crossbeam_channel::bounded(n_messages);
        let thread = std::thread::Builder::new().name(format!("scorer-{i}")).spawn(move || scorer.run(&receiver));
        threads.push(thread.context("cannot start a scoring thread")?);
        senders.push(sender);
    }
    let queue = |shard: usize| ScorerQueue::new(senders[shard % n_scorers].clone(), metrics.clone());
    let queues = (0..config.threads.shards).map(queue).collect();
    Ok(Scorers { queues, senders, threads })
}
