//! Room `index`: which resources exist, what is known about them and what changed, kept in a database behind the port
//! [`model::ports::Index`]. It knows rows, not files, HTTP or DIMSE.
//!
//! Start at [`sqlite::open`], then `sqlite/writer.rs` (group commit), `sqlite/store.rs` (what one stored instance writes) and
//! `find_sql.rs` (how a search becomes SQL). The tables are in `migrations/`.

mod events;
mod find_sql;
mod hints;
mod jobs;
mod names;
pub mod postgres;
pub mod sqlite;
mod text;
