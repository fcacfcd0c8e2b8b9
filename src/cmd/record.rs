//! `outlierd record`: takes remote write and writes the bodies to a folder, as received.
//!
//! Bodies that cannot be decoded are refused, as `serve` refuses them; nothing is changed, so that a recording is what a sender
//! sent: `features`, `train` and `backtest` read it by `--from`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::Clock;
use crate::config::{Limits, duration_ms, size_bytes};
use crate::decode::{Decoder, Encoding, TimeBounds, Wanted};
use crate::offline::history::recorder::Recorder;
use crate::serve::http::{self, WriteError};

/// Interval between writes of the index: what a crash costs.
const INDEX_EVERY: Duration = Duration::from_secs(10);

/// Any label: no sample is told apart.
const INSTANCE: &str = "instance";

/// Longest time that requests in flight may take at the end.
const DRAIN_MS: u64 = 5_000;

/// Flags of `record`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The folder to write to. It must not have a recording.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where to listen: host:port, or :port for every interface.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9201")]
    pub listen_address: String,
    /// How long to record. Without it until SIGINT or SIGTERM.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Where the recording ends however long it took.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GiB")]
    pub max_size: u64,
}

fn duration(text: &str) -> Result<Duration, String> {
    let ms = duration_ms(text).and_then(|ms| u64::try_from(ms).ok());
    ms.map(Duration::from_millis).ok_or_else(|| "must be a duration such as 30m".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    size_bytes(text).ok_or_else(|| "must be a size such as 512MiB".to_owned())
}

/// Records until a signal, the duration or the size.
///
/// # Errors
/// The address or the folder cannot be used, or a body cannot be written.
pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let recorder = Arc::new(Mutex::new(Some(Recorder::create(&flags.out, flags.max_size)?)));
    let listener = super::serve::listen(&flags.listen_address).await?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let (ended, mut end) = mpsc::channel(1);
    let routes = routes(Arc::clone(&recorder), ended)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async { drop(stopped.await) };
    let server = tokio::spawn(async move {
        http::serve(listener, routes, Limits::default().connections, until, DRAIN_MS).await;
    });
    tracing::info!(%address, out = %flags.out.display(), "listening");
    let mut index = tokio::time::interval(INDEX_EVERY);
    let mut timeout = std::pin::pin!(tokio::time::sleep(flags.duration.unwrap_or(Duration::MAX)));
    let result = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            () = &mut timeout => break Ok(()),
            error = end.recv() => break error.unwrap_or(Ok(())),
            _ = index.tick() => {
                let written = with(&recorder, |recorder| recorder.write_index());
                if let Some(Err(error)) = written {
                    break Err(error);
                }
            }
        }
    };
    drop(stop);
    server.await.context("the server failed")?;
    let recorder = recorder.lock().take();
    let n_bodies = recorder.map_or(Ok(0), Recorder::finish)?;
    tracing::info!(bodies = n_bodies, "recorded");
    result
}

/// `act` on the recorder, unless the recording has ended.
fn with<T>(recorder: &Mutex<Option<Recorder>>, act: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
    recorder.lock().as_mut().map(act)
}

/// Remote write, as `serve` takes it.
fn routes(
    recorder: Arc<Mutex<Option<Recorder>>>,
    ended: mpsc::Sender<anyhow::Result<()>>,
) -> anyhow::Result<http::Routes> {
    let limits = Limits::default();
    // Looked through for being well formed; nothing of it is kept.
    let wanted = Arc::new(Wanted::new(std::iter::empty(), INSTANCE, 1, &limits)?);
    let write = move |body: Bytes, encoding: Encoding| {
        let (recorder, wanted, ended) = (Arc::clone(&recorder), Arc::clone(&wanted), ended.clone());
        async move {
            let received_ms = Clock::System.now_ms();
            let write = move || {
                let decoded = Decoder::new().decode(&body, encoding, &wanted, TimeBounds::NONE);
                decoded.map(|_| with(&recorder, |recorder| recorder.add(&body, encoding, received_ms)))
            };
            let error = match tokio::task::spawn_blocking(write).await {
                Ok(Ok(Some(Ok(true)))) => return Ok(()),
                Ok(Ok(Some(Ok(false)))) => {
                    tracing::info!("the recording is as large as --max-size allows");
                    Ok(())
                }
                Ok(Ok(Some(Err(error)))) => Err(error),
                Ok(Ok(None)) => return Err(WriteError::Stopping),
                Ok(Err(malformed)) => return Err(WriteError::Bad(malformed.to_string())),
                Err(error) => Err(anyhow!(error)),
            };
            // One end is enough.
            drop(ended.try_send(error));
            Err(WriteError::Stopping)
        }
    };
    Ok(http::write_routes(write, &limits, &prometheus::Registry::new())?)
}
