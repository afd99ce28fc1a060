//! Events of jobs on their way to who listens. Triggers of the table `job` write them (`0005_job_events.sql`).

use super::batch::Batch;
use super::error::sql;
use super::jobs::{id, key};
use crate::jobs::{in_micros, time as at};
use model::Result;
use model::job::{JobEvent, JobEventKind, NodeId};
use rusqlite::params;
use std::time::Duration;

/// Takes events that nobody holds.
pub(super) fn take(batch: &mut Batch<'_>, node: NodeId, n: usize, time: Duration) -> Result<Vec<JobEvent>> {
    let now = batch.now_us();
    let mut events: Vec<JobEvent> = batch
        .conn
        .prepare_cached(
            "UPDATE job_event SET taken_by = ?1, taken_until = ?2 WHERE seq IN
             (SELECT seq FROM job_event WHERE taken_until <= ?3 ORDER BY seq LIMIT ?4) RETURNING seq, job, kind, at",
        )
        .and_then(|mut s| {
            let until = now.saturating_add(in_micros(time));
            s.query_map(params![key(&node.0), until, now, i64::try_from(n).unwrap_or(i64::MAX)], |r| {
                let kind = JobEventKind::from_letter(&r.get::<_, String>(2)?)
                    .ok_or_else(|| rusqlite::Error::InvalidColumnType(2, "kind".into(), rusqlite::types::Type::Text))?;
                Ok(JobEvent { seq: r.get(0)?, job: id(r, 1)?, kind, at: at(r.get(3)?) })
            })?
            .collect()
        })
        .map_err(sql)?;
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// Forgets events that this process still holds.
pub(super) fn forget(batch: &mut Batch<'_>, node: NodeId, events: &[i64]) -> Result<()> {
    for seq in events {
        batch
            .conn
            .prepare_cached("DELETE FROM job_event WHERE seq = ?1 AND taken_by = ?2")
            .and_then(|mut s| s.execute(params![seq, key(&node.0)]))
            .map_err(sql)?;
    }
    Ok(())
}
