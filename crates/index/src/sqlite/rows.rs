//! Small pieces of rows: tables by level, metadata, lists.

use model::{Attachment, AttachmentId, Compression, ContentType, Error, ErrorKind, Level, MetadataKind, MetadataValue, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The table of a level.
pub(super) fn table(level: Level) -> &'static str {
    ["patient", "study", "series", "instance"][level as usize]
}

/// The column that names the parent, in the table of a level below patients.
pub(super) fn parent_column(level: Level) -> &'static str {
    ["", "patient_id", "study_id", "series_id"][level as usize]
}

/// U+0000 cannot be stored by PostgreSQL; both databases hold U+FFFD instead.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// `{"9":["1.2.840.10008.1.2",0]}`: values and revisions by number.
pub(super) fn metadata_json(all: &BTreeMap<MetadataKind, MetadataValue>) -> String {
    let map: Map<String, Value> = all.iter().map(|(k, v)| (k.0.to_string(), json!([clean(&v.value), v.revision]))).collect();
    Value::Object(map).to_string()
}

pub(super) fn parse_metadata(text: &str) -> Result<BTreeMap<MetadataKind, MetadataValue>> {
    let bad = || Error::new(ErrorKind::Database, "the metadata of a row is not valid");
    let map: Map<String, Value> = serde_json::from_str(text).map_err(|_| bad())?;
    map.into_iter()
        .map(|(key, value)| {
            let kind = MetadataKind(key.parse().map_err(|_| bad())?);
            let text = value[0].as_str().ok_or_else(bad)?.to_owned();
            Ok((kind, MetadataValue { value: text, revision: value[1].as_i64().unwrap_or(0) }))
        })
        .collect()
}

/// A backslash-separated list without empty members.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split('\\').filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

/// Adds a member to a sorted backslash-separated list; `None` if it is there already.
pub(super) fn list_with(text: &str, member: &str) -> Option<String> {
    let mut all = list(text);
    if member.is_empty() || all.iter().any(|m| m == member) {
        return None;
    }
    all.push(member.to_owned());
    all.sort();
    Some(all.join("\\"))
}

pub(super) fn blob(bytes: &[u8]) -> Result<AttachmentId> {
    let bad = |e| Error::new(ErrorKind::Database, "a blob name must have 16 bytes").caused_by(e);
    Uuid::from_slice(bytes).map(AttachmentId).map_err(|e: uuid::Error| bad(e))
}

/// The columns of an attachment: `content_type, blob, blob_size, stored_size, md5, stored_md5, compression, revision`.
pub(super) fn attachment(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Attachment> {
    let bad = |e| rusqlite::Error::FromSqlConversionFailure(first, rusqlite::types::Type::Blob, Box::new(e));
    let id = Uuid::from_slice(row.get_ref(first + 1)?.as_blob()?).map_err(|e: uuid::Error| bad(e))?;
    Ok(Attachment {
        content_type: ContentType(row.get(first)?),
        id: AttachmentId(id),
        size_bytes: row.get::<_, i64>(first + 2)? as u64,
        stored_size_bytes: row.get::<_, i64>(first + 3)? as u64,
        md5: row.get(first + 4)?,
        stored_md5: row.get(first + 5)?,
        compression: if row.get::<_, i64>(first + 6)? == 0 { Compression::None } else { Compression::Zlib },
        revision: row.get(first + 7)?,
    })
}
