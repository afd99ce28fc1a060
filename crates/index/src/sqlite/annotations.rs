//! What clients attach to resources: metadata, attachments, labels, protection.

use super::batch::{Batch, Delta, Sizes};
use super::blobs::{blob_column, discard};
use super::error::sql;
use super::quota::{self, Addition};
use super::rows::{self, Step, table};
use super::store::{compression_number, size};
use crate::text::{clean, read_metadata, write_metadata};
use model::ports::index::Expect;
use model::{
    Attachment, AttachmentId, ChangeType, ContentType, Error, ErrorKind, Level, MetadataKind, MetadataValue, OrthancId, Result,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};

/// # Errors
/// `Revision` unless the client knows the `current` revision, or nothing is there.
fn check(expect: Expect, current: Option<i64>) -> Result<()> {
    match (expect, current) {
        (Expect::Anything, _) | (_, None) => Ok(()),
        (Expect::Revision(known), current) if known == current => Ok(()),
        (Expect::Revision(_), Some(current)) => {
            Err(Error::new(ErrorKind::Revision, format!("the current revision is {current}")))
        }
    }
}

/// # Errors
/// `BadRequest` for what the index keeps itself.
fn settable(level: Level, kind: MetadataKind) -> Result<()> {
    if kind == MetadataKind::LAST_UPDATE && level < Level::Instance {
        return Err(Error::new(ErrorKind::BadRequest, "LastUpdate is kept by the index"));
    }
    Ok(())
}

pub(super) fn load(conn: &Connection, level: Level, row: i64) -> Result<BTreeMap<MetadataKind, MetadataValue>> {
    let (values, revisions): (String, String) = conn
        .prepare_cached(&format!("SELECT metadata, revisions FROM {} WHERE id = ?1", table(level)))
        .and_then(|mut s| s.query_row([row], |r| Ok((r.get(0)?, r.get(1)?))))
        .map_err(sql)?;
    read_metadata(&values, &revisions)
}

pub(super) fn save(conn: &Connection, level: Level, row: i64, metadata: &BTreeMap<MetadataKind, MetadataValue>) -> Result<()> {
    let (values, revisions) = write_metadata(metadata)?;
    conn.prepare_cached(&format!("UPDATE {} SET metadata = ?2, revisions = ?3 WHERE id = ?1", table(level)))
        .and_then(|mut s| s.execute(params![row, values, revisions]))
        .map_err(sql)?;
    Ok(())
}

/// Sets one metadata.
pub(super) fn set_metadata(
    batch: &mut Batch<'_>,
    (level, id): (Level, OrthancId),
    kind: MetadataKind,
    value: &str,
    expect: Expect,
) -> Result<i64> {
    settable(level, kind)?;
    let row = rows::expect(batch.conn, level, id)?;
    let mut all = load(batch.conn, level, row)?;
    let current = all.get(&kind).map(|v| v.revision);
    check(expect, current)?;
    let revision = current.map_or(0, |r| r + 1);
    all.insert(kind, MetadataValue { value: value.to_owned(), revision });
    save(batch.conn, level, row, &all)?;
    if kind.is_user() {
        batch.change(ChangeType::UpdatedMetadata, level, row, id)?;
    }
    Ok(revision)
}

/// Deletes one metadata.
pub(super) fn delete_metadata(
    batch: &mut Batch<'_>,
    (level, id): (Level, OrthancId),
    kind: MetadataKind,
    expect: Expect,
) -> Result<()> {
    settable(level, kind)?;
    let row = rows::expect(batch.conn, level, id)?;
    let mut all = load(batch.conn, level, row)?;
    let old = all.remove(&kind).ok_or_else(|| Error::new(ErrorKind::InexistentItem, "this metadata is not set"))?;
    check(expect, Some(old.revision))?;
    save(batch.conn, level, row, &all)?;
    if kind.is_user() {
        batch.change(ChangeType::UpdatedMetadata, level, row, id)?;
    }
    Ok(())
}

/// What is there under a type of attachment.
struct Old {
    blob: AttachmentId,
    bytes: i64,
    stored: i64,
    revision: i64,
}

impl Old {
    fn sizes(&self, content_type: ContentType) -> Sizes {
        sizes(self.bytes, self.stored, content_type)
    }
}

fn sizes(bytes: i64, stored: i64, content_type: ContentType) -> Sizes {
    let dicom = i64::from(content_type == ContentType::DICOM);
    Sizes { bytes, stored, dicom: bytes * dicom, dicom_stored: stored * dicom }
}

