//! Stability.

use super::batch::Batch;
use super::error::sql;
use super::rows::{self, table, unknown};
use model::ports::index::Stability;
use model::{ChangeType, Level, OrthancId, Result};
use rusqlite::params;

/// Resources of one level that one transaction makes stable.
const DUE: usize = 500;

/// Makes some due resources stable. How many, and whether more are due.
pub(super) fn sweep_stability(batch: &mut Batch<'_>) -> Result<(u64, bool)> {
    // Deadlines that neighbours in this batch move must be in the rows.
    batch.flush()?;
    let (mut total, mut more) = (0, false);
    for level in [Level::Series, Level::Study, Level::Patient] {
        let Some(event) = ChangeType::stable(level) else { continue };
        let due: Vec<(i64, OrthancId)> = batch
            .conn
            .prepare_cached(&due_sql(level))
            .and_then(|mut s| {
                s.query_map(params![batch.now_ms, DUE as i64], |r| Ok((r.get(0)?, OrthancId(r.get(1)?))))?.collect()
            })
            .map_err(sql)?;
        more |= due.len() == DUE;
        for (row, id) in due {
            batch
                .conn
                .prepare_cached(&format!("UPDATE {} SET stable_at = NULL WHERE id = ?1", table(level)))
                .and_then(|mut s| s.execute([row]))
                .map_err(sql)?;
            batch.change(event, level, row, id)?;
            total += 1;
        }
    }
    Ok((total, more))
}

/// Resources whose quiet period is over, the longest waiting first.
pub(super) fn due_sql(level: Level) -> String {
    let table = table(level);
    format!("SELECT id, public_id FROM {table} WHERE stable_at IS NOT NULL AND stable_at <= ?1 ORDER BY stable_at LIMIT ?2")
}

/// Makes a resource stable or not. Whether it was in the other state.
pub(super) fn set_stability(batch: &mut Batch<'_>, level: Level, id: OrthancId, to: Stability) -> Result<bool> {
    let event = ChangeType::stable(level).ok_or_else(|| unknown(level, id))?;
    let row = rows::expect(batch.conn, level, id)?;
    // A deadline that a neighbour in this batch moves must be in the row.
    batch.flush()?;
    let table = table(level);
    let was_stable: bool = batch
        .conn
        .prepare_cached(&format!("SELECT stable_at IS NULL FROM {table} WHERE id = ?1"))
        .and_then(|mut s| s.query_row([row], |r| r.get(0)))
        .map_err(sql)?;
    let stable_at = (to == Stability::Unstable).then(|| batch.stable_at());
    batch
        .conn
        .prepare_cached(&format!("UPDATE {table} SET stable_at = ?2 WHERE id = ?1"))
        .and_then(|mut s| s.execute(params![row, stable_at]))
        .map_err(sql)?;
    let changed = was_stable == (to == Stability::Unstable);
    if changed && to == Stability::Stable {
        batch.change(event, level, row, id)?;
    }
    Ok(changed)
}
