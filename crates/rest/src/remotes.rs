//! `/modalities`, `/peers`, `/plugins`: what the configuration names. Changing them at run time comes later.

use crate::state::Rest;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Json, Params};

pub fn routes() -> Router<Arc<Rest>> {
    Router::new().route("/modalities", get(get_modalities)).route("/peers", get(get_none)).route("/plugins", get(get_none))
}

/// `GET /modalities`: names, or definitions with `?expand`.
async fn get_modalities(State(rest): State<Arc<Rest>>, params: Params) -> HttpResult<Json> {
    let all = &rest.engine.config.modalities;
    Ok(Json(if params.flag("expand")? {
        Value::Object(all.iter().map(|(name, m)| (name.clone(), m.definition.clone())).collect())
    } else {
        all.keys().cloned().map(Value::from).collect()
    }))
}

/// `GET /peers`, `GET /plugins`: there are none.
async fn get_none() -> Json {
    Json(json!([]))
}
