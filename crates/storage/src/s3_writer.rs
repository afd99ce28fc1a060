//! Writes one blob into a bucket while it comes in.

use crate::pending::Pending;
use crate::s3::Shared;
use async_trait::async_trait;
use bytes::Bytes;
use model::ports::BlobWriter;
use model::{AttachmentId, Error, ErrorKind, Result};
use object_store::{MultipartUpload, PutPayload};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Parts on their way at once: with the one that is being filled, at most three are in memory.
const IN_FLIGHT: usize = 2;
/// S3's limit on the number of parts.
const MAX_PARTS: usize = 10_000;

/// Gathers parts. A blob that fits in one is a single request, made by [`BlobWriter::finish`].
pub(crate) struct Writer {
    shared: Arc<Shared>,
    id: AttachmentId,
    pending: Pending,
    upload: Option<Upload>,
    failed: bool,
}

/// A multipart upload. Nothing of it is visible before it is complete.
struct Upload {
    multipart: Box<dyn MultipartUpload>,
    in_flight: JoinSet<object_store::Result<()>>,
    parts: usize,
}

impl Upload {
    /// Waits until at most `n` parts are on their way.
    async fn settle(&mut self, n: usize) -> object_store::Result<()> {
        while self.in_flight.len() > n
            && let Some(part) = self.in_flight.join_next().await
        {
            part??;
        }
        Ok(())
    }

    /// Forgets what was sent.
    async fn abort(mut self, shared: &Shared, id: AttachmentId) {
        self.in_flight.shutdown().await;
        if let Err(error) = self.multipart.abort().await {
            let error = shared.writing(id, error);
            tracing::warn!(error = %error, blob = %id, "an unfinished upload remains in the bucket until its rules remove it");
        }
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, id: AttachmentId) -> Self {
        Self { shared, id, pending: Pending::default(), upload: None, failed: false }
    }

    /// Begins to send the next part; begins the upload before the first one.
    async fn send_part(&mut self) -> Result<()> {
        let fail = |e| self.shared.writing(self.id, e);
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let multipart = self.shared.begin_upload(self.id).await?;
                Upload { multipart, in_flight: JoinSet::new(), parts: 0 }
            }
        };
        let settled = upload.settle(IN_FLIGHT - 1).await.map_err(fail);
        upload.parts += 1;
        let upload = self.upload.insert(upload);
        settled?;
        if upload.parts > MAX_PARTS {
            let limit = (MAX_PARTS * self.shared.part_bytes) >> 20;
            let message = format!("blob {} is larger than {limit} MiB: raise AwsS3Storage.TransferBufferSize", self.id);
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let part: PutPayload = self.pending.take(self.shared.part_bytes).into_iter().collect();
        upload.in_flight.spawn(upload.multipart.put_part(part));
        Ok(())
    }

    async fn send_parts(&mut self) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::CannotWrite, format!("blob {}: an earlier write failed", self.id)));
        }
        while self.pending.size() >= self.shared.part_bytes {
            if let Err(error) = self.send_part().await {
                self.failed = true;
                self.give_up().await;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn give_up(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort(&self.shared, self.id).await;
        }
    }

    async fn complete(&mut self) -> Result<()> {
        if self.pending.size() > 0 {
            self.send_part().await?;
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let fail = |e| self.shared.writing(self.id, e);
        upload.settle(0).await.map_err(fail)?;
        upload.multipart.complete().await.map(|_| ()).map_err(fail)
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.pending.push(bytes);
        self.send_parts().await
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.send_parts().await?;
        if self.upload.is_none() {
            return self.shared.put(self.id, self.pending.take(usize::MAX).into_iter().collect()).await;
        }
        let completed = self.complete().await;
        if completed.is_err() {
            self.give_up().await;
            // The server may have completed the upload and failed to say so.
            let _ = self.shared.remove(self.id).await;
        } else {
            self.upload = None;
        }
        completed
    }

    async fn discard(mut self: Box<Self>) {
        self.give_up().await;
    }
}

impl Drop for Writer {
    /// Forgets what a cancelled request has sent. If the process ends before that, the bucket's rules do it.
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (shared, id) = (self.shared.clone(), self.id);
            runtime.spawn(async move { upload.abort(&shared, id).await });
        }
    }
}
