//! Rows as resources: one statement reads all that an answer needs of any number of them.

use super::feed::iso;
use super::readers::query;
use super::rows::{public_id, table, unknown, visible};
use crate::text::{read_metadata, read_set, read_tags};
use deadpool_postgres::Pool;
use model::{
    Attachment, AttachmentId, Compression, ContentType, Counts, Error, ErrorKind, Fields, Level, MetadataKind, MetadataValue,
    OrthancId, Resource, ResourceStatistics, Result, TagMap, Totals,
};
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// The same columns for every level, so that one function reads them. `t` is the row itself.
fn own_columns(level: Level) -> &'static str {
    match level {
        Level::Patient => {
            "t.public_id, NULL::bytea, NULL::bytea, NULL::bytea, t.study_count, t.series_count, t.instance_count, t.size_bytes,
             t.stored_bytes, '[]', '[]', t.last_update, t.is_stable, t.protected, NULL::bigint, NULL::bigint, NULL::bigint,
             NULL::bigint"
        }
        Level::Study => {
            "p.public_id, t.public_id, NULL::bytea, NULL::bytea, 0::bigint, t.series_count, t.instance_count, t.size_bytes,
             t.stored_bytes, t.modalities, t.sop_classes, t.last_update, t.is_stable, false, NULL::bigint, NULL::bigint,
             NULL::bigint, NULL::bigint"
        }
        Level::Series => {
            "p.public_id, st.public_id, t.public_id, NULL::bytea, 0::bigint, 0::bigint, t.instance_count, t.size_bytes,
             t.stored_bytes, '[]', t.sop_classes, t.last_update, t.is_stable, false, t.expected_instances, NULL::bigint,
             NULL::bigint, NULL::bigint"
        }
        Level::Instance => {
            "p.public_id, st.public_id, se.public_id, t.public_id, 0::bigint, 0::bigint, 0::bigint, t.size_bytes,
             t.stored_bytes, '[]', '[]', NULL::bigint, true, false, NULL::bigint, t.index_in_series, t.pixel_offset,
             t.tail_offset"
        }
    }
}

/// Tags by level, or NULL. Below patients, the study's copy of the patient's tags counts.
fn tags_columns(level: Level, parents: bool) -> String {
    let above: &[&str] = match (level, parents) {
        (Level::Study, true) => &["t.patient_tags"],
        (Level::Series, true) => &["st.patient_tags", "st.tags"],
        (Level::Instance, true) => &["st.patient_tags", "st.tags", "se.tags"],
        _ => &[],
    };
    let column = |at: usize| match at == level as usize {
        true => "t.tags",
        false => above.get(at).copied().unwrap_or("NULL::text"),
    };
    (0..4).map(column).collect::<Vec<_>>().join(", ")
}

fn parent_metadata(level: Level, wanted: bool) -> String {
    let above = ["p.metadata", "st.metadata", "se.metadata"];
    let column = |(at, column)| if wanted && at < level as usize { column } else { "NULL::text" };
    above.into_iter().enumerate().map(column).collect::<Vec<_>>().join(", ")
}

fn joins(level: Level) -> &'static str {
    match level {
        Level::Patient => "",
        Level::Study => " JOIN patient p ON p.id = t.patient",
        Level::Series => " JOIN study st ON st.id = t.study JOIN patient p ON p.id = st.patient",
        Level::Instance => {
            " JOIN series se ON se.id = t.series JOIN study st ON st.id = se.study JOIN patient p ON p.id = st.patient"
        }
    }
}

fn children(level: Level) -> &'static str {
    match level {
        Level::Patient => "ARRAY(SELECT c.public_id FROM study c WHERE c.patient = t.id AND c.deleted = 0 ORDER BY c.id)",
        Level::Study => "ARRAY(SELECT c.public_id FROM series c WHERE c.study = t.id AND c.deleted = 0 ORDER BY c.id)",
        Level::Series => "ARRAY(SELECT c.public_id FROM instance c WHERE c.series = t.id ORDER BY c.id)",
        Level::Instance => "NULL::bytea[]",
    }
}

