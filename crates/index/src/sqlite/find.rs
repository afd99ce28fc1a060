//! Reading resources.

use super::error;
use super::rows::{self, attachment, list, parse_metadata, table};
use super::store::LAST_UPDATE;
use crate::find_sql::{self, alias};
use model::{ContentType, Counts, Fields, FindRequest, Level, MetadataValue, OrthancId, Resource, Result, TagMap};
use rusqlite::{Connection, Row, params, params_from_iter};

/// Answers a search: one statement, and one more per resource for children and attachments if they are asked for.
pub(super) fn find(db: &Connection, request: &FindRequest) -> Result<Vec<Resource>> {
    let tx = db.unchecked_transaction().map_err(error)?;
    let sql = find_sql::build(request);
    let text = format!("SELECT {} {} {}", columns(request.level, request.fields), sql.from_where, sql.order_limit);
    let mut statement = tx.prepare_cached(&text).map_err(error)?;
    let mut rows = statement.query(params_from_iter(sql.values)).map_err(error)?;
    let mut found = vec![];
    while let Some(row) = rows.next().map_err(error)? {
        let (id, mut resource) = read(row, request.level, request.fields)?;
        if request.fields.children {
            resource.children = children(&tx, request.level, id)?;
        }
        if request.fields.attachments {
            attachments(&tx, request.level, id, &mut resource)?;
        }
        found.push(resource);
    }
    Ok(found)
}

/// How many resources a search finds.
pub(super) fn count(db: &Connection, request: &FindRequest) -> Result<u64> {
    let sql = find_sql::build(request);
    let text = format!("SELECT count(*) {}", sql.from_where);
    let read = |r: &Row<'_>| r.get::<_, i64>(0);
    db.prepare_cached(&text).and_then(|mut s| s.query_row(params_from_iter(sql.values), read)).map_err(error).map(|n| n as u64)
}

/// The list of columns, in the order that [`read`] expects.
fn columns(level: Level, fields: Fields) -> String {
    let own = alias(level);
    let mut all: Vec<String> = vec![format!("{own}.id")];
    all.extend(Level::ALL[..=level as usize].iter().map(|l| format!("{}.public_id", alias(*l))));
    for l in &Level::ALL[..=level as usize] {
        all.push(if *l == level || fields.parent_tags { format!("{}.tags", alias(*l)) } else { "NULL".into() });
    }
    all.push(if fields.metadata { format!("{own}.metadata") } else { "NULL".into() });
    all.push(if fields.labels { format!("{own}.labels") } else { "NULL".into() });
    all.push(
        match level {
            Level::Patient => {
                "p.study_count, p.series_count, p.instance_count, p.size_bytes, p.stored_bytes, p.last_update, p.is_stable, p.protected"
            }
            Level::Study => {
                "1, s.series_count, s.instance_count, s.size_bytes, s.stored_bytes, s.last_update, s.is_stable, s.modalities, s.sop_classes"
            }
            Level::Series => {
                "0, 1, e.instance_count, e.size_bytes, e.stored_bytes, e.last_update, e.is_stable, e.expected_instances, e.sop_classes"
            }
            Level::Instance => "0, 0, 1, i.blob_size, i.stored_size, NULL, 0, i.index_in_series, i.pixel_offset, i.tail_offset",
        }
        .into(),
    );
    all.join(", ")
}

