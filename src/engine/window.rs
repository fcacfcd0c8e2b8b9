//! The last T standardised rows of one host.

/// Rows for which a missing cell keeps the last value that was there; after that it is 0, the feature's mean.
/// Two rows bridge a lost scrape without inventing a plateau.
const CARRY_ROWS: u8 = 2;

/// A missing cell.
const MISSING: i16 = i16::MIN;

/// A standardised value within ± `clip` as a cell of two bytes, in units of `clip` / 32767; NaN is a missing one.
#[must_use]
pub fn cell_of(z: f32, clip: f32) -> i16 {
    // `as` makes 0 of a NaN and saturates; -32768 would be a missing cell.
    if z.is_nan() { MISSING } else { ((z * (f32::from(i16::MAX) / clip)).round() as i16).max(-i16::MAX) }
}

/// The value of a cell, within `clip` / 65534 of what it was; NaN where missing.
#[must_use]
pub fn value_of(cell: i16, clip: f32) -> f32 {
    if cell == MISSING { f32::NAN } else { f32::from(cell) * (clip / f32::from(i16::MAX)) }
}

/// A ring of standardised rows, oldest first.
#[derive(Debug)]
pub(super) struct WindowRing {
    /// `[T × F]`, a ring of rows, in units of the clip / 32767: half the memory of an f32, and at a clip of 5 an error of less
    /// than 0.0001 standard deviations.
    cells: Box<[i16]>,
    /// Bound that the model's inputs are clipped to, ±.
    clip: f32,
    /// F: features of a row.
    n_features: usize,
    /// T: rows of a window.
    n_rows_max: usize,
    /// Rows pushed since the ring was last empty, at most T.
    n_rows: usize,
    /// The row that the next push writes.
    next: usize,
}

impl WindowRing {
    /// An empty ring of `n_rows_max` × `n_features`, which clips to ± `clip`.
    pub(super) fn new(n_rows_max: usize, n_features: usize, clip: f32) -> Self {
        Self { cells: vec![MISSING; n_rows_max * n_features].into(), clip, n_features, n_rows_max, n_rows: 0, next: 0 }
    }

    /// A ring of `n_rows_max` × `columns`, with the newest rows that others have of each column: which of them, and its column
    /// there. What none has is missing.
    pub(super) fn assembled(n_rows_max: usize, clip: f32, columns: &[Option<(&Self, usize)>]) -> Self {
        let n_rows = columns.iter().flatten().map(|(ring, _)| ring.n_rows).max().unwrap_or(0).min(n_rows_max);
        let mut new = Self::new(n_rows_max, columns.len(), clip);
        for behind in (0..n_rows).rev() {
            let start = new.next * new.n_features;
            for (cell, from) in new.cells[start..].iter_mut().zip(columns) {
                *cell = from.map_or(MISSING, |(ring, column)| ring.cell(behind, column, clip));
            }
            new.next = (new.next + 1) % n_rows_max;
        }
        new.n_rows = n_rows;
        new
    }

    /// A cell of the row that was pushed `behind` rows before the newest, in units of `clip`.
    fn cell(&self, behind: usize, column: usize, clip: f32) -> i16 {
        if behind >= self.n_rows {
            return MISSING;
        }
        let row = (self.next + 2 * self.n_rows_max - 1 - behind) % self.n_rows_max;
        let cell = self.cells[row * self.n_features + column];
        if self.clip == clip { cell } else { cell_of(value_of(cell, self.clip), clip) }
    }

    /// Adds a row; NaN where missing.
    pub(super) fn push(&mut self, row: &[f32]) {
        let start = self.next * self.n_features;
        for (cell, z) in self.cells[start..start + self.n_features].iter_mut().zip(row) {
            *cell = cell_of(*z, self.clip);
        }
        self.next = (self.next + 1) % self.n_rows_max;
        self.n_rows = (self.n_rows + 1).min(self.n_rows_max);
    }

    /// Forgets every row.
    pub(super) fn clear(&mut self) {
        self.n_rows = 0;
        self.next = 0;
    }

