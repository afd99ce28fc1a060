//! Remote servers.

use super::batch::Batch;
use super::error::sql;
use crate::text::definition;
use model::Result;
use model::ports::index::RemoteKind;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn all(conn: &Connection, kind: RemoteKind) -> Result<BTreeMap<String, Value>> {
    let mut statement =
        conn.prepare_cached("SELECT name, definition FROM remote WHERE kind = ?1 AND definition IS NOT NULL").map_err(sql)?;
    let rows = statement
        .query_map([kind.name()], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(sql)?;
    rows.into_iter().map(|(name, text)| definition(&name, &text).map(|d| (name, d))).collect()
}

pub(super) fn one(conn: &Connection, kind: RemoteKind, name: &str) -> Result<Option<Value>> {
    let text: Option<String> = conn
        .prepare_cached("SELECT definition FROM remote WHERE kind = ?1 AND name = ?2 AND definition IS NOT NULL")
        .and_then(|mut s| s.query_row([kind.name(), name], |r| r.get(0)).optional())
        .map_err(sql)?;
    text.map(|text| definition(name, &text)).transpose()
}

pub(super) fn put(batch: &mut Batch<'_>, kind: RemoteKind, name: &str, definition: &str) -> Result<()> {
    execute(
        batch.conn,
        "INSERT INTO remote (kind, name, definition) VALUES (?1, ?2, ?3)
         ON CONFLICT (kind, name) DO UPDATE SET definition = excluded.definition",
        params![kind.name(), name, definition],
    )
    .map(|_| ())
}

pub(super) fn delete(batch: &mut Batch<'_>, kind: RemoteKind, name: &str) -> Result<bool> {
    let key = params![kind.name(), name];
    let own = execute(batch.conn, "DELETE FROM remote WHERE kind = ?1 AND name = ?2 AND seeded IS NULL", key)?;
    let configured =
        execute(batch.conn, "UPDATE remote SET definition = NULL WHERE kind = ?1 AND name = ?2 AND definition IS NOT NULL", key)?;
    Ok(own + configured > 0)
}

pub(super) fn seed(batch: &mut Batch<'_>, kind: RemoteKind, configured: &BTreeMap<String, Value>) -> Result<()> {
    let conn = batch.conn;
    for (name, definition) in configured {
        execute(
            conn,
            "INSERT INTO remote (kind, name, definition, seeded) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT (kind, name) DO UPDATE SET definition = excluded.definition, seeded = excluded.seeded
             WHERE seeded IS NOT excluded.seeded",
            params![kind.name(), name, definition.to_string()],
        )?;
    }
    let seeded: Vec<String> = conn
        .prepare_cached("SELECT name FROM remote WHERE kind = ?1 AND seeded IS NOT NULL")
        .and_then(|mut s| s.query_map([kind.name()], |r| r.get(0))?.collect())
        .map_err(sql)?;
    for gone in seeded.iter().filter(|name| !configured.contains_key(*name)) {
        let key = params![kind.name(), gone];
        execute(conn, "DELETE FROM remote WHERE kind = ?1 AND name = ?2 AND (definition IS NULL OR definition = seeded)", key)?;
        execute(conn, "UPDATE remote SET seeded = NULL WHERE kind = ?1 AND name = ?2", key)?;
    }
    Ok(())
}

fn execute(conn: &Connection, statement: &str, values: &[&dyn rusqlite::ToSql]) -> Result<usize> {
    conn.prepare_cached(statement).and_then(|mut s| s.execute(values)).map_err(sql)
}
