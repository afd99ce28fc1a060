//! `/jobs`: the registry that all processes share (Orthanc book, "Jobs"). The statuses of refusals are Orthanc's: what does not
//! apply is an empty 404 for `GET`, an empty 400 for `POST`, and a described 404 for outputs and deletions.

use crate::state::Rest;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use engine::{jobs, read};
use http::{HeaderMap, StatusCode, header};
use model::job::{Acted, Job, JobAction, JobId, JobState};
use model::{Error, ErrorKind, time};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use web::error::HttpResult;
use web::range::{self, File};
use web::{Caller, Json, Params};

pub fn routes() -> Router<Arc<Rest>> {
    let act = |action| post(move |rest, caller, path| post_action(rest, caller, path, action));
    let output = || get(get_output).delete(delete_output);
    Router::new()
        .route("/jobs", get(get_all))
        .route("/jobs/{id}", get(get_one).delete(delete_one))
        .route("/jobs/{id}/cancel", act(JobAction::Cancel).merge(output()))
        .route("/jobs/{id}/pause", act(JobAction::Pause).merge(output()))
        .route("/jobs/{id}/resume", act(JobAction::Resume).merge(output()))
        .route("/jobs/{id}/resubmit", act(JobAction::Resubmit).merge(output()))
        .route("/jobs/{id}/{key}", output())
}

/// `GET /jobs`: ids, or whole jobs with `?expand`.
async fn get_all(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, params: Params) -> HttpResult<Json> {
    Ok(Json(if params.flag("expand")? {
        let jobs = jobs::list(&rest.engine, &ctx).await?;
        let blocked = jobs::blocked(&rest.engine, &jobs).await?;
        jobs.iter().map(|job| view(job, blocked.get(&job.id))).collect()
    } else {
        jobs::ids(&rest.engine, &ctx).await?.iter().map(ToString::to_string).collect()
    }))
}

/// `GET /jobs/{id}`.
async fn get_one(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>) -> HttpResult<Response> {
    let found = match id.parse() {
        Ok(id) => jobs::one(&rest.engine, &ctx, id).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(job) => {
            let blocked = jobs::blocked(&rest.engine, std::slice::from_ref(&job)).await?;
            Ok(Json(view(&job, blocked.get(&job.id))).into_response())
        }
        Err(error) if error.kind() == ErrorKind::InexistentItem => Ok(StatusCode::NOT_FOUND.into_response()),
        Err(error) => Err(error.into()),
    }
}

/// `DELETE /jobs/{id}`: forgets a job that has ended, with its outputs.
async fn delete_one(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, Path(id): Path<String>) -> HttpResult<Response> {
    let none = |_| Error::new(ErrorKind::InexistentItem, format!("No job found with this id: {id}"));
    let job: JobId = id.parse().map_err(none)?;
    jobs::delete(&rest.engine, &ctx, job).await.map_err(|e| if e.kind() == ErrorKind::InexistentItem { none(e) } else { e })?;
    Ok(empty())
}

/// An empty answer in text, as Orthanc gives to deletions.
fn empty() -> Response {
    ([(header::CONTENT_TYPE, "text/plain")], "").into_response()
}

/// `POST /jobs/{id}/cancel` and the other actions. The body is ignored.
async fn post_action(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    action: JobAction,
) -> HttpResult<Response> {
    let acted = match id.parse() {
        Ok(id) => jobs::act(&rest.engine, &ctx, id, action).await?,
        Err(_) => Acted::Unknown,
    };
    Ok(match acted {
        Acted::Accepted => ([(header::CONTENT_TYPE, "application/json")], "{}").into_response(),
        Acted::Refused | Acted::Unknown => StatusCode::BAD_REQUEST.into_response(),
    })
}

/// The output that a path names.
fn named(path: &str, key: &str) -> Result<JobId, Error> {
    path.parse().map_err(|_| missing(key))
}

fn missing(key: &str) -> Error {
    Error::new(ErrorKind::InexistentItem, format!("Job has no such output: {key}"))
}

/// The last two parts of the path: the routes of actions name no key.
fn id_and_key(uri: &http::Uri) -> (String, String) {
    let mut parts = uri.path().trim_end_matches('/').rsplit('/');
    let key = parts.next().unwrap_or_default();
    let id = parts.next().unwrap_or_default();
    (web::params::decode(id), web::params::decode(key))
}

