//! One association from its request to its end.

use std::sync::Arc;
use std::time::Instant;

use dimse::{Association, Command, Operation, Peer, RequestedAssociation, Status, Transport};
use engine::{Ctx, Engine, Modality};
use model::{Origin, RequestOrigin};
use tokio_util::sync::CancellationToken;

use crate::listener::Shared;
use crate::policy::{self, Caller, Contexts};
use crate::{ScpConfig, echo, store};

/// What the services of one association share.
pub(crate) struct Door<'a> {
    pub config: &'a ScpConfig,
    pub eng: &'a Arc<Engine>,
    pub ctx: Ctx,
    pub peer: Peer,
    /// Who the peer is, as far as that matters.
    pub known: Vec<Modality>,
    /// Number of the association in this process, for the log.
    pub id: u64,
    pub tally: Tally,
}

/// What an association did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub echoes: u64,
    pub stored: u64,
    pub failed: u64,
    pub bytes: u64,
}

/// Serves a connection. Ends between two messages once `stopping` is cancelled.
pub(crate) async fn serve(shared: &Shared, transport: Transport, id: u64, stopping: &CancellationToken) {
    let started = Instant::now();
    let addr = transport.peer_addr();
    let negotiated = async {
        match RequestedAssociation::receive(transport, shared.config.limits()).await {
            Ok(requested) => open(shared, requested, id).await,
            Err(error) => {
                tracing::info!(association.id = id, peer.addr = %addr, "no association: {error}");
                None
            }
        }
    };
    let negotiated = tokio::select! {
        association = negotiated => association,
        () = stopping.cancelled() => None,
    };
    let Some((mut association, known)) = negotiated else { return };
    let peer = association.peer().clone();
    let mut door =
        Door { config: &shared.config, eng: &shared.engine, ctx: context(&peer), peer, known, id, tally: Tally::default() };
    let end = tokio::select! {
        end = messages(&mut door, &mut association, stopping) => end,
        () = shared.killing.cancelled() => Ok(End::Killed),
    };
    log(&door, started, &end);
    match end {
        Ok(End::Released) => tokio::select! {
            () = association.close() => {}
            () = stopping.cancelled() => {}
        },
        Ok(End::Stopping | End::Killed) => association.abort().await,
        Err(_) => {}
    }
}

/// Refuses a connection that is one too many.
pub(crate) async fn refuse(shared: &Shared, transport: Transport, id: u64) {
    let addr = transport.peer_addr();
    tracing::warn!(association.id = id, peer.addr = %addr, limit = shared.config.max_associations, "too many associations");
    if let Ok(requested) = RequestedAssociation::receive(transport, shared.config.limits()).await {
        // The peer may be gone already: nobody is left to tell.
        let _ = requested.reject(dimse::Rejection::LOCAL_LIMIT_EXCEEDED).await;
    }
}

/// Accepts or refuses an association.
async fn open(shared: &Shared, requested: RequestedAssociation, id: u64) -> Option<(Association, Vec<Modality>)> {
    let request = requested.request();
    let addr = requested.peer_addr();
    let caller = Caller { aet: &request.calling_aet, ip: addr.ip() };
    let known = policy::known(&shared.config, &shared.engine, caller).await;
    let (calling, called) = (request.calling_aet.clone(), request.called_aet.clone());
    let admitted = match &known {
        Ok(known) => policy::admit(&shared.config, known, &called),
        Err(error) => {
            tracing::warn!(association.id = id, error = %error, "known modalities cannot be read");
            Err(dimse::Rejection::TEMPORARY_CONGESTION)
        }
    };
    if let Err(rejection) = admitted {
        tracing::info!(
            association.id = id, peer.addr = %addr, aet.calling = calling, aet.called = called,
            "association rejected: {rejection}"
        );
        // The peer may be gone already: nobody is left to tell.
        let _ = requested.reject(rejection).await;
        return None;
    }
    let contexts = Contexts::now(&shared.config, &shared.sop_classes, &shared.engine);
    match requested.accept(|proposed| contexts.choose(proposed), None).await {
        Ok(association) => Some((association, known.unwrap_or_default())),
        Err(error) => {
            tracing::info!(association.id = id, peer.addr = %addr, aet.calling = calling, "no association: {error}");
            None
        }
    }
}

fn context(peer: &Peer) -> Ctx {
    Ctx {
        idempotency_key: None,
        origin: Origin {
            door: RequestOrigin::DicomProtocol,
            remote_ip: peer.addr.ip().to_canonical().to_string(),
            remote_aet: peer.calling_aet.clone(),
            called_aet: peer.called_aet.clone(),
            ..Origin::default()
        },
    }
}

/// How an association ended, if not by an error.
#[derive(Debug, Clone, Copy)]
enum End {
    Released,
    /// Between two messages, because the server stops.
    Stopping,
    /// Within a message, because the grace time is over.
    Killed,
}

async fn messages(door: &mut Door<'_>, association: &mut Association, stopping: &CancellationToken) -> dimse::Result<End> {
    loop {
        let next = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(End::Stopping),
            next = association.next() => next?,
        };
        let Some(incoming) = next else { return Ok(End::Released) };
        let Command::Request(request) = incoming.command else {
            tracing::warn!(association.id = door.id, "a response that nobody asked for was ignored");
            continue;
        };
        let response = match &request.operation {
            Operation::Echo => {
                door.tally.echoes += 1;
                let abstract_syntax = association.context(incoming.context_id).map(|c| c.abstract_syntax.as_str());
                echo::answer(door, &request, abstract_syntax.unwrap_or_default())
            }
            Operation::Store { .. } => store::answer(door, association, &request, incoming.context_id, incoming.has_data).await?,
            // Has no response of its own, and there is nothing left to cancel (PS3.7 9.3.2.3).
            Operation::Cancel => continue,
            Operation::Find { .. }
            | Operation::Get { .. }
            | Operation::Move { .. }
            | Operation::Action { .. }
            | Operation::EventReport { .. }
            | Operation::Other(_) => {
                door.tally.failed += 1;
                association.drain().await?;
                request.response(Status::UNRECOGNIZED_OPERATION)
            }
        };
        association.respond(incoming.context_id, response).await?;
    }
}

/// The one line per association.
fn log(door: &Door<'_>, started: Instant, end: &dimse::Result<End>) {
    let end = match end {
        Ok(End::Released) => "released".to_owned(),
        Ok(End::Stopping | End::Killed) => "aborted, the server stops".to_owned(),
        Err(error) => error.to_string(),
    };
    let Tally { echoes, stored, failed, bytes } = door.tally;
    tracing::info!(
        association.id = door.id,
        peer.addr = %door.peer.addr,
        aet.calling = door.peer.calling_aet,
        aet.called = door.peer.called_aet,
        echoes,
        stored,
        failed,
        bytes,
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "association: {end}"
    );
}
