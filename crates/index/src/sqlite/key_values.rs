//! What scripts keep.

use super::batch::Batch;
use super::error::sql;
use model::Result;
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn get(conn: &Connection, store: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT value FROM key_value WHERE store = ?1 AND key = ?2")
        .and_then(|mut s| s.query_row(params![store, key], |r| r.get(0)).optional())
        .map_err(sql)
}

pub(super) fn put(batch: &mut Batch<'_>, store: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
    batch
        .conn
        .prepare_cached(
            "INSERT INTO key_value (store, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
        )
        .and_then(|mut s| s.execute(params![store, key, value]))
        .map(drop)
        .map_err(sql)
}

pub(super) fn delete(batch: &mut Batch<'_>, store: &[u8], key: &[u8]) -> Result<()> {
    batch
        .conn
        .prepare_cached("DELETE FROM key_value WHERE store = ?1 AND key = ?2")
        .and_then(|mut s| s.execute(params![store, key]))
        .map(drop)
        .map_err(sql)
}
