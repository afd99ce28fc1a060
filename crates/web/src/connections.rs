//! Connections: accepted, encrypted if that is wanted, served, and closed when they are idle, slow or no longer wanted.

use crate::caller::Remote;
use crate::held::hold;
use crate::request_line::RequestLines;
use crate::serve::HttpConfig;
use crate::slow::{Reads, Writes};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long connections that brought no request yet may still bring one after the signal to stop. Whoever connected a moment
/// before (a balancer) would else lose a request that nobody began.
const LATECOMERS: Duration = Duration::from_millis(250);

/// Connections served at once; more wait in the kernel's queue.
pub(crate) const MAX_CONNECTIONS: usize = 4096;

/// Answered however many requests run: probes of orchestrators.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: HttpConfig,
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) connections: Arc<Semaphore>,
    /// `HttpThreadsCount`
    pub(crate) requests: Option<Arc<Semaphore>>,
}

/// `TcpNoDelay`: whether small answers leave at once.
fn set_up(stream: &TcpStream, no_delay: bool) {
    let _ = stream.set_nodelay(no_delay);
}

/// Accepts connections until `stop`, and returns when all of them have ended.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let (tasks, drain) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let Ok(permit) = shared.connections.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted, // what waits in the kernel's queue is served even when stopping
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                set_up(&stream, shared.config.tcp_no_delay);
                let (shared, drain) = (shared.clone(), drain.clone());
                tasks.spawn(async move {
                    serve(stream, peer, shared, drain).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    tokio::time::sleep(LATECOMERS).await;
    drain.cancel();
    tasks.close();
    tasks.wait().await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, drain: CancellationToken) {
    let Some(tls) = &shared.tls else { return converse(stream, peer, shared, drain).await };
    match tokio::time::timeout(shared.config.request_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, peer, shared, drain).await,
        Ok(Err(error)) => tracing::info!(target: "http", remote = %peer.ip(), error = %error, "TLS handshake failed"),
        Err(_) => tracing::info!(target: "http", remote = %peer.ip(), "TLS handshake took too long"),
    }
}

/// Since when a connection waits for its next request; `None` before the first one and while one is answered.
type IdleSince = Option<Instant>;

async fn converse<S>(stream: S, peer: SocketAddr, shared: Arc<Shared>, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (config, keep_alive) = (&shared.config, shared.config.keep_alive_timeout);
    let (idle, mut idle_since) = watch::channel(None);
    let service = {
        let shared = shared.clone();
        hyper::service::service_fn(move |request| answer(request, peer, shared.clone(), idle.clone()))
    };
    let io = RequestLines::new(Writes::new(stream, config.request_timeout));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.request_timeout)
        .keep_alive(config.keep_alive)
        .max_buf_size(256 << 10)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut last = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            () = drain.cancelled(), if !last => last = true,
            () = idle_for(&mut idle_since, keep_alive), if !last => last = true,
        }
        connection.as_mut().graceful_shutdown();
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "HTTP connection ended");
    }
}

/// Returns when a connection has waited for its next request for so long; never without a limit.
async fn idle_for(since: &mut watch::Receiver<IdleSince>, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let now = *since.borrow_and_update();
        let changed = match now {
            Some(since_when) => tokio::time::timeout_at((since_when + limit).into(), since.changed()).await,
            None => Ok(since.changed().await),
        };
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return std::future::pending().await, // the connection ends by itself
            Err(_) => return,
        }
    }
}

async fn answer(
    mut request: hyper::Request<Incoming>,
    peer: SocketAddr,
    shared: Arc<Shared>,
    idle: watch::Sender<IdleSince>,
) -> Result<Response, std::convert::Infallible> {
    idle.send_replace(None);
    crate::rewrite::normalize(&mut request);
    let (client, host) = shared.config.trusted_proxies.client(peer, request.headers());
    if let Some(host) = host {
        request.headers_mut().insert(http::header::HOST, host);
    }
    request.extensions_mut().insert(Remote(client));
    let permit = match &shared.requests {
        Some(requests) if !PROBES.contains(&request.uri().path()) => requests.clone().acquire_owned().await.ok(),
        _ => None,
    };
    let request = request.map(|body| Body::new(Reads::new(body, shared.config.request_timeout)));
    let response = tower::ServiceExt::oneshot(shared.router.clone(), request).await?;
    Ok(response.map(|body| hold(body, UnderWay { _permit: permit, idle })))
}

/// An answer that is under way: its place among the requests, and its connection, which waits for the next one afterwards.
struct UnderWay {
    _permit: Option<OwnedSemaphorePermit>,
    idle: watch::Sender<IdleSince>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.idle.send_replace(Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TcpNoDelay`
    #[tokio::test]
    async fn small_answers_wait_only_if_they_may() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for no_delay in [false, true] {
            let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
            let (stream, _) = accepted.unwrap();
            set_up(&stream, no_delay);
            assert_eq!(stream.nodelay().unwrap(), no_delay);
            drop(client);
        }
    }
}