const FILE: &str = "json_build_array(t.blob, 1, t.compression, t.dicom_bytes, t.dicom_stored_bytes, t.checksum, t.md5,
    t.stored_md5, t.blob_revision)::text";

/// The statement that reads resources: `from` names their rows `t`.
pub(super) fn statement(level: Level, fields: Fields, from: &str, rest: &str) -> String {
    let number = level as u8;
    let when = |wanted: bool, column: String| if wanted { column } else { "NULL".to_owned() };
    let attachments = format!(
        "ARRAY(SELECT json_build_array(a.blob, a.type, a.compression, a.size_bytes, a.stored_bytes, a.checksum, a.md5,
         a.stored_md5, a.revision)::text FROM attachment a WHERE a.level = {number} AND a.resource = t.id ORDER BY a.type)"
    );
    let attachments = if level == Level::Instance { format!("{FILE} || {attachments}") } else { attachments };
    let labels = format!("ARRAY(SELECT l.label FROM label l WHERE l.level = {number} AND l.resource = t.id)");
    let columns = [
        own_columns(level).to_owned(),
        tags_columns(level, fields.parent_tags),
        when(fields.metadata, "t.metadata".into()),
        when(fields.metadata, "t.revisions".into()),
        when(fields.attachments, attachments) + if fields.attachments { "" } else { "::text[]" },
        when(fields.labels, labels) + if fields.labels { "" } else { "::text[]" },
        when(fields.children, children(level).into()) + if fields.children { "" } else { "::bytea[]" },
        parent_metadata(level, fields.parent_metadata),
    ];
    format!("SELECT {} FROM {from}{}{rest}", columns.join(", "), joins(level))
}

/// Where the columns begin that not every level or answer has.
const TAGS: usize = 18;
const METADATA: usize = TAGS + 4;

/// One resource by its public id.
pub(super) async fn one(pool: &Pool, level: Level, id: OrthancId, fields: Fields) -> Result<Option<Resource>> {
    let rest = format!(" WHERE t.public_id = $1 AND {}", visible(level));
    let statement = statement(level, fields, &format!("{} t", table(level)), &rest);
    let rows = query(pool, &statement, &[&id.0.as_slice()]).await?;
    rows.first().map(|row| resource(row, level, fields)).transpose()
}

/// Reads a row of [`statement`].
pub(super) fn resource(row: &Row, level: Level, fields: Fields) -> Result<Resource> {
    let mut lineage = [None; 4];
    let mut tags: [TagMap; 4] = Default::default();
    for above in &Level::ALL[..=level as usize] {
        let at = *above as usize;
        lineage[at] = Some(public_id(row, at)?);
        if let Some(text) = row.get::<_, Option<&str>>(TAGS + at) {
            tags[at] = read_tags(text)?;
        }
    }
    let mut metadata = BTreeMap::new();
    if fields.metadata {
        metadata = read_metadata(row.get(METADATA), row.get(METADATA + 1))?;
        if let Some(updated) = row.get::<_, Option<i64>>(11) {
            metadata.insert(MetadataKind::LAST_UPDATE, MetadataValue { value: iso(updated), revision: 0 });
        }
    }
    let attachments: Option<Vec<&str>> = row.get(METADATA + 2);
    let labels: Option<Vec<String>> = row.get(METADATA + 3);
    let children: Option<Vec<&[u8]>> = row.get(METADATA + 4);
    let mut parent_metadata: [BTreeMap<_, _>; 3] = Default::default();
    for (at, all) in parent_metadata.iter_mut().enumerate() {
        if let Some(text) = row.get::<_, Option<&str>>(METADATA + 5 + at) {
            *all = read_metadata(text, "{}")?;
        }
    }
    let number = |column| row.get::<_, i64>(column).unsigned_abs();
    let optional = |column| row.get::<_, Option<i64>>(column);
    Ok(Resource {
        level,
        id: public_id(row, level as usize)?,
        lineage,
        tags,
        metadata,
        parent_metadata,
        labels: labels.unwrap_or_default().into_iter().collect(),
        children: children.unwrap_or_default().into_iter().map(OrthancId::from_bytes).collect::<Result<_>>()?,
        attachments: attachments.unwrap_or_default().into_iter().map(attachment).collect::<Result<_>>()?,
        counts: Counts { studies: number(4), series: number(5), instances: number(6) },
        size_bytes: number(7),
        stored_size_bytes: number(8),
        modalities: read_set(row.get(9))?.into_iter().collect(),
        sop_classes: read_set(row.get(10))?.into_iter().collect(),
        is_stable: row.get(12),
        is_protected: row.get(13),
        expected_instances: optional(14).and_then(|n| u32::try_from(n).ok()),
        index_in_series: optional(15),
        pixel_offset: optional(16).map(i64::unsigned_abs),
        tail_offset: optional(17).map(i64::unsigned_abs),
    })
}

