//! Deletion: `delete_1` does it in one transaction, at once for what is small, with a tombstone for what is large.

use super::rows::{self, unknown};
use super::store::Stores;
use super::writer::write;
use model::ports::index::Deleted;
use model::{Level, OrthancId, Result};

/// Subtrees with at most so many instances are removed by the deleting transaction itself.
pub(super) const AT_ONCE: i64 = 500;

/// Deletes a resource with all below it, and the ancestors that it leaves empty.
pub(super) async fn delete(stores: &Stores, level: Level, id: OrthancId) -> Result<Deleted> {
    let statement = "SELECT there, remaining_level::int2, remaining_id FROM delete_1($1, $2, $3, $4)";
    let rows = write(&stores.pool, statement, &[&(level as i32), &id.0.as_slice(), &stores.shard, &AT_ONCE]).await?;
    let row = rows.first().filter(|row| row.get(0)).ok_or_else(|| unknown(level, id))?;
    let remaining = match row.get::<_, Option<i16>>(1) {
        Some(number) => Some((rows::level(number)?, rows::public_id(row, 2)?)),
        None => None,
    };
    Ok(Deleted { remaining })
}
