//! `/{level}/{id}/metadata` (Orthanc book, "Metadata").

use crate::routes::{Kind, Routes, about};
use crate::schema;
use crate::state::Rest;
use crate::target::Target;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use engine::{annotations, find};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{Error, ErrorKind, Fields, Level, MetadataValue, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, HttpError, Json, Params};

pub fn routes() -> Routes {
    let all = about("The metadata of a resource.")
        .query(&[("expand", Kind::Flag, "Also their values"), ("numeric", Kind::Flag, "Numbers instead of names")])
        .json();
    let value = about("The value of a metadata.").headers(&[IF_NONE_MATCH]).text().answers_nothing(304, UNCHANGED);
    let value = value.answers_nothing(404, "It is not set");
    let put = about("Sets a metadata.").headers(&[IF_MATCH]).text_body(schema::text()).text();
    Level::ALL.into_iter().fold(Routes::default(), |routes, level| {
        let path = format!("/{}/{{id}}/metadata", level.folder());
        let one = format!("{path}/{{name}}");
        routes.get(&path, get_all, all.clone()).get(&one, get_one, value.clone()).put(&one, put_one, put.clone()).delete(
            &one,
            delete_one,
            about("Removes a metadata.").headers(&[IF_MATCH]).text(),
        )
    })
}

pub const IF_MATCH: (&str, &str) = ("If-Match", "The version that is replaced or removed, as `ETag` named it (`CheckRevisions`)");
pub const IF_NONE_MATCH: (&str, &str) = ("If-None-Match", "The version that the caller has, as `ETag` named it");
pub const UNCHANGED: &str = "The version that the caller has is the current one";

const METADATA: Fields = Fields { metadata: true, ..Fields::NONE };

/// `GET …/metadata`: names, or names and values with `?expand`; numbers instead of names with `?numeric`.
async fn get_all(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    let found = find::one(&rest.engine, &ctx, target.level, target.id, METADATA, vec![]).await?;
    let all = &found.resource.metadata;
    let expand = params.flag("expand")?;
    if params.flag("numeric")? {
        let full = || Value::Object(all.iter().map(|(k, v)| (k.0.to_string(), json!(v.value))).collect());
        return Ok(Json(if expand { full() } else { all.keys().map(|k| json!(k.0)).collect() }));
    }
    let named = crate::view::metadata(&rest, &found.resource);
    Ok(Json(match (expand, named) {
        (false, Value::Object(named)) => named.into_iter().map(|(name, _)| Value::from(name)).collect(),
        (_, named) => named,
    }))
}

/// The revision and the MD5 of the content as Orthanc's ETag.
pub fn etag(revision: i64, md5: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}-{md5}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The ETag of a metadata.
fn value_etag(value: &MetadataValue) -> HeaderValue {
    use md5::{Digest, Md5};
    let md5: String = Md5::digest(value.value.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    etag(value.revision, &md5)
}

/// The revision that `If-Match` (or, for a read, `If-None-Match`) names.
///
/// # Errors
/// `OutOfRange` if it has not the form of an ETag of ours.
pub fn revision(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<i64>> {
    let Some(text) = headers.get(&name).and_then(|v| v.to_str().ok()) else { return Ok(None) };
    let bad = || Error::new(ErrorKind::OutOfRange, format!("the header {name} must hold an ETag, not {text:?}"));
    let (revision, _) = text.trim().trim_matches('"').split_once('-').ok_or_else(bad)?;
    revision.parse().map(Some).map_err(|_| bad())
}

/// The answer to a reader that has the version `tag` already (304), or whose `If-None-Match` names none (400). Orthanc tells
/// the version with both.
pub fn not_needed(headers: &HeaderMap, tag: &HeaderValue) -> Option<Response> {
    let answer = match revision(headers, header::IF_NONE_MATCH) {
        Err(error) => HttpError(error).into_response(),
        Ok(_) if headers.get(header::IF_NONE_MATCH) == Some(tag) => StatusCode::NOT_MODIFIED.into_response(),
        Ok(_) => return None,
    };
    Some(([(header::ETAG, tag.clone())], answer).into_response())
}

/// Refuses an `If-Match` whose revision is right but whose MD5 is another's.
///
/// # Errors
/// `Revision`.
pub fn check_match(headers: &HeaderMap, current: Option<HeaderValue>) -> Result<()> {
    let Some(given) = headers.get(header::IF_MATCH).and_then(|v| v.to_str().ok()) else { return Ok(()) };
    match current.as_ref().and_then(|c| c.to_str().ok()) {
        Some(current) if given.trim().trim_matches('"') != current.trim_matches('"') => {
            Err(Error::new(ErrorKind::Revision, format!("the current version is {current}")))
        }
        _ => Ok(()),
    }
}

/// The ETag that a metadata has now, if it is set and revisions count.
async fn current(rest: &Rest, ctx: &engine::Ctx, target: Target, kind: model::MetadataKind) -> Result<Option<HeaderValue>> {
    if !rest.engine.config.check_revisions {
        return Ok(None);
    }
    let found = find::one(&rest.engine, ctx, target.level, target.id, METADATA, vec![]).await?;
    Ok(found.resource.metadata.get(&kind).map(value_etag))
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
    // Orthanc: a known metadata that is not set answers 404 without a body.
    let Some(value) = found.resource.metadata.get(&kind) else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let tag = value_etag(value);
    if let Some(answer) = not_needed(&headers, &tag) {
        return Ok(answer);
    }
    let body = value.value.clone();
    Ok(([(header::ETAG, tag)], [(header::CONTENT_TYPE, "text/plain")], body).into_response())
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
    if kind.is_user() {
        check_match(&headers, current(&rest, &ctx, target, kind).await?)?;
    }
    let new = annotations::set_metadata(&rest.engine, &ctx, (target.level, target.id), kind, &value, if_match).await?;
    Ok(([(header::ETAG, value_etag(&MetadataValue { value, revision: new }))], "").into_response())
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
    if kind.is_user() {
        check_match(&headers, current(&rest, &ctx, target, kind).await?)?;
    }
    let deleted = annotations::delete_metadata(&rest.engine, &ctx, (target.level, target.id), kind, if_match).await;
    deleted.map_err(|e| match e.kind() {
        // Orthanc: a metadata that is not set is an unknown resource.
        ErrorKind::InexistentItem => Error::new(ErrorKind::UnknownResource, format!("the resource has no metadata {name:?}")),
        _ => e,
    })?;
    Ok(StatusCode::OK)
}
