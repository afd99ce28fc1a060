//! Opens the storage area that the configuration names.

use crate::local::{Local, LocalConfig};
use crate::memory::Memory;
use crate::s3::S3;
use crate::s3_config::S3Config;
use model::Result;
use model::ports::StorageArea;
use std::sync::Arc;

/// Which storage area, with its options.
#[derive(Clone, Debug)]
pub enum StorageConfig {
    /// A folder of the file system.
    Local(LocalConfig),
    /// A bucket of S3.
    S3(Box<S3Config>),
    /// This process's memory; gone when it ends.
    Memory,
}

/// Opens the storage area and proves that it can be written to.
///
/// # Errors
/// `CannotWrite` if the folder or bucket cannot be made or written to; `StorageFull`; `Busy` if a bucket's server does not
/// answer; `OutOfRange` if options make no sense.
pub async fn open(config: StorageConfig) -> Result<Arc<dyn StorageArea>> {
    Ok(match config {
        StorageConfig::Local(config) => Arc::new(Local::open(config).await?),
        StorageConfig::S3(config) => Arc::new(S3::open(*config).await?),
        StorageConfig::Memory => Arc::new(Memory::default()),
    })
}
