//! Room `client`: calls to other HTTP servers, behind the port `HttpClient`: trusted certificates, client certificates, proxy,
//! credentials, time limits.
//!
//! It knows no peer and no script. Start at [`Client`].

mod certificates;
mod errors;

use async_trait::async_trait;
use certificates::Shown;
use futures_util::{StreamExt, TryStreamExt};
use model::ports::HttpClient;
use model::ports::http::{ClientCertificate, HttpAnswer, HttpBody, HttpMethod, HttpRequest};
use model::{Error, ErrorKind, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Body, Certificate, Method, NoProxy, Proxy, Url};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The options of outgoing HTTP, under Orthanc's names.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `HttpsCACertificates`: a file of PEM certificates, which are trusted instead of those of the system.
    pub ca_certificates: Option<PathBuf>,
    /// `HttpsVerifyPeers`: false trusts every server.
    pub verify_peers: bool,
    /// `HttpTimeout`: longest time to the end of an answer; zero for no limit.
    pub timeout: Duration,
    /// `HttpProxy`: `[http://][user:password@]host[:port]`. Without it, the variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` count.
    pub proxy: Option<String>,
}

/// Redirections of one request.
const MAX_REDIRECTIONS: usize = 10;
/// How long a connection waits for its next request.
const IDLE: Duration = Duration::from_secs(30);
/// Client certificates whose connections are kept.
const MAX_CLIENTS: usize = 64;

/// An HTTP client that keeps connections: one pool for each client certificate.
pub struct Client {
    timeout: Duration,
    verify_peers: bool,
    trusted: Option<Vec<Certificate>>,
    proxy: Option<Proxy>,
    pools: Mutex<HashMap<Option<Shown>, reqwest::Client>>,
}

impl Client {
    /// # Errors
    /// `OutOfRange` for a file without certificates or a proxy that cannot be used: it names the option.
    pub fn new(config: &ClientConfig) -> Result<Self> {
        if !config.verify_peers {
            tracing::warn!("HttpsVerifyPeers is false: whoever answers for an HTTPS server is trusted");
        }
        Ok(Self {
            timeout: config.timeout,
            verify_peers: config.verify_peers,
            trusted: config.ca_certificates.as_deref().map(certificates::trusted).transpose()?,
            proxy: config.proxy.as_deref().map(proxy).transpose()?,
            pools: Mutex::default(),
        })
    }

