//! Runs what was claimed.

use super::handle::{JobHandle, Reason, Stopper, is_transient};
use super::kinds;
use super::node::lock;
use super::turns::{self, Permit};
use crate::engine::Metrics;
use crate::{Engine, sweeps};
use futures_util::FutureExt;
use model::ErrorKind;
use model::job::{Checkpoint, ClaimedJob, JobEnd, JobError, JobOutcome, NewOutput};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// How long an interrupted step may take to tidy up.
const TIDY: Duration = Duration::from_millis(500);
/// A run that met a database that is away waits so long before it gives its job back.
const AWAY: Duration = Duration::from_secs(1);

/// Runs a claimed job in a task of its own. The permit is given back at the end; at once if the job needs no worker.
pub(super) fn launch(eng: &Arc<Engine>, job: ClaimedJob, permit: Permit) {
    // A suspect runs alone.
    let permit = permit.filter(|_| !kinds::is_background(&job.kind) || job.crashes > 1);
    let stopper = Arc::new(Stopper::default());
    let before = lock(&eng.node.running).insert(job.claim.job, (job.claim, stopper.clone()));
    if let Some((_, earlier)) = before {
        // The database forgot that claim (a failover that lost commits), perhaps with its epoch: that run must not write for this one.
        earlier.interrupt(Reason::Lost);
    }
    let task = {
        let (eng, mine) = (eng.clone(), stopper.clone());
        async move {
            let (claim, pinned) = (job.claim, job.pinned);
            let end = run(&eng, job, stopper, permit).await;
            // The registry has ended a pinned job that this process lost.
            let lost = || JobEnd { outcome: JobOutcome::Failure(download_ended()), checkpoint: Checkpoint::default() };
            eng.node.waiters.announce(claim.job, end.or_else(|| pinned.then(lost)).map(Arc::new));
            let mut running = lock(&eng.node.running);
            if running.get(&claim.job).is_some_and(|(_, current)| Arc::ptr_eq(current, &mine)) {
                running.remove(&claim.job);
            }
            drop(running);
            if eng.node.work.load(Relaxed) {
                eng.node.look.notify_one();
            }
        }
    };
    eng.node.runs.spawn(task);
}

/// One run, from the claim to the end that the registry accepted; none if another process owns the job now.
async fn run(eng: &Arc<Engine>, mut job: ClaimedJob, stopper: Arc<Stopper>, permit: Permit) -> Option<JobEnd> {
    let began = Instant::now();
    let mut handle = JobHandle::new(eng.clone(), &mut job, stopper.clone());
    let result = {
        let run = AssertUnwindSafe(kinds::run(eng, &mut handle, &job)).catch_unwind();
        tokio::pin!(run);
        tokio::select! {
            result = &mut run => Some(result),
            () = stopper.interrupted() => tokio::time::timeout(TIDY, run).await.ok(),
        }
    };
    // After a sleep of this process (SIGSTOP, a paused machine) every timeout is over: an error says nothing about the job.
    let late = eng.node.is_late(eng.config.jobs.lease).then_some(Reason::Release);
    let outcome = match (result, stopper.reason().or(late)) {
        (result, Some(Reason::Lost)) => {
            if let Some(Ok(Ok(outputs))) = result {
                discard(eng, &outputs).await;
            }
            return lost(&job);
        }
        (Some(Ok(Ok(outputs))), _) => JobOutcome::Success(outputs),
        (_, Some(Reason::Cancel)) => JobOutcome::Failure(JobError::canceled()),
        (Some(Err(_)), _) => JobOutcome::Failure(kinds::panicked()),
        (_, Some(_)) if job.pinned => JobOutcome::Failure(download_ended()),
        (_, Some(Reason::Pause)) => JobOutcome::Paused,
        (_, Some(Reason::Release)) | (None, None) => JobOutcome::Released,
        (Some(Ok(Err(error))), None) if is_transient(error.kind()) && !job.pinned => {
            tokio::time::sleep(AWAY).await;
            JobOutcome::Released
        }
        (Some(Ok(Err(error))), None) => JobOutcome::Failure(JobError::from(&error)),
    };
    let took = began.elapsed();
    let end = finish(eng, &job, handle.end(outcome), &stopper, permit).await?;
    report(eng, &job, &end, took);
    Some(end)
}

