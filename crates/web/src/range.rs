//! Byte ranges (RFC 9110 section 14) over stored files.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{Error, ErrorKind, Result};
use std::ops::Range;

/// Reads the `Range` header for a file of `size` bytes. `None`: the whole file, also for several ranges and units other
/// than bytes, which a server may ignore (RFC 9110 14.2).
///
/// # Errors
/// `BadRange` if the range starts behind the end.
pub fn requested(headers: &HeaderMap, size: u64) -> Result<Option<Range<u64>>> {
    let Some(spec) = headers.get(header::RANGE).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().strip_prefix("bytes="))
    else {
        return Ok(None);
    };
    let Some((first, last)) = spec.trim().split_once('-') else { return Ok(None) };
    let bad = || Error::new(ErrorKind::BadRange, format!("the range {spec:?} is not within {size} bytes"));
    let number = |t: &str| t.trim().parse::<u64>().ok();
    let range = match (number(first), number(last)) {
        (Some(a), Some(b)) if a <= b => a..size.min(b.saturating_add(1)),
        (Some(a), None) if last.trim().is_empty() => a..size,
        (None, Some(n)) if first.trim().is_empty() => size.saturating_sub(n)..size,
        _ => return Ok(None),
    };
    if range.is_empty() { Err(bad()) } else { Ok(Some(range)) }
}

/// Whether the client has this version already (`If-None-Match`).
pub fn not_modified(headers: &HeaderMap, etag: &str) -> bool {
    let Some(known) = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) else { return false };
    known.split(',').any(|t| t.trim().trim_start_matches("W/") == etag || t.trim() == "*")
}

/// The value of `Content-Disposition` that gives a file its name. What would end the quoted name or the header is left out: quotes and
/// control characters as Orthanc does, and backslashes. None if nothing is left.
pub fn disposition(name: &str) -> Option<HeaderValue> {
    let name: String = name.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
    HeaderValue::try_from(format!("filename=\"{name}\"")).ok().filter(|_| !name.is_empty())
}

/// A file to be sent.
pub struct File {
    pub size_bytes: u64,
    pub mime: String,
    /// Quoted.
    pub etag: Option<String>,
    /// The name under which browsers save it.
    pub filename: Option<String>,
    /// The part of the file that [`File::respond`] gets the bytes of.
    pub range: Option<Range<u64>>,
}

impl File {
    /// The part that must be read.
    pub fn wanted(&self) -> Range<u64> {
        self.range.clone().unwrap_or(0..self.size_bytes)
    }

    /// The answer with a body of exactly [`Self::wanted`].
    pub fn respond(self, bytes: BoxStream<'static, Result<Bytes>>) -> Response {
        let wanted = self.wanted();
        let mut response = Body::from_stream(bytes).into_response();
        let headers = response.headers_mut();
        let mut set = |name, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set(header::CONTENT_TYPE, self.mime);
        set(header::CONTENT_LENGTH, (wanted.end - wanted.start).to_string());
        set(header::ACCEPT_RANGES, "bytes".to_owned());
        if let Some(etag) = self.etag {
            set(header::ETAG, etag);
        }
        if self.range.is_some() {
            set(header::CONTENT_RANGE, format!("bytes {}-{}/{}", wanted.start, wanted.end - 1, self.size_bytes));
        }
        if let Some(name) = self.filename.as_deref().and_then(disposition) {
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
        if self.range.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, size: u64, expected: Option<Option<Range<u64>>>) {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_str(spec).unwrap())]);
        assert_eq!(requested(&headers, size).ok(), expected, "{spec}");
    }

    #[test]
    fn names_cannot_end_the_header() {
        for (name, expected) in [
            ("\"toto\".dcm", Some("toto.dcm")),
            ("a\"\r\nSet-Cookie:evil=1", Some("aSet-Cookie:evil=1")),
            ("a\0\t\u{7f}\u{85}\\é;b", Some("aé;b")),
            ("\\", None),
            ("", None),
        ] {
            let expected = expected.map(|name| format!("filename=\"{name}\"").into_bytes());
            assert_eq!(disposition(name).map(|v| v.as_bytes().to_vec()), expected, "{name:?}");
        }
    }

    #[test]
    fn ranges() {
        check("bytes=0-9", 100, Some(Some(0..10)));
        check("bytes=90-", 100, Some(Some(90..100)));
        check("bytes=-10", 100, Some(Some(90..100)));
        check("bytes=-1000", 100, Some(Some(0..100)));
        check("bytes=50-18446744073709551615", 100, Some(Some(50..100)));
        check("bytes=100-", 100, None);
        check("bytes=0-1,5-6", 100, Some(None));
        check("lines=0-1", 100, Some(None));
        check("bytes=9-2", 100, Some(None));
    }
}
