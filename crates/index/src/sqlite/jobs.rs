//! What happens to a job: it is submitted, claimed, kept, ended, acted on, forgotten. [`model::job::rules`] decides by its row; this
//! is what the decision writes.

use super::batch::Batch;
use super::blobs;
use super::error::sql;
use crate::jobs::{self, TRIM};
use crate::text::clean;
use model::job::rules::{Ending, Event, Standing, Verdict};
use model::job::{
    Acted, Checkpoint, Claim, ClaimedJob, Hint, JobAction, JobEnd, JobError, JobId, JobLimits, JobOutcome, JobState, JobStep,
    NewJob, NewOutput, NodeId, Turn, Want, capability, kind_of,
};
use model::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

/// What a write returns, and what the process must hear once it is committed.
pub(super) type Told<T> = Result<(T, Vec<Hint>)>;

/// The form of an id in a row.
pub(super) fn key(id: &Uuid) -> &[u8] {
    id.as_bytes().as_slice()
}

/// Adds a job, and claims it if the submitter may.
pub(super) fn submit(batch: &mut Batch<'_>, job: &NewJob) -> Told<Option<ClaimedJob>> {
    let conn = batch.conn;
    let inserted = conn
        .prepare_cached(
            "INSERT INTO job (id, kind, version, priority, pin, created_at, content, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO NOTHING",
        )
        .and_then(|mut s| {
            s.execute(params![
                key(&job.id.0),
                clean(&capability(&job.kind, job.version)),
                job.version,
                job.priority,
                job.pinned.as_ref().map(|n| key(&n.0)),
                batch.now_us(),
                job.content.to_string(),
                job.key.map(|key| key.0),
            ])
        })
        .map_err(sql)?;
    if inserted == 0 {
        return Err(Error::new(ErrorKind::Duplicate, format!("there is a job {} already, or one of its key", job.id)));
    }
    let row = conn.last_insert_rowid();
    conn.prepare_cached("INSERT INTO job_input (job, arguments, user_data) VALUES (?1, ?2, ?3)")
        .and_then(|mut s| s.execute(params![row, job.arguments.to_string(), job.user_data.as_ref().map(|v| v.to_string())]))
        .map_err(sql)?;
    if let Some(waiter) = &job.waiter {
        conn.prepare_cached("INSERT INTO job_waiter (job, node) VALUES (?1, ?2)")
            .and_then(|mut s| s.execute(params![row, key(&waiter.0)]))
            .map_err(sql)?;
    }
    let (claimed, hints) = match job.claim {
        Some(node) => claim(batch, node, Which::Row(row))?,
        None => (vec![], vec![]),
    };
    match claimed.into_iter().next() {
        Some(claimed) => Ok((Some(claimed), hints)),
        None => Ok((None, vec![Hint::Work])),
    }
}

/// Which waiting jobs to claim.
#[derive(Clone, Copy)]
pub(super) enum Which {
    Next(usize),
    Suspect,
    Row(i64),
}

/// What a process may claim: its own pins, its kinds, and perhaps only what is new.
/// Parameters: 1 the node, 2 its kinds, 3 the time that jobs must be newer than. The sign keeps the kinds from choosing the index.
pub(super) const CLAIMABLE: &str = "state = 'P' AND (pin IS NULL OR pin = ?1) AND created_at > ?3
    AND +kind IN (SELECT value FROM json_each(?2))";

/// The statements of [`claim`]. Parameter 4 is a number of jobs, or a row.
pub(super) fn claim_sql(which: Which) -> String {
    let which = match which {
        Which::Next(_) => "crashes < 2 ORDER BY priority DESC, seq LIMIT ?4",
        Which::Suspect => "crashes >= 2 ORDER BY priority DESC, seq LIMIT ?4",
        Which::Row(_) => "seq = ?4",
    };
    format!("SELECT seq FROM job WHERE {CLAIMABLE} AND {which}")
}

