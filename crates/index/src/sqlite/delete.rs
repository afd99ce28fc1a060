//! Deleting a resource with all below it and the ancestors that it leaves empty: one transaction, nothing left for later.

use super::error;
use super::rows::{list_with, parent_column, table};
use super::store::internal_id;
use model::ports::index::Deleted;
use model::{AttachmentId, Level, OrthancId, Result, time};
use rusqlite::{Connection, params};

/// Puts a blob on the deletion list.
pub(super) fn give_up_blob(db: &Connection, blob: AttachmentId) -> Result<()> {
    run(db, "INSERT OR IGNORE INTO deleted_blob (blob) VALUES (?1)", params![blob.0.as_bytes().as_slice()])
}

fn run(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<()> {
    db.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(error).map(drop)
}

/// What lies at and below a resource.
#[derive(Clone, Copy, Default)]
struct Weight {
    studies: i64,
    series: i64,
    instances: i64,
    size: i64,
    stored: i64,
}

/// Which rows of `level` belong to the resource `?1` of level `root`.
fn below(root: Level, level: Level) -> &'static str {
    use Level::*;
    match (root, level) {
        (Patient, Patient) | (Study, Study) | (Series, Series) | (Instance, Instance) => "id = ?1",
        (Patient, Study) => "patient_id = ?1",
        (Patient, Series | Instance) => "study_id IN (SELECT id FROM study WHERE patient_id = ?1)",
        (Study, Series | Instance) => "study_id = ?1",
        (Series, Instance) => "series_id = ?1",
        (_, _) => "0",
    }
}

/// Deletes the resource.
///
/// # Errors
/// `UnknownResource`.
pub(super) fn delete(db: &Connection, level: Level, public: OrthancId) -> Result<Deleted> {
    let mut id = internal_id(db, level, public)?;
    let mut top = level;
    let mut lineage = vec![(level, id)];
    while let Some(parent) = top.parent() {
        let sql = format!("SELECT {} FROM {} WHERE id = ?1", parent_column(top), table(top));
        id = db.prepare_cached(&sql).and_then(|mut s| s.query_row([id], |r| r.get(0))).map_err(error)?;
        lineage.push((parent, id));
        top = parent;
    }
    // The highest ancestor that holds nothing else goes as a whole.
    let mut root = 0;
    while root + 1 < lineage.len() && is_only_child(db, lineage[root].0, lineage[root + 1].1)? {
        root += 1;
    }
    let (root_level, root_id) = lineage[root];
    let weight = weigh(db, root_level, root_id)?;
    remove_rows(db, root_level, root_id)?;
    total(db, root_level, weight)?;
    for (ancestor, id) in &lineage[root + 1..] {
        lighten(db, *ancestor, *id, weight)?;
    }
    let Some((level, id)) = lineage.get(root + 1) else { return Ok(Deleted { remaining: None }) };
    let sql = format!("SELECT public_id FROM {} WHERE id = ?1", table(*level));
    let bytes: Vec<u8> = db.prepare_cached(&sql).and_then(|mut s| s.query_row([id], |r| r.get(0))).map_err(error)?;
    Ok(Deleted { remaining: Some((*level, OrthancId::from_bytes(&bytes)?)) })
}

fn is_only_child(db: &Connection, level: Level, parent: i64) -> Result<bool> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {} WHERE {} = ?1 LIMIT 2)", table(level), parent_column(level));
    db.prepare_cached(&sql).and_then(|mut s| s.query_row([parent], |r| Ok(r.get::<_, i64>(0)? == 1))).map_err(error)
}

fn weigh(db: &Connection, level: Level, id: i64) -> Result<Weight> {
    let sql = match level {
        Level::Patient => "SELECT study_count, series_count, instance_count, size_bytes, stored_bytes FROM patient WHERE id = ?1",
        Level::Study => "SELECT 1, series_count, instance_count, size_bytes, stored_bytes FROM study WHERE id = ?1",
        Level::Series => "SELECT 0, 1, instance_count, size_bytes, stored_bytes FROM series WHERE id = ?1",
        Level::Instance => {
            "SELECT 0, 0, 1, blob_size + coalesce((SELECT sum(blob_size) FROM attachment WHERE level = 3 AND resource_id = ?1), 0),
                 stored_size + coalesce((SELECT sum(stored_size) FROM attachment WHERE level = 3 AND resource_id = ?1), 0)
             FROM instance WHERE id = ?1"
        }
    };
    let read = |r: &rusqlite::Row<'_>| {
        Ok(Weight { studies: r.get(0)?, series: r.get(1)?, instances: r.get(2)?, size: r.get(3)?, stored: r.get(4)? })
    };
    db.prepare_cached(sql).and_then(|mut s| s.query_row([id], read)).map_err(error)
}