/// The DICOM file of an instance lives in the instance's row.
fn in_row(level: Level, content_type: ContentType) -> bool {
    level == Level::Instance && content_type == ContentType::DICOM
}

fn old_attachment(conn: &Connection, level: Level, row: i64, content_type: ContentType) -> Result<Option<Old>> {
    let statement = if in_row(level, content_type) {
        "SELECT blob, dicom_bytes, dicom_stored_bytes, blob_revision FROM instance WHERE id = ?2 AND ?1 = 3 AND ?3 = 1"
    } else {
        "SELECT blob, size_bytes, stored_bytes, revision FROM attachment WHERE level = ?1 AND resource = ?2 AND type = ?3"
    };
    conn.prepare_cached(statement)
        .and_then(|mut s| {
            s.query_row(params![level as u8, row, content_type.0], |r| {
                Ok(Old { blob: blob_column(r, 0)?, bytes: r.get(1)?, stored: r.get(2)?, revision: r.get(3)? })
            })
            .optional()
        })
        .map_err(sql)
}

/// Adds a difference of sizes to a resource, its ancestors and the totals.
fn resize(batch: &mut Batch<'_>, path: &[Step], size: Sizes) -> Result<()> {
    let delta = Delta { size, ..Delta::default() };
    for step in path {
        if step.level == Level::Instance {
            batch
                .conn
                .prepare_cached(
                    "UPDATE instance SET size_bytes = size_bytes + ?2, stored_bytes = stored_bytes + ?3,
                     dicom_bytes = dicom_bytes + ?4, dicom_stored_bytes = dicom_stored_bytes + ?5 WHERE id = ?1",
                )
                .and_then(|mut s| s.execute(params![step.row, size.bytes, size.stored, size.dicom, size.dicom_stored]))
                .map_err(sql)?;
        } else {
            batch.add(step.level, step.row, delta);
        }
    }
    batch.add_totals(0, delta);
    Ok(())
}

/// Adds or replaces an attachment.
pub(super) fn set_attachment(
    batch: &mut Batch<'_>,
    (level, id): (Level, OrthancId),
    new: &Attachment,
    expect: Expect,
) -> Result<i64> {
    let (conn, node) = (batch.conn, batch.node);
    let row = rows::expect(conn, level, id)?;
    let (bytes, stored) = (size(new.size_bytes)?, size(new.stored_size_bytes)?);
    let old = old_attachment(conn, level, row, new.content_type)?;
    check(expect, old.as_ref().map(|o| o.revision))?;
    batch.intents.check(conn, &node, new.id)?;
    make_room(batch, row, level, stored - old.as_ref().map_or(0, |o| o.sizes(new.content_type).stored))?;
    batch.intents.settle(conn, &node, new.id)?;
    let revision = old.as_ref().map_or(0, |o| o.revision + 1);
    let mut difference = sizes(bytes, stored, new.content_type);
    if let Some(old) = old {
        difference.add(old.sizes(new.content_type), -1);
        discard(conn, old.blob)?;
    }
    let statement = if in_row(level, new.content_type) {
        "UPDATE instance SET blob = ?4, compression = ?5, checksum = ?8, md5 = ?9, stored_md5 = ?10, blob_revision = ?11
         WHERE id = ?2 AND ?1 = 3 AND ?3 = 1 AND ?6 >= 0 AND ?7 >= 0"
    } else {
        "INSERT OR REPLACE INTO attachment (level, resource, type, blob, compression, size_bytes, stored_bytes, checksum, md5,
         stored_md5, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    };
    conn.prepare_cached(statement)
        .and_then(|mut s| {
            s.execute(params![
                level as u8,
                row,
                new.content_type.0,
                new.id.0.as_bytes(),
                compression_number(new.compression),
                bytes,
                stored,
                new.checksum.cast_signed(),
                new.md5,
                new.stored_md5,
                revision
            ])
        })
        .map_err(sql)?;
    resize(batch, &rows::path(conn, level, row)?, difference)?;
    if new.content_type.is_user() {
        batch.change(ChangeType::UpdatedAttachment, level, row, id)?;
    }
    Ok(revision)
}

/// Makes room within the quota for so many more bytes of one patient.
fn make_room(batch: &mut Batch<'_>, row: i64, level: Level, more: i64) -> Result<()> {
    let (quota, stored_bytes) = (batch.quota(), u64::try_from(more).unwrap_or(0));
    if quota.is_none() || stored_bytes == 0 {
        return Ok(());
    }
    let patient = rows::path(batch.conn, level, row)?.first().ok_or(ErrorKind::Internal)?.id;
    quota::make_room(batch, &quota, &Addition { patient, is_new: false, stored_bytes }).map(drop)
}

