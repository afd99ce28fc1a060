//! `/tools/metrics`, `/tools/metrics-prometheus`.

use crate::routes::{Routes, about};
use crate::state::Rest;
use crate::tools;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::{changes, jobs, settings, statistics};
use http::header;
use model::job::JobState;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};
use web::Caller;
use web::error::HttpResult;

pub fn routes() -> Routes {
    Routes::default()
        .get("/tools/metrics", get_enabled, about("Whether metrics are collected.").text())
        .put("/tools/metrics", put_enabled, about("Collects metrics, or not.").text_body(tools::switch()).text())
        .get("/tools/metrics-prometheus", get_metrics, about("The metrics, for Prometheus.").text())
}

fn is_on(rest: &Rest) -> bool {
    rest.engine.settings.metrics_enabled().unwrap_or(rest.system.metrics_enabled)
}

/// `GET /tools/metrics`: `1` or `0`.
async fn get_enabled(State(rest): State<Arc<Rest>>) -> String {
    u8::from(is_on(&rest)).to_string()
}

/// `PUT /tools/metrics`: the metrics of every process are empty while they are off.
async fn put_enabled(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<String> {
    settings::set_metrics_enabled(&rest.engine, &ctx, tools::flag(&tools::text(body).await?)?).await?;
    Ok(String::new())
}

/// `GET /tools/metrics-prometheus`: Orthanc's names, and latencies as histograms.
async fn get_metrics(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<Response> {
    const MIME: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    if !is_on(&rest) {
        return Ok((MIME, "").into_response());
    }
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
    Ok((MIME, out).into_response())
}

/// The metrics with their time, in milliseconds since 1970.
fn stamped(metrics: &str, at: SystemTime) -> String {
    let ms = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    metrics.lines().map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} {ms}\n") }).collect()
}
