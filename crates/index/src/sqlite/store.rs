//! Storing one instance inside the writer's transaction.

use super::rows::{clean, list_with, metadata_json, table};
use super::{delete, error, feed};
use model::matching::normalize;
use model::{
    ChangeType, Error, ErrorKind, Level, MetadataKind, MetadataValue, NewInstance, Overwrite, Result, StoreStatus, Stored,
    TagMap, tags, time,
};
use rusqlite::{Connection, OptionalExtension, params};

/// The kind under which a row's `last_update` column shows among its metadata.
pub(super) const LAST_UPDATE: MetadataKind = MetadataKind::LAST_UPDATE;

/// Stores `new`; `stable_age_s` seconds later its parents are due.
pub(super) fn store(db: &Connection, new: &NewInstance, stable_age_s: f64) -> Result<Stored> {
    let known = run(db, "DELETE FROM blob_intent WHERE blob = ?1", params![new.blob.id.0.as_bytes().as_slice()])?;
    if known == 0 {
        return Err(Error::new(ErrorKind::Busy, "the name of the blob is no longer reserved: store again"));
    }
    let done = |status, keeps_blob| Ok(Stored { ids: new.ids, status, keeps_blob });
    let existing: Option<String> = db
        .prepare_cached("SELECT md5 FROM instance WHERE public_id = ?1")
        .and_then(|mut s| s.query_row([new.ids.instance.0.as_slice()], |row| row.get(0)).optional())
        .map_err(error)?;
    if let Some(md5) = existing {
        let same = !md5.is_empty() && md5 == new.blob.md5;
        if new.overwrite == Overwrite::Never || (new.overwrite == Overwrite::IfChanged && same) {
            delete::give_up_blob(db, new.blob.id)?;
            return done(StoreStatus::AlreadyStored, false);
        }
        delete::delete(db, Level::Instance, new.ids.instance)?;
    }
    let now = time::now_iso();
    let patient = patient(db, new, &now)?;
    let study = study(db, new, patient.id, &now)?;
    let series = series(db, new, study.id, &now)?;
    insert_instance(db, new, series.id, study.id)?;
    let created = Created { patient: patient.created, study: study.created, series: series.created };
    count(db, new, [patient.id, study.id, series.id], created, (&now, stable_age_s))?;
    changes(db, new, created, &now)?;
    complete_series(db, new, series.id, &now)?;
    done(StoreStatus::Success, true)
}

#[derive(Clone, Copy)]
struct Created {
    patient: bool,
    study: bool,
    series: bool,
}

/// A parent row, found or made.
struct Parent {
    id: i64,
    created: bool,
}

