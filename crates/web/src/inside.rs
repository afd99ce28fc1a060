//! Requests from inside this process (scripts): the routes of the API without a connection, a login or a log line.

use crate::body::{self, MaxBody};
use crate::{rewrite, serve};
use axum::Router;
use axum::body::Body;
use axum::middleware;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use model::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use tower::ServiceExt;

/// Marks a request of a script.
#[derive(Clone, Copy, Debug)]
pub struct Inside;

/// Answers requests from inside.
#[derive(Clone)]
pub struct InsideDoor(Router);

impl InsideDoor {
    pub fn new(router: Router) -> Self {
        Self(router.layer(middleware::from_fn(serve::catch_panic)))
    }

    /// Status and body of an answer of at most `max_bytes`.
    ///
    /// # Errors
    /// `BadRequest` for a method, URI or header that is none, `TooLarge`.
    pub async fn answer(
        &self,
        method: &str,
        uri: &str,
        headers: BTreeMap<String, String>,
        body: Bytes,
        max_bytes: usize,
    ) -> Result<(u16, Bytes)> {
        let mut request = request(method, uri, headers, body)?;
        rewrite::normalize(&mut request);
        request.extensions_mut().insert(Inside);
        request.extensions_mut().insert(MaxBody(0));
        let Ok(response) = self.0.clone().oneshot(request).await;
        let status = response.status().as_u16();
        Ok((status, body::read(response.into_body(), max_bytes).await?))
    }
}

fn request(method: &str, uri: &str, headers: BTreeMap<String, String>, body: Bytes) -> Result<Request<Body>> {
    let bad = |what: &str| Error::new(ErrorKind::BadRequest, format!("a script asks with {what}"));
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("a method that is none"))?;
    let mut request = Request::builder().method(method).uri(uri).body(Body::from(body)).map_err(|_| bad("a URI that is none"))?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| bad("a header whose name is none"))?;
        let value = HeaderValue::try_from(value).map_err(|_| bad("a header whose value is none"))?;
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}
