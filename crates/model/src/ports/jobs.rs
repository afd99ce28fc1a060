//! The shared registry of jobs, and the processes that share it.
//!
//! The row is the job; memory holds only what can be lost. The database's clock is the only one. Whoever runs a job writes
//! with its [`Claim`]: `false` means that the claim is not the current one, nothing was changed, and the runner drops everything.

use crate::Result;
use crate::job::{
    Acted, Beat, Checkpoint, Claim, ClaimedJob, Hint, Job, JobAction, JobEnd, JobId, JobKey, JobLimits, JobOutput, JobQuery,
    JobStep, KeyedJob, NewJob, NewNode, Node, NodeId, Tick, Turn, Waiting,
};
use async_trait::async_trait;
use std::time::Duration;

/// Jobs and nodes.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Registers this process with a first lease. SQLite, which one process uses alone, forgets all others: their jobs are
    /// rescued by the next [`Self::tick`], or forgotten too if this process wants new jobs only.
    async fn join(&self, node: &NewNode, lease: Duration) -> Result<()>;

    /// One beat, one statement. It renews the lease; rescues running jobs whose owner has no live lease; removes dead
    /// processes and what they waited for; tells what the caller must know.
    ///
    /// A rescued job becomes `Pending` with one crash more, unless a client wanted it to stop (`Cancel`: `Failure` 37;
    /// `Pause`: `Paused`), it is pinned (`Failure` 14), or it was its third crash (`Failure` -1, the details say so and name the
    /// processes). A pinned job whose process is dead ends the same way while it waits. A job that the caller has owned for 5 s
    /// without knowing it (the answer to its claim was lost) waits again, without a crash. No rescue within one lease after
    /// the database started: then nobody could beat.
    async fn tick(&self, beat: &Beat) -> Result<Tick>;

    /// Takes this process off the list. Its claims must be over.
    async fn leave(&self, node: NodeId) -> Result<()>;

    /// All processes with a row, the oldest first.
    async fn nodes(&self) -> Result<Vec<Node>>;

    /// Adds a job: visible to every process when this returns. With `claim`, it is claimed as by [`Self::claim_jobs`], unless
    /// the lease has run out; then it waits. What is pinned to a process is claimed so even while that process drains.
    async fn submit_job(&self, job: NewJob) -> Result<Option<ClaimedJob>>;

    /// Claims up to `n` waiting jobs of the kinds that the node's row names: highest priority first, then oldest first.
    /// Jobs with two crashes or more are left out. Claims nothing if the node's lease has run out or it drains.
    async fn claim_jobs(&self, node: NodeId, n: usize) -> Result<Vec<ClaimedJob>>;

    /// Claims one waiting job that has crashed twice: the caller runs nothing else meanwhile.
    async fn claim_suspect(&self, node: NodeId) -> Result<Option<ClaimedJob>>;

    /// Keeps steps, progress and content. New steps clear `crashes`. A step that is kept already is not changed.
    async fn checkpoint_job(&self, claim: Claim, checkpoint: &Checkpoint) -> Result<bool>;

    /// Ends runs, and claims up to so many jobs for this process as [`Self::claim_jobs`] does, in one transaction. An end keeps the
    /// last checkpoint, publishes outputs (settling the intents of their blobs), and moves the job on. If a client wanted a cancel,
    /// `Paused` and `Released` become `Failure` 37. Ended jobs beyond `limits.history` go, oldest completion first; outputs beyond
    /// `limits.outputs` go, least recently read first. Both stay while somebody waits for the job.
    ///
    /// # Errors
    /// `Busy` if the intent of an output's blob is gone, and whatever is wrong with one of several ends: then nothing is kept and
    /// nothing claimed. After `DatabaseUnavailable` both may have happened.
    async fn finish_jobs(&self, ends: &[(Claim, JobEnd)], limits: JobLimits, next: Option<(NodeId, usize)>) -> Result<Turn>;

    /// Ends one run.
    ///
    /// # Errors
    /// Those of [`Self::finish_jobs`].
    async fn finish_job(&self, claim: Claim, end: JobEnd, limits: JobLimits) -> Result<bool> {
        Ok(self.finish_jobs(&[(claim, end)], limits, None).await?.ended == [true])
    }

    /// Acts by the present state, in one statement (Orthanc: `/jobs/{id}/cancel` and so on; the table is in the trait's test
    /// suite). A cancel overrides a pause that was asked for, never the reverse. A resubmitted job starts from the beginning:
    /// without steps, outputs, error, runtime; a pinned one is refused.
    async fn act_on_job(&self, id: JobId, action: JobAction, limits: JobLimits) -> Result<Acted>;

    /// Ids in ascending order of their text.
    async fn job_ids(&self) -> Result<Vec<JobId>>;

    /// The jobs of these ids that exist, in the order of the ids; `None`: all, ordered by id.
    async fn jobs(&self, ids: Option<&[JobId]>) -> Result<Vec<Job>>;

    /// A page of jobs. Its cost depends on its length, the number of types and the number of states, not on how many jobs there are.
    ///
    /// # Errors
    /// `InexistentItem` if `since` is unknown.
    async fn list_jobs(&self, query: &JobQuery) -> Result<Vec<Job>>;

    /// The job that has a key.
    async fn job_of_key(&self, key: JobKey) -> Result<Option<KeyedJob>>;

    /// Up to `limit` steps from this position on that were kept, in order. Those of an ended job stay as long as it does.
    ///
    /// # Errors
    /// `InexistentItem` for an unknown job.
    async fn job_steps(&self, id: JobId, from: u32, limit: u32) -> Result<Vec<JobStep>>;

    /// Gives a job another priority: among those that wait it counts at once. Refused if the job has ended.
    async fn set_job_priority(&self, id: JobId, priority: i32) -> Result<Acted>;

    /// How many jobs are in each state, in the order of [`crate::job::JobState::ALL`].
    async fn job_counts(&self) -> Result<[u64; 6]>;

    /// The jobs in `Pending`, by type, in order of the types.
    async fn waiting_jobs(&self) -> Result<Vec<Waiting>>;

    /// Forgets an ended job and its outputs.
    ///
    /// # Errors
    /// `InexistentItem` if it is unknown or has not ended.
    async fn delete_job(&self, id: JobId) -> Result<()>;

    /// An output of a job in `Success`; marks it as read.
    ///
    /// # Errors
    /// `InexistentItem` for whatever reason there is none.
    async fn job_output(&self, id: JobId, key: &str) -> Result<JobOutput>;

    /// Removes an output; its blob goes to the deletion list.
    ///
    /// # Errors
    /// `InexistentItem` as in [`Self::job_output`].
    async fn delete_job_output(&self, id: JobId, key: &str) -> Result<()>;

    /// Nobody in this process waits for these jobs any more: they go if the history is full.
    async fn forget_waiters(&self, node: NodeId, ids: &[JobId], limits: JobLimits) -> Result<()>;

    /// Waits for the next hint. Only one task of a process may call this. Hints of this process' own writes come too.
    async fn hint(&self) -> Hint;
}
