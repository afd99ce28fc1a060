//! The data set of an instance: all tags, single values, the file meta information.

use crate::fields;
use crate::routes::{Kind, Parameter, Routes, about};
use crate::state::Rest;
use crate::target::Target;
use crate::view::format;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dataset::json::{Format, JsonOptions, orthanc};
use dataset::{DataSet, Element, Value};
use engine::read::{self, Extent};
use http::header;
use model::{Error, ErrorKind, Result};
use serde_json::json;
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json, Params};

/// Longer text values are `TooLong` unless `?ignore-length` names their tag (Orthanc: `/tags`).
const MAX_VALUE_BYTES: usize = 256;

pub fn routes() -> Routes {
    let whole = ("whole", Kind::Flag, "Also what follows the pixel data");
    let tags = about("The tags of an instance, by number.").query(&FORMAT).query(&[IGNORE_LENGTH, whole]).json();
    let simplified = about("The tags of an instance, by name.").query(&[IGNORE_LENGTH, whole]).json();
    let header = about("The file meta information of an instance (PS3.10 7.1).").query(&FORMAT).json();
    let value = about("The value of a tag, the items of a sequence, or the tags of an item.").json().answers(
        200,
        "application/octet-stream",
        "A value",
    );
    Routes::default()
        .get("/instances/{id}/tags", get_tags, tags)
        .get("/instances/{id}/simplified-tags", get_simplified_tags, simplified)
        .get("/instances/{id}/header", get_header, header)
        .get("/instances/{id}/content", get_content_root, about("The numbers of the tags of an instance.").json())
        .get("/instances/{id}/content/{*path}", get_content, value)
}

/// Arguments that [`wanted`] reads.
pub(crate) const FORMAT: [Parameter; 2] =
    [("simplify", Kind::Presence, "Tags by name, values only"), ("short", Kind::Presence, "Tags by number, values only")];
/// The argument that [`options`] reads.
pub(crate) const IGNORE_LENGTH: Parameter = ("ignore-length", Kind::Text, "Tags whose values are shown at any length: `A,B`");

pub(crate) fn options(rest: &Rest, params: &Params) -> Result<JsonOptions> {
    let names = params.get("ignore-length").unwrap_or_default();
    let ignore_length = names.split([',', ';']).filter(|n| !n.is_empty()).map(|n| fields::tag(rest, n)).collect::<Result<_>>()?;
    Ok(JsonOptions { max_string_length: MAX_VALUE_BYTES, ignore_length, ..JsonOptions::default() })
}

/// `?simplify` or `?short`, else everything about each tag.
pub(crate) fn wanted(params: &Params) -> Format {
    match format(params) {
        _ if params.has("simplify") => Format::Simplified,
        Format::Short => Format::Short,
        _ => Format::Full,
    }
}

/// `GET /instances/{id}/tags`: by number, or by name with `?simplify`, or values only with `?short`.
async fn get_tags(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    let wanted = wanted(&params);
    all_tags(&rest, &ctx, target, &params, wanted).await
}

/// `GET /instances/{id}/simplified-tags`.
async fn get_simplified_tags(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    params: Params,
) -> HttpResult<Json> {
    all_tags(&rest, &ctx, target, &params, Format::Simplified).await
}

async fn all_tags(rest: &Rest, ctx: &engine::Ctx, target: Target, params: &Params, wanted: Format) -> HttpResult<Json> {
    let options = options(rest, params)?;
    // Orthanc: what follows the pixel data shows with `?whole` only.
    let extent = if params.flag("whole")? { Extent::WithoutPixels } else { Extent::Header };
    let stored = read::dataset(&rest.engine, ctx, target.id, extent).await?.with_empty_pixels();
    Ok(Json(orthanc(&stored.dataset, wanted, &options, &rest.engine.config.dictionary)))
}

/// `GET /instances/{id}/header`: the file meta information (PS3.10 7.1).
async fn get_header(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    let wanted = wanted(&params);
    let stored = read::dataset(&rest.engine, &ctx, target.id, Extent::Header).await?;
    let options = JsonOptions { skip_binary: true, ..JsonOptions::default() };
    Ok(Json(orthanc(&stored.meta, wanted, &options, &rest.engine.config.dictionary)))
}

/// `GET /instances/{id}/content`: the tags of the data set, as paths.
async fn get_content_root(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target) -> HttpResult<Response> {
    content(&rest, &ctx, target, "").await
}

/// `GET /instances/{id}/content/{tag}/{item}/{tag}…`: the raw value of a tag, the items of a sequence, the tags of an item.
async fn get_content(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, path)): Path<(String, String)>,
) -> HttpResult<Response> {
    content(&rest, &ctx, target, &path).await
}

async fn content(rest: &Rest, ctx: &engine::Ctx, target: Target, path: &str) -> HttpResult<Response> {
    let steps: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let first = steps.first().map(|s| fields::tag(rest, s)).transpose()?;
    let pixels = first.is_some_and(|t| t.0 >= 0x7FE0);
    let extent = if pixels { Extent::Everything } else { Extent::WithoutPixels };
    let stored = read::dataset(&rest.engine, ctx, target.id, extent).await?;
    let mut whole = stored.dataset;
    if let (Some((tag, vr)), false) = (stored.pixel, pixels) {
        whole.put(Element { tag, vr, value: Value::Fragments(vec![]) });
    }
    let missing = || Error::from(ErrorKind::InexistentTag);
    let mut data: &DataSet = &whole;
    let mut rest_of = &steps[..];
    loop {
        let [step, more @ ..] = rest_of else { return Ok(list_tags(data)) };
        let element = data.get(fields::tag(rest, step)?).ok_or_else(missing)?;
        match (&element.value, more) {
            (Value::Items(items), []) => return Ok(list_numbers(items.len())),
            (Value::Items(items), [item, more @ ..]) => {
                data = items.get(index(item)?).ok_or_else(missing)?;
                rest_of = more;
            }
            (Value::Fragments(fragments), []) => return Ok(list_numbers(fragments.len())),
            (Value::Fragments(fragments), [item]) => return Ok(raw(fragments.get(index(item)?).ok_or_else(missing)?.clone())),
            // Native pixel data is shown as one frame.
            (Value::Bytes(_), []) if element.tag.0 == 0x7FE0 => return Ok(list_numbers(1)),
            (Value::Bytes(bytes), ["0"]) if element.tag.0 == 0x7FE0 => return Ok(raw(bytes.clone())),
            (Value::Bytes(bytes), []) => return Ok(raw(bytes.clone())),
            _ => return Err(missing().into()),
        }
    }
}

fn index(text: &str) -> Result<usize> {
    text.parse().map_err(|_| Error::new(ErrorKind::InexistentTag, format!("an item number was expected, not {text:?}")))
}

fn list_tags(data: &DataSet) -> Response {
    let tags: Vec<String> = data.iter().map(|e| format!("{:04x}-{:04x}", e.tag.0, e.tag.1)).collect();
    Json(json!(tags)).into_response()
}

fn list_numbers(n: usize) -> Response {
    Json((0..n).map(|i| i.to_string()).collect()).into_response()
}

fn raw(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}
