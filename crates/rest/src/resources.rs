//! `/patients`, `/studies`, `/series`, `/instances`: lists, records, hierarchy, deletion, statistics, labels.

use crate::fields::{self, RECORD, Show, requested_tags};
use crate::routes::{Kind, Routes, about};
use crate::state::Rest;
use crate::target::{AtLevel, Target};
use crate::tools;
use crate::view;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use engine::annotations::{self, LabelChange};
use engine::{Query, delete, find, statistics};
use http::StatusCode;
use model::{Error, ErrorKind, Fields, Level};
use serde_json::{Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json, Params};

pub fn routes() -> Routes {
    let list = about("Lists all of a level.")
        .query(&[
            ("since", Kind::Count, "How many are left out at the beginning; together with `limit`"),
            ("limit", Kind::Count, "How many are shown at most; 0 for all"),
        ])
        .query(&fields::SHOW)
        .query(&view::FORMAT)
        .json();
    let related = |summary| about(summary).query(&fields::SHOW).query(&view::FORMAT).json();
    let mut routes = Routes::default();
    for level in Level::ALL {
        let all = format!("/{}", level.folder());
        let (one, label) = (format!("{all}/{{id}}"), format!("{all}/{{id}}/labels/{{label}}"));
        routes = routes
            .get(&all, get_list, list.clone())
            .get(&one, get_one, about("The record of a resource.").query(&[fields::REQUESTED]).query(&view::FORMAT).json())
            .delete(&one, delete_one, about("Deletes a resource and all below it.").json())
            .get(&format!("{one}/statistics"), get_statistics, about("Counts and sizes of what is below.").json())
            .get(&format!("{one}/labels"), get_labels, about("The labels of a resource.").json())
            .get(&label, get_label, about("Whether a label is set.").text().answers_nothing(404, "It is not"))
            .put(&label, put_label, about("Sets a label.").text())
            .delete(&label, delete_label, about("Removes a label.").text());
        for other in Level::ALL {
            if other < level {
                let path = format!("{one}/{}", other.name().to_lowercase());
                routes = routes.get(&path, get_ancestor, related("The record of what is above at this level."));
            } else if other > level {
                let path = format!("{one}/{}", other.folder());
                routes = routes.get(&path, get_descendants, related("The records of what is below at this level."));
            }
        }
    }
    routes
        .get("/patients/{id}/protected", get_protected, about("Whether a patient is kept when room is needed.").text())
        .put("/patients/{id}/protected", put_protected, about("Protects a patient, or not.").text_body(tools::switch()).text())
        .get("/statistics", get_totals, about("Counts and sizes of everything.").json())
}

/// `GET /{level}`: ids, or records with `?expand`; `?since` and `?limit` page.
async fn get_list(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    AtLevel(level): AtLevel,
    params: Params,
) -> HttpResult<Json> {
    let (since, limit) = (params.number("since")?, params.number("limit")?);
    if since.is_some() != limit.is_some() {
        let missing = if since.is_some() { "limit" } else { "since" };
        return Err(
            Error::new(ErrorKind::BadRequest, format!("argument {missing:?} is missing: since and limit go together")).into()
        );
    }
    let show = fields::show(&params, false)?;
    let query = Query { since: since.unwrap_or(0), limit: limit.unwrap_or(0), ..shown(&rest, level, &params, show)? };
    let found = find::find(&rest.engine, &ctx, &query).await?;
    Ok(Json(view::list(&rest, &ctx, found, show, view::format(&params)).await?))
}

/// A search for what `show` needs.
fn shown(rest: &Rest, level: Level, params: &Params, show: Option<Show>) -> Result<Query, Error> {
    let requested = requested_tags(rest, params)?;
    Ok(match show {
        Some(show) => Query { fields: show.fields(level), requested, ..Query::all(level) },
        None => Query::all(level),
    })
}

/// `GET /{level}/{id}`: the record.
async fn get_one(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target, params: Params) -> HttpResult<Json> {
    let query = Query { related_to: vec![(target.level, target.id)], ..shown(&rest, target.level, &params, Some(RECORD))? };
    let found = find::find(&rest.engine, &ctx, &query).await?;
    let found = found.first().ok_or(ErrorKind::UnknownResource)?;
    Ok(Json(view::resource(&rest, &ctx, found, RECORD, view::format(&params)).await?))
}

/// `DELETE /{level}/{id}`: removes it; answers the nearest ancestor that remains.
async fn delete_one(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target) -> HttpResult<Json> {
    let deleted = delete::delete(&rest.engine, &ctx, target.level, target.id).await?;
    let remaining = deleted
        .remaining
        .map(|(level, id)| json!({ "ID": id.to_string(), "Path": format!("/{}/{id}", level.folder()), "Type": level.name() }));
    Ok(Json(json!({ "RemainingAncestor": remaining })))
}

/// `GET /{level}/{id}/{ancestor}`: the record of the patient, study or series above.
async fn get_ancestor(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    uri: http::Uri,
    params: Params,
) -> HttpResult<Json> {
    let show = fields::show(&params, true)?.unwrap_or(RECORD);
    let query = Query { related_to: vec![(target.level, target.id)], ..shown(&rest, related(&uri)?, &params, Some(show))? };
    let found = find::find(&rest.engine, &ctx, &query).await?;
    let found = found.first().ok_or(ErrorKind::UnknownResource)?;
    Ok(Json(view::resource(&rest, &ctx, found, show, view::format(&params)).await?))
}

