//! Use cases on an embedded index and a storage area in memory.

mod archive;
mod archive_plan;
mod digests;
mod housekeeping;
mod node;
mod remotes;
mod send;
mod settings;
mod support;
