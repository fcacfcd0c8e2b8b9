//! The silences that somebody asked for: [`mod@store`] keeps them, [`mod@control`] is how people change them.

pub mod control;
pub mod store;
