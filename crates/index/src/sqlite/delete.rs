//! Deletion: at once for what is small, with a tombstone and a sweep for what is large. Either way one transaction makes the
//! whole subtree invisible, moves the counters of the ancestors and removes those that became empty.

use super::batch::{Batch, Delta, Sizes};
use super::blobs::{blob_column, discard};
use super::error::sql;
use super::rows::{self, Step, table};
use crate::text::{read_set, set_json};
use model::ports::index::Deleted;
use model::{Level, OrthancId, Result};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// Subtrees with at most so many instances are removed by the deleting transaction itself.
const AT_ONCE: i64 = 500;
/// Rows that one sweep removes.
const SWEEP: usize = 500;

/// Deletes a resource with all below it, and the ancestors that it leaves empty.
pub(super) fn delete(batch: &mut Batch<'_>, level: Level, id: OrthancId) -> Result<Deleted> {
    let row = rows::expect(batch.conn, level, id)?;
    batch.flush()?;
    let mut path = rows::path(batch.conn, level, row)?;
    // An ancestor without other instances goes with it.
    while path.len() > 1 && path[path.len() - 2].instances == path[path.len() - 1].instances {
        path.pop();
    }
    let Some(root) = path.pop() else { return Ok(Deleted { remaining: None }) };
    let removed = weight(batch.conn, root)?;
    if root.instances <= AT_ONCE {
        remove(batch.conn, root.level, root.row, &mut { usize::MAX })?;
    } else {
        bury(batch.conn, root)?;
    }
    for ancestor in &path {
        batch.add(ancestor.level, ancestor.row, removed);
    }
    batch.add_totals(-i64::from(root.level == Level::Patient), removed);
    batch.flush()?;
    refresh_sets(batch.conn, &path, root.level)?;
    Ok(Deleted { remaining: path.last().map(|step| (step.level, step.id)) })
}

/// What ancestors and totals lose with a subtree.
fn weight(conn: &Connection, root: Step) -> Result<Delta> {
    let statement = match root.level {
        Level::Patient => {
            "SELECT study_count, series_count, instance_count, size_bytes, stored_bytes, dicom_bytes,
             dicom_stored_bytes FROM patient WHERE id = ?1"
        }
        Level::Study => {
            "SELECT 1, series_count, instance_count, size_bytes, stored_bytes, dicom_bytes, dicom_stored_bytes
             FROM study WHERE id = ?1"
        }
        Level::Series => {
            "SELECT 0, 1, instance_count, size_bytes, stored_bytes, dicom_bytes, dicom_stored_bytes
             FROM series WHERE id = ?1"
        }
        Level::Instance => {
            "SELECT 0, 0, 1, size_bytes, stored_bytes, dicom_bytes, dicom_stored_bytes
             FROM instance WHERE id = ?1"
        }
    };
    conn.prepare_cached(statement)
        .and_then(|mut s| {
            s.query_row([root.row], |r| {
                let lost = |column| r.get::<_, i64>(column).map(|n| -n);
                let size = Sizes { bytes: lost(3)?, stored: lost(4)?, dicom: lost(5)?, dicom_stored: lost(6)? };
                Ok(Delta { studies: lost(0)?, series: lost(1)?, instances: lost(2)?, size, touch: true, restart: false })
            })
        })
        .map_err(sql)
}

/// Removes a resource and all below it, from the bottom, until `budget` rows are gone. Whether it is finished.
fn remove(conn: &Connection, level: Level, row: i64, budget: &mut usize) -> Result<bool> {
    if let Some(below) = level.child() {
        for child in rows::children(conn, level, row, budget.saturating_add(1))? {
            if !remove(conn, below, child, budget)? {
                return Ok(false);
            }
        }
    }
    if *budget == 0 {
        return Ok(false);
    }
    *budget -= 1;
    purge(conn, level, row)?;
    Ok(true)
}

/// Removes the leftover of a deleted series that stands in the way of a new instance. Its counters are gone already.
pub(super) fn purge_instance(batch: &Batch<'_>, row: i64) -> Result<()> {
    purge(batch.conn, Level::Instance, row)
}

/// Removes one row with its attachments, labels and changes.
fn purge(conn: &Connection, level: Level, row: i64) -> Result<()> {
    let key = params![level as u8, row];
    let blobs: Vec<_> = conn
        .prepare_cached("DELETE FROM attachment WHERE level = ?1 AND resource = ?2 RETURNING blob")
        .and_then(|mut s| s.query_map(key, |r| blob_column(r, 0))?.collect())
        .map_err(sql)?;
    blobs.into_iter().try_for_each(|blob| discard(conn, blob))?;
    for statement in
        ["DELETE FROM label WHERE level = ?1 AND resource = ?2", "DELETE FROM change WHERE level = ?1 AND resource = ?2"]
    {
        conn.prepare_cached(statement).and_then(|mut s| s.execute(key)).map_err(sql)?;
    }
    if level == Level::Instance {
        let blob = conn
            .prepare_cached("DELETE FROM instance WHERE id = ?1 RETURNING blob")
            .and_then(|mut s| s.query_row([row], |r| blob_column(r, 0)))
            .map_err(sql)?;
        return discard(conn, blob);
    }
    conn.prepare_cached(&format!("DELETE FROM {} WHERE id = ?1", table(level)))
        .and_then(|mut s| s.execute([row]))
        .map_err(sql)?;
    Ok(())
}

