//! `/webdav` (RFC 4918; Orthanc book, "WebDAV"): the tree of `engine::webdav`, and the area for uploads, as folders that file managers mount.
//!
//! What is put into `uploads` is durable when it is answered, and seen through any process until a job has imported it. Locks are answered
//! and not kept, since nothing that can be written is ever changed.

use crate::fields::RECORD;
use crate::routes::Routes;
use crate::state::{Rest, WebDav};
use crate::{files, view};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use dataset::json::Format;
use engine::webdav::{self, Entry, Place};
use engine::{Ctx, Query, find, uploads};
use http::{HeaderMap, StatusCode, header};
use model::upload::Uploaded;
use model::{AttachmentId, Error, ErrorKind, Level, OrthancId, RequestOrigin, Result, time};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;
use web::body::MaxBody;
use web::error::HttpResult;
use web::{Caller, Params};

/// The folder for uploads.
const UPLOADS: &str = "uploads";
/// What files are there, before anybody has looked into them.
const UPLOADED: &str = "application/octet-stream";
/// Parts of a path, and bytes of one.
const MOST_PARTS: usize = 32;
const LONGEST_PART: usize = 255;
/// What stands in a URL as it is (RFC 3986 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const METHODS: &str = "GET, PUT, DELETE, OPTIONS, PROPFIND, HEAD, LOCK, UNLOCK, PROPPATCH, MKCOL";

pub fn routes() -> Routes {
    Routes::default().undescribed("/webdav", any(serve)).undescribed("/webdav/{*path}", any(serve))
}

async fn serve(State(rest): State<Arc<Rest>>, Caller(mut ctx): Caller, params: Params, request: Request) -> HttpResult<Response> {
    let allowed = rest.system.webdav.ok_or(ErrorKind::UnknownResource)?;
    ctx.origin.door = RequestOrigin::WebDav;
    let path = parts(request.uri().path())?;
    Ok(match request.method().as_str() {
        "OPTIONS" => ([(header::HeaderName::from_static("dav"), "1,2"), (header::ALLOW, METHODS)], "").into_response(),
        "PROPFIND" => list(&rest, &ctx, allowed, &path, request.headers()).await?,
        "GET" | "HEAD" => read(&rest, &ctx, &path, (&params, request.headers())).await?,
        "DELETE" => delete(&rest, &ctx, allowed, &path).await?,
        "PUT" => put(&rest, &ctx, writable(allowed, &path)?, request).await?,
        "MKCOL" => make_folder(&rest, &ctx, writable(allowed, &path)?).await?,
        "LOCK" => writable(allowed, &path).map(|_| lock(request.uri().path()))?,
        "UNLOCK" => writable(allowed, &path).map(|_| StatusCode::NO_CONTENT.into_response())?,
        "PROPPATCH" => writable(allowed, &path).map(|_| patch(request.uri().path()))?,
        "POST" => return Err(Error::from(ErrorKind::UnknownResource).into()),
        other => return Err(Error::new(ErrorKind::BadRequest, format!("WebDAV without {other}: only {METHODS}")).into()),
    })
}

/// The parts of a path below `/webdav`, decoded.
///
/// # Errors
/// `BadRequest` for what is no name of a file: `..`, slashes and control characters behind escapes, invalid UTF-8, too many or too long.
fn parts(path: &str) -> Result<Vec<String>> {
    let bad = |what: &str| Error::new(ErrorKind::BadRequest, format!("a part of the path {what}"));
    let mut parts = vec![];
    for part in path.split('/').filter(|p| !p.is_empty()).skip(1) {
        let part = percent_decode_str(part).decode_utf8().map_err(|_| bad("is no UTF-8"))?;
        if part == "." || part == ".." {
            return Err(bad("leads out of its folder"));
        }
        if part.chars().any(|c| c.is_control() || c == '/' || c == '\\') {
            return Err(bad("has a character that no name has"));
        }
        if part.len() > LONGEST_PART {
            return Err(bad(&format!("is longer than {LONGEST_PART} bytes")));
        }
        parts.push(part.into_owned());
    }
    if parts.len() > MOST_PARTS {
        return Err(Error::new(ErrorKind::BadRequest, format!("the path has more than {MOST_PARTS} parts")));
    }
    Ok(parts)
}

