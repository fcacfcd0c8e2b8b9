//! The accept loop: connections, their limit and timeouts, and the drain at the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::Routes;

/// A connection without a byte in either direction is closed after this time. vmagent keeps idle connections for 60 s, and
/// must not find one closed. hyper's time limit for the head of a request starts at the end of the request before it, so
/// that one is as long.
const IDLE: Duration = Duration::from_secs(120);

/// Pause after a connection that could not be accepted, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers connections, at most `connections_max` at once, until `shutdown` is ready; then lets the requests that are running
/// finish, for at most `drain_ms`.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    connections_max: usize,
    shutdown: impl Future<Output = ()>,
    drain_ms: u64,
) {
    let places = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let service = TowerToHyperService::new(warp::service(routes));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; raise the limit of open files if this lasts");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
        builder.http2().timer(TokioTimer::new());
        let io = TokioIo::new(IdleLimit::new(stream));
        let connection = graceful.watch(builder.serve_connection(io, service.clone()).into_owned());
        // Those that ended meanwhile.
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if timeout(Duration::from_millis(drain_ms), graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish within {drain_ms} ms and are cut off");
    }
    // A connection holds the routes and all that they lead to: nothing behind them could end while it is open.
    connections.shutdown().await;
}

/// A connection whose reads and writes fail after [`IDLE`] without progress.
struct IdleLimit {
    stream: TcpStream,
    progress: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl IdleLimit {
    fn new(stream: TcpStream) -> Self {
        // An answer is written at once, so there is nothing to wait for; a stream that refuses still works.
        let _ = stream.set_nodelay(true);
        let progress = Instant::now();
        Self { stream, progress, alarm: Box::pin(sleep_until(progress + IDLE)) }
    }

    /// Notes progress, or fails where there was none for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.progress = Instant::now();
            return result;
        }
        // The alarm is moved only when it rings: cheaper than at every byte.
        while self.alarm.as_mut().poll(context).is_ready() {
            let deadline = self.progress + IDLE;
            if deadline <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl AsyncRead for IdleLimit {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, into);
        self.watch(context, result)
    }
}

impl AsyncWrite for IdleLimit {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
