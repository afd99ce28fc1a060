//! `/plugins`: what is built in here and a plugin in Orthanc.

use crate::routes::{Routes, about};
use crate::state::Rest;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header;
use model::ErrorKind;
use serde_json::json;
use std::sync::Arc;
use web::Json;
use web::error::HttpResult;

/// Orthanc lists the script with what plugins add to its pages as if it were one.
const SCRIPT: &str = "explorer.js";

pub fn routes() -> Routes {
    let script = about("What plugins add to Orthanc Explorer: nothing.").answers(200, "application/javascript", "A comment");
    Routes::default()
        .get("/plugins", get_all, about("The plugins of Orthanc whose work is built in.").json())
        .get("/plugins/{id}", get_one, about("One of these plugins.").json())
        .get("/plugins/explorer.js", get_script, script)
}

/// `GET /plugins`: their names.
async fn get_all(State(rest): State<Arc<Rest>>) -> Json {
    let mut names: Vec<&str> = rest.system.plugins.iter().map(|p| p.name).chain([SCRIPT]).collect();
    names.sort_unstable();
    Json(json!(names))
}

/// `GET /plugins/{id}`: the version is that of this server.
async fn get_one(State(rest): State<Arc<Rest>>, Path(id): Path<String>) -> HttpResult<Json> {
    let plugin = rest.system.plugins.iter().find(|p| p.name == id).ok_or(ErrorKind::UnknownResource)?;
    Ok(Json(json!({
        "Description": plugin.description,
        "ExtendsOrthancExplorer": false,
        "ID": plugin.name,
        "Version": env!("CARGO_PKG_VERSION"),
    })))
}

/// `GET /plugins/explorer.js`: none of them adds anything.
async fn get_script() -> Response {
    ([(header::CONTENT_TYPE, "application/javascript")], "// Nothing is added to the pages of Orthanc Explorer.\n")
        .into_response()
}
