//! Events on their way to who listens. Triggers write them (`0009_events.sql`).

use super::PostgresIndex;
use super::error::sql;
use super::nodes::NOW;
use super::pool;
use crate::events::event;
use crate::jobs::in_micros;
use async_trait::async_trait;
use deadpool_postgres::Pool;
use model::Result;
use model::event::{Event, EventKinds};
use model::job::NodeId;
use model::ports::Events;
use std::time::Duration;

/// Who takes events holds an advisory lock of the table meanwhile: else one could overlook what another is about to hold.
const TAKE_TURN: &str = "SELECT pg_try_advisory_xact_lock('event'::regclass::oid::bigint)";

/// Whether a living process other than `$1` delivers the event `alias` now.
fn held(alias: &str) -> String {
    format!(
        "({alias}.taken_until > {NOW} AND {alias}.taken_by <> $1
         AND EXISTS (SELECT FROM node n WHERE n.id = {alias}.taken_by AND n.lease_until > {NOW}))"
    )
}

#[async_trait]
impl Events for PostgresIndex {
    async fn listen(&self, node: NodeId, kinds: EventKinds) -> Result<()> {
        listen(&self.pool, node, kinds).await
    }

    async fn take_events(&self, node: NodeId, n: usize, time: Duration) -> Result<Vec<Event>> {
        take(&self.pool, node, n, time).await
    }

    async fn settle_events(&self, node: NodeId, delivered: &[i64], back: &[i64]) -> Result<()> {
        settle(&self.pool, node, delivered, back).await
    }

    async fn heart_beat(&self, period: Duration) -> Result<bool> {
        heart_beat(&self.pool, period).await
    }
}

/// Says what is listened to.
async fn listen(pool: &Pool, node: NodeId, kinds: EventKinds) -> Result<()> {
    let client = pool::get(pool).await?;
    let update = format!(
        "UPDATE listening SET kinds = $1
         WHERE $1::bigint <> 0 OR NOT EXISTS (SELECT FROM node n WHERE n.id <> $2 AND n.lease_until > {NOW})"
    );
    client.execute(&update, &[&kinds.bits(), &node.0]).await.map_err(sql)?;
    let rest = "DELETE FROM event e USING listening l WHERE (l.kinds >> e.kind) & 1 = 0";
    client.execute(rest, &[]).await.map(|_| ()).map_err(sql)
}

/// Takes events that no other process holds, and of which none holds an earlier one of the same subject.
async fn take(pool: &Pool, node: NodeId, n: usize, time: Duration) -> Result<Vec<Event>> {
    let mut client = pool::get(pool).await?;
    let (held, earlier) = (held("e"), held("b"));
    let any = client.prepare_cached(&format!("SELECT EXISTS (SELECT FROM event e WHERE NOT {held})")).await.map_err(sql)?;
    if !client.query_one(&any, &[&node.0]).await.map_err(sql)?.get::<_, bool>(0) {
        return Ok(vec![]);
    }
    let transaction = client.transaction().await.map_err(sql)?;
    let lock = transaction.query_one(TAKE_TURN, &[]).await.map_err(sql)?;
    if !lock.get::<_, bool>(0) {
        return Ok(vec![]);
    }
    let statement = transaction
        .prepare_cached(&format!(
            "UPDATE event SET taken_by = $1, taken_until = {NOW} + $2::bigint WHERE seq = ANY (ARRAY(
                 SELECT e.seq FROM event e WHERE NOT {held}
                 AND NOT EXISTS (SELECT FROM event b WHERE b.subject = e.subject AND b.seq < e.seq AND {earlier})
                 ORDER BY e.seq LIMIT $3))
             RETURNING seq, kind::bigint, level::bigint, subject"
        ))
        .await
        .map_err(sql)?;
    let most = i64::try_from(n).unwrap_or(i64::MAX);
    let rows = transaction.query(&statement, &[&node.0, &in_micros(time), &most]).await.map_err(sql)?;
    transaction.commit().await.map_err(sql)?;
    let mut events: Vec<Event> =
        rows.iter().map(|row| event(row.get(0), row.get(1), row.get(2), row.get(3))).collect::<Result<_>>()?;
    events.sort_by_key(|event| event.seq);
    Ok(events)
}

/// Forgets events that this process still holds, or lets go of them.
async fn settle(pool: &Pool, node: NodeId, delivered: &[i64], back: &[i64]) -> Result<()> {
    let client = pool::get(pool).await?;
    let forget = "DELETE FROM event WHERE seq = ANY ($1) AND taken_by = $2";
    client.execute(forget, &[&delivered, &node.0]).await.map_err(sql)?;
    if !back.is_empty() {
        let give = "UPDATE event SET taken_by = NULL, taken_until = 0 WHERE seq = ANY ($1) AND taken_by = $2";
        client.execute(give, &[&back, &node.0]).await.map_err(sql)?;
    }
    Ok(())
}

/// Whether a heart beat is due; if so, the next one counts from now.
async fn heart_beat(pool: &Pool, period: Duration) -> Result<bool> {
    let client = pool::get(pool).await?;
    let statement = format!("UPDATE listening SET beat_at = {NOW} WHERE beat_at + $1::bigint <= {NOW}");
    client.execute(&statement, &[&in_micros(period)]).await.map(|changed| changed > 0).map_err(sql)
}
