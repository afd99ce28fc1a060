//! The HTTP listener: connections, limits, the middleware that every request passes, graceful stop.

use crate::auth::{self, Access};
use crate::body::{self, MaxBody};
use crate::caller::Remote;
use crate::connections::{MAX_CONNECTIONS, Shared, accept};
use crate::error;
use crate::held::hold;
use crate::metrics::{Begun, Latencies};
use crate::passwords::Users;
use crate::proxies::TrustedProxies;
use crate::tls::{self, TlsConfig};
use crate::xml;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header;
use model::{Error, ErrorKind};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

/// The options of the HTTP door, under Orthanc's names.
pub struct HttpConfig {
    /// `HttpPort`
    pub port: u16,
    /// `HttpBindAddresses`; empty for all.
    pub bind_addresses: Vec<std::net::IpAddr>,
    /// `RemoteAccessAllowed`
    pub remote_access: bool,
    /// `AuthenticationEnabled`
    pub authentication: bool,
    /// `RegisteredUsers`
    pub users: Users,
    /// `HttpDescribeErrors`
    pub describe_errors: bool,
    /// `HttpCompressionEnabled`: text is compressed for clients that take it so.
    pub compression: bool,
    /// `HttpThreadsCount`: requests answered at once; others wait.
    pub max_requests: Option<usize>,
    /// `SslEnabled`
    pub tls: Option<TlsConfig>,
    /// `TrustedProxies`
    pub trusted_proxies: TrustedProxies,
    /// `KeepAlive`
    pub keep_alive: bool,
    /// `KeepAliveTimeout`: how long a connection waits for its next request. `None`: for `request_timeout`.
    pub keep_alive_timeout: Option<Duration>,
    /// `TcpNoDelay`
    pub tcp_no_delay: bool,
    /// `HttpRequestTimeout`: how long the head of a request may take, and how long its body or its answer may stand still.
    pub request_timeout: Duration,
    /// `MaximumRequestBodySizeMB` in bytes, 0 for none.
    pub max_body_bytes: u64,
}

/// A running HTTP door.
pub struct Server {
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// Refuses new connections and waits for running requests, at most for `grace`.
    pub async fn stop(self, grace: Duration) {
        self.stop.cancel();
        let all = futures_util::future::join_all(self.tasks);
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("HTTP requests were still running when the grace time ended");
        }
    }
}

/// Opens the ports and serves `router`, behind authentication, error bodies, logs and metrics.
///
/// # Errors
/// Those of binding, with the address; `OutOfRange` for a certificate that cannot be used.
pub async fn serve(config: HttpConfig, router: Router, latencies: Arc<Latencies>) -> Result<Server, Error> {
    let any = || vec![std::net::Ipv6Addr::UNSPECIFIED.into(), std::net::Ipv4Addr::UNSPECIFIED.into()];
    let explicit = !config.bind_addresses.is_empty();
    let wanted = if explicit { config.bind_addresses.clone() } else { any() };
    let mut listeners: Vec<TcpListener> = vec![];
    for ip in wanted {
        match TcpListener::bind((ip, config.port)).await {
            Ok(listener) => listeners.push(listener),
            // Without explicit addresses, IPv6 may be absent, or may have taken IPv4 along.
            Err(_) if !explicit && (ip.is_ipv6() || !listeners.is_empty()) => {}
            Err(e) => {
                let message = format!("cannot listen for HTTP on {ip} port {} (HttpPort): {e}", config.port);
                return Err(Error::new(ErrorKind::BadRequest, message).caused_by(e));
            }
        }
    }
    let addresses = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let stop = CancellationToken::new();
    let shared = Arc::new(Shared {
        router: wrap(&config, router, latencies),
        tls: config.tls.as_ref().map(tls::acceptor).transpose()?,
        connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        requests: config.max_requests.map(|n| Arc::new(Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS)))),
        config,
    });
    let tasks = listeners.into_iter().map(|l| tokio::spawn(accept(l, shared.clone(), stop.clone()))).collect();
    Ok(Server { addresses, stop, tasks })
}

fn wrap(config: &HttpConfig, router: Router, latencies: Arc<Latencies>) -> Router {
    let access = Access { authentication: config.authentication, users: config.users.clone(), remote: config.remote_access };
    let router = router
        .layer(middleware::from_fn(xml::negotiate))
        .layer(middleware::from_fn_with_state(Arc::new(access), auth::check))
        .layer(middleware::from_fn_with_state(config.max_body_bytes, limit_body))
        .layer(middleware::from_fn(body::take_all))
        .layer(middleware::from_fn(catch_panic))
        .layer(middleware::from_fn_with_state(config.describe_errors, error::describe));
    let router = if config.compression { router.layer(CompressionLayer::new().compress_when(Text)) } else { router };
    router.layer(middleware::from_fn_with_state(latencies, log))
}

/// Which answers are compressed: text that is longer than a packet or two.
#[derive(Clone, Copy)]
struct Text;

/// Bytes of an answer that is worth it.
const WORTH_BYTES: u64 = 2048;

impl Predicate for Text {
    fn should_compress<B: hyper::body::Body>(&self, response: &http::Response<B>) -> bool {
        let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_text = media_type.starts_with("text/")
            || ["json", "xml", "javascript"].iter().any(|end| media_type.ends_with(end)) && !media_type.starts_with("multipart/");
        is_text && response.body().size_hint().exact().is_none_or(|size| size >= WORTH_BYTES)
    }
}

async fn limit_body(State(limit): State<u64>, mut request: Request, next: Next) -> Response {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if limit > 0 && announced.is_some_and(|n| n > limit) {
        let message = format!("the request body exceeds {limit} bytes (MaximumRequestBodySizeMB)");
        return crate::HttpError(Error::new(ErrorKind::TooLarge, message)).into_response();
    }
    request.extensions_mut().insert(MaxBody(limit));
    next.run(request).await
}

/// A panic is a bug, but it costs one request, not the process.
pub(crate) async fn catch_panic(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => crate::HttpError(Error::new(ErrorKind::Internal, "the request hit a bug; the server's log has its place"))
            .into_response(),
    }
}

/// One line per request; never a query string, which may name patients.
async fn log(State(latencies): State<Arc<Latencies>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let begun = Begun::new(latencies.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let remote = request.extensions().get::<Remote>().map(|r| r.0.ip().to_canonical().to_string());
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    let took = start.elapsed();
    latencies.record(took);
    let status = response.status().as_u16();
    if status >= 500 {
        latencies.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    tracing::info!(target: "http", method = %method, path, status, duration_ms = took.as_secs_f64() * 1e3, remote);
    response.map(|body| hold(body, begun))
}
