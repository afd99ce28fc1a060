//! `/peers`: other Orthancs, what they are and what is sent to them.

use crate::jobs::begin;
use crate::remotes::json_body;
use crate::send::{asked, bad};
use crate::state::Rest;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use engine::jobs::kinds::OrthancPeerStore;
use engine::{peers, remotes};
use http::header;
use model::{Error, ErrorKind};
use serde_json::{Value, json};
use std::sync::Arc;
use web::body::MaxBody;
use web::error::HttpResult;
use web::{Caller, Json, Params};

/// What can be asked of a peer (Orthanc: `GET /peers/{id}`).
const OPERATIONS: &[&str] = &["configuration", "store", "store-straight", "system"];

pub fn routes() -> Router<Arc<Rest>> {
    Router::new()
        .route("/peers", get(get_peers))
        .route("/peers/{id}", get(get_operations).put(put_peer).delete(delete_peer))
        .route("/peers/{id}/configuration", get(get_configuration))
        .route("/peers/{id}/system", get(get_system))
        .route("/peers/{id}/store", post(post_store))
        .route("/peers/{id}/store-straight", post(post_straight))
}

/// `GET /peers`: names, or definitions without secrets with `?expand`.
async fn get_peers(State(rest): State<Arc<Rest>>, params: Params) -> HttpResult<Json> {
    let all = remotes::peers(&rest.engine).await?;
    Ok(Json(if params.flag("expand")? {
        Value::Object(all.iter().map(|(name, peer)| (name.clone(), peer.public())).collect())
    } else {
        all.into_keys().map(Value::from).collect()
    }))
}

/// `GET /peers/{id}`: what can be asked of it.
async fn get_operations(State(rest): State<Arc<Rest>>, Path(id): Path<String>) -> HttpResult<Json> {
    remotes::peer(&rest.engine, &id).await?;
    Ok(Json(json!(OPERATIONS)))
}

/// `PUT /peers/{id}`: an array or an object.
async fn put_peer(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>, body: Body) -> HttpResult<String> {
    remotes::put_peer(&rest.engine, &ctx, &id, &json_body(body).await?).await?;
    Ok(String::new())
}

/// `DELETE /peers/{id}`.
async fn delete_peer(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>) -> HttpResult<String> {
    remotes::delete_peer(&rest.engine, &ctx, &id).await?;
    Ok(String::new())
}

/// `GET /peers/{id}/configuration`.
async fn get_configuration(State(rest): State<Arc<Rest>>, Path(id): Path<String>) -> HttpResult<Json> {
    Ok(Json(remotes::peer(&rest.engine, &id).await?.public()))
}

/// `GET /peers/{id}/system`: the peer's own answer.
async fn get_system(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>) -> HttpResult<Json> {
    Ok(Json(peers::system(&rest.engine, &ctx, &id).await?))
}

/// `POST /peers/{id}/store`: sends resources, as a job.
async fn post_store(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>, body: Body) -> HttpResult<Json> {
    let (ids, fields) = asked(body).await?;
    let (compress, permissive) = (fields.flag("Compress", false)?, fields.flag("Permissive", false)?);
    if let Some(uid) = fields.string("Transcode")? {
        if !rest.system.known_transfer_syntaxes.iter().any(|known| known == uid) {
            return Err(bad(format!("Unknown transfer syntax UID: {uid}")).into());
        }
        return Err(Error::new(ErrorKind::NotImplemented, "Transcode comes later").into());
    }
    let job = OrthancPeerStore::new(&rest.engine, &ctx, &id, &ids, compress, permissive).await?;
    begin(&rest, &ctx, &job, &fields).await
}

/// `POST /peers/{id}/store-straight`: the body is a DICOM file, which is not stored. Returns the peer's answer.
async fn post_straight(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    request: Request,
) -> HttpResult<Json> {
    let limit = request.extensions().get::<MaxBody>().map_or(0, |m| m.0);
    let size = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let body = web::body::stream(request.into_body(), limit);
    Ok(Json(peers::store_straight(&rest.engine, &ctx, &id, body, size).await?))
}
