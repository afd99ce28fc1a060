//! The processes that share the jobs. SQLite has one at a time: the rows of earlier ones are those of other openings.

use super::batch::Batch;
use super::error::sql;
use super::jobs::{self, CLAIMABLE, Told, key, trim, want};
use crate::jobs::{UNKNOWN, in_micros, micros, time};
use crate::text::clean;
use model::job::rules::{Event, Verdict};
use model::job::{Beat, Claim, Hint, JobId, NewNode, Node, NodeId, Tick, Want};
use model::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;
use uuid::Uuid;

/// Registers a process, and ends the leases of earlier openings; forgets their jobs if the process wants none of them.
pub(super) fn join(batch: &mut Batch<'_>, node: &NewNode, lease: Duration) -> Result<()> {
    let (conn, now) = (batch.conn, batch.now_us());
    if node.new_jobs_only && !is_known(conn, &batch.node)? {
        jobs::forget_all(conn)?;
    }
    let kinds: Vec<_> = node.kinds.iter().map(|k| clean(k)).collect();
    let inserted = conn
        .prepare_cached(
            "INSERT INTO node (id, opening, name, version, kinds, new_jobs_only, configuration, details, started_at, lease_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        )
        .and_then(|mut s| {
            s.execute(params![
                key(&node.id.0),
                batch.node,
                clean(&node.name),
                clean(&node.version),
                serde_json::Value::from_iter(kinds).to_string(),
                node.new_jobs_only,
                clean(&node.configuration),
                node.details.to_string(),
                now,
                now.saturating_add(in_micros(lease)),
            ])
        })
        .map_err(sql)?;
    if inserted == 0 {
        return Err(Error::new(ErrorKind::Duplicate, format!("there is a node {} already", node.id)));
    }
    conn.prepare_cached("UPDATE node SET lease_until = min(lease_until, ?2) WHERE opening <> ?1")
        .and_then(|mut s| s.execute(params![batch.node, now]))
        .map_err(sql)?;
    Ok(())
}

/// Whether a process joined since the database was opened.
fn is_known(conn: &Connection, opening: &[u8]) -> Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM node WHERE opening = ?1)")
        .and_then(|mut s| s.query_row([opening], |r| r.get(0)))
        .map_err(sql)
}

/// Takes a process off the list.
pub(super) fn leave(batch: &mut Batch<'_>, node: NodeId) -> Result<()> {
    forget(batch.conn, key(&node.0))
}

fn forget(conn: &Connection, node: &[u8]) -> Result<()> {
    for statement in ["DELETE FROM job_waiter WHERE node = ?1", "DELETE FROM node WHERE id = ?1"] {
        conn.prepare_cached(statement).and_then(|mut s| s.execute([node])).map_err(sql)?;
    }
    Ok(())
}

/// All processes, the oldest first. `now`: microseconds since 1970.
pub(super) fn nodes(conn: &Connection, now: i64) -> Result<Vec<Node>> {
    conn.prepare_cached(
        "SELECT id, name, version, kinds, new_jobs_only, configuration, details, settings, draining, started_at, lease_until,
         (SELECT count(*) FROM job WHERE state = 'R' AND owner = n.id) FROM node n ORDER BY started_at, id",
    )
    .and_then(|mut s| {
        s.query_map([], |r| {
            let node = NewNode {
                id: NodeId(Uuid::from_bytes(r.get(0)?)),
                name: r.get(1)?,
                version: r.get(2)?,
                kinds: serde_json::from_str(&r.get::<_, String>(3)?).unwrap_or_default(),
                new_jobs_only: r.get(4)?,
                configuration: r.get(5)?,
                details: serde_json::from_str(&r.get::<_, String>(6)?).unwrap_or_default(),
            };
            Ok(Node {
                node,
                settings: r.get(7)?,
                draining: r.get(8)?,
                started_at: time(r.get(9)?),
                lease: micros(r.get::<_, i64>(10)? - now),
                running: r.get(11)?,
            })
        })?
        .collect()
    })
    .map_err(sql)
}

/// One beat.
pub(super) fn tick(batch: &mut Batch<'_>, beat: &Beat) -> Told<Tick> {
    let (conn, now) = (batch.conn, batch.now_us());
    let me = key(&beat.node.0);
    let lost = !renew(conn, beat, now)?;
    let mut hints = rescue(conn, now)?;
    hints.extend(unpin(conn, now)?);
    let rescued = hints.len() as u64;
    hints.extend(release_unknown(conn, beat, now)?);
    forget_dead(conn, now)?;
    trim(conn, beat.limits)?;
    let work = !lost && !beat.draining && any_work(conn, me)?;
    let tick = Tick { lost, wanted: wanted(conn, beat.node)?, work, rescued, settings: settings(conn)?, due: due(batch)? };
    Ok((tick, hints))
}

