//! Request bodies, bounded.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt;
use model::{Error, ErrorKind, Result};

/// The limit that the server sets on every body (`MaximumRequestBodySizeMB`), found in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct MaxBody(pub u64);

fn broken(error: axum::Error) -> Error {
    Error::new(ErrorKind::BadRequest, "the request body ended early").caused_by(error)
}

fn too_large(limit: u64) -> Error {
    Error::new(ErrorKind::TooLarge, format!("the request body exceeds {limit} bytes (MaximumRequestBodySizeMB)"))
}

/// The body as a stream that fails with `TooLarge` beyond `limit` bytes (0 for none).
pub fn stream(body: Body, limit: u64) -> BoxStream<'static, Result<Bytes>> {
    let mut seen = 0;
    body.into_data_stream()
        .map(move |piece| {
            let piece = piece.map_err(broken)?;
            seen += piece.len() as u64;
            if limit > 0 && seen > limit { Err(too_large(limit)) } else { Ok(piece) }
        })
        .boxed()
}

/// The whole body in memory.
///
/// # Errors
/// `TooLarge` beyond `limit` bytes, `BadRequest` if the client stopped in the middle.
pub async fn read(mut body: Body, limit: usize) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.map_err(broken)?.into_data() {
            if all.len() + piece.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, format!("the request body exceeds {limit} bytes")));
            }
            all.extend_from_slice(&piece);
        }
    }
    Ok(all.freeze())
}
