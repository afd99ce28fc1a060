//! Files that a browser sends piece by piece, one request each (Orthanc: the headers `X-File-Name` and `X-File-Size`).

use crate::state::Rest;
use crate::upload::one;
use engine::Ctx;
use engine::flow::Pieces;
use engine::uploads::{self, Announced};
use futures_util::StreamExt;
use http::{HeaderMap, header};
use model::upload::UploadKey;
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use web::multipart::Multipart;

/// Reads the headers; none if the request brings whole files.
///
/// # Errors
/// `BadRequest` for a size that is no number, `TooLarge` if it exceeds `limit` bytes (0 for none).
pub(crate) fn announced(headers: &HeaderMap, user: &str, limit: u64) -> Result<Option<Announced>> {
    let text = |name: &str| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).trim().to_owned());
    let (Some(name), Some(size)) = (text("x-file-name"), text("x-file-size")) else { return Ok(None) };
    let bad = || Error::new(ErrorKind::BadRequest, format!("X-File-Size must be a number of bytes, not {size:?}"));
    let file_bytes = size.parse().ok().filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(bad)?;
    if limit > 0 && file_bytes > limit {
        let message = format!("the file exceeds {limit} bytes (MaximumRequestBodySizeMB)");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    let start = text(header::CONTENT_RANGE.as_str()).and_then(|range| {
        let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
        start.trim().parse().ok()
    });
    Ok(Some(Announced { file: UploadKey::of(user, &name, file_bytes), file_bytes, start }))
}

/// Adds a piece to its file, and stores the file when it is complete. Answers as a form with whole files does.
///
/// # Errors
/// As [`uploads::add`]; those of storing.
pub(crate) async fn receive(rest: &Rest, ctx: &Ctx, announced: Announced, form: Multipart) -> Result<Value> {
    let mut stored = vec![];
    if let Some(upload) = uploads::add(&rest.engine, ctx, announced, content(form)).await? {
        let result = one(rest, ctx, uploads::bytes(&rest.engine, &upload), announced.file_bytes, &mut stored).await;
        uploads::forget(&rest.engine, upload).await;
        result?;
    }
    Ok(Value::Array(stored))
}

/// The bytes of all parts.
fn content(form: Multipart) -> Pieces {
    let next = |mut form: Multipart| async {
        loop {
            if let Some(bytes) = form.chunk().await? {
                return Ok(Some((bytes, form)));
            }
            if !form.next_part().await? {
                return Ok(None);
            }
        }
    };
    futures_util::stream::try_unfold(form, next).boxed()
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
        let of = |all: &[_], limit| announced(&headers(all), "alice", limit);
        assert_eq!(of(&[("x-file-name", "a")], 0).unwrap(), None);
        let whole = of(&[("x-file-name", "a"), ("x-file-size", "12")], 12).unwrap().unwrap();
        assert_eq!(whole, Announced { file: UploadKey::of("alice", "a", 12), file_bytes: 12, start: None });
        let piece = [("x-file-name", "a"), ("x-file-size", "12"), ("content-range", "bytes 4-7/12")];
        assert_eq!(of(&piece, 0).unwrap().unwrap().start, Some(4));
        assert_eq!(of(&piece, 11).unwrap_err().kind(), ErrorKind::TooLarge);
        for size in ["x", "-1", "9223372036854775808", "99999999999999999999"] {
            assert_eq!(of(&[("x-file-name", "a"), ("x-file-size", size)], 0).unwrap_err().kind(), ErrorKind::BadRequest);
        }
    }
}
