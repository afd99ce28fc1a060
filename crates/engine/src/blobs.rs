//! Names of blobs, reserved in blocks so that a crash leaves a list of what it may have orphaned (architecture, decision 3).

use crate::digests::Checksum;
use crate::{Engine, sweeps};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use model::ports::Index;
use model::{AttachmentId, Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Names reserved at once: one small insert per so many stores.
const BLOCK: usize = 256;

/// Hands out reserved names.
pub(crate) struct BlobNames {
    index: Arc<dyn Index>,
    free: Mutex<Vec<AttachmentId>>,
    refill: tokio::sync::Mutex<()>,
    /// Blobs of which nobody knows whether their rows were committed. Should this process die, the sweep of its names finds them.
    doubtful: Mutex<Vec<AttachmentId>>,
}

impl BlobNames {
    pub(crate) fn new(index: Arc<dyn Index>) -> Self {
        Self { index, free: Mutex::new(Vec::new()), refill: tokio::sync::Mutex::new(()), doubtful: Mutex::default() }
    }

    fn pop(&self) -> Option<AttachmentId> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// A name that nobody used before and that a sweep would find if this process died.
    pub(crate) async fn take(&self) -> Result<AttachmentId> {
        if let Some(id) = self.pop() {
            return Ok(id);
        }
        let _one_at_a_time = self.refill.lock().await;
        if let Some(id) = self.pop() {
            return Ok(id);
        }
        let mut block = self.index.reserve_blobs(BLOCK).await?.0;
        let id = block.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "the index reserved no blob names"))?;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).extend(block);
        Ok(id)
    }

    /// Remembers a blob whose row may have been committed, or not.
    pub(crate) fn doubt(&self, blob: AttachmentId) {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).push(blob);
    }

    /// Lets those go that have no row, and makes sure that none comes any more.
    pub(crate) async fn settle_doubts(&self) -> Result<()> {
        let doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if doubtful.is_empty() {
            return Ok(());
        }
        self.index.abandon_blobs(&doubtful).await?;
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).retain(|blob| !doubtful.contains(blob));
        Ok(())
    }

    /// Forgets the unused names: they are not reserved any more.
    pub(crate) fn forget(&self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Gives the unused names back.
    pub(crate) async fn release(&self) -> Result<()> {
        let unused = std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner));
        self.index.release_blobs(&unused).await
    }
}

/// A durable blob that no row refers to yet.
#[derive(Clone, Debug)]
pub(crate) struct NewBlob {
    pub(crate) id: AttachmentId,
    pub(crate) size_bytes: u64,
    pub(crate) checksum: u64,
}

/// Writes a stream into a new blob, durable when this returns.
///
/// # Errors
/// Those of the stream, `StorageFull`, `CannotWrite`; then nothing is left of it.
pub(crate) async fn write(eng: &Engine, mut bytes: BoxStream<'_, Result<Bytes>>) -> Result<NewBlob> {
    let id = eng.blobs.take().await?;
    let mut writer = eng.storage.create(id).await?;
    let (mut size_bytes, mut checksum) = (0, Checksum::default());
    while let Some(piece) = bytes.next().await {
        let written = match piece {
            Ok(piece) => {
                size_bytes += piece.len() as u64;
                checksum.update(&piece);
                writer.write(piece).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            writer.discard().await;
            sweeps::discard(eng, id).await;
            return Err(error);
        }
    }
    if let Err(error) = writer.finish().await {
        sweeps::discard(eng, id).await;
        return Err(error);
    }
    Ok(NewBlob { id, size_bytes, checksum: checksum.value() })
}

/// Whether the storage area can be used at all, told by an empty blob.
///
/// # Errors
/// `StorageFull`, `CannotWrite`, `DatabaseUnavailable`.
pub(crate) async fn probe(eng: &Engine) -> Result<()> {
    let blob = write(eng, futures_util::stream::empty().boxed()).await?;
    sweeps::discard(eng, blob.id).await;
    Ok(())
}
