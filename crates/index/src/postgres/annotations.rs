//! What clients attach to resources: metadata, attachments, labels, protection. Each is one statement, so that no process that
//! sleeps keeps a lock; metadata are changed if they still are what was read.

use super::blobs::masks;
use super::quota;
use super::readers::query;
use super::rows::{resolve, table, unknown, visible};
use super::store::{Stores, compression_number, size};
use super::writer::{TRIES, write};
use crate::text::{clean, read_metadata, write_metadata};
use deadpool_postgres::Pool;
use model::ports::index::Expect;
use model::{Attachment, ChangeType, ContentType, Error, ErrorKind, Level, MetadataKind, MetadataValue, OrthancId, Result};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

fn conflict(current: i64) -> Error {
    Error::new(ErrorKind::Revision, format!("the current revision is {current}"))
}

/// # Errors
/// `Revision` unless the client knows the `current` revision, or nothing is there.
fn check(expect: Expect, current: Option<i64>) -> Result<()> {
    match (expect, current) {
        (Expect::Anything, _) | (_, None) => Ok(()),
        (Expect::Revision(known), current) if known == current => Ok(()),
        (Expect::Revision(_), Some(current)) => Err(conflict(current)),
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

type Metadata = BTreeMap<MetadataKind, MetadataValue>;

/// Reads the metadata of a resource, changes them, and writes them unless somebody else did meanwhile; then again.
pub(super) async fn change_metadata<T>(
    pool: &Pool,
    (level, id): (Level, OrthancId),
    announced: bool,
    mut change: impl FnMut(&mut Metadata) -> Result<T>,
) -> Result<T> {
    let (table, visible) = (table(level), visible(level));
    let read = format!("SELECT t.metadata, t.revisions FROM {table} t WHERE t.public_id = $1 AND {visible}");
    let announce = if announced {
        "SELECT count(*) FROM (SELECT change_1(ARRAY[$6::int2], ARRAY[$7::int2], ARRAY[done.id], ARRAY[done.public_id]) FROM done) c"
    } else {
        "SELECT count(*) FROM done WHERE $6::int2 IS NOT NULL AND $7::int2 IS NOT NULL"
    };
    let update = format!(
        "WITH done AS MATERIALIZED (
             UPDATE {table} t SET metadata = $2, revisions = $3
             WHERE t.public_id = $1 AND {visible} AND t.metadata = $4 AND t.revisions = $5 RETURNING t.id, t.public_id
         ) {announce}"
    );
    for _ in 0..TRIES * 10 {
        let rows = query(pool, &read, &[&id.0.as_slice()]).await?;
        let row = rows.first().ok_or_else(|| unknown(level, id))?;
        let (old_values, old_revisions): (&str, &str) = (row.get(0), row.get(1));
        let mut all = read_metadata(old_values, old_revisions)?;
        let result = change(&mut all)?;
        let (values, revisions) = write_metadata(&all)?;
        let (kind, number) = (ChangeType::UpdatedMetadata as i16, level as i16);
        let done =
            write(pool, &update, &[&id.0.as_slice(), &values, &revisions, &old_values, &old_revisions, &kind, &number]).await?;
        if done.first().is_some_and(|row| row.get::<_, i64>(0) > 0) {
            return Ok(result);
        }
    }
    Err(Error::new(ErrorKind::Busy, "others change the same metadata all the time"))
}

/// Sets one metadata.
pub(super) async fn set_metadata(
    pool: &Pool,
    (level, id): (Level, OrthancId),
    kind: MetadataKind,
    value: &str,
    expect: Expect,
) -> Result<i64> {
    settable(level, kind)?;
    change_metadata(pool, (level, id), kind.is_user(), |all| {
        let current = all.get(&kind).map(|v| v.revision);
        check(expect, current)?;
        let revision = current.map_or(0, |r| r + 1);
        all.insert(kind, MetadataValue { value: value.to_owned(), revision });
        Ok(revision)
    })
    .await
}

/// Deletes one metadata.
pub(super) async fn delete_metadata(
    pool: &Pool,
    (level, id): (Level, OrthancId),
    kind: MetadataKind,
    expect: Expect,
) -> Result<()> {
    settable(level, kind)?;
    change_metadata(pool, (level, id), kind.is_user(), |all| {
        let old = all.remove(&kind).ok_or_else(|| Error::new(ErrorKind::InexistentItem, "this metadata is not set"))?;
        check(expect, Some(old.revision))
    })
    .await
}

/// The revision that a client expects, as `attach_1` takes it.
fn known(expect: Expect) -> Option<i64> {
    match expect {
        Expect::Anything => None,
        Expect::Revision(None) => Some(-1),
        Expect::Revision(Some(revision)) => Some(revision),
    }
}

const ATTACH: &str = "SELECT outcome, revision FROM attach_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

/// Adds, replaces, or without `new` removes an attachment.
async fn attach(
    stores: &Stores,
    (level, id): (Level, OrthancId),
    content_type: ContentType,
    expect: Expect,
    new: Option<&Attachment>,
) -> Result<i64> {
    let block = masks(new.iter().map(|a| a.id)).into_iter().next();
    let prefix = block.as_ref().map(|(prefix, _)| prefix.as_slice());
    let mask = block.as_ref().map(|(_, mask)| mask.as_str());
    let blob: Option<Uuid> = new.map(|a| a.id.0);
    let compression = new.map(|a| compression_number(a.compression));
    let bytes = new.map(|a| size(a.size_bytes)).transpose()?;
    let stored = new.map(|a| size(a.stored_size_bytes)).transpose()?;
    let checksum = new.map(|a| a.checksum.cast_signed());
    let md5 = new.and_then(|a| a.md5.as_deref()).map(clean);
    let stored_md5 = new.and_then(|a| a.stored_md5.as_deref()).map(clean);
    let (number, kind, known) = (level as i32, i32::from(content_type.0), known(expect));
    let rows = quota::attach(
        stores,
        (level, id),
        ATTACH,
        &[
            &number,
            &id.0.as_slice(),
            &kind,
            &known,
            &blob,
            &stores.node,
            &prefix,
            &mask,
            &compression,
            &bytes,
            &stored,
            &checksum,
            &md5,
            &stored_md5,
            &stores.shard,
        ],
    )
    .await?;
    let row = rows.first().ok_or(ErrorKind::Internal)?;
    let revision: Option<i64> = row.get(1);
    match row.get::<_, i32>(0) {
        0 => Ok(revision.unwrap_or(0)),
        1 => Err(unknown(level, id)),
        2 => Err(conflict(revision.unwrap_or(0))),
        _ => Err(Error::new(ErrorKind::InexistentItem, "there is no such attachment")),
    }
}

/// Adds or replaces an attachment.
pub(super) async fn set_attachment(stores: &Stores, of: (Level, OrthancId), new: &Attachment, expect: Expect) -> Result<i64> {
    attach(stores, of, new.content_type, expect, Some(new)).await
}

/// Deletes an attachment.
pub(super) async fn delete_attachment(
    stores: &Stores,
    (level, id): (Level, OrthancId),
    content_type: ContentType,
    expect: Expect,
) -> Result<()> {
    if level == Level::Instance && content_type == ContentType::DICOM {
        resolve(&stores.pool, level, id).await?.ok_or_else(|| unknown(level, id))?;
        return Err(Error::new(ErrorKind::BadRequest, "the DICOM file goes with its instance"));
    }
    attach(stores, (level, id), content_type, expect, None).await.map(|_| ())
}

/// Notes the MD5s of an attachment, if it still has this blob.
pub(super) async fn note_md5s(pool: &Pool, (level, id): (Level, OrthancId), of: &Attachment) -> Result<()> {
    let kind = i32::from(of.content_type.0);
    let (md5, stored_md5) = (of.md5.as_deref().map(clean), of.stored_md5.as_deref().map(clean));
    let (table, visible) = (table(level), visible(level));
    let statement = if level == Level::Instance && of.content_type == ContentType::DICOM {
        format!(
            "UPDATE {table} t SET md5 = $3, stored_md5 = $4
             WHERE t.public_id = $1 AND t.blob = $2 AND {visible} AND $5::int2 = 3 AND $6::integer = 1"
        )
    } else {
        format!(
            "UPDATE attachment a SET md5 = $3, stored_md5 = $4 FROM {table} t
             WHERE t.public_id = $1 AND {visible} AND a.level = $5 AND a.resource = t.id AND a.type = $6 AND a.blob = $2"
        )
    };
    write(pool, &statement, &[&id.0.as_slice(), &of.id.0, &md5, &stored_md5, &(level as i16), &kind]).await.map(drop)
}

/// Adds and removes labels.
pub(super) async fn change_labels(
    pool: &Pool,
    (level, id): (Level, OrthancId),
    add: &BTreeSet<String>,
    remove: &BTreeSet<String>,
) -> Result<()> {
    let list = |labels: &BTreeSet<String>| labels.iter().map(|l| clean(l).into_owned()).collect::<Vec<_>>();
    // A label that is in both lists goes: so it is not added at all. The lock keeps a deletion from missing the new labels.
    let removed = list(remove);
    let added: Vec<String> = list(add).into_iter().filter(|l| !removed.contains(l)).collect();
    let statement = format!(
        "WITH own AS MATERIALIZED (
             SELECT t.id FROM {} t WHERE t.public_id = $1 AND {} FOR NO KEY UPDATE OF t
         ), added AS (
             INSERT INTO label (level, resource, label) SELECT $2, own.id, d.label FROM own CROSS JOIN unnest($3::text[]) d (label)
             ON CONFLICT DO NOTHING
         ), removed AS (
             DELETE FROM label l USING own WHERE l.level = $2 AND l.resource = own.id AND l.label = ANY ($4::text[])
         ) SELECT count(*) FROM own",
        table(level),
        visible(level)
    );
    let rows = write(pool, &statement, &[&id.0.as_slice(), &(level as i16), &added, &removed]).await?;
    if rows.first().is_some_and(|row| row.get::<_, i64>(0) > 0) { Ok(()) } else { Err(unknown(level, id)) }
}

