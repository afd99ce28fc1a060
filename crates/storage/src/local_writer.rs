//! Writes one blob into the local storage area while it comes in.

use crate::local::Shared;
use crate::pending::Pending;
use crate::{PIECE, blocking, errors};
use async_trait::async_trait;
use bytes::Bytes;
use model::ports::BlobWriter;
use model::{AttachmentId, Error, ErrorKind, Result};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Gathers up to [`PIECE`] bytes while the piece before is being written: at most two pieces are in memory.
/// The file is made by the first flush, so a small blob costs one trip to a blocking thread, in [`BlobWriter::finish`].
pub(crate) struct Writer {
    shared: Arc<Shared>,
    id: AttachmentId,
    pending: Pending,
    /// The flush that runs.
    flush: Option<JoinHandle<Result<File>>>,
    /// The file, between two flushes.
    file: Option<File>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nothing was flushed.
    New,
    /// The file is (or may be) there, and incomplete.
    Begun,
    /// A flush failed; what it left is removed.
    Failed,
    Finished,
}

#[derive(Clone, Copy, PartialEq)]
enum Last {
    Yes,
    No,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, id: AttachmentId) -> Self {
        Self { shared, id, pending: Pending::default(), flush: None, file: None, state: State::New }
    }

    /// Waits for the flush that runs.
    async fn settle(&mut self) -> Result<()> {
        if let Some(flush) = &mut self.flush {
            let result = blocking::join(flush).await;
            self.flush = None;
            match result {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    self.state = State::Failed;
                    return Err(error);
                }
            }
        }
        if self.state == State::Failed {
            return Err(Error::new(ErrorKind::CannotWrite, format!("blob {}: an earlier write failed", self.id)));
        }
        Ok(())
    }

    /// Begins to write what is pending, and to make the blob durable if this is the last of it. [`Self::settle`] comes before.
    fn begin_flush(&mut self, last: Last) {
        let (shared, id) = (self.shared.clone(), self.id);
        let (file, chunks) = (self.file.take(), self.pending.take(usize::MAX));
        self.state = State::Begun;
        self.flush = Some(tokio::task::spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => shared.folders.create(id)?,
            };
            let written = chunks.iter().try_for_each(|chunk| file.write_all(chunk));
            let written = written.map_err(|e| errors::writing(format!("blob {id}"), e));
            let written = if last == Last::Yes { written.and_then(|()| shared.make_durable(id, &file)) } else { written };
            if written.is_err() {
                let _ = shared.folders.remove(id);
            }
            written.map(|()| file)
        }));
    }
}

/// Removes the blob once the flush that may be running has ended.
async fn remove(shared: Arc<Shared>, id: AttachmentId, flush: Option<JoinHandle<Result<File>>>) {
    if let Some(mut flush) = flush
        && blocking::join(&mut flush).await.is_err()
    {
        return; // a flush that fails has removed what it left, and must not touch a file that was there before
    }
    let _ = blocking::run(move || shared.folders.remove(id)).await;
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.pending.push(bytes);
        if self.pending.size() >= PIECE {
            self.settle().await?;
            self.begin_flush(Last::No);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.settle().await?;
        self.begin_flush(Last::Yes);
        self.settle().await?;
        self.state = State::Finished;
        Ok(())
    }

    async fn discard(mut self: Box<Self>) {
        if self.state == State::Begun {
            self.state = State::Finished;
            remove(self.shared.clone(), self.id, self.flush.take()).await;
        }
    }
}

impl Drop for Writer {
    /// Removes what a cancelled request has left. If the process ends before that, the sweep does it.
    fn drop(&mut self) {
        if self.state == State::Begun
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(remove(self.shared.clone(), self.id, self.flush.take()));
        }
    }
}
