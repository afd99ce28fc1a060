//! `/instances/{id}/file`: the DICOM file, or its data set as DICOM JSON; `pdf` and `export` beside it.

use crate::routes::{Kind, Routes, about};
use crate::schema;
use crate::state::Rest;
use crate::target::Target;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dataset::json::dicom_json;
use engine::read::{self, Extent, Located};
use engine::{Ctx, documents};
use http::{HeaderMap, StatusCode, header};
use model::{ContentType, Error, ErrorKind, Level, OrthancId};
use serde_json::json;
use std::sync::Arc;
use web::error::HttpResult;
use web::range::{self, File};
use web::{Caller, Json, Params};

/// Longest path that [`post_export`] takes (Linux: `PATH_MAX`).
const MAX_PATH_BYTES: usize = 4096;

pub fn routes() -> Routes {
    let file = about("The DICOM file, or with `Accept: application/dicom+json` what it says in DICOM JSON.")
        .query(&[("filename", Kind::Text, "The name that a browser gives the file")])
        .headers(&[("Accept", "`application/dicom` or `application/dicom+json`")])
        .file("application/dicom")
        .answers(200, "application/dicom+json", "The file");
    let export = about("Writes the DICOM file to a path of the server (`RestApiWriteToFileSystemEnabled`).")
        .text_body(schema::text())
        .json();
    Routes::default()
        .get("/instances/{id}/file", get_file, file)
        .get(
            "/instances/{id}/pdf",
            get_pdf,
            about("The PDF in an encapsulated document.").answers(200, "application/pdf", "The PDF"),
        )
        .post("/instances/{id}/export", post_export, export)
}

/// `GET /instances/{id}/pdf`: the PDF of an encapsulated document.
async fn get_pdf(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target) -> HttpResult<Response> {
    let pdf = documents::pdf(&rest.engine, &ctx, target.id).await?;
    Ok(([(header::CONTENT_TYPE, "application/pdf")], pdf).into_response())
}

/// `POST /instances/{id}/export`: the body is the path of a file on this computer.
async fn post_export(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, body: Body) -> HttpResult<Json> {
    let path = web::body::read(body, MAX_PATH_BYTES).await?;
    let path = std::str::from_utf8(&path).map_err(|_| Error::new(ErrorKind::BadRequest, "the body must be UTF-8"))?;
    documents::export(&rest.engine, &ctx, target.id, path.as_ref()).await?;
    Ok(Json(json!({})))
}

/// `GET /instances/{id}/file`: the stored bytes. `Accept: application/dicom+json` asks for DICOM JSON (PS3.18 F.2).
async fn get_file(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    params: Params,
    headers: HeaderMap,
) -> HttpResult<Response> {
    if params.has("transcode") {
        return Err(Error::new(ErrorKind::NotImplemented, "transcoding of files comes later").into());
    }
    match wanted(&headers)? {
        Wanted::Dicom => {}
        Wanted::Json => {
            let mut stored = read::dataset(&rest.engine, &ctx, target.id, Extent::WithoutPixels).await?;
            if let (Some((tag, vr)), false) = (stored.pixel, stored.transfer_syntax.is_encapsulated()) {
                stored.dataset.put(dataset::Element::bytes(tag, vr, bytes::Bytes::new()));
            }
            let body = web::json::pretty(&dicom_json(&stored.dataset, &Default::default()));
            return Ok(([(header::CONTENT_TYPE, "application/dicom+json")], body).into_response());
        }
    }
    Ok(instance(&rest, &ctx, target.id, (&params, &headers)).await?)
}

/// The DICOM file of an instance.
pub(crate) async fn instance(rest: &Rest, ctx: &Ctx, id: OrthancId, request: (&Params, &HeaderMap)) -> Result<Response, Error> {
    let found = read::locate(&rest.engine, ctx, Level::Instance, id, ContentType::DICOM).await?;
    match send(rest, &found, request).await {
        // It may have been overwritten, or compressed, between the two reads.
        Err(error) if error.kind() == ErrorKind::InexistentFile => {
            let found = read::locate(&rest.engine, ctx, Level::Instance, id, ContentType::DICOM).await?;
            send(rest, &found, request).await
        }
        other => other,
    }
}

async fn send(rest: &Rest, found: &Located, (params, headers): (&Params, &HeaderMap)) -> Result<Response, Error> {
    let attachment = &found.attachment;
    let etag = format!("\"{}\"", attachment.id);
    if range::not_modified(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let file = File {
        size_bytes: attachment.size_bytes,
        mime: "application/dicom".to_owned(),
        etag: Some(etag),
        filename: Some(params.get("filename").map_or_else(|| format!("{}.dcm", found.resource.id), str::to_owned)),
        range: range::requested(headers, attachment.size_bytes)?,
    };
    let bytes = read::stream(&rest.engine, attachment, file.wanted()).await?;
    Ok(file.respond(bytes))
}

enum Wanted {
    Dicom,
    Json,
}

/// What `Accept` asks for.
fn wanted(headers: &HeaderMap) -> Result<Wanted, Error> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
    for range in accept.split(',') {
        match range.split(';').next().unwrap_or_default().trim() {
            "application/dicom" | "application/*" | "*/*" | "" => return Ok(Wanted::Dicom),
            "application/dicom+json" => return Ok(Wanted::Json),
            "application/dicom+xml" => return Err(Error::new(ErrorKind::NotImplemented, "DICOM XML comes later")),
            _ => {}
        }
    }
    // Orthanc: what it does not know, it answers as the file.
    Ok(Wanted::Dicom)
}
