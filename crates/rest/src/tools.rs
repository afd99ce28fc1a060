//! `/tools`: clock, identifiers, scripts, settings, logs, shutdown.

use crate::routes::{Kind, Routes, about};
use crate::schema;
use crate::state::Rest;
use axum::body::Body;
use axum::extract::State;
use engine::logs::{Category, Verbosity};
use engine::{annotations, script, settings};
use http::Uri;
use model::{Error, ErrorKind, Result, time};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use web::error::HttpResult;
use web::{Caller, Json, Params};

pub fn routes() -> Routes {
    let level = ("level", Kind::OneOf(&["patient", "study", "series", "instance"]), "What the identifier is for");
    let syntaxes = about("Sets which transfer syntaxes are accepted: one, or an array with wildcards.").text_body(schema::text());
    let script = about("Runs Lua (`ExecuteLuaEnabled`).").text_body(schema::text()).text().fails("The script fails");
    let log = |routes: Routes, path: &str| {
        let put = about("Sets how much is logged.").text_body(schema::one_of(&["default", "verbose", "trace"])).text();
        routes.get(path, get_log_level, about("How much is logged.").text()).put(path, put_log_level, put)
    };
    let routes = Category::ALL
        .into_iter()
        .fold(Routes::default(), |routes, category| log(routes, &format!("/tools/log-level-{}", category.name())));
    log(routes, "/tools/log-level")
        .get("/tools", get_tools, about("What is below.").json())
        .get("/tools/now", get_now, about("The time (UTC).").text())
        .get("/tools/now-local", get_now_local, about("The time where the server is.").text())
        .get("/tools/generate-uid", get_uid, about("A new identifier.").required(level).text())
        .get("/tools/labels", get_labels, about("All labels that any resource has.").json())
        .post("/tools/shutdown", post_shutdown, about("Stops the process.").json())
        .post(
            "/tools/reset",
            post_reset,
            about("Stops the process and starts it with its configuration as it is by then.").json(),
        )
        .post("/tools/execute-script", post_script, script)
        .get("/tools/default-encoding", get_encoding, about("The character set of files that name none.").text())
        .put(
            "/tools/default-encoding",
            put_encoding,
            about("Sets the character set of files that name none.").text_body(schema::text()).text(),
        )
        .get("/tools/accepted-transfer-syntaxes", get_syntaxes, about("Which transfer syntaxes are accepted.").json())
        .put(
            "/tools/accepted-transfer-syntaxes",
            put_syntaxes,
            syntaxes.body("application/json", schema::list(schema::text())).json(),
        )
        .get("/tools/accepted-sop-classes", get_sop_classes, about("Which SOP classes are accepted.").json())
        .get("/tools/unknown-sop-class-accepted", get_unknown, about("Whether other SOP classes are accepted.").text())
        .put(
            "/tools/unknown-sop-class-accepted",
            put_unknown,
            about("Accepts other SOP classes, or not.").text_body(switch()).text(),
        )
        .post("/tools/invalidate-tags", post_invalidate, about("Does nothing: no tags are kept.").text())
}

/// What [`flag`] reads.
pub(crate) fn switch() -> Value {
    schema::one_of(&["1", "0", "true", "false"])
}

/// What is below `/tools`, built or not.
const TOOLS: &[&str] = &[
    "accepted-sop-classes",
    "accepted-transfer-syntaxes",
    "bulk-anonymize",
    "bulk-content",
    "bulk-delete",
    "bulk-modify",
    "count-resources",
    "create-archive",
    "create-dicom",
    "create-media",
    "create-media-extended",
    "default-encoding",
    "dicom-conformance",
    "dicom-echo",
    "execute-script",
    "find",
    "generate-uid",
    "invalidate-tags",
    "labels",
    "log-level",
    "log-level-dicom",
    "log-level-generic",
    "log-level-http",
    "log-level-jobs",
    "log-level-lua",
    "log-level-plugins",
    "log-level-sqlite",
    "lookup",
    "metrics",
    "metrics-prometheus",
    "now",
    "now-local",
    "reconstruct",
    "reset",
    "shutdown",
    "unknown-sop-class-accepted",
];

/// `GET /tools`.
async fn get_tools() -> Json {
    Json(json!(TOOLS))
}

/// The body as text.
///
/// # Errors
/// `BadRequest` if it is no UTF-8.
pub(crate) async fn text(body: Body) -> Result<String> {
    let bytes = web::body::read(body, web::json::MAX_JSON_BYTES).await?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::new(ErrorKind::BadRequest, "the body must be UTF-8"))
}

/// `GET /tools/now`: UTC.
async fn get_now() -> String {
    time::now_iso()
}

/// `GET /tools/now-local`: the time of the zone that this process lives in.
async fn get_now_local() -> String {
    chrono::Local::now().format("%Y%m%dT%H%M%S").to_string()
}

/// `GET /tools/generate-uid?level=`: a new UID (PS3.5 B.2), or a UUID for patients.
async fn get_uid(params: Params) -> HttpResult<String> {
    let random = uuid::Uuid::new_v4();
    match params.get("level") {
        Some("patient") => Ok(random.to_string()),
        Some("study" | "series" | "instance") => Ok(format!("2.25.{}", random.as_u128())),
        _ => Err(Error::new(ErrorKind::UnknownResource, "level must be patient, study, series or instance").into()),
    }
}

