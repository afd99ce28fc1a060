//! What a running job reports with, and how it is stopped.

use crate::Engine;
use crate::engine::Metrics;
use model::job::{Checkpoint, Claim, ClaimedJob, JobEnd, JobOutcome, JobStep};
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Steps that are written together.
const STEPS: usize = 50;
/// Steps wait so long for others. What was sent to a remote in this time is sent again after a crash.
const STEPS_AGE: Duration = Duration::from_millis(50);
/// Progress without a step is written so often.
const PROGRESS_AGE: Duration = Duration::from_secs(1);

/// Why a run must stop. Later variants override earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// The process ends, or may not run jobs now: somebody else goes on.
    Release,
    Pause,
    Cancel,
    /// The claim is not the current one any more: whatever this run knows is worthless.
    Lost,
}

/// The other end of a [`JobHandle`].
#[derive(Default)]
pub(super) struct Stopper {
    reason: Mutex<Option<Reason>>,
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stopper {
    /// Asks to stop after the present step.
    pub(super) fn ask(&self, reason: Reason) {
        let mut now = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (*now).max(Some(reason));
        self.soft.cancel();
    }

    /// Interrupts the present step.
    pub(super) fn interrupt(&self, reason: Reason) {
        self.ask(reason);
        self.hard.cancel();
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the present step is to be interrupted.
    pub(super) async fn interrupted(&self) {
        self.hard.cancelled().await;
    }
}

/// A running job, as its kind sees it.
pub struct JobHandle {
    eng: Arc<Engine>,
    claim: Claim,
    stopper: Arc<Stopper>,
    earlier: Vec<JobStep>,
    pending: Checkpoint,
    written: Instant,
}

impl JobHandle {
    pub(super) fn new(eng: Arc<Engine>, job: &mut ClaimedJob, stopper: Arc<Stopper>) -> Self {
        let pending =
            Checkpoint { steps: vec![], progress: job.progress, content: std::mem::replace(&mut job.content, Value::Null) };
        Self { eng, claim: job.claim, stopper, earlier: std::mem::take(&mut job.steps), pending, written: Instant::now() }
    }

    pub fn id(&self) -> model::job::JobId {
        self.claim.job
    }

    /// The steps that earlier runs finished, in order of position.
    pub fn earlier(&self) -> &[JobStep] {
        &self.earlier
    }

    /// Cancelled when the present step is to be interrupted.
    pub fn stop(&self) -> &CancellationToken {
        &self.stopper.hard
    }

    /// # Errors
    /// `Canceled` if the job is to stop before its next step.
    pub fn go_on(&self) -> Result<()> {
        if self.stopper.soft.is_cancelled() { Err(ErrorKind::Canceled.into()) } else { Ok(()) }
    }

    /// Waits.
    ///
    /// # Errors
    /// `Canceled` as soon as the job is to stop.
    pub async fn idle(&self, time: Duration) -> Result<()> {
        let stopped = self.stopper.soft.run_until_cancelled(tokio::time::sleep(time)).await.is_none();
        if stopped { Err(ErrorKind::Canceled.into()) } else { Ok(()) }
    }

    /// Whether a run that fails with this error is over for now: it is to stop, or the database is away.
    pub(super) fn ends_by(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Canceled || is_transient(error.kind())
    }

    /// `Content` now; kept with the next step.
    pub fn content(&mut self) -> &mut Value {
        &mut self.pending.content
    }

    /// Keeps a finished step, so that no later run repeats it, and says how far the job is (0 to 1). Steps are written in small
    /// groups.
    ///
    /// # Errors
    /// `Canceled` if another process owns the job now.
    pub async fn step(&mut self, step: JobStep, progress: f64) -> Result<()> {
        self.pending.steps.push(step);
        self.pending.progress = progress;
        if self.pending.steps.len() >= STEPS || self.written.elapsed() >= STEPS_AGE { self.write().await } else { Ok(()) }
    }

    /// Says how far the job is (0 to 1).
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn progress(&mut self, progress: f64) -> Result<()> {
        self.pending.progress = progress;
        if self.written.elapsed() >= PROGRESS_AGE { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> Result<()> {
        self.written = Instant::now();
        match self.eng.index.checkpoint_job(self.claim, &self.pending).await {
            Ok(true) => {
                self.pending.steps.clear();
                Ok(())
            }
            Ok(false) => {
                Metrics::add(&self.eng.metrics.jobs_fenced, 1);
                self.stopper.interrupt(Reason::Lost);
                Err(ErrorKind::Canceled.into())
            }
            // The database is away: the steps wait for its return, or for the end of the lease.
            Err(error) if is_transient(error.kind()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The end of the run, with what was not written yet.
    pub(super) fn end(mut self, outcome: JobOutcome) -> JobEnd {
        if matches!(outcome, JobOutcome::Success(_)) {
            self.pending.progress = 1.0;
        }
        JobEnd { outcome, checkpoint: self.pending }
    }
}

/// Whether the same will probably work later.
pub(crate) fn is_transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::DatabaseUnavailable | ErrorKind::Busy)
}
