//! Rows of events, as both databases hold them.

use model::event::{Event, EventKind, Subject};
use model::job::JobId;
use model::{Error, ErrorKind, Level, OrthancId, Result};
use uuid::Uuid;

/// One row.
///
/// # Errors
/// `Database` for what no trigger writes.
pub(crate) fn event(seq: i64, kind: i64, level: Option<i64>, subject: &[u8]) -> Result<Event> {
    let bad = || Error::new(ErrorKind::Database, format!("event {seq} is none"));
    let kind = u16::try_from(kind).ok().and_then(EventKind::from_number).ok_or_else(bad)?;
    let subject = match level {
        Some(level) => {
            let level = usize::try_from(level).ok().and_then(|at| Level::ALL.get(at).copied()).ok_or_else(bad)?;
            Subject::Resource(level, OrthancId(subject.try_into().map_err(|_| bad())?))
        }
        None => Subject::Job(JobId(Uuid::from_slice(subject).map_err(|_| bad())?)),
    };
    Ok(Event { seq, kind, subject })
}
