//! Request bodies, bounded.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use model::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// The limit that the server sets on every body (`MaximumRequestBodySizeMB`), found in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct MaxBody(pub u64);

fn broken(error: axum::Error) -> Error {
    Error::new(ErrorKind::BadRequest, "the request body ended early").caused_by(error)
}

fn too_large(limit: u64) -> Error {
    Error::new(ErrorKind::TooLarge, format!("the request body exceeds {limit} bytes (MaximumRequestBodySizeMB)"))
}

/// The body as a stream that fails with `TooLarge` beyond `limit` bytes (0 for none).
pub fn stream(body: Body, limit: u64) -> BoxStream<'static, Result<Bytes>> {
    let mut seen = 0;
    body.into_data_stream()
        .map(move |piece| {
            let piece = piece.map_err(broken)?;
            seen += piece.len() as u64;
            if limit > 0 && seen > limit { Err(too_large(limit)) } else { Ok(piece) }
        })
        .boxed()
}

/// The whole body in memory.
///
/// # Errors
/// `TooLarge` beyond `limit` bytes, `BadRequest` if the client stopped in the middle.
pub async fn read(mut body: Body, limit: usize) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.map_err(broken)?.into_data() {
            if all.len() + piece.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, format!("the request body exceeds {limit} bytes")));
            }
            all.extend_from_slice(&piece);
        }
    }
    Ok(all.freeze())
}

/// What an early answer still takes of a request, and throws away.
const LEFT_BYTES: usize = 64 << 20;
const LEFT_TIME: Duration = Duration::from_secs(5);

/// Middleware: takes what a handler left of a body, within limits. A connection that is closed with bytes unread is reset, and the
/// answer is lost with it: a gateway then says 502 where we refused with a reason.
pub(crate) async fn take_all(request: Request, next: Next) -> Response {
    // Who waits for `100 Continue` has sent nothing yet.
    if request.headers().get(http::header::EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let (back, left) = oneshot::channel();
    let lent = Lent { body, back: Some(back) };
    let response = next.run(Request::from_parts(parts, Body::new(lent))).await;
    if let Some(Ok(body)) = left.now_or_never() {
        let _ = tokio::time::timeout(LEFT_TIME, discard(body)).await;
    }
    response
}

async fn discard(mut body: Body) {
    let mut left = LEFT_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// A body that comes back if it is dropped before its end.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.back = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take().filter(|_| !self.body.is_end_stream()) {
            let _ = back.send(std::mem::take(&mut self.body));
        }
    }
}
