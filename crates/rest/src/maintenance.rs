//! What Orthanc's plugins for maintenance answer about the work that is built in here.

use crate::routes::{Routes, about};
use crate::state::Rest;
use axum::extract::State;
use engine::housekeeping::{self, Configuration};
use engine::sweeps;
use model::{Error, ErrorKind, Level};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

/// The versions of Orthanc that the configuration of the housekeeper names: of what it has been through, and before.
const VERSIONS: (&str, &str) = ("1.13.0", "1.9.0");

pub fn routes() -> Routes {
    let deletions = about("How many files wait to be deleted (`DelayedDeletion`).").json();
    let housekeeper = || about("What the housekeeper has done, and what it is at, in all processes (`Housekeeper`).").json();
    Routes::default()
        .get("/plugins/delayed-deletion/status", get_delayed_deletion, deletions)
        .get("/housekeeper/status", get_housekeeper, housekeeper())
        .get("/plugins/housekeeper/status", get_housekeeper, housekeeper())
}

/// `GET /plugins/delayed-deletion/status`: how many files of all processes wait. `404` unless `DelayedDeletion` is enabled.
async fn get_delayed_deletion(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<Json> {
    if rest.engine.config.delayed_deletion.is_none() {
        return Err(Error::from(ErrorKind::UnknownResource).into());
    }
    Ok(Json(json!({ "FilesPendingDeletion": sweeps::pending_deletions(&rest.engine, &ctx).await? })))
}

/// `GET /housekeeper/status`. Where Orthanc counts changes, studies are counted here. `404` unless `Housekeeper` is enabled.
async fn get_housekeeper(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<Json> {
    if rest.engine.config.housekeeper.is_none() {
        return Err(Error::from(ErrorKind::UnknownResource).into());
    }
    let status = housekeeping::status(&rest.engine, &ctx).await?;
    let (done, all) = status.progress.map_or((json!(-1), json!(-1)), |(done, all)| (json!(done), json!(all)));
    let last = match &status.last {
        Some(last) => configuration(last, VERSIONS.0),
        None => configuration(&housekeeping::unknown(), VERSIONS.1),
    };
    Ok(Json(json!({
        "CurrentlyProcessingConfiguration": status.current.map(|current| configuration(&current, VERSIONS.0)),
        "LastChangeToProcess": all,
        "LastProcessedChange": done,
        "LastProcessedConfiguration": last,
        "LastTimeStarted": status.started,
        "Version": 1,
    })))
}

/// `IngestTranscoding` and `DicomWebVersion` belong to what this version does not do.
fn configuration(of: &Configuration, version: &str) -> Value {
    let level = |level: Level| (level.name().to_owned(), of.signatures[level as usize].as_str().into());
    json!({
        "DicomWebVersion": "",
        "IngestTranscoding": "",
        "MainDicomTagsSignature": Level::ALL.into_iter().map(level).collect::<Map<_, _>>(),
        "OrthancVersion": version,
        "StorageCompressionEnabled": of.storage_compression,
    })
}
