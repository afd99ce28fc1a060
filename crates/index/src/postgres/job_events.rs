//! Events of jobs on their way to who listens. Triggers of the table `job` write them (`0005_job_events.sql`).

use super::error::sql;
use super::nodes::NOW;
use super::pool;
use crate::jobs::{in_micros, time as at};
use deadpool_postgres::Pool;
use model::job::{JobEvent, JobEventKind, JobId, NodeId};
use model::{Error, ErrorKind, Result};
use std::time::Duration;

/// Takes events that nobody holds.
pub(super) async fn take(pool: &Pool, node: NodeId, n: usize, time: Duration) -> Result<Vec<JobEvent>> {
    let client = pool::get(pool).await?;
    let statement = client
        .prepare_cached(&format!(
            "UPDATE job_event SET taken_by = $1, taken_until = {NOW} + $2::bigint WHERE seq = ANY (ARRAY(
                 SELECT seq FROM job_event WHERE taken_until <= {NOW} ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED))
             RETURNING seq, job, kind, at"
        ))
        .await
        .map_err(sql)?;
    let most = i64::try_from(n).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&node.0, &in_micros(time), &most]).await.map_err(sql)?;
    let unknown = || Error::new(ErrorKind::Database, "an event of a job has no known kind");
    let event = |row: &tokio_postgres::Row| {
        let kind = JobEventKind::from_letter(row.get(2)).ok_or_else(unknown)?;
        Ok(JobEvent { seq: row.get(0), job: JobId(row.get(1)), kind, at: at(row.get(3)) })
    };
    let mut events = rows.iter().map(event).collect::<Result<Vec<_>>>()?;
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// Forgets events that this process still holds.
pub(super) async fn forget(pool: &Pool, node: NodeId, events: &[i64]) -> Result<()> {
    let client = pool::get(pool).await?;
    let statement = "DELETE FROM job_event WHERE seq = ANY ($1) AND taken_by = $2";
    client.execute(statement, &[&events, &node.0]).await.map(|_| ()).map_err(sql)
}
