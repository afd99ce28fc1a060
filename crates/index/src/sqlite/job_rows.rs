//! Reading jobs.

use super::blobs::blob_column;
use super::error::sql;
use super::jobs::{id, key, state};
use crate::jobs;
use crate::text::clean;
use model::job::{Job, JobError, JobId, JobOutput, JobState, NodeId, Waiting, kind_of};
use model::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

const SELECT: &str = "SELECT j.id, j.kind, j.priority, j.state, j.progress, j.error_code, j.error_details, j.error_payload,
    j.content, i.user_data, j.created_at, j.completed_at, j.runtime, j.started_at, j.owner, j.epoch, j.crashes, j.version
    FROM job j LEFT JOIN job_input i ON i.job = j.seq";

/// `now`: microseconds since 1970.
fn job(row: &Row<'_>, now: i64) -> rusqlite::Result<Job> {
    let id = id(row, 0)?;
    let json = |column| row.get::<_, Option<String>>(column).map(|t| t.map(|text| jobs::lenient(&text, id)));
    let version = row.get(17)?;
    let started_at: Option<i64> = row.get(13)?;
    let running = started_at.map_or(0, |since| now.saturating_sub(since).max(0));
    Ok(Job {
        id,
        kind: kind_of(&row.get::<_, String>(1)?, version).to_owned(),
        version,
        priority: row.get(2)?,
        state: state(row, 3)?,
        progress: row.get(4)?,
        error: JobError { code: row.get(5)?, details: row.get(6)?, payload: json(7)? },
        content: json(8)?.unwrap_or_default(),
        user_data: json(9)?,
        created_at: jobs::time(row.get(10)?),
        completed_at: row.get::<_, Option<i64>>(11)?.map(jobs::time),
        runtime: jobs::micros(row.get::<_, i64>(12)?.saturating_add(running)),
        owner: row.get::<_, Option<[u8; 16]>>(14)?.map(|bytes| NodeId(Uuid::from_bytes(bytes))),
        epoch: row.get(15)?,
        crashes: row.get(16)?,
    })
}

/// Ids in the order of their text.
pub(super) fn ids(conn: &Connection) -> Result<Vec<JobId>> {
    conn.prepare_cached("SELECT id FROM job ORDER BY id").and_then(|mut s| s.query_map([], |r| id(r, 0))?.collect()).map_err(sql)
}

/// All jobs, or those of these ids that exist.
pub(super) fn read(conn: &Connection, ids: Option<&[JobId]>, now: i64) -> Result<Vec<Job>> {
    let Some(ids) = ids else {
        return conn
            .prepare_cached(&format!("{SELECT} ORDER BY j.id"))
            .and_then(|mut s| s.query_map([], |r| job(r, now))?.collect())
            .map_err(sql);
    };
    let mut statement = conn.prepare_cached(&format!("{SELECT} WHERE j.id = ?1")).map_err(sql)?;
    let mut found = vec![];
    for id in ids {
        found.extend(statement.query_row([key(&id.0)], |r| job(r, now)).optional().map_err(sql)?);
    }
    Ok(found)
}

/// How many are in each state.
pub(super) fn counts(conn: &Connection) -> Result<[u64; 6]> {
    let rows: Vec<(String, i64)> = conn
        .prepare_cached("SELECT state, count(*) FROM job GROUP BY state")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(sql)?;
    let mut counts = [0; 6];
    for (letter, number) in rows {
        let state = JobState::from_letter(&letter).ok_or_else(|| Error::new(ErrorKind::Database, "a job has no known state"))?;
        counts[state as usize] = u64::try_from(number).unwrap_or(0);
    }
    Ok(counts)
}

/// The jobs that wait, by type. `now`: microseconds since 1970.
pub(super) fn waiting(conn: &Connection, now: i64) -> Result<Vec<Waiting>> {
    let rows: Vec<(String, u16, i64, i64)> = conn
        .prepare_cached("SELECT kind, version, count(*), ?1 - min(created_at) FROM job WHERE state = 'P' GROUP BY kind, version")
        .and_then(|mut s| s.query_map([now], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?.collect())
        .map_err(sql)?;
    Ok(jobs::waiting(rows))
}

/// An output, and whether it is the one that was read last.
pub(super) fn output(conn: &Connection, job: JobId, name: &str) -> Result<(JobOutput, bool)> {
    conn.prepare_cached(
        "SELECT o.blob, o.size_bytes, o.md5, o.mime, o.file_name, o.used_seq = (SELECT max(used_seq) FROM job_output)
         FROM job j JOIN job_output o ON o.job = j.seq WHERE j.id = ?1 AND o.key = ?2 AND j.state = 'S'",
    )
    .and_then(|mut s| {
        s.query_row(params![key(&job.0), clean(name)], |r| {
            let output = JobOutput {
                blob: blob_column(r, 0)?,
                size_bytes: r.get(1)?,
                md5: r.get(2)?,
                mime: r.get(3)?,
                file_name: r.get(4)?,
            };
            Ok((output, r.get(5)?))
        })
        .optional()
    })
    .map_err(sql)?
    .ok_or_else(|| jobs::no_output(job, name))
}
