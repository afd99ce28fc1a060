//! What attachments are recognised by. A checksum (XXH3-64 of the content) is computed when they are stored, because it costs
//! next to nothing, and tells whether their bytes are still what they were. MD5s are computed when somebody asks for them,
//! and kept in the index from then on (decision 10).

use crate::flow::Pieces;
use crate::{Ctx, Engine, read, zlib};
use futures_util::StreamExt;
use md5::{Digest, Md5};
use model::{Attachment, Compression, Error, ErrorKind, Level, OrthancId, Result};
use xxhash_rust::xxh3::Xxh3;

/// The checksum of bytes that come in pieces. Boxed, because it is half a KiB that nobody should move.
#[derive(Default)]
pub(crate) struct Checksum(Box<Xxh3>);

impl Checksum {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.digest()
    }
}

/// An MD5 as Orthanc writes it, in hexadecimal.
pub(crate) fn hex(md5: Md5) -> String {
    md5.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads a whole attachment again and compares it with what is recorded: sizes, checksum, and those MD5s that are known
/// (Orthanc: `verify-md5`).
///
/// # Errors
/// `Corrupted` if it differs, `InexistentFile`.
pub async fn verify(eng: &Engine, attachment: &Attachment) -> Result<()> {
    let is_known = |md5: &Option<String>| md5.as_ref().is_some_and(|md5| !md5.is_empty());
    let with_md5 = is_known(&attachment.md5) || is_known(&attachment.stored_md5);
    read_again(eng, attachment, with_md5).await.map(drop)
}

/// An attachment with both MD5s. The first time, that reads all of it; they are then noted in the index. If it was replaced
/// since `attachment` was looked up, this is the new one.
///
/// # Errors
/// `Corrupted` if the bytes are not what was stored, `InexistentFile`; `UnknownResource` or `InexistentItem` if the attachment
/// is gone.
pub async fn with_md5s(eng: &Engine, ctx: &Ctx, of: (Level, OrthancId), attachment: Attachment) -> Result<Attachment> {
    match compute(eng, of, attachment.clone()).await {
        Err(error) if error.kind() == ErrorKind::InexistentFile => {
            let now = read::locate(eng, ctx, of.0, of.1, attachment.content_type).await?.attachment;
            if now.id == attachment.id { Err(error) } else { compute(eng, of, now).await }
        }
        other => other,
    }
}

/// The same for answers that tell more than MD5s: if the attachment is damaged or gone, it stays without them.
///
/// # Errors
/// Those of a storage area that does not answer.
pub async fn with_md5s_if_readable(
    eng: &Engine,
    ctx: &Ctx,
    of: (Level, OrthancId),
    attachment: Attachment,
) -> Result<Attachment> {
    use ErrorKind::{Corrupted, InexistentFile, InexistentItem, UnknownResource};
    match with_md5s(eng, ctx, of, attachment.clone()).await {
        Err(error) if matches!(error.kind(), Corrupted | InexistentFile | InexistentItem | UnknownResource) => {
            tracing::warn!(%error, attachment = %attachment.id, "an attachment has no MD5");
            Ok(attachment)
        }
        other => other,
    }
}

async fn compute(eng: &Engine, (level, id): (Level, OrthancId), mut attachment: Attachment) -> Result<Attachment> {
    if attachment.md5.is_some() && attachment.stored_md5.is_some() {
        return Ok(attachment);
    }
    let (md5, stored_md5) = read_again(eng, &attachment, true).await?;
    attachment.md5.get_or_insert(md5);
    attachment.stored_md5.get_or_insert(stored_md5);
    if eng.writable().is_ok()
        && let Err(error) = eng.index.note_md5s(level, id, attachment.clone()).await
    {
        tracing::warn!(%error, attachment = %attachment.id, "MD5s are not kept");
    }
    Ok(attachment)
}

/// What bytes turned out to be.
#[derive(Clone)]
struct Digests {
    size_bytes: u64,
    checksum: u64,
    /// Empty unless it was asked for.
    md5: String,
}

async fn digests(mut bytes: Pieces, with_md5: bool) -> Result<Digests> {
    let (mut size_bytes, mut checksum, mut md5) = (0, Checksum::default(), with_md5.then(Md5::new));
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        size_bytes += piece.len() as u64;
        checksum.update(&piece);
        if let Some(md5) = &mut md5 {
            md5.update(&piece);
        }
    }
    Ok(Digests { size_bytes, checksum: checksum.value(), md5: md5.map(hex).unwrap_or_default() })
}

/// Reads all of an attachment. The MD5s of its content and of what is stored, empty unless `with_md5`.
///
/// # Errors
/// `Corrupted` if it differs from what is recorded, `InexistentFile`.
async fn read_again(eng: &Engine, attachment: &Attachment, with_md5: bool) -> Result<(String, String)> {
    let stored = digests(eng.storage.stream(attachment.id, 0..u64::MAX).await?, with_md5).await?;
    let differs = || Error::new(ErrorKind::Corrupted, format!("attachment {} differs from what was stored", attachment.id));
    let is_other = |known: &Option<String>, found: &str| known.as_ref().is_some_and(|md5| !md5.is_empty() && md5 != found);
    if stored.size_bytes != attachment.stored_size_bytes || with_md5 && is_other(&attachment.stored_md5, &stored.md5) {
        return Err(differs());
    }
    let content = match attachment.compression {
        Compression::None => stored.clone(),
        Compression::Zlib => digests(zlib::plain(eng, attachment, 0..attachment.size_bytes).await?, with_md5).await?,
    };
    let is_as_recorded = (content.size_bytes, content.checksum) == (attachment.size_bytes, attachment.checksum);
    if !is_as_recorded || with_md5 && is_other(&attachment.md5, &content.md5) {
        return Err(differs());
    }
    Ok((content.md5, stored.md5))
}
