//! What one stored instance writes: its own row, the parents that it lacks, and changes. Counters of parents are sums of the
//! batch (`batch.rs`).

use super::batch::{Batch, Delta, SeriesState, Sizes, StudyState, set_column};
use super::delete;
use super::error::sql;
use super::quota::{self, Addition};
use super::rows;
use crate::text::{metadata_json, norm, set_json, tags_json};
use dataset::Tag;
use model::instance::{InstanceIds, Overwrite};
use model::{ChangeType, Compression, Error, ErrorKind, Level, NewInstance, OrthancId, Result, StoreStatus, Stored, tags};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;

const STUDY_TIME: Tag = Tag(0x0008, 0x0030);
const STUDY_ID: Tag = Tag(0x0020, 0x0010);
const INSTITUTION: Tag = Tag(0x0008, 0x0080);
const REFERRING: Tag = Tag(0x0008, 0x0090);
const SERIES_DESCRIPTION: Tag = Tag(0x0008, 0x103E);
const BODY_PART: Tag = Tag(0x0018, 0x0015);

/// The parents of a new instance, as internal ids, and which of them it created.
struct Parents {
    patient: i64,
    study: i64,
    series: i64,
}

/// Stores one instance.
pub(super) fn store(batch: &mut Batch<'_>, new: &NewInstance) -> Result<Stored> {
    let (conn, node) = (batch.conn, batch.node);
    batch.intents.check(conn, &node, new.blob.id)?;
    let mut created = vec![];
    let mut recycled = 0;
    loop {
        recycled += make_room(batch, new)?;
        let parents = ensure_parents(batch, new, &mut created)?;
        if let Some(id) = insert(batch, new, parents.series)? {
            batch.intents.settle(conn, &node, new.blob.id)?;
            announce(batch, &new.ids, &parents, id, &created)?;
            count(batch, new, &parents, &created);
            return Ok(Stored { ids: new.ids, status: StoreStatus::Success, keeps_blob: true, recycled });
        }
        // The row is there already: it is a leftover of a deleted series, or it is kept, or it is replaced.
        let old = existing(batch, new.ids.instance)?.ok_or(ErrorKind::Internal)?;
        if old.deleted {
            delete::purge_instance(batch, old.id)?;
        } else if keeps_old(new, &old) {
            return Ok(Stored { ids: new.ids, status: StoreStatus::AlreadyStored, keeps_blob: false, recycled: 0 });
        } else {
            delete::delete(batch, Level::Instance, new.ids.instance)?;
        }
    }
}

fn keeps_old(new: &NewInstance, old: &Existing) -> bool {
    match new.overwrite {
        Overwrite::Never => true,
        Overwrite::Always => false,
        Overwrite::IfChanged => (old.bytes, old.checksum) == (new.blob.size_bytes, new.blob.checksum.cast_signed()),
    }
}

struct Existing {
    id: i64,
    deleted: bool,
    bytes: u64,
    checksum: i64,
}

/// Makes room within the quota, unless the row is there already. How many patients went.
fn make_room(batch: &mut Batch<'_>, new: &NewInstance) -> Result<u32> {
    let quota = batch.quota();
    if quota.is_none() || existing(batch, new.ids.instance)?.is_some() {
        return Ok(0);
    }
    let patient = new.ids.patient;
    let is_new = !batch.patients.contains_key(&patient) && rows::resolve(batch.conn, Level::Patient, patient)?.is_none();
    quota::make_room(batch, &quota, &Addition { patient, is_new, stored_bytes: new.blob.stored_size_bytes })
}

fn existing(batch: &Batch<'_>, id: OrthancId) -> Result<Option<Existing>> {
    batch
        .conn
        .prepare_cached(
            "SELECT i.id, se.deleted, i.dicom_bytes, i.checksum
             FROM instance i JOIN series se ON se.id = i.series WHERE i.public_id = ?1",
        )
        .and_then(|mut s| {
            let old =
                |r: &rusqlite::Row<'_>| Ok(Existing { id: r.get(0)?, deleted: r.get(1)?, bytes: r.get(2)?, checksum: r.get(3)? });
            s.query_row([id.0], old).optional()
        })
        .map_err(sql)
}