    /// Rows held, at most T.
    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    /// Whether there are T rows.
    pub(super) fn is_full(&self) -> bool {
        self.n_rows == self.n_rows_max
    }

    /// Rows held in which some cell is not missing.
    pub(super) fn n_present(&self) -> usize {
        self.rows().filter(|row| row.iter().any(|cell| *cell != MISSING)).count()
    }

    /// The rows from the oldest to the newest.
    fn rows(&self) -> impl Iterator<Item = &[i16]> {
        let first = (self.next + self.n_rows_max - self.n_rows) % self.n_rows_max;
        (0..self.n_rows).map(move |k| {
            let start = (first + k) % self.n_rows_max * self.n_features;
            &self.cells[start..start + self.n_features]
        })
    }

    /// The window as the model sees it, `[T × F]`, clipped and with missing cells filled. `n_counted` has for each column how many
    /// of its newest cells count. `None` where there are fewer than T rows, or more than `max_missing` of the cells that count is
    /// missing.
    pub(super) fn filled(&self, max_missing: f64, n_counted: &[u16]) -> Option<Box<[f32]>> {
        if self.n_rows < self.n_rows_max {
            return None;
        }
        let n_cells: usize = n_counted.iter().map(|n| usize::from(*n)).sum();
        let mut filled = Vec::with_capacity(self.cells.len());
        let mut carried = vec![(0.0_f32, CARRY_ROWS); self.n_features];
        let mut n_missing = 0_usize;
        for (row, behind) in self.rows().zip((0..self.n_rows).rev()) {
            for ((&cell, (last, age)), n_counted) in row.iter().zip(&mut carried).zip(n_counted) {
                if cell == MISSING {
                    n_missing += usize::from(behind < usize::from(*n_counted));
                    *age = age.saturating_add(1);
                    filled.push(if *age <= CARRY_ROWS { *last } else { 0.0 });
                } else {
                    (*last, *age) = (value_of(cell, self.clip), 0);
                    filled.push(*last);
                }
            }
        }
        if n_missing as f64 > max_missing * n_cells as f64 {
            return None;
        }
        Some(filled.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    fn check(rows: &[[f32; 2]], expected: Option<&[f32]>) {
        check_counted(rows, [4, 4], expected);
    }

    fn check_counted(rows: &[[f32; 2]], n_counted: [u16; 2], expected: Option<&[f32]>) {
        let mut ring = WindowRing::new(4, 2, 5.0);
        rows.iter().for_each(|row| ring.push(row));
        let filled = ring.filled(0.5, &n_counted);
        let same = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        let is_expected = match (filled.as_deref(), expected) {
            (Some(filled), Some(expected)) => same(filled, expected),
            (filled, expected) => filled == expected,
        };
        assert!(is_expected, "{rows:?}: {filled:?} instead of {expected:?}");
    }

    #[test]
    fn the_newest_rows_oldest_first() {
        check(&[[1.0, 2.0]; 3], None);
        check(
            &[[0.0, 0.0], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5], [9.0, -9.0]],
            Some(&[1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 5.0, -5.0]),
        );
    }

    #[test]
    fn a_missing_cell_is_carried_for_two_rows_and_then_the_mean() {
        check(&[[1.0, 2.0], [1.0, NAN], [1.0, NAN], [1.0, NAN]], Some(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 0.0]));
        check(&[[NAN, 2.0], [1.0, 2.0], [NAN, 2.0], [1.0, 2.0]], Some(&[0.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]));
    }

    #[test]
    fn too_much_missing_is_not_scored() {
        check(&[[NAN, 2.0], [NAN, 2.0], [NAN, 2.0], [NAN, NAN]], None);
    }

    #[test]
    fn cells_that_do_not_count_are_not_missing() {
        let rows = [[NAN, 2.0], [NAN, 2.0], [NAN, 2.0], [NAN, NAN]];
        let filled = Some(&[0.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 2.0][..]);
        check_counted(&rows, [0, 4], filled);
        check_counted(&rows, [3, 4], None);
        // Of the second column the newest two: one of them is missing, and of the first the newest.
        check_counted(&rows, [0, 2], filled);
        check_counted(&rows, [1, 2], None);
    }
}
