//! Routes of Orthanc that are not built yet: they answer 501, so that a client can tell them from a mistyped path.

use crate::routes::Routes;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use model::{Error, ErrorKind, Level};
use web::HttpError;

/// Paths without any built method.
const PATHS: &[&str] = &[
    "/queries",
    "/queries/{*rest}",
    "/modalities/{id}/find",
    "/modalities/{id}/find-instance",
    "/modalities/{id}/find-patient",
    "/modalities/{id}/find-series",
    "/modalities/{id}/find-study",
    "/modalities/{id}/find-worklist",
    "/modalities/{id}/get",
    "/modalities/{id}/move",
    "/modalities/{id}/query",
    "/modalities/{id}/storage-commitment",
    "/storage-commitment/{*rest}",
    "/dicom-web/{*rest}",
    "/wado",
    "/instances/{id}/frames",
    "/instances/{id}/frames/{*rest}",
    "/instances/{id}/preview",
    "/instances/{id}/rendered",
    "/instances/{id}/image-uint8",
    "/instances/{id}/image-uint16",
    "/instances/{id}/image-int16",
    "/instances/{id}/matlab",
    "/instances/{id}/numpy",
    "/series/{id}/numpy",
    "/studies/{id}/split",
    "/studies/{id}/merge",
    "/tools/create-dicom",
    "/tools/bulk-anonymize",
    "/tools/bulk-modify",
];

/// Last parts of paths below each level.
const BELOW: &[&str] = &["anonymize", "modify"];

pub fn routes() -> Routes {
    let routes = PATHS.iter().fold(Routes::default(), |routes, path| routes.undescribed(path, any(not_yet)));
    Level::ALL.into_iter().fold(routes, |routes, level| {
        BELOW.iter().fold(routes, |routes, name| routes.undescribed(&format!("/{}/{{id}}/{name}", level.folder()), any(not_yet)))
    })
}

async fn not_yet() -> Response {
    HttpError(Error::new(ErrorKind::NotImplemented, "this route of Orthanc is not built yet")).into_response()
}