/// All labels in use: each is found by a jump in the index, not by reading all its rows.
pub(super) async fn labels(pool: &Pool) -> Result<BTreeSet<String>> {
    let statement = "WITH RECURSIVE used (digest, label) AS (
            (SELECT md5(label), label FROM label ORDER BY md5(label) LIMIT 1)
            UNION ALL
            SELECT next.* FROM used CROSS JOIN LATERAL (
                SELECT md5(l.label), l.label FROM label l WHERE md5(l.label) > used.digest ORDER BY md5(l.label) LIMIT 1
            ) next
        ) SELECT label FROM used";
    Ok(query(pool, statement, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Exempts a patient from recycling, or undoes that.
pub(super) async fn set_protected(stores: &Stores, patient: OrthancId, protected: bool) -> Result<()> {
    // `stable_at` is also the order of recycling.
    let statement = "UPDATE patient SET protected = $2, stable_at = CASE WHEN protected AND NOT $2
            THEN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3 ELSE stable_at END
        WHERE public_id = $1 AND deleted = 0 RETURNING id";
    let rows = write(&stores.pool, statement, &[&patient.0.as_slice(), &protected, &stores.stable_age_ms()]).await?;
    if rows.is_empty() { Err(unknown(Level::Patient, patient)) } else { Ok(()) }
}
