//! Scripts may refuse requests (Orthanc: Lua `IncomingHttpRequestFilter`).

use crate::state::Rest;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use engine::script::{self, IncomingHttp};
use http::StatusCode;
use http::request::Parts;
use std::sync::Arc;
use web::HttpError;
use web::caller::{Remote, User};
use web::inside::Inside;

/// Answered whatever a script says: probes of orchestrators.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Middleware: 403 without a body if a script refuses the request. Those that scripts make themselves are not asked about.
pub(crate) async fn check(State(rest): State<Arc<Rest>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if parts.extensions.get::<Inside>().is_none() && !OPEN.contains(&parts.uri.path()) {
        match script::allows_http(&rest.engine, &|| describe(&parts)).await {
            Ok(true) => {}
            Ok(false) => return StatusCode::FORBIDDEN.into_response(),
            Err(error) => return HttpError(error).into_response(),
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

fn describe(parts: &Parts) -> IncomingHttp {
    let headers = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    IncomingHttp {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        remote_ip: parts.extensions.get::<Remote>().map(|r| r.0.ip().to_canonical().to_string()).unwrap_or_default(),
        user: parts.extensions.get::<User>().map(|u| u.0.clone()).unwrap_or_default(),
        headers: headers.collect(),
    }
}