/// Makes a large subtree invisible: its patients, studies and series are marked, its instances are hidden with their series.
fn bury(conn: &Connection, root: Step) -> Result<()> {
    const STUDIES: &str = "SELECT id FROM study WHERE patient = ?1";
    const SERIES_OF_STUDY: &str = "SELECT id FROM series WHERE study = ?1";
    const SERIES_OF_PATIENT: &str = "SELECT se.id FROM study st CROSS JOIN series se ON se.study = st.id WHERE st.patient = ?1";
    let run = |statement: &str| conn.execute(statement, [root.row]).map_err(sql);
    let mark = |level: Level, ids: &str| -> Result<()> {
        run(&format!("UPDATE {} SET deleted = 1, stable_at = NULL WHERE id IN ({ids})", table(level)))?;
        run(&format!("DELETE FROM label WHERE level = {} AND resource IN ({ids})", level as u8))?;
        Ok(())
    };
    mark(root.level, "SELECT ?1")?;
    let series = match root.level {
        Level::Patient => {
            mark(Level::Study, STUDIES)?;
            mark(Level::Series, SERIES_OF_PATIENT)?;
            SERIES_OF_PATIENT
        }
        Level::Study => {
            mark(Level::Series, SERIES_OF_STUDY)?;
            SERIES_OF_STUDY
        }
        _ => "SELECT ?1",
    };
    let labelled: bool = conn.query_row("SELECT EXISTS (SELECT 1 FROM label WHERE level = 3)", [], |r| r.get(0)).map_err(sql)?;
    if labelled {
        let instances = format!("SELECT id FROM instance WHERE series IN ({series})");
        run(&format!("DELETE FROM label WHERE level = 3 AND resource IN ({instances})"))?;
    }
    conn.execute("INSERT INTO tombstone (level, resource) VALUES (?1, ?2)", params![root.level as u8, root.row]).map_err(sql)?;
    Ok(())
}

/// Removes some rows of deleted subtrees. Whether more remain.
pub(super) fn sweep(batch: &mut Batch<'_>) -> Result<bool> {
    let conn = batch.conn;
    let roots: Vec<(u8, i64)> = conn
        .prepare_cached("SELECT level, resource FROM tombstone LIMIT 2")
        .and_then(|mut s| s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
        .map_err(sql)?;
    let Some((level, row)) = roots.first().copied() else { return Ok(false) };
    let root = Level::ALL.get(usize::from(level)).copied().unwrap_or(Level::Instance);
    let finished = remove(conn, root, row, &mut { SWEEP })?;
    if finished {
        conn.prepare_cached("DELETE FROM tombstone WHERE level = ?1 AND resource = ?2")
            .and_then(|mut s| s.execute(params![level, row]))
            .map_err(sql)?;
    }
    Ok(!finished || roots.len() > 1)
}

/// Makes the lists of modalities and SOP classes of the remaining ancestors true again.
fn refresh_sets(conn: &Connection, path: &[Step], removed: Level) -> Result<()> {
    let at = |level| path.iter().find(|s| s.level == level).map(|s| s.row);
    let series_changed = match (removed, at(Level::Series)) {
        (Level::Instance, Some(series)) => refresh_series(conn, series)?,
        _ => removed == Level::Series,
    };
    match at(Level::Study) {
        Some(study) if series_changed => refresh_study(conn, study),
        _ => Ok(()),
    }
}

/// Whether the SOP classes of a series changed. Only a series with several can lose one.
fn refresh_series(conn: &Connection, series: i64) -> Result<bool> {
    let old: String = conn
        .prepare_cached("SELECT sop_classes FROM series WHERE id = ?1")
        .and_then(|mut s| s.query_row([series], |r| r.get(0)))
        .map_err(sql)?;
    if read_set(&old)?.len() < 2 {
        return Ok(false);
    }
    Ok(collect_classes(conn, series)? != old)
}

/// Lists the SOP classes of a series anew.
pub(super) fn collect_classes(conn: &Connection, series: i64) -> Result<String> {
    let classes: BTreeSet<String> = conn
        .prepare_cached("SELECT DISTINCT sop_class FROM instance WHERE series = ?1 AND sop_class <> ''")
        .and_then(|mut s| s.query_map([series], |r| r.get(0))?.collect())
        .map_err(sql)?;
    let new = set_json(&classes);
    conn.prepare_cached("UPDATE series SET sop_classes = ?2 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![series, new]))
        .map_err(sql)?;
    Ok(new)
}

/// Lists the modalities and SOP classes of a study anew, from its series.
pub(super) fn refresh_study(conn: &Connection, study: i64) -> Result<()> {
    let (mut modalities, mut classes) = (BTreeSet::new(), BTreeSet::new());
    let mut statement = conn
        .prepare_cached("SELECT json_extract(tags, '$.\"00080060\"'), sop_classes FROM series WHERE study = ?1 AND deleted = 0")
        .map_err(sql)?;
    let mut found = statement.query([study]).map_err(sql)?;
    while let Some(row) = found.next().map_err(sql)? {
        let modality: Option<String> = row.get(0).map_err(sql)?;
        modalities.extend(modality.map(|m| m.trim().to_owned()).filter(|m| !m.is_empty()));
        classes.extend(read_set(&row.get::<_, String>(1).map_err(sql)?)?);
    }
    conn.prepare_cached("UPDATE study SET modalities = ?2, sop_classes = ?3 WHERE id = ?1")
        .and_then(|mut s| s.execute(params![study, set_json(&modalities), set_json(&classes)]))
        .map_err(sql)?;
    Ok(())
}
