//! Creating jobs, and waiting for their end.

use super::handle::is_transient;
use super::kinds::JobKind;
use super::waiting::Waiter;
use super::worker;
use crate::{Ctx, Engine};
use model::job::{Job, JobError, JobId, JobKey, JobOutcome, JobState, NewJob};
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How often a waiting caller asks, if no hint comes: from the first to the second.
const POLL: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// What every creation may say (Orthanc: `Priority`, `UserData`).
#[derive(Clone, Debug, Default)]
pub struct JobOptions {
    pub priority: i32,
    pub user_data: Option<Value>,
}

/// Characters of an `Idempotency-Key`.
const KEY_CHARS: usize = 255;

/// Creates a job: every process sees it when this returns. A job that the caller created under the same key before is returned instead.
///
/// # Errors
/// `BadRequest` for a key that is empty or too long, `Duplicate` for one of another request; `DatabaseUnavailable`, `Database`.
pub async fn submit<K: JobKind>(eng: &Arc<Engine>, ctx: &Ctx, kind: &K, options: JobOptions) -> Result<JobId> {
    create(eng, ctx, JobId::random(), kind, options, Waits::No).await
}

/// Creates a job as [`submit`] does, and waits for its end (Orthanc: `Synchronous`). Returns its `Content`.
///
/// # Errors
/// As [`submit`]; what made the job fail; `Canceled`.
pub async fn run<K: JobKind>(eng: &Arc<Engine>, ctx: &Ctx, kind: &K, options: JobOptions) -> Result<Value> {
    let id = JobId::random();
    let mut waiter = eng.node.waiters.wait_for(id);
    let made = create(eng, ctx, id, kind, options, Waits::Yes).await?;
    if made != id {
        waiter = eng.node.waiters.wait_for(made);
    }
    end(eng, made, waiter).await
}

/// The job when it has ended, or as it is after `patience`.
///
/// # Errors
/// `InexistentItem` for an unknown job, also if it is forgotten meanwhile.
pub async fn wait(eng: &Engine, _ctx: &Ctx, id: JobId, patience: Duration) -> Result<Job> {
    let mut waiter = eng.node.waiters.wait_for(id);
    let until = tokio::time::Instant::now() + patience;
    let mut pause = POLL.0;
    loop {
        let unknown = || Error::new(ErrorKind::InexistentItem, format!("no job {id}"));
        let job = eng.index.jobs(Some(&[id])).await?.pop().ok_or_else(unknown)?;
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if job.state.is_final() || left.is_zero() {
            return Ok(job);
        }
        let woken = tokio::time::timeout(left.min(pause), waiter.news.changed()).await;
        pause = if woken.is_ok() { POLL.0 } else { (pause * 2).min(POLL.1) };
    }
}

/// # Errors
/// `BadRequest`.
fn key_of(ctx: &Ctx) -> Result<Option<JobKey>> {
    let Some(key) = &ctx.idempotency_key else { return Ok(None) };
    if !(1..=KEY_CHARS).contains(&key.chars().count()) {
        let message = format!("Idempotency-Key must have 1 to {KEY_CHARS} characters");
        return Err(Error::new(ErrorKind::BadRequest, message));
    }
    Ok(Some(JobKey::of(&ctx.origin.http_user, key)))
}

/// The job of a key that is in use, if it was created by the same request.
async fn earlier<K: JobKind>(eng: &Engine, key: JobKey, new: &NewJob) -> Result<Option<JobId>> {
    let Some(job) = eng.index.job_of_key(key).await? else { return Ok(None) };
    let is_same = asked::<K>(&job.arguments) == asked::<K>(&new.arguments);
    if (job.kind == new.kind && job.user_data == new.user_data) && is_same {
        return Ok(Some(job.id));
    }
    let message = format!("this Idempotency-Key was used for another request, which made the {} {}", job.kind, job.id);
    Err(Error::new(ErrorKind::Duplicate, message))
}

/// The arguments that the client chose.
fn asked<K: JobKind>(arguments: &Value) -> Value {
    let mut chosen = arguments.clone();
    if let Some(members) = chosen.as_object_mut() {
        members.retain(|name, _| !K::LOOKED_UP.contains(&name.as_str()));
    }
    chosen
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Yes,
    No,
}

