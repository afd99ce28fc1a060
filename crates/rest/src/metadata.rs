//! `/{level}/{id}/metadata` (Orthanc book, "Metadata").

use crate::state::Rest;
use crate::target::Target;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use engine::{annotations, find};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{Error, ErrorKind, Fields, Level, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json, Params};

pub fn routes() -> Router<Arc<Rest>> {
    Level::ALL.into_iter().fold(Router::new(), |router, level| {
        let folder = level.folder();
        router
            .route(&format!("/{folder}/{{id}}/metadata"), get(get_all))
            .route(&format!("/{folder}/{{id}}/metadata/{{name}}"), get(get_one).put(put_one).delete(delete_one))
    })
}

const METADATA: Fields = Fields { metadata: true, ..Fields::NONE };

/// `GET …/metadata`: names, or names and values with `?expand`; numbers instead of names with `?numeric`.
async fn get_all(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    let found = find::one(&rest.engine, &ctx, target.level, target.id, METADATA, vec![]).await?;
    let all = &found.resource.metadata;
    let expand = params.flag("expand")?;
    if params.flag("numeric")? {
        let names = &rest.engine.config.metadata_names;
        let full = || all.iter().map(|(k, v)| json!({ "Key": k.0, "Name": names.name(*k), "Value": v.value })).collect();
        return Ok(Json(if expand { full() } else { all.keys().map(|k| json!(k.0)).collect() }));
    }
    let named = crate::view::metadata(&rest, &found.resource);
    Ok(Json(match (expand, named) {
        (false, Value::Object(named)) => named.into_iter().map(|(name, _)| Value::from(name)).collect(),
        (_, named) => named,
    }))
}

/// The revision as Orthanc's ETag.
pub fn etag(revision: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The revision that `If-Match` (or, for a read, `If-None-Match`) names.
///
/// # Errors
/// `BadRequest` if it is no number.
pub fn revision(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<i64>> {
    let Some(text) = headers.get(&name).and_then(|v| v.to_str().ok()) else { return Ok(None) };
    let bad = || Error::new(ErrorKind::BadRequest, format!("the header {name} must hold a revision, not {text:?}"));
    text.trim().trim_matches('"').parse().map(Some).map_err(|_| bad())
}

/// `GET …/metadata/{name}`: the value as text, its revision as `ETag`.
async fn get_one(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> HttpResult<Response> {
    let kind = rest.engine.config.metadata_names.parse(&name)?;
    let found = find::one(&rest.engine, &ctx, target.level, target.id, METADATA, vec![]).await?;
    let missing = || Error::new(ErrorKind::UnknownResource, format!("the resource has no metadata {name:?}"));
    let value = found.resource.metadata.get(&kind).ok_or_else(missing)?;
    let tag = [(header::ETAG, etag(value.revision))];
    if rest.engine.config.check_revisions && revision(&headers, header::IF_NONE_MATCH)? == Some(value.revision) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let body = value.value.clone();
    Ok((tag, [(header::CONTENT_TYPE, "text/plain")], body).into_response())
}

/// `PUT …/metadata/{name}`: sets a user metadata to the text of the body.
async fn put_one(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> HttpResult<Response> {
    let kind = rest.engine.config.metadata_names.parse(&name)?;
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    let value = String::from_utf8(bytes.to_vec()).map_err(|_| Error::new(ErrorKind::BadRequest, "metadata must be UTF-8"))?;
    let if_match = revision(&headers, header::IF_MATCH)?;
    let new = annotations::set_metadata(&rest.engine, &ctx, (target.level, target.id), kind, &value, if_match).await?;
    Ok(([(header::ETAG, etag(new))], "").into_response())
}

/// `DELETE …/metadata/{name}`.
async fn delete_one(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> HttpResult<StatusCode> {
    let kind = rest.engine.config.metadata_names.parse(&name)?;
    let if_match = revision(&headers, header::IF_MATCH)?;
    annotations::delete_metadata(&rest.engine, &ctx, (target.level, target.id), kind, if_match).await?;
    Ok(StatusCode::OK)
}