fn run(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<usize> {
    db.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(error)
}

fn find(db: &Connection, new: &NewInstance, level: Level) -> Result<Option<i64>> {
    let sql = match level {
        Level::Patient => "SELECT id FROM patient WHERE public_id = ?1",
        Level::Study => "SELECT id FROM study WHERE public_id = ?1",
        Level::Series => "SELECT id FROM series WHERE public_id = ?1",
        Level::Instance => "SELECT id FROM instance WHERE public_id = ?1",
    };
    db.prepare_cached(sql).and_then(|mut s| s.query_row([new.ids.at(level).0.as_slice()], |r| r.get(0)).optional()).map_err(error)
}

/// Main tags of a level as a row holds them.
fn tags_json(new: &NewInstance, level: Level) -> String {
    let cleaned: TagMap = new.tags[level as usize].iter().map(|(t, v)| (t, clean(v))).collect();
    cleaned.to_json()
}

fn metadata(new: &NewInstance, level: Level) -> String {
    let all = new.metadata[level as usize].iter();
    metadata_json(&all.map(|(k, v)| (*k, MetadataValue { value: v.clone(), revision: 0 })).collect())
}

fn norm(new: &NewInstance, level: Level, tag: dataset::Tag) -> String {
    normalize(new.tags[level as usize].get(tag).unwrap_or_default())
}

fn patient(db: &Connection, new: &NewInstance, now: &str) -> Result<Parent> {
    use Level::Patient as L;
    if let Some(id) = find(db, new, L)? {
        return Ok(Parent { id, created: false });
    }
    run(
        db,
        "INSERT INTO patient (public_id, patient_id_norm, name_norm, tags, metadata, last_update, stable_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
        params![
            new.ids.patient.0.as_slice(),
            norm(new, L, tags::PATIENT_ID),
            norm(new, L, tags::PATIENT_NAME),
            tags_json(new, L),
            metadata(new, L),
            now
        ],
    )?;
    Ok(Parent { id: db.last_insert_rowid(), created: true })
}

fn study(db: &Connection, new: &NewInstance, patient: i64, now: &str) -> Result<Parent> {
    use Level::{Patient, Study as L};
    let modality = clean(new.tags[Level::Series as usize].get(tags::MODALITY).unwrap_or_default());
    if let Some(id) = find(db, new, L)? {
        let (modalities, classes): (String, String) = db
            .prepare_cached("SELECT modalities, sop_classes FROM study WHERE id = ?1")
            .and_then(|mut s| s.query_row([id], |r| Ok((r.get(0)?, r.get(1)?))))
            .map_err(error)?;
        let (more, other) = (list_with(&modalities, &modality), list_with(&classes, &new.sop_class_uid));
        if more.is_some() || other.is_some() {
            let sql = "UPDATE study SET modalities = ?2, sop_classes = ?3 WHERE id = ?1";
            run(db, sql, params![id, more.unwrap_or(modalities), other.unwrap_or(classes)])?;
        }
        return Ok(Parent { id, created: false });
    }
    run(
        db,
        "INSERT INTO study (public_id, patient_id, study_uid_norm, study_date, accession_norm, description_norm, patient_id_norm,
             name_norm, tags, metadata, modalities, sop_classes, last_update, stable_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0)",
        params![
            new.ids.study.0.as_slice(),
            patient,
            norm(new, L, tags::STUDY_INSTANCE_UID),
            norm(new, L, tags::STUDY_DATE),
            norm(new, L, tags::ACCESSION_NUMBER),
            norm(new, L, tags::STUDY_DESCRIPTION),
            norm(new, Patient, tags::PATIENT_ID),
            norm(new, Patient, tags::PATIENT_NAME),
            tags_json(new, L),
            metadata(new, L),
            modality,
            new.sop_class_uid,
            now
        ],
    )?;
    Ok(Parent { id: db.last_insert_rowid(), created: true })
}

fn series(db: &Connection, new: &NewInstance, study: i64, now: &str) -> Result<Parent> {
    use Level::Series as L;
    if let Some(id) = find(db, new, L)? {
        return Ok(Parent { id, created: false });
    }
    run(
        db,
        "INSERT INTO series (public_id, study_id, series_uid_norm, modality_norm, tags, metadata, sop_classes, expected_instances,
             last_update, stable_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0)",
        params![
            new.ids.series.0.as_slice(),
            study,
            norm(new, L, tags::SERIES_INSTANCE_UID),
            norm(new, L, tags::MODALITY),
            tags_json(new, L),
            metadata(new, L),
            new.sop_class_uid,
            new.expected_instances,
            now
        ],
    )?;
    Ok(Parent { id: db.last_insert_rowid(), created: true })
}

fn insert_instance(db: &Connection, new: &NewInstance, series: i64, study: i64) -> Result<()> {
    use Level::Instance as L;
    let blob = &new.blob;
    run(
        db,
        "INSERT INTO instance (public_id, series_id, study_id, sop_uid_norm, sop_class, index_in_series, tags, metadata, blob,
             blob_size, stored_size, md5, stored_md5, compression, pixel_offset, tail_offset)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            new.ids.instance.0.as_slice(),
            series,
            study,
            norm(new, L, tags::SOP_INSTANCE_UID),
            new.sop_class_uid,
            new.index_in_series,
            tags_json(new, L),
            metadata(new, L),
            blob.id.0.as_bytes().as_slice(),
            blob.size_bytes as i64,
            blob.stored_size_bytes as i64,
            blob.md5,
            blob.stored_md5,
            i64::from(blob.compression != model::Compression::None),
            new.pixel_offset.map(|o| o as i64),
            new.tail_offset.map(|o| o as i64)
        ],
    )?;
    Ok(())
}

