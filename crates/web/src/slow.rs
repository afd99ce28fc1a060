//! Slow clients, bounded: a body or an answer that does not move for too long ends the connection (Orthanc: `HttpRequestTimeout`).

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A clock that runs while something is awaited.
struct Patience {
    limit: Duration,
    clock: Pin<Box<Sleep>>,
    is_running: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, clock: Box::pin(sleep(limit)), is_running: false }
    }

    /// `Err` if `polled` has been pending for too long.
    fn watch<T>(&mut self, polled: Poll<T>, cx: &mut Context<'_>) -> Poll<Result<T, ()>> {
        if let Poll::Ready(value) = polled {
            self.is_running = false;
            return Poll::Ready(Ok(value));
        }
        if !self.is_running {
            self.clock.as_mut().reset(Instant::now() + self.limit);
            self.is_running = true;
        }
        self.clock.as_mut().poll(cx).map(Err)
    }
}

/// A connection whose writes fail when the client takes nothing for so long.
pub(crate) struct Writes<T> {
    io: T,
    patience: Patience,
}

impl<T> Writes<T> {
    pub(crate) fn new(io: T, limit: Duration) -> Self {
        Self { io, patience: Patience::new(limit) }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client took nothing for too long (HttpRequestTimeout)")
}

impl<T: AsyncRead + Unpin> AsyncRead for Writes<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, out)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Writes<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.patience.watch(polled, cx).map(|done| done.unwrap_or_else(|()| Err(too_slow())))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.patience.watch(polled, cx).map(|done| done.unwrap_or_else(|()| Err(too_slow())))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.patience.watch(polled, cx).map(|done| done.unwrap_or_else(|()| Err(too_slow())))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.patience.watch(polled, cx).map(|done| done.unwrap_or_else(|()| Err(too_slow())))
    }
}

/// A request's body that fails when nothing of it comes for so long while it is awaited.
pub(crate) struct Reads<B> {
    body: B,
    patience: Patience,
}

impl<B> Reads<B> {
    pub(crate) fn new(body: B, limit: Duration) -> Self {
        Self { body, patience: Patience::new(limit) }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Reads<B> {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.patience.watch(polled, cx).map(|done| match done {
            Ok(frame) => frame.map(|frame| frame.map_err(Into::into)),
            Err(()) => Some(Err("the client sent nothing for too long (HttpRequestTimeout)".into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
