//! Room `rest`: Orthanc's REST API. Each file owns the routes of one area and renders what the engine returns.
//!
//! There is no rule about DICOM here, only about the API: arguments, JSON views, headers. Start at [`router`], then
//! [`resources`]. What is known to Orthanc but not built yet is listed in [`later`] and answers 501.

mod archives;
mod attachments;
mod changes;
mod cluster;
mod creation;
mod fields;
mod files;
mod filter;
mod find;
mod groups;
mod instances;
mod jobs;
mod later;
mod maintenance;
mod metadata;
mod modules;
mod peers;
mod pieces;
mod reconstruct;
mod remotes;
mod resources;
mod send;
mod state;
mod system;
mod tags;
mod target;
mod tools;
mod upload;
mod view;
mod webdav;

pub use state::{Rest, SystemInfo, WebDav};

use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use model::ErrorKind;
use std::sync::Arc;
use web::HttpError;

/// Every route of the API.
pub fn router(rest: Arc<Rest>) -> Router {
    Router::new()
        .merge(resources::routes())
        .merge(instances::routes())
        .merge(files::routes())
        .merge(tags::routes())
        .merge(groups::routes())
        .merge(modules::routes())
        .merge(metadata::routes())
        .merge(attachments::routes())
        .merge(changes::routes())
        .merge(find::routes())
        .merge(jobs::routes())
        .merge(send::routes())
        .merge(archives::routes())
        .merge(cluster::routes())
        .merge(tools::routes())
        .merge(remotes::routes())
        .merge(peers::routes())
        .merge(system::routes())
        .merge(reconstruct::routes())
        .merge(webdav::routes())
        .merge(maintenance::routes())
        .merge(later::routes())
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(rest.clone(), filter::check))
        .with_state(rest)
}

async fn unknown() -> Response {
    HttpError(ErrorKind::UnknownResource.into()).into_response()
}