/// Inserts the row unless one with the same public id is there.
fn insert(batch: &Batch<'_>, new: &NewInstance, series: i64) -> Result<Option<i64>> {
    let own = &new.tags[Level::Instance as usize];
    let blob = &new.blob;
    let mut statement = batch
        .conn
        .prepare_cached(
            "INSERT INTO instance (series, index_in_series, public_id, sop_uid, sop_class, blob, compression, dicom_bytes,
             dicom_stored_bytes, checksum, md5, stored_md5, pixel_offset, tail_offset, size_bytes, stored_bytes, tags, metadata)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?8, ?9, ?15, ?16)
             ON CONFLICT (public_id) DO NOTHING",
        )
        .map_err(sql)?;
    let inserted = statement
        .execute(params![
            series,
            new.index_in_series,
            new.ids.instance.0,
            norm(own, tags::SOP_INSTANCE_UID),
            crate::text::clean(&new.sop_class_uid),
            blob.id.0.as_bytes(),
            compression_number(blob.compression),
            size(blob.size_bytes)?,
            size(blob.stored_size_bytes)?,
            blob.checksum.cast_signed(),
            blob.md5,
            blob.stored_md5,
            new.pixel_offset.map(size).transpose()?,
            new.tail_offset.map(size).transpose()?,
            tags_json(own)?,
            metadata_json(&new.metadata[Level::Instance as usize])?,
        ])
        .map_err(sql)?;
    Ok((inserted == 1).then(|| batch.conn.last_insert_rowid()))
}

/// Orthanc's order: the instance, then its new parents from the bottom.
fn announce(batch: &mut Batch<'_>, ids: &InstanceIds, parents: &Parents, instance: i64, created: &[Level]) -> Result<()> {
    batch.change(ChangeType::NewInstance, Level::Instance, instance, ids.instance)?;
    for level in [Level::Series, Level::Study, Level::Patient] {
        if created.contains(&level) {
            let row = [parents.patient, parents.study, parents.series][level as usize];
            batch.change(ChangeType::new(level), level, row, ids.at(level))?;
        }
    }
    Ok(())
}

fn count(batch: &mut Batch<'_>, new: &NewInstance, parents: &Parents, created: &[Level]) {
    let is_new = |level| i64::from(created.contains(&level));
    let (bytes, stored) = (new.blob.size_bytes as i64, new.blob.stored_size_bytes as i64);
    let size = Sizes { bytes, stored, dicom: bytes, dicom_stored: stored };
    let one = Delta { instances: 1, size, touch: true, restart: true, ..Delta::default() };
    let in_study = Delta { series: is_new(Level::Series), ..one };
    let in_patient = Delta { studies: is_new(Level::Study), ..in_study };
    batch.add(Level::Series, parents.series, one);
    batch.add(Level::Study, parents.study, in_study);
    batch.add(Level::Patient, parents.patient, in_patient);
    batch.add_totals(is_new(Level::Patient), in_patient);
    let class = crate::text::clean(&new.sop_class_uid);
    if let Some(series) = batch.series.get_mut(&new.ids.series) {
        series.instances += 1;
        series.changed |= add_to(&mut series.sop_classes, &class);
    }
    if let Some(study) = batch.studies.get_mut(&new.ids.study) {
        study.changed |= add_to(&mut study.sop_classes, &class);
    }
}

/// Adds a text that is not blank; whether it is new.
fn add_to(set: &mut BTreeSet<String>, value: &str) -> bool {
    !value.is_empty() && !set.contains(value) && set.insert(value.to_owned())
}

