//! Room `rest`: Orthanc's REST API. Each file owns the routes of one area and renders what the engine returns.
//!
//! There is no rule about DICOM here, only about the API: arguments, JSON views, headers. Start at [`router`], then
//! [`resources`]. Each route stands in its table with its description ([`routes`]), from which [`openapi`] is made. What is known to Orthanc but not built yet is listed in [`later`] and answers 501.

mod archives;
mod attachments;
mod bulk;
mod changes;
mod cluster;
mod conformance;
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
mod metrics;
mod modules;
mod openapi;
mod peers;
mod pieces;
mod plugins;
mod reconstruct;
mod remotes;
mod resources;
mod routes;
mod schema;
mod send;
mod slices;
mod state;
mod system;
mod tags;
mod target;
mod tools;
mod upload;
mod view;
mod webdav;

pub use openapi::openapi;
pub use state::{Plugin, Rest, SystemInfo, WebDav};

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use model::ErrorKind;
use routes::Routes;
use std::sync::Arc;
use web::HttpError;

/// Every route of the API.
pub fn router(rest: Arc<Rest>) -> Router {
    routes()
        .into_router()
        .fallback(unknown)
        .layer(map_response(plain))
        .layer(from_fn_with_state(rest.clone(), filter::check))
        .with_state(rest)
}

/// The table of all routes.
fn routes() -> Routes {
    Routes::default()
        .merge(resources::routes())
        .merge(instances::routes())
        .merge(files::routes())
        .merge(tags::routes())
        .merge(groups::routes())
        .merge(modules::routes())
        .merge(slices::routes())
        .merge(metadata::routes())
        .merge(attachments::routes())
        .merge(changes::routes())
        .merge(find::routes())
        .merge(bulk::routes())
        .merge(jobs::routes())
        .merge(send::routes())
        .merge(archives::routes())
        .merge(cluster::routes())
        .merge(tools::routes())
        .merge(remotes::routes())
        .merge(peers::routes())
        .merge(system::routes())
        .merge(metrics::routes())
        .merge(plugins::routes())
        .merge(conformance::routes())
        .merge(reconstruct::routes())
        .merge(webdav::routes())
        .merge(maintenance::routes())
        .merge(later::routes())
}

/// Text has the content type that Orthanc gives it, also where it is empty.
async fn plain(mut response: Response) -> Response {
    let is_plain = match response.headers().get(CONTENT_TYPE) {
        Some(mime) => mime == "text/plain; charset=utf-8",
        None => response.status() == StatusCode::OK,
    };
    if is_plain {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

async fn unknown() -> Response {
    HttpError(ErrorKind::UnknownResource.into()).into_response()
}
