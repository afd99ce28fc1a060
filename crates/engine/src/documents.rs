//! What leaves an instance as a file of its own: the PDF that it holds, or the whole file on a disk of this computer.

use crate::read::{self, Extent};
use crate::{Ctx, Engine};
use bytes::Bytes;
use dataset::{Tag, Value};
use futures_util::TryStreamExt;
use model::{ContentType, Error, ErrorKind, Level, OrthancId, Result, tags};
use std::path::Path;
use tokio::io::AsyncWriteExt;

const ENCAPSULATED_PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";
const MIME_TYPE: Tag = Tag(0x0042, 0x0012);
const DOCUMENT: Tag = Tag(0x0042, 0x0011);
const DOCUMENT_LENGTH: Tag = Tag(0x0042, 0x0015);

/// The PDF of an encapsulated document (PS3.3 A.45.1), without the byte that makes its length even.
///
/// # Errors
/// `UnknownResource`, `InexistentItem` if the instance is no such document.
pub async fn pdf(eng: &Engine, ctx: &Ctx, instance: OrthancId) -> Result<Bytes> {
    let data = read::dataset(eng, ctx, instance, Extent::Header).await?.dataset;
    let is = |tag, expected: &str| data.text(tag).is_some_and(|text| text.trim() == expected);
    let document = match data.get(DOCUMENT).map(|element| &element.value) {
        Some(Value::Bytes(bytes)) if is(tags::SOP_CLASS_UID, ENCAPSULATED_PDF) && is(MIME_TYPE, "application/pdf") => bytes,
        _ => return Err(Error::new(ErrorKind::InexistentItem, "the instance holds no PDF")),
    };
    let noted = data.text(DOCUMENT_LENGTH).and_then(|text| text.trim().parse::<usize>().ok());
    let padded = document.last().is_some_and(|last| !matches!(last, b'\n' | b'\r'));
    let length = match noted {
        Some(length) if length <= document.len() && document.len() - length <= 1 => length,
        // Without a length, what does not end as a PDF does was padded (Orthanc: `/instances/{id}/pdf`).
        _ => document.len() - usize::from(padded),
    };
    Ok(document.slice(..length))
}

/// Writes the file of an instance to a path of this computer, if that is allowed (`RestApiWriteToFileSystemEnabled`).
///
/// # Errors
/// `Forbidden` if it is not; `UnknownResource`; `CannotWrite` with what the file system says.
pub async fn export(eng: &Engine, ctx: &Ctx, instance: OrthancId, path: &Path) -> Result<()> {
    if !eng.config.write_to_file_system {
        let message = "files are not written for clients (RestApiWriteToFileSystemEnabled)";
        return Err(Error::new(ErrorKind::Forbidden, message));
    }
    let located = read::locate(eng, ctx, Level::Instance, instance, ContentType::DICOM).await?;
    let mut pieces = read::stream(eng, &located.attachment, 0..located.attachment.size_bytes).await?;
    let failed = |e: std::io::Error| Error::new(ErrorKind::CannotWrite, format!("{}: {e}", path.display())).caused_by(e);
    let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
    while let Some(piece) = pieces.try_next().await? {
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)
}
