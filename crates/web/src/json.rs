//! JSON in and out.

use crate::HttpError;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use model::{Error, ErrorKind};
use serde::Serialize;
use serde_json::Value;

/// A JSON answer, indented as Orthanc's.
pub struct Json(pub Value);

/// The text of a JSON answer: indented by three blanks, a line feed at the end.
pub fn pretty(value: &Value) -> String {
    let mut out = Vec::with_capacity(256);
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    // Writing a `Value` to memory cannot fail.
    let _ = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter));
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))], pretty(&self.0)).into_response()
    }
}

/// JSON bodies larger than this are refused.
pub const MAX_JSON_BYTES: usize = 16 << 20;

/// A JSON request body, whatever its content type says.
pub struct JsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &S) -> Result<Self, HttpError> {
        let bytes = crate::body::read(request.into_body(), MAX_JSON_BYTES).await?;
        let value = serde_json::from_slice(&bytes).map_err(|e| Error::new(ErrorKind::BadJson, e.to_string()))?;
        Ok(Self(value))
    }
}
