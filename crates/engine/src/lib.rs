//! Room `engine`: the use cases of a DICOM store, one free function each: store, find, read, delete, changes, settings,
//! and the sweeps that keep the house clean.
//!
//! Doors (`scp`, `rest`) call these functions and nothing else; databases and storage areas are reached only through the
//! ports in `model`. Start at [`store`], then [`find`] and [`read`].

pub mod annotations;
pub mod archive;
pub mod blobs;
pub mod bulk;
pub mod changes;
mod cpu;
pub mod delete;
mod describe;
pub mod digests;
pub mod documents;
pub mod engine;
pub mod events;
pub mod files;
pub mod find;
pub mod flow;
pub mod housekeeping;
pub mod import;
pub mod jobs;
pub mod key_values;
pub mod logs;
pub mod modality;
pub mod peer;
pub mod peers;
pub mod read;
pub mod reconstruct;
pub mod remotes;
pub mod script;
pub mod scu;
pub mod send;
pub mod settings;
pub mod slices;
pub mod statistics;
pub mod store;
pub mod straight;
pub mod sweeps;
pub mod uploads;
pub mod webdav;
pub mod zlib;

pub use engine::{Ctx, Engine, EngineConfig, Parts};
pub use find::{Found, Query};
pub use logs::LogLevels;
pub use modality::Modality;
pub use model::ports::index::Stability;
pub use peer::Peer;
pub use settings::Settings;
pub use store::{Ingest, StoreOutcome};
