//! Small questions about rows that several files ask.

use super::readers::query;
use deadpool_postgres::Pool;
use model::{Error, ErrorKind, Level, OrthancId, Result};

/// The table of a level.
pub(super) fn table(level: Level) -> &'static str {
    ["patient", "study", "series", "instance"][level as usize]
}

/// The condition that a row `t` of a level is visible.
pub(super) fn visible(level: Level) -> &'static str {
    match level {
        Level::Instance => "EXISTS (SELECT FROM series of WHERE of.id = t.series AND of.deleted = 0)",
        _ => "t.deleted = 0",
    }
}

/// The internal id of a visible resource.
pub(super) async fn resolve(pool: &Pool, level: Level, id: OrthancId) -> Result<Option<i64>> {
    let statement = format!("SELECT t.id FROM {} t WHERE t.public_id = $1 AND {}", table(level), visible(level));
    let rows = query(pool, &statement, &[&id.0.as_slice()]).await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Visible resources behind an internal id, in its order.
pub(super) async fn walk(pool: &Pool, level: Level, after: i64, limit: usize) -> Result<Vec<(i64, OrthancId)>> {
    let statement =
        format!("SELECT t.id, t.public_id FROM {} t WHERE t.id > $1 AND {} ORDER BY t.id LIMIT $2", table(level), visible(level));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = query(pool, &statement, &[&after, &limit]).await?;
    rows.iter().map(|row| Ok((row.get(0), public_id(row, 1)?))).collect()
}

pub(super) fn unknown(level: Level, id: OrthancId) -> Error {
    Error::new(ErrorKind::UnknownResource, format!("there is no {} with id {id}", level.name().to_lowercase()))
}

/// Reads a public id.
///
/// # Errors
/// `Database` unless it has 20 bytes.
pub(super) fn public_id(row: &tokio_postgres::Row, column: usize) -> Result<OrthancId> {
    OrthancId::from_bytes(row.get(column))
}

/// Reads a level.
///
/// # Errors
/// `Database`.
pub(super) fn level(number: i16) -> Result<Level> {
    let level = usize::try_from(number).ok().and_then(|n| Level::ALL.get(n));
    level.copied().ok_or_else(|| Error::new(ErrorKind::Database, "there is no such level"))
}
