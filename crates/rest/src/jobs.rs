//! `/jobs`: the registry that all processes share (Orthanc book, "Jobs"). The statuses of refusals are Orthanc's: what does not
//! apply is an empty 404 for `GET`, an empty 400 for `POST`, and a described 404 for outputs and deletions.

use crate::creation::Fields;
use crate::routes::{Kind, Parameter, Routes, about};
use crate::schema;
use crate::state::Rest;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use engine::jobs::JobKind;
use engine::{Ctx, jobs, read};
use http::{HeaderMap, StatusCode, header};
use model::job::{Acted, Job, JobAction, JobId, JobQuery, JobState};
use model::{Error, ErrorKind, time};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use web::error::HttpResult;
use web::range::{self, File};
use web::{Caller, Json, Params};

pub fn routes() -> Routes {
    let page: [Parameter; 7] = [
        ("expand", Kind::Flag, "Whole jobs, not only their ids"),
        ("state", Kind::Text, "Only jobs in these states: `Pending,Running`"),
        ("type", Kind::Text, "Only jobs of this type"),
        ("since", Kind::Text, "The last job that the caller has seen"),
        ("limit", Kind::Count, "How many are shown at most"),
        ("sort", Kind::OneOf(&["created", "-created"]), "The oldest first, or the newest"),
        CLUSTER,
    ];
    let steps =
        [("since", Kind::Count, "How many steps are left out at the beginning"), ("limit", Kind::Count, "How many are shown")];
    let job = |summary| about(summary).answers_nothing(404, "There is no such job");
    let wait = job("Waits until a job has ended.").query(&[("timeout", Kind::Number, "Seconds, at most 60"), CLUSTER]).json();
    let output = about("A file that the job has made.").file("application/zip");
    let no_output = || about("Deletes a file that the job has made.").text();
    let control = |summary| about(summary).json().answers_nothing(400, "There is no such job, or its state does not allow it");
    let mut routes = Routes::default()
        .get("/jobs", get_all, about("Lists jobs.").query(&page).json())
        .get("/jobs/{id}", get_one, job("A job.").query(&[CLUSTER]).json())
        .delete("/jobs/{id}", delete_one, about("Forgets a job that has ended.").text())
        .get("/jobs/{id}/wait", get_wait, wait)
        .get("/jobs/{id}/steps", get_steps, job("What became of each step of a job.").query(&steps).json())
        .post("/jobs/{id}/priority", post_priority, control("Sets the priority of a job.").text_body(schema::integer()))
        .get("/jobs/{id}/priority", get_output, output.clone())
        .get("/jobs/{id}/{key}", get_output, output.clone());
    for (name, action, summary) in ACTIONS {
        let path = format!("/jobs/{{id}}/{name}");
        let act = move |rest, caller, path| post_action(rest, caller, path, action);
        routes = routes.post(&path, act, control(summary)).get(&path, get_output, output.clone());
    }
    // A name of an output may be that of an action.
    ACTIONS
        .into_iter()
        .map(|(name, ..)| name)
        .chain(["priority", "steps", "wait", "{key}"])
        .fold(routes, |routes, key| routes.delete(&format!("/jobs/{{id}}/{key}"), delete_output, no_output()))
}

const ACTIONS: [(&str, JobAction, &str); 4] = [
    ("cancel", JobAction::Cancel, "Ends a job."),
    ("pause", JobAction::Pause, "Stops a job for a while."),
    ("resume", JobAction::Resume, "Goes on with a paused job."),
    ("resubmit", JobAction::Resubmit, "Begins a job again that has failed."),
];
const CLUSTER: Parameter = ("cluster", Kind::Flag, "Also which process runs it");

/// Arguments of `GET /jobs` that ask for a page.
const PAGE: [&str; 5] = ["state", "type", "since", "limit", "sort"];
/// Jobs or steps in a page: if nothing else is asked for, and at most.
const LIMITS: (u32, u32) = (100, 1000);

/// `GET /jobs`: ids, or whole jobs with `?expand`. Ours: with `state`, `type`, `since`, `limit` or `sort`, a page of them.
async fn get_all(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, params: Params) -> HttpResult<Json> {
    let (expand, cluster) = (params.flag("expand")?, params.flag("cluster")?);
    let jobs = if PAGE.iter().any(|name| params.has(name)) {
        jobs::page(&rest.engine, &ctx, &query(&params)?).await?
    } else if expand {
        jobs::list(&rest.engine, &ctx).await?
    } else {
        return Ok(Json(jobs::ids(&rest.engine, &ctx).await?.iter().map(ToString::to_string).collect()));
    };
    if !expand {
        return Ok(Json(jobs.iter().map(|job| job.id.to_string()).collect()));
    }
    Ok(Json(Value::Array(views(&rest, &jobs, cluster).await?)))
}

fn bad(message: String) -> Error {
    Error::new(ErrorKind::BadRequest, message)
}

/// The page that the arguments ask for.
fn query(params: &Params) -> Result<JobQuery, Error> {
    let state = |name: &str| {
        let found = JobState::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| bad(format!("argument \"state\" must name states of jobs, not {name:?}")))
    };
    let states = params.get("state").map(|names| names.split(',').map(state).collect::<Result<_, _>>()).transpose()?;
    let since = params.get("since").map(|id| id.parse().map_err(|_| bad(format!("argument \"since\" is no job: {id:?}"))));
    let newest_first = match params.get("sort") {
        None | Some("created") => false,
        Some("-created") => true,
        Some(other) => return Err(bad(format!("argument \"sort\" must be created or -created, not {other:?}"))),
    };
    Ok(JobQuery {
        states: states.unwrap_or_default(),
        kind: params.get("type").map(str::to_owned),
        since: since.transpose()?,
        newest_first,
        limit: limit(params)?,
    })
}