/// Hands waiting jobs to a process, if its lease lives.
pub(super) fn claim(batch: &mut Batch<'_>, node: NodeId, which: Which) -> Told<Vec<ClaimedJob>> {
    let (conn, now) = (batch.conn, batch.now_us());
    // A process that stops still serves downloads that were asked of it.
    let born = if let Which::Row(row) = which { Some(row) } else { None };
    let may: Option<(String, i64)> = conn
        .prepare_cached(
            "SELECT kinds, CASE WHEN new_jobs_only THEN started_at ELSE -1 END FROM node
             WHERE id = ?1 AND lease_until > ?2 AND (draining = 0 OR EXISTS (SELECT 1 FROM job WHERE seq = ?3 AND pin = ?1))",
        )
        .and_then(|mut s| s.query_row(params![key(&node.0), now, born], |r| Ok((r.get(0)?, r.get(1)?))).optional())
        .map_err(sql)?;
    let Some((kinds, newer_than)) = may else { return Ok((vec![], vec![])) };
    let last = match which {
        Which::Next(n) => i64::try_from(n).unwrap_or(i64::MAX),
        Which::Suspect => 1,
        Which::Row(row) => row,
    };
    let rows: Vec<i64> = conn
        .prepare_cached(&claim_sql(which))
        .and_then(|mut s| s.query_map(params![key(&node.0), kinds, newer_than, last], |r| r.get(0))?.collect())
        .map_err(sql)?;
    let (mut claimed, mut hints) = (vec![], vec![]);
    let event = if matches!(which, Which::Suspect) { Event::ClaimAlone(node) } else { Event::Claim(node) };
    for row in rows {
        let before = standing(conn, row)?;
        let Verdict::Becomes(after) = before.after(event) else { continue };
        match claim_row(conn, node, row, after, now)? {
            Ok(job) => claimed.push(job),
            // Nobody can run it.
            Err(id) => {
                end(conn, row, Some(&jobs::damaged()), now, now)?;
                hints.push(Hint::Ended(id));
            }
        }
    }
    Ok((claimed, hints))
}

/// Claims one job. The inner error names a job whose row is damaged.
fn claim_row(conn: &Connection, node: NodeId, row: i64, after: Standing, now: i64) -> Result<Result<ClaimedJob, JobId>> {
    type Input = (JobId, i64, String, u16, String, f64, bool, u16);
    let (id, epoch, kind, version, content, progress, pinned, crashes): Input = conn
        .prepare_cached(
            "UPDATE job SET state = ?4, owner = ?2, epoch = ?5, started_at = ?3, want = NULL WHERE seq = ?1
             RETURNING id, epoch, kind, version, content, progress, pin IS NOT NULL, crashes",
        )
        .and_then(|mut s| {
            s.query_row(params![row, key(&node.0), now, after.state.letter(), after.epoch], |r| {
                Ok((id(r, 0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?, r.get(6)?, r.get(7)?))
            })
        })
        .map_err(sql)?;
    let arguments: Option<String> = conn
        .prepare_cached("SELECT arguments FROM job_input WHERE job = ?1")
        .and_then(|mut s| s.query_row([row], |r| r.get(0)).optional())
        .map_err(sql)?;
    let steps: Option<Vec<JobStep>> = conn
        .prepare_cached("SELECT position, outcome FROM job_step WHERE job = ?1 ORDER BY position")
        .and_then(|mut s| s.query_map([row], |r| Ok((r.get(0)?, r.get::<_, String>(1)?)))?.collect::<rusqlite::Result<Vec<_>>>())
        .map_err(sql)?
        .into_iter()
        .map(|(position, outcome)| Some(JobStep { position, outcome: jobs::strict(&outcome)? }))
        .collect();
    let (Some(arguments), Some(steps)) = (arguments.as_deref().and_then(jobs::strict), steps) else { return Ok(Err(id)) };
    let (claim, content) = (Claim { job: id, node, epoch }, jobs::lenient(&content, id));
    let kind = kind_of(&kind, version).to_owned();
    Ok(Ok(ClaimedJob { claim, kind, version, arguments, content, progress, pinned, crashes, steps }))
}

const STANDING: &str = "SELECT seq, state, owner, epoch, want, pin, crashes FROM job WHERE ";

fn standing_of(row: &Row<'_>) -> rusqlite::Result<(i64, Standing)> {
    let node =
        |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<[u8; 16]>>(column)?.map(|bytes| NodeId(Uuid::from_bytes(bytes))));
    let standing = Standing {
        state: state(row, 1)?,
        owner: node(2)?,
        epoch: row.get(3)?,
        want: want(row, 4)?,
        pinned: node(5)?,
        crashes: row.get(6)?,
    };
    Ok((row.get(0)?, standing))
}

