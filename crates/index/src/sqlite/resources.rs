//! The port's family for resources.

use super::store::internal_id;
use super::{SqliteIndex, delete, error, find, store};
use async_trait::async_trait;
use model::matching::normalize;
use model::ports::index::{Deleted, Resources};
use model::{Counts, FindRequest, Level, NewInstance, OrthancId, Resource, ResourceStatistics, Result, Stored, Totals};
use rusqlite::{Connection, OptionalExtension};
use std::sync::atomic::Ordering;

#[async_trait]
impl Resources for SqliteIndex {
    async fn store_instance(&self, new: NewInstance) -> Result<Stored> {
        let age = self.stable_age_ms.load(Ordering::Relaxed) as f64 / 1000.0;
        self.write(move |db| store::store(db, &new, age)).await
    }

    async fn find(&self, request: &FindRequest) -> Result<Vec<Resource>> {
        let request = request.clone();
        self.read(move |db| find::find(db, &request)).await
    }

    async fn count(&self, request: &FindRequest) -> Result<u64> {
        let request = request.clone();
        self.read(move |db| find::count(db, &request)).await
    }

    async fn lookup_identifier(&self, text: &str) -> Result<Vec<(Level, OrthancId)>> {
        let norm = normalize(text);
        self.read(move |db| lookup(db, &norm)).await
    }

    async fn level_of(&self, id: OrthancId) -> Result<Option<Level>> {
        self.read(move |db| {
            for level in Level::ALL {
                if internal_id(db, level, id).is_ok() {
                    return Ok(Some(level));
                }
            }
            Ok(None)
        })
        .await
    }

    async fn delete(&self, level: Level, id: OrthancId) -> Result<Deleted> {
        self.write(move |db| delete::delete(db, level, id)).await
    }

    async fn resource_statistics(&self, level: Level, id: OrthancId) -> Result<ResourceStatistics> {
        self.read(move |db| statistics(db, level, id)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.read(|db| {
            let sql = "SELECT sum(patients), sum(studies), sum(series), sum(instances), sum(size_bytes), sum(stored_bytes) FROM totals";
            let read = |r: &rusqlite::Row<'_>| {
                let n = |i| r.get::<_, i64>(i).map(|v| v as u64);
                Ok(Totals { patients: n(0)?, studies: n(1)?, series: n(2)?, instances: n(3)?, size_bytes: n(4)?, stored_size_bytes: n(5)? })
            };
            db.prepare_cached(sql).and_then(|mut s| s.query_row([], read)).map_err(error)
        })
        .await
    }
}

fn lookup(db: &Connection, norm: &str) -> Result<Vec<(Level, OrthancId)>> {
    let mut found = vec![];
    if norm.is_empty() {
        return Ok(found);
    }
    let columns = [
        (Level::Patient, "SELECT public_id FROM patient WHERE patient_id_norm = ?1"),
        (Level::Study, "SELECT public_id FROM study WHERE study_uid_norm = ?1"),
        (Level::Study, "SELECT public_id FROM study WHERE accession_norm = ?1"),
        (Level::Series, "SELECT public_id FROM series WHERE series_uid_norm = ?1"),
        (Level::Instance, "SELECT public_id FROM instance WHERE sop_uid_norm = ?1"),
    ];
    for (level, sql) in columns {
        let mut statement = db.prepare_cached(sql).map_err(error)?;
        let mut rows = statement.query([norm]).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            let id = OrthancId::from_bytes(row.get_ref(0).and_then(|v| Ok(v.as_blob()?)).map_err(error)?)?;
            if !found.contains(&(level, id)) {
                found.push((level, id));
            }
        }
    }
    Ok(found)
}

fn statistics(db: &Connection, level: Level, public: OrthancId) -> Result<ResourceStatistics> {
    let id = internal_id(db, level, public)?;
    let (counts, sizes) = match level {
        Level::Patient => ("study_count, series_count, instance_count", "size_bytes, stored_bytes"),
        Level::Study => ("1, series_count, instance_count", "size_bytes, stored_bytes"),
        Level::Series => ("0, 1, instance_count", "size_bytes, stored_bytes"),
        Level::Instance => ("0, 0, 1", "blob_size, stored_size"),
    };
    let below = match level {
        Level::Patient => "study_id IN (SELECT id FROM study WHERE patient_id = ?1)",
        Level::Study => "study_id = ?1",
        Level::Series => "series_id = ?1",
        Level::Instance => "id = ?1",
    };
    let n = |row: &rusqlite::Row<'_>, i: usize| row.get::<_, Option<i64>>(i).map(|v| v.unwrap_or(0) as u64);
    let sql = format!("SELECT {counts}, {sizes} FROM {} WHERE id = ?1", super::rows::table(level));
    let read = |r: &rusqlite::Row<'_>| {
        Ok(ResourceStatistics {
            counts: Counts { studies: n(r, 0)?, series: n(r, 1)?, instances: n(r, 2)? },
            size_bytes: n(r, 3)?,
            stored_size_bytes: n(r, 4)?,
            dicom_stored_size_bytes: 0,
            dicom_size_bytes: 0,
        })
    };
    let mut all = db.prepare_cached(&sql).and_then(|mut s| s.query_row([id], read)).map_err(error)?;
    let dicom = format!("SELECT sum(blob_size), sum(stored_size) FROM instance WHERE {below}");
    let sums = db.prepare_cached(&dicom).and_then(|mut s| s.query_row([id], |r| Ok((n(r, 0)?, n(r, 1)?))).optional()).map_err(error)?;
    (all.dicom_size_bytes, all.dicom_stored_size_bytes) = sums.unwrap_or((0, 0));
    if level == Level::Instance {
        let more = "SELECT sum(blob_size), sum(stored_size) FROM attachment WHERE level = 3 AND resource_id = ?1";
        let (size, stored) = db.prepare_cached(more).and_then(|mut s| s.query_row([id], |r| Ok((n(r, 0)?, n(r, 1)?)))).map_err(error)?;
        all.size_bytes += size;
        all.stored_size_bytes += stored;
    }
    Ok(all)
}
