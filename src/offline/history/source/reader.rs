//! The thread that reads a database ahead of who uses it: host by host, each in order of time.
//!
//! Owns the sizes of the pieces. Holds one chunk that nobody has taken yet, and reads no further.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::chunk::{Series, Span};
use super::client::{Address, Client, Failure};
use super::selection::Selection;
use super::{Database, ServerType};
use crate::config::duration_text;

/// Request for history: what is read, and from where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The database.
    pub address: Address,
    /// Type of the database; `None` to ask it.
    pub server: Option<ServerType>,
    /// Span that is read of every host.
    pub span: Span,
    /// The longest part of it that is asked for at once.
    pub chunk_ms: i64,
    /// About how many samples of 16 bytes a chunk may have; two chunks are held at most.
    pub samples_max: usize,
}

impl Request {
    /// All of `span`, a day of one host at a time, in some 100 MB at most.
    #[must_use]
    pub fn new(address: Address, span: Span) -> Self {
        Self { address, server: None, span, chunk_ms: 24 * 3_600_000, samples_max: 3_000_000 }
    }
}

/// The shortest part that is asked for when answers are too large.
const CHUNK_MS_MIN: i64 = 60_000;

/// Longest time that a cancellation may go unnoticed.
const NOTICE: Duration = Duration::from_millis(100);

/// Messages of the thread.
#[derive(Debug)]
pub enum Piece {
    /// First of all: what there is.
    Opened {
        /// Number of hosts that will come.
        hosts: usize,
        /// Metric names that features read and no host has.
        absent: Vec<String>,
    },
    /// The samples of a host over a span that follows the one before.
    Chunk {
        /// Its name.
        host: Arc<str>,
        /// Number of hosts that came before it.
        index: usize,
        /// Span that was asked for.
        span: Span,
        /// Series that there were.
        series: Vec<Series>,
        /// Bytes that it came in, decompressed.
        n_bytes: u64,
    },
    /// That was all.
    End,
}

/// The pieces, read by a thread that ends when this is dropped.
#[derive(Debug)]
pub struct Reader {
    pieces: Receiver<anyhow::Result<Piece>>,
    cancelled: Arc<AtomicBool>,
}

impl Reader {
    /// Starts the thread. It ends soon after `cancelled` becomes true.
    ///
    /// # Errors
    /// The URL or token cannot be used, or the thread cannot be started. What the database says comes as a piece.
    pub fn start(request: Request, selection: Selection, cancelled: Arc<AtomicBool>) -> anyhow::Result<Self> {
        ensure!(request.span.len_ms() > 0, "the span of history that is asked for is empty");
        let client = Client::new(&request.address, Arc::clone(&cancelled))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for answers")?;
        // Without room of its own: what is sent is what was read ahead.
        let (sender, pieces) = crossbeam_channel::bounded(0);
        let flag = Arc::clone(&cancelled);
        let read = move || runtime.block_on(run(client, request, selection, &sender, &flag));
        std::thread::Builder::new().name("history".into()).spawn(read).context("cannot start a thread")?;
        Ok(Self { pieces, cancelled })
    }

    /// The next piece; `None` once cancelled. Nothing comes after an error or the end.
    pub fn next(&self) -> Option<anyhow::Result<Piece>> {
        while !self.cancelled.load(Ordering::Relaxed) {
            match self.pieces.recv_timeout(NOTICE) {
                Ok(piece) => return Some(piece),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Some(Err(anyhow!("nothing more is read"))),
            }
        }
        None
    }
}

/// Sends every piece, and the error that ends it. Returns early where nobody wants more.
async fn run(
    client: Client,
    request: Request,
    selection: Selection,
    pieces: &Sender<anyhow::Result<Piece>>,
    cancelled: &AtomicBool,
) {
    let send = |piece| !cancelled.load(Ordering::Relaxed) && pieces.send(piece).is_ok();
    let (database, hosts) = match open(client, &request, selection).await {
        Ok((database, hosts, absent)) => {
            if !send(Ok(Piece::Opened { hosts: hosts.len(), absent })) {
                return;
            }
            (database, hosts)
        }
        Err(error) => {
            send(Err(error));
            return;
        }
    };
    let mut chunk_ms = request.chunk_ms.max(CHUNK_MS_MIN);
    for (index, host) in hosts.iter().enumerate() {
        let host: Arc<str> = host.as_str().into();
        let mut start_ms = request.span.start_ms;
        while start_ms < request.span.end_ms {
            let span = Span { start_ms, end_ms: start_ms.saturating_add(chunk_ms).min(request.span.end_ms) };
            match database.read(&host, span, request.samples_max).await {
                Ok(chunk) => {
                    start_ms = span.end_ms;
                    let n_bytes = chunk.n_bytes;
                    let piece =
                        Piece::Chunk { host: Arc::clone(&host), index, span, series: chunk.into_series(), n_bytes };
                    if !send(Ok(piece)) {
                        return;
                    }
                }
                Err(Failure::TooLarge(error) | Failure::Cut(error)) if span.len_ms() > CHUNK_MS_MIN => {
                    // For all that follows too: hosts are much alike, and a day of another would fail again.
                    chunk_ms = (span.len_ms() / 2).max(CHUNK_MS_MIN);
                    tracing::warn!(%host, error = format!("{error:#}"), "asking for {} at a time", duration_text(chunk_ms));
                }
                Err(failure) => {
                    send(Err(too_large_advice(failure).context(format!("cannot read the history of {host}"))));
                    return;
                }
            }
        }
    }
    send(Ok(Piece::End));
}

fn too_large_advice(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::TooLarge(error) => error.context(
            "even a minute of one host is too much; raise the server's limits (VictoriaMetrics: -search.maxExportSeries, \
             -search.maxExportDuration; Prometheus: --storage.remote.read-sample-limit, --query.max-samples)",
        ),
        failure => failure.into_error(),
    }
}

async fn open(
    client: Client,
    request: &Request,
    selection: Selection,
) -> anyhow::Result<(Database, Vec<String>, Vec<String>)> {
    let database = Database::open(client, request.server, selection.clone()).await?;
    let hosts = database.hosts(request.span).await?;
    if hosts.is_empty() {
        let first: Vec<&str> = selection.names.iter().take(3).map(String::as_str).collect();
        return Err(anyhow!(
            "{} has no series of the {} metrics that the features read ({}, …) with a label {} over the {} that were asked \
             for; check --since, --until, the features and identity.label",
            database.shown(),
            selection.names.len(),
            first.join(", "),
            selection.identity,
            duration_text(request.span.len_ms()),
        ));
    }
    let absent = database.absent(request.span).await?;
    Ok((database, hosts, absent))
}