/// Finds the parents, from the nearest up, and creates what is missing.
fn ensure_parents(batch: &mut Batch<'_>, new: &NewInstance, created: &mut Vec<Level>) -> Result<Parents> {
    if !batch.series.contains_key(&new.ids.series) {
        load_series(batch, &new.ids)?;
    }
    if let Some(series) = batch.series.get(&new.ids.series) {
        return Ok(Parents { patient: series.patient, study: series.study, series: series.id });
    }
    if !batch.studies.contains_key(&new.ids.study) {
        load_study(batch, new.ids.study)?;
    }
    if !batch.studies.contains_key(&new.ids.study) {
        let patient = ensure_patient(batch, new, created)?;
        insert_study(batch, new, patient)?;
        created.push(Level::Study);
    }
    let modality = new.tags[Level::Series as usize].get(tags::MODALITY).map(|m| crate::text::clean(m).trim().to_owned());
    let study = batch.studies.get_mut(&new.ids.study).ok_or(ErrorKind::Internal)?;
    study.changed |= add_to(&mut study.modalities, modality.as_deref().unwrap_or_default());
    let (study, patient) = (study.id, study.patient);
    let series = insert_series(batch, new, study, patient)?;
    created.push(Level::Series);
    Ok(Parents { patient, study, series })
}

fn load_series(batch: &mut Batch<'_>, ids: &InstanceIds) -> Result<()> {
    let found = batch
        .conn
        .prepare_cached(
            "SELECT se.id, se.study, st.patient, se.sop_classes, se.instance_count, se.expected_instances, se.completed,
             st.modalities, st.sop_classes
             FROM series se JOIN study st ON st.id = se.study WHERE se.public_id = ?1 AND se.deleted = 0",
        )
        .and_then(|mut s| {
            s.query_row([ids.series.0], |r| {
                let series = SeriesState {
                    id: r.get(0)?,
                    study: r.get(1)?,
                    patient: r.get(2)?,
                    sop_classes: set_column(r, 3)?,
                    changed: false,
                    instances: r.get(4)?,
                    expected: r.get(5)?,
                    completed: r.get(6)?,
                };
                let (modalities, sop_classes) = (set_column(r, 7)?, set_column(r, 8)?);
                let study = StudyState { id: series.study, patient: series.patient, modalities, sop_classes, changed: false };
                Ok((series, study))
            })
            .optional()
        })
        .map_err(sql)?;
    if let Some((series, study)) = found {
        // What this batch knows of the study is newer than its row. Sums of this batch are not in the series' row only if the
        // series is known already.
        batch.studies.entry(ids.study).or_insert(study);
        batch.series.insert(ids.series, series);
    }
    Ok(())
}

fn load_study(batch: &mut Batch<'_>, id: OrthancId) -> Result<()> {
    let found = batch
        .conn
        .prepare_cached("SELECT id, patient, modalities, sop_classes FROM study WHERE public_id = ?1 AND deleted = 0")
        .and_then(|mut s| {
            s.query_row([id.0], |r| {
                let (modalities, sop_classes) = (set_column(r, 2)?, set_column(r, 3)?);
                Ok(StudyState { id: r.get(0)?, patient: r.get(1)?, modalities, sop_classes, changed: false })
            })
            .optional()
        })
        .map_err(sql)?;
    if let Some(study) = found {
        batch.studies.insert(id, study);
    }
    Ok(())
}

/// The columns that rows of all parents begin with.
fn common(batch: &Batch<'_>, new: &NewInstance, level: Level) -> Result<(i64, i64, String, String)> {
    let at = level as usize;
    Ok((batch.now(), batch.stable_at(), tags_json(&new.tags[at])?, metadata_json(&new.metadata[at])?))
}

