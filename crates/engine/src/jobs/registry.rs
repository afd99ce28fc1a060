//! What clients ask of the registry (Orthanc: `/jobs`).

use super::kinds;
use crate::{Ctx, Engine};
use model::job::{Acted, Job, JobAction, JobId, JobOutput, JobQuery, JobState, JobStep, Node, Waiting, capability};
use model::{Error, ErrorKind, Result};
use std::collections::HashMap;

/// The ids of all jobs, in ascending order of their text.
pub async fn ids(eng: &Engine, _ctx: &Ctx) -> Result<Vec<JobId>> {
    eng.index.job_ids().await
}

/// All jobs, in the same order.
pub async fn list(eng: &Engine, _ctx: &Ctx) -> Result<Vec<Job>> {
    eng.index.jobs(None).await
}

/// A page of jobs in order of their creation.
///
/// # Errors
/// `InexistentItem` if the job is unknown behind which the page begins.
pub async fn page(eng: &Engine, _ctx: &Ctx, query: &JobQuery) -> Result<Vec<Job>> {
    eng.index.list_jobs(query).await
}

/// What a job has done so far, step by step: at most `limit` from a position on.
///
/// # Errors
/// `InexistentItem`.
pub async fn steps(eng: &Engine, _ctx: &Ctx, id: JobId, from: u32, limit: u32) -> Result<Vec<JobStep>> {
    eng.index.job_steps(id, from, limit).await
}

/// Gives a job another priority. Refused if it has ended.
pub async fn set_priority(eng: &Engine, _ctx: &Ctx, id: JobId, priority: i32) -> Result<Acted> {
    eng.writable()?;
    eng.index.set_job_priority(id, priority).await
}

/// One job.
///
/// # Errors
/// `InexistentItem`.
pub async fn one(eng: &Engine, _ctx: &Ctx, id: JobId) -> Result<Job> {
    let found = eng.index.jobs(Some(&[id])).await?.into_iter().next();
    found.ok_or_else(|| Error::new(ErrorKind::InexistentItem, format!("no job {id}")))
}

/// Why some of these jobs wait: those that no living process runs. Processes are asked for only if this one runs not all that wait.
pub async fn blocked(eng: &Engine, jobs: &[Job]) -> Result<HashMap<JobId, String>> {
    let own = &eng.config.jobs;
    let capabilities = kinds::capabilities();
    let known = |job: &Job| capabilities.contains(&capability(&job.kind, job.version));
    let runs_here = |job: &Job| own.workers > 0 && !own.new_jobs_only && known(job);
    let waiting: Vec<&Job> = jobs.iter().filter(|job| job.state == JobState::Pending && !runs_here(job)).collect();
    if waiting.is_empty() {
        return Ok(HashMap::new());
    }
    let nodes = eng.index.nodes().await?;
    Ok(waiting.into_iter().filter_map(|job| Some((job.id, reason(job, &nodes)?))).collect())
}

fn reason(job: &Job, nodes: &[Node]) -> Option<String> {
    let needed = capability(&job.kind, job.version);
    let mut living = nodes.iter().filter(|n| !n.lease.is_zero() && !n.draining);
    let mut able = living.clone().filter(|n| n.node.kinds.contains(&needed)).peekable();
    if able.peek().is_none() {
        return Some(if living.any(|n| n.node.kinds.contains(&job.kind)) {
            format!("No living process knows version {} of jobs of type {:?}", job.version, job.kind)
        } else {
            format!("No living process runs jobs of type {:?}", job.kind)
        });
    }
    let left_alone = able.all(|n| n.node.new_jobs_only && job.created_at < n.started_at);
    left_alone.then(|| "All living processes leave the jobs alone that are older than they (--no-jobs)".to_owned())
}

/// Cancels, pauses, resumes or resubmits a job, whichever process runs it.
pub async fn act(eng: &Engine, _ctx: &Ctx, id: JobId, action: JobAction) -> Result<Acted> {
    eng.writable()?;
    let acted = eng.index.act_on_job(id, action, eng.config.jobs.limits).await?;
    if acted == Acted::Accepted && matches!(action, JobAction::Resume | JobAction::Resubmit) {
        eng.node.poke();
    }
    Ok(acted)
}

/// Forgets an ended job.
///
/// # Errors
/// `InexistentItem` if there is none that has ended.
pub async fn delete(eng: &Engine, _ctx: &Ctx, id: JobId) -> Result<()> {
    eng.writable()?;
    eng.index.delete_job(id).await
}

/// An output of a job in `Success`.
///
/// # Errors
/// `InexistentItem`.
pub async fn output(eng: &Engine, _ctx: &Ctx, id: JobId, key: &str) -> Result<JobOutput> {
    eng.index.job_output(id, key).await
}

/// Removes an output.
///
/// # Errors
/// `InexistentItem`.
pub async fn delete_output(eng: &Engine, _ctx: &Ctx, id: JobId, key: &str) -> Result<()> {
    eng.writable()?;
    eng.index.delete_job_output(id, key).await
}

/// How many jobs are in each state, in the order of [`model::job::JobState::ALL`].
pub async fn counts(eng: &Engine, _ctx: &Ctx) -> Result<[u64; 6]> {
    eng.index.job_counts().await
}

/// The jobs that wait for a worker, by type.
pub async fn waiting(eng: &Engine, _ctx: &Ctx) -> Result<Vec<Waiting>> {
    eng.index.waiting_jobs().await
}

/// The processes of the cluster.
pub async fn nodes(eng: &Engine, _ctx: &Ctx) -> Result<Vec<Node>> {
    eng.index.nodes().await
}
