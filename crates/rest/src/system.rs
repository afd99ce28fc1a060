//! `/`, `/system`, health probes.

use crate::routes::{Routes, about};
use crate::state::Rest;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use engine::{Ctx, statistics};
use http::{StatusCode, header};
use model::Level;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use web::Json;

/// The version of Orthanc whose API this is.
const ORTHANC_VERSION: &str = "1.13.0";
/// Orthanc's number for it.
const API_VERSION: u32 = 31;

pub fn routes() -> Routes {
    Routes::default()
        .get("/", get_root, about("A page for people.").answers(200, "text/html", "The page"))
        .get("/system", get_system, about("What the server is and can do.").json())
        .get("/healthz", get_health, about("Whether the process lives.").text())
        .get("/readyz", get_ready, about("Whether the process can do its work: 503 if not.").text())
}

/// `GET /`: one small page.
async fn get_root(State(rest): State<Arc<Rest>>) -> Html<String> {
    let s = &rest.system;
    let name: String = s.name.chars().map(|c| if matches!(c, '<' | '>' | '&' | '"') { ' ' } else { c }).collect();
    Html(format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\
         <body style=\"font-family:sans-serif;max-width:40em;margin:3em auto;line-height:1.5\">\
         <h1>{name}</h1><p>Pleiad {}, a DICOM server with the REST API of Orthanc {ORTHANC_VERSION}.</p>\
         <ul><li>HTTP port {}</li><li>DICOM: AET {} on port {}</li></ul>\
         <p><a href=\"system\">System</a> · <a href=\"statistics\">Statistics</a> · <a href=\"studies?expand\">Studies</a> · \
         <a href=\"changes\">Changes</a> · <a href=\"tools/metrics-prometheus\">Metrics</a></p></body></html>",
        env!("CARGO_PKG_VERSION"),
        s.http_port,
        s.dicom_aet,
        s.dicom_port
    ))
}

/// `GET /system`.
async fn get_system(State(rest): State<Arc<Rest>>) -> Json {
    let (s, config) = (&rest.system, &rest.engine.config);
    let main: Map<String, Value> =
        Level::ALL.into_iter().map(|l| (l.name().to_owned(), json!(config.main_tags.signature(l)))).collect();
    let user: Map<String, Value> = config.metadata_names.user().map(|(name, kind)| (name.to_owned(), json!(kind.0))).collect();
    Json(json!({
        "ApiVersion": API_VERSION,
        "Capabilities": { "HasExtendedChanges": true, "HasExtendedFind": true, "HasKeyValueStores": false, "HasQueues": false },
        "CheckRevisions": s.check_revisions,
        "DatabaseBackendPlugin": null,
        "DatabaseVersion": 1,
        "DicomAet": s.dicom_aet,
        "DicomPort": s.dicom_port,
        "HasLabels": true,
        "HttpPort": s.http_port,
        "IsHttpServerSecure": s.http_secure,
        "MainDicomTags": main,
        "MaximumPatientCount": s.maximum_patient_count,
        "MaximumStorageMode": s.maximum_storage_mode,
        "MaximumStorageSize": s.maximum_storage_size_mb,
        "Name": s.name,
        "OverwriteInstances": s.overwrite_instances != "Never",
        "OverwriteInstancesMode": s.overwrite_instances,
        "PatientLevelEnabled": true,
        "PleiadVersion": env!("CARGO_PKG_VERSION"),
        "Performance": { "ConcurrentJobs": config.jobs.workers },
        "PluginsEnabled": false,
        "ReadOnly": s.read_only,
        "StorageAreaPlugin": null,
        "StorageCompression": config.storage_compression,
        "StoreMD5ForAttachments": config.store_md5,
        "UserMetadata": user,
        "Version": ORTHANC_VERSION,
    }))
}

/// `GET /healthz`: the process lives.
async fn get_health() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: the index answers and nobody asked to stop.
async fn get_ready(State(rest): State<Arc<Rest>>) -> Response {
    let ready = !rest.shutdown.is_cancelled() && statistics::totals(&rest.engine, &Ctx::default()).await.is_ok();
    if ready {
        StatusCode::OK.into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, web::error::RETRY_AFTER)]).into_response()
    }
}
