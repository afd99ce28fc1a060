//! Reading what is stored: files, headers, data sets. Pixel data is never read unless it is asked for.

use crate::flow::Pieces;
use crate::{Ctx, Engine, zlib};
use bytes::Bytes;
use dataset::{Completeness, DataSet, Element, Header, Object, TransferSyntax, Value, read_header, read_object, read_tail};
use futures_util::StreamExt;
use model::{
    Attachment, AttachmentId, Compression, ContentType, Error, ErrorKind, Fields, FindRequest, Level, OrthancId, Resource, Result,
};
use std::ops::Range;

/// Reads of at most so many bytes are done in one piece.
pub const IN_ONE_PIECE_BYTES: u64 = 1 << 20;

/// An attachment with the resource that it belongs to.
#[derive(Clone, Debug)]
pub struct Located {
    pub resource: Resource,
    pub attachment: Attachment,
}

/// Finds an attachment.
///
/// # Errors
/// `UnknownResource` for the resource, `InexistentItem` for the attachment.
pub async fn locate(eng: &Engine, _ctx: &Ctx, level: Level, id: OrthancId, content: ContentType) -> Result<Located> {
    let fields = Fields { attachments: true, ..Fields::NONE };
    let resource = eng.index.find(&FindRequest::one(level, id, fields)).await?.pop().ok_or(ErrorKind::UnknownResource)?;
    locate_in(resource, content)
}

fn locate_in(resource: Resource, content: ContentType) -> Result<Located> {
    let attachment = resource.attachments.iter().find(|a| a.content_type == content).cloned();
    let attachment = attachment.ok_or_else(|| Error::new(ErrorKind::InexistentItem, "the resource has no such attachment"))?;
    Ok(Located { resource, attachment })
}

/// Finds the file of the first instance at or below a resource.
///
/// # Errors
/// `UnknownResource`.
pub async fn first_instance(eng: &Engine, level: Level, id: OrthancId) -> Result<Located> {
    let fields = Fields { attachments: true, ..Fields::NONE };
    let request = FindRequest { related_to: vec![(level, id)], limit: 1, fields, ..FindRequest::all(Level::Instance) };
    let resource = eng.index.find(&request).await?.pop().ok_or(ErrorKind::UnknownResource)?;
    locate_in(resource, ContentType::DICOM)
}

/// The bytes of an attachment as clients see them, or a part of them.
///
/// # Errors
/// `InexistentFile` if the storage area lost it.
pub async fn bytes(eng: &Engine, attachment: &Attachment, range: Option<Range<u64>>) -> Result<Bytes> {
    match attachment.compression {
        Compression::None => eng.storage.read(attachment.id, range).await,
        Compression::Zlib => zlib::collect(zlib::plain(eng, attachment, range.unwrap_or(0..attachment.size_bytes)).await?).await,
    }
}

/// The same as a stream.
///
/// # Errors
/// `InexistentFile` if the storage area lost it; later errors come in the stream.
pub async fn stream(eng: &Engine, attachment: &Attachment, range: Range<u64>) -> Result<Pieces> {
    match attachment.compression {
        Compression::None => stored(eng, attachment, range).await,
        Compression::Zlib => zlib::plain(eng, attachment, range).await,
    }
}

/// The bytes as they lie in the storage area (Orthanc: `compressed-data`).
///
/// # Errors
/// As [`stream`].
pub async fn stored(eng: &Engine, attachment: &Attachment, range: Range<u64>) -> Result<Pieces> {
    blob(eng, attachment.id, range).await
}

/// A part of any blob as it lies in the storage area.
///
/// # Errors
/// As [`stream`].
pub async fn blob(eng: &Engine, id: AttachmentId, range: Range<u64>) -> Result<Pieces> {
    if range.end.saturating_sub(range.start) <= IN_ONE_PIECE_BYTES {
        let bytes = eng.storage.read(id, Some(range)).await?;
        return Ok(futures_util::stream::once(async { Ok(bytes) }).boxed());
    }
    eng.storage.stream(id, range).await
}

