//! Stability, and rows of deleted resources.

use super::readers::query;
use super::rows::{table, unknown, visible};
use super::store::Stores;
use super::writer::write;
use deadpool_postgres::Pool;
use model::ports::index::Stability;
use model::{ChangeType, Level, OrthancId, Result};

/// Resources of one level that one transaction makes stable.
const DUE: i32 = 500;
/// Rows that one sweep removes.
const SWEEP: i32 = 500;

/// Whether there is anything to do for the sweeps: asked often, and answered from indexes that are nearly empty.
pub(super) const WORK: &str = "SELECT EXISTS (SELECT FROM series WHERE NOT is_stable AND stable_at <= t.now)
        OR EXISTS (SELECT FROM study WHERE NOT is_stable AND stable_at <= t.now)
        OR EXISTS (SELECT FROM patient WHERE NOT is_stable AND stable_at <= t.now)
    FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) t (now)";

/// Makes all due resources stable. How many.
pub(super) async fn sweep_stability(pool: &Pool) -> Result<u64> {
    let mut total = 0;
    if query(pool, WORK, &[]).await?.first().is_none_or(|row| !row.get::<_, bool>(0)) {
        return Ok(0);
    }
    loop {
        let rows = write(pool, "SELECT total, more FROM stable_1($1)", &[&DUE]).await?;
        let (swept, more): (i64, bool) = rows.first().map_or((0, false), |row| (row.get(0), row.get(1)));
        total += swept.unsigned_abs();
        if !more {
            return Ok(total);
        }
    }
}

/// Makes a resource stable or not. Whether it was in the other state.
pub(super) async fn set_stability(stores: &Stores, level: Level, id: OrthancId, to: Stability) -> Result<bool> {
    let event = ChangeType::stable(level).ok_or_else(|| unknown(level, id))?;
    let statement = format!(
        "WITH found AS MATERIALIZED (
             SELECT t.id, t.is_stable FROM {table} t WHERE t.public_id = $1 AND {visible} FOR NO KEY UPDATE OF t
         ), done AS MATERIALIZED (
             UPDATE {table} t SET is_stable = $2, stable_at = CASE WHEN $2 THEN t.stable_at
                 ELSE floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3 END
             FROM found f WHERE t.id = f.id RETURNING t.id, t.public_id, f.is_stable
         ) SELECT is_stable <> $2, (
             SELECT count(*) FROM (
                 SELECT change_1(ARRAY[$4::int2], ARRAY[$5::int2], ARRAY[n.id], ARRAY[n.public_id])
                 FROM done n WHERE $2 AND NOT n.is_stable
             ) c
         ) FROM done",
        table = table(level),
        visible = visible(level)
    );
    let (stable, event, number) = (to == Stability::Stable, event as i16, level as i16);
    let rows = write(&stores.pool, &statement, &[&id.0.as_slice(), &stable, &stores.stable_age_ms(), &event, &number]).await?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| unknown(level, id))
}

/// Removes some rows of deleted subtrees. Whether more remain.
pub(super) async fn sweep_tombstones(pool: &Pool) -> Result<bool> {
    if query(pool, "SELECT FROM tombstone LIMIT 1", &[]).await?.is_empty() {
        return Ok(false);
    }
    let rows = write(pool, "SELECT sweep_1($1)", &[&SWEEP]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
