//! Calls to other HTTP servers: Orthanc peers, and whatever scripts talk to.

use crate::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Delete,
}

/// What is sent behind the head of a request.
pub enum HttpBody {
    Bytes(Bytes),
    /// In pieces, as they come. An error among them breaks the call, which fails with it.
    Stream {
        /// `None`: sent in chunks.
        size_bytes: Option<u64>,
        pieces: BoxStream<'static, Result<Bytes>>,
    },
}

/// A certificate that this server shows, in files of PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub file: PathBuf,
    /// `None`: the key is in the same file.
    pub key_file: Option<PathBuf>,
}

/// One request.
pub struct HttpRequest {
    pub method: HttpMethod,
    /// `http://…` or `https://…`
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: HttpBody,
    /// User and password (RFC 7617).
    pub credentials: Option<(String, String)>,
    pub certificate: Option<ClientCertificate>,
    /// Longest time to the end of the answer. `None`: as configured (`HttpTimeout`). Zero: no limit.
    pub timeout: Option<Duration>,
}

impl HttpRequest {
    /// A request without a body, headers or credentials.
    pub fn new(method: HttpMethod, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: vec![],
            body: HttpBody::Bytes(Bytes::new()),
            credentials: None,
            certificate: None,
            timeout: None,
        }
    }
}

/// What a server answered, whatever its status.
pub struct HttpAnswer {
    pub status: u16,
    /// Names in lower case. Values that are no UTF-8 are shown with replacement characters.
    pub headers: Vec<(String, String)>,
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl HttpAnswer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The whole body.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit` bytes; `NetworkProtocol` if it ends early.
    pub async fn read(mut self, limit: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.body.next().await {
            let piece = piece?;
            if all.len() + piece.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, format!("the answer of the HTTP server exceeds {limit} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

/// The one client of this process.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Sends a request and waits for the head of the answer. Whoever stops waiting breaks the connection.
    ///
    /// # Errors
    /// `BadRequest` for a URL or a header that cannot be sent; `InexistentFile`, `BadDicom` or `NotImplemented` (an encrypted key)
    /// for a certificate that cannot be used; `NetworkProtocol` (Orthanc's kind) if the server cannot be reached, is not trusted or
    /// takes too long. No message has a password, a header or the query of the URL.
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer>;
}

/// No calls at all.
pub struct NoHttp;

#[async_trait]
impl HttpClient for NoHttp {
    async fn send(&self, _: HttpRequest) -> Result<HttpAnswer> {
        Err(ErrorKind::NotImplemented.into())
    }
}
