//! Names of blobs that are reserved before they are written (architecture, decision 3).
//!
//! A block of names is one row: the first 14 bytes of a random UUID, and one bit per name. The number of a name is in the last
//! two bytes. The transaction that commits a row with a blob sets the name's bit; what an ended process left unset is an orphan.
//! So a store costs no row of its own: the bits of a block are written once per transaction.

use super::batch::{Batch, now_ms};
use super::error::sql;
use crate::names::{BLOCK, Prefix, name, split};
use model::{AttachmentId, Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// The settled bits of one block.
struct Bits {
    names: usize,
    settled: Vec<u8>,
    changed: bool,
}

impl Bits {
    fn is_set(&self, number: usize) -> bool {
        self.settled.get(number / 8).is_none_or(|byte| byte >> (number % 8) & 1 == 1)
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.names).filter(|n| !self.is_set(*n))
    }
}

/// The blocks that a transaction touched.
#[derive(Default)]
pub(super) struct Intents {
    blocks: HashMap<Prefix, Option<Bits>>,
}

impl Intents {
    fn block(&mut self, conn: &Connection, node: &[u8; 16], prefix: Prefix) -> Result<Option<&mut Bits>> {
        if let std::collections::hash_map::Entry::Vacant(entry) = self.blocks.entry(prefix) {
            let bits = conn
                .prepare_cached("SELECT names, settled FROM blob_intent WHERE prefix = ?1 AND node = ?2")
                .and_then(|mut s| {
                    s.query_row(params![prefix, node], |r| Ok(Bits { names: r.get(0)?, settled: r.get(1)?, changed: false }))
                        .optional()
                })
                .map_err(sql)?;
            entry.insert(bits);
        }
        Ok(self.blocks.get_mut(&prefix).and_then(Option::as_mut))
    }

    /// # Errors
    /// `Busy` if the name was never reserved by this process, or is settled already.
    pub(super) fn check(&mut self, conn: &Connection, node: &[u8; 16], blob: AttachmentId) -> Result<()> {
        let (prefix, number) = split(blob);
        match self.block(conn, node, prefix)? {
            Some(bits) if number < bits.names && !bits.is_set(number) => Ok(()),
            _ => Err(Error::new(ErrorKind::Busy, format!("the blob {blob} is not reserved any more"))),
        }
    }

    /// Marks a name as used or given back, if it is not yet.
    pub(super) fn settle(&mut self, conn: &Connection, node: &[u8; 16], blob: AttachmentId) -> Result<()> {
        let (prefix, number) = split(blob);
        if let Some(bits) = self.block(conn, node, prefix)?
            && let Some(byte) = bits.settled.get_mut(number / 8)
        {
            *byte |= 1 << (number % 8);
            bits.changed = true;
        }
        Ok(())
    }

    /// Writes the bits. A block without open names goes.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<()> {
        for (prefix, bits) in &mut self.blocks {
            let Some(bits) = bits.as_mut().filter(|b| b.changed) else { continue };
            bits.changed = false;
            if bits.open().next().is_some() {
                conn.prepare_cached("UPDATE blob_intent SET settled = ?2 WHERE prefix = ?1")
                    .and_then(|mut s| s.execute(params![prefix, bits.settled]))
            } else {
                conn.prepare_cached("DELETE FROM blob_intent WHERE prefix = ?1").and_then(|mut s| s.execute(params![prefix]))
            }
            .map_err(sql)?;
        }
        self.blocks.clear();
        Ok(())
    }
}

/// Reserves `n` names for this process.
pub(super) fn reserve(batch: &mut Batch<'_>, n: usize) -> Result<Vec<AttachmentId>> {
    let mut reserved = Vec::with_capacity(n.min(BLOCK));
    while reserved.len() < n {
        let names = (n - reserved.len()).min(BLOCK);
        let (prefix, _) = split(AttachmentId::random());
        batch
            .conn
            .prepare_cached("INSERT INTO blob_intent (prefix, node, names, settled) VALUES (?1, ?2, ?3, zeroblob(?4))")
            .and_then(|mut s| s.execute(params![prefix, batch.node, names as i64, names.div_ceil(8) as i64]))
            .map_err(sql)?;
        reserved.extend((0..names).map(|number| name(&prefix, number)));
    }
    Ok(reserved)
}

