//! Turns: what has ended is told to the registry, and the workers that it leaves are given what waits, in one call. Ends that come
//! while a call is under way share the next one.

use super::node::lock;
use super::worker;
use crate::Engine;
use model::job::{Claim, ClaimedJob, JobEnd, NodeId, Turn};
use model::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

/// Ends that are told together.
const BATCH: usize = 64;

/// Workers that are free.
pub(super) type Permit = Option<OwnedSemaphorePermit>;

/// A run that is over, if the registry says so.
struct Ended {
    claim: Claim,
    end: JobEnd,
    permit: Permit,
    runner: oneshot::Sender<(Result<bool>, Permit)>,
}

/// Those that wait for the next turn.
#[derive(Default)]
pub(super) struct Ends(Mutex<Vec<Ended>>);

/// Tells the registry how a run ended. Its worker is free for another job in the same moment; after an error it is given back.
pub(super) async fn tell(eng: &Engine, claim: Claim, end: JobEnd, permit: Permit) -> (Result<bool>, Permit) {
    let (runner, answer) = oneshot::channel();
    lock(&eng.node.ends.0).push(Ended { claim, end, permit, runner });
    eng.node.look.notify_one();
    answer.await.unwrap_or_else(|_| (Err(Error::new(ErrorKind::DatabaseUnavailable, "this process stops")), None))
}

/// Takes turns whenever something has ended, or something may wait and workers are free.
pub(super) async fn run(eng: Arc<Engine>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = eng.node.look.notified() => {}
        }
        while take(&eng).await {}
    }
}

/// Takes a turn. Whether the next is due at once.
async fn take(eng: &Arc<Engine>) -> bool {
    let node = &eng.node;
    let ended: Vec<Ended> = {
        let mut ends = lock(&node.ends.0);
        let n = ends.len().min(BATCH);
        ends.drain(..n).collect()
    };
    let mut workers = Workers(None);
    let (mut ends, mut runners) = (vec![], vec![]);
    for Ended { claim, end, permit, runner } in ended {
        ends.push((claim, end));
        runners.push((runner, workers.add(permit)));
    }
    let may = node.may_claim(eng.config.jobs.lease);
    if may && node.work.load(Relaxed) {
        let free = u32::try_from(node.workers.available_permits()).unwrap_or(u32::MAX);
        // A request may take one meanwhile.
        workers.add(node.workers.clone().try_acquire_many_owned(free).ok());
    }
    let free = workers.free();
    let next = (may && free > 0 && node.work.swap(false, Relaxed)).then(|| (node.id(), free));
    if ends.is_empty() && next.is_none() {
        return false;
    }
    let (ended, claimed) = turn(eng, &ends, next).await;
    let all_ended = ended.iter().all(Result::is_ok);
    for ((runner, held), result) in runners.into_iter().zip(ended) {
        let back = if result.is_err() { workers.take(held) } else { None };
        // The run may be gone with its process.
        let _ = runner.send((result, back));
    }
    let (full, none) = (claimed.len() == free, claimed.is_empty());
    for job in claimed {
        worker::launch(eng, job, workers.take(1));
    }
    if next.is_some() && full {
        node.work.store(true, Relaxed);
    }
    if next.is_some() && none && all_ended && free == eng.config.jobs.workers {
        run_suspect(eng, workers).await;
    }
    !lock(&node.ends.0).is_empty() || next.is_some() && full
}

/// An answer for each end, and what was claimed.
async fn turn(eng: &Engine, ends: &[(Claim, JobEnd)], next: Option<(NodeId, usize)>) -> (Vec<Result<bool>>, Vec<ClaimedJob>) {
    let limits = eng.config.jobs.limits;
    match eng.index.finish_jobs(ends, limits, next).await {
        Ok(Turn { ended, claimed }) => (ended.into_iter().map(Ok).collect(), claimed),
        Err(error) if error.kind() == ErrorKind::DatabaseUnavailable || ends.len() == 1 => {
            // The next beat looks for work again.
            tracing::debug!(%error, "nothing could be ended or claimed");
            (ends.iter().map(|_| Err(Error::new(error.kind(), error.message()))).collect(), vec![])
        }
        // Something is wrong with one of them: each alone.
        Err(_) => {
            let mut ended = vec![];
            for (claim, end) in ends {
                ended.push(eng.index.finish_job(*claim, end.clone(), limits).await);
            }
            eng.node.poke();
            (ended, vec![])
        }
    }
}

/// Nothing else runs here: the time for a job whose processes died.
async fn run_suspect(eng: &Arc<Engine>, workers: Workers) {
    match eng.index.claim_suspect(eng.node.id()).await {
        Ok(Some(job)) => {
            tracing::warn!(job.id = %job.claim.job, job.crashes, "runs alone: the processes that ran it before died");
            worker::launch(eng, job, workers.0);
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "no job could be claimed"),
    }
}

/// Permits in one hand.
struct Workers(Permit);

impl Workers {
    fn free(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Returns how many are added.
    fn add(&mut self, permit: Permit) -> usize {
        let Some(permit) = permit else { return 0 };
        let n = permit.num_permits();
        match &mut self.0 {
            Some(all) => all.merge(permit),
            None => self.0 = Some(permit),
        }
        n
    }

    fn take(&mut self, n: usize) -> Permit {
        if n == 0 { None } else { self.0.as_mut()?.split(n) }
    }
}
