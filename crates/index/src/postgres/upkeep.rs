//! Stability, and rows of deleted resources.

use super::readers::query;
use super::writer::write;
use deadpool_postgres::Pool;
use model::Result;

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

/// Removes some rows of deleted subtrees. Whether more remain.
pub(super) async fn sweep_tombstones(pool: &Pool) -> Result<bool> {
    if query(pool, "SELECT FROM tombstone LIMIT 1", &[]).await?.is_empty() {
        return Ok(false);
    }
    let rows = write(pool, "SELECT sweep_1($1)", &[&SWEEP]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}