/// The path in the area for uploads.
///
/// # Errors
/// `Forbidden` elsewhere, and where uploads are not allowed; `BadRequest` for the area itself.
fn writable(allowed: WebDav, path: &[String]) -> Result<&[String]> {
    match path.split_first() {
        Some((first, below)) if first == UPLOADS && allowed.upload => {
            if below.is_empty() {
                Err(Error::new(ErrorKind::BadRequest, "the area for uploads is a folder"))
            } else {
                Ok(below)
            }
        }
        _ => Err(Error::new(ErrorKind::Forbidden, "only the folder uploads can be written to (WebDavUploadAllowed)")),
    }
}

/// `PROPFIND`: a file or folder, and with `Depth: 1` what it shows.
async fn list(rest: &Rest, ctx: &Ctx, allowed: WebDav, path: &[String], headers: &HeaderMap) -> Result<Response> {
    let deep = match headers.get("depth").map(|v| v.as_bytes()) {
        Some(b"0") => false,
        Some(b"1") => true,
        _ => return Err(Error::new(ErrorKind::BadRequest, "PROPFIND needs the header Depth: 0 or 1")),
    };
    let mut out = Multistatus::new(path);
    if path.first().is_some_and(|first| first == UPLOADS && allowed.upload) {
        return list_uploads(rest, ctx, out, path, deep).await;
    }
    let own = webdav::locate(&rest.engine, ctx, path).await?;
    entry(rest, ctx, &mut out, &own, None).await?;
    if deep {
        for below in webdav::list(&rest.engine, ctx, &own.place).await? {
            entry(rest, ctx, &mut out, &below, Some(&below.name)).await?;
        }
        if own.place == Place::Root && allowed.upload {
            out.folder(Some(UPLOADS), UPLOADS, None);
        }
    }
    Ok(out.respond())
}

fn nothing() -> Error {
    Error::new(ErrorKind::UnknownResource, "there is no such file or folder in the area for uploads")
}

/// The same in the area for uploads: folders, and the files that wait for their import.
async fn list_uploads(rest: &Rest, ctx: &Ctx, mut out: Multistatus, path: &[String], deep: bool) -> Result<Response> {
    let (folders, files) = (uploads::folders(&rest.engine, ctx).await?, uploads::files(&rest.engine, ctx).await?);
    let own = path[1..].join("/");
    let name = path.last().map_or(UPLOADS, String::as_str);
    if !own.is_empty() && !folders.contains(&own) {
        let file = files.iter().rfind(|file| file.path == own).ok_or_else(nothing)?;
        out.uploaded(None, name, file);
        return Ok(out.respond());
    }
    out.folder(None, name, None);
    let prefix = if own.is_empty() { own } else { format!("{own}/") };
    let below = |path: &str| path.strip_prefix(&prefix).filter(|name| deep && !name.contains('/')).map(str::to_owned);
    folders.iter().filter_map(|path| below(path)).for_each(|name| out.folder(Some(&name), &name, None));
    // Of equal paths the last one is shown.
    let files: BTreeMap<_, _> = files.iter().filter_map(|file| Some((below(&file.path)?, file))).collect();
    files.iter().for_each(|(name, file)| out.uploaded(Some(name), name, file));
    Ok(out.respond())
}

/// One file or folder of the tree: `below` is its name in the folder that was asked for, none for that folder itself.
async fn entry(rest: &Rest, ctx: &Ctx, out: &mut Multistatus, entry: &Entry, below: Option<&str>) -> Result<()> {
    let modified = entry.modified.as_deref();
    match entry.place {
        Place::Record(level, id) => {
            let size = record(rest, ctx, level, id).await?.len() as u64;
            out.file(below, &entry.name, modified, ("application/json", size));
        }
        Place::File(_) => out.file(below, &entry.name, modified, ("application/dicom", entry.size_bytes.unwrap_or(0))),
        _ => out.folder(below, &entry.name, modified),
    }
    Ok(())
}