/// `GET /{level}/{id}/{descendants}`: records below, or ids with `?expand=false`.
async fn get_descendants(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    uri: http::Uri,
    params: Params,
) -> HttpResult<Json> {
    let show = fields::show(&params, true)?;
    let query = Query { related_to: vec![(target.level, target.id)], ..shown(&rest, related(&uri)?, &params, show)? };
    let found = find::find(&rest.engine, &ctx, &query).await?;
    if found.is_empty() {
        // Every resource has descendants: there are none because the resource is not there.
        return Err(Error::from(ErrorKind::UnknownResource).into());
    }
    Ok(Json(view::list(&rest, &ctx, found, show, view::format(&params)).await?))
}

/// The level that the third part of a path names.
fn related(uri: &http::Uri) -> Result<Level, Error> {
    Level::parse(uri.path().split('/').nth(3).unwrap_or_default()).ok_or_else(|| ErrorKind::UnknownResource.into())
}

/// `GET /{level}/{id}/statistics`.
async fn get_statistics(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target) -> HttpResult<Json> {
    let s = statistics::of(&rest.engine, &ctx, target.level, target.id).await?;
    let mut view = serde_json::Map::new();
    let mut sizes = |prefix: &str, stored: u64, size: u64| {
        view.insert(format!("{prefix}DiskSize"), json!(stored.to_string()));
        view.insert(format!("{prefix}DiskSizeMB"), json!(stored >> 20));
        view.insert(format!("{prefix}UncompressedSize"), json!(size.to_string()));
        view.insert(format!("{prefix}UncompressedSizeMB"), json!(size >> 20));
    };
    sizes("", s.stored_size_bytes, s.size_bytes);
    sizes("Dicom", s.dicom_stored_size_bytes, s.dicom_size_bytes);
    let counts = [(Level::Study, "CountStudies", s.counts.studies), (Level::Series, "CountSeries", s.counts.series)];
    for (level, key, count) in counts.into_iter().chain([(Level::Instance, "CountInstances", s.counts.instances)]) {
        if target.level < level {
            view.insert(key.to_owned(), json!(count));
        }
    }
    view.sort_keys();
    Ok(Json(Value::Object(view)))
}

/// `GET /statistics`: totals of the whole store.
async fn get_totals(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<Json> {
    let t = statistics::totals(&rest.engine, &ctx).await?;
    Ok(Json(json!({
        "CountInstances": t.instances,
        "CountPatients": t.patients,
        "CountSeries": t.series,
        "CountStudies": t.studies,
        "TotalDiskSize": t.stored_size_bytes.to_string(),
        "TotalDiskSizeMB": t.stored_size_bytes >> 20,
        "TotalUncompressedSize": t.size_bytes.to_string(),
        "TotalUncompressedSizeMB": t.size_bytes >> 20,
    })))
}

async fn labels_of(rest: &Rest, ctx: &engine::Ctx, target: Target) -> Result<Vec<String>, Error> {
    let fields = Fields { labels: true, ..Fields::NONE };
    let found = find::one(&rest.engine, ctx, target.level, target.id, fields, vec![]).await?;
    Ok(found.resource.labels.into_iter().collect())
}

/// `GET /{level}/{id}/labels`.
async fn get_labels(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target) -> HttpResult<Json> {
    Ok(Json(json!(labels_of(&rest, &ctx, target).await?)))
}

/// `GET /{level}/{id}/labels/{label}`: 200 if it is set, 404 if not.
async fn get_label(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, label)): Path<(String, String)>,
) -> HttpResult<impl IntoResponse> {
    let found = labels_of(&rest, &ctx, target).await?.contains(&label);
    Ok(if found { StatusCode::OK } else { StatusCode::NOT_FOUND })
}

/// `PUT /{level}/{id}/labels/{label}`.
async fn put_label(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, label)): Path<(String, String)>,
) -> HttpResult<impl IntoResponse> {
    annotations::change_label(&rest.engine, &ctx, (target.level, target.id), &label, LabelChange::Add).await?;
    Ok(StatusCode::OK)
}

/// `DELETE /{level}/{id}/labels/{label}`.
async fn delete_label(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    Path((_, label)): Path<(String, String)>,
) -> HttpResult<impl IntoResponse> {
    annotations::change_label(&rest.engine, &ctx, (target.level, target.id), &label, LabelChange::Remove).await?;
    Ok(StatusCode::OK)
}

/// `GET /patients/{id}/protected`: `1` or `0`.
async fn get_protected(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, target: Target) -> HttpResult<String> {
    let found = find::one(&rest.engine, &ctx, target.level, target.id, Fields::NONE, vec![]).await?;
    Ok(if found.resource.is_protected { "1" } else { "0" }.to_owned())
}

/// `PUT /patients/{id}/protected`: body `1` or `0`.
async fn put_protected(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    target: Target,
    body: String,
) -> HttpResult<StatusCode> {
    let protect = tools::flag(&body)?;
    annotations::set_protected(&rest.engine, &ctx, target.id, protect).await?;
    Ok(StatusCode::OK)
}
