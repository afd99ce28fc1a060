//! Jobs: the words of Orthanc's `/jobs`, and what the shared registry keeps of each.

pub mod rules;

use crate::{Attachment, AttachmentId, Error, ErrorKind};
use serde_json::Value;
use std::time::{Duration, SystemTime};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The name of a job: a random UUID, because who knows it may read the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub Uuid);

impl JobId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::parse_str(text).map(Self).map_err(|_| Error::new(ErrorKind::InexistentItem, format!("no job {text:?}")))
    }
}

/// One start of one process. It is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub Uuid);

impl NodeId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The right to write about a running job: who claimed it, and for which time. Each claim raises the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub job: JobId,
    pub node: NodeId,
    pub epoch: i64,
}

/// Orthanc's states (`State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    Pending,
    Running,
    Success,
    Failure,
    Paused,
    Retry,
}

impl JobState {
    pub const ALL: [Self; 6] = [Self::Pending, Self::Running, Self::Success, Self::Failure, Self::Paused, Self::Retry];

    /// `State` in JSON.
    pub fn name(self) -> &'static str {
        ["Pending", "Running", "Success", "Failure", "Paused", "Retry"][self as usize]
    }

    /// The letter that a database row holds.
    pub fn letter(self) -> &'static str {
        ["P", "R", "S", "F", "H", "T"][self as usize]
    }

    pub fn from_letter(letter: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.letter() == letter)
    }

    /// Whether the job has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failure)
    }
}

/// What a client asks of a job (Orthanc: `/jobs/{id}/cancel`, `pause`, `resume`, `resubmit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobAction {
    Cancel,
    Pause,
    Resume,
    Resubmit,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It is done, or the runner will do it, or there was nothing to do.
    Accepted,
    /// Not in this state.
    Refused,
    Unknown,
}

/// What a running job is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    Cancel,
    Pause,
}

/// Why a job failed: Orthanc's error code and texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobError {
    /// `ErrorCode`, 0 for none.
    pub code: i32,
    /// `ErrorDetails`
    pub details: String,
    /// `ErrorPayload`
    pub payload: Option<Value>,
}

impl JobError {
    pub fn new(kind: ErrorKind, details: impl Into<String>) -> Self {
        Self { code: kind.code(), details: details.into(), payload: None }
    }

    /// The end of a job that was cancelled.
    pub fn canceled() -> Self {
        Self::new(ErrorKind::Canceled, "")
    }
}

impl From<&Error> for JobError {
    fn from(error: &Error) -> Self {
        Self { code: error.kind().code(), details: error.message().to_owned(), payload: error.payload().cloned() }
    }
}

/// Under which a client creates a job once (`Idempotency-Key`): the same key of the same user is the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobKey(pub [u8; 20]);

impl JobKey {
    pub fn of(user: &str, key: &str) -> Self {
        use sha1::{Digest, Sha1};
        Self(Sha1::new().chain_update((user.len() as u64).to_be_bytes()).chain_update(user).chain_update(key).finalize().into())
    }
}

/// The job that a key is used for, and what it was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyedJob {
    pub id: JobId,
    pub kind: String,
    pub arguments: Value,
    pub user_data: Option<Value>,
}

/// A page of jobs in order of their creation.
#[derive(Clone, Debug)]
pub struct JobQuery {
    /// Empty: all.
    pub states: Vec<JobState>,
    /// `Type`
    pub kind: Option<String>,
    /// Only jobs behind this one.
    pub since: Option<JobId>,
    pub newest_first: bool,
    pub limit: u32,
}

/// A job that does not exist yet.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: JobId,
    /// `Type`
    pub kind: String,
    /// The version of `arguments`.
    pub version: u16,
    /// What the kind needs to run; never shown to clients. References to remotes, not their passwords.
    pub arguments: Value,
    /// `Content` before the first step.
    pub content: Value,
    /// `UserData`
    pub user_data: Option<Value>,
    pub priority: i32,
    /// Only this process may run it: it holds the socket that the output goes to.
    pub pinned: Option<NodeId>,
    /// This process has somebody who waits for the end: the record stays until [`crate::ports::jobs::Jobs::forget_waiters`].
    pub waiter: Option<NodeId>,
    /// Claimed in the same transaction, by a process that has a free worker.
    pub claim: Option<NodeId>,
    /// No other job has it.
    pub key: Option<JobKey>,
}

impl NewJob {
    /// A job that any process may run, that nobody waits for, with a random id and the usual priority.
    pub fn new(kind: &str, version: u16, arguments: Value, content: Value) -> Self {
        Self {
            id: JobId::random(),
            kind: kind.to_owned(),
            version,
            arguments,
            content,
            user_data: None,
            priority: 0,
            pinned: None,
            waiter: None,
            claim: None,
            key: None,
        }
    }
}

/// What a process must be able to do for a job: its type, and from the second version of its arguments on that version, as in `Archive:2`.
/// A process of an older release leaves such jobs to others.
pub fn capability(kind: &str, version: u16) -> String {
    if version <= 1 { kind.to_owned() } else { format!("{kind}:{version}") }
}

/// The type of a job that needs this capability. The inverse of [`capability`].
pub fn kind_of(capability: &str, version: u16) -> &str {
    let suffix = format!(":{version}");
    if version <= 1 { capability } else { capability.strip_suffix(&suffix).unwrap_or(capability) }
}

