//! Events on their way to who listens. Triggers write them (`0009_events.sql`).

use super::SqliteIndex;
use super::batch::Batch;
use super::error::sql;
use super::jobs::key;
use crate::events::event;
use crate::jobs::in_micros;
use async_trait::async_trait;
use model::Result;
use model::event::{Event, EventKinds};
use model::job::NodeId;
use model::ports::Events;
use rusqlite::params;
use std::time::Duration;

/// Whether a living process other than `?2` delivers `e` now (`?1`: the time).
const HELD: &str =
    "(e.taken_until > ?1 AND e.taken_by <> ?2 AND EXISTS (SELECT 1 FROM node n WHERE n.id = e.taken_by AND n.lease_until > ?1))";

#[async_trait]
impl Events for SqliteIndex {
    async fn listen(&self, node: NodeId, kinds: EventKinds) -> Result<()> {
        self.writer.run(move |batch| listen(batch, node, kinds)).await
    }

    async fn take_events(&self, node: NodeId, n: usize, time: Duration) -> Result<Vec<Event>> {
        let any = |conn: &rusqlite::Connection| {
            conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM event)")
                .and_then(|mut s| s.query_row([], |r| r.get(0)))
                .map_err(sql)
        };
        let any: bool = self.readers.run(any).await?;
        if !any {
            return Ok(vec![]);
        }
        self.writer.run(move |batch| take(batch, node, n, time)).await
    }

    async fn settle_events(&self, node: NodeId, delivered: &[i64], back: &[i64]) -> Result<()> {
        let (delivered, back) = (delivered.to_vec(), back.to_vec());
        self.writer.run(move |batch| settle(batch, node, &delivered, &back)).await
    }

    async fn heart_beat(&self, period: Duration) -> Result<bool> {
        self.writer.run(move |batch| heart_beat(batch, period)).await
    }
}

/// Says what is listened to.
fn listen(batch: &mut Batch<'_>, node: NodeId, kinds: EventKinds) -> Result<()> {
    let now = batch.now_us();
    batch
        .conn
        .execute(
            "UPDATE listening SET kinds = ?1
             WHERE ?1 <> 0 OR NOT EXISTS (SELECT 1 FROM node n WHERE n.id <> ?2 AND n.lease_until > ?3)",
            params![kinds.bits(), key(&node.0), now],
        )
        .and_then(|_| batch.conn.execute("DELETE FROM event WHERE (SELECT kinds FROM listening) >> kind & 1 = 0", []))
        .map_err(sql)?;
    Ok(())
}

/// Takes events that no other process holds, and of which none holds an earlier one of the same subject.
fn take(batch: &mut Batch<'_>, node: NodeId, n: usize, time: Duration) -> Result<Vec<Event>> {
    let now = batch.now_us();
    let earlier = HELD.replace("e.", "b.");
    let rows: Vec<(i64, i64, Option<i64>, Vec<u8>)> = batch
        .conn
        .prepare_cached(&format!(
            "UPDATE event SET taken_by = ?2, taken_until = ?3 WHERE seq IN (SELECT e.seq FROM event e WHERE NOT {HELD}
             AND NOT EXISTS (SELECT 1 FROM event b WHERE b.subject = e.subject AND b.seq < e.seq AND {earlier}) ORDER BY e.seq LIMIT ?4)
             RETURNING seq, kind, level, subject"
        ))
        .and_then(|mut s| {
            let until = now.saturating_add(in_micros(time));
            let most = i64::try_from(n).unwrap_or(i64::MAX);
            s.query_map(params![now, key(&node.0), until, most], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?.collect()
        })
        .map_err(sql)?;
    let mut events: Vec<Event> =
        rows.into_iter().map(|(seq, kind, level, subject)| event(seq, kind, level, &subject)).collect::<Result<_>>()?;
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// Forgets events that this process still holds, or lets go of them.
fn settle(batch: &mut Batch<'_>, node: NodeId, delivered: &[i64], back: &[i64]) -> Result<()> {
    for (events, statement) in [
        (delivered, "DELETE FROM event WHERE seq = ?1 AND taken_by = ?2"),
        (back, "UPDATE event SET taken_by = NULL, taken_until = 0 WHERE seq = ?1 AND taken_by = ?2"),
    ] {
        for seq in events {
            batch.conn.prepare_cached(statement).and_then(|mut s| s.execute(params![seq, key(&node.0)])).map_err(sql)?;
        }
    }
    Ok(())
}

/// Whether a heart beat is due; if so, the next one counts from now.
fn heart_beat(batch: &mut Batch<'_>, period: Duration) -> Result<bool> {
    let now = batch.now_us();
    batch
        .conn
        .prepare_cached("UPDATE listening SET beat_at = ?1 WHERE beat_at + ?2 <= ?1")
        .and_then(|mut s| s.execute(params![now, in_micros(period)]))
        .map(|changed| changed > 0)
        .map_err(sql)
}
