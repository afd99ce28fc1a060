//! Room `index`: which resources exist and what is known about them, in a database.
//!
//! It implements `model::ports::Index` and knows neither blobs nor doors. [`sqlite`] is the embedded index of one process.
//! Start at `sqlite/mod.rs`, then `sqlite/store.rs`.

mod find_sql;
pub mod sqlite;

pub use sqlite::{Options, SqliteIndex};
