//! `/{level}/{id}/attachments` (Orthanc book, "Attachments").

use crate::metadata::{IF_MATCH, IF_NONE_MATCH, UNCHANGED, check_match, etag, not_needed, revision};
use crate::routes::{Kind, Routes, about};
use crate::schema;
use crate::state::Rest;
use crate::target::Target;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use engine::{annotations, digests, find, read, zlib};
use http::{HeaderMap, HeaderValue, header};
use model::{Attachment, Compression, ContentType, Error, ErrorKind, Fields, Level, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use web::body::MaxBody;
use web::error::HttpResult;
use web::range::{self, File};
use web::{Caller, Json, Params};

pub fn routes() -> Routes {
    let all = about("The attachments of a resource.").query(&[("full", Kind::Flag, "Also their numbers")]).json();
    let properties =
        about("What can be asked of an attachment.").headers(&[IF_NONE_MATCH]).json().answers_nothing(304, UNCHANGED);
    let property = about("The size, the MD5 or all else that is known of an attachment.")
        .headers(&[IF_NONE_MATCH])
        .text()
        .answers(200, "application/json", "All of it (`info`)")
        .answers_nothing(304, UNCHANGED);
    let put = about("Stores an attachment.").headers(&[IF_MATCH]).body("application/octet-stream", schema::bytes()).json();
    let filename = ("filename", Kind::Text, "The name that a browser gives the file");
    let data = |summary| {
        ["application/octet-stream", "application/dicom", "application/json"]
            .into_iter()
            .fold(about(summary).query(&[filename]).file("application/octet-stream"), |about, mime| {
                about.answers(200, mime, "The bytes")
            })
    };
    Level::ALL.into_iter().fold(Routes::default(), |routes, level| {
        let path = format!("/{}/{{id}}/attachments", level.folder());
        let one = format!("{path}/{{name}}");
        routes
            .get(&path, get_all, all.clone())
            .get(&one, get_operations, properties.clone())
            .put(&one, put_one, put.clone())
            .delete(&one, delete_one, about("Removes an attachment.").headers(&[IF_MATCH]).text())
            .get(&format!("{one}/data"), get_data, data("The bytes of an attachment."))
            .get(&format!("{one}/compressed-data"), get_stored_data, data("The bytes of an attachment as they are stored."))
            .post(&format!("{one}/compress"), compress, about("Stores an attachment by zlib from now on.").json())
            .post(&format!("{one}/uncompress"), uncompress, about("Stores an attachment as it is from now on.").json())
            .post(&format!("{one}/verify-md5"), verify_md5, about("Compares an attachment with its MD5.").json())
            .get(&format!("{one}/{{property}}"), get_property, property.clone())
    })
}

type Names = Path<(String, String)>;

/// The content type of a name or number.
fn content_type(rest: &Rest, name: &str) -> Result<ContentType> {
    let builtin = [("dicom", 1), ("dicom-as-json", 2), ("dicom-until-pixel-data", 3)];
    let known = builtin.iter().find(|(n, _)| *n == name).map(|(_, k)| *k);
    let user = || rest.engine.config.user_content_types.get(name).map(|(k, _)| *k);
    known
        .or_else(user)
        .or_else(|| name.parse().ok())
        .map(ContentType)
        .ok_or_else(|| Error::new(ErrorKind::InexistentItem, format!("unknown attachment type: {name:?}")))
}

fn name(rest: &Rest, content: ContentType) -> String {
    let user = rest.engine.config.user_content_types.iter().find(|(_, (k, _))| *k == content.0);
    match (content.0, user) {
        (1, _) => "dicom".into(),
        (2, _) => "dicom-as-json".into(),
        (3, _) => "dicom-until-pixel-data".into(),
        (_, Some((name, _))) => name.clone(),
        (number, None) => number.to_string(),
    }
}

fn mime(rest: &Rest, content: ContentType) -> String {
    let user = rest.engine.config.user_content_types.values().find(|(k, _)| *k == content.0);
    match (content.0, user) {
        (1 | 3, _) => "application/dicom".into(),
        (2, _) => "application/json".into(),
        (_, Some((_, mime))) if !mime.is_empty() => mime.clone(),
        _ => "application/octet-stream".into(),
    }
}

/// `GET …/attachments`: names, or names to numbers with `?full`.
async fn get_all(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    let fields = Fields { attachments: true, ..Fields::NONE };
    let found = find::one(&rest.engine, &ctx, target.level, target.id, fields, vec![]).await?;
    let mut all: Vec<ContentType> = found.resource.attachments.iter().map(|a| a.content_type).collect();
    all.sort();
    Ok(Json(if params.flag("full")? {
        Value::Object(all.into_iter().map(|c| (name(&rest, c), json!(c.0))).collect())
    } else {
        all.into_iter().map(|c| name(&rest, c)).collect()
    }))
}

/// Everything about an attachment. MD5s that are not known are empty.
pub fn info(a: &Attachment) -> Value {
    json!({
        "CompressedMD5": a.stored_md5.as_deref().unwrap_or_default(),
        "CompressedSize": a.stored_size_bytes,
        "ContentType": a.content_type.0,
        "UncompressedMD5": a.md5.as_deref().unwrap_or_default(),
        "UncompressedSize": a.size_bytes,
        "Uuid": a.id.to_string(),
    })
}

async fn located(rest: &Rest, ctx: &engine::Ctx, target: Target, name: &str) -> Result<Attachment> {
    let content = content_type(rest, name)?;
    let found = read::locate(&rest.engine, ctx, target.level, target.id, content).await;
    found.map(|l| l.attachment).map_err(|e| match e.kind() {
        // Orthanc: a missing attachment is an unknown resource.
        ErrorKind::InexistentItem => Error::new(ErrorKind::UnknownResource, format!("the resource has no attachment {name:?}")),
        _ => e,
    })
}

/// The revision and the MD5 of the content, if it can be read, as Orthanc's ETag.
fn tag(a: &Attachment) -> HeaderValue {
    etag(a.revision, a.md5.as_deref().unwrap_or_default())
}

/// An attachment with what its [`tag`] needs.
async fn tagged(rest: &Rest, ctx: &engine::Ctx, target: Target, name: &str) -> Result<Attachment> {
    let found = located(rest, ctx, target, name).await?;
    match found.md5 {
        Some(_) => Ok(found),
        None => digests::with_md5s_if_readable(&rest.engine, ctx, (target.level, target.id), found).await,
    }
}

/// `GET …/attachments/{name}`: what can be asked of it.
async fn get_operations(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
    headers: HeaderMap,
) -> HttpResult<Response> {
    let attachment = tagged(&rest, &ctx, target, &name).await?;
    let tag = tag(&attachment);
    if let Some(answer) = not_needed(&headers, &tag) {
        return Ok(answer);
    }
    let mut operations = vec!["compress", "compressed-data"];
    let has_md5 = attachment.md5.as_deref() != Some("");
    if has_md5 {
        operations.push("compressed-md5");
    }
    operations.extend(["compressed-size", "data", "info", "is-compressed"]);
    if has_md5 {
        operations.push("md5");
    }
    operations.extend(["size", "uncompress"]);
    if has_md5 {
        operations.push("verify-md5");
    }
    Ok(([(header::ETAG, tag)], Json(json!(operations))).into_response())
}

/// `GET …/{name}/{property}`: one property as text, or all of them as JSON (`info`).
async fn get_property(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name, property)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> HttpResult<Response> {
    let a = tagged(&rest, &ctx, target, &name).await?;
    let tag = tag(&a);
    if let Some(answer) = not_needed(&headers, &tag) {
        return Ok(answer);
    }
    let text = match property.as_str() {
        "size" => a.size_bytes.to_string(),
        "compressed-size" => a.stored_size_bytes.to_string(),
        "md5" | "compressed-md5" => {
            let a = digests::with_md5s(&rest.engine, &ctx, (target.level, target.id), a).await?;
            let md5 = if property == "md5" { a.md5 } else { a.stored_md5 };
            md5.filter(|md5| !md5.is_empty()).ok_or(ErrorKind::UnknownResource)?
        }
        "is-compressed" => u8::from(a.compression != Compression::None).to_string(),
        "info" => {
            let a = digests::with_md5s_if_readable(&rest.engine, &ctx, (target.level, target.id), a).await?;
            return Ok(([(header::ETAG, tag)], Json(info(&a))).into_response());
        }
        _ => return Err(Error::from(ErrorKind::UnknownResource).into()),
    };
    Ok(([(header::ETAG, tag)], [(header::CONTENT_TYPE, "text/plain")], text).into_response())
}

/// Which bytes of an attachment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Those that were sent.
    Plain,
    /// Those in the storage area.
    Stored,
}

