//! Attachments that are compressed at rest, in Orthanc's form: 8 bytes of size, little endian, then a zlib stream
//! (Orthanc: `StorageCompression`, `/attachments/{name}/compress` and `uncompress`).

use crate::blobs::{self, NewBlob};
use crate::flow::{self, Pieces, Reader};
use crate::{Ctx, Engine, read, sweeps};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::read::{ZlibDecoder, ZlibEncoder};
use futures_util::StreamExt;
use model::ports::index::Expect;
use model::{Attachment, Compression, ContentType, Error, ErrorKind, Level, OrthancId, Result};
use std::io::Read;
use std::ops::Range;

/// Bytes before the zlib stream.
const SIZE_BYTES: u64 = 8;
/// Orthanc's level is zlib's default.
const LEVEL: flate2::Compression = flate2::Compression::new(6);

/// The file of `size_bytes` that `plain` yields, compressed.
pub(crate) fn compressed(size_bytes: u64, plain: Pieces) -> Pieces {
    let mut head = BytesMut::new();
    head.put_u64_le(size_bytes);
    let plain = Reader::new(plain);
    let packed = flow::stream_of(
        move || ZlibEncoder::new(plain, LEVEL),
        |piece| piece.map_err(|e| flow::into_error(e, |e| Error::new(ErrorKind::Internal, "compression failed").caused_by(e))),
    );
    futures_util::stream::once(async { Ok(head.freeze()) }).chain(packed).boxed()
}

/// A part of the file that a compressed attachment holds. What is before it is decompressed too, what follows is not.
pub(crate) async fn plain(eng: &Engine, attachment: &Attachment, range: Range<u64>) -> Result<Pieces> {
    let stored = eng.storage.stream(attachment.id, SIZE_BYTES..attachment.stored_size_bytes.max(SIZE_BYTES)).await?;
    let name = attachment.id;
    let broken = move |e| Error::new(ErrorKind::Corrupted, format!("the compressed attachment {name} is damaged")).caused_by(e);
    let range = range.start.min(attachment.size_bytes)..range.end.min(attachment.size_bytes);
    let (tx, rx) = tokio::sync::mpsc::channel(flow::QUEUE);
    let mut unpacked = ZlibDecoder::new(Reader::new(stored));
    tokio::task::spawn_blocking(move || {
        let mut missing = range.end.saturating_sub(range.start);
        let skipped = std::io::copy(&mut (&mut unpacked).take(range.start), &mut std::io::sink());
        let short = || Error::new(ErrorKind::Corrupted, format!("the compressed attachment {name} is too short"));
        let failed = match skipped {
            Err(error) => Some(flow::into_error(error, broken)),
            Ok(n) if n < range.start => Some(short()),
            Ok(_) => None,
        };
        if let Some(error) = failed {
            let _ = tx.blocking_send(Err(error));
            return;
        }
        let listens = flow::pump(&mut unpacked.take(missing), &tx, |piece| {
            let piece = piece.map_err(|e| flow::into_error(e, broken))?;
            missing -= piece.len() as u64;
            Ok(piece)
        });
        if listens && missing > 0 {
            let _ = tx.blocking_send(Err(short()));
        }
    });
    Ok(flow::from_queue(rx))
}

/// Stores an attachment with this compression from now on; nothing happens if it is stored so already. What clients read
/// stays the same, its revision grows.
///
/// # Errors
/// `UnknownResource`, `InexistentItem`, `Corrupted`, `StorageFull`; `Revision` if the attachment is replaced at the same moment.
pub async fn store_as(
    eng: &Engine,
    ctx: &Ctx,
    (level, id): (Level, OrthancId),
    content: ContentType,
    compression: Compression,
) -> Result<()> {
    eng.writable()?;
    let old = read::locate(eng, ctx, level, id, content).await?.attachment;
    if old.compression == compression {
        return Ok(());
    }
    let plain = read::stream(eng, &old, 0..old.size_bytes).await?;
    let bytes = match compression {
        Compression::None => plain,
        Compression::Zlib => compressed(old.size_bytes, plain),
    };
    let written = blobs::write(eng, bytes).await?;
    let (blob, expect) = (written.id, Expect::Revision(Some(old.revision)));
    let new = match compression {
        Compression::Zlib => packed_as(old, written),
        Compression::None => {
            if (written.size_bytes, written.checksum) != (old.size_bytes, old.checksum) {
                sweeps::discard(eng, blob).await;
                return Err(Error::new(ErrorKind::Corrupted, format!("attachment {} is not what was stored", old.id)));
            }
            let stored_md5 = old.md5.clone();
            Attachment { id: blob, compression, stored_size_bytes: written.size_bytes, stored_md5, ..old }
        }
    };
    let set = eng.index.set_attachment(level, id, new, expect).await;
    match &set {
        Ok(_) => sweeps::deleted(eng).await?,
        Err(error) => sweeps::refused(eng, blob, error).await,
    }
    set.map(drop)
}

/// Stores a file that is in memory, compressed if `StorageCompression` asks for it. `checksum` is that of the file.
pub(crate) async fn put(eng: &Engine, file: Bytes, checksum: u64, content_type: ContentType) -> Result<Attachment> {
    let size_bytes = file.len() as u64;
    if eng.config.storage_compression {
        let file = futures_util::stream::once(async { Ok(file) }).boxed();
        let packed = blobs::write(eng, compressed(size_bytes, file)).await?;
        return Ok(packed_as(unpacked(eng, NewBlob { id: packed.id, size_bytes, checksum }, content_type), packed));
    }
    let id = eng.blobs.take().await?;
    eng.storage.put(id, file).await?;
    Ok(unpacked(eng, NewBlob { id, size_bytes, checksum }, content_type))
}

fn unpacked(eng: &Engine, plain: NewBlob, content_type: ContentType) -> Attachment {
    let md5 = (!eng.config.store_md5).then(String::new);
    Attachment {
        id: plain.id,
        content_type,
        compression: Compression::None,
        size_bytes: plain.size_bytes,
        stored_size_bytes: plain.size_bytes,
        checksum: plain.checksum,
        stored_md5: md5.clone(),
        md5,
        revision: 0,
    }
}

/// The attachment that a blob just written becomes: compressed if `StorageCompression` asks for it, which takes another blob,
/// because the size stands before the bytes.
pub(crate) async fn at_rest(eng: &Engine, plain: NewBlob, content_type: ContentType) -> Result<Attachment> {
    let attachment = unpacked(eng, plain, content_type);
    if !eng.config.storage_compression {
        return Ok(attachment);
    }
    let bytes = eng.storage.stream(attachment.id, 0..attachment.size_bytes).await?;
    let packed = blobs::write(eng, compressed(attachment.size_bytes, bytes)).await;
    sweeps::discard(eng, attachment.id).await;
    Ok(packed_as(attachment, packed?))
}

fn packed_as(plain: Attachment, packed: NewBlob) -> Attachment {
    Attachment {
        id: packed.id,
        compression: Compression::Zlib,
        stored_size_bytes: packed.size_bytes,
        // Where there are no MD5s, there will be none.
        stored_md5: plain.md5.clone().filter(String::is_empty),
        ..plain
    }
}

/// All bytes of a stream.
pub(crate) async fn collect(mut pieces: Pieces) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.freeze())
}
