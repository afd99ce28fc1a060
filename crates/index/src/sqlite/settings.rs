//! Settings that all processes share. This index has one process, so each start forgets them.

use super::batch::Batch;
use super::error::sql;
use crate::text::clean;
use model::Result;
use model::ports::index::SettingsSnapshot;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

pub(super) fn all(conn: &Connection) -> Result<SettingsSnapshot> {
    let values = conn
        .prepare_cached("SELECT key, value FROM setting")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(sql)?;
    let version = conn
        .prepare_cached("SELECT value FROM counter WHERE name = 'settings'")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)?;
    Ok(SettingsSnapshot { version, values })
}

pub(super) fn set(batch: &mut Batch<'_>, key: &str, value: &str) -> Result<i64> {
    put(batch, key, value, None)?;
    next_version(batch)
}

pub(super) fn seed(batch: &mut Batch<'_>, configured: &BTreeMap<String, String>) -> Result<()> {
    for (key, seeded) in configured {
        put(batch, key, "", Some(seeded))?;
    }
    next_version(batch).map(|_| ())
}

fn put(batch: &mut Batch<'_>, key: &str, value: &str, seeded: Option<&str>) -> Result<()> {
    batch
        .conn
        .prepare_cached(
            "INSERT INTO setting (key, value, seeded) VALUES (?1, ?2, ?3)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, seeded = ifnull(excluded.seeded, seeded)",
        )
        .and_then(|mut s| s.execute(params![clean(key), clean(value), seeded.map(clean)]))
        .map_err(sql)?;
    Ok(())
}

fn next_version(batch: &mut Batch<'_>) -> Result<i64> {
    batch
        .conn
        .prepare_cached("UPDATE counter SET value = value + 1 WHERE name = 'settings' RETURNING value")
        .and_then(|mut s| s.query_row([], |r| r.get(0)))
        .map_err(sql)
}