/// `GET`: a file. Folders have no content.
async fn read(rest: &Rest, ctx: &Ctx, path: &[String], request: (&Params, &HeaderMap)) -> Result<Response> {
    if let Some((UPLOADS, below)) = path.split_first().map(|(first, below)| (first.as_str(), below)) {
        let files = uploads::files(&rest.engine, ctx).await?;
        let file = files.iter().rfind(|file| file.path == below.join("/")).ok_or_else(nothing)?;
        let bytes = uploads::content(&rest.engine, ctx, file).await?;
        let headers = [(header::CONTENT_TYPE, UPLOADED.to_owned()), (header::CONTENT_LENGTH, file.size_bytes.to_string())];
        return Ok((headers, Body::from_stream(bytes)).into_response());
    }
    match webdav::locate(&rest.engine, ctx, path).await?.place {
        Place::File(id) => files::instance(rest, ctx, id, request).await,
        Place::Record(level, id) => {
            let body = record(rest, ctx, level, id).await?;
            Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
        }
        _ => Err(Error::new(ErrorKind::UnknownResource, "a folder has no content: PROPFIND lists it")),
    }
}

/// `study.json` or `series.json`: its record, as `GET /studies/{id}` answers it.
async fn record(rest: &Rest, ctx: &Ctx, level: Level, id: OrthancId) -> Result<String> {
    let query = Query { related_to: vec![(level, id)], fields: RECORD.fields(level), ..Query::all(level) };
    let found = find::find(&rest.engine, ctx, &query).await?;
    let found = found.first().ok_or(ErrorKind::UnknownResource)?;
    Ok(web::json::pretty(&view::resource(rest, ctx, found, RECORD, Format::Simplified).await?))
}