/// What decides about a row.
pub(super) fn standing(conn: &Connection, row: i64) -> Result<Standing> {
    conn.prepare_cached(&format!("{STANDING} seq = ?1"))
        .and_then(|mut s| s.query_row([row], standing_of))
        .map(|(_, standing)| standing)
        .map_err(sql)
}

/// The row of a job, and what decides about it.
fn find(conn: &Connection, id: JobId) -> Result<Option<(i64, Standing)>> {
    conn.prepare_cached(&format!("{STANDING} id = ?1"))
        .and_then(|mut s| s.query_row([key(&id.0)], standing_of).optional())
        .map_err(sql)
}

/// Keeps what a run reports.
pub(super) fn checkpoint(batch: &mut Batch<'_>, claim: Claim, checkpoint: &Checkpoint) -> Result<bool> {
    match find(batch.conn, claim.job)? {
        Some((row, before)) if before.is_held_by(claim) => keep(batch.conn, row, before, claim, checkpoint).map(|()| true),
        _ => Ok(false),
    }
}

fn keep(conn: &Connection, row: i64, before: Standing, claim: Claim, checkpoint: &Checkpoint) -> Result<()> {
    let mut new = 0;
    for step in &checkpoint.steps {
        new += conn
            .prepare_cached("INSERT INTO job_step (job, position, outcome) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
            .and_then(|mut s| s.execute(params![row, step.position, step.outcome.to_string()]))
            .map_err(sql)?;
    }
    let crashes = match before.after(Event::Keep { claim, new_step: new > 0 }) {
        Verdict::Becomes(after) => after.crashes,
        _ => before.crashes,
    };
    conn.prepare_cached(
        "UPDATE job SET progress = ?2, content = ?3, crashes = ?4, crashed_on = CASE WHEN ?4 = 0 THEN '' ELSE crashed_on END
         WHERE seq = ?1",
    )
    .and_then(|mut s| s.execute(params![row, jobs::progress(checkpoint), checkpoint.content.to_string(), crashes]))
    .map_err(sql)?;
    Ok(())
}

/// Ends runs, and claims for the workers that they leave.
pub(super) fn finish_all(
    batch: &mut Batch<'_>,
    ends: &[(Claim, JobEnd)],
    limits: JobLimits,
    next: Option<(NodeId, usize)>,
) -> Told<Turn> {
    let (mut turn, mut hints) = (Turn::default(), vec![]);
    for (claim, end) in ends {
        let (current, told) = finish(batch, *claim, end, limits)?;
        turn.ended.push(current);
        hints.extend(told);
    }
    if let Some((node, n)) = next {
        let (claimed, told) = claim(batch, node, Which::Next(n))?;
        turn.claimed = claimed;
        hints.extend(told);
    }
    Ok((turn, hints))
}

/// Ends a run.
fn finish(batch: &mut Batch<'_>, claim: Claim, done: &JobEnd, limits: JobLimits) -> Told<bool> {
    let (conn, node, now) = (batch.conn, batch.node, batch.now_us());
    let Some((row, before)) = find(conn, claim.job)? else { return Ok((false, vec![])) };
    let (ending, own) = match &done.outcome {
        JobOutcome::Success(_) => (Ending::Success, None),
        JobOutcome::Failure(error) => (Ending::Failure, Some(error)),
        JobOutcome::Paused => (Ending::Paused, None),
        JobOutcome::Released => (Ending::Released, None),
    };
    let verdict = before.after(Event::End(claim, ending));
    if verdict == Verdict::Refused {
        return Ok((false, vec![]));
    }
    if let JobOutcome::Success(outputs) = &done.outcome {
        jobs::check_outputs(outputs)?;
        outputs.iter().try_for_each(|o| batch.intents.check(conn, &node, o.blob.id))?;
        for output in outputs {
            batch.intents.settle(conn, &node, output.blob.id)?;
            publish(conn, row, output)?;
        }
    }
    keep(conn, row, before, claim, &done.checkpoint)?;
    let hint = settle(conn, row, claim.job, verdict, own, (now, now))?;
    if matches!(hint, Some(Hint::Ended(_))) {
        trim(conn, limits)?;
    }
    Ok((true, hint.into_iter().collect()))
}

/// Writes the end of a run, or of a rest. `own`: why the runner says that it failed; `(until, now)`: when it ran for the last time, and
/// the present. Returns what others should hear.
pub(super) fn settle(
    conn: &Connection,
    row: i64,
    id: JobId,
    verdict: Verdict,
    own: Option<&JobError>,
    (until, now): (i64, i64),
) -> Result<Option<Hint>> {
    match verdict {
        Verdict::Refused | Verdict::Unchanged => Ok(None),
        Verdict::Fails(_, cause) => {
            let crashed_on: String = conn
                .prepare_cached("SELECT crashed_on FROM job WHERE seq = ?1")
                .and_then(|mut s| s.query_row([row], |r| r.get(0)))
                .map_err(sql)?;
            end(conn, row, Some(&jobs::failed(cause, &crashed_on)), until, now)?;
            Ok(Some(Hint::Ended(id)))
        }
        Verdict::Becomes(after) if after.state.is_final() => {
            end(conn, row, own, until, now)?;
            Ok(Some(Hint::Ended(id)))
        }
        Verdict::Becomes(after) => {
            rest(conn, row, after.state.letter(), until)?;
            Ok((after.state == JobState::Pending).then_some(Hint::Work))
        }
    }
}

fn publish(conn: &Connection, row: i64, output: &NewOutput) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO job_output (job, key, blob, size_bytes, mime, file_name, used_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT coalesce(max(used_seq), 0) + 1 FROM job_output))",
    )
    .and_then(|mut s| {
        let (blob, size) = (key(&output.blob.id.0), output.blob.size_bytes as i64);
        let (name, mime, file) = (clean(&output.key), clean(&output.mime), clean(&output.file_name));
        s.execute(params![row, name, blob, size, mime, file])
    })
    .map_err(sql)?;
    Ok(())
}

