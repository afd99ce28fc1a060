//! Rows as resources.

use super::batch::set_column;
use super::blobs::blob_column;
use super::error::sql;
use super::feed::iso;
use crate::text::{read_metadata, read_tags};
use model::{
    Attachment, Compression, ContentType, Counts, Fields, Level, MetadataKind, MetadataValue, OrthancId, Resource,
    ResourceStatistics, Result, TagMap, Totals,
};
use rusqlite::{Connection, Row, params};
use std::collections::{BTreeMap, BTreeSet};

/// The same columns for every level, so that one function reads them. Below patients, the study's copy of the patient's tags counts.
fn statement(level: Level) -> &'static str {
    match level {
        Level::Patient => {
            "SELECT t.public_id, NULL, NULL, NULL, t.tags, NULL, NULL, NULL, t.metadata, t.revisions,
             t.study_count, t.series_count, t.instance_count, t.size_bytes, t.stored_bytes, '[]', '[]',
             t.last_update, t.stable_at IS NULL, t.protected, NULL, NULL, NULL, NULL
             FROM patient t WHERE t.id = ?1"
        }
        Level::Study => {
            "SELECT p.public_id, t.public_id, NULL, NULL, t.patient_tags, t.tags, NULL, NULL, t.metadata, t.revisions,
             0, t.series_count, t.instance_count, t.size_bytes, t.stored_bytes, t.modalities, t.sop_classes,
             t.last_update, t.stable_at IS NULL, 0, NULL, NULL, NULL, NULL
             FROM study t JOIN patient p ON p.id = t.patient WHERE t.id = ?1"
        }
        Level::Series => {
            "SELECT p.public_id, st.public_id, t.public_id, NULL, st.patient_tags, st.tags, t.tags, NULL, t.metadata, t.revisions,
             0, 0, t.instance_count, t.size_bytes, t.stored_bytes, '[]', t.sop_classes,
             t.last_update, t.stable_at IS NULL, 0, t.expected_instances, NULL, NULL, NULL
             FROM series t JOIN study st ON st.id = t.study JOIN patient p ON p.id = st.patient WHERE t.id = ?1"
        }
        Level::Instance => {
            "SELECT p.public_id, st.public_id, se.public_id, t.public_id, st.patient_tags, st.tags, se.tags, t.tags, t.metadata,
             t.revisions, 0, 0, 0, t.size_bytes, t.stored_bytes, '[]', '[]',
             NULL, 1, 0, NULL, t.index_in_series, t.pixel_offset, t.tail_offset,
             t.blob, 1, t.compression, t.dicom_bytes, t.dicom_stored_bytes, t.checksum, t.md5, t.stored_md5, t.blob_revision
             FROM instance t JOIN series se ON se.id = t.series JOIN study st ON st.id = se.study
             JOIN patient p ON p.id = st.patient WHERE t.id = ?1"
        }
    }
}

/// Where the columns of the DICOM file of an instance begin.
const BLOB: usize = 24;

/// Reads one resource.
pub(super) fn resource(conn: &Connection, level: Level, row: i64, fields: Fields) -> Result<Resource> {
    let mut statement = conn.prepare_cached(statement(level)).map_err(sql)?;
    let mut found = statement.query([row]).map_err(sql)?;
    let columns = found.next().map_err(sql)?.ok_or(rusqlite::Error::QueryReturnedNoRows).map_err(sql)?;
    let mut resource = own(columns, level, fields)?;
    if fields.attachments && level == Level::Instance {
        resource.attachments.push(attachment(columns, BLOB).map_err(sql)?);
    }
    if fields.attachments {
        resource.attachments.extend(attachments(conn, level, row)?);
    }
    if fields.labels {
        resource.labels = labels(conn, level, row)?;
    }
    if fields.parent_metadata {
        resource.parent_metadata = parent_metadata(conn, level, row)?;
    }
    if fields.children {
        resource.children = children(conn, level, row)?;
    }
    Ok(resource)
}

/// What is in the row itself.
fn own(columns: &Row<'_>, level: Level, fields: Fields) -> Result<Resource> {
    let mut lineage = [None; 4];
    let mut tags: [TagMap; 4] = Default::default();
    for above in &Level::ALL[..=level as usize] {
        let at = *above as usize;
        lineage[at] = Some(OrthancId(columns.get(at).map_err(sql)?));
        if *above == level || fields.parent_tags {
            tags[at] = read_tags(columns.get_ref(4 + at).and_then(|v| Ok(v.as_str()?)).map_err(sql)?)?;
        }
    }
    let mut metadata = BTreeMap::new();
    if fields.metadata {
        let text = |column| columns.get_ref(column).and_then(|v| Ok(v.as_str()?)).map_err(sql);
        metadata = read_metadata(text(8)?, text(9)?)?;
        if let Some(updated) = columns.get::<_, Option<i64>>(17).map_err(sql)? {
            metadata.insert(MetadataKind::LAST_UPDATE, MetadataValue { value: iso(updated), revision: 0 });
        }
    }
    let number = |column| columns.get::<_, u64>(column);
    (|| {
        Ok(Resource {
            level,
            id: OrthancId(columns.get(level as usize)?),
            lineage,
            tags,
            metadata,
            parent_metadata: Default::default(),
            labels: BTreeSet::new(),
            children: vec![],
            attachments: vec![],
            counts: Counts { studies: number(10)?, series: number(11)?, instances: number(12)? },
            size_bytes: number(13)?,
            stored_size_bytes: number(14)?,
            modalities: set_column(columns, 15)?.into_iter().collect(),
            sop_classes: set_column(columns, 16)?.into_iter().collect(),
            is_stable: columns.get(18)?,
            is_protected: columns.get(19)?,
            expected_instances: columns.get(20)?,
            index_in_series: columns.get(21)?,
            pixel_offset: columns.get(22)?,
            tail_offset: columns.get(23)?,
        })
    })()
    .map_err(sql)
}