/// `GET …/{name}/data`: the bytes, also in part.
async fn get_data(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
    params: Params,
    headers: HeaderMap,
) -> HttpResult<Response> {
    send(&rest, &ctx, target, &name, (&params, &headers), Form::Plain).await
}

/// `GET …/{name}/compressed-data`: the bytes as they are stored, also in part.
async fn get_stored_data(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
    params: Params,
    headers: HeaderMap,
) -> HttpResult<Response> {
    send(&rest, &ctx, target, &name, (&params, &headers), Form::Stored).await
}

async fn send(
    rest: &Rest,
    ctx: &engine::Ctx,
    target: Target,
    name: &str,
    asked: (&Params, &HeaderMap),
    form: Form,
) -> HttpResult<Response> {
    let found = tagged(rest, ctx, target, name).await?;
    match send_found(rest, &found, asked, form).await {
        // It may have been replaced, or compressed, between the two reads.
        Err(error) if error.kind() == ErrorKind::InexistentFile => {
            Ok(send_found(rest, &tagged(rest, ctx, target, name).await?, asked, form).await?)
        }
        other => Ok(other?),
    }
}

async fn send_found(
    rest: &Rest,
    attachment: &Attachment,
    (params, headers): (&Params, &HeaderMap),
    form: Form,
) -> Result<Response> {
    let tag = tag(attachment);
    if let Some(answer) = not_needed(headers, &tag) {
        return Ok(answer);
    }
    let packed = form == Form::Stored && attachment.compression != Compression::None;
    let size_bytes = if packed { attachment.stored_size_bytes } else { attachment.size_bytes };
    let range = range::requested(headers, size_bytes)?;
    let file = File {
        size_bytes,
        // Orthanc: a part of a file is no such file.
        mime: match range {
            None if !packed => mime(rest, attachment.content_type),
            _ => "application/octet-stream".to_owned(),
        },
        etag: tag.to_str().ok().map(str::to_owned),
        filename: Some(params.get("filename").map_or_else(|| attachment.id.to_string(), str::to_owned)),
        range,
    };
    let bytes = match form {
        Form::Plain => read::stream(&rest.engine, attachment, file.wanted()).await?,
        Form::Stored => read::stored(&rest.engine, attachment, file.wanted()).await?,
    };
    Ok(file.respond(bytes))
}

