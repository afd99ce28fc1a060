//! Calls to Orthanc peers (Orthanc: `/peers/{id}/system`, `store-straight`, and each instance of `store`).

use crate::flow::{self, Pieces, Reader};
use crate::send::{self, Outgoing};
use crate::{Ctx, Engine, Peer, remotes};
use bytes::Bytes;
use flate2::read::GzEncoder;
use futures_util::StreamExt;
use model::ports::http::{HttpAnswer, HttpBody, HttpMethod};
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest answer of a peer that is read.
const ANSWER_BYTES: usize = 1 << 20;

/// What a peer says of itself.
///
/// # Errors
/// `UnknownResource` for an unknown name; `NetworkProtocol` if it cannot be reached, refuses or does not answer in JSON.
pub async fn system(eng: &Engine, _ctx: &Ctx, name: &str) -> Result<Value> {
    let peer = remotes::peer(eng, name).await?;
    let answer = eng.http.send(peer.request(HttpMethod::Get, "system")?).await?;
    json_of(name, answer).await
}

/// Sends a file that is not stored, as it arrives. Returns the peer's answer.
///
/// # Errors
/// As [`system`]; those of `dicom`.
pub async fn store_straight(eng: &Engine, _ctx: &Ctx, name: &str, dicom: Pieces, size_bytes: Option<u64>) -> Result<Value> {
    let peer = remotes::peer(eng, name).await?;
    let mut request = peer.request(HttpMethod::Post, "instances")?;
    request.headers.push(header("Content-Type", "application/dicom"));
    request.body = HttpBody::Stream { size_bytes, pieces: dicom };
    json_of(name, eng.http.send(request).await?).await
}

/// Sends one stored instance, compressed by gzip if that is wanted, and waits for the answer. Returns how many bytes were sent.
///
/// # Errors
/// `NetworkProtocol` if the peer cannot be reached or did not store it; `InexistentFile` or `Corrupted` if the file is missing or
/// damaged, naming the instance: the peer does not get its last bytes.
pub(crate) async fn store(eng: &Engine, name: &str, peer: &Peer, item: &Outgoing, compress: bool) -> Result<u64> {
    let file = send::whole(eng, item).await?;
    let mut request = peer.request(HttpMethod::Post, "instances")?;
    request.headers.push(header("Content-Type", "application/dicom"));
    let mut size_bytes = Some(item.size_bytes());
    let mut pieces = file;
    if compress {
        request.headers.push(header("Content-Encoding", "gzip"));
        size_bytes = None;
        pieces = gzipped(pieces);
    }
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let count = move |piece: &Result<Bytes>| {
        let bytes = piece.as_ref().map_or(0, Bytes::len) as u64;
        counter.fetch_add(bytes, Ordering::Relaxed);
    };
    request.body = HttpBody::Stream { size_bytes, pieces: pieces.inspect(count).boxed() };
    let answer = eng.http.send(request).await?;
    accepted(name, &answer)?;
    answer.read(ANSWER_BYTES).await?; // so that the connection can take the next one
    Ok(sent.load(Ordering::Relaxed))
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn gzipped(plain: Pieces) -> Pieces {
    let plain = Reader::new(plain);
    flow::stream_of(
        move || GzEncoder::new(plain, flate2::Compression::default()),
        |piece| piece.map_err(|e| flow::into_error(e, |e| Error::new(ErrorKind::Internal, "compression failed").caused_by(e))),
    )
}

/// # Errors
/// `NetworkProtocol` with the status.
fn accepted(name: &str, answer: &HttpAnswer) -> Result<()> {
    if answer.is_success() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NetworkProtocol, format!("peer {name} answered with HTTP status {}", answer.status)))
}

async fn json_of(name: &str, answer: HttpAnswer) -> Result<Value> {
    accepted(name, &answer)?;
    let body = answer.read(ANSWER_BYTES).await?;
    let no_json = |e| Error::new(ErrorKind::NetworkProtocol, format!("peer {name} did not answer in JSON")).caused_by(e);
    serde_json::from_slice(&body).map_err(no_json)
}
