//! The change feed and the log of exports.

use super::batch::{Batch, last_seq};
use super::error::sql;
use super::rows;
use crate::text::clean;
use model::{Change, ChangeType, ChangesPage, ChangesRequest, Exported, ExportsPage, Level, OrthancId, Result, time};
use rusqlite::{Connection, Row, params_from_iter};
use std::time::{Duration, UNIX_EPOCH};

/// Rows of deleted subtrees that the sweep did not reach yet.
const VISIBLE: &str = " AND CASE level
    WHEN 0 THEN EXISTS (SELECT 1 FROM patient r WHERE r.id = resource AND r.deleted = 0)
    WHEN 1 THEN EXISTS (SELECT 1 FROM study r WHERE r.id = resource AND r.deleted = 0)
    WHEN 2 THEN EXISTS (SELECT 1 FROM series r WHERE r.id = resource AND r.deleted = 0)
    ELSE EXISTS (SELECT 1 FROM instance r CROSS JOIN series s ON s.id = r.series WHERE r.id = resource AND s.deleted = 0) END";

/// The condition that hides them, if there are any.
fn visible(conn: &Connection) -> Result<&'static str> {
    Ok(if rows::any_hidden(conn)? { VISIBLE } else { "" })
}

/// The statement of a page: one range of `seq` for each type, merged, so that rare types are found without reading the others.
pub(super) fn changes_sql(request: &ChangesRequest, visible: &str) -> (String, Vec<i64>) {
    let direction = if request.to.is_some() { "DESC" } else { "ASC" };
    let columns = "seq, type, level, public_id, at";
    let mut values = vec![request.since, request.to.unwrap_or(i64::MAX), i64::from(request.limit) + 1];
    let range = format!("seq > ?1 AND seq <= ?2{visible} ORDER BY seq {direction} LIMIT ?3");
    let mut kinds = request.kinds.clone();
    kinds.sort_unstable_by_key(|k| *k as u16);
    kinds.dedup();
    if kinds.is_empty() {
        return (format!("SELECT {columns} FROM change WHERE {range}"), values);
    }
    let parts: Vec<String> = kinds
        .iter()
        .map(|kind| {
            values.push(i64::from(*kind as u16));
            format!(
                "SELECT * FROM (SELECT {columns} FROM change INDEXED BY change_type WHERE type = ?{} AND {range})",
                values.len()
            )
        })
        .collect();
    let statement = match parts.as_slice() {
        [one] => one.clone(),
        many => format!("SELECT * FROM ({}) ORDER BY seq {direction} LIMIT ?3", many.join(" UNION ALL ")),
    };
    (statement, values)
}

/// A page of changes.
pub(super) fn changes(conn: &Connection, request: &ChangesRequest) -> Result<ChangesPage> {
    let (statement, values) = changes_sql(request, visible(conn)?);
    let mut changes: Vec<Change> = conn
        .prepare_cached(&statement)
        .and_then(|mut s| s.query_map(params_from_iter(values), change)?.collect())
        .map_err(sql)?;
    let done = changes.len() <= request.limit as usize;
    changes.truncate(request.limit as usize);
    if request.to.is_some() {
        changes.reverse();
    }
    Ok(ChangesPage { changes, done, last_seq: last_seq(conn)? })
}

/// The newest change that is still listed.
pub(super) fn last_change(conn: &Connection) -> Result<ChangesPage> {
    let request = ChangesRequest { since: 0, to: Some(i64::MAX), limit: 1, kinds: vec![] };
    Ok(ChangesPage { done: true, ..changes(conn, &request)? })
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let kind = row.get::<_, u16>(1)?;
    Ok(Change {
        seq: row.get(0)?,
        kind: ChangeType::from_number(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(1, kind.into()))?,
        level: level_column(row, 2)?,
        id: OrthancId(row.get(3)?),
        date: iso(row.get(4)?),
    })
}

fn level_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Level> {
    let number = row.get::<_, u8>(column)?;
    Level::ALL.get(usize::from(number)).copied().ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number.into()))
}

/// Orthanc's text form of seconds since 1970.
pub(super) fn iso(seconds: i64) -> String {
    time::iso(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Appends a change of a resource that must be there.
pub(super) fn append_change(batch: &mut Batch<'_>, kind: ChangeType, level: Level, id: OrthancId) -> Result<()> {
    let row = rows::expect(batch.conn, level, id)?;
    batch.change(kind, level, row, id)
}

/// Empties the feed.
pub(super) fn clear_changes(batch: &mut Batch<'_>) -> Result<()> {
    batch.flush()?;
    batch.conn.execute("DELETE FROM change", []).map_err(sql)?;
    Ok(())
}

/// Appends a line to the log of exports.
pub(super) fn append_export(batch: &mut Batch<'_>, export: &Exported) -> Result<()> {
    let Exported { remote, date, patient_id, study_uid, series_uid, sop_uid, .. } = export;
    let [remote, date, patient_id, study_uid, series_uid, sop_uid] =
        [remote, date, patient_id, study_uid, series_uid, sop_uid].map(|t| clean(t));
    batch
        .conn
        .prepare_cached(
            "INSERT INTO export_log (level, public_id, remote, date, patient_id, study_uid, series_uid, sop_uid)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut s| {
            let id = export.id.0;
            s.execute(rusqlite::params![export.level as u8, id, remote, date, patient_id, study_uid, series_uid, sop_uid])
        })
        .map_err(sql)?;
    Ok(())
}

const EXPORT: &str = "SELECT seq, level, public_id, remote, date, patient_id, study_uid, series_uid, sop_uid FROM export_log";

fn export(row: &Row<'_>) -> rusqlite::Result<Exported> {
    Ok(Exported {
        seq: row.get(0)?,
        level: level_column(row, 1)?,
        id: OrthancId(row.get(2)?),
        remote: row.get(3)?,
        date: row.get(4)?,
        patient_id: row.get(5)?,
        study_uid: row.get(6)?,
        series_uid: row.get(7)?,
        sop_uid: row.get(8)?,
    })
}

/// Exports after `since`.
pub(super) fn exports(conn: &Connection, since: i64, limit: u32) -> Result<ExportsPage> {
    let mut exports: Vec<Exported> = conn
        .prepare_cached(&format!("{EXPORT} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))
        .and_then(|mut s| s.query_map([since, i64::from(limit) + 1], export)?.collect())
        .map_err(sql)?;
    let done = exports.len() <= limit as usize;
    exports.truncate(limit as usize);
    Ok(ExportsPage { exports, done })
}

/// The newest export.
pub(super) fn last_export(conn: &Connection) -> Result<ExportsPage> {
    let exports = conn
        .prepare_cached(&format!("{EXPORT} ORDER BY seq DESC LIMIT 1"))
        .and_then(|mut s| s.query_map([], export)?.collect())
        .map_err(sql)?;
    Ok(ExportsPage { exports, done: true })
}

/// Empties the log of exports.
pub(super) fn clear_exports(batch: &mut Batch<'_>) -> Result<()> {
    batch.conn.execute("DELETE FROM export_log", []).map_err(sql)?;
    Ok(())
}