fn remove_rows(db: &Connection, root: Level, id: i64) -> Result<()> {
    let levels = &Level::ALL[root as usize..];
    let blobs = format!("INSERT OR IGNORE INTO deleted_blob SELECT blob FROM instance WHERE {}", below(root, Level::Instance));
    run(db, &blobs, [id])?;
    for level in levels.iter().rev() {
        let (table, rows, n) = (table(*level), below(root, *level), *level as usize);
        let attached = format!("level = {n} AND resource_id IN (SELECT id FROM {table} WHERE {rows})");
        run(db, &format!("INSERT OR IGNORE INTO deleted_blob SELECT blob FROM attachment WHERE {attached}"), [id])?;
        run(db, &format!("DELETE FROM attachment WHERE {attached}"), [id])?;
        // Orthanc: the changes of a resource go with it.
        run(db, &format!("DELETE FROM change WHERE public_id IN (SELECT public_id FROM {table} WHERE {rows})"), [id])?;
    }
    for level in levels.iter().rev() {
        run(db, &format!("DELETE FROM {} WHERE {}", table(*level), below(root, *level)), [id])?;
    }
    Ok(())
}

fn total(db: &Connection, root: Level, w: Weight) -> Result<()> {
    let sql =
        "UPDATE totals SET patients = patients - ?1, studies = studies - ?2, series = series - ?3, instances = instances - ?4,
         size_bytes = size_bytes - ?5, stored_bytes = stored_bytes - ?6 WHERE shard = 0";
    run(db, sql, params![i64::from(root == Level::Patient), w.studies, w.series, w.instances, w.size, w.stored])
}

/// Takes the weight of what was deleted from a surviving ancestor.
fn lighten(db: &Connection, level: Level, id: i64, w: Weight) -> Result<()> {
    let now = time::now_iso();
    let common =
        "instance_count = instance_count - ?2, size_bytes = size_bytes - ?3, stored_bytes = stored_bytes - ?4, last_update = ?5";
    match level {
        Level::Patient => {
            let sql = format!(
                "UPDATE patient SET study_count = study_count - ?6, series_count = series_count - ?7, {common} WHERE id = ?1"
            );
            run(db, &sql, params![id, w.instances, w.size, w.stored, now, w.studies, w.series])
        }
        Level::Study => {
            let modalities =
                gather(db, "SELECT DISTINCT json_extract(tags, '$.\"00080060\"') FROM series WHERE study_id = ?1", id)?;
            let classes = gather(db, "SELECT DISTINCT sop_class FROM instance WHERE study_id = ?1", id)?;
            let sql = format!(
                "UPDATE study SET series_count = series_count - ?6, modalities = ?7, sop_classes = ?8, {common} WHERE id = ?1"
            );
            run(db, &sql, params![id, w.instances, w.size, w.stored, now, w.series, modalities, classes])
        }
        Level::Series | Level::Instance => {
            let classes = gather(db, "SELECT DISTINCT sop_class FROM instance WHERE series_id = ?1", id)?;
            let sql = format!("UPDATE series SET completed = 0, sop_classes = ?6, {common} WHERE id = ?1");
            run(db, &sql, params![id, w.instances, w.size, w.stored, now, classes])
        }
    }
}

fn gather(db: &Connection, sql: &str, id: i64) -> Result<String> {
    let mut statement = db.prepare_cached(sql).map_err(error)?;
    let mut rows = statement.query([id]).map_err(error)?;
    let mut all = String::new();
    while let Some(row) = rows.next().map_err(error)? {
        let member: Option<String> = row.get(0).map_err(error)?;
        all = list_with(&all, &member.unwrap_or_default()).unwrap_or(all);
    }
    Ok(all)
}
