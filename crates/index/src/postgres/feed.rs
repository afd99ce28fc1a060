//! The change feed and the log of exports.

use super::readers::{query, query_typed};
use super::rows::{self, table, unknown, visible};
use super::writer::write;
use crate::text::clean;
use deadpool_postgres::Pool;
use model::{
    Change, ChangeType, ChangesPage, ChangesRequest, Error, ErrorKind, Exported, ExportsPage, Level, OrthancId, Result, time,
};
use std::time::{Duration, UNIX_EPOCH};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Hides rows of deleted subtrees that the sweep did not reach yet, if there are any.
const VISIBLE: &str = " AND (NOT EXISTS (SELECT FROM tombstone) OR CASE c.level
    WHEN 0 THEN EXISTS (SELECT FROM patient r WHERE r.id = c.resource AND r.deleted = 0)
    WHEN 1 THEN EXISTS (SELECT FROM study r WHERE r.id = c.resource AND r.deleted = 0)
    WHEN 2 THEN EXISTS (SELECT FROM series r WHERE r.id = c.resource AND r.deleted = 0)
    ELSE EXISTS (SELECT FROM instance r JOIN series s ON s.id = r.series WHERE r.id = c.resource AND s.deleted = 0) END)";

/// The statement of a page: one range of `seq` for each type, merged, so that rare types are found without reading the others. The newest
/// number ever comes with each row, of the same snapshot.
pub(super) fn changes_sql(request: &ChangesRequest) -> (String, [i64; 3]) {
    let direction = if request.to.is_some() { "DESC" } else { "ASC" };
    let values = [request.since, request.to.unwrap_or(i64::MAX), i64::from(request.limit) + 1];
    let range = format!("c.seq > $1 AND c.seq <= $2{VISIBLE} ORDER BY c.seq {direction} LIMIT $3");
    let mut kinds = request.kinds.clone();
    kinds.sort_unstable_by_key(|k| *k as u16);
    kinds.dedup();
    let parts: Vec<String> =
        kinds.iter().map(|kind| format!("(SELECT c.* FROM change c WHERE c.type = {} AND {range})", *kind as u16)).collect();
    let page = match parts.as_slice() {
        [] => format!("SELECT c.* FROM change c WHERE {range}"),
        many => format!("SELECT * FROM ({}) k ORDER BY k.seq {direction} LIMIT $3", many.join(" UNION ALL ")),
    };
    let statement = format!(
        "SELECT n.value, d.seq, d.type, d.level, d.public_id, d.at FROM counter n LEFT JOIN ({page}) d ON true
         WHERE n.name = 'change' ORDER BY d.seq {direction}"
    );
    (statement, values)
}

/// A page of changes.
pub(super) async fn changes(pool: &Pool, request: &ChangesRequest) -> Result<ChangesPage> {
    let (statement, [since, to, limit]) = changes_sql(request);
    let rows = query_typed(pool, &statement, &[Type::INT8, Type::INT8, Type::INT8], &[&since, &to, &limit]).await?;
    let last_seq = rows.first().map_or(0, |row| row.get(0));
    let lines = rows.iter().filter(|row| row.get::<_, Option<i64>>(1).is_some());
    let mut changes: Vec<Change> = lines.map(change).collect::<Result<_>>()?;
    let done = changes.len() <= request.limit as usize;
    changes.truncate(request.limit as usize);
    if request.to.is_some() {
        changes.reverse();
    }
    Ok(ChangesPage { changes, done, last_seq })
}

/// The newest change that is still listed.
pub(super) async fn last_change(pool: &Pool) -> Result<ChangesPage> {
    let request = ChangesRequest { since: 0, to: Some(i64::MAX), limit: 1, kinds: vec![] };
    Ok(ChangesPage { done: true, ..changes(pool, &request).await? })
}

