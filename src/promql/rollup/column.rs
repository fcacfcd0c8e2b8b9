//! One value per series, most often the same for all: the series of a host are scraped together.

/// A column that takes memory only where its values differ.
#[derive(Debug, Clone, PartialEq)]
pub enum Column<T> {
    /// Every series has this value.
    Same(T),
    /// By series.
    Each(Box<[T]>),
}

impl<T: Copy> Column<T> {
    /// The value of one series.
    #[must_use]
    pub fn get(&self, series: usize) -> T {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values[series],
        }
    }

    /// The values of all `n` series, each by itself from now on.
    pub fn each(&mut self, n: usize) -> &mut [T] {
        if let Self::Same(value) = self {
            *self = Self::Each(vec![*value; n].into());
        }
        match self {
            Self::Each(values) => values,
            // Not reached: it was made one above.
            Self::Same(_) => &mut [],
        }
    }

    /// Gives each series its position in `new`; `n` series there will be, those without a value have `empty`.
    pub fn renumber(&mut self, new: &[Option<u32>], n: usize, empty: T) {
        let values = (0..new.len()).map(|series| self.get(series));
        *self = Self::Each(renumbered(values, new, n, || empty).into());
    }
}

/// The values of `n` series after they have changed their numbers: `new` has the new number of each old one, `None` where it is
/// gone. A series that was not there before has the `empty` value.
pub fn renumbered<T>(
    values: impl IntoIterator<Item = T>,
    new: &[Option<u32>],
    n: usize,
    empty: impl FnMut() -> T,
) -> Vec<T> {
    let mut renumbered: Vec<T> = std::iter::repeat_with(empty).take(n).collect();
    for (value, new) in values.into_iter().zip(new) {
        if let Some(new) = new {
            renumbered[*new as usize] = value;
        }
    }
    renumbered
}
