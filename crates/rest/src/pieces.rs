//! Files that a browser sends piece by piece, one request each (Orthanc: the headers `X-File-Name` and `X-File-Size`).
//!
//! Pieces wait in temporary files of this process. With a database that other processes share, the next piece may reach
//! another one: there, a file must come in one request.

use crate::state::Rest;
use crate::upload::{bounded, cannot_spool, internal, one, spool};
use engine::{Ctx, flow};
use http::{HeaderMap, header};
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use web::multipart::Multipart;

/// Files whose pieces may wait at once; the one that waits longest goes first.
const MAX_WAITING: usize = 32;
/// How long a file waits for its next piece.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The files whose last piece has not come.
#[derive(Default)]
pub struct Unfinished(Mutex<Vec<Waiting>>);

/// What a request says about the file that it brings a piece of.
#[derive(Debug, PartialEq)]
pub(crate) struct Announced {
    user: String,
    name: String,
    size_bytes: u64,
    /// Where the piece begins, if `Content-Range` tells.
    start: Option<u64>,
}

struct Waiting {
    user: String,
    name: String,
    size_bytes: u64,
    file: File,
    received_bytes: u64,
    since: Instant,
}

impl Announced {
    /// Reads the headers; none if the request brings whole files.
    ///
    /// # Errors
    /// `BadRequest` for a size that is no number, `TooLarge` if it exceeds `limit` bytes (0 for none).
    pub(crate) fn of(headers: &HeaderMap, user: &str, limit: u64) -> Result<Option<Self>> {
        let text = |name: &str| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned());
        let (Some(name), Some(size)) = (text("x-file-name"), text("x-file-size")) else { return Ok(None) };
        let bad = |_| Error::new(ErrorKind::BadRequest, format!("X-File-Size must be a number of bytes, not {size:?}"));
        let size_bytes = size.parse().map_err(bad)?;
        if limit > 0 && size_bytes > limit {
            let message = format!("the file exceeds {limit} bytes (MaximumRequestBodySizeMB)");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let start = text(header::CONTENT_RANGE.as_str()).and_then(|range| {
            let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
            start.trim().parse().ok()
        });
        Ok(Some(Self { user: user.to_owned(), name, size_bytes, start }))
    }
}

impl Unfinished {
    /// The file that a piece belongs to, if an earlier one came.
    fn take(&self, announced: &Announced) -> Option<Waiting> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|w| w.since.elapsed() < PATIENCE);
        let same = |w: &Waiting| w.user == announced.user && w.name == announced.name && w.size_bytes == announced.size_bytes;
        all.iter().position(same).map(|at| all.remove(at))
    }

    fn put(&self, waiting: Waiting) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_WAITING {
            all.remove(0);
        }
        all.push(Waiting { since: Instant::now(), ..waiting });
    }
}

/// Adds a piece to its file, and stores the file when it is complete. Answers as a form with whole files does.
///
/// # Errors
/// `BadRequest` for a piece that does not follow the last one, or is too long; `NotImplemented` for a file in several pieces
/// if processes share the database; those of storing.
pub(crate) async fn receive(rest: &Rest, ctx: &Ctx, announced: Announced, mut form: Multipart) -> Result<Value> {
    let waiting = match rest.unfinished.take(&announced) {
        Some(waiting) => waiting,
        None => {
            let Announced { user, name, size_bytes, .. } = &announced;
            let file = spool(rest)?;
            Waiting {
                user: user.clone(),
                name: name.clone(),
                size_bytes: *size_bytes,
                file,
                received_bytes: 0,
                since: Instant::now(),
            }
        }
    };
    let before = waiting.received_bytes;
    if announced.start.is_some_and(|start| start != before) {
        rest.unfinished.put(waiting);
        let message = format!("the next piece of the file must begin at byte {before}: send it again from there");
        return Err(Error::new(ErrorKind::BadRequest, message));
    }
    let (waiting, appended) = append(waiting, &mut form).await?;
    if let Err(error) = appended {
        // The client may send the piece again.
        rest.unfinished.put(Waiting { received_bytes: before, ..waiting });
        return Err(error);
    }
    if waiting.received_bytes > waiting.size_bytes {
        return Err(Error::new(ErrorKind::BadRequest, "the pieces of the file are longer than X-File-Size"));
    }
    let mut stored = vec![];
    if waiting.received_bytes == waiting.size_bytes {
        let mut file = waiting.file;
        file.seek(SeekFrom::Start(0)).map_err(cannot_spool)?;
        one(rest, ctx, flow::stream_of(move || file.take(waiting.size_bytes), bounded(0, "the file")), &mut stored).await?;
    } else if rest.engine.is_shared() {
        let message =
            "several processes share the database, and the next piece may reach another one: send the file in one request";
        return Err(Error::new(ErrorKind::NotImplemented, message));
    } else {
        rest.unfinished.put(waiting);
    }
    Ok(Value::Array(stored))
}

