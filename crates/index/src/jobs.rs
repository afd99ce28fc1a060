//! What both databases say and do alike about jobs.

use crate::text::clean;
use model::job::rules::Cause;
use model::job::{Checkpoint, JobError, JobId, NewOutput, Waiting, kind_of};
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Rows that one ending job or one beat trims at most, so that a lowered limit stops nobody.
pub(crate) const TRIM: i64 = 20;
/// How long a process may own a job that it does not name in its beat.
pub(crate) const UNKNOWN: Duration = Duration::from_secs(5);

/// Why a job failed that its runner did not speak of. `crashed_on` has one process a line.
pub(crate) fn failed(cause: Cause, crashed_on: &str) -> JobError {
    match cause {
        Cause::Canceled => JobError::canceled(),
        Cause::Unpinned => unpinned(),
        Cause::Poison => poison(crashed_on),
    }
}

/// A pinned job whose process is gone.
pub(crate) fn unpinned() -> JobError {
    JobError::new(ErrorKind::CannotWrite, "the process that the job was bound to has ended")
}

/// A job whose row cannot be run.
pub(crate) fn damaged() -> JobError {
    JobError::new(ErrorKind::Database, "the stored arguments or steps of the job are damaged")
}

/// A job that ended several processes.
fn poison(crashed_on: &str) -> JobError {
    let nodes: Vec<&str> = crashed_on.lines().collect();
    let details = format!("{} processes ended while they ran the job: {}", nodes.len(), nodes.join(", "));
    JobError::new(ErrorKind::Internal, details)
}

/// Reads a JSON column of a job. Damage is logged and reads as null, so that one row does not hide the others.
pub(crate) fn lenient(text: &str, id: JobId) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(job.id = %id, %error, "a JSON column of a job is damaged");
        Value::Null
    })
}

/// Reads a JSON column that a run depends on.
pub(crate) fn strict(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// 0 to 1, whatever a kind computed.
pub(crate) fn progress(checkpoint: &Checkpoint) -> f64 {
    if checkpoint.progress.is_nan() { 0.0 } else { checkpoint.progress.clamp(0.0, 1.0) }
}

/// # Errors
/// `Internal` if two outputs have one key: then nothing may be written.
pub(crate) fn check_outputs(outputs: &[NewOutput]) -> Result<()> {
    let keys: BTreeSet<_> = outputs.iter().map(|o| clean(&o.key)).collect();
    if keys.len() == outputs.len() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, "two outputs of a job have the same key"))
}

/// There is no such output, or its job is not in `Success`.
pub(crate) fn no_output(id: JobId, key: &str) -> Error {
    Error::new(ErrorKind::InexistentItem, format!("the job {id} has no output {key:?}"))
}

/// Whether a column of a kind, which may name a version of its arguments, means this kind.
pub(crate) fn is_of_kind(capability: &str, kind: &str) -> bool {
    let version = capability.strip_prefix(kind).and_then(|rest| rest.strip_prefix(':'));
    capability == kind || version.is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()))
}

/// There is no such job.
pub(crate) fn no_job(id: JobId) -> Error {
    Error::new(ErrorKind::InexistentItem, format!("there is no job {id}"))
}

/// There is no such job, or it has not ended.
pub(crate) fn no_ended_job(id: JobId) -> Error {
    Error::new(ErrorKind::InexistentItem, format!("there is no ended job {id}"))
}

/// Adds up the versions of each type. Rows: what the jobs need, the version of their arguments, how many, microseconds since the oldest was created.
pub(crate) fn waiting(rows: impl IntoIterator<Item = (String, u16, i64, i64)>) -> Vec<Waiting> {
    let mut kinds: BTreeMap<String, (u64, Duration)> = BTreeMap::new();
    for (capability, version, count, age) in rows {
        let (sum, oldest) = kinds.entry(kind_of(&capability, version).to_owned()).or_default();
        *sum += u64::try_from(count).unwrap_or(0);
        *oldest = (*oldest).max(micros(age));
    }
    kinds.into_iter().map(|(kind, (count, oldest))| Waiting { kind, count, oldest }).collect()
}

/// A column of microseconds since 1970.
pub(crate) fn time(microseconds: i64) -> SystemTime {
    UNIX_EPOCH + micros(microseconds)
}

/// A column of microseconds.
pub(crate) fn micros(microseconds: i64) -> Duration {
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}

/// A duration for a column of microseconds.
pub(crate) fn in_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
