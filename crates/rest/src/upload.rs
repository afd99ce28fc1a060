//! What clients may send to `POST /instances`: DICOM, gzip'd DICOM, a ZIP, or a multipart form with any of them.
//!
//! Everything streams: a DICOM file goes to the store as it arrives, a ZIP to a temporary file first, because its table of
//! contents stands at its end.

use crate::pieces;
use crate::state::Rest;
use axum::extract::Request;
use bytes::Bytes;
use engine::flow::{self, Pieces, Reader};
use engine::{Ctx, StoreOutcome, store};
use futures_util::{StreamExt, TryStreamExt};
use http::header;
use model::{Error, ErrorKind, Level, Result};
use serde_json::{Value, json};
use std::io::{Seek, SeekFrom, Write};
use tokio::sync::mpsc;
use web::body::MaxBody;
use web::multipart::Multipart;

/// Files in one ZIP.
const MAX_ENTRIES: usize = 1_000_000;

/// Stores what a request holds and renders Orthanc's answer: an object for one DICOM file, else a list.
///
/// # Errors
/// `BadDicom` for a body that is none of the four forms; files of a ZIP or form that are not DICOM are left out.
pub async fn upload(rest: &Rest, ctx: &Ctx, request: Request) -> Result<Value> {
    let limit = request.extensions().get::<MaxBody>().map_or(0, |m| m.0);
    let content_type = header_text(&request, header::CONTENT_TYPE);
    let encoding = header_text(&request, header::CONTENT_ENCODING);
    let announced = pieces::announced(request.headers(), &ctx.origin.http_user, limit)?;
    let length: u64 = header_text(&request, header::CONTENT_LENGTH).parse().unwrap_or(0);
    let body = web::body::stream(request.into_body(), limit);
    if content_type.to_ascii_lowercase().starts_with("multipart/form-data") {
        let parts = Multipart::new(&content_type, body)?;
        return match announced {
            Some(announced) => pieces::receive(rest, ctx, announced, parts).await,
            None => form(rest, ctx, parts).await,
        };
    }
    let (body, expected_bytes) = match encoding.to_ascii_lowercase().as_str() {
        "" | "identity" => (body, length),
        "gzip" => (gunzip(body, rest.system.max_file_in_archive_bytes), 0),
        other => return Err(Error::new(ErrorKind::BadRequest, format!("unknown Content-Encoding: {other:?}"))),
    };
    let mut stored = Vec::new();
    match one(rest, ctx, body, expected_bytes, &mut stored).await? {
        Form::Zip => Ok(Value::Array(stored)),
        Form::Dicom => Ok(stored.pop().unwrap_or_default()),
    }
}

fn header_text(request: &Request, name: header::HeaderName) -> String {
    request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// What a body turned out to be.
#[derive(PartialEq)]
pub(crate) enum Form {
    Dicom,
    Zip,
}

/// Stores one file or one ZIP, probably of `expected_bytes` (0 if nobody knows), adding its answers to `stored`.
pub(crate) async fn one(rest: &Rest, ctx: &Ctx, mut body: Pieces, expected_bytes: u64, stored: &mut Vec<Value>) -> Result<Form> {
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
        zip(rest, ctx, first, body, stored).await?;
        return Ok(Form::Zip);
    }
    let pieces = futures_util::stream::once(async { Ok(first) }).chain(body).boxed();
    let outcome = dicom(rest, ctx, pieces, expected_bytes).await?;
    stored.push(view(&outcome));
    Ok(Form::Dicom)
}

async fn dicom(rest: &Rest, ctx: &Ctx, mut pieces: Pieces, expected_bytes: u64) -> Result<StoreOutcome> {
    let mut ingest = store::begin(&rest.engine, ctx, expected_bytes);
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

/// Orthanc: the answer to one stored file.
pub fn view(outcome: &StoreOutcome) -> Value {
    let ids = &outcome.ids;
    json!({
        "ID": ids.instance.to_string(),
        "ParentPatient": ids.at(Level::Patient).to_string(),
        "ParentSeries": ids.at(Level::Series).to_string(),
        "ParentStudy": ids.at(Level::Study).to_string(),
        "Path": format!("/instances/{}", ids.instance),
        "Status": outcome.status.name(),
    })
}

async fn form(rest: &Rest, ctx: &Ctx, mut parts: Multipart) -> Result<Value> {
    let mut stored = Vec::new();
    let mut refused = None;
    while parts.next_part().await? {
        // A part borrows the form, but the store wants an owned stream: a short queue joins the two.
        let (tx, rx) = mpsc::channel::<Result<Bytes>>(flow::QUEUE);
        let parts = &mut parts;
        let feed = async move {
            while let Some(piece) = parts.chunk().await.transpose() {
                let failed = piece.is_err();
                if tx.send(piece).await.is_err() || failed {
                    return;
                }
            }
        };
        let ((), result) = tokio::join!(feed, one(rest, ctx, flow::from_queue(rx), 0, &mut stored));
        match result {
            Err(error) if error.kind() == ErrorKind::BadDicom => refused = Some(error),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    match refused {
        Some(error) if stored.is_empty() => Err(error),
        _ => Ok(Value::Array(stored)),
    }
}

/// Unpacks a gzip'd body on a blocking thread.
fn gunzip(body: Pieces, limit: u64) -> Pieces {
    let body = Reader::new(body);
    flow::stream_of(move || flate2::read::MultiGzDecoder::new(body), bounded(limit, "the gzip'd body"))
}

/// Refuses what is damaged, and what is longer than `limit` bytes (0 for no limit).
pub(crate) fn bounded(limit: u64, what: &'static str) -> impl FnMut(std::io::Result<Bytes>) -> Result<Bytes> {
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

async fn zip(rest: &Rest, ctx: &Ctx, first: Bytes, mut body: Pieces, stored: &mut Vec<Value>) -> Result<()> {
    let mut spool = spool(rest)?;
    let mut piece = Some(first);
    while let Some(bytes) = piece {
        spool = tokio::task::spawn_blocking(move || spool.write_all(&bytes).map(|()| spool))
            .await
            .map_err(internal)?
            .map_err(cannot_spool)?;
        piece = body.try_next().await?;
    }
    let limit = rest.system.max_file_in_archive_bytes;
    // One queue per entry, handed over through a queue of queues.
    let (entries_tx, mut entries) = mpsc::channel::<mpsc::Receiver<Result<Bytes>>>(1);
    let unpack = tokio::task::spawn_blocking(move || unpack(spool, limit, &entries_tx));
    while let Some(entry) = entries.recv().await {
        match dicom(rest, ctx, flow::from_queue(entry), 0).await {
            Ok(outcome) => stored.push(view(&outcome)),
            // Orthanc: files of a ZIP that are not DICOM are left out.
            Err(error) if error.kind() == ErrorKind::BadDicom => {}
            Err(error) => return Err(error),
        }
    }
    unpack.await.map_err(internal)?
}

pub(crate) fn spool(rest: &Rest) -> Result<std::fs::File> {
    match &rest.system.temporary_directory {
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

pub(crate) fn cannot_spool(error: std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { ErrorKind::StorageFull } else { ErrorKind::CannotWrite };
    Error::new(kind, "cannot write a temporary file (TemporaryDirectory)").caused_by(error)
}

pub(crate) fn internal(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "unpacking stopped").caused_by(error)
}
