//! The storage area: blobs under random names, written once.

use crate::{AttachmentId, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::ops::Range;
use std::time::Duration;

/// A place for blobs: a folder, a bucket, memory.
#[async_trait]
pub trait StorageArea: Send + Sync {
    /// Begins a blob. Nothing of it is promised until [`BlobWriter::finish`] has returned.
    async fn create(&self, id: AttachmentId) -> Result<Box<dyn BlobWriter>>;

    /// Stores a blob that is in memory: durable when this returns.
    ///
    /// # Errors
    /// `StorageFull`, `CannotWrite`. What was written is removed if possible.
    async fn put(&self, id: AttachmentId, bytes: Bytes) -> Result<()>;

    /// The whole blob, or a part of it. The end may lie beyond the blob; then the part is shorter.
    ///
    /// # Errors
    /// `InexistentFile`.
    async fn read(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes>;

    /// The same in pieces of at most 256 KiB, read as the consumer asks for them.
    ///
    /// # Errors
    /// `InexistentFile` at once; later ones in the stream.
    async fn stream(&self, id: AttachmentId, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// Removes a blob and, in a folder, the sub-folders that it leaves empty. Removing what is not there is no error.
    async fn remove(&self, id: AttachmentId) -> Result<()>;

    /// How long a blob must outlive its row. A file that is removed can be read to its end by who has opened it; an object of
    /// a store cannot, so it stays while readers that found its row may still be at it.
    fn deletion_grace(&self) -> Duration {
        Duration::ZERO
    }
}

/// A blob that is being written. Dropping it without [`Self::finish`] leaves at most an orphan for the sweep.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends. Waits while the storage area is slow.
    ///
    /// # Errors
    /// `StorageFull`, `CannotWrite`.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the blob durable.
    async fn finish(self: Box<Self>) -> Result<()>;

    /// Removes what was written.
    async fn discard(self: Box<Self>);
}
