//! `/peers`: other Orthancs, what they are and what is sent to them.

use crate::creation;
use crate::jobs::begin;
use crate::remotes::{EXPAND, json_body};
use crate::routes::{Routes, about};
use crate::schema;
use crate::send::{asked, bad};
use crate::state::Rest;
use axum::body::Body;
use axum::extract::{Path, Request, State};
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

pub fn routes() -> Routes {
    let headers = schema::any_of(&[schema::map(schema::text()), schema::list(schema::text())]);
    let peer = schema::object(
        &["Url"],
        vec![
            ("CertificateFile", schema::text()),
            ("CertificateKeyFile", schema::text()),
            ("CertificateKeyPassword", schema::text()),
            ("HttpHeaders", headers),
            ("Password", schema::text()),
            ("Pkcs11", schema::flag()),
            ("Timeout", schema::count()),
            ("Url", schema::text()),
            ("Username", schema::text()),
        ],
    );
    let mut send = vec![
        ("Compress", schema::flag()),
        ("Permissive", schema::flag()),
        ("Resources", schema::list(schema::text())),
        ("Transcode", schema::text()),
    ];
    send.extend(creation::members());
    let send = schema::any_of(&[schema::object(&["Resources"], send), schema::list(schema::text()), schema::text()]);
    let straight = about("Sends a DICOM file, which is not stored, to a peer.").body("application/dicom", schema::bytes());
    Routes::default()
        .get("/peers", get_peers, about("The peers.").query(&[EXPAND]).json())
        .get("/peers/{id}", get_operations, about("What can be asked of a peer.").json())
        .put(
            "/peers/{id}",
            put_peer,
            about("Sets a peer.").json_body(schema::any_of(&[peer, schema::list(schema::text())])).text(),
        )
        .delete("/peers/{id}", delete_peer, about("Forgets a peer.").text())
        .get("/peers/{id}/configuration", get_configuration, about("A peer, without its secrets.").json())
        .get("/peers/{id}/system", get_system, about("What a peer says of itself.").json().calls_another_server())
        .post("/peers/{id}/store", post_store, about("Sends resources to a peer.").json_body(send).json().calls_another_server())
        .post("/peers/{id}/store-straight", post_straight, straight.json().calls_another_server())
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