/// A job as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    /// Of its arguments.
    pub version: u16,
    pub priority: i32,
    pub state: JobState,
    /// 0 to 1.
    pub progress: f64,
    pub error: JobError,
    pub content: Value,
    pub user_data: Option<Value>,
    pub created_at: SystemTime,
    pub completed_at: Option<SystemTime>,
    /// How long it ran, over all attempts, until the database's now.
    pub runtime: Duration,
    /// Who runs it.
    pub owner: Option<NodeId>,
    /// Claims so far.
    pub epoch: i64,
    /// Runs that ended with the death of their process, since the last step that was kept.
    pub crashes: u16,
}

/// A job that this process must run now.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    pub claim: Claim,
    pub kind: String,
    pub version: u16,
    pub arguments: Value,
    pub content: Value,
    pub progress: f64,
    pub pinned: bool,
    pub crashes: u16,
    /// What earlier runs finished, in order of position.
    pub steps: Vec<JobStep>,
}

/// A finished step of a job, kept for ever runs after this one.
#[derive(Clone, Debug, PartialEq)]
pub struct JobStep {
    pub position: u32,
    /// What the kind wants to remember.
    pub outcome: Value,
}

/// What a running job reports: steps that are done, how far it is, what clients see.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    pub steps: Vec<JobStep>,
    /// 0 to 1.
    pub progress: f64,
    /// `Content` now.
    pub content: Value,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct JobEnd {
    pub outcome: JobOutcome,
    pub checkpoint: Checkpoint,
}

/// See [`JobEnd`].
#[derive(Clone, Debug)]
pub enum JobOutcome {
    Success(Vec<NewOutput>),
    Failure(JobError),
    /// As asked by a client.
    Paused,
    /// The process stops: somebody else goes on. Counts as no crash.
    Released,
}

/// What became of ends that were told together, and what is to be run next.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// For each end, in their order: whether its claim was the current one.
    pub ended: Vec<bool>,
    pub claimed: Vec<ClaimedJob>,
}

/// A file that a job made, durable already (Orthanc: `/jobs/{id}/{key}`).
#[derive(Clone, Debug)]
pub struct NewOutput {
    pub key: String,
    /// `size_bytes` and the name of the blob count.
    pub blob: Attachment,
    pub mime: String,
    pub file_name: String,
}

/// An output that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOutput {
    pub blob: AttachmentId,
    pub size_bytes: u64,
    pub mime: String,
    pub file_name: String,
}

/// How many ended jobs and outputs are kept, in all processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// `JobsHistorySize`
    pub history: u32,
    /// `MediaArchiveSize`
    pub outputs: u32,
}

/// A process that takes part.
#[derive(Clone, Debug, PartialEq)]
pub struct NewNode {
    pub id: NodeId,
    /// `Name` in the configuration: two processes may have the same.
    pub name: String,
    /// Of Pleiad.
    pub version: String,
    /// What it can run, as [`capability`] says; nothing if it runs no jobs.
    pub kinds: Vec<String>,
    /// It claims only jobs that were created after it joined (`--no-jobs`).
    pub new_jobs_only: bool,
    /// A hash of the options that must be equal on all processes.
    pub configuration: String,
    /// For people: addresses, process number.
    pub details: Value,
}

/// A process as the others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub node: NewNode,
    pub started_at: SystemTime,
    /// Until its lease ends; zero when it has ended.
    pub lease: Duration,
    /// It stops, and takes no new jobs.
    pub draining: bool,
    /// Jobs that it runs.
    pub running: u64,
    /// The version of the settings that it obeys.
    pub settings: i64,
}

/// What a process says once a second.
#[derive(Clone, Debug)]
pub struct Beat {
    pub node: NodeId,
    /// The jobs that it knows to run.
    pub running: Vec<JobId>,
    /// How long the others wait for the next beat before they take its jobs over.
    pub lease: Duration,
    pub draining: bool,
    /// The version of the settings that it obeys.
    pub settings: i64,
    pub limits: JobLimits,
}

/// What it hears.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tick {
    /// Its lease had ended and the others have forgotten it: it must drop its jobs and join under a new id.
    pub lost: bool,
    /// Its jobs that a client wants to stop.
    pub wanted: Vec<(Claim, Want)>,
    /// There are jobs to claim.
    pub work: bool,
    /// Jobs of dead processes that wait again, or ended, by this beat.
    pub rescued: u64,
    /// The version of the settings.
    pub settings: i64,
    /// A sweep of [`crate::ports::index::Upkeep`] has something to do.
    pub due: bool,
}

/// Jobs of one type that wait for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub kind: String,
    pub count: u64,
    /// How long ago the oldest of them was created.
    pub oldest: Duration,
}

/// Something happened in some process: look now instead of at the next beat. Hints may be lost and may come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Jobs wait.
    Work,
    /// Somebody wants this running job to stop.
    Wanted(JobId),
    /// A job has ended.
    Ended(JobId),
    /// A setting changed.
    Settings,
    /// Too much happened at once to name it: look at everything.
    Look,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_distinct_and_read_back() {
        for state in JobState::ALL {
            assert_eq!(JobState::from_letter(state.letter()), Some(state));
        }
        assert_eq!(JobState::from_letter("x"), None);
    }

    #[test]
    fn capabilities_name_types_and_later_versions() {
        for (kind, version, expected) in [("Archive", 1, "Archive"), ("Archive", 0, "Archive"), ("A:2", 3, "A:2:3")] {
            assert_eq!(capability(kind, version), expected);
            assert_eq!(kind_of(expected, version), kind);
        }
        assert_eq!(kind_of("Archive:2", 3), "Archive:2");
    }

    #[test]
    fn ids_read_back_and_junk_is_an_unknown_job() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        assert_eq!("nope".parse::<JobId>().unwrap_err().kind(), ErrorKind::InexistentItem);
    }
}