/// Gives names back.
pub(super) fn release(batch: &mut Batch<'_>, blobs: &[AttachmentId]) -> Result<()> {
    let Batch { intents, conn, node, .. } = batch;
    blobs.iter().try_for_each(|blob| intents.settle(conn, node, *blob))
}

/// Puts names that are still open on the deletion list.
pub(super) fn abandon(batch: &mut Batch<'_>, blobs: &[AttachmentId]) -> Result<()> {
    let Batch { intents, conn, node, .. } = batch;
    for blob in blobs {
        if intents.check(conn, node, *blob).is_ok() {
            intents.settle(conn, node, *blob)?;
            discard(conn, *blob)?;
        }
    }
    Ok(())
}

/// Puts the open names of ended processes on the deletion list and forgets their blocks.
pub(super) fn sweep(batch: &mut Batch<'_>) -> Result<u64> {
    let conn = batch.conn;
    let mut statement = conn.prepare_cached("SELECT prefix, names, settled FROM blob_intent WHERE node <> ?1").map_err(sql)?;
    let blocks = statement
        .query_map(params![batch.node], |r| {
            Ok((r.get::<_, Prefix>(0)?, Bits { names: r.get(1)?, settled: r.get(2)?, changed: false }))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(sql)?;
    let mut orphans = 0;
    for (prefix, bits) in blocks {
        for number in bits.open() {
            discard(conn, name(&prefix, number))?;
            orphans += 1;
        }
        conn.prepare_cached("DELETE FROM blob_intent WHERE prefix = ?1")
            .and_then(|mut s| s.execute(params![prefix]))
            .map_err(sql)?;
    }
    Ok(orphans)
}

/// Puts a blob that no row refers to any more on the deletion list.
pub(super) fn discard(conn: &Connection, blob: AttachmentId) -> Result<()> {
    conn.prepare_cached("INSERT OR IGNORE INTO deleted_blob (blob) VALUES (?1)")
        .and_then(|mut s| s.execute([blob.0.as_bytes().as_slice()]))
        .map_err(sql)?;
    Ok(())
}

/// Up to `limit` blobs that have been on the deletion list for `age_ms` at least.
pub(super) fn deleted(conn: &Connection, limit: usize, age_ms: i64) -> Result<Vec<AttachmentId>> {
    let latest = now_ms(conn)?.saturating_sub(age_ms);
    conn.prepare_cached("SELECT blob FROM deleted_blob WHERE deleted_at <= ?2 LIMIT ?1")
        .and_then(|mut s| s.query_map([limit as i64, latest], |r| blob_column(r, 0))?.collect())
        .map_err(sql)
}

/// How many blobs are on the deletion list.
pub(super) fn count_deleted(conn: &Connection) -> Result<u64> {
    conn.prepare_cached("SELECT count(*) FROM deleted_blob").and_then(|mut s| s.query_row([], |r| r.get(0))).map_err(sql)
}

/// Removes blobs from the deletion list.
pub(super) fn forget(conn: &Connection, blobs: &[AttachmentId]) -> Result<()> {
    let mut statement = conn.prepare_cached("DELETE FROM deleted_blob WHERE blob = ?1").map_err(sql)?;
    for blob in blobs {
        statement.execute([blob.0.as_bytes().as_slice()]).map_err(sql)?;
    }
    Ok(())
}

/// Reads a blob's name.
pub(super) fn blob_column(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<AttachmentId> {
    Ok(AttachmentId(uuid::Uuid::from_bytes(row.get::<_, [u8; 16]>(column)?)))
}
