//! `/modalities`, `/tools/dicom-echo`: the other DICOM nodes.

use crate::routes::{Kind, Parameter, Routes, about};
use crate::schema;
use crate::state::Rest;
use axum::body::Body;
use axum::extract::{Path, State};
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

pub fn routes() -> Routes {
    let echo = vec![("CheckFind", schema::flag()), ("Timeout", schema::count())];
    let mut node = definition();
    node.extend(echo.clone());
    let check = about("Asks a DICOM node whether it is there (C-ECHO).").body("application/json", schema::object(&[], echo));
    let check_other = about("Asks a DICOM node that the body describes whether it is there (C-ECHO).");
    let put = about("Sets a DICOM node.").json_body(schema::any_of(&[
        schema::object(&["AET", "Host", "Port"], definition()),
        schema::list(schema::any_of(&[schema::text(), schema::count()])),
    ]));
    Routes::default()
        .get("/modalities", get_modalities, about("The DICOM nodes.").query(&[EXPAND]).json())
        .get("/modalities/{id}", get_operations, about("What can be asked of a DICOM node.").json())
        .put("/modalities/{id}", put_modality, put.text())
        .delete("/modalities/{id}", delete_modality, about("Forgets a DICOM node.").text())
        .get("/modalities/{id}/configuration", get_configuration, about("A DICOM node.").json())
        .post("/modalities/{id}/echo", post_echo, check.json().calls_another_server())
        .post(
            "/tools/dicom-echo",
            post_tools_echo,
            check_other.json_body(schema::object(&["AET", "Host", "Port"], node)).json().calls_another_server(),
        )
}

pub(crate) const EXPAND: Parameter = ("expand", Kind::Flag, "Also what they are");

/// What [`Modality::parse`] reads.
fn definition() -> Vec<(&'static str, Value)> {
    let mut members = vec![
        ("AET", schema::text()),
        ("Host", schema::text()),
        ("LocalAet", schema::text()),
        ("Manufacturer", schema::text()),
        ("Port", json!({ "type": "integer", "minimum": 1, "maximum": 65535 })),
        ("RetrieveMethod", schema::one_of(&["C-MOVE", "C-GET", "SystemDefault"])),
        ("Timeout", schema::count()),
        ("UseDicomTls", schema::flag()),
    ];
    let allow = [
        "AllowEcho",
        "AllowEventReport",
        "AllowFind",
        "AllowFindWorklist",
        "AllowGet",
        "AllowMove",
        "AllowNAction",
        "AllowStore",
        "AllowTranscoding",
    ];
    members.extend(allow.map(|name| (name, schema::flag())));
    members
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
