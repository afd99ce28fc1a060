//! `/{level}/{id}/archive` and `/tools/create-archive` (Orthanc book, "Downloading a ZIP archive"), and the same with `media`.

use crate::creation::{self, Fields};
use crate::jobs::created;
use crate::routes::{About, Kind, Parameter, Routes, about};
use crate::schema;
use crate::state::Rest;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use engine::jobs::JobOptions;
use engine::jobs::kinds::{Archive, ArchiveOptions, Form, archive};
use engine::{Ctx, Engine};
use futures_util::StreamExt;
use futures_util::future::ready;
use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue, header};
use model::job::JobId;
use model::{Error, ErrorKind, Level, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use web::error::HttpResult;
use web::range::{File, disposition};
use web::{Caller, Params};

/// The name of an archive of several resources.
const SEVERAL: &str = "Archive";
/// Bytes of a temporary file that are read at once.
const PIECE_BYTES: usize = 256 << 10;

pub fn routes() -> Routes {
    let levels = [Level::Patient, Level::Study, Level::Series].into_iter();
    let routes = levels.fold(Routes::default(), |routes, level| {
        let one = format!("/{}/{{id}}", level.folder());
        let routes = add_one(routes, &format!("{one}/archive"), Form::Archive);
        add_one(routes, &format!("{one}/media"), Form::Media)
    });
    let routes = add_several(routes, "/tools/create-archive", Form::Archive);
    let routes = add_several(routes, "/tools/create-media", Form::Media);
    add_several(routes, "/tools/create-media-extended", Form::ExtendedMedia)
}

fn add_one(routes: Routes, path: &str, form: Form) -> Routes {
    let get = move |rest, caller, id, params| get_one(form, rest, caller, id, params);
    let post = move |rest, caller, id, body| post_one(form, rest, caller, id, body);
    let now = about("A ZIP of a resource.").query(&ARGUMENTS);
    // As in Orthanc, a body that is no object says nothing.
    let body = schema::any_of(&[schema::object(&[], members()), json!({ "not": { "type": "object" } })]);
    let made = about("Makes a ZIP of a resource, now or as a job.").json_body(body).json();
    routes.get(path, get, zip(now)).post(path, post, zip(made))
}

fn add_several(routes: Routes, path: &str, form: Form) -> Routes {
    let get = move |rest, caller, params| get_several(form, rest, caller, params);
    let post = move |rest, caller, body| post_several(form, rest, caller, body);
    let resources = ("resources", Kind::Text, "The identifiers of resources: `A,B`");
    let mut all = members();
    all.push(("Resources", schema::list(schema::text())));
    let body = schema::any_of(&[schema::object(&["Resources"], all), schema::list(schema::text())]);
    let now = about("A ZIP of resources.").required(resources).query(&ARGUMENTS);
    let made = about("Makes a ZIP of resources, now or as a job.").json_body(body).json();
    routes.get(path, get, zip(now)).post(path, post, zip(made))
}

fn zip(about: About) -> About {
    about.answers(200, "application/zip", "The ZIP")
}

/// What [`options`] reads.
const ARGUMENTS: [Parameter; 4] = [
    ("filename", Kind::Text, "The name that a browser gives the file"),
    ("extended", Kind::Flag, "Media with more keys in its DICOMDIR"),
    ("transcode", Kind::Text, "The transfer syntax of the files"),
    ("lossy-quality", Kind::Count, "From 1 to 100, for transfer syntaxes that lose"),
];

/// What [`options_in`] and [`create`] read.
fn members() -> Vec<(&'static str, Value)> {
    let mut members = vec![
        ("Extended", schema::flag()),
        ("Filename", schema::text()),
        ("LossyQuality", schema::count()),
        ("Transcode", schema::text()),
        ("Utf8", schema::flag()),
    ];
    members.extend(creation::members());
    members
}

/// Media with more keys, if they are wanted.
fn extend(form: Form, is_wanted: bool) -> Form {
    match form {
        Form::Archive => Form::Archive,
        Form::Media | Form::ExtendedMedia if is_wanted => Form::ExtendedMedia,
        Form::Media | Form::ExtendedMedia => Form::Media,
    }
}

/// What the query string says about an archive.
fn options(form: Form, params: &Params) -> Result<ArchiveOptions> {
    let text = |key| params.get(key).filter(|t| !t.is_empty()).map(str::to_owned);
    Ok(ArchiveOptions {
        form: extend(form, params.flag("extended")? || form == Form::ExtendedMedia),
        file_name: text("filename"),
        utf8: false,
        transcode: text("transcode"),
        lossy_quality: params.number("lossy-quality")?,
    })
}

/// What a body says about an archive.
fn options_in(form: Form, fields: &Fields) -> Result<ArchiveOptions> {
    Ok(ArchiveOptions {
        form: extend(form, fields.flag("Extended", form == Form::ExtendedMedia)?),
        file_name: fields.string("Filename")?.map(str::to_owned),
        utf8: fields.flag("Utf8", false)?,
        transcode: fields.string("Transcode")?.map(str::to_owned),
        lossy_quality: fields.integer("LossyQuality")?,
    })
}

/// `GET /{level}/{id}/archive`.
async fn get_one(
    form: Form,
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    params: Params,
) -> HttpResult<Response> {
    let archive = Archive::new(&rest.engine, &[&id], &id, options(form, &params)?).await?;
    answer(&rest, &ctx, archive, JobOptions::default()).await
}

/// `POST /{level}/{id}/archive`.
async fn post_one(
    form: Form,
    State(rest): State<Arc<Rest>>,
    Caller(ctx): Caller,
    Path(id): Path<String>,
    body: Body,
) -> HttpResult<Response> {
    let fields = match creation::json(body, "").await? {
        Value::Object(map) => Fields(map),
        _ => Fields(Map::new()),
    };
    let archive = Archive::new(&rest.engine, &[&id], &id, options_in(form, &fields)?).await?;
    create(&rest, &ctx, archive, &fields).await
}

/// `GET /tools/create-archive?resources=…,…`.
async fn get_several(form: Form, State(rest): State<Arc<Rest>>, Caller(ctx): Caller, params: Params) -> HttpResult<Response> {
    let missing = || Error::new(ErrorKind::BadRequest, "Missing resources argument");
    let asked = params.get("resources").ok_or_else(missing)?;
    // Orthanc: here, and not in the body of a POST, an id counts once.
    let mut ids: Vec<&str> = Vec::new();
    for id in asked.split(',').filter(|id| !id.is_empty()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let archive = of_several(&rest, &ids, options(form, &params)?).await?;
    answer(&rest, &ctx, archive, JobOptions::default()).await
}

/// `POST /tools/create-archive`: an array of ids, or an object with `Resources`.
async fn post_several(form: Form, State(rest): State<Arc<Rest>>, Caller(ctx): Caller, body: Body) -> HttpResult<Response> {
    let bad = |message: &str| Error::new(ErrorKind::BadDicom, message);
    let body = creation::json(body, "Expected a list of resources to archive in the body").await?;
    let (ids, fields) = match body {
        Value::Object(map) => {
            let ids = map.get("Resources").cloned().ok_or_else(|| bad("Missing field Resources in the JSON body"))?;
            (ids, Fields(map))
        }
        other => (other, Fields(Map::new())),
    };
    let ids = creation::strings(&ids).ok_or_else(|| bad("Expected a list of strings that name the resources"))?;
    let archive = of_several(&rest, &ids, options_in(form, &fields)?).await?;
    create(&rest, &ctx, archive, &fields).await
}

/// Orthanc: here, what does not exist is an unknown resource, not an inexistent item.
async fn of_several(rest: &Rest, ids: &[&str], options: ArchiveOptions) -> Result<Archive> {
    Archive::new(&rest.engine, ids, SEVERAL, options).await.map_err(|error| match error.kind() {
        ErrorKind::InexistentItem => Error::new(ErrorKind::UnknownResource, error.message()),
        _ => error,
    })
}

async fn create(rest: &Rest, ctx: &Ctx, archive: Archive, fields: &Fields) -> HttpResult<Response> {
    let options = fields.options()?;
    if fields.is_synchronous()? {
        return answer(rest, ctx, archive, options).await;
    }
    Ok(created(archive::submit(&rest.engine, ctx, archive, options).await?).into_response())
}

/// Names the job that makes an archive while it is sent: if the answer is cut off, the job still tells why.
const JOB: HeaderName = HeaderName::from_static("x-orthanc-job");

/// The archive itself: while it is made, or with its length after it was made (`SynchronousZipStream`).
async fn answer(rest: &Rest, ctx: &Ctx, archive: Archive, options: JobOptions) -> HttpResult<Response> {
    let file_name = archive.file_name().to_owned();
    if rest.system.synchronous_zip_stream || rest.system.read_only {
        let id = JobId::random();
        let bytes = archive::stream(&rest.engine, ctx, id, archive, options).await?;
        // As in Orthanc: a cancelled download just ends early. Whatever else goes wrong breaks the connection.
        let bytes = bytes.take_while(|piece| ready(!piece.as_ref().is_err_and(|e| e.kind() == ErrorKind::Canceled)));
        let mut response = Body::from_stream(bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
        if let Some(disposition) = disposition(&file_name) {
            headers.insert(header::CONTENT_DISPOSITION, disposition);
        }
        if let Some(id) = HeaderValue::try_from(id.to_string()).ok().filter(|_| !rest.system.read_only) {
            headers.insert(JOB, id);
        }
        return Ok(response);
    }
    let file = tokio::fs::File::from_std(engine::import::spool(&rest.engine)?);
    // A task of its own: a client that goes away meanwhile ends nothing, and the job still succeeds.
    let all = tokio::spawn(collect(rest.engine.clone(), ctx.clone(), archive, options, file));
    let (spooled, size_bytes) =
        all.await.map_err(|e| Error::new(ErrorKind::Internal, "the archive was not finished").caused_by(e))??;
    let file = File { size_bytes, mime: "application/zip".into(), etag: None, filename: Some(file_name), range: None };
    Ok(file.respond(pieces(spooled)))
}

/// Takes the whole archive into a file. Returns it at its start, and its size in bytes.
async fn collect(
    eng: Arc<Engine>,
    ctx: Ctx,
    archive: Archive,
    options: JobOptions,
    mut file: tokio::fs::File,
) -> Result<(tokio::fs::File, u64)> {
    let cannot = |e| Error::new(ErrorKind::CannotWrite, "cannot write a temporary file (TemporaryDirectory)").caused_by(e);
    let mut bytes = archive::stream(&eng, &ctx, JobId::random(), archive, options).await?;
    let mut size = 0;
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        size += piece.len() as u64;
        file.write_all(&piece).await.map_err(cannot)?;
    }
    file.flush().await.map_err(cannot)?;
    file.rewind().await.map_err(cannot)?;
    Ok((file, size))
}

/// The bytes of a file from its start.
fn pieces(file: tokio::fs::File) -> BoxStream<'static, Result<Bytes>> {
    let read = |mut file: tokio::fs::File| async move {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        match file.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), file)),
            Err(e) => Some((Err(Error::new(ErrorKind::Corrupted, "a temporary file cannot be read").caused_by(e)), file)),
        }
    };
    futures_util::stream::unfold(file, read).boxed()
}