/// Writes the parts of `form` behind what was received, up to one byte more than the file may have.
async fn append(mut waiting: Waiting, form: &mut Multipart) -> Result<(Waiting, Result<()>)> {
    loop {
        let bytes = match next(form).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok((waiting, Ok(()))),
            Err(error) => return Ok((waiting, Err(error))),
        };
        if waiting.received_bytes > waiting.size_bytes {
            return Ok((waiting, Ok(())));
        }
        let write = move || {
            waiting.file.seek(SeekFrom::Start(waiting.received_bytes))?;
            waiting.file.write_all(&bytes)?;
            waiting.received_bytes += bytes.len() as u64;
            Ok(waiting)
        };
        waiting = tokio::task::spawn_blocking(write).await.map_err(internal)?.map_err(cannot_spool)?;
    }
}

/// The next bytes of all parts.
async fn next(form: &mut Multipart) -> Result<Option<bytes::Bytes>> {
    loop {
        if let Some(bytes) = form.chunk().await? {
            return Ok(Some(bytes));
        }
        if !form.next_part().await? {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn headers_announce_a_piece() {
        let of = |all: &[_], limit| Announced::of(&headers(all), "alice", limit);
        assert_eq!(of(&[("x-file-name", "a")], 0).unwrap(), None);
        let whole = of(&[("x-file-name", "a"), ("x-file-size", "12")], 12).unwrap().unwrap();
        assert_eq!(whole, Announced { user: "alice".into(), name: "a".into(), size_bytes: 12, start: None });
        let piece = [("x-file-name", "a"), ("x-file-size", "12"), ("content-range", "bytes 4-7/12")];
        assert_eq!(of(&piece, 0).unwrap().unwrap().start, Some(4));
        assert_eq!(of(&piece, 11).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(of(&[("x-file-name", "a"), ("x-file-size", "x")], 0).unwrap_err().kind(), ErrorKind::BadRequest);
    }

    #[test]
    fn files_wait_apart_and_not_for_ever() {
        let unfinished = Unfinished::default();
        let announced = |n: usize| Announced { user: "alice".into(), name: n.to_string(), size_bytes: 9, start: None };
        for n in 0..=MAX_WAITING {
            let (file, since) = (tempfile::tempfile().unwrap(), Instant::now());
            let Announced { user, name, size_bytes, .. } = announced(n);
            unfinished.put(Waiting { user, name, size_bytes, file, received_bytes: n as u64, since });
        }
        assert!(unfinished.take(&announced(0)).is_none(), "the oldest made place");
        assert!(unfinished.take(&Announced { size_bytes: 8, ..announced(1) }).is_none());
        assert!(unfinished.take(&Announced { user: "bob".into(), ..announced(1) }).is_none());
        assert_eq!(unfinished.take(&announced(1)).unwrap().received_bytes, 1);
        assert!(unfinished.take(&announced(1)).is_none());
    }
}