/// Adds the instance to the counters of its parents and of the store; moves the stability deadlines.
fn count(db: &Connection, new: &NewInstance, [p, s, e]: [i64; 3], created: Created, (now, age): (&str, f64)) -> Result<()> {
    let (size, stored) = (new.blob.size_bytes as i64, new.blob.stored_size_bytes as i64);
    let (study, series) = (i64::from(created.study), i64::from(created.series));
    run(
        db,
        "UPDATE patient SET study_count = study_count + ?2, series_count = series_count + ?3, instance_count = instance_count + 1,
             size_bytes = size_bytes + ?4, stored_bytes = stored_bytes + ?5, last_update = ?6,
             stable_at = unixepoch('subsec') + ?7, is_stable = 0 WHERE id = ?1",
        params![p, study, series, size, stored, now, age],
    )?;
    run(
        db,
        "UPDATE study SET series_count = series_count + ?2, instance_count = instance_count + 1, size_bytes = size_bytes + ?3,
             stored_bytes = stored_bytes + ?4, last_update = ?5, stable_at = unixepoch('subsec') + ?6, is_stable = 0 WHERE id = ?1",
        params![s, series, size, stored, now, age],
    )?;
    run(
        db,
        "UPDATE series SET instance_count = instance_count + 1, size_bytes = size_bytes + ?2, stored_bytes = stored_bytes + ?3,
             last_update = ?4, stable_at = unixepoch('subsec') + ?5, is_stable = 0 WHERE id = ?1",
        params![e, size, stored, now, age],
    )?;
    run(
        db,
        "UPDATE totals SET patients = patients + ?1, studies = studies + ?2, series = series + ?3, instances = instances + 1,
             size_bytes = size_bytes + ?4, stored_bytes = stored_bytes + ?5 WHERE shard = 0",
        params![i64::from(created.patient), study, series, size, stored],
    )?;
    Ok(())
}

fn changes(db: &Connection, new: &NewInstance, created: Created, now: &str) -> Result<()> {
    let all = [
        (true, Level::Instance),
        (created.series, Level::Series),
        (created.study, Level::Study),
        (created.patient, Level::Patient),
    ];
    for (_, level) in all.into_iter().filter(|(new, _)| *new) {
        feed::append(db, ChangeType::new(level), level, new.ids.at(level), now)?;
    }
    Ok(())
}

/// `CompletedSeries`, once, when the indices 1 to the expected number are all there.
fn complete_series(db: &Connection, new: &NewInstance, series: i64, now: &str) -> Result<()> {
    let Some(expected) = new.expected_instances else { return Ok(()) };
    let sql = "UPDATE series SET completed = 1 WHERE id = ?1 AND completed = 0 AND expected_instances = ?2 AND instance_count = ?2
         AND (SELECT count(DISTINCT index_in_series) FROM instance WHERE series_id = ?1 AND index_in_series BETWEEN 1 AND ?2) = ?2";
    if run(db, sql, params![series, expected])? > 0 {
        feed::append(db, ChangeType::CompletedSeries, Level::Series, new.ids.series, now)?;
    }
    Ok(())
}

/// The internal id of a resource.
///
/// # Errors
/// `UnknownResource`.
pub(super) fn internal_id(db: &Connection, level: Level, id: model::OrthancId) -> Result<i64> {
    db.prepare_cached(&format!("SELECT id FROM {} WHERE public_id = ?1", table(level)))
        .and_then(|mut s| s.query_row([id.0.as_slice()], |r| r.get(0)).optional())
        .map_err(error)?
        .ok_or_else(|| ErrorKind::UnknownResource.into())
}
