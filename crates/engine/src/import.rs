//! Stores what is one DICOM file, or a ZIP with some.
//!
//! Everything streams: a DICOM file goes to the store as it arrives, a ZIP to a temporary file first, because its table of
//! contents stands at its end.

use crate::flow::{self, Pieces};
use crate::{Ctx, Engine, StoreOutcome, store};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use model::{Error, ErrorKind, Result};
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Files in one ZIP.
const MAX_ENTRIES: usize = 1_000_000;

/// What some bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Dicom,
    Zip,
}

/// Stores one file or one ZIP, probably of `expected_bytes` (0 if nobody knows), adding what was stored to `stored`. Files of a ZIP
/// that are not DICOM are left out.
///
/// # Errors
/// `BadDicom` for what is neither; those of [`store`]; `TooLarge` for a file in a ZIP (`MaximumFileSizeInArchiveMB`), or too many.
pub async fn one(
    eng: &Arc<Engine>,
    ctx: &Ctx,
    body: Pieces,
    expected_bytes: u64,
    stored: &mut Vec<StoreOutcome>,
) -> Result<Form> {
    // What has ended is asked again if it was shorter than what is looked at here.
    let mut body = body.fuse();
    let mut first = Bytes::new();
    while first.len() < 4 {
        match body.try_next().await? {
            Some(piece) if first.is_empty() => first = piece,
            Some(piece) => first = [first, piece].concat().into(),
            None => break,
        }
    }
    if first.is_empty() {
        return Err(Error::new(ErrorKind::BadDicom, "the body is empty"));
    }
    if first.starts_with(b"PK\x03\x04") || first.starts_with(b"PK\x05\x06") {
        zip(eng, ctx, first, body.boxed(), stored).await?;
        return Ok(Form::Zip);
    }
    let pieces = futures_util::stream::once(async { Ok(first) }).chain(body).boxed();
    stored.push(dicom(eng, ctx, pieces, expected_bytes).await?);
    Ok(Form::Dicom)
}

async fn dicom(eng: &Arc<Engine>, ctx: &Ctx, mut pieces: Pieces, expected_bytes: u64) -> Result<StoreOutcome> {
    let mut ingest = store::begin(eng, ctx, expected_bytes);
    loop {
        let written = match pieces.next().await {
            None => return ingest.finish().await,
            Some(Ok(piece)) => ingest.write(piece).await,
            Some(Err(error)) => Err(error),
        };
        if let Err(error) = written {
            ingest.discard().await;
            return Err(error);
        }
    }
}

/// Refuses what is damaged, and what is longer than `limit` bytes (0 for no limit).
pub fn bounded(limit: u64, what: &'static str) -> impl FnMut(std::io::Result<Bytes>) -> Result<Bytes> {
    let mut sent = 0;
    move |piece| {
        let damaged = |e| Error::new(ErrorKind::BadDicom, format!("{what} is damaged: {e}"));
        let piece = piece.map_err(|e| flow::into_error(e, damaged))?;
        sent += piece.len() as u64;
        if limit > 0 && sent > limit {
            let message = format!("{what} unpacks to more than {limit} bytes (MaximumFileSizeInArchiveMB)");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(piece)
    }
}

async fn zip(eng: &Arc<Engine>, ctx: &Ctx, first: Bytes, mut body: Pieces, stored: &mut Vec<StoreOutcome>) -> Result<()> {
    let mut file = spool(eng)?;
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        file = tokio::task::spawn_blocking(move || file.write_all(&bytes).map(|()| file))
            .await
            .map_err(internal)?
            .map_err(cannot_spool)?;
        piece = body.try_next().await?;
    }
    let limit = eng.config.max_file_in_archive_bytes;
    // One queue per entry, handed over through a queue of queues.
    let (entries_tx, mut entries) = mpsc::channel::<mpsc::Receiver<Result<Bytes>>>(1);
    let unpack = tokio::task::spawn_blocking(move || unpack(file, limit, &entries_tx));
    while let Some(entry) = entries.recv().await {
        match dicom(eng, ctx, flow::from_queue(entry), 0).await {
            Ok(outcome) => stored.push(outcome),
            // Orthanc: files of a ZIP that are not DICOM are left out.
            Err(error) if error.kind() == ErrorKind::BadDicom => {}
            Err(error) => return Err(error),
        }
    }
    unpack.await.map_err(internal)?
}

/// A temporary file, which goes when it is closed (`TemporaryDirectory`).
///
/// # Errors
/// `StorageFull`, `CannotWrite`.
pub fn spool(eng: &Engine) -> Result<std::fs::File> {
    match &eng.config.temporary_directory {
        Some(folder) => tempfile::tempfile_in(folder),
        None => tempfile::tempfile(),
    }
    .map_err(cannot_spool)
}

fn unpack(mut spool: std::fs::File, limit: u64, entries: &mpsc::Sender<mpsc::Receiver<Result<Bytes>>>) -> Result<()> {
    spool.seek(SeekFrom::Start(0)).map_err(cannot_spool)?;
    let bad = |e: zip::result::ZipError| Error::new(ErrorKind::BadDicom, format!("the ZIP is damaged: {e}"));
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(spool)).map_err(bad)?;
    if archive.len() > MAX_ENTRIES {
        return Err(Error::new(ErrorKind::TooLarge, format!("the ZIP has more than {MAX_ENTRIES} entries")));
    }
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(bad)?;
        if entry.is_dir() {
            continue;
        }
        let (tx, rx) = mpsc::channel(flow::QUEUE);
        if entries.blocking_send(rx).is_err() {
            return Ok(());
        }
        flow::pump(&mut entry, &tx, bounded(limit, "a file of the ZIP"));
    }
    Ok(())
}

fn cannot_spool(error: std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::StorageFull } else { ErrorKind::CannotWrite };
    Error::new(kind, "cannot write a temporary file (TemporaryDirectory)").caused_by(error)
}

fn internal(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "unpacking stopped").caused_by(error)
}