/// Renews the lease if half of it is over: an idle process writes nothing to the disk meanwhile. Whether there is one.
fn renew(conn: &Connection, beat: &Beat, now: i64) -> Result<bool> {
    let until: Option<(i64, bool, i64)> = conn
        .prepare_cached("SELECT lease_until, draining, settings FROM node WHERE id = ?1")
        .and_then(|mut s| s.query_row([key(&beat.node.0)], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional())
        .map_err(sql)?;
    let Some((until, draining, settings)) = until else { return Ok(false) };
    let lease = in_micros(beat.lease);
    let fresh = (now.saturating_add(lease / 2)..=now.saturating_add(lease)).contains(&until);
    if !fresh || draining != beat.draining || settings != beat.settings {
        conn.prepare_cached("UPDATE node SET lease_until = ?2, draining = ?3, settings = ?4 WHERE id = ?1")
            .and_then(|mut s| s.execute(params![key(&beat.node.0), now.saturating_add(lease), beat.draining, beat.settings]))
            .map_err(sql)?;
    }
    Ok(true)
}

struct Orphan {
    row: i64,
    id: JobId,
    crashed_on: String,
    /// When it ran for the last time, as far as anybody knows.
    until: i64,
    name: String,
    owner: NodeId,
}

/// Running jobs whose process has no live lease. Parameter 1 is the time.
pub(super) const ORPHANS: &str = "SELECT j.seq, j.id, j.crashed_on, coalesce(n.lease_until, ?1), coalesce(n.name, ''), j.owner
    FROM job j LEFT JOIN node n ON n.id = j.owner WHERE j.state = 'R' AND coalesce(n.lease_until, 0) <= ?1";

fn rescue(conn: &Connection, now: i64) -> Result<Vec<Hint>> {
    let orphans: Vec<Orphan> = conn
        .prepare_cached(ORPHANS)
        .and_then(|mut s| {
            s.query_map([now], |r| {
                let (row, id, owner) = (r.get(0)?, jobs::id(r, 1)?, NodeId(Uuid::from_bytes(r.get(5)?)));
                Ok(Orphan { row, id, crashed_on: r.get(2)?, until: r.get(3)?, name: r.get(4)?, owner })
            })?
            .collect()
        })
        .map_err(sql)?;
    orphans.iter().map(|orphan| rescue_one(conn, orphan, now)).collect()
}

fn rescue_one(conn: &Connection, orphan: &Orphan, now: i64) -> Result<Hint> {
    let verdict = jobs::standing(conn, orphan.row)?.after(Event::ProcessDied(orphan.owner));
    let (Verdict::Becomes(after) | Verdict::Fails(after, _)) = verdict else {
        return Err(Error::new(ErrorKind::Internal, "a running job whose process died must go on or end"));
    };
    // One line for each crash.
    let crashed_on = format!("{}{} ({})\n", orphan.crashed_on, orphan.name.replace(['\n', '\r'], " "), orphan.owner);
    conn.prepare_cached("UPDATE job SET crashes = ?2, crashed_on = ?3 WHERE seq = ?1")
        .and_then(|mut s| s.execute(params![orphan.row, after.crashes, crashed_on]))
        .map_err(sql)?;
    let hint = jobs::settle(conn, orphan.row, orphan.id, verdict, None, (orphan.until, now))?;
    Ok(hint.unwrap_or(Hint::Work))
}

/// Ends waiting jobs that only a dead process might run.
fn unpin(conn: &Connection, now: i64) -> Result<Vec<Hint>> {
    let rows: Vec<(i64, JobId, NodeId)> = conn
        .prepare_cached(
            "SELECT seq, id, pin FROM job WHERE pin IS NOT NULL AND done_seq IS NULL AND state <> 'R'
             AND NOT EXISTS (SELECT 1 FROM node n WHERE n.id = pin AND n.lease_until > ?1)",
        )
        .and_then(|mut s| {
            s.query_map([now], |r| Ok((r.get(0)?, jobs::id(r, 1)?, NodeId(Uuid::from_bytes(r.get(2)?)))))?.collect()
        })
        .map_err(sql)?;
    let mut hints = vec![];
    for (row, id, pin) in rows {
        let verdict = jobs::standing(conn, row)?.after(Event::ProcessDied(pin));
        hints.extend(jobs::settle(conn, row, id, verdict, None, (now, now))?);
    }
    Ok(hints)
}

/// Lets jobs wait again that the caller owns and does not know: the answer to its claim was lost.
fn release_unknown(conn: &Connection, beat: &Beat, now: i64) -> Result<Vec<Hint>> {
    let rows: Vec<(i64, JobId)> = conn
        .prepare_cached("SELECT seq, id FROM job WHERE state = 'R' AND owner = ?1 AND started_at <= ?2")
        .and_then(|mut s| {
            s.query_map(params![key(&beat.node.0), now - in_micros(UNKNOWN)], |r| Ok((r.get(0)?, jobs::id(r, 1)?)))?.collect()
        })
        .map_err(sql)?;
    let mut hints = vec![];
    for (row, id) in rows.into_iter().filter(|(_, id)| !beat.running.contains(id)) {
        let verdict = jobs::standing(conn, row)?.after(Event::NotKnownTo(beat.node));
        hints.extend(jobs::settle(conn, row, id, verdict, None, (now, now))?);
    }
    Ok(hints)
}

fn forget_dead(conn: &Connection, now: i64) -> Result<()> {
    let dead: Vec<[u8; 16]> = conn
        .prepare_cached("SELECT id FROM node WHERE lease_until <= ?1")
        .and_then(|mut s| s.query_map([now], |r| r.get(0))?.collect())
        .map_err(sql)?;
    dead.iter().try_for_each(|node| forget(conn, node))
}

fn wanted(conn: &Connection, node: NodeId) -> Result<Vec<(Claim, Want)>> {
    conn.prepare_cached("SELECT id, epoch, want FROM job WHERE state = 'R' AND owner = ?1 AND want IS NOT NULL")
        .and_then(|mut s| {
            s.query_map([key(&node.0)], |r| {
                let claim = Claim { job: jobs::id(r, 0)?, node, epoch: r.get(1)? };
                Ok(want(r, 2)?.map(|want| (claim, want)))
            })?
            .filter_map(rusqlite::Result::transpose)
            .collect()
        })
        .map_err(sql)
}

fn any_work(conn: &Connection, node: &[u8]) -> Result<bool> {
    // Both halves of the partial indexes.
    let (kinds, newer_than): (String, i64) = conn
        .prepare_cached("SELECT kinds, CASE WHEN new_jobs_only THEN started_at ELSE -1 END FROM node WHERE id = ?1")
        .and_then(|mut s| s.query_row([node], |r| Ok((r.get(0)?, r.get(1)?))))
        .map_err(sql)?;
    let work = format!(
        "SELECT EXISTS (SELECT 1 FROM job WHERE {CLAIMABLE} AND crashes < 2)
         OR EXISTS (SELECT 1 FROM job WHERE {CLAIMABLE} AND crashes >= 2)"
    );
    conn.prepare_cached(&work).and_then(|mut s| s.query_row(params![node, kinds, newer_than], |r| r.get(0))).map_err(sql)
}

/// The version of the settings.
fn settings(conn: &Connection) -> Result<i64> {
    conn.prepare_cached("SELECT value FROM counter WHERE name = 'settings'")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)
}

/// Whether a sweep has something to do.
fn due(batch: &Batch<'_>) -> Result<bool> {
    batch
        .conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM series WHERE stable_at IS NOT NULL AND stable_at <= ?1)
             OR EXISTS (SELECT 1 FROM study WHERE stable_at IS NOT NULL AND stable_at <= ?1)
             OR EXISTS (SELECT 1 FROM patient WHERE stable_at IS NOT NULL AND stable_at <= ?1)
             OR EXISTS (SELECT 1 FROM tombstone) OR EXISTS (SELECT 1 FROM deleted_blob)
             OR EXISTS (SELECT 1 FROM blob_intent WHERE node <> ?2) OR EXISTS (SELECT 1 FROM upload WHERE until <= ?3)
             OR EXISTS (SELECT 1 FROM uploaded_file WHERE taken_by IS NULL)",
        )
        .and_then(|mut s| s.query_row(params![batch.now_ms, batch.node, batch.now_us()], |r| r.get(0)))
        .map_err(sql)
}
