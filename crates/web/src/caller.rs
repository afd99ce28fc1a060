//! Who asks, taken from the request.

use crate::HttpError;
use crate::inside::Inside;
use axum::extract::FromRequestParts;
use engine::Ctx;
use http::header;
use http::request::Parts;
use model::{Origin, RequestOrigin};
use std::net::SocketAddr;

/// The peer's address, put into every request by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Remote(pub SocketAddr);

/// The user that authentication found.
#[derive(Clone, Debug)]
pub struct User(pub String);

/// The caller of a use case.
pub struct Caller(pub Ctx);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let inside = parts.extensions.get::<Inside>().is_some();
        let remote = parts.extensions.get::<Remote>();
        let user = parts.extensions.get::<User>();
        let idempotency_key = parts.headers.get("idempotency-key").map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        Ok(Self(Ctx {
            idempotency_key,
            origin: Origin {
                door: if inside { RequestOrigin::Lua } else { RequestOrigin::RestApi },
                remote_ip: remote.map(|r| r.0.ip().to_canonical().to_string()).unwrap_or_default(),
                http_user: user.map(|u| u.0.clone()).unwrap_or_default(),
                http_host: parts.headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned(),
                ..Origin::default()
            },
        }))
    }
}
