//! Multipart bodies (RFC 2046 5.1.1, RFC 7578) as streams: the bytes of one part after the other, never a whole one in memory.
//!
//! As tolerant as Orthanc: blanks around names and values do not matter, nor does a missing `--` after the last boundary.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use memchr::memmem;
use model::{Error, ErrorKind, Result};

/// The headers of a part may have so many bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A multipart body on its way in.
pub struct Multipart {
    body: BoxStream<'static, Result<Bytes>>,
    /// What was received and not handed on.
    buffer: BytesMut,
    /// A line feed and the boundary.
    delimiter: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    Part,
    /// Behind a boundary.
    Between,
    End,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadRequest, format!("bad multipart body: {}", message.into()))
}

/// The parameter `boundary` of a `Content-Type`.
fn boundary(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty()).then_some(value)
    })
}

impl Multipart {
    /// Reads `body`, whose `Content-Type` names the boundary.
    ///
    /// # Errors
    /// `BadRequest` if it names none.
    pub fn new(content_type: &str, body: BoxStream<'static, Result<Bytes>>) -> Result<Self> {
        let boundary = boundary(content_type).ok_or_else(|| bad("Content-Type names no boundary"))?;
        // The first boundary may be the first line: a line feed before it makes all boundaries alike.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Self { body, buffer, delimiter: format!("\r\n--{boundary}").into_bytes(), state: State::Preamble })
    }

    /// Skips to the next part. Returns false at the end.
    ///
    /// # Errors
    /// `BadRequest` if the body has no part at all, or ends within one; those of the body.
    pub async fn next_part(&mut self) -> Result<bool> {
        while matches!(self.state, State::Preamble | State::Part) {
            self.advance().await?;
        }
        if self.state == State::End || !self.opens_part().await? {
            self.state = State::End;
            return Ok(false);
        }
        self.skip_headers().await?;
        self.state = State::Part;
        Ok(true)
    }

    /// The next bytes of the current part; none at its end.
    ///
    /// # Errors
    /// `BadRequest` if the body ends within the part; those of the body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while self.state == State::Part {
            if let Some(bytes) = self.advance().await? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Takes what is surely before the next boundary, or the boundary itself, or receives more.
    async fn advance(&mut self) -> Result<Option<Bytes>> {
        match memmem::find(&self.buffer, &self.delimiter) {
            Some(0) => {
                let _ = self.buffer.split_to(self.delimiter.len());
                self.state = State::Between;
                Ok(None)
            }
            Some(at) => Ok(Some(self.buffer.split_to(at).freeze())),
            // The boundary may have begun at the end of the buffer.
            None if self.buffer.len() >= self.delimiter.len() => {
                let sure = self.buffer.len() - (self.delimiter.len() - 1);
                Ok(Some(self.buffer.split_to(sure).freeze()))
            }
            None if self.receive().await? => Ok(None),
            None if self.state == State::Preamble => Err(bad("its boundary is nowhere in it")),
            None => Err(bad("it ends within a part")),
        }
    }

    /// Whether the body had more.
    async fn receive(&mut self) -> Result<bool> {
        match self.body.try_next().await? {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Whether the boundary just read is followed by a part: by neither `--` nor the end of the body.
    async fn opens_part(&mut self) -> Result<bool> {
        while self.buffer.len() < 2 {
            if !self.receive().await? {
                return Ok(false);
            }
        }
        Ok(!self.buffer.starts_with(b"--"))
    }

    /// Drops the rest of the boundary's line and the headers. No door needs them: files tell themselves what they are.
    async fn skip_headers(&mut self) -> Result<()> {
        loop {
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                let _ = self.buffer.split_to(at + 4);
                return Ok(());
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(bad(format!("the headers of a part have more than {MAX_HEAD_BYTES} bytes")));
            }
            if !self.receive().await? {
                return Err(bad("it ends within the headers of a part"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use std::future::Future;

    /// The parts of a body that arrives in pieces of `size` bytes.
    fn parts(content_type: &str, body: &[u8], size: usize) -> Result<Vec<Vec<u8>>> {
        let pieces: Vec<Result<Bytes>> = body.chunks(size).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let read = async {
            let mut form = Multipart::new(content_type, stream::iter(pieces).boxed())?;
            let mut parts = vec![];
            while form.next_part().await? {
                let mut part = vec![];
                while let Some(bytes) = form.chunk().await? {
                    part.extend_from_slice(&bytes);
                }
                parts.push(part);
            }
            Ok(parts)
        };
        // Nothing here waits for anything.
        let mut read = std::pin::pin!(read);
        match read.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(parts) => parts,
            std::task::Poll::Pending => unreachable!("all pieces are there"),
        }
    }

    #[track_caller]
    fn check(content_type: &str, body: &str, expected: &[&str]) {
        for size in [1, 2, 7, 1000] {
            let found = parts(content_type, body.as_bytes(), size).unwrap();
            assert_eq!(found, expected.iter().map(|p| p.as_bytes().to_vec()).collect::<Vec<_>>(), "pieces of {size}");
        }
    }

    #[track_caller]
    fn refused(content_type: &str, body: &str) {
        for size in [1, 1000] {
            assert_eq!(parts(content_type, body.as_bytes(), size).unwrap_err().kind(), ErrorKind::BadRequest);
        }
    }

    #[test]
    fn strict_and_sloppy_bodies() {
        let plain = "multipart/form-data; boundary=XY";
        check(plain, "--XY\r\nA: b\r\n\r\none\r\n--XY\r\nA: b\r\n\r\ntwo\r\n\r\n--XY--\r\n", &["one", "two\r\n"]);
        check(plain, "preamble\r\n--XY\r\n\r\n\r\n--XY--epilogue\r\n--XY\r\n\r\nno\r\n--XY--", &[""]);
        check("multipart/form-data   ;    Boundary  =  XY  ", "--XY  \r\nA  :   b  ; c =d\r\n\r\none\r\n--XY--", &["one"]);
        check("multipart/related; type=\"a/b\"; boundary=\"X Y\"", "--X Y\r\n\r\n\r\n--X\r\n--X Y--", &["\r\n--X"]);
        // Nothing after the last boundary: jQuery File Upload 5 sends pieces so.
        check(plain, "--XY\r\nA: b\r\n\r\none\r\n--XY", &["one"]);
        check(plain, "--XY\r\nA: b\r\n\r\none\r\n--XY\r", &["one"]);
        check(plain, "--XY--", &[]);
    }

    #[test]
    fn what_is_no_multipart_body_is_refused() {
        let plain = "multipart/form-data; boundary=XY";
        refused("multipart/form-data", "--XY--");
        refused("multipart/form-data; boundary=", "----");
        refused(plain, "");
        refused(plain, "junk");
        refused(plain, "--XY\r\nA: b");
        refused(plain, "--XY\r\nA: b\r\n\r\none");
        refused(plain, &format!("--XY\r\n{}", "A: b\r\n".repeat(20_000)));
    }
}
