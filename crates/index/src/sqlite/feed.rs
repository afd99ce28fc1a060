//! The change feed and the log of exports. There is one writer, so numbers become visible in order.

use super::{SqliteIndex, error};
use async_trait::async_trait;
use model::ports::index::Feed;
use model::{
    Change, ChangeType, ChangesPage, ChangesRequest, Error, ErrorKind, Exported, ExportsPage, Level, OrthancId, Result, time,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Appends one change.
pub(super) fn append(db: &Connection, kind: ChangeType, level: Level, id: OrthancId, now: &str) -> Result<()> {
    db.prepare_cached("INSERT INTO change (kind, level, public_id, date) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut s| s.execute(params![kind as u16, level as u8, id.0.as_slice(), now]))
        .map_err(error)
        .map(drop)
}

fn last_seq(db: &Connection) -> Result<i64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'change'";
    db.prepare_cached(sql).and_then(|mut s| s.query_row([], |r| r.get(0)).optional()).map_err(error).map(|n| n.unwrap_or(0))
}

fn level(number: u8) -> Result<Level> {
    let bad = || Error::new(ErrorKind::Database, "a row has no valid level");
    Level::ALL.get(usize::from(number)).copied().ok_or_else(bad)
}

fn public_id(row: &Row<'_>, column: usize) -> Result<OrthancId> {
    OrthancId::from_bytes(&row.get::<_, Vec<u8>>(column).map_err(error)?)
}

fn change(row: &Row<'_>) -> Result<Change> {
    let number: u16 = row.get(1).map_err(error)?;
    Ok(Change {
        seq: row.get(0).map_err(error)?,
        kind: ChangeType::from_number(number).ok_or_else(|| Error::new(ErrorKind::Database, "a change has no valid type"))?,
        level: level(row.get(2).map_err(error)?)?,
        id: public_id(row, 3)?,
        date: row.get(4).map_err(error)?,
    })
}

/// A page, read in one snapshot.
fn page(db: &Connection, request: &ChangesRequest) -> Result<ChangesPage> {
    let tx = db.unchecked_transaction().map_err(error)?;
    let last_seq = last_seq(&tx)?;
    let kinds: Vec<String> = request.kinds.iter().map(|k| (*k as u16).to_string()).collect();
    let filter = if kinds.is_empty() { String::new() } else { format!("AND kind IN ({})", kinds.join(",")) };
    // Orthanc: `to` without `since` walks backwards.
    let backwards = request.to.is_some() && request.since == 0;
    let order = if backwards { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT seq, kind, level, public_id, date FROM change WHERE seq > ?1 AND seq <= ?2 {filter} ORDER BY seq {order} LIMIT ?3"
    );
    let mut statement = tx.prepare_cached(&sql).map_err(error)?;
    let limit = i64::from(request.limit) + 1;
    let mut rows = statement.query(params![request.since, request.to.unwrap_or(i64::MAX), limit]).map_err(error)?;
    let mut changes = vec![];
    while let Some(row) = rows.next().map_err(error)? {
        changes.push(change(row)?);
    }
    let done = changes.len() <= request.limit as usize;
    changes.truncate(request.limit as usize);
    if backwards {
        changes.reverse();
    }
    Ok(ChangesPage { changes, done, last_seq })
}

fn export(row: &Row<'_>) -> Result<Exported> {
    let text = |i| row.get(i).map_err(error);
    Ok(Exported {
        seq: row.get(0).map_err(error)?,
        level: level(row.get(1).map_err(error)?)?,
        id: public_id(row, 2)?,
        remote: text(3)?,
        date: text(4)?,
        patient_id: text(5)?,
        study_uid: text(6)?,
        series_uid: text(7)?,
        sop_uid: text(8)?,
    })
}

const EXPORTS: &str = "SELECT seq, level, public_id, remote, date, patient_id, study_uid, series_uid, sop_uid FROM export_log";

fn exports(db: &Connection, order: &str, since: i64, limit: usize) -> Result<ExportsPage> {
    let mut statement = db.prepare_cached(&format!("{EXPORTS} WHERE seq > ?1 ORDER BY seq {order} LIMIT ?2")).map_err(error)?;
    let mut rows = statement.query(params![since, limit as i64 + 1]).map_err(error)?;
    let mut exports = vec![];
    while let Some(row) = rows.next().map_err(error)? {
        exports.push(export(row)?);
    }
    let done = exports.len() <= limit;
    exports.truncate(limit);
    Ok(ExportsPage { exports, done })
}

#[async_trait]
impl Feed for SqliteIndex {
    async fn changes(&self, request: &ChangesRequest) -> Result<ChangesPage> {
        let request = request.clone();
        self.read(move |db| page(db, &request)).await
    }

    async fn last_change(&self) -> Result<ChangesPage> {
        self.read(|db| {
            let newest = "SELECT coalesce(max(seq), 1) FROM change";
            let seq: i64 = db.prepare_cached(newest).and_then(|mut s| s.query_row([], |r| r.get(0))).map_err(error)?;
            page(db, &ChangesRequest { since: seq - 1, to: None, limit: 1, kinds: vec![] })
        })
        .await
    }

    async fn append_change(&self, kind: ChangeType, level: Level, id: OrthancId) -> Result<()> {
        self.write(move |db| append(db, kind, level, id, &time::now_iso())).await
    }

    async fn clear_changes(&self) -> Result<()> {
        self.write(|db| db.execute("DELETE FROM change", []).map_err(error).map(drop)).await
    }

    async fn append_export(&self, e: Exported) -> Result<()> {
        self.write(move |db| {
            let sql = "INSERT INTO export_log (level, public_id, remote, date, patient_id, study_uid, series_uid, sop_uid)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let id = e.id.0.as_slice();
            db.execute(sql, params![e.level as u8, id, e.remote, e.date, e.patient_id, e.study_uid, e.series_uid, e.sop_uid])
                .map_err(error)
                .map(drop)
        })
        .await
    }

    async fn exports(&self, since: i64, limit: u32) -> Result<ExportsPage> {
        self.read(move |db| exports(db, "ASC", since, limit as usize)).await
    }

    async fn last_export(&self) -> Result<ExportsPage> {
        self.read(|db| exports(db, "DESC", 0, 1).map(|page| ExportsPage { done: true, ..page })).await
    }

    async fn clear_exports(&self) -> Result<()> {
        self.write(|db| db.execute("DELETE FROM export_log", []).map_err(error).map(drop)).await
    }
}
