//! A folder of the file system in Orthanc's layout: the blob `abcd…` lies in `ROOT/ab/cd/abcd…`, as it was received.
//!
//! A blob is written in place under its final name: names are random and used once, and no row refers to a blob before
//! it is durable, so a half-written file is seen by nobody and a crash leaves an orphan at most (no rename needed).

use crate::folders::Folders;
use crate::local_writer::Writer;
use crate::{PIECE, blocking, errors};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use model::ports::{BlobWriter, StorageArea};
use model::{AttachmentId, Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The options of the local storage area, under Orthanc's names.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// `StorageDirectory`
    pub root: PathBuf,
    /// `SyncStorageArea`: whether a blob and its folder entry are on disk before it counts as stored.
    pub sync: bool,
}

/// A folder of blobs.
pub struct Local {
    shared: Arc<Shared>,
}

/// What the blocking threads need.
pub(crate) struct Shared {
    pub(crate) folders: Folders,
    pub(crate) sync: bool,
}

impl Shared {
    /// Puts a blob that is written entirely on disk, if so configured.
    pub(crate) fn make_durable(&self, id: AttachmentId, file: &File) -> Result<()> {
        if self.sync {
            file.sync_all().map_err(|e| errors::writing(format!("blob {id}"), e))?;
            self.folders.sync_entry(id)?;
        }
        Ok(())
    }

    fn put(&self, id: AttachmentId, bytes: &[u8]) -> Result<()> {
        let mut file = self.folders.create(id)?;
        let written = file
            .write_all(bytes)
            .map_err(|e| errors::writing(format!("blob {id}"), e))
            .and_then(|()| self.make_durable(id, &file));
        if written.is_err() {
            drop(file);
            let _ = self.folders.remove(id);
        }
        written
    }

    /// Opens the blob and cuts `range` to its size.
    fn open(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<(File, Range<u64>)> {
        let fail = |e| errors::reading(id, e);
        let file = File::open(self.folders.path(id)).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        let range = range.unwrap_or(0..size);
        let end = range.end.min(size);
        Ok((file, range.start.min(end)..end))
    }
}

impl Local {
    /// Opens the folder and makes it if needed.
    ///
    /// # Errors
    /// `CannotWrite` if the folder cannot be made or written to; `StorageFull`.
    pub async fn open(config: LocalConfig) -> Result<Self> {
        let LocalConfig { root, sync } = config;
        let folders = blocking::run(move || Folders::open(root, sync)).await?;
        Ok(Self { shared: Arc::new(Shared { folders, sync }) })
    }
}

#[async_trait]
impl StorageArea for Local {
    async fn create(&self, id: AttachmentId) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(Writer::new(self.shared.clone(), id)))
    }

    async fn put(&self, id: AttachmentId, bytes: Bytes) -> Result<()> {
        let shared = self.shared.clone();
        blocking::run(move || shared.put(id, &bytes)).await
    }

    async fn read(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes> {
        let shared = self.shared.clone();
        blocking::run(move || {
            let (file, range) = shared.open(id, range)?;
            read_piece(id, &file, range)
        })
        .await
    }

    async fn stream(&self, id: AttachmentId, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let shared = self.shared.clone();
        // Most blobs fit in one piece: it is read in the same trip that opens the file.
        let (first, reader) = blocking::run(move || {
            let (file, mut left) = shared.open(id, Some(range))?;
            let piece = cut(&mut left);
            let first = read_piece(id, &file, piece)?;
            Ok((first, Reader { id, file: Arc::new(file), left, ahead: None }))
        })
        .await?;
        let first = (!first.is_empty()).then_some(Ok(first));
        let rest = stream::unfold(reader.read_ahead(), Reader::next);
        Ok(stream::iter(first).chain(rest).boxed())
    }

    async fn remove(&self, id: AttachmentId) -> Result<()> {
        let shared = self.shared.clone();
        blocking::run(move || shared.folders.remove(id)).await
    }
}

/// Reads a blob piece by piece, always one piece ahead of its consumer.
struct Reader {
    id: AttachmentId,
    file: Arc<File>,
    left: Range<u64>,
    ahead: Option<JoinHandle<Result<Bytes>>>,
}

impl Reader {
    /// Starts to read the next piece, if there is one.
    fn read_ahead(mut self) -> Self {
        let piece = cut(&mut self.left);
        self.ahead = (!piece.is_empty()).then(|| {
            let (id, file) = (self.id, self.file.clone());
            tokio::task::spawn_blocking(move || read_piece(id, &file, piece))
        });
        self
    }

    /// The piece that was read ahead, and the reader that reads the next one. Ends after an error.
    async fn next(mut self) -> Option<(Result<Bytes>, Self)> {
        let result = blocking::join(self.ahead.as_mut()?).await;
        self.ahead = None;
        let reader = if result.is_ok() { self.read_ahead() } else { self };
        Some((result, reader))
    }
}

/// Takes the next piece from the front of `left`.
fn cut(left: &mut Range<u64>) -> Range<u64> {
    let end = left.end.min(left.start.saturating_add(PIECE as u64));
    let piece = left.start..end;
    left.start = end;
    piece
}

/// Reads a part that the file had when it was opened.
fn read_piece(id: AttachmentId, file: &File, range: Range<u64>) -> Result<Bytes> {
    let size = usize::try_from(range.end - range.start).map_err(|_| Error::new(ErrorKind::TooLarge, format!("blob {id}")))?;
    let mut bytes = vec![0; size];
    match file.read_exact_at(&mut bytes, range.start) {
        Ok(()) => Ok(bytes.into()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::new(ErrorKind::Corrupted, format!("blob {id} became shorter while it was read")))
        }
        Err(e) => Err(errors::reading(id, e)),
    }
}
