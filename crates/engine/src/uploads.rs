//! Files that clients send piece by piece, one request each. The pieces wait as blobs, and the index knows in which order they belong
//! together, so that any process may get the next one and whichever gets the last one puts the file together. And the area for uploads of
//! WebDAV: files that wait there for the job that imports them.

use crate::blobs::{self, NewBlob};
use crate::flow::Pieces;
use crate::jobs::kinds::WebDavImport;
use crate::jobs::{self, JobKind, JobOptions};
use crate::{Ctx, Engine, read, sweeps};
use futures_util::{StreamExt, TryStreamExt, stream};
use model::upload::{CompleteUpload, NewPiece, NewUploaded, PieceAdded, UploadKey, UploadLimits, Uploaded};
use model::{Error, ErrorKind, Origin, Result};
use std::sync::Arc;
use std::time::Duration;

const LIMITS: UploadLimits =
    UploadLimits { files: 32, pieces: 10_000, patience: Duration::from_secs(15 * 60), storing: Duration::from_secs(24 * 3600) };

/// How long folders stay in the area for uploads, and how many there may be.
const FOLDER_AGE: Duration = Duration::from_secs(3600);
const MOST_FOLDERS: u32 = 1000;
/// Files that a listing shows.
const MOST_FILES: u32 = 10_000;

/// What a request says about the piece that it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    pub file: UploadKey,
    pub file_bytes: u64,
    /// Where the piece begins, if the client tells.
    pub start: Option<u64>,
}

/// Adds a piece to its file. Returns the file if this was its last piece.
///
/// # Errors
/// `BadRequest` for a piece that does not follow the last one (send it again from the byte that the error names), or makes the file
/// longer than announced, or of too many pieces (then it is forgotten); those of `bytes`, and nothing was changed; `StorageFull`,
/// `CannotWrite`, `Busy`, `DatabaseUnavailable`, `ReadOnly`.
pub async fn add(eng: &Engine, _ctx: &Ctx, announced: Announced, bytes: Pieces) -> Result<Option<CompleteUpload>> {
    eng.writable()?;
    let too_long = || Error::new(ErrorKind::BadRequest, "the pieces of the file are longer than was announced");
    let mut left = announced.file_bytes;
    let bounded = bytes.map(move |piece| {
        let piece = piece?;
        left = left.checked_sub(piece.len() as u64).ok_or_else(too_long)?;
        Ok(piece)
    });
    let NewBlob { id: blob, size_bytes, .. } = blobs::write(eng, bounded.boxed()).await?;
    let Announced { file, file_bytes, start } = announced;
    let added = eng.index.add_piece(&NewPiece { file, file_bytes, start, blob, size_bytes }, LIMITS).await;
    if let Err(error) = &added {
        sweeps::refused(eng, blob, error).await;
    }
    let refused = match added? {
        PieceAdded::Kept => return Ok(None),
        PieceAdded::Complete(upload) => return Ok(Some(upload)),
        PieceAdded::Misplaced(next) => {
            let message = format!("the next piece of the file must begin at byte {next}: send it again from there");
            Error::new(ErrorKind::BadRequest, message)
        }
        PieceAdded::TooLong => too_long(),
        PieceAdded::TooMany => {
            Error::new(ErrorKind::BadRequest, format!("a file has {} pieces at most: send larger ones", LIMITS.pieces))
        }
    };
    sweeps::discard(eng, blob).await;
    Err(refused)
}

/// The bytes of a file.
pub fn bytes(eng: &Arc<Engine>, upload: &CompleteUpload) -> Pieces {
    let eng = eng.clone();
    stream::iter(upload.pieces.clone())
        .then(move |(blob, size)| {
            let eng = eng.clone();
            async move { read::blob(&eng, blob, 0..size).await }
        })
        .try_flatten()
        .boxed()
}

