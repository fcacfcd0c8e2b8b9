//! Positions of one configuration's columns in the next.

/// For each column now its place before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remap {
    /// `None` for a column that is new.
    old_places: Box<[Option<usize>]>,
    /// Columns before.
    n_old: usize,
}

impl Remap {
    /// From the columns `old` to the columns `new`; equal ones are the same column.
    #[must_use]
    pub fn new<K: PartialEq>(old: &[K], new: &[K]) -> Self {
        let place = |column: &K| old.iter().position(|old| old == column);
        Self { old_places: new.iter().map(place).collect(), n_old: old.len() }
    }

    /// The places before, of each column now.
    pub fn old_places(&self) -> impl Iterator<Item = Option<usize>> {
        self.old_places.iter().copied()
    }

    /// The place now of a column before; `None` where it is gone.
    #[must_use]
    pub fn new_place(&self, old: usize) -> Option<usize> {
        self.old_places.iter().position(|place| *place == Some(old))
    }

    /// Whether no column moves, comes or goes.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.old_places.len() == self.n_old && self.old_places().eq((0..self.n_old).map(Some))
    }

    /// A value for each column now: that of `old`, or `missing` where there is none.
    #[must_use]
    pub fn moved<T: Copy>(&self, old: &[T], missing: T) -> Box<[T]> {
        self.old_places().map(|place| place.and_then(|place| old.get(place).copied()).unwrap_or(missing)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_move_come_and_go() {
        let remap = Remap::new(&["a", "b", "c"], &["c", "d", "a"]);
        assert_eq!(remap.moved(&[1, 2, 3], 0).as_ref(), [3, 0, 1]);
        assert_eq!(remap.moved(&[1], 0).as_ref(), [0, 0, 1], "what was shorter before lacks columns");
        assert_eq!([0, 1, 2].map(|old| remap.new_place(old)), [Some(2), None, Some(0)]);
        assert!(!remap.is_identity());
        for columns in [&["a", "b"][..], &[]] {
            assert!(Remap::new(columns, columns).is_identity());
        }
        assert!(!Remap::new(&["a", "b"], &["a"]).is_identity());
        assert!(!Remap::new(&["a"], &["a", "b"]).is_identity());
    }
}