/// `GET /tools/labels`.
async fn get_labels(State(rest): State<Arc<Rest>>, Caller(ctx): Caller) -> HttpResult<Json> {
    Ok(Json(json!(annotations::labels(&rest.engine, &ctx).await?)))
}

/// `POST /tools/shutdown`.
async fn post_shutdown(State(rest): State<Arc<Rest>>) -> Json {
    rest.shutdown.cancel();
    Json(json!({}))
}

/// `POST /tools/reset`: this process stops as for `shutdown`, reads its configuration again and starts.
async fn post_reset(State(rest): State<Arc<Rest>>) -> Json {
    rest.restart.store(true, Relaxed);
    rest.shutdown.cancel();
    Json(json!({}))
}

/// `POST /tools/execute-script`: runs Lua, if `ExecuteLuaEnabled`.
async fn post_script(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<String> {
    if !rest.system.execute_lua_enabled {
        return Err(Error::new(ErrorKind::Forbidden, "scripts are off (ExecuteLuaEnabled)").into());
    }
    Ok(script::execute(&rest.engine, &ctx, text(body).await?).await?)
}

/// `GET /tools/default-encoding`.
async fn get_encoding(State(rest): State<Arc<Rest>>) -> String {
    rest.engine.settings.default_encoding().name().to_owned()
}

/// `PUT /tools/default-encoding`.
async fn put_encoding(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<String> {
    settings::set_default_encoding(&rest.engine, &ctx, text(body).await?.trim()).await?;
    Ok(get_encoding(State(rest)).await)
}

fn syntaxes(rest: &Rest) -> Vec<String> {
    rest.engine.settings.accepted_transfer_syntaxes().unwrap_or_else(|| rest.system.accepted_transfer_syntaxes.clone())
}

/// `GET /tools/accepted-transfer-syntaxes`.
async fn get_syntaxes(State(rest): State<Arc<Rest>>) -> Json {
    Json(json!(syntaxes(&rest)))
}

/// `PUT /tools/accepted-transfer-syntaxes`: one UID, or a JSON array of UIDs with wildcards.
async fn put_syntaxes(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<Json> {
    let body = text(body).await?;
    let bad = || Error::new(ErrorKind::BadDicom, "the body must be a transfer syntax, or a JSON array of them");
    let patterns: Vec<String> = match serde_json::from_str(&body) {
        Ok(Value::Array(all)) => all.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(bad)).collect::<Result<_>>()?,
        Ok(_) => return Err(bad().into()),
        Err(_) => vec![body.trim().to_owned()],
    };
    let chosen = rest.system.known_transfer_syntaxes.iter().filter(|uid| {
        let one = |p: &String| model::matching::matches(&model::query::Rule::Wildcard(p.clone()), uid, true);
        patterns.iter().any(one)
    });
    settings::set_accepted_transfer_syntaxes(&rest.engine, &ctx, chosen.cloned().collect()).await?;
    Ok(Json(json!(syntaxes(&rest))))
}

/// `GET /tools/accepted-sop-classes`.
async fn get_sop_classes(State(rest): State<Arc<Rest>>) -> Json {
    Json(json!(rest.system.accepted_sop_classes))
}

/// `GET /tools/unknown-sop-class-accepted`: `1` or `0`.
async fn get_unknown(State(rest): State<Arc<Rest>>) -> String {
    let accepted = rest.engine.settings.unknown_sop_class_accepted().unwrap_or(rest.system.unknown_sop_class_accepted);
    u8::from(accepted).to_string()
}

/// `PUT /tools/unknown-sop-class-accepted`.
async fn put_unknown(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<String> {
    let accepted = flag(&text(body).await?)?;
    settings::set_unknown_sop_class_accepted(&rest.engine, &ctx, accepted).await?;
    Ok(String::new())
}

/// The Boolean that a body is.
///
/// # Errors
/// `BadDicom` (Orthanc: "Bad file format") for anything else.
pub(crate) fn flag(text: &str) -> Result<bool> {
    match text.trim() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(Error::new(ErrorKind::BadDicom, format!("a Boolean was expected, not {other:?}"))),
    }
}

/// The category that a path names; none for all of them.
fn category(uri: &Uri) -> Option<Category> {
    let name = uri.path().strip_prefix("/tools/log-level-")?;
    Category::ALL.into_iter().find(|c| c.name() == name)
}

/// `GET /tools/log-level` and `/tools/log-level-{category}`: `default`, `verbose` or `trace`; of all, the most talkative counts.
async fn get_log_level(State(rest): State<Arc<Rest>>, uri: Uri) -> &'static str {
    let levels = rest.engine.settings.log_levels();
    category(&uri).map_or_else(|| levels.highest(), |c| levels.of(c)).name()
}

/// `PUT /tools/log-level` and `/tools/log-level-{category}`.
async fn put_log_level(State(rest): State<Arc<Rest>>, Caller(ctx): Caller, uri: Uri, body: Body) -> HttpResult<String> {
    let verbosity = Verbosity::parse(&text(body).await?)?;
    settings::set_log_level(&rest.engine, &ctx, category(&uri), verbosity).await?;
    Ok(String::new())
}

/// `POST /tools/invalidate-tags`: tags are read from the files at each request, so no copy of them can be out of date.
async fn post_invalidate() -> String {
    String::new()
}
