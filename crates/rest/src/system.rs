//! `/`, `/system`, `/tools/metrics-prometheus`, health probes.

use crate::state::Rest;
use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use engine::{Ctx, changes, jobs, statistics};
use http::{StatusCode, header};
use model::Level;
use model::job::JobState;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};
use web::error::HttpResult;
use web::{Caller, Json};

/// The version of Orthanc whose API this is.
const ORTHANC_VERSION: &str = "1.13.0";
/// Orthanc's number for it.
const API_VERSION: u32 = 31;

pub fn routes() -> Router<Arc<Rest>> {
    Router::new()
        .route("/", get(get_root))
        .route("/system", get(get_system))
        .route("/healthz", get(get_health))
        .route("/readyz", get(get_ready))
        .route("/tools/metrics-prometheus", get(get_metrics))
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

/// `GET /tools/metrics-prometheus`: Orthanc's names, and latencies as histograms.
async fn get_metrics(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<impl IntoResponse> {
    let totals = statistics::totals(&rest.engine, &ctx).await?;
    let last = changes::last(&rest.engine, &ctx).await?.last_seq;
    let counts = jobs::counts(&rest.engine, &ctx).await?;
    let waiting = jobs::waiting(&rest.engine, &ctx).await?;
    let m = &rest.engine.metrics;
    let mut out = String::new();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let values = [
        ("orthanc_count_patients", totals.patients as f64),
        ("orthanc_count_studies", totals.studies as f64),
        ("orthanc_count_series", totals.series as f64),
        ("orthanc_count_instances", totals.instances as f64),
        ("orthanc_disk_size_mb", mib(totals.stored_size_bytes)),
        ("orthanc_uncompressed_size_mb", mib(totals.size_bytes)),
        ("orthanc_last_change", last as f64),
        ("orthanc_jobs_pending", (counts[JobState::Pending as usize] + counts[JobState::Retry as usize]) as f64),
        ("orthanc_jobs_running", (counts[JobState::Running as usize] + counts[JobState::Paused as usize]) as f64),
        ("orthanc_up_time_s", rest.started.elapsed().as_secs() as f64),
        ("pleiad_stored_instances_total", m.stored.load(Relaxed) as f64),
        ("pleiad_already_stored_instances_total", m.already_stored.load(Relaxed) as f64),
        ("pleiad_recycled_patients_total", m.recycled.load(Relaxed) as f64),
        ("pleiad_store_failures_total", m.store_failures.load(Relaxed) as f64),
        ("pleiad_received_bytes_total", m.received_bytes.load(Relaxed) as f64),
        ("pleiad_finds_total", m.finds.load(Relaxed) as f64),
        ("pleiad_http_failures_total", rest.latencies.failures.load(Relaxed) as f64),
        ("pleiad_jobs_rescued_total", m.jobs_rescued.load(Relaxed) as f64),
        ("pleiad_jobs_fenced_writes_total", m.jobs_fenced.load(Relaxed) as f64),
        ("pleiad_jobs_oldest_pending_seconds", waiting.iter().map(|w| w.oldest.as_secs_f64()).fold(0.0, f64::max)),
    ];
    for (name, value) in values {
        let _ = writeln!(out, "{name} {value}");
    }
    for kind in &waiting {
        // Types are names of ours, or of another release: nothing that needs escaping comes through.
        let name: String = kind.kind.chars().filter(|c| c.is_alphanumeric()).collect();
        let _ = writeln!(out, "pleiad_jobs_pending{{type=\"{name}\"}} {}", kind.count);
    }
    // As in Orthanc: of this process, and absent until the first job has ended.
    let (success, failed) = (m.jobs_success.load(Relaxed), m.jobs_failed.load(Relaxed));
    if success + failed > 0 {
        let _ = writeln!(out, "orthanc_jobs_total_completed {}", success + failed);
        let _ = writeln!(out, "orthanc_jobs_total_success {success}\northanc_jobs_total_failed {failed}");
    }
    out += &rest.latencies.render("pleiad_http_request_duration_seconds");
    let mut out = stamped(&out, SystemTime::now());
    if let Some(peak) = rest.latencies.active.peak() {
        let free = rest.system.http_threads.saturating_sub(peak.requests);
        let lines = format!("orthanc_rest_api_active_requests {}\northanc_available_http_threads_count {free}\n", peak.requests);
        out += &stamped(&lines, peak.at);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], out))
}

/// The metrics with their time, in milliseconds since 1970.
fn stamped(metrics: &str, at: SystemTime) -> String {
    let ms = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    metrics.lines().map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} {ms}\n") }).collect()
}
