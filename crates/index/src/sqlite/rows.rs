//! Small questions about rows that several files ask.

use super::error::sql;
use model::{Error, ErrorKind, Level, OrthancId, Result};
use rusqlite::{Connection, OptionalExtension};

/// The internal id of a visible resource.
pub(super) fn resolve(conn: &Connection, level: Level, id: OrthancId) -> Result<Option<i64>> {
    let statement = match level {
        Level::Patient => "SELECT id FROM patient WHERE public_id = ?1 AND deleted = 0",
        Level::Study => "SELECT id FROM study WHERE public_id = ?1 AND deleted = 0",
        Level::Series => "SELECT id FROM series WHERE public_id = ?1 AND deleted = 0",
        Level::Instance => {
            "SELECT i.id FROM instance i CROSS JOIN series se ON se.id = i.series WHERE i.public_id = ?1 AND se.deleted = 0"
        }
    };
    conn.prepare_cached(statement).and_then(|mut s| s.query_row([id.0], |r| r.get(0)).optional()).map_err(sql)
}

/// The internal id of a resource that must be there.
///
/// # Errors
/// `UnknownResource`.
pub(super) fn expect(conn: &Connection, level: Level, id: OrthancId) -> Result<i64> {
    resolve(conn, level, id)?.ok_or_else(|| unknown(level, id))
}

pub(super) fn unknown(level: Level, id: OrthancId) -> Error {
    Error::new(ErrorKind::UnknownResource, format!("there is no {} with id {id}", level.name().to_lowercase()))
}

/// One resource on the way from a patient down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) level: Level,
    pub(super) row: i64,
    pub(super) id: OrthancId,
    pub(super) instances: i64,
}

/// The ancestors of a resource and itself, from the patient down.
pub(super) fn path(conn: &Connection, level: Level, row: i64) -> Result<Vec<Step>> {
    let statement = match level {
        Level::Patient => "SELECT id, public_id, instance_count FROM patient WHERE id = ?1",
        Level::Study => {
            "SELECT p.id, p.public_id, p.instance_count, st.id, st.public_id, st.instance_count
             FROM study st JOIN patient p ON p.id = st.patient WHERE st.id = ?1"
        }
        Level::Series => {
            "SELECT p.id, p.public_id, p.instance_count, st.id, st.public_id, st.instance_count,
             se.id, se.public_id, se.instance_count
             FROM series se JOIN study st ON st.id = se.study JOIN patient p ON p.id = st.patient WHERE se.id = ?1"
        }
        Level::Instance => {
            "SELECT p.id, p.public_id, p.instance_count, st.id, st.public_id, st.instance_count,
             se.id, se.public_id, se.instance_count, i.id, i.public_id, 1
             FROM instance i JOIN series se ON se.id = i.series JOIN study st ON st.id = se.study
             JOIN patient p ON p.id = st.patient WHERE i.id = ?1"
        }
    };
    conn.prepare_cached(statement)
        .and_then(|mut s| {
            s.query_row([row], |r| {
                let step = |l: Level| {
                    let at = l as usize * 3;
                    Ok(Step { level: l, row: r.get(at)?, id: OrthancId(r.get(at + 1)?), instances: r.get(at + 2)? })
                };
                Level::ALL[..=level as usize].iter().copied().map(step).collect()
            })
        })
        .map_err(sql)
}

/// The table of a level.
pub(super) fn table(level: Level) -> &'static str {
    ["patient", "study", "series", "instance"][level as usize]
}

/// Internal ids one level below, at most `limit` of them.
pub(super) fn children(conn: &Connection, level: Level, row: i64, limit: usize) -> Result<Vec<i64>> {
    let statement = match level {
        Level::Patient => "SELECT id FROM study WHERE patient = ?1 LIMIT ?2",
        Level::Study => "SELECT id FROM series WHERE study = ?1 LIMIT ?2",
        Level::Series => "SELECT id FROM instance WHERE series = ?1 LIMIT ?2",
        Level::Instance => return Ok(vec![]),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(statement).and_then(|mut s| s.query_map([row, limit], |r| r.get(0))?.collect()).map_err(sql)
}

/// Whether rows of deleted subtrees wait for the sweep, so that reads must look for them.
pub(super) fn any_hidden(conn: &Connection) -> Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM tombstone)").and_then(|mut s| s.query_row([], |r| r.get(0))).map_err(sql)
}

/// Visible resources behind an internal id, in its order.
pub(super) fn walk(conn: &Connection, level: Level, after: i64, limit: usize) -> Result<Vec<(i64, OrthancId)>> {
    let statement = match level {
        Level::Patient => "SELECT id, public_id FROM patient WHERE id > ?1 AND deleted = 0 ORDER BY id LIMIT ?2",
        Level::Study => "SELECT id, public_id FROM study WHERE id > ?1 AND deleted = 0 ORDER BY id LIMIT ?2",
        Level::Series => "SELECT id, public_id FROM series WHERE id > ?1 AND deleted = 0 ORDER BY id LIMIT ?2",
        Level::Instance => {
            "SELECT i.id, i.public_id FROM instance i CROSS JOIN series se ON se.id = i.series
             WHERE i.id > ?1 AND se.deleted = 0 ORDER BY i.id LIMIT ?2"
        }
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    conn.prepare_cached(statement)
        .and_then(|mut s| s.query_map([after, limit], |r| Ok((r.get(0)?, OrthancId(r.get(1)?))))?.collect())
        .map_err(sql)
}