fn limit(params: &Params) -> Result<u32, Error> {
    let limit = params.number("limit")?.unwrap_or(LIMITS.0);
    if (1..=LIMITS.1).contains(&limit) {
        return Ok(limit);
    }
    Err(bad(format!("argument \"limit\" must be from 1 to {}, not {limit}", LIMITS.1)))
}

/// Jobs as clients see them. Ours, with `?cluster`: the member `Cluster` of each.
async fn views(rest: &Rest, jobs: &[Job], cluster: bool) -> Result<Vec<Value>, Error> {
    let blocked = jobs::blocked(&rest.engine, jobs).await?;
    Ok(jobs
        .iter()
        .map(|job| {
            let mut out = view(job, blocked.get(&job.id));
            if cluster {
                out["Cluster"]["Attempt"] = job.epoch.into();
                out["Cluster"]["Blocked"] = blocked.get(&job.id).cloned().into();
                out["Cluster"]["Crashes"] = job.crashes.into();
                out["Cluster"]["Owner"] = job.owner.map(|node| node.to_string()).into();
            }
            out
        })
        .collect())
}

/// A job, or an empty 404.
async fn shown(rest: &Rest, found: Result<Job, Error>, params: &Params) -> HttpResult<Response> {
    match found {
        Ok(job) => Ok(Json(views(rest, &[job], params.flag("cluster")?).await?.pop().unwrap_or_default()).into_response()),
        Err(error) if error.kind() == ErrorKind::InexistentItem => Ok(StatusCode::NOT_FOUND.into_response()),
        Err(error) => Err(error.into()),
    }
}

/// `GET /jobs/{id}`.
async fn get_one(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    params: Params,
) -> HttpResult<Response> {
    let found = match id.parse() {
        Ok(id) => jobs::one(&rest.engine, &ctx, id).await,
        Err(error) => Err(error),
    };
    shown(&rest, found, &params).await
}

/// How long `GET /jobs/{id}/wait` waits in seconds: if nothing else is asked for, and at most.
const WAIT_S: (f64, f64) = (10.0, 60.0);

/// `GET /jobs/{id}/wait?timeout=`: the job when it has ended, or as it is after so many seconds.
async fn get_wait(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    params: Params,
) -> HttpResult<Response> {
    let seconds: f64 = params.number("timeout")?.unwrap_or(WAIT_S.0);
    if !(0.0..=WAIT_S.1).contains(&seconds) {
        return Err(bad(format!("argument \"timeout\" must be from 0 to {} seconds, not {seconds}", WAIT_S.1)).into());
    }
    let found = match id.parse() {
        Ok(id) => jobs::wait(&rest.engine, &ctx, id, Duration::from_secs_f64(seconds)).await,
        Err(error) => Err(error),
    };
    shown(&rest, found, &params).await
}

/// `GET /jobs/{id}/steps?since=&limit=`: what became of each step that is finished, for example of each instance of a send.
async fn get_steps(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    params: Params,
) -> HttpResult<Response> {
    let (from, limit) = (params.number("since")?.unwrap_or(0), limit(&params)?);
    let steps = match id.parse() {
        Ok(id) => jobs::steps(&rest.engine, &ctx, id, from, limit).await,
        Err(error) => Err(error),
    };
    let steps = match steps {
        Ok(steps) => steps,
        Err(error) if error.kind() == ErrorKind::InexistentItem => return Ok(StatusCode::NOT_FOUND.into_response()),
        Err(error) => return Err(error.into()),
    };
    let view = |step: model::job::JobStep| {
        let mut out = if step.outcome.is_object() { step.outcome } else { json!({}) };
        out["Position"] = step.position.into();
        out
    };
    Ok(Json(steps.into_iter().map(view).collect()).into_response())
}

/// `POST /jobs/{id}/priority`: the body is a number. An empty 400 for an unknown job and one that has ended, as for the actions.
async fn post_priority(
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    body: Body,
) -> HttpResult<Response> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    let number = number.ok_or_else(|| bad("the body must be a priority: an integer of 32 bits".into()))?;
    let acted = match id.parse() {
        Ok(id) => jobs::set_priority(&rest.engine, &ctx, id, number).await?,
        Err(_) => Acted::Unknown,
    };
    Ok(answer(acted))
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
    Ok(answer(acted))
}

fn answer(acted: Acted) -> Response {
    match acted {
        Acted::Accepted => ([(header::CONTENT_TYPE, "application/json")], "{}").into_response(),
        Acted::Refused | Acted::Unknown => StatusCode::BAD_REQUEST.into_response(),
    }
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

/// Begins a job, as the body of the request wants it: its `Content` when it has ended, or its id.
pub async fn begin<K: JobKind>(rest: &Rest, ctx: &Ctx, job: &K, fields: &Fields) -> HttpResult<Json> {
    let options = fields.options()?;
    if fields.is_synchronous()? {
        return Ok(Json(jobs::run(&rest.engine, ctx, job, options).await?));
    }
    Ok(created(jobs::submit(&rest.engine, ctx, job, options).await?))
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
