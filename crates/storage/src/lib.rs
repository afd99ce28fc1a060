//! Room `storage`: where blobs lie. It implements the port [`model::ports::StorageArea`] for a folder of the file system
//! ([`local`], Orthanc's layout), a bucket of S3 ([`s3`]) and memory ([`memory`], for tests).
//!
//! It knows nothing of DICOM, databases or requests. Start at [`open()`], then [`local`]. All pass one suite,
//! `tests/it/suite.rs`.

mod blocking;
mod errors;
mod folders;
mod local;
mod local_writer;
mod memory;
mod open;
mod pending;
mod s3;
mod s3_config;
mod s3_errors;
mod s3_writer;

pub use local::{Local, LocalConfig};
pub use memory::Memory;
pub use open::{StorageConfig, open};
pub use s3::S3;
pub use s3_config::{Credentials, S3Config};

/// The largest piece of a stream, and the size at which a writer to a file flushes, in bytes.
pub(crate) const PIECE: usize = 256 << 10;
