//! Reading jobs.

use super::blobs::blob_column;
use super::error::sql;
use super::jobs::{id, key, state};
use crate::jobs;
use crate::text::clean;
use model::job::{Job, JobError, JobId, JobKey, JobOutput, JobQuery, JobState, JobStep, KeyedJob, NodeId, Waiting, kind_of};
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

/// The statement of a page of one kind and state. Parameters: 1 the kind, 2 the state, 3 the row behind which it begins, 4 its length.
pub(super) fn page_sql(newest_first: bool) -> &'static str {
    if newest_first {
        "SELECT seq FROM job WHERE kind = ?1 AND state = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4"
    } else {
        "SELECT seq FROM job WHERE kind = ?1 AND state = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4"
    }
}

/// A page: the first of the pages of each kind and state.
pub(super) fn list(conn: &Connection, query: &JobQuery, now: i64) -> Result<Vec<Job>> {
    let begin = match query.since {
        Some(id) => row_of(conn, id)?,
        None if query.newest_first => i64::MAX,
        None => i64::MIN,
    };
    let mut kinds = kinds(conn)?;
    if let Some(kind) = &query.kind {
        kinds.retain(|capability| jobs::is_of_kind(capability, &clean(kind)));
    }
    let mut rows: Vec<i64> = vec![];
    let mut statement = conn.prepare_cached(page_sql(query.newest_first)).map_err(sql)?;
    for kind in &kinds {
        for state in JobState::ALL.iter().filter(|s| query.states.is_empty() || query.states.contains(s)) {
            let found = statement.query_map(params![kind, state.letter(), begin, query.limit], |r| r.get(0)).map_err(sql)?;
            rows.extend(found.collect::<rusqlite::Result<Vec<i64>>>().map_err(sql)?);
        }
    }
    rows.sort_unstable();
    if query.newest_first {
        rows.reverse();
    }
    let mut statement = conn.prepare_cached(&format!("{SELECT} WHERE j.seq = ?1")).map_err(sql)?;
    let rows = rows.into_iter().take(query.limit as usize);
    rows.map(|row| statement.query_row([row], |r| job(r, now)).map_err(sql)).collect()
}

fn row_of(conn: &Connection, id: JobId) -> Result<i64> {
    conn.prepare_cached("SELECT seq FROM job WHERE id = ?1")
        .and_then(|mut s| s.query_row([key(&id.0)], |r| r.get(0)).optional())
        .map_err(sql)?
        .ok_or_else(|| jobs::no_job(id))
}

/// The kinds of all jobs, each found by a jump in the index.
fn kinds(conn: &Connection) -> Result<Vec<String>> {
    let mut statement = conn.prepare_cached("SELECT min(kind) FROM job WHERE kind > ?1").map_err(sql)?;
    let mut kinds: Vec<String> = vec![];
    let mut last = String::new();
    while let Some(kind) = statement.query_row([&last], |r| r.get::<_, Option<String>>(0)).map_err(sql)? {
        kinds.push(kind.clone());
        last = kind;
    }
    Ok(kinds)
}

/// The job that has a key.
pub(super) fn of_key(conn: &Connection, key: JobKey) -> Result<Option<KeyedJob>> {
    conn.prepare_cached(
        "SELECT j.id, j.kind, j.version, i.arguments, i.user_data FROM job j LEFT JOIN job_input i ON i.job = j.seq WHERE j.key = ?1",
    )
    .and_then(|mut s| {
        s.query_row([key.0], |r| {
            let id = id(r, 0)?;
            let json = |column| r.get::<_, Option<String>>(column).map(|t| t.map(|text| jobs::lenient(&text, id)));
            let kind = kind_of(&r.get::<_, String>(1)?, r.get(2)?).to_owned();
            Ok(KeyedJob { id, kind, arguments: json(3)?.unwrap_or_default(), user_data: json(4)? })
        })
        .optional()
    })
    .map_err(sql)
}

/// Steps that were kept.
pub(super) fn steps(conn: &Connection, job: JobId, from: u32, limit: u32) -> Result<Vec<JobStep>> {
    let row = row_of(conn, job)?;
    conn.prepare_cached("SELECT position, outcome FROM job_step WHERE job = ?1 AND position >= ?2 ORDER BY position LIMIT ?3")
        .and_then(|mut s| {
            let step = |r: &Row<'_>| Ok(JobStep { position: r.get(0)?, outcome: jobs::lenient(&r.get::<_, String>(1)?, job) });
            s.query_map(params![row, from, limit], step)?.collect()
        })
        .map_err(sql)
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
        "SELECT o.blob, o.size_bytes, o.mime, o.file_name, o.used_seq = (SELECT max(used_seq) FROM job_output)
         FROM job j JOIN job_output o ON o.job = j.seq WHERE j.id = ?1 AND o.key = ?2 AND j.state = 'S'",
    )
    .and_then(|mut s| {
        s.query_row(params![key(&job.0), clean(name)], |r| {
            let output = JobOutput { blob: blob_column(r, 0)?, size_bytes: r.get(1)?, mime: r.get(2)?, file_name: r.get(3)? };
            Ok((output, r.get(4)?))
        })
        .optional()
    })
    .map_err(sql)?
    .ok_or_else(|| jobs::no_output(job, name))
}
