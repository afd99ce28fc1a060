//! C-STORE (PS3.4 B): streams a data set into the engine. One bad object is a status; the association lives on.

use std::panic::AssertUnwindSafe;

use dimse::{Association, Request, Response, Status};
use engine::store::{self, Ingest};
use futures_util::FutureExt;
use model::{Error, ErrorKind};

use crate::dispatch::Door;
use crate::meta::FileMeta;
use crate::policy::{self, Service};
use crate::status;

/// Takes the data set of a C-STORE and stores it. Whatever becomes of it, the data set has been read to its end.
///
/// # Errors
/// Only of the association; nothing was stored then.
pub(crate) async fn answer(
    door: &mut Door<'_>,
    association: &mut Association,
    request: &Request,
    context_id: u8,
    has_data: bool,
) -> dimse::Result<Response> {
    let meta = match check(door, association, request, context_id, has_data) {
        Ok(meta) => meta,
        Err((status, why)) => {
            association.drain().await?;
            door.tally.failed += 1;
            tracing::warn!(association.id = door.id, status = %status, "C-STORE refused: {why}");
            return Ok(request.response(status).with_comment(why));
        }
    };
    // A panic in here is a bug, but neither the peer nor its other objects should suffer from it.
    let received = AssertUnwindSafe(receive(door, association, request, meta)).catch_unwind().await;
    let stored = match received {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(Failure::Association(error))) => return Err(error),
        Ok(Err(Failure::Object(error))) => Err(error),
        Err(_) => Err(Error::new(ErrorKind::Internal, "panic while storing")),
    };
    association.drain().await?;
    Ok(match stored {
        Ok(Status::SUCCESS) => {
            door.tally.stored += 1;
            request.response(Status::SUCCESS)
        }
        Ok(status) => {
            door.tally.failed += 1;
            tracing::info!(association.id = door.id, status = %status, "a script refused an instance");
            request.response(status)
        }
        Err(error) => {
            door.tally.failed += 1;
            refusal(door, request, &error)
        }
    })
}

/// Refuses what needs no look at the data set.
fn check(
    door: &Door<'_>,
    association: &Association,
    request: &Request,
    context_id: u8,
    has_data: bool,
) -> Result<bytes::Bytes, (Status, &'static str)> {
    let Some(context) = association.context(context_id) else {
        return Err((Status::SOP_CLASS_NOT_SUPPORTED, "unknown presentation context"));
    };
    let dimse::Operation::Store { sop_instance, .. } = &request.operation else {
        return Err((Status::UNRECOGNIZED_OPERATION, "not a C-STORE"));
    };
    if context.abstract_syntax == dimse::VERIFICATION || context.abstract_syntax != request.sop_class {
        return Err((Status::SOP_CLASS_NOT_SUPPORTED, "SOP class differs from that of the context"));
    }
    if sop_instance.is_empty() || sop_instance.len() > 64 {
        return Err((Status::INVALID_SOP_INSTANCE, "SOP instance UID is empty or too long"));
    }
    if !has_data {
        return Err((Status::CANNOT_UNDERSTAND, "no data set"));
    }
    if !policy::allows(door.config, &door.known, Service::Store) {
        return Err((Status::NOT_AUTHORIZED, "C-STORE is not allowed for this AE title"));
    }
    let meta = FileMeta { sop_class: &request.sop_class, sop_instance, transfer_syntax: &context.transfer_syntax };
    Ok(meta.encode())
}

enum Failure {
    Association(dimse::Error),
    Object(Error),
}

/// Streams the file into the engine. Returns the status of what it became.
async fn receive(
    door: &mut Door<'_>,
    association: &mut Association,
    request: &Request,
    meta: bytes::Bytes,
) -> Result<Status, Failure> {
    let mut ingest = store::begin(door.eng, &door.ctx, 0);
    if let dimse::Operation::Store { sop_instance, .. } = &request.operation {
        ingest.expect(&request.sop_class, sop_instance);
    }
    match fill(&mut ingest, door, association, meta).await {
        // Stored, stored before, or filtered out: the sender is done with it (Orthanc: C-STORE SCP), unless a script chose a status.
        Ok(()) => ingest.finish().await.map(|outcome| Status(outcome.dimse_status)).map_err(Failure::Object),
        Err(failure) => {
            ingest.discard().await;
            Err(failure)
        }
    }
}

async fn fill(
    ingest: &mut Ingest,
    door: &mut Door<'_>,
    association: &mut Association,
    meta: bytes::Bytes,
) -> Result<(), Failure> {
    ingest.write(meta).await.map_err(Failure::Object)?;
    while let Some(chunk) = association.chunk().await.map_err(Failure::Association)? {
        door.tally.bytes += chunk.len() as u64;
        ingest.write(chunk).await.map_err(Failure::Object)?;
    }
    Ok(())
}

fn refusal(door: &Door<'_>, request: &Request, error: &Error) -> Response {
    let status = status::c_store(error.kind());
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let id = door.id;
    if status == Status::PROCESSING_FAILURE {
        tracing::error!(association.id = id, status = %status, cause, "C-STORE failed: {error}");
    } else {
        tracing::warn!(association.id = id, status = %status, cause, "C-STORE refused: {error}");
    }
    // The kind only: a message may quote the data set or the machine.
    request.response(status).with_comment(error.kind().text())
}
