//! What Orthanc's plugins for maintenance answer about the work that is built in here.

use crate::routes::{Routes, about};
use crate::state::Rest;
use axum::extract::State;
use engine::sweeps;
use model::{Error, ErrorKind};
use serde_json::json;
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

pub fn routes() -> Routes {
    let status = about("How many files wait to be deleted (`DelayedDeletion`).").json();
    Routes::default().get("/plugins/delayed-deletion/status", get_delayed_deletion, status)
}

/// `GET /plugins/delayed-deletion/status`: how many files of all processes wait. `404` unless `DelayedDeletion` is enabled.
async fn get_delayed_deletion(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<Json> {
    if rest.engine.config.delayed_deletion.is_none() {
        return Err(Error::from(ErrorKind::UnknownResource).into());
    }
    Ok(Json(json!({ "FilesPendingDeletion": sweeps::pending_deletions(&rest.engine, &ctx).await? })))
}
