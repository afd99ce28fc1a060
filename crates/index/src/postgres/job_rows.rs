//! Reading jobs.

use super::error::sql;
use super::nodes::NOW;
use super::pool;
use super::readers::query;
use crate::jobs;
use crate::text::clean;
use deadpool_postgres::Pool;
use model::job::{Job, JobError, JobId, JobKey, JobOutput, JobQuery, JobState, JobStep, KeyedJob, NodeId, Waiting, kind_of};
use model::{AttachmentId, Error, ErrorKind, Result};
use std::collections::HashMap;
use tokio_postgres::Row;
use uuid::Uuid;

fn job(row: &Row) -> Result<Job> {
    let id = JobId(row.get(0));
    let json = |column: usize| row.get::<_, Option<&str>>(column).map(|text| jobs::lenient(text, id));
    let version = u16::try_from(row.get::<_, i32>(16)).unwrap_or(u16::MAX);
    Ok(Job {
        id,
        kind: kind_of(row.get(1), version).to_owned(),
        version,
        priority: row.get(2),
        state: state(row.get(3))?,
        progress: row.get(4),
        error: JobError { code: row.get(5), details: row.get(6), payload: json(7) },
        content: json(8).unwrap_or_default(),
        user_data: json(9),
        created_at: jobs::time(row.get(10)),
        completed_at: row.get::<_, Option<i64>>(11).map(jobs::time),
        runtime: jobs::micros(row.get(12)),
        owner: row.get::<_, Option<Uuid>>(13).map(NodeId),
        epoch: row.get(14),
        crashes: u16::try_from(row.get::<_, i32>(15)).unwrap_or(u16::MAX),
    })
}

fn state(letter: &str) -> Result<JobState> {
    JobState::from_letter(letter).ok_or_else(|| Error::new(ErrorKind::Database, "a job has no known state"))
}

/// Ids in the order of their text.
pub(super) async fn ids(pool: &Pool) -> Result<Vec<JobId>> {
    let client = pool::get(pool).await?;
    let rows = client.query("SELECT id FROM job ORDER BY id", &[]).await.map_err(sql)?;
    Ok(rows.iter().map(|row| JobId(row.get(0))).collect())
}

fn select() -> String {
    format!(
        "SELECT id, kind, priority, state, progress, error_code, error_details, error_payload, content, user_data, created_at,
         completed_at, runtime + coalesce(greatest(0, {NOW} - started_at), 0), owner, epoch, crashes, version FROM job"
    )
}

/// All jobs, or those of these ids that exist.
pub(super) async fn read(pool: &Pool, ids: Option<&[JobId]>) -> Result<Vec<Job>> {
    let select = select();
    let client = pool::get(pool).await?;
    let Some(ids) = ids else {
        let statement = client.prepare_cached(&format!("{select} ORDER BY id")).await.map_err(sql)?;
        return client.query(&statement, &[]).await.map_err(sql)?.iter().map(job).collect();
    };
    let keys: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let statement = client.prepare_cached(&format!("{select} WHERE id = ANY ($1)")).await.map_err(sql)?;
    let rows = client.query(&statement, &[&keys]).await.map_err(sql)?;
    let found: HashMap<Uuid, &Row> = rows.iter().map(|row| (row.get(0), row)).collect();
    keys.iter().filter_map(|key| found.get(key)).map(|row| job(row)).collect()
}

/// The statement of a page: the first of the pages of each kind and state, which are read in the order of an index. Parameters: 1 the
/// kind, 2 the states, 3 where the page begins, 4 its length.
pub(super) fn page_sql(newest_first: bool) -> String {
    let (behind, order) = if newest_first { ("<", "DESC") } else { (">", "ASC") };
    format!(
        "WITH RECURSIVE kinds (kind) AS (
             (SELECT j.kind FROM job j ORDER BY j.kind LIMIT 1)
             UNION ALL
             SELECT (SELECT j.kind FROM job j WHERE j.kind > k.kind ORDER BY j.kind LIMIT 1) FROM kinds k WHERE k.kind IS NOT NULL
         ), page AS MATERIALIZED (
             SELECT p.id, p.seq FROM (
                 SELECT kind FROM kinds WHERE kind IS NOT NULL AND ($1::text IS NULL OR kind = $1
                     OR starts_with(kind, $1 || ':') AND substr(kind, length($1) + 2) ~ '^[0-9]+$')
             ) k CROSS JOIN unnest($2::text[]) s (state)
             CROSS JOIN LATERAL (
                 SELECT j.id, j.seq FROM job j WHERE j.kind = k.kind AND j.state = s.state AND j.seq {behind} $3
                 ORDER BY j.seq {order} LIMIT $4
             ) p ORDER BY p.seq {order} LIMIT $4
         ) SELECT j.* FROM page p CROSS JOIN LATERAL ({} WHERE job.id = p.id) j ORDER BY p.seq {order}",
        select()
    )
}