fn ensure_patient(batch: &mut Batch<'_>, new: &NewInstance, created: &mut Vec<Level>) -> Result<i64> {
    let public = new.ids.patient;
    if let Some(id) = batch.patients.get(&public) {
        return Ok(*id);
    }
    let found = batch
        .conn
        .prepare_cached("SELECT id FROM patient WHERE public_id = ?1 AND deleted = 0")
        .and_then(|mut s| s.query_row([public.0], |r| r.get(0)).optional())
        .map_err(sql)?;
    let id = match found {
        Some(id) => id,
        None => {
            let norm = |tag| norm(&new.tags[Level::Patient as usize], tag);
            let (now, stable_at, own, metadata) = common(batch, new, Level::Patient)?;
            created.push(Level::Patient);
            batch
                .conn
                .prepare_cached(
                    "INSERT INTO patient (public_id, last_update, stable_at, tags, metadata, patient_id, name, birth_date, sex)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )
                .and_then(|mut s| {
                    s.insert(params![
                        public.0,
                        now,
                        stable_at,
                        own,
                        metadata,
                        norm(tags::PATIENT_ID),
                        norm(tags::PATIENT_NAME),
                        norm(tags::PATIENT_BIRTH_DATE),
                        norm(tags::PATIENT_SEX),
                    ])
                })
                .map_err(sql)?
        }
    };
    batch.patients.insert(public, id);
    Ok(id)
}

fn insert_study(batch: &mut Batch<'_>, new: &NewInstance, patient: i64) -> Result<()> {
    let of_patient = &new.tags[Level::Patient as usize];
    let patient_tags = tags_json(of_patient)?;
    let own_norm = |tag| norm(&new.tags[Level::Study as usize], tag);
    let (now, stable_at, own, metadata) = common(batch, new, Level::Study)?;
    let id = batch
        .conn
        .prepare_cached(
            "INSERT INTO study (public_id, last_update, stable_at, tags, metadata, patient, study_uid, study_date, study_time,
             accession, study_id, description, referring, institution, patient_tags, patient_id, name, birth_date, sex)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )
        .and_then(|mut s| {
            s.insert(params![
                new.ids.study.0,
                now,
                stable_at,
                own,
                metadata,
                patient,
                own_norm(tags::STUDY_INSTANCE_UID),
                own_norm(tags::STUDY_DATE),
                own_norm(STUDY_TIME),
                own_norm(tags::ACCESSION_NUMBER),
                own_norm(STUDY_ID),
                own_norm(tags::STUDY_DESCRIPTION),
                own_norm(REFERRING),
                own_norm(INSTITUTION),
                patient_tags,
                norm(of_patient, tags::PATIENT_ID),
                norm(of_patient, tags::PATIENT_NAME),
                norm(of_patient, tags::PATIENT_BIRTH_DATE),
                norm(of_patient, tags::PATIENT_SEX),
            ])
        })
        .map_err(sql)?;
    let empty = BTreeSet::new;
    let state = StudyState { id, patient, modalities: empty(), sop_classes: empty(), changed: false };
    batch.studies.insert(new.ids.study, state);
    Ok(())
}

fn insert_series(batch: &mut Batch<'_>, new: &NewInstance, study: i64, patient: i64) -> Result<i64> {
    let norm = |tag| norm(&new.tags[Level::Series as usize], tag);
    let (now, stable_at, own, metadata) = common(batch, new, Level::Series)?;
    let mut sop_classes = BTreeSet::new();
    add_to(&mut sop_classes, &crate::text::clean(&new.sop_class_uid));
    let id = batch
        .conn
        .prepare_cached(
            "INSERT INTO series (public_id, last_update, stable_at, tags, metadata, study, series_uid, modality, description,
             body_part, sop_classes, expected_instances) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .and_then(|mut s| {
            s.insert(params![
                new.ids.series.0,
                now,
                stable_at,
                own,
                metadata,
                study,
                norm(tags::SERIES_INSTANCE_UID),
                norm(tags::MODALITY),
                norm(SERIES_DESCRIPTION),
                norm(BODY_PART),
                set_json(&sop_classes),
                new.expected_instances,
            ])
        })
        .map_err(sql)?;
    let expected = new.expected_instances;
    let state = SeriesState { id, study, patient, sop_classes, changed: false, instances: 0, expected, completed: false };
    batch.series.insert(new.ids.series, state);
    Ok(id)
}

/// A size or offset as SQL integers hold it.
///
/// # Errors
/// `OutOfRange` from 2^63.
pub(super) fn size(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| Error::new(ErrorKind::OutOfRange, format!("{bytes} bytes are too many")))
}

/// Orthanc's numbers: 1 none, 2 zlib with size.
pub(super) fn compression_number(compression: Compression) -> i64 {
    match compression {
        Compression::None => 1,
        Compression::Zlib => 2,
    }
}
