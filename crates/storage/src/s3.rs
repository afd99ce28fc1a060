//! A bucket of Amazon S3, or of a server that speaks its protocol: the blob `abcd…` is the object `ROOT/abcd…`, as it was received.
//!
//! Names are random and used once, so nothing is locked. An object becomes visible when it is complete: a small one is a
//! single request that refuses to replace, a larger one a multipart upload ([`crate::s3_writer`]). A crash leaves an
//! orphan at most, or an upload that the bucket's own rules remove.

use crate::s3_config::S3Config;
use crate::s3_writer::Writer;
use crate::{PIECE, errors, s3_errors};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use model::ports::{BlobWriter, StorageArea};
use model::{AttachmentId, Error, ErrorKind, Result};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, GetResult, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, TagSet,
};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A stream asks for so many bytes at once. A consumer that is slow, or stops reading, holds one such request open and not
/// one that may outlast the server's patience.
const WINDOW: u64 = 32 << 20;

/// How long a blob outlives its row: readers on any process that found the row before may still be reading.
const GRACE: Duration = Duration::from_secs(60);

/// Tries of the first request: an address that is wrong should be said soon.
const PROBE_RETRIES: usize = 2;

/// A bucket of blobs.
pub struct S3 {
    shared: Arc<Shared>,
}

/// What writers and streams need.
pub(crate) struct Shared {
    store: AmazonS3,
    bucket: String,
    root: String,
    pub(crate) part_bytes: usize,
    attributes: Attributes,
    tags: TagSet,
}

impl S3 {
    /// Prepares the client and proves that the bucket can be written to.
    ///
    /// # Errors
    /// `OutOfRange` for options that make no sense together, `Busy` if the server does not answer, `CannotWrite` if it
    /// refuses (no such bucket, no permission), each with the bucket's name.
    pub async fn open(config: S3Config) -> Result<Self> {
        let probing = Shared::new(&config, config.client(PROBE_RETRIES)?);
        let id = AttachmentId::random();
        probing.put(id, Bytes::from_static(b"probe").into()).await?;
        probing.remove(id).await?;
        Ok(Self { shared: Arc::new(Shared::new(&config, config.client(config.max_retries)?)) })
    }
}

impl Shared {
    fn new(config: &S3Config, store: AmazonS3) -> Self {
        let mut attributes = Attributes::new();
        if let Some(class) = &config.storage_class {
            attributes.insert(Attribute::StorageClass, class.clone().into());
        }
        let mut tags = TagSet::default();
        for (key, value) in &config.tags {
            tags.push(key, value);
        }
        let (bucket, root) = (config.bucket.clone(), config.root.clone());
        Self { store, bucket, root, part_bytes: config.part_bytes, attributes, tags }
    }

    fn key(&self, id: AttachmentId) -> Path {
        Path::from(format!("{}/{id}", self.root))
    }

    pub(crate) fn reading(&self, id: AttachmentId, error: object_store::Error) -> Error {
        s3_errors::reading(&format!("s3://{}/{}", self.bucket, self.key(id)), error)
    }

    pub(crate) fn writing(&self, id: AttachmentId, error: object_store::Error) -> Error {
        s3_errors::writing(&format!("s3://{}/{}", self.bucket, self.key(id)), error)
    }