/// A job that does not run, and has not ended, from `until` on.
pub(super) fn rest(conn: &Connection, row: i64, state: &str, until: i64) -> Result<()> {
    conn.prepare_cached(
        "UPDATE job SET state = ?2, runtime = runtime + max(0, ?3 - coalesce(started_at, ?3)), started_at = NULL, owner = NULL,
         want = NULL WHERE seq = ?1",
    )
    .and_then(|mut s| s.execute(params![row, state, until]))
    .map_err(sql)?;
    Ok(())
}

/// A job that has ended, and ran until `until`.
pub(super) fn end(conn: &Connection, row: i64, error: Option<&JobError>, until: i64, now: i64) -> Result<()> {
    rest(conn, row, if error.is_some() { "F" } else { "S" }, until)?;
    let none = JobError::default();
    let error = error.unwrap_or(&none);
    conn.prepare_cached(
        "UPDATE job SET completed_at = ?2, done_seq = (SELECT coalesce(max(done_seq), 0) + 1 FROM job), error_code = ?3,
         error_details = ?4, error_payload = ?5 WHERE seq = ?1",
    )
    .and_then(|mut s| {
        let payload = error.payload.as_ref().map(|p| p.to_string());
        s.execute(params![row, now, error.code, clean(&error.details), payload])
    })
    .map_err(sql)?;
    Ok(())
}