/// Deletes an attachment.
pub(super) fn delete_attachment(
    batch: &mut Batch<'_>,
    (level, id): (Level, OrthancId),
    content_type: ContentType,
    expect: Expect,
) -> Result<()> {
    let conn = batch.conn;
    let row = rows::expect(conn, level, id)?;
    if in_row(level, content_type) {
        return Err(Error::new(ErrorKind::BadRequest, "the DICOM file goes with its instance"));
    }
    let old = old_attachment(conn, level, row, content_type)?
        .ok_or_else(|| Error::new(ErrorKind::InexistentItem, "there is no such attachment"))?;
    check(expect, Some(old.revision))?;
    conn.prepare_cached("DELETE FROM attachment WHERE level = ?1 AND resource = ?2 AND type = ?3")
        .and_then(|mut s| s.execute(params![level as u8, row, content_type.0]))
        .map_err(sql)?;
    discard(conn, old.blob)?;
    let mut difference = Sizes::default();
    difference.add(old.sizes(content_type), -1);
    resize(batch, &rows::path(conn, level, row)?, difference)?;
    if content_type.is_user() {
        batch.change(ChangeType::UpdatedAttachment, level, row, id)?;
    }
    Ok(())
}

/// Notes the MD5s of an attachment, if it still has this blob.
pub(super) fn note_md5s(batch: &mut Batch<'_>, (level, id): (Level, OrthancId), of: &Attachment) -> Result<()> {
    let Some(row) = rows::resolve(batch.conn, level, id)? else { return Ok(()) };
    let statement = if in_row(level, of.content_type) {
        "UPDATE instance SET md5 = ?5, stored_md5 = ?6 WHERE id = ?2 AND blob = ?4 AND ?1 = 3 AND ?3 = 1"
    } else {
        "UPDATE attachment SET md5 = ?5, stored_md5 = ?6 WHERE level = ?1 AND resource = ?2 AND type = ?3 AND blob = ?4"
    };
    let values = params![level as u8, row, of.content_type.0, of.id.0.as_bytes(), of.md5, of.stored_md5];
    batch.conn.prepare_cached(statement).and_then(|mut s| s.execute(values)).map(drop).map_err(sql)
}

/// Adds and removes labels.
pub(super) fn change_labels(
    batch: &mut Batch<'_>,
    (level, id): (Level, OrthancId),
    add: &BTreeSet<String>,
    remove: &BTreeSet<String>,
) -> Result<()> {
    let row = rows::expect(batch.conn, level, id)?;
    let changes = [
        ("INSERT OR IGNORE INTO label (level, resource, label) VALUES (?1, ?2, ?3)", add),
        ("DELETE FROM label WHERE level = ?1 AND resource = ?2 AND label = ?3", remove),
    ];
    for (statement, labels) in changes {
        let mut statement = batch.conn.prepare_cached(statement).map_err(sql)?;
        for label in labels {
            statement.execute(params![level as u8, row, clean(label)]).map_err(sql)?;
        }
    }
    Ok(())
}

/// All labels in use: each is found by a jump in the index, not by reading all its rows.
pub(super) fn labels(conn: &Connection) -> Result<BTreeSet<String>> {
    conn.prepare_cached(
        "WITH RECURSIVE used (label) AS (
             SELECT min(label) FROM label
             UNION ALL
             SELECT (SELECT min(l.label) FROM label l WHERE l.label > used.label) FROM used WHERE used.label IS NOT NULL
         ) SELECT label FROM used WHERE label IS NOT NULL",
    )
    .and_then(|mut s| s.query_map([], |r| r.get(0))?.collect())
    .map_err(sql)
}

/// Exempts a patient from recycling, or undoes that.
pub(super) fn set_protected(batch: &mut Batch<'_>, patient: OrthancId, protected: bool) -> Result<()> {
    let row = rows::expect(batch.conn, Level::Patient, patient)?;
    batch
        .conn
        .prepare_cached(
            "UPDATE patient SET protected = ?2, recycle_at = CASE WHEN protected > ?2 THEN ?3 ELSE recycle_at END WHERE id = ?1",
        )
        .and_then(|mut s| s.execute(params![row, protected, batch.stable_at()]))
        .map_err(sql)?;
    Ok(())
}