/// Reads `blob, type, compression, size, stored size, checksum, md5, stored md5, revision`.
fn attachment(row: &Row<'_>, at: usize) -> rusqlite::Result<Attachment> {
    Ok(Attachment {
        id: blob_column(row, at)?,
        content_type: ContentType(row.get(at + 1)?),
        compression: if row.get::<_, i64>(at + 2)? == 2 { Compression::Zlib } else { Compression::None },
        size_bytes: row.get(at + 3)?,
        stored_size_bytes: row.get(at + 4)?,
        checksum: row.get::<_, i64>(at + 5)?.cast_unsigned(),
        md5: row.get(at + 6)?,
        stored_md5: row.get(at + 7)?,
        revision: row.get(at + 8)?,
    })
}

fn attachments(conn: &Connection, level: Level, row: i64) -> Result<Vec<Attachment>> {
    conn.prepare_cached(
        "SELECT blob, type, compression, size_bytes, stored_bytes, checksum, md5, stored_md5, revision
         FROM attachment WHERE level = ?1 AND resource = ?2 ORDER BY type",
    )
    .and_then(|mut s| s.query_map(params![level as u8, row], |r| attachment(r, 0))?.collect())
    .map_err(sql)
}

fn labels(conn: &Connection, level: Level, row: i64) -> Result<BTreeSet<String>> {
    conn.prepare_cached("SELECT label FROM label INDEXED BY label_resource WHERE level = ?1 AND resource = ?2")
        .and_then(|mut s| s.query_map(params![level as u8, row], |r| r.get(0))?.collect())
        .map_err(sql)
}

fn parent_metadata(conn: &Connection, level: Level, row: i64) -> Result<[BTreeMap<MetadataKind, MetadataValue>; 3]> {
    let statement = match level {
        Level::Patient => return Ok(Default::default()),
        Level::Study => "SELECT p.metadata FROM study t JOIN patient p ON p.id = t.patient WHERE t.id = ?1",
        Level::Series => {
            "SELECT p.metadata, st.metadata FROM series t JOIN study st ON st.id = t.study JOIN patient p ON p.id = st.patient
             WHERE t.id = ?1"
        }
        Level::Instance => {
            "SELECT p.metadata, st.metadata, se.metadata FROM instance t JOIN series se ON se.id = t.series
             JOIN study st ON st.id = se.study JOIN patient p ON p.id = st.patient WHERE t.id = ?1"
        }
    };
    let texts: Vec<String> = conn
        .prepare_cached(statement)
        .and_then(|mut s| s.query_row([row], |r| (0..level as usize).map(|at| r.get(at)).collect()))
        .map_err(sql)?;
    let mut all: [BTreeMap<_, _>; 3] = Default::default();
    for (metadata, text) in all.iter_mut().zip(texts) {
        *metadata = read_metadata(&text, "{}")?;
    }
    Ok(all)
}

/// Public ids one level below, in the order of creation.
fn children(conn: &Connection, level: Level, row: i64) -> Result<Vec<OrthancId>> {
    let statement = match level {
        Level::Patient => "SELECT public_id FROM study WHERE patient = ?1 AND deleted = 0 ORDER BY id",
        Level::Study => "SELECT public_id FROM series WHERE study = ?1 AND deleted = 0 ORDER BY id",
        Level::Series => "SELECT public_id FROM instance WHERE series = ?1 ORDER BY id",
        Level::Instance => return Ok(vec![]),
    };
    conn.prepare_cached(statement).and_then(|mut s| s.query_map([row], |r| r.get(0).map(OrthancId))?.collect()).map_err(sql)
}

/// Sizes and counts of one resource.
pub(super) fn statistics(conn: &Connection, level: Level, row: i64) -> Result<ResourceStatistics> {
    let counts = match level {
        Level::Patient => "study_count, series_count, instance_count",
        Level::Study => "0, series_count, instance_count",
        Level::Series => "0, 0, instance_count",
        Level::Instance => "0, 0, 0",
    };
    let table = super::rows::table(level);
    conn.prepare_cached(&format!(
        "SELECT {counts}, size_bytes, stored_bytes, dicom_bytes, dicom_stored_bytes FROM {table} WHERE id = ?1"
    ))
    .and_then(|mut s| {
        s.query_row([row], |r| {
            Ok(ResourceStatistics {
                counts: Counts { studies: r.get(0)?, series: r.get(1)?, instances: r.get(2)? },
                size_bytes: r.get(3)?,
                stored_size_bytes: r.get(4)?,
                dicom_size_bytes: r.get(5)?,
                dicom_stored_size_bytes: r.get(6)?,
            })
        })
    })
    .map_err(sql)
}

/// Global totals.
pub(super) fn totals(conn: &Connection) -> Result<Totals> {
    conn.prepare_cached(
        "SELECT sum(patients), sum(studies), sum(series), sum(instances), sum(stored_bytes), sum(size_bytes) FROM stat_shard",
    )
    .and_then(|mut s| {
        s.query_row([], |r| {
            Ok(Totals {
                patients: r.get(0)?,
                studies: r.get(1)?,
                series: r.get(2)?,
                instances: r.get(3)?,
                stored_size_bytes: r.get(4)?,
                size_bytes: r.get(5)?,
            })
        })
    })
    .map_err(sql)
}
