//! `POST /modalities/{id}/store`: sends resources to a DICOM node, as a job (Orthanc book, "Sending resources").
//! `POST /modalities/{id}/store-straight`: sends the body, which is not stored.

use crate::creation::{self, Fields};
use crate::jobs::begin;
use crate::routes::{Routes, about};
use crate::schema;
use crate::state::Rest;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use engine::jobs::kinds::DicomModalityStore;
use engine::send::SendOptions;
use engine::{remotes, straight};
use model::{Error, ErrorKind, OrthancId, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use web::body::MaxBody;
use web::error::HttpResult;
use web::{Caller, Json};

pub fn routes() -> Routes {
    let mut members = vec![
        ("Resources", schema::list(schema::text())),
        ("CalledAet", schema::text()),
        ("Host", schema::text()),
        ("LocalAet", schema::text()),
        ("MoveOriginatorAet", schema::text()),
        ("MoveOriginatorID", schema::count()),
        ("Permissive", schema::flag()),
        ("Port", schema::count()),
        ("StorageCommitment", schema::flag()),
        ("Timeout", schema::count()),
    ];
    members.extend(creation::members());
    let body = schema::any_of(&[schema::object(&["Resources"], members), schema::list(schema::text()), schema::text()]);
    let store = about("Sends resources to a DICOM node.").json_body(body).json().calls_another_server();
    let straight =
        about("Sends a DICOM file, which is not stored, to a DICOM node.").body("application/dicom", schema::bytes()).json();
    Routes::default().post("/modalities/{id}/store", post_store, store).post(
        "/modalities/{id}/store-straight",
        post_straight,
        straight.calls_another_server(),
    )
}

pub(crate) fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadDicom, message)
}

fn id(text: &str) -> Result<OrthancId> {
    text.parse().map_err(|_| bad(format!("This string is not a valid Orthanc identifier: {text}")))
}

/// The ids in the body, and its other members: an object with `Resources`, an array, or one bare id.
pub(crate) async fn asked(body: Body) -> Result<(Vec<OrthancId>, Fields)> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    if let Some(id) = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok()) {
        return Ok((vec![id], Fields(Map::new())));
    }
    let ids = |value: &Value| {
        let texts = creation::strings(value).ok_or_else(|| bad("JSON field \"Resources\" must contain an array"))?;
        texts.into_iter().map(id).collect::<Result<Vec<OrthancId>>>()
    };
    match serde_json::from_slice(&bytes).map_err(|_| bad("Must provide a JSON value"))? {
        Value::Object(members) => {
            let resources = members.get("Resources").ok_or_else(|| bad("Missing field in JSON: \"Resources\""))?;
            Ok((ids(resources)?, Fields(members)))
        }
        Value::String(text) => Ok((vec![id(&text)?], Fields(Map::new()))),
        other => Ok((ids(&other)?, Fields(Map::new()))),
    }
}

fn options(fields: &Fields) -> Result<SendOptions> {
    if fields.flag("StorageCommitment", false)? {
        return Err(Error::new(ErrorKind::NotImplemented, "StorageCommitment comes later"));
    }
    let text = |key| Ok::<_, Error>(fields.string(key)?.map(str::to_owned));
    let originator = text("MoveOriginatorAet")?;
    let id = fields.integer::<u16>("MoveOriginatorID")?;
    Ok(SendOptions {
        local_aet: text("LocalAet")?,
        called_aet: text("CalledAet")?,
        host: text("Host")?,
        port: fields.integer("Port")?,
        timeout: fields.integer::<u32>("Timeout")?.map(|s| Duration::from_secs(s.into())),
        move_originator: originator.zip(Some(id.unwrap_or(0))),
    })
}

async fn post_store(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(modality): Path<String>,
    body: Body,
) -> HttpResult<Json> {
    let (ids, fields) = asked(body).await?;
    let (options, permissive) = (options(&fields)?, fields.flag("Permissive", false)?);
    let job = DicomModalityStore::new(&rest.engine, &ctx, &modality, &ids, options, permissive).await?;
    begin(&rest, &ctx, &job, &fields).await
}

/// `POST /modalities/{id}/store-straight`: the body is a DICOM file.
async fn post_straight(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(modality): Path<String>,
    request: Request,
) -> HttpResult<Json> {
    let limit = request.extensions().get::<MaxBody>().map_or(0, |m| m.0);
    let remote = remotes::modality(&rest.engine, &modality).await?;
    let sent = straight::store(&rest.engine, &ctx, &remote, web::body::stream(request.into_body(), limit)).await?;
    Ok(Json(json!({ "SOPClassUID": sent.sop_class, "SOPInstanceUID": sent.sop_instance })))
}
