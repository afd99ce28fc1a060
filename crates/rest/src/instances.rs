//! `/instances`: the list and the upload door.

use crate::resources::get_list;
use crate::state::Rest;
use crate::upload;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::get;
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

pub fn routes() -> Router<Arc<Rest>> {
    Router::new().route("/instances", get(get_list).post(post_instances))
}

/// `POST /instances`: stores a DICOM file, every DICOM file of a ZIP, or of a multipart form.
async fn post_instances(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, request: Request) -> HttpResult<Json> {
    Ok(Json(upload::upload(&rest, &ctx, request).await?))
}
