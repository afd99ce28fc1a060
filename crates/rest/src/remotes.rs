//! `/modalities`, `/tools/dicom-echo`: the other DICOM nodes.

use crate::state::Rest;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use engine::scu::{self, EchoOptions};
use engine::{Modality, modality, remotes};
use model::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json, Params};

/// What can be asked of a DICOM node (Orthanc: `GET /modalities/{id}`).
const OPERATIONS: &[&str] = &[
    "configuration",
    "echo",
    "find",
    "find-instance",
    "find-patient",
    "find-series",
    "find-study",
    "find-worklist",
    "get",
    "move",
    "query",
    "storage-commitment",
    "store",
    "store-straight",
];

pub fn routes() -> Router<Arc<Rest>> {
    Router::new()
        .route("/modalities", get(get_modalities))
        .route("/modalities/{id}", get(get_operations).put(put_modality).delete(delete_modality))
        .route("/modalities/{id}/configuration", get(get_configuration))
        .route("/modalities/{id}/echo", post(post_echo))
        .route("/tools/dicom-echo", post(post_tools_echo))
}

/// The body as JSON.
pub(crate) async fn json_body(body: Body) -> Result<Value> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::new(ErrorKind::BadDicom, format!("Cannot parse the JSON body: {e}")).caused_by(e))
}

/// `GET /modalities`: names, or definitions with `?expand`.
async fn get_modalities(State(rest): State<Arc<Rest>>, params: Params) -> HttpResult<Json> {
    let all = remotes::modalities(&rest.engine).await?;
    Ok(Json(if params.flag("expand")? {
        Value::Object(all.iter().map(|(name, m)| (name.clone(), m.to_json())).collect())
    } else {
        all.into_keys().map(Value::from).collect()
    }))
}

/// `GET /modalities/{id}`: what can be asked of it.
async fn get_operations(State(rest): State<Arc<Rest>>, Path(id): Path<String>) -> HttpResult<Json> {
    remotes::modality(&rest.engine, &id).await?;
    Ok(Json(json!(OPERATIONS)))
}

/// `PUT /modalities/{id}`: an array or an object.
async fn put_modality(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    body: Body,
) -> HttpResult<String> {
    remotes::put_modality(&rest.engine, &ctx, &id, &json_body(body).await?).await?;
    Ok(String::new())
}

/// `DELETE /modalities/{id}`.
async fn delete_modality(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>) -> HttpResult<String> {
    remotes::delete_modality(&rest.engine, &ctx, &id).await?;
    Ok(String::new())
}

/// `GET /modalities/{id}/configuration`.
async fn get_configuration(State(rest): State<Arc<Rest>>, Path(id): Path<String>) -> HttpResult<Json> {
    Ok(Json(remotes::modality(&rest.engine, &id).await?.to_json()))
}

/// `POST /modalities/{id}/echo`, with or without a body.
async fn post_echo(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>, body: Body) -> HttpResult<Json> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    let options = if bytes.is_empty() { Value::Null } else { json_body(Body::from(bytes)).await? };
    let options = echo_options(&options)?;
    let remote = remotes::modality(&rest.engine, &id).await?;
    scu::echo(&rest.engine, &ctx, &remote, options).await?;
    Ok(Json(json!({})))
}

/// `POST /tools/dicom-echo`: to a node that the body describes.
async fn post_tools_echo(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<Json> {
    let body = json_body(body).await?;
    let (remote, options) = (Modality::parse(&body)?, echo_options(&body)?);
    scu::echo(&rest.engine, &ctx, &remote, options).await?;
    Ok(Json(json!({})))
}

/// `CheckFind` and `Timeout`. Orthanc: a body that is no object says nothing.
fn echo_options(body: &Value) -> Result<EchoOptions> {
    let nothing = Map::new();
    let members = body.as_object().unwrap_or(&nothing);
    let bad = || Error::new(ErrorKind::BadDicom, "Boolean value expected in field: CheckFind");
    let check_find = members.get("CheckFind").map(|value| value.as_bool().ok_or_else(bad)).transpose()?;
    Ok(EchoOptions { check_find, timeout: modality::seconds(members, "Timeout")? })
}
