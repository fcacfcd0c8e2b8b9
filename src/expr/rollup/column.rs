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
        let mut values = vec![empty; n];
        for (series, new) in new.iter().enumerate() {
            if let Some(new) = new {
                values[*new as usize] = self.get(series);
            }
        }
        *self = Self::Each(values.into());
    }
}