/// How much of a data set to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Up to Pixel Data.
    Header,
    /// Up to Pixel Data, and what follows it.
    WithoutPixels,
    /// Everything.
    Everything,
}

/// A data set with its file meta information.
#[derive(Clone, Debug)]
pub struct Stored {
    pub meta: DataSet,
    pub transfer_syntax: TransferSyntax,
    pub dataset: DataSet,
    /// Whether the object has pixel data, read or not.
    pub pixel: Option<(dataset::Tag, dataset::VR)>,
}

impl Stored {
    /// With pixel data that has no value, where it was not read: clients see that it is there.
    pub fn with_empty_pixels(mut self) -> Self {
        if let Some((tag, vr)) = self.pixel {
            self.dataset.put(Element { tag, vr, value: Value::Fragments(vec![]) });
        }
        self
    }
}

/// Reads the data set of one instance.
///
/// # Errors
/// `UnknownResource`, `InexistentFile`, `Corrupted` if what is stored is no DICOM any more.
pub async fn dataset(eng: &Engine, ctx: &Ctx, instance: OrthancId, extent: Extent) -> Result<Stored> {
    first_dataset(eng, ctx, Level::Instance, instance, extent).await
}

/// Reads the data set of the first instance at or below a resource.
///
/// # Errors
/// As [`dataset`].
pub async fn first_dataset(eng: &Engine, _ctx: &Ctx, level: Level, id: OrthancId, extent: Extent) -> Result<Stored> {
    let mut located = first_instance(eng, level, id).await?;
    match of(eng, &located, extent).await {
        // The instance may have been overwritten between the two reads: its row then names another blob.
        Err(error) if error.kind() == ErrorKind::InexistentFile => {
            located = first_instance(eng, level, id).await?;
            of(eng, &located, extent).await
        }
        other => other,
    }
}

/// Reads the data set of a located instance.
///
/// # Errors
/// `InexistentFile`, `Corrupted`.
pub async fn of(eng: &Engine, located: &Located, extent: Extent) -> Result<Stored> {
    let options = eng.read_options();
    if extent == Extent::Everything {
        let all = bytes(eng, &located.attachment, None).await?;
        let Object { meta, transfer_syntax, dataset } = read_object(all, &options).map_err(corrupted)?;
        let pixel =
            [0x0010, 0x0008, 0x0009].into_iter().find_map(|e| dataset.get(dataset::Tag(0x7FE0, e)).map(|x| (x.tag, x.vr)));
        return Ok(Stored { meta, transfer_syntax, dataset, pixel });
    }
    let (resource, size) = (&located.resource, located.attachment.size_bytes);
    let header = header(eng, located).await?;
    let mut dataset = header.dataset;
    if let (Some(tail), Extent::WithoutPixels) = (resource.tail_offset, extent) {
        let rest = bytes(eng, &located.attachment, Some(tail..size)).await?;
        for element in read_tail(rest, &header.transfer_syntax, &options).map_err(corrupted)?.iter() {
            dataset.put(element.clone());
        }
    }
    let pixel = header.pixel.map(|p| (p.tag, p.vr));
    Ok(Stored { meta: header.meta, transfer_syntax: header.transfer_syntax, dataset, pixel })
}

/// Reads what is before the pixel data of a located instance.
///
/// # Errors
/// `InexistentFile`, `Corrupted`.
pub(crate) async fn header(eng: &Engine, located: &Located) -> Result<Header> {
    let size = located.attachment.size_bytes;
    let (head, completeness) = match located.resource.pixel_offset {
        // Twelve bytes more: the header of the pixel element itself.
        Some(offset) => (bytes(eng, &located.attachment, Some(0..size.min(offset + 12))).await?, Completeness::Prefix),
        None => (bytes(eng, &located.attachment, None).await?, Completeness::Whole),
    };
    read_header(head, completeness, &eng.read_options()).map_err(corrupted)
}

fn corrupted(error: dataset::ReadError) -> Error {
    Error::new(ErrorKind::Corrupted, error.to_string())
}
