//! Two of a kind: before a change, and after it.

/// What was before a change, and what is after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FromTo<T> {
    pub(super) from: T,
    pub(super) to: T,
}
