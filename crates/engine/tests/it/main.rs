//! Use cases on an embedded index and a storage area in memory.

mod archive;
mod archive_plan;
mod remotes;
mod settings;
mod support;