/// Reads `[blob, type, compression, size, stored size, checksum, md5, stored md5, revision]`.
fn attachment(text: &str) -> Result<Attachment> {
    type Columns = (String, u16, u8, u64, u64, i64, Option<String>, Option<String>, i64);
    let damaged = |e| Error::new(ErrorKind::Database, "an attachment's row is damaged").caused_by(e);
    let (blob, content_type, compression, size_bytes, stored_size_bytes, checksum, md5, stored_md5, revision): Columns =
        serde_json::from_str(text).map_err(damaged)?;
    Ok(Attachment {
        id: blob.parse::<AttachmentId>()?,
        content_type: ContentType(content_type),
        compression: if compression == 2 { Compression::Zlib } else { Compression::None },
        size_bytes,
        stored_size_bytes,
        checksum: checksum.cast_unsigned(),
        md5,
        stored_md5,
        revision,
    })
}

/// Sizes and counts of one resource.
pub(super) async fn statistics(pool: &Pool, level: Level, id: OrthancId) -> Result<ResourceStatistics> {
    let counts = match level {
        Level::Patient => "t.study_count, t.series_count, t.instance_count",
        Level::Study => "0::bigint, t.series_count, t.instance_count",
        Level::Series => "0::bigint, 0::bigint, t.instance_count",
        Level::Instance => "0::bigint, 0::bigint, 0::bigint",
    };
    let statement = format!(
        "SELECT {counts}, t.size_bytes, t.stored_bytes, t.dicom_bytes, t.dicom_stored_bytes FROM {} t
         WHERE t.public_id = $1 AND {}",
        table(level),
        visible(level)
    );
    let rows = query(pool, &statement, &[&id.0.as_slice()]).await?;
    let row = rows.first().ok_or_else(|| unknown(level, id))?;
    let number = |column| row.get::<_, i64>(column).unsigned_abs();
    Ok(ResourceStatistics {
        counts: Counts { studies: number(0), series: number(1), instances: number(2) },
        size_bytes: number(3),
        stored_size_bytes: number(4),
        dicom_size_bytes: number(5),
        dicom_stored_size_bytes: number(6),
    })
}

/// Global totals.
pub(super) async fn totals(pool: &Pool) -> Result<Totals> {
    let statement = "SELECT sum(patients)::bigint, sum(studies)::bigint, sum(series)::bigint, sum(instances)::bigint,
        sum(stored_bytes)::bigint, sum(size_bytes)::bigint FROM stat_shard";
    let rows = query(pool, statement, &[]).await?;
    let row = rows.first().ok_or(ErrorKind::Internal)?;
    let number = |column| row.get::<_, i64>(column).unsigned_abs();
    Ok(Totals {
        patients: number(0),
        studies: number(1),
        series: number(2),
        instances: number(3),
        stored_size_bytes: number(4),
        size_bytes: number(5),
    })
}