/// A page of jobs.
pub(super) async fn list(pool: &Pool, asked: &JobQuery) -> Result<Vec<Job>> {
    let begin = match asked.since {
        Some(id) => sequence(pool, id).await?,
        None if asked.newest_first => i64::MAX,
        None => i64::MIN,
    };
    let states = JobState::ALL.iter().filter(|s| asked.states.is_empty() || asked.states.contains(s));
    let states: Vec<&str> = states.map(|s| s.letter()).collect();
    let kind = asked.kind.as_deref().map(clean);
    let rows = query(pool, &page_sql(asked.newest_first), &[&kind, &states, &begin, &i64::from(asked.limit)]).await?;
    rows.iter().map(job).collect()
}

async fn sequence(pool: &Pool, id: JobId) -> Result<i64> {
    let rows = query(pool, "SELECT seq FROM job WHERE id = $1", &[&id.0]).await?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| jobs::no_job(id))
}

/// The job that has a key.
pub(super) async fn of_key(pool: &Pool, key: JobKey) -> Result<Option<KeyedJob>> {
    let statement = "SELECT id, kind, version, arguments, user_data FROM job WHERE key = $1";
    let rows = query(pool, statement, &[&key.0.as_slice()]).await?;
    Ok(rows.first().map(|row| {
        let (id, version) = (JobId(row.get(0)), u16::try_from(row.get::<_, i32>(2)).unwrap_or(u16::MAX));
        KeyedJob {
            id,
            kind: kind_of(row.get(1), version).to_owned(),
            arguments: jobs::lenient(row.get(3), id),
            user_data: row.get::<_, Option<&str>>(4).map(|text| jobs::lenient(text, id)),
        }
    }))
}

/// Steps that were kept.
pub(super) async fn steps(pool: &Pool, id: JobId, from: u32, limit: u32) -> Result<Vec<JobStep>> {
    sequence(pool, id).await?;
    let statement = "SELECT position, outcome FROM job_step WHERE job = $1 AND position >= $2 ORDER BY position LIMIT $3";
    let rows = query(pool, statement, &[&id.0, &i64::from(from), &i64::from(limit)]).await?;
    let step = |row: &Row| JobStep {
        position: u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX),
        outcome: jobs::lenient(row.get(1), id),
    };
    Ok(rows.iter().map(step).collect())
}

/// How many are in each state.
pub(super) async fn counts(pool: &Pool) -> Result<[u64; 6]> {
    let client = pool::get(pool).await?;
    let rows = client.query("SELECT state, count(*) FROM job GROUP BY state", &[]).await.map_err(sql)?;
    let mut counts = [0; 6];
    for row in rows {
        counts[state(row.get(0))? as usize] = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
    }
    Ok(counts)
}

/// The jobs that wait, by type.
pub(super) async fn waiting(pool: &Pool) -> Result<Vec<Waiting>> {
    let client = pool::get(pool).await?;
    let statement =
        format!("SELECT kind, version, count(*), {NOW} - min(created_at) FROM job WHERE state = 'P' GROUP BY kind, version");
    let rows = client.query(&statement, &[]).await.map_err(sql)?;
    let row = |row: &Row| {
        let version = u16::try_from(row.get::<_, i32>(1)).unwrap_or(u16::MAX);
        (row.get(0), version, row.get(2), row.get(3))
    };
    Ok(jobs::waiting(rows.iter().map(row)))
}

/// An output; notes that it was read, unless it is the one that was read last.
pub(super) async fn output(pool: &Pool, id: JobId, key: &str) -> Result<JobOutput> {
    let client = pool::get(pool).await?;
    let statement = client
        .prepare_cached(
            "WITH found AS (
                 SELECT o.* FROM job j JOIN job_output o ON o.job = j.id
                 WHERE j.id = $1 AND j.state = 'S' AND md5(o.key) = md5($2) AND o.key = $2
             ), used AS (
                 UPDATE job_output o SET used_seq = nextval('job_output_seq') FROM found f
                 WHERE o.job = f.job AND md5(o.key) = md5($2) AND o.key = $2
                     AND f.used_seq < (SELECT max(x.used_seq) FROM job_output x)
             ) SELECT blob, size_bytes, mime, file_name FROM found",
        )
        .await
        .map_err(sql)?;
    let row = client.query_opt(&statement, &[&id.0, &clean(key)]).await.map_err(sql)?.ok_or_else(|| jobs::no_output(id, key))?;
    Ok(JobOutput {
        blob: AttachmentId(row.get(0)),
        size_bytes: u64::try_from(row.get::<_, i64>(1)).unwrap_or(0),
        mime: row.get(2),
        file_name: row.get(3),
    })
}
