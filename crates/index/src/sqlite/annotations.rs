//! The port's family for what clients attach to resources.

use super::rows::{attachment, clean, metadata_json, parse_metadata, table};
use super::store::internal_id;
use super::{SqliteIndex, delete, error, feed};
use async_trait::async_trait;
use model::ports::index::{Annotations, Expect};
use model::{
    Attachment, ChangeType, Compression, ContentType, Error, ErrorKind, Level, MetadataKind, MetadataValue, OrthancId, Result,
    time,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};

/// Compares what the client knows with what is there.
fn check(expect: Expect, current: Option<i64>) -> Result<()> {
    match (expect, current) {
        (Expect::Anything, _) | (Expect::Revision(_), None) => Ok(()),
        (Expect::Revision(known), Some(current)) if known == Some(current) => Ok(()),
        (Expect::Revision(_), Some(current)) => {
            Err(Error::new(ErrorKind::Revision, format!("the current revision is {current}: send it in If-Match")))
        }
    }
}

fn metadata(db: &Connection, level: Level, id: i64) -> Result<BTreeMap<MetadataKind, MetadataValue>> {
    let sql = format!("SELECT metadata FROM {} WHERE id = ?1", table(level));
    let text: String = db.prepare_cached(&sql).and_then(|mut s| s.query_row([id], |r| r.get(0))).map_err(error)?;
    parse_metadata(&text)
}

fn save(db: &Connection, level: Level, id: i64, all: &BTreeMap<MetadataKind, MetadataValue>) -> Result<()> {
    let sql = format!("UPDATE {} SET metadata = ?2 WHERE id = ?1", table(level));
    db.prepare_cached(&sql).and_then(|mut s| s.execute(params![id, metadata_json(all)])).map_err(error).map(drop)
}

fn set_metadata(
    db: &Connection,
    (level, public): (Level, OrthancId),
    kind: MetadataKind,
    value: &str,
    expect: Expect,
) -> Result<i64> {
    let id = internal_id(db, level, public)?;
    let mut all = metadata(db, level, id)?;
    let current = all.get(&kind).map(|m| m.revision);
    check(expect, current)?;
    let revision = current.map_or(0, |r| r + 1);
    all.insert(kind, MetadataValue { value: clean(value), revision });
    save(db, level, id, &all)?;
    if kind.is_user() {
        feed::append(db, ChangeType::UpdatedMetadata, level, public, &time::now_iso())?;
    }
    Ok(revision)
}

fn delete_metadata(db: &Connection, (level, public): (Level, OrthancId), kind: MetadataKind, expect: Expect) -> Result<()> {
    let id = internal_id(db, level, public)?;
    let mut all = metadata(db, level, id)?;
    let Some(current) = all.remove(&kind) else {
        return Err(Error::new(ErrorKind::InexistentItem, "the resource has no such metadata"));
    };
    check(expect, Some(current.revision))?;
    save(db, level, id, &all)?;
    if kind.is_user() {
        feed::append(db, ChangeType::UpdatedMetadata, level, public, &time::now_iso())?;
    }
    Ok(())
}

fn existing(db: &Connection, level: Level, id: i64, content: ContentType) -> Result<Option<Attachment>> {
    let sql = "SELECT content_type, blob, blob_size, stored_size, md5, stored_md5, compression, revision FROM attachment
         WHERE level = ?1 AND resource_id = ?2 AND content_type = ?3";
    db.prepare_cached(sql)
        .and_then(|mut s| s.query_row(params![level as u8, id, content.0], |r| attachment(r, 0)).optional())
        .map_err(error)
}

/// Adds the difference in size to the resource (instances count theirs on demand), its ancestors and the totals.
fn resize(db: &Connection, level: Level, id: i64, (size, stored): (i64, i64)) -> Result<()> {
    let parents = match level {
        Level::Patient => ["?1", "NULL", "NULL"],
        Level::Study => ["(SELECT patient_id FROM study WHERE id = ?1)", "?1", "NULL"],
        Level::Series => [
            "(SELECT patient_id FROM study WHERE id = (SELECT study_id FROM series WHERE id = ?1))",
            "(SELECT study_id FROM series WHERE id = ?1)",
            "?1",
        ],
        Level::Instance => [
            "(SELECT patient_id FROM study WHERE id = (SELECT study_id FROM instance WHERE id = ?1))",
            "(SELECT study_id FROM instance WHERE id = ?1)",
            "(SELECT series_id FROM instance WHERE id = ?1)",
        ],
    };
    for (table, parent) in ["patient", "study", "series"].into_iter().zip(parents) {
        if parent != "NULL" {
            let sql =
                format!("UPDATE {table} SET size_bytes = size_bytes + ?2, stored_bytes = stored_bytes + ?3 WHERE id = {parent}");
            db.prepare_cached(&sql).and_then(|mut s| s.execute(params![id, size, stored])).map_err(error)?;
        }
    }
    let sql = "UPDATE totals SET size_bytes = size_bytes + ?1, stored_bytes = stored_bytes + ?2 WHERE shard = 0";
    db.prepare_cached(sql).and_then(|mut s| s.execute(params![size, stored])).map_err(error).map(drop)
}