/// `POST …/{name}/compress`: stores it by zlib from now on.
async fn compress(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
) -> HttpResult<Json> {
    store_as(&rest, &ctx, target, &name, Compression::Zlib).await
}

/// `POST …/{name}/uncompress`: stores it as it is from now on.
async fn uncompress(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
) -> HttpResult<Json> {
    store_as(&rest, &ctx, target, &name, Compression::None).await
}

async fn store_as(rest: &Rest, ctx: &engine::Ctx, target: Target, name: &str, compression: Compression) -> HttpResult<Json> {
    let content = located(rest, ctx, target, name).await?.content_type;
    zlib::store_as(&rest.engine, ctx, (target.level, target.id), content, compression).await?;
    Ok(Json(json!({})))
}

/// `POST …/{name}/verify-md5`: reads the file again and compares.
async fn verify_md5(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
) -> HttpResult<Json> {
    let attachment = located(&rest, &ctx, target, &name).await?;
    digests::verify(&rest.engine, &attachment).await?;
    Ok(Json(json!({})))
}

/// The ETag that a user attachment has now, if it is there and revisions count.
async fn current(rest: &Rest, ctx: &engine::Ctx, target: Target, content: ContentType) -> Result<Option<HeaderValue>> {
    if !(rest.engine.config.check_revisions && content.is_user()) {
        return Ok(None);
    }
    match read::locate(&rest.engine, ctx, target.level, target.id, content).await {
        Ok(found) => Ok(Some(tag(&found.attachment))),
        Err(error) if error.kind() == ErrorKind::InexistentItem => Ok(None),
        Err(error) => Err(error),
    }
}

/// `PUT …/attachments/{name}`: stores a user attachment.
async fn put_one(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
    request: Request,
) -> HttpResult<Response> {
    let content = content_type(&rest, &name)?;
    let if_match = revision(request.headers(), header::IF_MATCH)?;
    check_match(request.headers(), current(&rest, &ctx, target, content).await?)?;
    let limit = request.extensions().get::<MaxBody>().map_or(0, |m| m.0);
    let body = web::body::stream(request.into_body(), limit);
    let new = annotations::set_attachment(&rest.engine, &ctx, (target.level, target.id), content, body, if_match).await?;
    let set = located(&rest, &ctx, target, &name).await?;
    let tag = if set.revision == new { tag(&set) } else { etag(new, "") };
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::ETAG, tag), (header::CONTENT_TYPE, json)], "{}").into_response())
}

/// `DELETE …/attachments/{name}`.
async fn delete_one(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, name)): Names,
    headers: HeaderMap,
) -> HttpResult<String> {
    let content = content_type(&rest, &name)?;
    let if_match = revision(&headers, header::IF_MATCH)?;
    check_match(&headers, current(&rest, &ctx, target, content).await?)?;
    annotations::delete_attachment(&rest.engine, &ctx, (target.level, target.id), content, if_match).await?;
    Ok(String::new())
}