fn read(row: &Row<'_>, level: Level, fields: Fields) -> Result<(i64, Resource)> {
    let depth = level as usize + 1;
    let mut lineage = [None; 4];
    for (i, slot) in lineage.iter_mut().enumerate().take(depth) {
        *slot = Some(OrthancId::from_bytes(row.get_ref(1 + i).and_then(|v| Ok(v.as_blob()?)).map_err(error)?)?);
    }
    let mut tags: [TagMap; 4] = Default::default();
    for (i, slot) in tags.iter_mut().enumerate().take(depth) {
        if let Some(json) = row.get::<_, Option<String>>(1 + depth + i).map_err(error)? {
            *slot = TagMap::from_json(&json)?;
        }
    }
    let at = 1 + 2 * depth;
    let text = |i: usize| row.get::<_, Option<String>>(i).map_err(error);
    let number = |i: usize| row.get::<_, Option<i64>>(i).map_err(error);
    let mut metadata = text(at)?.map(|m| parse_metadata(&m)).transpose()?.unwrap_or_default();
    if let (true, Some(value)) = (fields.metadata, text(at + 7)?) {
        metadata.insert(LAST_UPDATE, MetadataValue { value, revision: 0 });
    }
    let labels = text(at + 1)?.map(|l| serde_json::from_str(&l).unwrap_or_default()).unwrap_or_default();
    let unsigned = |i| Ok::<_, model::Error>(number(i)?.unwrap_or(0) as u64);
    let mut resource = Resource {
        level,
        id: lineage[level as usize].unwrap_or(OrthancId([0; 20])),
        lineage,
        tags,
        metadata,
        labels,
        children: vec![],
        attachments: vec![],
        counts: Counts { studies: unsigned(at + 2)?, series: unsigned(at + 3)?, instances: unsigned(at + 4)? },
        size_bytes: unsigned(at + 5)?,
        stored_size_bytes: unsigned(at + 6)?,
        modalities: vec![],
        sop_classes: vec![],
        is_stable: unsigned(at + 8)? != 0,
        is_protected: false,
        expected_instances: None,
        index_in_series: None,
        pixel_offset: None,
        tail_offset: None,
    };
    match level {
        Level::Patient => resource.is_protected = unsigned(at + 9)? != 0,
        Level::Study => {
            resource.modalities = list(&text(at + 9)?.unwrap_or_default());
            resource.sop_classes = list(&text(at + 10)?.unwrap_or_default());
        }
        Level::Series => {
            resource.expected_instances = number(at + 9)?.map(|n| n as u32);
            resource.sop_classes = list(&text(at + 10)?.unwrap_or_default());
        }
        Level::Instance => {
            resource.index_in_series = number(at + 9)?;
            resource.pixel_offset = number(at + 10)?.map(|n| n as u64);
            resource.tail_offset = number(at + 11)?.map(|n| n as u64);
        }
    }
    Ok((row.get(0).map_err(error)?, resource))
}

fn children(db: &Connection, level: Level, id: i64) -> Result<Vec<OrthancId>> {
    let Some(child) = level.child() else { return Ok(vec![]) };
    let sql = format!("SELECT public_id FROM {} WHERE {} = ?1 ORDER BY id", table(child), rows::parent_column(child));
    let mut statement = db.prepare_cached(&sql).map_err(error)?;
    let mut rows = statement.query([id]).map_err(error)?;
    let mut all = vec![];
    while let Some(row) = rows.next().map_err(error)? {
        all.push(OrthancId::from_bytes(row.get_ref(0).and_then(|v| Ok(v.as_blob()?)).map_err(error)?)?);
    }
    Ok(all)
}

fn attachments(db: &Connection, level: Level, id: i64, resource: &mut Resource) -> Result<()> {
    if level == Level::Instance {
        let sql = "SELECT 1, blob, blob_size, stored_size, md5, stored_md5, compression, 0 FROM instance WHERE id = ?1";
        let own = db.prepare_cached(sql).and_then(|mut s| s.query_row([id], |r| attachment(r, 0))).map_err(error)?;
        debug_assert_eq!(own.content_type, ContentType::DICOM);
        resource.attachments.push(own);
    }
    let sql = "SELECT content_type, blob, blob_size, stored_size, md5, stored_md5, compression, revision FROM attachment
         WHERE level = ?1 AND resource_id = ?2 ORDER BY content_type";
    let mut statement = db.prepare_cached(sql).map_err(error)?;
    let more = statement.query_map(params![level as u8, id], |r| attachment(r, 0)).map_err(error)?;
    for one in more {
        resource.attachments.push(one.map_err(error)?);
    }
    Ok(())
}
