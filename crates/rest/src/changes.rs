//! `/changes` and `/exports`.

use crate::routes::{Kind, Routes, about};
use crate::state::Rest;
use axum::extract::State;
use engine::changes;
use model::{Change, ChangeType, ChangesPage, ChangesRequest, Error, ErrorKind, Exported, Level, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json, Params};

/// Lines of a page unless `?limit` says otherwise (Orthanc: `/changes`).
const PAGE: u32 = 100;

pub fn routes() -> Routes {
    let limit = ("limit", Kind::Count, "How many are shown at most");
    let last = ("last", Kind::Presence, "Only the newest");
    let changes = about("What has changed, page by page.").query(&[
        ("since", Kind::Integer, "The last number that the caller has seen"),
        ("to", Kind::Integer, "The last number that is shown, of those before it"),
        limit,
        ("type", Kind::Text, "The types that are shown: `NewStudy;StableStudy`"),
        last,
    ]);
    let since = ("since", Kind::Integer, "The last number that the caller has seen");
    let exports = about("What was sent elsewhere, page by page (`LogExportedResources`).").query(&[since, limit, last]);
    Routes::default()
        .get("/changes", get_changes, changes.json())
        .delete("/changes", delete_changes, about("Forgets all changes.").text())
        .get("/exports", get_exports, exports.json())
        .delete("/exports", delete_exports, about("Forgets what was sent elsewhere.").text())
}

fn change(c: &Change) -> Value {
    json!({
        "ChangeType": c.kind.name(),
        "Date": c.date,
        "ID": c.id.to_string(),
        "Path": format!("/{}/{}", c.level.folder(), c.id),
        "ResourceType": c.level.name(),
        "Seq": c.seq,
    })
}

/// `GET /changes?since=&to=&limit=&type=A;B`, or `?last` for the newest.
async fn get_changes(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, params: Params) -> HttpResult<Json> {
    let request = ChangesRequest {
        since: params.number("since")?.unwrap_or(0),
        to: params.number("to")?,
        limit: params.number("limit")?.unwrap_or(PAGE),
        kinds: kinds(params.get("type").unwrap_or_default())?,
    };
    if params.has("last") {
        let page = changes::last(&rest.engine, &ctx).await?;
        let last = page.last_seq;
        return Ok(Json(view(&page, last, true)));
    }
    let page = changes::page(&rest.engine, &ctx, &request).await?;
    let last = page.changes.last().map_or(page.last_seq, |c| c.seq);
    Ok(Json(view(&page, last, page.done)))
}

fn view(page: &ChangesPage, last: i64, done: bool) -> Value {
    let lines: Vec<Value> = page.changes.iter().map(change).collect();
    with_first(json!({ "Changes": lines, "Done": done, "Last": last }), page.changes.first().map(|c| c.seq))
}

fn kinds(text: &str) -> Result<Vec<ChangeType>> {
    let unknown = |t: &str| Error::new(ErrorKind::OutOfRange, format!("unknown change type: {t:?}"));
    text.split(';').filter(|t| !t.is_empty()).map(|t| ChangeType::parse(t).ok_or_else(|| unknown(t))).collect()
}

/// Adds `First` to a page that is not empty.
fn with_first(mut view: Value, first: Option<i64>) -> Value {
    if let (Some(first), Value::Object(view)) = (first, &mut view) {
        view.insert("First".into(), json!(first));
        view.sort_keys();
    }
    view
}

/// `DELETE /changes`.
async fn delete_changes(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<String> {
    changes::clear(&rest.engine, &ctx).await?;
    Ok(String::new())
}

fn export(e: &Exported) -> Value {
    let mut view = json!({
        "Date": e.date,
        "ID": e.id.to_string(),
        "Path": format!("/{}/{}", e.level.folder(), e.id),
        "PatientID": e.patient_id,
        "RemoteModality": e.remote,
        "ResourceType": e.level.name(),
        "Seq": e.seq,
    });
    let uids = [(Level::Study, "StudyInstanceUID", &e.study_uid), (Level::Series, "SeriesInstanceUID", &e.series_uid)];
    for (level, key, uid) in uids.into_iter().chain([(Level::Instance, "SOPInstanceUID", &e.sop_uid)]) {
        if e.level >= level {
            view[key] = json!(uid);
        }
    }
    view
}

/// `GET /exports?since=&limit=`, or `?last`.
async fn get_exports(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, params: Params) -> HttpResult<Json> {
    let (since, limit) = (params.number("since")?.unwrap_or(0), params.number("limit")?.unwrap_or(PAGE));
    let page = if params.has("last") {
        changes::last_export(&rest.engine, &ctx).await?
    } else {
        changes::exports(&rest.engine, &ctx, since, limit).await?
    };
    let last = page.exports.last().map_or(since, |e| e.seq);
    let lines: Vec<Value> = page.exports.iter().map(export).collect();
    let view = json!({ "Done": page.done, "Exports": lines, "Last": last });
    Ok(Json(with_first(view, page.exports.first().map(|e| e.seq))))
}

/// `DELETE /exports`.
async fn delete_exports(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<String> {
    changes::clear_exports(&rest.engine, &ctx).await?;
    Ok(String::new())
}
