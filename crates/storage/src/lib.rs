//! Room `storage`: where blobs lie. It implements the port [`model::ports::StorageArea`] for a folder of the file system
//! ([`local`], Orthanc's layout) and for memory ([`memory`], for tests).
//!
//! It knows nothing of DICOM, databases or requests. Start at [`open()`], then [`local`]. Both pass one suite,
//! `tests/it/main.rs`.

mod blocking;
mod errors;
mod folders;
mod local;
mod local_writer;
mod memory;
mod open;

pub use local::{Local, LocalConfig};
pub use memory::Memory;
pub use open::{StorageConfig, open};

/// The largest piece of a stream, and the size at which a writer flushes, in bytes.
pub(crate) const PIECE: usize = 256 << 10;