fn new_job<K: JobKind>(id: JobId, kind: &K, options: JobOptions) -> Result<NewJob> {
    let arguments = serde_json::to_value(kind).map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
    let JobOptions { user_data, priority } = options;
    Ok(NewJob { id, user_data, priority, ..NewJob::new(K::TYPE, K::VERSION, arguments, kind.content()) })
}

/// A job that finds a free worker here is claimed from birth: one commit less, and nobody needs to be woken.
async fn create<K: JobKind>(
    eng: &Arc<Engine>,
    ctx: &Ctx,
    id: JobId,
    kind: &K,
    options: JobOptions,
    waits: Waits,
) -> Result<JobId> {
    eng.writable()?;
    let key = key_of(ctx)?;
    let node = &eng.node;
    let permit = node.may_claim(eng.config.jobs.lease).then(|| node.workers.clone().try_acquire_owned().ok()).flatten();
    let mut new = new_job(id, kind, options)?;
    new.claim = permit.is_some().then(|| node.id());
    new.waiter = (waits == Waits::Yes && permit.is_none()).then(|| node.id());
    new.key = key;
    let again = key.map(|key| (key, new.clone()));
    match eng.index.submit_job(new).await {
        Ok(Some(claimed)) => worker::launch(eng, claimed, permit),
        Ok(None) => {
            drop(permit);
            node.poke();
        }
        Err(error) => {
            let Some((key, new)) = again.filter(|_| error.kind() == ErrorKind::Duplicate) else { return Err(error) };
            return earlier::<K>(eng, key, &new).await?.ok_or(error);
        }
    }
    Ok(id)
}

/// Creates a job that only this process may run, because it holds the socket that the result goes to. It runs at once.
pub(super) async fn create_pinned<K: JobKind>(eng: &Arc<Engine>, id: JobId, kind: &K, options: JobOptions) -> Result<()> {
    let node = eng.node.id();
    let new = NewJob { pinned: Some(node), claim: Some(node), ..new_job(id, kind, options)? };
    match eng.index.submit_job(new).await? {
        Some(claimed) => worker::launch(eng, claimed, None),
        None => eng.node.poke(),
    }
    Ok(())
}

/// Waits for the end of a job, whichever process runs it.
async fn end(eng: &Engine, id: JobId, mut waiter: Waiter) -> Result<Value> {
    let mut pause = POLL.0;
    loop {
        let woken = tokio::time::timeout(pause, waiter.news.changed()).await;
        let seen = waiter.news.borrow_and_update().clone();
        match seen.as_ref().map(|end| &end.outcome) {
            Some(JobOutcome::Success(_)) => return Ok(seen.map(|end| end.checkpoint.content.clone()).unwrap_or_default()),
            Some(JobOutcome::Failure(error)) => return Err(error_of(error)),
            Some(JobOutcome::Paused | JobOutcome::Released) | None => {}
        }
        pause = if woken.is_ok() { POLL.0 } else { (pause * 2).min(POLL.1) };
        // What another process ran is in the registry.
        match eng.index.jobs(Some(&[id])).await {
            Ok(found) => match found.into_iter().next() {
                Some(job) if job.state == JobState::Success => return leave(eng, id, Ok(job.content)).await,
                Some(job) if job.state == JobState::Failure => return leave(eng, id, Err(error_of(&job.error))).await,
                Some(_) => {}
                None => return Err(Error::new(ErrorKind::InexistentItem, format!("job {id} was deleted"))),
            },
            Err(error) if is_transient(error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn leave(eng: &Engine, id: JobId, result: Result<Value>) -> Result<Value> {
    if let Err(error) = eng.index.forget_waiters(eng.node.id(), &[id], eng.config.jobs.limits).await {
        tracing::debug!(%error, "the record of a job stays until this process ends");
    }
    result
}

/// The failure of a job as the error of the request that waited for it.
pub(super) fn error_of(error: &JobError) -> Error {
    let kind = ErrorKind::from_code(error.code).unwrap_or(ErrorKind::Internal);
    let made = Error::new(kind, error.details.clone());
    match &error.payload {
        Some(payload) => made.with_payload(payload.clone()),
        None => made,
    }
}