fn set_attachment(db: &Connection, (level, public): (Level, OrthancId), new: &Attachment, expect: Expect) -> Result<i64> {
    let sql = "DELETE FROM blob_intent WHERE blob = ?1";
    if db.prepare_cached(sql).and_then(|mut s| s.execute([new.id.0.as_bytes().as_slice()])).map_err(error)? == 0 {
        return Err(Error::new(ErrorKind::Busy, "the name of the blob is no longer reserved: store again"));
    }
    let id = internal_id(db, level, public)?;
    let old = existing(db, level, id, new.content_type)?;
    check(expect, old.as_ref().map(|a| a.revision))?;
    let revision = old.as_ref().map_or(0, |a| a.revision + 1);
    let (mut size, mut stored) = (new.size_bytes as i64, new.stored_size_bytes as i64);
    if let Some(old) = old {
        delete::give_up_blob(db, old.id)?;
        size -= old.size_bytes as i64;
        stored -= old.stored_size_bytes as i64;
    }
    resize(db, level, id, (size, stored))?;
    let sql = "INSERT OR REPLACE INTO attachment (level, resource_id, content_type, blob, blob_size, stored_size, md5, stored_md5, compression,
             revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let blob = new.id.0.as_bytes().as_slice();
    let compression = i64::from(new.compression != Compression::None);
    let (size, stored) = (new.size_bytes as i64, new.stored_size_bytes as i64);
    db.execute(
        sql,
        params![level as u8, id, new.content_type.0, blob, size, stored, new.md5, new.stored_md5, compression, revision],
    )
    .map_err(error)?;
    if new.content_type.is_user() {
        feed::append(db, ChangeType::UpdatedAttachment, level, public, &time::now_iso())?;
    }
    Ok(revision)
}

fn delete_attachment(db: &Connection, (level, public): (Level, OrthancId), content: ContentType, expect: Expect) -> Result<()> {
    let id = internal_id(db, level, public)?;
    let missing = || Error::new(ErrorKind::InexistentItem, "the resource has no such attachment");
    let old = existing(db, level, id, content)?.ok_or_else(missing)?;
    check(expect, Some(old.revision))?;
    delete::give_up_blob(db, old.id)?;
    resize(db, level, id, (-(old.size_bytes as i64), -(old.stored_size_bytes as i64)))?;
    let sql = "DELETE FROM attachment WHERE level = ?1 AND resource_id = ?2 AND content_type = ?3";
    db.execute(sql, params![level as u8, id, content.0]).map_err(error)?;
    if content.is_user() {
        feed::append(db, ChangeType::UpdatedAttachment, level, public, &time::now_iso())?;
    }
    Ok(())
}

fn change_labels(
    db: &Connection,
    level: Level,
    public: OrthancId,
    add: &BTreeSet<String>,
    remove: &BTreeSet<String>,
) -> Result<()> {
    let id = internal_id(db, level, public)?;
    let sql = format!("SELECT labels FROM {} WHERE id = ?1", table(level));
    let text: String = db.prepare_cached(&sql).and_then(|mut s| s.query_row([id], |r| r.get(0))).map_err(error)?;
    let mut all: BTreeSet<String> = serde_json::from_str(&text).unwrap_or_default();
    all.extend(add.iter().cloned());
    all.retain(|l| !remove.contains(l));
    let sql = format!("UPDATE {} SET labels = ?2 WHERE id = ?1", table(level));
    db.execute(&sql, params![id, serde_json::json!(all).to_string()]).map_err(error).map(drop)
}

#[async_trait]
impl Annotations for SqliteIndex {
    async fn set_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, value: &str, expect: Expect) -> Result<i64> {
        let value = value.to_owned();
        self.write(move |db| set_metadata(db, (level, id), kind, &value, expect)).await
    }

    async fn delete_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, expect: Expect) -> Result<()> {
        self.write(move |db| delete_metadata(db, (level, id), kind, expect)).await
    }

    async fn set_attachment(&self, level: Level, id: OrthancId, new: Attachment, expect: Expect) -> Result<i64> {
        self.write(move |db| set_attachment(db, (level, id), &new, expect)).await
    }

    async fn delete_attachment(&self, level: Level, id: OrthancId, content: ContentType, expect: Expect) -> Result<()> {
        self.write(move |db| delete_attachment(db, (level, id), content, expect)).await
    }

    async fn change_labels(&self, level: Level, id: OrthancId, add: &BTreeSet<String>, remove: &BTreeSet<String>) -> Result<()> {
        let (add, remove) = (add.clone(), remove.clone());
        self.write(move |db| change_labels(db, level, id, &add, &remove)).await
    }

    async fn labels(&self) -> Result<BTreeSet<String>> {
        self.read(|db| {
            let one = |t: &str| format!("SELECT value FROM {t}, json_each({t}.labels) WHERE {t}.labels <> '[]'");
            let sql = ["patient", "study", "series", "instance"].map(one).join(" UNION ");
            let mut statement = db.prepare_cached(&sql).map_err(error)?;
            statement.query_map([], |r| r.get(0)).and_then(Iterator::collect).map_err(error)
        })
        .await
    }

    async fn set_protected(&self, patient: OrthancId, protected: bool) -> Result<()> {
        self.write(move |db| {
            let id = internal_id(db, Level::Patient, patient)?;
            db.execute("UPDATE patient SET protected = ?2 WHERE id = ?1", params![id, protected]).map_err(error).map(drop)
        })
        .await
    }
}
