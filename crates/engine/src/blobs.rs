//! Names of blobs, reserved in blocks so that a crash leaves a list of what it may have orphaned (architecture, decision 3).

use crate::{Engine, sweeps};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
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
}

impl BlobNames {
    pub(crate) fn new(index: Arc<dyn Index>) -> Self {
        Self { index, free: Mutex::new(Vec::new()), refill: tokio::sync::Mutex::new(()) }
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

/// Writes a stream into a new blob, durable when this returns. Its name and size.
///
/// # Errors
/// Those of the stream, `StorageFull`, `CannotWrite`; then nothing is left of it.
pub(crate) async fn write(eng: &Engine, mut bytes: BoxStream<'_, Result<Bytes>>) -> Result<(AttachmentId, u64)> {
    let blob = eng.blobs.take().await?;
    let mut writer = eng.storage.create(blob).await?;
    let mut size = 0;
    while let Some(piece) = bytes.next().await {
        let written = match piece {
            Ok(piece) => {
                size += piece.len() as u64;
                writer.write(piece).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            writer.discard().await;
            sweeps::discard(eng, blob).await;
            return Err(error);
        }
    }
    if let Err(error) = writer.finish().await {
        sweeps::discard(eng, blob).await;
        return Err(error);
    }
    Ok((blob, size))
}

/// A durable blob that no row refers to yet.
#[derive(Clone, Debug)]
pub(crate) struct NewBlob {
    pub(crate) id: AttachmentId,
    pub(crate) size_bytes: u64,
    /// In hexadecimal, empty if `StoreMD5ForAttachments` is false.
    pub(crate) md5: String,
}

/// The same as [`write`], with the MD5 of what was written.
pub(crate) async fn write_hashed(eng: &Engine, bytes: BoxStream<'_, Result<Bytes>>) -> Result<NewBlob> {
    if !eng.config.store_md5 {
        return write(eng, bytes).await.map(|(id, size_bytes)| NewBlob { id, size_bytes, md5: String::new() });
    }
    let mut md5 = Md5::new();
    let (id, size_bytes) = write(eng, bytes.inspect_ok(|piece| md5.update(piece)).boxed()).await?;
    Ok(NewBlob { id, size_bytes, md5: hex(&md5.finalize()) })
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
