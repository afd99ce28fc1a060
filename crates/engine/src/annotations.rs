//! What clients attach to resources: metadata, attachments, labels, protection.

use crate::digests::hex;
use crate::{Ctx, Engine, blobs, find, sweeps, zlib};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use model::ports::index::{Expect, Stability};
use model::{Compression, ContentType, Error, ErrorKind, Level, MetadataKind, OrthancId, Result};
use std::collections::BTreeSet;

/// What a client must know to change something: without `CheckRevisions`, nothing.
fn expect(eng: &Engine, if_match: Option<i64>) -> Expect {
    if eng.config.check_revisions { Expect::Revision(if_match) } else { Expect::Anything }
}

fn only_user(is_user: bool, what: &str) -> Result<()> {
    if is_user { Ok(()) } else { Err(Error::new(ErrorKind::Forbidden, format!("only user {what} can be changed"))) }
}

/// Sets a user metadata and returns its revision.
///
/// # Errors
/// `Forbidden` for built-in metadata, `UnknownResource`, `Revision`.
pub async fn set_metadata(
    eng: &Engine,
    _ctx: &Ctx,
    (level, id): (Level, OrthancId),
    kind: MetadataKind,
    value: &str,
    if_match: Option<i64>,
) -> Result<i64> {
    eng.writable()?;
    only_user(kind.is_user(), "metadata")?;
    eng.index.set_metadata(level, id, kind, value, expect(eng, if_match)).await
}

/// Deletes a user metadata.
///
/// # Errors
/// `Forbidden` for built-in metadata, `UnknownResource`, `InexistentItem`, `Revision`.
pub async fn delete_metadata(
    eng: &Engine,
    _ctx: &Ctx,
    (level, id): (Level, OrthancId),
    kind: MetadataKind,
    if_match: Option<i64>,
) -> Result<()> {
    eng.writable()?;
    only_user(kind.is_user(), "metadata")?;
    eng.index.delete_metadata(level, id, kind, expect(eng, if_match)).await
}

/// Stores a user attachment from a stream and returns its revision.
///
/// # Errors
/// `Forbidden` for built-in content, `UnknownResource`, `Revision`, `StorageFull`; those of the stream.
pub async fn set_attachment(
    eng: &Engine,
    _ctx: &Ctx,
    (level, id): (Level, OrthancId),
    content_type: ContentType,
    body: BoxStream<'_, Result<Bytes>>,
    if_match: Option<i64>,
) -> Result<i64> {
    eng.writable()?;
    only_user(content_type.is_user(), "attachments")?;
    // Who puts an attachment is told its MD5 at once, in the ETag.
    let mut md5 = eng.config.store_md5.then(Md5::new);
    let body = body.inspect_ok(|piece| md5.iter_mut().for_each(|md5| md5.update(piece))).boxed();
    let written = blobs::write(eng, body).await?;
    let mut attachment = zlib::at_rest(eng, written, content_type).await?;
    if let Some(md5) = md5.map(hex) {
        attachment.stored_md5 = (attachment.compression == Compression::None).then(|| md5.clone());
        attachment.md5 = Some(md5);
    }
    let blob = attachment.id;
    let set = eng.index.set_attachment(level, id, attachment, expect(eng, if_match)).await;
    match &set {
        Ok(_) => sweeps::deleted(eng).await?,
        Err(error) => sweeps::refused(eng, blob, error).await,
    }
    set
}

/// Deletes a user attachment.
///
/// # Errors
/// `Forbidden` for built-in content, `UnknownResource`, `InexistentItem`, `Revision`.
pub async fn delete_attachment(
    eng: &Engine,
    _ctx: &Ctx,
    (level, id): (Level, OrthancId),
    content_type: ContentType,
    if_match: Option<i64>,
) -> Result<()> {
    eng.writable()?;
    only_user(content_type.is_user(), "attachments")?;
    eng.index.delete_attachment(level, id, content_type, expect(eng, if_match)).await?;
    sweeps::deleted(eng).await
}

/// Adds or removes one label.
///
/// # Errors
/// `OutOfRange` unless it is made of `[A-Za-z0-9_-]` (Orthanc: labels), `UnknownResource`.
pub async fn change_label(
    eng: &Engine,
    _ctx: &Ctx,
    (level, id): (Level, OrthancId),
    label: &str,
    add: LabelChange,
) -> Result<()> {
    eng.writable()?;
    if label.is_empty() || label.len() > 64 || !label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-') {
        return Err(Error::new(
            ErrorKind::OutOfRange,
            format!("a label has 1 to 64 characters of A-Z, a-z, 0-9, _ and -: {label:?}"),
        ));
    }
    let (one, none) = (BTreeSet::from([label.to_owned()]), BTreeSet::new());
    match add {
        LabelChange::Add => eng.index.change_labels(level, id, &one, &none).await,
        LabelChange::Remove => eng.index.change_labels(level, id, &none, &one).await,
    }
}

/// Whether a label comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelChange {
    Add,
    Remove,
}

/// Every label in use.
pub async fn labels(eng: &Engine, _ctx: &Ctx) -> Result<BTreeSet<String>> {
    eng.index.labels().await
}

/// Exempts a patient from recycling, or undoes that.
///
/// # Errors
/// `UnknownResource`.
pub async fn set_protected(eng: &Engine, _ctx: &Ctx, patient: OrthancId, protected: bool) -> Result<()> {
    eng.writable()?;
    eng.index.set_protected(patient, protected).await
}

/// Makes a resource stable now, or lets its time of quiet begin again (Orthanc: `SetStableStatus`). Whether it was in the other state.
///
/// # Errors
/// `UnknownResource`, also for instances; `ReadOnly`.
pub async fn set_stability(eng: &Engine, ctx: &Ctx, id: OrthancId, to: Stability) -> Result<bool> {
    eng.writable()?;
    let level = find::level_of(eng, ctx, id).await?;
    eng.index.set_stability(level, id, to).await
}
