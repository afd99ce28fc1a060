//! What clients may send to `POST /instances`: DICOM, gzip'd DICOM, a ZIP, or a multipart form with any of them.
//!
//! Everything streams, see [`engine::import`].

use crate::pieces;
use crate::state::Rest;
use axum::extract::Request;
use bytes::Bytes;
use engine::flow::{self, Pieces, Reader};
use engine::import::{self, Form};
use engine::{Ctx, StoreOutcome};
use http::header;
use model::{Error, ErrorKind, Level, Result};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use web::body::MaxBody;
use web::multipart::Multipart;

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
        "gzip" => (gunzip(body, rest.engine.config.max_file_in_archive_bytes), 0),
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

/// Stores one file or one ZIP, probably of `expected_bytes` (0 if nobody knows), adding its answers to `stored`.
pub(crate) async fn one(rest: &Rest, ctx: &Ctx, body: Pieces, expected_bytes: u64, stored: &mut Vec<Value>) -> Result<Form> {
    let mut outcomes = vec![];
    let form = import::one(&rest.engine, ctx, body, expected_bytes, &mut outcomes).await;
    stored.extend(outcomes.iter().map(view));
    form
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
    flow::stream_of(move || flate2::read::MultiGzDecoder::new(body), import::bounded(limit, "the gzip'd body"))
}