/// Acts by the present state.
pub(super) fn act(batch: &mut Batch<'_>, id: JobId, action: JobAction, limits: JobLimits) -> Told<Acted> {
    let (conn, now) = (batch.conn, batch.now_us());
    let Some((row, before)) = find(conn, id)? else { return Ok((Acted::Unknown, vec![])) };
    let verdict = before.after(Event::Ask(action));
    let hint = match verdict {
        Verdict::Refused => return Ok((Acted::Refused, vec![])),
        Verdict::Becomes(after) if after.state == JobState::Running => {
            wish(conn, row, after.want)?;
            Some(Hint::Wanted(id))
        }
        Verdict::Becomes(_) if before.state == JobState::Failure => {
            resubmit(conn, row)?;
            Some(Hint::Work)
        }
        verdict => settle(conn, row, id, verdict, None, (now, now))?,
    };
    if matches!(hint, Some(Hint::Ended(_))) {
        trim(conn, limits)?;
    }
    Ok((Acted::Accepted, hint.into_iter().collect()))
}

/// Tells the owner of a running job what a client wants.
fn wish(conn: &Connection, row: i64, want: Option<Want>) -> Result<()> {
    let letter = want.map(|want| if want == Want::Cancel { "C" } else { "P" });
    conn.prepare_cached("UPDATE job SET want = ?2 WHERE seq = ?1")
        .and_then(|mut s| s.execute(params![row, letter]))
        .map_err(sql)?;
    Ok(())
}

/// A failed job has no outputs.
fn resubmit(conn: &Connection, row: i64) -> Result<()> {
    conn.prepare_cached(
        "UPDATE job SET state = 'P', crashes = 0, crashed_on = '', runtime = 0, progress = 0, error_code = 0, error_details = '',
         error_payload = NULL, completed_at = NULL, done_seq = NULL WHERE seq = ?1",
    )
    .and_then(|mut s| s.execute([row]))
    .map_err(sql)?;
    conn.prepare_cached("DELETE FROM job_step WHERE job = ?1").and_then(|mut s| s.execute([row])).map_err(sql)?;
    Ok(())
}

/// Gives a job that has not ended another priority.
pub(super) fn set_priority(batch: &mut Batch<'_>, id: JobId, priority: i32) -> Result<Acted> {
    let Some((row, standing)) = find(batch.conn, id)? else { return Ok(Acted::Unknown) };
    if standing.state.is_final() {
        return Ok(Acted::Refused);
    }
    batch
        .conn
        .prepare_cached("UPDATE job SET priority = ?2 WHERE seq = ?1")
        .and_then(|mut s| s.execute(params![row, priority]))
        .map_err(sql)?;
    Ok(Acted::Accepted)
}

/// The oldest ended jobs beyond the limit, and the outputs that nobody read for the longest time. Parameter 1 is the limit.
pub(super) const SURPLUS: [&str; 2] = [
    "SELECT seq FROM job WHERE done_seq <= (SELECT done_seq FROM job WHERE done_seq IS NOT NULL
        ORDER BY done_seq DESC LIMIT 1 OFFSET ?1)
     AND NOT EXISTS (SELECT 1 FROM job_waiter w WHERE w.job = seq) ORDER BY done_seq LIMIT ?2",
    "SELECT o.job, o.key FROM job_output o
     WHERE o.used_seq <= (SELECT used_seq FROM job_output ORDER BY used_seq DESC LIMIT 1 OFFSET ?1)
     AND NOT EXISTS (SELECT 1 FROM job_waiter w WHERE w.job = o.job) ORDER BY o.used_seq LIMIT ?2",
];

