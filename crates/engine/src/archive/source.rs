//! The bytes of an archive's entries: read ahead from the storage area, verified, packed on all cores, in order.

use super::pack::{PIECE_BYTES, Packed, Place, pack};
use super::plan::Entry;
use super::records::{self, Records};
use crate::digests::Checksum;
use crate::{Ctx, Engine, cpu, read};
use bytes::{Bytes, BytesMut};
use dataset::{Completeness, ReadError, read_header};
use futures_util::future::{self, BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use model::{Attachment, ContentType, Error, ErrorKind, Level, Result};
use std::sync::Arc;

/// Pieces that are read, packed or ready at once: at most 32 MiB, before and after packing.
const MOST_PIECES: usize = 16;

/// What comes out, in the order of the plan.
pub(super) enum Part {
    /// A piece of the entry, which has `size_bytes` in all, packed. In media, the records of the file come with the first one.
    Piece { entry: Arc<Entry>, size_bytes: u64, place: Place, packed: Packed, records: Option<Box<Records>> },
    /// A piece of the DICOMDIR, which has `size_bytes` in all, packed.
    Directory { size_bytes: u64, place: Place, packed: Packed },
    /// The instance was deleted after the plan was made.
    Gone(Arc<Entry>),
}

type Work = BoxFuture<'static, Result<Part>>;

/// Reads and packs the entries.
pub(super) fn parts(eng: Arc<Engine>, ctx: Ctx, entries: Vec<Arc<Entry>>) -> impl Stream<Item = Result<Part>> + Send {
    let at_once = (*cpu::CORES * 2).clamp(2, MOST_PIECES);
    let works = stream::iter(entries).flat_map(move |entry| -> BoxStream<'static, Work> {
        let (eng, ctx) = (eng.clone(), ctx.clone());
        if entry.file.size_bytes <= PIECE_BYTES as u64 {
            return stream::once(future::ready(small(eng, ctx, entry).boxed())).boxed();
        }
        let pieces = stream::try_unfold(Large::Closed(eng, ctx, entry), Large::next);
        pieces.map(|work| work.unwrap_or_else(|error| future::ready(Err(error)).boxed())).boxed()
    });
    works.buffered(at_once)
}

/// A file that is packed in one piece.
async fn small(eng: Arc<Engine>, ctx: Ctx, entry: Arc<Entry>) -> Result<Part> {
    let mut file = entry.file.clone();
    // One byte more than there should be tells whether there are more.
    let bytes = match read::bytes(&eng, &file, Some(0..file.size_bytes + 1)).await {
        Err(error) if error.kind() == ErrorKind::InexistentFile => {
            let Some(other) = replacement(&eng, &ctx, &entry).await? else { return Ok(Part::Gone(entry)) };
            file = other;
            if file.size_bytes > PIECE_BYTES as u64 {
                let text = format!("instance {} was replaced by a larger one; ask again", entry.instance);
                return Err(Error::new(ErrorKind::Busy, text));
            }
            read::bytes(&eng, &file, Some(0..file.size_bytes + 1)).await
        }
        other => other,
    };
    let bytes = bytes.map_err(|error| unreadable(&entry, error))?;
    let records = records_of(&eng, &entry, &file, &bytes).await?;
    cpu::run(move || {
        let size_bytes = bytes.len() as u64;
        if size_bytes != file.size_bytes {
            return Err(wrong_size(&entry, &file, size_bytes));
        }
        let mut checksum = Checksum::default();
        checksum.update(&bytes);
        check(&entry, &file, &checksum)?;
        Ok(Part::Piece { entry, size_bytes, place: Place::Whole, packed: pack(bytes, Place::Whole), records })
    })
    .await
}

/// A file that is read and packed in several pieces.
enum Large {
    Closed(Arc<Engine>, Ctx, Arc<Entry>),
    Open(Open),
    Read,
}

struct Open {
    eng: Arc<Engine>,
    entry: Arc<Entry>,
    file: Attachment,
    blob: BoxStream<'static, Result<Bytes>>,
    read_bytes: u64,
    checksum: Checksum,
}

impl Large {
    /// Reads the next piece and says how it is packed; `None` after the last one.
    async fn next(self) -> Result<Option<(Work, Self)>> {
        match self {
            Self::Closed(eng, ctx, entry) => match Open::new(&eng, &ctx, &entry).await? {
                Some(open) => open.next().await.map(Some),
                None => Ok(Some((future::ready(Ok(Part::Gone(entry))).boxed(), Self::Read))),
            },
            Self::Open(open) => open.next().await.map(Some),
            Self::Read => Ok(None),
        }
    }
}

impl Open {
    /// Opens the file; `None` if its instance was deleted.
    async fn new(eng: &Arc<Engine>, ctx: &Ctx, entry: &Arc<Entry>) -> Result<Option<Self>> {
        let mut file = entry.file.clone();
        let blob = match read::stream(eng, &file, 0..file.size_bytes + 1).await {
            Err(error) if error.kind() == ErrorKind::InexistentFile => {
                let Some(other) = replacement(eng, ctx, entry).await? else { return Ok(None) };
                file = other;
                read::stream(eng, &file, 0..file.size_bytes + 1).await
            }
            other => other,
        };
        let blob = blob.map_err(|error| unreadable(entry, error))?;
        let checksum = Checksum::default();
        Ok(Some(Self { eng: eng.clone(), entry: entry.clone(), checksum, file, blob, read_bytes: 0 }))
    }