    async fn pool(&self, certificate: Option<&ClientCertificate>) -> Result<reqwest::Client> {
        let shown = match certificate {
            Some(certificate) => Some(Shown::find(certificate).await?),
            None => None,
        };
        if let Some(known) = self.pools.lock().unwrap_or_else(PoisonError::into_inner).get(&shown) {
            return Ok(known.clone());
        }
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(Policy::custom(redirect))
            .referer(false)
            .pool_idle_timeout(IDLE)
            .tls_danger_accept_invalid_certs(!self.verify_peers)
            .user_agent("Pleiad");
        if let Some(trusted) = &self.trusted {
            builder = builder.tls_certs_only(trusted.iter().cloned());
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        if let Some(shown) = &shown {
            builder = builder.identity(shown.read().await?);
        }
        let made = builder.build().map_err(|e| {
            let why = errors::root(&e);
            Error::new(ErrorKind::NetworkProtocol, format!("HTTPS cannot be spoken: {why} (HttpsCACertificates)")).caused_by(e)
        })?;
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if pools.len() >= MAX_CLIENTS {
            pools.clear();
        }
        Ok(pools.entry(shown).or_insert(made).clone())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer> {
        let url = url(&request.url)?;
        let place = errors::place(&url);
        let mut builder = self.pool(request.certificate.as_ref()).await?.request(method(request.method), url);
        builder = builder.headers(headers(&request.headers)?);
        if let Some((user, password)) = request.credentials {
            builder = builder.basic_auth(user, Some(password));
        }
        let timeout = request.timeout.unwrap_or(self.timeout);
        if !timeout.is_zero() {
            builder = builder.timeout(timeout);
        }
        builder = match request.body {
            HttpBody::Bytes(bytes) if bytes.is_empty() && request.method == HttpMethod::Get => builder,
            HttpBody::Bytes(bytes) => builder.body(bytes),
            HttpBody::Stream { size_bytes, pieces } => {
                let builder = match size_bytes {
                    Some(size) => builder.header(reqwest::header::CONTENT_LENGTH, size),
                    None => builder,
                };
                builder.body(Body::wrap_stream(pieces))
            }
        };
        let response = builder.send().await.map_err(|error| errors::failed(&place, error))?;
        let shown = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(HttpAnswer {
            status: response.status().as_u16(),
            headers: response.headers().iter().map(|(name, value)| (name.to_string(), shown(value))).collect(),
            body: response.bytes_stream().map_err(move |error| errors::failed(&place, error)).boxed(),
        })
    }
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
    }
}

/// # Errors
/// `BadRequest`.
fn url(text: &str) -> Result<Url> {
    let parsed = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    parsed.ok_or_else(|| Error::new(ErrorKind::BadRequest, "no URL of HTTP or HTTPS"))
}

/// # Errors
/// `BadRequest` with the name.
fn headers(pairs: &[(String, String)]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let bad = || Error::new(ErrorKind::BadRequest, format!("the HTTP header {name:?} cannot be sent"));
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        map.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
    }
    Ok(map)
}

/// Redirections stay on their host: headers of a request may be credentials.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let is_same = attempt.previous().first().is_some_and(|first| first.host() == attempt.url().host());
    let is_weaker = attempt.previous().last().is_some_and(|last| last.scheme() == "https" && attempt.url().scheme() == "http");
    if !is_same || is_weaker {
        attempt.stop()
    } else if attempt.previous().len() > MAX_REDIRECTIONS {
        attempt.error("too many redirections")
    } else {
        attempt.follow()
    }
}

/// # Errors
/// `OutOfRange`. The text may have a password, so it is not repeated.
fn proxy(text: &str) -> Result<Proxy> {
    let refused = || Error::new(ErrorKind::OutOfRange, "option HttpProxy: expected [http://][USER:PASSWORD@]HOST[:PORT]");
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = url(&full).map_err(|_| refused())?;
    Ok(Proxy::all(url).map_err(|_| refused())?.no_proxy(NoProxy::from_env()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_refused() {
        for bad in ["", "host", "ftp://host/", "http://", "file:///x", "javascript:1"] {
            assert_eq!(url(bad).unwrap_err().kind(), ErrorKind::BadRequest, "{bad}");
        }
        assert_eq!(url("HTTP://h:1/a b").unwrap().as_str(), "http://h:1/a%20b");
        for (name, value) in [("a b", "c"), ("", "c"), ("a", "b\r\nc: d"), ("a:", "b")] {
            let error = headers(&[(name.into(), value.into())]).unwrap_err();
            assert!(error.message().contains("cannot be sent") && !error.message().contains('\n'), "{error}");
        }
        assert_eq!(headers(&[("A".into(), "1".into()), ("a".into(), "2".into())]).unwrap().get_all("a").iter().count(), 2);
    }

    #[test]
    fn a_proxy_is_a_host_with_or_without_more() {
        for good in ["proxy", "proxy:3128", "u:p@proxy:3128", "http://proxy", "https://u:p@[::1]:3128/"] {
            proxy(good).unwrap_or_else(|e| panic!("{good}: {e}"));
        }
        for bad in ["socks5://u:secret@h", "u:secret@:1", "http://"] {
            let error = proxy(bad).unwrap_err();
            assert!(error.message().contains("HttpProxy") && !error.message().contains("secret"), "{error}");
        }
    }
}
