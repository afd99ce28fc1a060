//! Errors as Orthanc writes them: a status and a JSON body.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::{Error, ErrorKind};
use std::sync::Arc;

/// An error on its way to the client.
#[derive(Debug)]
pub struct HttpError(pub Error);

impl<E: Into<Error>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// What handlers return.
pub type HttpResult<T> = Result<T, HttpError>;

/// When a client may come again after a 503, in seconds.
pub const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The HTTP status of each kind (Orthanc book, "Error codes").
pub fn status(kind: ErrorKind) -> StatusCode {
    use ErrorKind::*;
    match kind {
        OutOfRange | BadParameterType | BadRequest | BadJson | BadDicom | SopClassMismatch | UnknownDicomTag => {
            StatusCode::BAD_REQUEST
        }
        Unauthenticated => StatusCode::UNAUTHORIZED,
        Forbidden | ReadOnly => StatusCode::FORBIDDEN,
        InexistentItem | InexistentFile | InexistentTag | UnknownResource => StatusCode::NOT_FOUND,
        MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Revision | Duplicate => StatusCode::CONFLICT,
        TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BadRange => StatusCode::RANGE_NOT_SATISFIABLE,
        NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Busy | DatabaseUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        Internal
        | Timeout
        | NetworkProtocol
        | NoPresentationContext
        | Database
        | Corrupted
        | CannotWrite
        | Script
        | CannotOrderSlices
        | Canceled => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The name of a status, as Orthanc writes it.
fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE => "Requested Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or_default(),
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let kind = self.0.kind();
        let status = status(kind);
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            let cause = std::error::Error::source(&self.0).map(ToString::to_string);
            tracing::error!(error = %self.0, cause, "request failed");
        }
        let mut response = status.into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response.extensions_mut().insert(Arc::new(self.0));
        response
    }
}

/// Middleware: gives every error its JSON body (Orthanc: `HttpDescribeErrors`).
pub async fn describe(State(enabled): State<bool>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let uri = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    let error = match response.extensions_mut().remove::<Arc<Error>>() {
        Some(error) => error,
        None => return response,
    };
    if !enabled {
        return response;
    }
    let mut body = serde_json::json!({
        "HttpError": reason(status),
        "HttpStatus": status.as_u16(),
        "Message": error.kind().text(),
        "Method": method.as_str(),
        "OrthancError": error.kind().text(),
        "OrthancStatus": error.kind().code(),
        "Uri": uri,
    });
    if !error.message().is_empty() {
        body["Details"] = error.message().into();
    }
    if let Some(payload) = error.payload() {
        body["ErrorPayload"] = payload.clone();
    }
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, crate::json::pretty(&body).into())
}
