//! Archives: the DICOM files of any resources as one ZIP (Orthanc: `/studies/{id}/archive`, `/tools/create-archive`).
//!
//! [`plan`] decides what is in it and how it is called, [`stream`] makes its bytes, [`into_blob`] keeps them for later.
//! Below them: `names` (Orthanc's rules for folders and files), `source` (reads ahead, verifies, packs on all cores), `pack`
//! (deflate), `zip` (the format). Media have a DICOMDIR at their end: `media` makes it while the files pass by, `records` and
//! `keys` know what it says of a file.

mod keys;
mod media;
mod names;
mod pack;
mod plan;
mod records;
mod source;
mod stream;
mod zip;

pub use names::Characters;
pub(crate) use plan::check_syntax;
pub use plan::{Layout, Plan, Request, plan};
pub use stream::{Progress, stream};

use crate::Engine;
use crate::blobs::{self, NewBlob};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use model::{Attachment, Compression, ContentType, Result};

/// Keeps an archive in the storage area, durable when this returns. No row refers to the blob yet: who finishes the job does.
///
/// # Errors
/// Those of the stream, after which nothing is left of the blob; `StorageFull`, `CannotWrite`.
pub async fn into_blob(eng: &Engine, archive: BoxStream<'static, Result<Bytes>>) -> Result<Attachment> {
    let NewBlob { id, size_bytes, checksum } = blobs::write(eng, archive).await?;
    Ok(Attachment {
        id,
        content_type: ContentType::DICOM,
        compression: Compression::None,
        size_bytes,
        stored_size_bytes: size_bytes,
        checksum,
        md5: None,
        stored_md5: None,
        revision: 0,
    })
}
