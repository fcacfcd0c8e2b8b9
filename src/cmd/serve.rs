//! `outlierd serve`: the service, until a signal.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::base::clock::Clock;
use crate::config::{self, Config};
use crate::serve::service::Service;
use crate::setup::{Environment, Setup};

/// The file in the storage folder that one service at a time holds.
const LOCK: &str = "lock";

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The configuration file. Without it the built-in preset and bundle run.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Where to listen: host:port, or :port for every interface.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9201")]
    pub listen_address: String,
    /// The folder for what survives a restart: events, feedback and silences. Without it nothing is written.
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage_path: Option<PathBuf>,
    /// The ONNX Runtime library. Without it the usual places are looked through.
    #[arg(long = "onnxruntime.path", value_name = "FILE")]
    pub onnxruntime_path: Option<PathBuf>,
}

/// Runs the service until SIGTERM or SIGINT, then drains it.
///
/// # Errors
/// The configuration, the bundle, ONNX Runtime or the address cannot be used.
pub async fn run(flags: Flags) -> anyhow::Result<()> {
    // Before anything else, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let environment = Environment { storage: flags.storage_path, clock: Clock::System };
    let setup = Setup::in_environment(load(flags.config_file.as_deref())?, environment)?;
    setup.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let _held = setup.environment.storage.as_deref().map(hold).transpose()?;
    let listener = listen(&flags.listen_address).await?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let service = Service::start(&setup, listener, flags.onnxruntime_path.as_deref())?;
    tracing::info!(
        %address,
        bundle = setup.bundle.source,
        features = setup.config.features.len(),
        scored = setup.scored.len(),
        window = setup.window(),
        step_ms = setup.step_ms(),
        "listening"
    );
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                service.reload();
                continue;
            }
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
            () = service.failed() => bail!("a thread of the service ended; this is a bug, see the panic above"),
        }
        return service.stop().await;
    }
}

/// The configuration in `file`, or the defaults.
///
/// # Errors
/// Every mistake in the file at once.
pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    match file {
        Some(file) => Ok(config::load(file)?),
        None => Ok(Config::default()),
    }
}

/// Keeps other services out of the folder `storage`, which is made where it is missing, until the file is dropped or the process
/// ends: two would write over each other's events, feedback and silences. `None` where the file system cannot do it.
///
/// # Errors
/// The folder can't be made, or another service holds it.
fn hold(storage: &Path) -> anyhow::Result<Option<File>> {
    let shown = storage.display();
    std::fs::create_dir_all(storage)
        .with_context(|| format!("cannot make {shown}: choose another with --storage.path"))?;
    let lock = storage.join(LOCK);
    let held = File::options().create(true).append(true).open(&lock).map_err(TryLockError::Error);
    match held.and_then(|file| file.try_lock().map(|()| file)) {
        Ok(file) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("another outlierd stores in {shown}: stop it, or give each a --storage.path of its own")
        }
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, file = %lock.display(), "cannot lock the storage; see that nobody else writes to it");
            Ok(None)
        }
    }
}

/// Binds `address`; `:port` means every interface.
///
/// # Errors
/// The address is none, or is taken.
pub async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    // `[::]` takes IPv4 too; a machine without IPv6 refuses it.
    let whole = if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
    let bound = match TcpListener::bind(&whole).await {
        Err(_) if whole != address => TcpListener::bind(format!("0.0.0.0{address}")).await,
        bound => bound,
    };
    bound.with_context(|| format!("cannot listen on {address}: choose another with --web.listen-address"))
}