    /// Stores an object with one request, if there is none of that name.
    ///
    /// A connection may break after the server has stored the object and before it says so; the request is sent again
    /// and refused. What is there is ours then: it has the same bytes.
    pub(crate) async fn put(&self, id: AttachmentId, payload: PutPayload) -> Result<()> {
        let options = PutOptions {
            mode: PutMode::Create,
            tags: self.tags.clone(),
            attributes: self.attributes.clone(),
            ..PutOptions::default()
        };
        match self.store.put_opts(&self.key(id), payload.clone(), options).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => match self.read(id, None).await {
                Ok(found) if found == Bytes::from(payload) => Ok(()),
                Ok(_) => Err(errors::exists(id)),
                // Another writer of the same name is at work at this moment.
                Err(error) if error.kind() == ErrorKind::InexistentFile => Err(errors::exists(id)),
                Err(error) => Err(error),
            },
            Err(error) => Err(self.writing(id, error)),
        }
    }

    pub(crate) async fn begin_upload(&self, id: AttachmentId) -> Result<Box<dyn MultipartUpload>> {
        let (tags, attributes) = (self.tags.clone(), self.attributes.clone());
        let options = PutMultipartOptions { tags, attributes, ..PutMultipartOptions::default() };
        self.store.put_multipart_opts(&self.key(id), options).await.map_err(|e| self.writing(id, e))
    }

    pub(crate) async fn remove(&self, id: AttachmentId) -> Result<()> {
        match self.store.delete(&self.key(id)).await.map_err(|e| self.writing(id, e)) {
            Err(error) if error.kind() == ErrorKind::InexistentFile => Ok(()),
            result => result,
        }
    }

    /// Asks for an object or a part of it. `None` if the part is empty.
    async fn get(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Option<GetResult>> {
        let fail = |e| self.reading(id, e);
        let key = self.key(id);
        // S3 has no empty ranges, and its numbers are signed.
        const LAST: u64 = i64::MAX as u64;
        if range.as_ref().is_some_and(|r| r.is_empty() || r.start > LAST) {
            return self.store.head(&key).await.map(|_| None).map_err(fail);
        }
        let range = range.map(|r| if r.end > LAST { GetRange::Offset(r.start) } else { GetRange::Bounded(r) });
        match self.store.get_opts(&key, GetOptions { range, ..GetOptions::default() }).await {
            Ok(result) => Ok(Some(result)),
            Err(error) if s3_errors::is_beyond_end(&error) => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    async fn read(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes> {
        match self.get(id, range).await? {
            Some(result) => result.bytes().await.map_err(|e| self.reading(id, e)),
            None => Ok(Bytes::new()),
        }
    }
}

#[async_trait]
impl StorageArea for S3 {
    async fn create(&self, id: AttachmentId) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(Writer::new(self.shared.clone(), id)))
    }

    async fn put(&self, id: AttachmentId, bytes: Bytes) -> Result<()> {
        self.shared.put(id, bytes.into()).await
    }

    async fn read(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes> {
        self.shared.read(id, range).await
    }

    async fn stream(&self, id: AttachmentId, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let first = range.start..range.end.min(range.start.saturating_add(WINDOW));
        let Some(result) = self.shared.get(id, Some(first)).await? else { return Ok(stream::empty().boxed()) };
        let reader = Reader {
            id,
            at: range.start,
            end: range.end.min(result.meta.size),
            body: result.into_stream(),
            chunk: Bytes::new(),
            shared: self.shared.clone(),
        };
        Ok(stream::try_unfold(reader, Reader::next).boxed())
    }

    async fn remove(&self, id: AttachmentId) -> Result<()> {
        self.shared.remove(id).await
    }

    fn deletion_grace(&self) -> Duration {
        GRACE
    }
}

/// Reads an object window by window.
struct Reader {
    shared: Arc<Shared>,
    id: AttachmentId,
    /// The rest of the current window.
    body: BoxStream<'static, object_store::Result<Bytes>>,
    /// What the body gave and the consumer did not take yet.
    chunk: Bytes,
    /// Where `chunk` ends.
    at: u64,
    end: u64,
}

impl Reader {
    /// The next piece, of [`PIECE`] bytes at most.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while self.chunk.is_empty() {
            match self.body.try_next().await.map_err(|e| self.shared.reading(self.id, e))? {
                Some(chunk) => {
                    self.at += chunk.len() as u64;
                    self.chunk = chunk;
                }
                None if self.at >= self.end => return Ok(None),
                None => self.body = self.window().await?,
            }
        }
        let piece = self.chunk.split_to(self.chunk.len().min(PIECE));
        Ok(Some((piece, self)))
    }

    async fn window(&mut self) -> Result<BoxStream<'static, object_store::Result<Bytes>>> {
        let range = self.at..self.end.min(self.at + WINDOW);
        let result = self.shared.get(self.id, Some(range)).await?;
        let shorter = || Error::new(ErrorKind::Corrupted, format!("blob {} became shorter while it was read", self.id));
        result.map(GetResult::into_stream).ok_or_else(shorter)
    }
}
