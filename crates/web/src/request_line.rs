//! Request targets as clients really send them: `"`, `<` and `>` stand unencoded in the query of some (Orthanc takes them), which
//! RFC 3986 forbids and the HTTP parser refuses. They are encoded before the parser sees them.
//!
//! Nothing but the target of a request line is touched, so this reader must know where the next request line begins. It does so
//! only for requests without a body or with one plain `Content-Length`; after any other request the rest of the connection passes
//! as it is: an odd target is then refused, as the parser would.

use bytes::{Buf, BytesMut};
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a header line that are looked at: more than names and values need that matter here.
const LINE_BYTES: usize = 80;

/// A connection whose request lines are put right.
pub struct RequestLines<T> {
    io: T,
    place: Place,
    /// What was read, put right, and not handed on yet.
    ready: BytesMut,
}

/// Where in a sequence of requests the next byte is.
#[derive(Debug, PartialEq)]
enum Place {
    /// In the method, or before it.
    Method,
    /// Behind the method, in the request line.
    Target,
    Headers(Headers),
    /// In a body that has so many bytes left.
    Body(u64),
    /// Anywhere.
    Unknown,
}

#[derive(Debug, Default, PartialEq)]
struct Headers {
    line: Vec<u8>,
    length: Option<u64>,
    /// Where the body ends cannot be told from its length.
    is_odd: bool,
}

impl Headers {
    fn push(&mut self, byte: u8) {
        if self.line.len() < LINE_BYTES {
            self.line.push(byte);
        }
    }

    /// Ends a line. Returns where the next byte is if it was the empty one.
    fn end_line(&mut self) -> Option<Place> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            return Some(match (self.is_odd, self.length) {
                (true, _) => Place::Unknown,
                (false, None | Some(0)) => Place::Method,
                (false, Some(length)) => Place::Body(length),
            });
        }
        let at = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => {
                let digits =
                    std::str::from_utf8(value.get(1..).unwrap_or_default()).unwrap_or_default().trim_matches([' ', '\t']);
                let is_plain = line.len() < LINE_BYTES && digits.bytes().all(|b| b.is_ascii_digit());
                let length = digits.parse().ok().filter(|_| is_plain);
                self.is_odd |= self.length.is_some() || length.is_none();
                self.length = length;
            }
            b"transfer-encoding" | b"upgrade" | b"expect" => self.is_odd = true,
            _ => {}
        }
        None
    }
}

impl Place {
    /// Follows `bytes`. Returns how many were passed before one that must be encoded.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self {
                Self::Unknown => return bytes.len(),
                Self::Body(left) => {
                    let passed = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= passed as u64;
                    at += passed;
                    if *left == 0 {
                        *self = Self::Method;
                    }
                    continue;
                }
                Self::Method if byte == b' ' => *self = Self::Target,
                Self::Method => {}
                Self::Target if byte == b'\n' => *self = Self::Headers(Headers::default()),
                Self::Target if encoded(byte).is_some() => return at,
                Self::Target => {}
                Self::Headers(headers) if byte == b'\n' => {
                    if let Some(next) = headers.end_line() {
                        *self = next;
                    }
                }
                Self::Headers(headers) => headers.push(byte),
            }
            at += 1;
        }
        at
    }
}

fn encoded(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'"' => Some(b"%22"),
        b'<' => Some(b"%3C"),
        b'>' => Some(b"%3E"),
        _ => None,
    }
}

impl<T> RequestLines<T> {
    pub fn new(io: T) -> Self {
        Self { io, place: Place::Method, ready: BytesMut::new() }
    }

    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.ready.len().min(buf.remaining());
        buf.put_slice(&self.ready[..n]);
        self.ready.advance(n);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for RequestLines<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        if !this.ready.is_empty() {
            this.hand_on(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        let passed = this.place.follow(read);
        let mut rest = &read[passed..];
        while let Some((&odd, behind)) = rest.split_first() {
            this.ready.extend_from_slice(encoded(odd).unwrap_or(&[odd]));
            let passed = this.place.follow(behind);
            this.ready.extend_from_slice(&behind[..passed]);
            rest = &behind[passed..];
        }
        buf.set_filled(before + passed);
        this.hand_on(buf);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for RequestLines<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, all: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// What comes out, however the bytes are cut into reads, and however small the reader's buffer is.
    async fn check(sent: &str, expected: &str) {
        for size in [1, 2, 3, 7, 4096] {
            for room in [1, 5, 4096] {
                let mut io = RequestLines::new(Slow(sent.bytes().collect(), size));
                let mut out = vec![];
                let mut buffer = vec![0; room];
                loop {
                    match io.read(&mut buffer).await.unwrap() {
                        0 => break,
                        n => out.extend_from_slice(&buffer[..n]),
                    }
                }
                assert_eq!(String::from_utf8(out).unwrap(), expected, "reads of {size} into {room}");
            }
        }
    }

    /// Yields at most `size` bytes a read.
    struct Slow(std::collections::VecDeque<u8>, usize);

    impl AsyncRead for Slow {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            let n = self.1.min(buf.remaining()).min(self.0.len());
            let bytes: Vec<u8> = self.0.drain(..n).collect();
            buf.put_slice(&bytes);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn only_targets_are_touched() {
        let headers = "Cookie: \"<>\"\r\nContent-Length2: 9\r\n\r\n";
        check(&format!("GET /a?b=\"<c>\" HTTP/1.1\r\n{headers}"), &format!("GET /a?b=%22%3Cc%3E%22 HTTP/1.1\r\n{headers}")).await;
        check("\r\nG\"ET /\"\" x\n\n", "\r\nG\"ET /%22%22 x\n\n").await;
        check("<\"", "<\"").await;
    }

    #[tokio::test]
    async fn the_next_request_line_is_found() {
        let body = "P /?\" x\r\n";
        let first = format!("POST / HTTP/1.1\r\ncontent-LENGTH: \t{} \r\nA: \"\r\n\r\n{body}", body.len());
        check(&format!("{first}{first}GET /?\" x\n\nGET /?>"), &format!("{first}{first}GET /?%22 x\n\nGET /?%3E")).await;
        check("A / x\nContent-Length: 0\n\nB /\" x\n\n", "A / x\nContent-Length: 0\n\nB /%22 x\n\n").await;
    }

    #[tokio::test]
    async fn what_has_no_plain_length_ends_the_rewriting() {
        for odd in [
            "Transfer-Encoding: chunked",
            "transfer-encoding:x",
            "Expect: 100-continue\r\nContent-Length: 0",
            "Upgrade: h2c",
            "Content-Length: 0\r\nContent-Length: 0",
            "Content-Length:",
            "Content-Length",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length: 99999999999999999999",
            &format!("Content-Length: {}1", " ".repeat(100)),
        ] {
            let sent = format!("POST / HTTP/1.1\r\n{odd}\r\n\r\nGET /?\" HTTP/1.1\r\n\r\nGET /?\" HTTP/1.1\r\n\r\n");
            check(&sent, &sent).await;
        }
    }
}
