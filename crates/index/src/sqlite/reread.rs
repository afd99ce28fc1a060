//! Rows are made true again after a file was read again.

use super::annotations;
use super::batch::Batch;
use super::blobs::blob_column;
use super::delete::{collect_classes, refresh_study};
use super::error::sql;
use super::rows::{self, table};
use crate::find_sql::normalized;
use crate::text::{clean, norm, tags_json};
use model::{Error, ErrorKind, Level, MetadataValue, Reread, Result};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Writes again what rows repeat of the file of an instance.
pub(super) fn reread(batch: &mut Batch<'_>, new: &Reread) -> Result<()> {
    let instance = rows::expect(batch.conn, Level::Instance, new.ids.instance)?;
    // What the batch knows of parents would overwrite what follows.
    batch.flush()?;
    let conn = batch.conn;
    let (blob, class): (_, String) = conn
        .prepare_cached("SELECT blob, sop_class FROM instance WHERE id = ?1")
        .and_then(|mut s| s.query_row([instance], |row| Ok((blob_column(row, 0)?, row.get(1)?))))
        .map_err(sql)?;
    if blob != new.blob {
        return Err(Error::new(ErrorKind::UnknownResource, format!("instance {} has another file now", new.ids.instance)));
    }
    let path = rows::path(conn, Level::Instance, instance)?;
    if path.iter().any(|step| step.id != new.ids.at(step.level)) {
        let message = format!("the file of instance {} belongs to another series", new.ids.instance);
        return Err(Error::new(ErrorKind::Corrupted, message));
    }
    for step in path.iter().filter(|step| new.levels.contains(&step.level)) {
        write(conn, step.level, step.row, new)?;
        write_metadata(conn, step.level, step.row, new)?;
    }
    let row = |level: Level| path[level as usize].row;
    // The lists of parents are gathered from all rows below: only if they may change.
    let other_class = new.levels.contains(&Level::Instance) && class != clean(&new.sop_class_uid);
    if other_class {
        collect_classes(conn, row(Level::Series))?;
    }
    if other_class || new.levels.contains(&Level::Series) {
        refresh_study(conn, row(Level::Study))?;
    }
    Ok(())
}

/// Writes the tags, and what searches compare.
fn write(conn: &Connection, level: Level, row: i64, new: &Reread) -> Result<()> {
    let mut columns = vec![("tags", Value::from(tags_json(&new.tags[level as usize])?))];
    for (name, home, tag) in normalized(level) {
        columns.push((name, Value::from(norm(&new.tags[home as usize], tag))));
    }
    match level {
        Level::Patient => {}
        Level::Study => columns.push(("patient_tags", Value::from(tags_json(&new.tags[Level::Patient as usize])?))),
        Level::Series => columns.push(("expected_instances", Value::from(new.expected_instances))),
        Level::Instance => {
            columns.push(("sop_class", Value::from(clean(&new.sop_class_uid).into_owned())));
            columns.push(("index_in_series", Value::from(new.index_in_series)));
        }
    }
    let set: Vec<String> = columns.iter().enumerate().map(|(i, (name, _))| format!("{name} = ?{}", i + 2)).collect();
    let statement = format!("UPDATE {} SET {} WHERE id = ?1", table(level), set.join(", "));
    let values = std::iter::once(Value::from(row)).chain(columns.into_iter().map(|(_, value)| value));
    conn.prepare_cached(&statement).and_then(|mut s| s.execute(params_from_iter(values))).map_err(sql)?;
    Ok(())
}

/// Sets and removes metadata. A value that stays as it is keeps its revision.
fn write_metadata(conn: &Connection, level: Level, row: i64, new: &Reread) -> Result<()> {
    let mut all = annotations::load(conn, level, row)?;
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
    annotations::save(conn, level, row, &all)
}