fn download_ended() -> JobError {
    JobError::new(ErrorKind::CannotWrite, "the download ended before the archive did")
}

fn lost(job: &ClaimedJob) -> Option<JobEnd> {
    tracing::warn!(job.id = %job.claim.job, "another process owns this job now");
    None
}

/// Tells the registry until it answers.
async fn finish(eng: &Arc<Engine>, job: &ClaimedJob, mut end: JobEnd, stopper: &Stopper, mut permit: Permit) -> Option<JobEnd> {
    let mut pause = Duration::from_millis(100);
    // An answer was lost: what was told may be kept all the same.
    let mut uncertain = false;
    loop {
        if stopper.reason() == Some(Reason::Lost) && !uncertain {
            discard(eng, outputs(&end)).await;
            return lost(job);
        }
        let (told, back) = turns::tell(eng, job.claim, end.clone(), permit.take()).await;
        permit = back;
        match told {
            Ok(true) => return Some(end),
            Ok(false) if uncertain => {
                // If it is not, the outputs may still be those of the job: if nothing names them, the sweep after this process finds them.
                return if is_kept(eng, job).await { Some(end) } else { lost(job) };
            }
            Ok(false) => {
                Metrics::add(&eng.metrics.jobs_fenced, 1);
                discard(eng, outputs(&end)).await;
                return lost(job);
            }
            Err(error) if is_transient(error.kind()) => {
                uncertain |= error.kind() != ErrorKind::Busy;
                if error.kind() == ErrorKind::Busy {
                    // The names of the outputs are gone: the files must be made again.
                    if !uncertain {
                        discard(eng, outputs(&end)).await;
                    }
                    end.outcome = JobOutcome::Released;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            Err(error) => {
                tracing::error!(job.id = %job.claim.job, %error, "the end of a job cannot be kept");
                end.outcome = JobOutcome::Failure(JobError::from(&error));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
        }
    }
}

fn report(eng: &Engine, job: &ClaimedJob, end: &JobEnd, took: Duration) {
    let duration_ms = took.as_millis() as u64;
    match &end.outcome {
        JobOutcome::Success(_) => Metrics::add(&eng.metrics.jobs_success, 1),
        JobOutcome::Failure(_) => Metrics::add(&eng.metrics.jobs_failed, 1),
        JobOutcome::Paused | JobOutcome::Released => {}
    }
    let (name, details) = match &end.outcome {
        JobOutcome::Success(_) => ("Success", ""),
        JobOutcome::Failure(error) => ("Failure", error.details.as_str()),
        JobOutcome::Paused => ("Paused", ""),
        JobOutcome::Released => ("released", ""),
    };
    tracing::info!(job.id = %job.claim.job, job.kind = job.kind, duration_ms, details, "job: {name}");
}

/// Whether the end of this very run is in the registry.
async fn is_kept(eng: &Engine, job: &ClaimedJob) -> bool {
    let found = eng.index.jobs(Some(&[job.claim.job])).await;
    found.is_ok_and(|jobs| jobs.first().is_some_and(|j| j.state.is_final() && j.epoch == job.claim.epoch))
}

/// Removes outputs that were not published.
async fn discard(eng: &Engine, outputs: &[NewOutput]) {
    for NewOutput { blob, .. } in outputs {
        sweeps::discard(eng, blob.id).await;
    }
}

fn outputs(end: &JobEnd) -> &[NewOutput] {
    if let JobOutcome::Success(outputs) = &end.outcome { outputs } else { &[] }
}
