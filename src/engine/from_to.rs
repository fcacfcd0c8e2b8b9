//! Two of a kind: before a change, and after it.

/// States before and after a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct FromTo<T> {
    pub(super) from: T,
    pub(super) to: T,
}