    async fn next(mut self) -> Result<(Work, Large)> {
        let is_first = self.read_bytes == 0;
        let piece = self.read().await?;
        let records = if is_first { records_of(&self.eng, &self.entry, &self.file, &piece).await? } else { None };
        let place = if self.read_bytes == self.file.size_bytes { Place::Last } else { Place::Inner };
        self.checksum.update(&piece);
        if place == Place::Last {
            check(&self.entry, &self.file, &self.checksum)?;
        }
        let (entry, size_bytes) = (self.entry.clone(), self.file.size_bytes);
        let work = cpu::run(move || Ok(Part::Piece { entry, size_bytes, place, packed: pack(piece, place), records }));
        Ok((work.boxed(), if place == Place::Last { Large::Read } else { Large::Open(self) }))
    }

    /// The next piece. With the last one, it is sure that there is not a byte more.
    async fn read(&mut self) -> Result<Bytes> {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            if piece.len() >= PIECE_BYTES && self.read_bytes < self.file.size_bytes {
                return Ok(piece.freeze());
            }
            match self.blob.next().await {
                Some(bytes) => {
                    let bytes = bytes.map_err(|error| unreadable(&self.entry, error))?;
                    self.read_bytes += bytes.len() as u64;
                    piece.extend_from_slice(&bytes);
                    if self.read_bytes > self.file.size_bytes {
                        return Err(wrong_size(&self.entry, &self.file, self.read_bytes));
                    }
                }
                None if self.read_bytes < self.file.size_bytes => {
                    return Err(wrong_size(&self.entry, &self.file, self.read_bytes));
                }
                None => return Ok(piece.freeze()),
            }
        }
    }
}

/// In media, what the directory says of a file that begins with `first`.
///
/// # Errors
/// `Corrupted` if it is no DICOM any more.
async fn records_of(eng: &Engine, entry: &Arc<Entry>, file: &Attachment, first: &Bytes) -> Result<Option<Box<Records>>> {
    if entry.media.is_none() {
        return Ok(None);
    }
    let mut head = first.clone();
    let mut is_whole = head.len() as u64 >= file.size_bytes;
    loop {
        let (entry_, file_, options, bytes) = (entry.clone(), file.clone(), eng.read_options(), head.clone());
        let made = cpu::run(move || {
            let completeness = if is_whole { Completeness::Whole } else { Completeness::Prefix };
            match (read_header(bytes, completeness, &options), &entry_.media) {
                (Ok(header), Some(media)) => Ok(Some(records::records(&header, &entry_.name, media))),
                (Err(ReadError::Incomplete(_)), _) if !is_whole => Ok(None),
                (Err(error), _) => Err(damaged(&entry_, &file_, &error.to_string())),
                (Ok(_), None) => Ok(None),
            }
        });
        match made.await? {
            Some(records) => return Ok(Some(Box::new(records))),
            None => {
                let until = file.size_bytes.min(head.len() as u64 * 4);
                let more = read::bytes(eng, file, Some(0..until)).await.map_err(|error| unreadable(entry, error))?;
                is_whole = until == file.size_bytes || more.len() <= head.len();
                head = more;
            }
        }
    }
}

/// The file that an instance has now; `None` if the instance was deleted.
///
/// # Errors
/// `InexistentFile` if it is still the one that could not be found.
async fn replacement(eng: &Engine, ctx: &Ctx, entry: &Entry) -> Result<Option<Attachment>> {
    match read::locate(eng, ctx, Level::Instance, entry.instance, ContentType::DICOM).await {
        Ok(located) if located.attachment.id == entry.file.id => {
            let text = format!("the file of instance {} is missing: blob {}", entry.instance, entry.file.id);
            Err(Error::new(ErrorKind::InexistentFile, text))
        }
        Ok(located) => Ok(Some(located.attachment)),
        Err(error) if error.kind() == ErrorKind::UnknownResource => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreadable(entry: &Entry, error: Error) -> Error {
    Error::new(error.kind(), format!("the file of instance {} cannot be read: {}", entry.instance, error.message()))
        .caused_by(error)
}

fn wrong_size(entry: &Entry, file: &Attachment, found: u64) -> Error {
    let more = if found > file.size_bytes { "at least " } else { "" };
    damaged(entry, file, &format!("it has {more}{found} bytes, not {}", file.size_bytes))
}

fn damaged(entry: &Entry, file: &Attachment, how: &str) -> Error {
    Error::new(ErrorKind::Corrupted, format!("the file of instance {} (blob {}) is damaged: {how}", entry.instance, file.id))
}

fn check(entry: &Entry, file: &Attachment, found: &Checksum) -> Result<()> {
    if found.value() == file.checksum { Ok(()) } else { Err(damaged(entry, file, "its checksum is not what was stored")) }
}
