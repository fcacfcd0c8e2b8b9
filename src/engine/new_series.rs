//! A series that a host meets for the first time, as its labels say it.

use crate::series::Sample;

/// The hash of a sender's replica labels; 0 for one without any.
pub(super) type SenderKey = u64;

/// A series that was read for the first time.
#[derive(Debug)]
pub(super) struct NewSeries<'a> {
    /// The hash of all its labels as they came.
    pub(super) labels_hash: u64,
    /// The hash of those that its host's series don't all share; set where it is added.
    pub(super) own_hash: u64,
    /// Its labels, sorted, without the dropped ones.
    pub(super) labels: Vec<(&'a str, &'a str)>,
    /// The dropped ones, sorted.
    pub(super) dropped: Vec<(&'a str, &'a str)>,
    /// The sender that they tell.
    pub(super) sender: SenderKey,
    /// Whether its sender speaks for the host; set once it is known.
    pub(super) is_heard: bool,
    /// The leaves that select it.
    pub(super) leaves: Vec<u16>,
    /// Whether it is an `up`.
    pub(super) is_up: bool,
    /// The samples that it came with.
    pub(super) samples: &'a [Sample],
}

impl NewSeries<'_> {
    /// Returns the number of samples that it came with.
    pub(super) fn n_samples(&self) -> u64 {
        self.samples.len() as u64
    }

    /// Whether a host keeps it.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_up || !self.leaves.is_empty()
    }
}
