//! Work on recordings: history and where it comes from, labelled data, training, evaluation. Never on the running service.

pub mod evaluate;
pub mod history;
pub mod labelled;
pub mod train;
