//! Room for what is stored next: patients go that are in the way. The writer is the only one that makes room.

use super::batch::Batch;
use super::delete;
use super::error::sql;
use model::{Level, OrthancId, Quota, Result, StorageMode};
use rusqlite::{OptionalExtension, params};

/// What a writer is about to add.
pub(super) struct Addition {
    /// Of this patient, who stays.
    pub(super) patient: OrthancId,
    /// Whether the patient is not there yet.
    pub(super) is_new: bool,
    pub(super) stored_bytes: u64,
}

/// Makes room within the quota. How many patients went.
///
/// # Errors
/// `StorageFull`; patients may be gone by then, in a transaction that is undone.
pub(super) fn make_room(batch: &mut Batch<'_>, quota: &Quota, new: &Addition) -> Result<u32> {
    let mut recycled = 0;
    loop {
        let (bytes, patients) = batch.stored()?;
        if quota.allows(bytes.saturating_add(new.stored_bytes), patients + u64::from(new.is_new)) {
            return Ok(recycled);
        }
        if quota.mode == StorageMode::Reject {
            return Err(quota.exceeded());
        }
        // What this batch stored must be in the rows.
        batch.flush()?;
        let victim = victim(batch, new.patient)?.ok_or_else(|| quota.exceeded())?;
        delete::delete(batch, Level::Patient, victim)?;
        recycled += 1;
    }
}

/// The statement of [`victim`].
pub(super) const VICTIM: &str =
    "SELECT public_id FROM patient WHERE deleted = 0 AND protected = 0 AND public_id <> ?1 ORDER BY recycle_at LIMIT 1";

/// The patient that goes next.
fn victim(batch: &Batch<'_>, stays: OrthancId) -> Result<Option<OrthancId>> {
    batch
        .conn
        .prepare_cached(VICTIM)
        .and_then(|mut s| s.query_row(params![stays.0], |r| r.get(0)).optional())
        .map(|found| found.map(OrthancId))
        .map_err(sql)
}