/// Removes some of what is beyond the limits, save what somebody waits for.
pub(super) fn trim(conn: &Connection, limits: JobLimits) -> Result<()> {
    let old: Vec<i64> = conn
        .prepare_cached(SURPLUS[0])
        .and_then(|mut s| s.query_map(params![limits.history, TRIM], |r| r.get(0))?.collect())
        .map_err(sql)?;
    for row in old {
        forget(conn, row)?;
    }
    let unread: Vec<(i64, String)> = conn
        .prepare_cached(SURPLUS[1])
        .and_then(|mut s| s.query_map(params![limits.outputs, TRIM], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(sql)?;
    for (row, name) in unread {
        remove_output(conn, row, &name)?;
    }
    Ok(())
}

/// Removes a job.
fn forget(conn: &Connection, row: i64) -> Result<()> {
    let outputs: Vec<String> = conn
        .prepare_cached("SELECT key FROM job_output WHERE job = ?1")
        .and_then(|mut s| s.query_map([row], |r| r.get(0))?.collect())
        .map_err(sql)?;
    outputs.iter().try_for_each(|name| remove_output(conn, row, name))?;
    for statement in [
        "DELETE FROM job_waiter WHERE job = ?1",
        "DELETE FROM job_step WHERE job = ?1",
        "DELETE FROM job_input WHERE job = ?1",
        "DELETE FROM job WHERE seq = ?1",
    ] {
        conn.prepare_cached(statement).and_then(|mut s| s.execute([row])).map_err(sql)?;
    }
    Ok(())
}

/// Forgets all jobs, whatever their state.
pub(super) fn forget_all(conn: &Connection) -> Result<()> {
    let rows: Vec<i64> =
        conn.prepare_cached("SELECT seq FROM job").and_then(|mut s| s.query_map([], |r| r.get(0))?.collect()).map_err(sql)?;
    rows.into_iter().try_for_each(|row| forget(conn, row))
}

fn remove_output(conn: &Connection, row: i64, name: &str) -> Result<()> {
    let blob = conn
        .prepare_cached("DELETE FROM job_output WHERE job = ?1 AND key = ?2 RETURNING blob")
        .and_then(|mut s| s.query_row(params![row, name], |r| blobs::blob_column(r, 0)))
        .map_err(sql)?;
    blobs::discard(conn, blob)
}

/// Forgets an ended job.
pub(super) fn delete(batch: &mut Batch<'_>, id: JobId) -> Result<()> {
    let row = batch
        .conn
        .prepare_cached("SELECT seq FROM job WHERE id = ?1 AND done_seq IS NOT NULL")
        .and_then(|mut s| s.query_row([key(&id.0)], |r| r.get(0)).optional())
        .map_err(sql)?
        .ok_or_else(|| jobs::no_ended_job(id))?;
    forget(batch.conn, row)
}

/// Removes an output.
pub(super) fn delete_output(batch: &mut Batch<'_>, id: JobId, name: &str) -> Result<()> {
    let name = clean(name);
    let row = batch
        .conn
        .prepare_cached("SELECT job FROM job_output WHERE job = (SELECT seq FROM job WHERE id = ?1) AND key = ?2")
        .and_then(|mut s| s.query_row(params![key(&id.0), name], |r| r.get(0)).optional())
        .map_err(sql)?
        .ok_or_else(|| jobs::no_output(id, &name))?;
    remove_output(batch.conn, row, &name)
}

/// Marks an output as the one that was read last.
pub(super) fn use_output(batch: &mut Batch<'_>, id: JobId, name: &str) -> Result<()> {
    batch
        .conn
        .prepare_cached(
            "UPDATE job_output SET used_seq = (SELECT max(used_seq) + 1 FROM job_output)
             WHERE job = (SELECT seq FROM job WHERE id = ?1) AND key = ?2",
        )
        .and_then(|mut s| s.execute(params![key(&id.0), clean(name)]))
        .map_err(sql)?;
    Ok(())
}

/// Nobody in this process waits for these jobs any more.
pub(super) fn forget_waiters(batch: &mut Batch<'_>, node: NodeId, ids: &[JobId], limits: JobLimits) -> Result<()> {
    for id in ids {
        batch
            .conn
            .prepare_cached("DELETE FROM job_waiter WHERE job = (SELECT seq FROM job WHERE id = ?1) AND node = ?2")
            .and_then(|mut s| s.execute(params![key(&id.0), key(&node.0)]))
            .map_err(sql)?;
    }
    trim(batch.conn, limits)
}

/// Reads the id of a job.
pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    Ok(JobId(Uuid::from_bytes(row.get(column)?)))
}

/// Reads what a client wants.
pub(super) fn want(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Want>> {
    let letter: Option<String> = row.get(column)?;
    Ok(letter.map(|l| if l == "C" { Want::Cancel } else { Want::Pause }))
}

/// Reads a state.
pub(super) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<JobState> {
    JobState::from_letter(&row.get::<_, String>(column)?)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, "state".into(), rusqlite::types::Type::Text))
}
