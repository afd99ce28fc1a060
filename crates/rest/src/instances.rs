//! `POST /instances`: the upload door.

use crate::routes::{Routes, about};
use crate::schema;
use crate::state::Rest;
use crate::upload;
use axum::extract::{Request, State};
use std::sync::Arc;
use web::error::HttpResult;
use web::{Caller, Json};

pub fn routes() -> Routes {
    let upload = about("Stores a DICOM file, every DICOM file of a ZIP, or those of a form.")
        .body("application/dicom", schema::bytes())
        .body("application/zip", schema::bytes())
        .body("multipart/form-data", schema::object(&[], vec![("file", schema::bytes())]))
        .headers(&[
            ("Content-Encoding", "`gzip`, or nothing"),
            ("X-File-Name", "The name of a file that is sent piece by piece"),
            ("X-File-Size", "The size of that file in bytes"),
            ("Content-Range", "Where in that file the piece belongs: `bytes 0-99/1000`"),
        ])
        .json();
    Routes::default().post("/instances", post_instances, upload)
}

/// `POST /instances`: stores a DICOM file, every DICOM file of a ZIP, or of a multipart form.
async fn post_instances(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, request: Request) -> HttpResult<Json> {
    Ok(Json(upload::upload(&rest, &ctx, request).await?))
}
