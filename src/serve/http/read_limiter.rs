//! Limit of answers made at once, whoever asks: a hundred readers must leave processors to what comes in.
//!
//! A turn lasts while a thread works, never while a reader is slow.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// The limiter of a service; clones share them. Who waits is served in the order of asking.
#[derive(Debug, Clone)]
pub(super) struct ReadLimiter(Arc<Semaphore>);

impl ReadLimiter {
    /// Half the processors, at least one.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self(Arc::new(Semaphore::new((cores / 2).max(1))))
    }

    /// Returns what `make` gives, made beside the reactor when its turn comes.
    ///
    /// # Errors
    /// It panicked.
    pub(super) async fn make<T: Send + 'static>(
        self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // It is never closed.
        let turn = self.0.acquire_owned().await;
        let making = spawn_blocking(move || {
            let made = make();
            // Not before, even if nobody waits any more.
            drop(turn);
            made
        });
        making.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_after_the_other() {
        let limiter = ReadLimiter(Arc::new(Semaphore::new(1)));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let made = (0..50).map(|i| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(limiter.clone().make(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                // The turn of one that panics is given back.
                assert_ne!(i, 7, "on purpose");
            }))
        });
        let made: Vec<_> = made.collect();
        let mut n_made = 0;
        for one in made {
            n_made += usize::from(one.await.unwrap().is_ok());
        }
        assert_eq!((n_made, most.load(Ordering::SeqCst)), (49, 1));
    }
}
