//! Windows that are run through a session at once, and the buffers for it.

use anyhow::{Context, ensure};
use ndarray::{Array3, Axis, Slice};

use super::session::Session;
use crate::engine::row::Window;

/// Windows run at once: ONNX Runtime's LSTM is fastest per window between 16 and 64, and slower again beyond.
pub const BATCH_WINDOWS: usize = 64;

/// A session and the memory of its batches.
#[derive(Debug)]
pub struct Batch {
    session: Session,
    /// `[BATCH_WINDOWS, T, F]`.
    windows: Array3<f32>,
}

impl Batch {
    /// For windows of `window_rows` × `n_features`.
    #[must_use]
    pub fn new(session: Session, window_rows: usize, n_features: usize) -> Self {
        Self { session, windows: Array3::zeros((BATCH_WINDOWS, window_rows, n_features)) }
    }

    /// Returns T: rows of a window.
    #[must_use]
    pub fn window_rows(&self) -> usize {
        self.windows.shape()[1]
    }

    /// Returns F: features of a row.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.windows.shape()[2]
    }

    /// Computes what the model expects of the newest row of each of at most [`BATCH_WINDOWS`] windows, `[windows × F]` in
    /// `expected`.
    ///
    /// # Errors
    /// A window has another size, there are too many, or as [`Session::run`].
    pub fn expect<'a>(
        &mut self,
        windows: impl Iterator<Item = &'a Window>,
        expected: &mut Vec<f32>,
    ) -> anyhow::Result<()> {
        expected.clear();
        let mut n_windows = 0;
        let mut places = self.windows.outer_iter_mut();
        for window in windows {
            let mut place = places.next().with_context(|| format!("a batch has at most {BATCH_WINDOWS} windows"))?;
            let cells = place.as_slice_mut().context("the batch is not contiguous")?;
            ensure!(cells.len() == window.input.len(), "a window has {} cells", window.input.len());
            cells.copy_from_slice(&window.input);
            n_windows += 1;
        }
        if n_windows == 0 {
            return Ok(());
        }
        self.session.run(self.windows.slice_axis(Axis(0), Slice::from(..n_windows)), expected)
    }
}