/// `GET /jobs/{id}/{key}`: a file that the job made, for example its archive.
async fn get_output(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    uri: http::Uri,
    headers: HeaderMap,
) -> HttpResult<Response> {
    let (id, key) = id_and_key(&uri);
    let output = jobs::output(&rest.engine, &ctx, named(&id, &key)?, &key).await;
    let output = output.map_err(|e| if e.kind() == ErrorKind::InexistentItem { missing(&key) } else { e })?;
    let etag = format!("\"{}\"", output.blob);
    if range::not_modified(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let file = File {
        size_bytes: output.size_bytes,
        mime: output.mime,
        etag: Some(etag),
        filename: Some(output.file_name),
        range: range::requested(&headers, output.size_bytes)?,
    };
    let bytes = read::blob(&rest.engine, output.blob, file.wanted()).await?;
    Ok(file.respond(bytes))
}

/// `DELETE /jobs/{id}/{key}`.
async fn delete_output(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, uri: http::Uri) -> HttpResult<Response> {
    let (id, key) = id_and_key(&uri);
    let deleted = jobs::delete_output(&rest.engine, &ctx, named(&id, &key)?, &key).await;
    deleted.map_err(|e| if e.kind() == ErrorKind::InexistentItem { missing(&key) } else { e })?;
    Ok(empty())
}

/// The answer to an asynchronous creation.
pub fn created(id: JobId) -> Json {
    Json(json!({ "ID": id.to_string(), "Path": format!("/jobs/{id}") }))
}

/// A job as clients see it (Orthanc book, "Monitoring jobs"). Ours: `Cluster.Blocked`, why it waits if nobody may run it.
fn view(job: &Job, blocked: Option<&String>) -> Value {
    let mut out = Map::new();
    if let Some(reason) = blocked {
        out.insert("Cluster".into(), json!({ "Blocked": reason }));
    }
    if let Some(at) = job.completed_at.filter(|_| job.state.is_final()) {
        out.insert("CompletionTime".into(), time::iso_micros(at).into());
    }
    out.insert("Content".into(), job.content.clone());
    out.insert("CreationTime".into(), time::iso_micros(job.created_at).into());
    out.insert("EffectiveRuntime".into(), json!(job.runtime.as_millis() as f64 / 1000.0));
    out.insert("ErrorCode".into(), job.error.code.into());
    out.insert("ErrorDescription".into(), description(job.error.code).into());
    out.insert("ErrorDetails".into(), job.error.details.clone().into());
    if let Some(payload) = &job.error.payload {
        out.insert("ErrorPayload".into(), payload.clone());
    }
    let now = SystemTime::now();
    if let Some(left) = remaining(job) {
        out.insert("EstimatedTimeOfArrival".into(), time::iso_micros(now + left).into());
    }
    out.insert("ID".into(), job.id.to_string().into());
    out.insert("Priority".into(), job.priority.into());
    out.insert("Progress".into(), ((job.progress.clamp(0.0, 1.0) * 100.0).round() as i64).into());
    out.insert("State".into(), job.state.name().into());
    out.insert("Timestamp".into(), time::iso_micros(now).into());
    out.insert("Type".into(), job.kind.clone().into());
    if let Some(data) = &job.user_data {
        out.insert("UserData".into(), data.clone());
    }
    Value::Object(out)
}

fn description(code: i32) -> &'static str {
    if code == 0 { "Success" } else { ErrorKind::from_code(code).unwrap_or(ErrorKind::Internal).text() }
}

/// How long a running job will probably go on, at the speed so far.
fn remaining(job: &Job) -> Option<Duration> {
    let running = job.state == JobState::Running && job.progress > 0.01;
    running.then(|| job.runtime.mul_f64(((1.0 - job.progress) / job.progress).clamp(0.0, 100.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::job::JobError;

    fn job(state: JobState, progress: f64) -> Job {
        Job {
            id: JobId::random(),
            kind: "Archive".into(),
            version: 1,
            priority: -3,
            state,
            progress,
            error: JobError::default(),
            content: json!({}),
            user_data: None,
            created_at: SystemTime::UNIX_EPOCH,
            completed_at: Some(SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_007)),
            runtime: Duration::from_millis(2500),
            owner: None,
            epoch: 1,
            crashes: 0,
        }
    }

    #[test]
    fn fields_come_and_go_with_the_state() {
        let done = view(&job(JobState::Success, 1.0), None);
        assert_eq!(done["CompletionTime"], "19700101T000001.500007");
        assert_eq!(done["CreationTime"], "19700101T000000.000000");
        assert_eq!((&done["EffectiveRuntime"], &done["Progress"]), (&json!(2.5), &json!(100)));
        assert!(done.get("EstimatedTimeOfArrival").is_none() && done.get("UserData").is_none());
        let running = view(&job(JobState::Running, 0.5), None);
        assert!(running.get("CompletionTime").is_none() && running["EstimatedTimeOfArrival"].is_string());
        assert!(view(&job(JobState::Running, 0.001), None).get("EstimatedTimeOfArrival").is_none());
        assert_eq!(view(&job(JobState::Pending, 0.334), None)["Progress"], 33);
        assert!(running.get("Cluster").is_none());
        assert_eq!(view(&job(JobState::Pending, 0.0), Some(&"x".into()))["Cluster"]["Blocked"], "x");
    }

    #[test]
    fn every_code_has_a_description() {
        assert_eq!(description(0), "Success");
        assert_eq!(description(37), "This job was canceled");
        assert_eq!(description(9), "Error in the network protocol");
        assert_eq!(description(123_456), "Internal error");
    }
}
