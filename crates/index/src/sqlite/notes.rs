//! Notes that stay.

use super::batch::Batch;
use super::error::sql;
use crate::text::definition;
use model::Result;
use model::ports::index::Note;
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn read(conn: &Connection, name: &str) -> Result<Note> {
    let found: Option<(i64, String)> = conn
        .prepare_cached("SELECT version, value FROM note WHERE name = ?1")
        .and_then(|mut s| s.query_row([name], |r| Ok((r.get(0)?, r.get(1)?))).optional())
        .map_err(sql)?;
    let Some((version, text)) = found else { return Ok(Note::default()) };
    Ok(Note { version, value: definition(name, &text)? })
}

/// Writes a note of this version; 0: one that is not there.
pub(super) fn put(batch: &mut Batch<'_>, name: &str, version: i64, value: &str) -> Result<bool> {
    let statement = match version {
        0 => "INSERT INTO note (name, version, value) VALUES (?1, ?2 + 1, ?3) ON CONFLICT (name) DO NOTHING",
        _ => "UPDATE note SET version = version + 1, value = ?3 WHERE name = ?1 AND version = ?2",
    };
    let changed = batch.conn.prepare_cached(statement).and_then(|mut s| s.execute(params![name, version, value])).map_err(sql)?;
    Ok(changed == 1)
}
