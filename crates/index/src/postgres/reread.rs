//! Rows are made true again after a file was read again.

use super::error::sql;
use super::pool;
use super::rows::{public_id, table, unknown};
use crate::find_sql::normalized;
use crate::text::{clean, norm, read_metadata, tags_json, write_metadata};
use deadpool_postgres::{Pool, Transaction};
use model::{Error, ErrorKind, Level, MetadataValue, Reread, Result};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Writes again what rows repeat of the file of an instance. One transaction, which locks the instance and its ancestors.
pub(super) async fn reread(pool: &Pool, new: &Reread) -> Result<()> {
    let mut client = pool::get(pool).await?;
    let tx = client.transaction().await.map_err(sql)?;
    let statement = "SELECT l.p, l.s, l.e, l.i, p.public_id, s.public_id, e.public_id, i.blob, i.sop_class FROM path_1(3, $1) l
        JOIN patient p ON p.id = l.p JOIN study s ON s.id = l.s JOIN series e ON e.id = l.e JOIN instance i ON i.id = l.i";
    let rows = tx.query(statement, &[&new.ids.instance.0.as_slice()]).await.map_err(sql)?;
    let path = rows.first().ok_or_else(|| unknown(Level::Instance, new.ids.instance))?;
    if path.get::<_, Uuid>(7) != new.blob.0 {
        return Err(Error::new(ErrorKind::UnknownResource, format!("instance {} has another file now", new.ids.instance)));
    }
    for level in [Level::Patient, Level::Study, Level::Series] {
        if public_id(path, 4 + level as usize)? != new.ids.at(level) {
            let message = format!("the file of instance {} belongs to another series", new.ids.instance);
            return Err(Error::new(ErrorKind::Corrupted, message));
        }
    }
    for level in Level::ALL.into_iter().filter(|level| new.levels.contains(level)) {
        let row: i64 = path.get(level as usize);
        write(&tx, level, row, new).await?;
        write_metadata_of(&tx, level, row, new).await?;
    }
    // The lists of parents are gathered from all rows below: only if they may change.
    let other_class = new.levels.contains(&Level::Instance) && path.get::<_, &str>(8) != clean(&new.sop_class_uid);
    if other_class || new.levels.contains(&Level::Series) {
        let of_series: Option<i64> = other_class.then(|| path.get(2));
        tx.execute("SELECT refresh_1($1, $2, true)", &[&path.get::<_, i64>(1), &of_series]).await.map_err(sql)?;
    }
    tx.commit().await.map_err(sql)
}

/// Writes the tags, and what searches compare.
async fn write(tx: &Transaction<'_>, level: Level, row: i64, new: &Reread) -> Result<()> {
    let mut columns: Vec<(&str, Box<dyn ToSql + Send + Sync>)> = vec![("tags", Box::new(tags_json(&new.tags[level as usize])?))];
    for (name, home, tag) in normalized(level) {
        columns.push((name, Box::new(norm(&new.tags[home as usize], tag))));
    }
    match level {
        Level::Patient => {}
        Level::Study => columns.push(("patient_tags", Box::new(tags_json(&new.tags[Level::Patient as usize])?))),
        Level::Series => columns.push(("expected_instances", Box::new(new.expected_instances.map(i64::from)))),
        Level::Instance => {
            columns.push(("sop_class", Box::new(clean(&new.sop_class_uid).into_owned())));
            columns.push(("index_in_series", Box::new(new.index_in_series)));
        }
    }
    let set: Vec<String> = columns.iter().enumerate().map(|(i, (name, _))| format!("{name} = ${}", i + 2)).collect();
    let statement = format!("UPDATE {} SET {} WHERE id = $1", table(level), set.join(", "));
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&row];
    values.extend(columns.iter().map(|(_, value)| &**value as &(dyn ToSql + Sync)));
    tx.execute(&statement, &values).await.map(|_| ()).map_err(sql)
}

/// Sets and removes metadata. A value that stays as it is keeps its revision.
async fn write_metadata_of(tx: &Transaction<'_>, level: Level, row: i64, new: &Reread) -> Result<()> {
    let statement = format!("SELECT metadata, revisions FROM {} WHERE id = $1", table(level));
    let found = tx.query_one(&statement, &[&row]).await.map_err(sql)?;
    let mut all = read_metadata(found.get(0), found.get(1))?;
    for (kind, value) in &new.metadata[level as usize] {
        match (value, all.get_mut(kind)) {
            (None, _) => drop(all.remove(kind)),
            (Some(value), Some(old)) if old.value == *value => {}
            (Some(value), old) => {
                let revision = old.map_or(0, |v| v.revision + 1);
                all.insert(*kind, MetadataValue { value: value.clone(), revision });
            }
        }
    }
    let (values, revisions) = write_metadata(&all)?;
    let statement = format!("UPDATE {} SET metadata = $2, revisions = $3 WHERE id = $1", table(level));
    tx.execute(&statement, &[&row, &values, &revisions]).await.map(|_| ()).map_err(sql)
}
