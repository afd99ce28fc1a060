//! Blobs in this process's memory, for tests.

use crate::{PIECE, errors};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use model::ports::{BlobWriter, StorageArea};
use model::{AttachmentId, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A map of blobs.
#[derive(Clone, Default)]
pub struct Memory {
    blobs: Arc<Mutex<HashMap<AttachmentId, Bytes>>>,
}

impl Memory {
    fn blobs(&self) -> MutexGuard<'_, HashMap<AttachmentId, Bytes>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes> {
        let blob = self.blobs().get(&id).cloned().ok_or_else(|| errors::missing(id))?;
        let Some(range) = range else { return Ok(blob) };
        let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(blob.len());
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        Ok(blob.slice(start..end))
    }

    fn insert(&self, id: AttachmentId, bytes: Bytes) -> Result<()> {
        let mut blobs = self.blobs();
        if blobs.contains_key(&id) {
            return Err(errors::exists(id));
        }
        blobs.insert(id, bytes);
        Ok(())
    }
}

#[async_trait]
impl StorageArea for Memory {
    async fn create(&self, id: AttachmentId) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(Writer { area: self.clone(), id, bytes: vec![] }))
    }

    async fn put(&self, id: AttachmentId, bytes: Bytes) -> Result<()> {
        self.insert(id, bytes)
    }

    async fn read(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes> {
        self.part(id, range)
    }

    async fn stream(&self, id: AttachmentId, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let mut left = self.part(id, Some(range))?;
        let pieces = std::iter::from_fn(move || {
            let size = left.len().min(PIECE);
            (size > 0).then(|| Ok(left.split_to(size)))
        });
        Ok(stream::iter(pieces).boxed())
    }

    async fn remove(&self, id: AttachmentId) -> Result<()> {
        self.blobs().remove(&id);
        Ok(())
    }
}

struct Writer {
    area: Memory,
    id: AttachmentId,
    bytes: Vec<u8>,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.area.insert(self.id, self.bytes.into())
    }

    async fn discard(self: Box<Self>) {}
}