/// Forgets the pieces of a file that was stored, or cannot be.
pub async fn forget(eng: &Engine, upload: CompleteUpload) {
    if let Err(error) = eng.index.forget_upload(upload.id).await {
        tracing::warn!(%error, upload = upload.id, "the pieces of a file remain until their time is over");
    }
}

/// The folders in the area for uploads, by path.
pub async fn folders(eng: &Engine, _ctx: &Ctx) -> Result<Vec<String>> {
    eng.index.upload_folders(FOLDER_AGE).await
}

/// Makes a folder in the area for uploads. It goes by itself after an hour.
///
/// # Errors
/// `Forbidden` if there is one of its name, or none to hold it, or too many are there; `ReadOnly`.
pub async fn make_folder(eng: &Engine, ctx: &Ctx, path: &[String]) -> Result<()> {
    eng.writable()?;
    let refused = |why: &str| Error::new(ErrorKind::Forbidden, format!("the folder cannot be made: {why}"));
    let parent = path.split_last().map(|(_, above)| above.join("/")).unwrap_or_default();
    if !parent.is_empty() && !folders(eng, ctx).await?.contains(&parent) {
        return Err(refused("the one above it is missing"));
    }
    let own = path.join("/");
    if files(eng, ctx).await?.iter().any(|file| file.path == own) {
        return Err(refused("there is a file of its name"));
    }
    if eng.index.make_upload_folder(&own, FOLDER_AGE, MOST_FOLDERS).await? {
        return Ok(());
    }
    Err(refused(&format!("it is there, or there are {MOST_FOLDERS} already")))
}

/// Removes a folder from the area for uploads with all that is in it, or a file. Returns whether it was there.
///
/// # Errors
/// `ReadOnly`.
pub async fn remove(eng: &Engine, _ctx: &Ctx, path: &str) -> Result<bool> {
    eng.writable()?;
    eng.index.remove_upload(path).await
}

/// The files in the area for uploads, the first ones first.
pub async fn files(eng: &Engine, _ctx: &Ctx) -> Result<Vec<Uploaded>> {
    eng.index.uploaded(MOST_FILES).await
}

/// The bytes of a file in the area for uploads.
///
/// # Errors
/// `InexistentFile` if it was imported or removed meanwhile.
pub async fn content(eng: &Engine, _ctx: &Ctx, file: &Uploaded) -> Result<Pieces> {
    read::blob(eng, file.blob, 0..file.size_bytes).await
}

/// Puts a file into the area for uploads, durable when this returns. A job imports it, in any process; until then it is seen through
/// all of them. An empty file is forgotten: there is nothing to import.
///
/// # Errors
/// Those of `bytes`, and then nothing was changed; `StorageFull`, `CannotWrite`, `Busy`, `DatabaseUnavailable`, `ReadOnly`.
pub async fn put(eng: &Arc<Engine>, ctx: &Ctx, path: String, bytes: Pieces) -> Result<()> {
    eng.writable()?;
    let NewBlob { id: blob, size_bytes, .. } = blobs::write(eng, bytes).await?;
    if size_bytes == 0 {
        sweeps::discard(eng, blob).await;
        return Ok(());
    }
    let Origin { remote_ip, http_user, .. } = ctx.origin.clone();
    if let Err(error) = eng.index.add_uploaded(&NewUploaded { path, blob, size_bytes, remote_ip, http_user }).await {
        sweeps::refused(eng, blob, &error).await;
        return Err(error);
    }
    if let Err(error) = import(eng, Duration::ZERO).await {
        tracing::info!(%error, "the job that imports uploads is made later");
    }
    Ok(())
}

/// Makes the job that imports files, if one has waited for `age` and there is no such job. Another process may do the same at this moment:
/// then one of the jobs finds nothing.
pub(crate) async fn import(eng: &Arc<Engine>, age: Duration) -> Result<()> {
    if eng.index.uploads_wait(WebDavImport::TYPE, age).await? {
        jobs::submit(eng, &Ctx::default(), &WebDavImport {}, JobOptions::default()).await?;
    }
    Ok(())
}