/// `DELETE`: what is deleted is what the file or folder shows.
async fn delete(rest: &Rest, ctx: &Ctx, allowed: WebDav, path: &[String]) -> Result<Response> {
    if path.first().is_some_and(|first| first == UPLOADS) {
        if !uploads::remove(&rest.engine, ctx, &writable(allowed, path)?.join("/")).await? {
            return Err(nothing());
        }
    } else if allowed.delete {
        let place = webdav::locate(&rest.engine, ctx, path).await?.place;
        webdav::remove(&rest.engine, ctx, &place).await?;
    } else {
        return Err(Error::new(ErrorKind::Forbidden, "nothing can be deleted here (WebDavDeleteAllowed)"));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PUT`: a file for the area for uploads, durable when it is answered. A job imports it.
async fn put(rest: &Rest, ctx: &Ctx, path: &[String], request: Request) -> Result<Response> {
    let folders = uploads::folders(&rest.engine, ctx).await?;
    let (own, parent) = (path.join("/"), path[..path.len() - 1].join("/"));
    if folders.contains(&own) || !parent.is_empty() && !folders.contains(&parent) {
        return Err(Error::new(ErrorKind::Forbidden, "there is a folder of this name, or none to put it into"));
    }
    let limit = request.extensions().get::<MaxBody>().map_or(0, |m| m.0);
    uploads::put(&rest.engine, ctx, own, web::body::stream(request.into_body(), limit)).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// `MKCOL`
async fn make_folder(rest: &Rest, ctx: &Ctx, path: &[String]) -> Result<Response> {
    uploads::make_folder(&rest.engine, ctx, path).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// `LOCK`: granted to everybody.
fn lock(uri: &str) -> Response {
    let token = format!("opaquelocktoken:{}", AttachmentId::random());
    let mut href = String::new();
    web::xml::escape(&mut href, uri);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<D:prop xmlns:D=\"DAV:\"><D:lockdiscovery><D:activelock>\
         <D:locktype><D:write/></D:locktype><D:lockscope><D:exclusive/></D:lockscope><D:depth>0</D:depth>\
         <D:timeout>Second-3599</D:timeout><D:lockroot><D:href>{href}</D:href></D:lockroot><D:owner/>\
         <D:locktoken><D:href>{token}</D:href></D:locktoken></D:activelock></D:lockdiscovery></D:prop>\n"
    );
    let headers = [(header::HeaderName::from_static("lock-token"), format!("<{token}>"))];
    (StatusCode::CREATED, headers, [(header::CONTENT_TYPE, XML)], body).into_response()
}

/// `PROPPATCH`: every property is accepted, and forgotten.
fn patch(uri: &str) -> Response {
    let mut href = String::new();
    web::xml::escape(&mut href, uri);
    let body = format!(
        "{HEAD}  <D:response>\n    <D:href>{href}</D:href>\n    <D:propstat>\n      <D:status>HTTP/1.1 200 OK</D:status>\n      \
         <D:prop/>\n    </D:propstat>\n  </D:response>\n</D:multistatus>\n"
    );
    (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, XML)], body).into_response()
}

const XML: &str = "application/xml; charset=UTF-8";
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n";

/// The answer to `PROPFIND` (RFC 4918 9.1).
struct Multistatus {
    /// Of the folder that was asked for, without a slash at its end.
    base: String,
    out: String,
}

impl Multistatus {
    fn new(path: &[String]) -> Self {
        let mut base = String::from("/webdav");
        for part in path {
            let _ = write!(base, "/{}", utf8_percent_encode(part, ENCODED));
        }
        Self { base, out: HEAD.to_owned() }
    }

    fn folder(&mut self, below: Option<&str>, name: &str, modified: Option<&str>) {
        let href = below.map_or_else(|| format!("{}/", self.base), |below| self.href(below));
        self.response(&href, name, modified, "<D:resourcetype><D:collection/></D:resourcetype>");
    }

    fn file(&mut self, below: Option<&str>, name: &str, modified: Option<&str>, (mime, size): (&str, u64)) {
        let href = below.map_or_else(|| self.base.clone(), |below| self.href(below));
        let own = format!(
            "<D:resourcetype/><D:getcontenttype>{mime}</D:getcontenttype><D:getcontentlength>{size}</D:getcontentlength>"
        );
        self.response(&href, name, modified, &own);
    }

    fn uploaded(&mut self, below: Option<&str>, name: &str, file: &Uploaded) {
        let since = SystemTime::now().checked_sub(file.age).unwrap_or(SystemTime::UNIX_EPOCH);
        self.file(below, name, Some(&time::iso(since)), (UPLOADED, file.size_bytes));
    }

    fn href(&self, below: &str) -> String {
        format!("{}/{}", self.base, utf8_percent_encode(below, ENCODED))
    }

    fn response(&mut self, href: &str, name: &str, modified: Option<&str>, own: &str) {
        let date = date(modified.unwrap_or(&time::now_iso()));
        let mut shown = String::new();
        web::xml::escape(&mut shown, name);
        let _ = write!(
            self.out,
            "  <D:response>\n    <D:href>{href}</D:href>\n    <D:propstat>\n      <D:status>HTTP/1.1 200 OK</D:status>\n      \
             <D:prop><D:displayname>{shown}</D:displayname><D:creationdate>{date}</D:creationdate>\
             <D:getlastmodified>{date}</D:getlastmodified>{own}</D:prop>\n    </D:propstat>\n  </D:response>\n"
        );
    }

    fn respond(mut self) -> Response {
        self.out.push_str("</D:multistatus>\n");
        (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, XML)], Body::from(self.out)).into_response()
    }
}

/// `20070101T101530` as `2007-01-01T10:15:30Z`.
fn date(iso: &str) -> String {
    let at = |range: std::ops::Range<usize>| iso.get(range).unwrap_or_default();
    format!("{}-{}-{}T{}:{}:{}Z", at(0..4), at(4..6), at(6..8), at(9..11), at(11..13), at(13..15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_its_folder() {
        assert_eq!(parts("/webdav/by-uids/a%20%26%20b").unwrap(), ["by-uids", "a & b"]);
        assert!(parts("/webdav").unwrap().is_empty());
        let deep = "/a".repeat(33);
        let long = "a".repeat(256);
        for bad in ["..", "%2e%2e", "a%2fb", "a%5cb", "a%00", "%ff", ".", deep.as_str(), long.as_str()] {
            assert_eq!(parts(&format!("/webdav/uploads/{bad}")).unwrap_err().kind(), ErrorKind::BadRequest, "{bad}");
        }
    }

    #[test]
    fn only_uploads_can_be_written_to() {
        let path = |text: &str| parts(&format!("/webdav/{text}")).unwrap();
        let (yes, no) = (WebDav { delete: true, upload: true }, WebDav { delete: true, upload: false });
        assert_eq!(writable(yes, &path("uploads/a/b")).unwrap(), ["a", "b"]);
        assert_eq!(writable(yes, &path("uploads")).unwrap_err().kind(), ErrorKind::BadRequest);
        for (allowed, refused) in [(no, "uploads/a"), (yes, "by-uids/a"), (yes, "")] {
            assert_eq!(writable(allowed, &path(refused)).unwrap_err().kind(), ErrorKind::Forbidden, "{refused}");
        }
    }
}