fn change(row: &Row) -> Result<Change> {
    let number: i16 = row.get(2);
    let kind = u16::try_from(number).ok().and_then(ChangeType::from_number);
    Ok(Change {
        seq: row.get(1),
        kind: kind.ok_or_else(|| Error::new(ErrorKind::Database, format!("there is no change of type {number}")))?,
        level: rows::level(row.get(3))?,
        id: rows::public_id(row, 4)?,
        date: iso(row.get(5)),
    })
}

/// Orthanc's text form of seconds since 1970.
pub(super) fn iso(seconds: i64) -> String {
    time::iso(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Appends a change of a resource that must be there. The lock keeps a deletion from missing the new line.
pub(super) async fn append_change(pool: &Pool, kind: ChangeType, level: Level, id: OrthancId) -> Result<()> {
    let statement = format!(
        "WITH own AS MATERIALIZED (SELECT t.id, t.public_id FROM {} t WHERE t.public_id = $1 AND {} FOR NO KEY UPDATE OF t)
         SELECT count(*) FROM (SELECT change_1(ARRAY[$2::int2], ARRAY[$3::int2], ARRAY[own.id], ARRAY[own.public_id]) FROM own) c",
        table(level),
        visible(level)
    );
    let rows = write(pool, &statement, &[&id.0.as_slice(), &(kind as i16), &(level as i16)]).await?;
    if rows.first().is_some_and(|row| row.get::<_, i64>(0) > 0) { Ok(()) } else { Err(unknown(level, id)) }
}

/// Empties the feed.
pub(super) async fn clear_changes(pool: &Pool) -> Result<()> {
    write(pool, "DELETE FROM change", &[]).await.map(|_| ())
}

/// Appends a line to the log of exports.
pub(super) async fn append_export(pool: &Pool, export: &Exported) -> Result<()> {
    let Exported { remote, date, patient_id, study_uid, series_uid, sop_uid, .. } = export;
    let [remote, date, patient_id, study_uid, series_uid, sop_uid] =
        [remote, date, patient_id, study_uid, series_uid, sop_uid].map(|t| clean(t));
    let statement = "INSERT INTO export_log (level, public_id, remote, date, patient_id, study_uid, series_uid, sop_uid)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (level, id) = (export.level as i16, export.id.0.as_slice());
    write(pool, statement, &[&level, &id, &remote, &date, &patient_id, &study_uid, &series_uid, &sop_uid]).await.map(|_| ())
}

const EXPORT: &str = "SELECT seq, level, public_id, remote, date, patient_id, study_uid, series_uid, sop_uid FROM export_log";

fn export(row: &Row) -> Result<Exported> {
    Ok(Exported {
        seq: row.get(0),
        level: rows::level(row.get(1))?,
        id: rows::public_id(row, 2)?,
        remote: row.get(3),
        date: row.get(4),
        patient_id: row.get(5),
        study_uid: row.get(6),
        series_uid: row.get(7),
        sop_uid: row.get(8),
    })
}

/// Exports after `since`.
pub(super) async fn exports(pool: &Pool, since: i64, limit: u32) -> Result<ExportsPage> {
    let statement = format!("{EXPORT} WHERE seq > $1 ORDER BY seq LIMIT $2");
    let rows = query(pool, &statement, &[&since, &(i64::from(limit) + 1)]).await?;
    let mut exports = rows.iter().map(export).collect::<Result<Vec<_>>>()?;
    let done = exports.len() <= limit as usize;
    exports.truncate(limit as usize);
    Ok(ExportsPage { exports, done })
}

/// The newest export.
pub(super) async fn last_export(pool: &Pool) -> Result<ExportsPage> {
    let rows = query(pool, &format!("{EXPORT} ORDER BY seq DESC LIMIT 1"), &[]).await?;
    Ok(ExportsPage { exports: rows.iter().map(export).collect::<Result<_>>()?, done: true })
}

/// Empties the log of exports.
pub(super) async fn clear_exports(pool: &Pool) -> Result<()> {
    write(pool, "DELETE FROM export_log", &[]).await.map(|_| ())
}
