//! Searches: `find_sql` yields internal ids, then each row is read with one prepared statement.

use super::error::sql;
use super::{load, rows};
use crate::find_sql::{Dialect, Param, Scope, Search, What, build, check, is_bare};
use model::matching::normalize;
use model::{FindRequest, Level, OrthancId, Resource, Result};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};
use std::collections::HashMap;

impl ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Int(number) => ValueRef::Integer(*number),
        }))
    }
}

/// Internal ids of `request.related_to`; `None` if one of them is unknown.
fn related(conn: &Connection, request: &FindRequest) -> Result<Option<Vec<(Level, i64)>>> {
    let mut found = Vec::with_capacity(request.related_to.len());
    for (level, id) in &request.related_to {
        match rows::resolve(conn, *level, *id)? {
            Some(row) => found.push((*level, row)),
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// Internal ids of `request.among`.
fn among(conn: &Connection, request: &FindRequest) -> Result<Option<(Level, Vec<i64>)>> {
    let Some((level, ids)) = &request.among else { return Ok(None) };
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(rows::resolve(conn, *level, *id)?);
    }
    Ok(Some((*level, found)))
}

/// Answers a search.
pub(super) fn find(conn: &Connection, request: &FindRequest) -> Result<Vec<Resource>> {
    check(request)?;
    let Some(related) = related(conn, request)? else { return Ok(vec![]) };
    let among = among(conn, request)?;
    let ids = match related.as_slice() {
        // One resource: nothing to search.
        [(level, row)] if *level == request.level && is_bare(request) => {
            if request.since == 0 {
                vec![*row]
            } else {
                vec![]
            }
        }
        related => ids(conn, &build(Dialect::Sqlite, request, scope(conn, related, &among)?, What::Ids))?,
    };
    ids.into_iter().map(|row| load::resource(conn, request.level, row, request.fields)).collect()
}

fn scope<'r>(conn: &Connection, related: &'r [(Level, i64)], among: &'r Option<(Level, Vec<i64>)>) -> Result<Scope<'r>> {
    let among = among.as_ref().map(|(level, rows)| (*level, rows.as_slice()));
    Ok(Scope { related, among, hidden: rows::any_hidden(conn)? })
}

fn ids(conn: &Connection, search: &Search) -> Result<Vec<i64>> {
    conn.prepare_cached(&search.sql)
        .and_then(|mut s| s.query_map(params_from_iter(&search.params), |r| r.get(0))?.collect())
        .map_err(sql)
}

/// How many resources a search finds. Counters answer where they can.
pub(super) fn count(conn: &Connection, request: &FindRequest) -> Result<u64> {
    check(request)?;
    let Some(related) = related(conn, request)? else { return Ok(0) };
    if is_bare(request) {
        let level = request.level;
        match related.as_slice() {
            [] => {
                let totals = load::totals(conn)?;
                return Ok([totals.patients, totals.studies, totals.series, totals.instances][level as usize]);
            }
            [(above, row)] if *above < level => {
                let counts = load::statistics(conn, *above, *row)?.counts;
                return Ok([0, counts.studies, counts.series, counts.instances][level as usize]);
            }
            _ => {}
        }
    }
    let search = build(Dialect::Sqlite, request, scope(conn, &related, &among(conn, request)?)?, What::Count);
    let count: i64 = conn
        .prepare_cached(&search.sql)
        .and_then(|mut s| s.query_row(params_from_iter(&search.params), |r| r.get(0)))
        .map_err(sql)?;
    Ok(count.unsigned_abs())
}

/// Resources by a DICOM identifier.
pub(super) fn lookup(conn: &Connection, text: &str) -> Result<Vec<(Level, OrthancId)>> {
    let norm = normalize(text);
    if norm.is_empty() {
        return Ok(vec![]);
    }
    let mut found = vec![];
    for (level, statement) in LOOKUPS {
        let mut statement = conn.prepare_cached(statement).map_err(sql)?;
        let ids = statement.query_map([&norm], |r| r.get(0).map(OrthancId)).map_err(sql)?;
        for id in ids {
            found.push((*level, id.map_err(sql)?));
        }
    }
    found.dedup();
    Ok(found)
}

/// The statements of [`lookup`].
pub(super) const LOOKUPS: &[(Level, &str)] = &[
    (Level::Patient, "SELECT public_id FROM patient WHERE patient_id = ?1 AND deleted = 0 ORDER BY id"),
    (Level::Study, "SELECT public_id FROM study WHERE study_uid = ?1 AND deleted = 0 ORDER BY id"),
    (Level::Study, "SELECT public_id FROM study WHERE accession = ?1 AND deleted = 0 ORDER BY id"),
    (Level::Series, "SELECT public_id FROM series WHERE series_uid = ?1 AND deleted = 0 ORDER BY id"),
    (
        Level::Instance,
        "SELECT i.public_id FROM instance i INDEXED BY instance_sop_uid CROSS JOIN series se ON se.id = i.series
         WHERE i.sop_uid = ?1 AND se.deleted = 0 ORDER BY i.id",
    ),
];

/// The levels of public ids.
pub(super) fn levels_of(conn: &Connection, ids: &[OrthancId]) -> Result<HashMap<OrthancId, Level>> {
    let mut found = HashMap::new();
    for id in ids {
        for level in [Level::Instance, Level::Series, Level::Study, Level::Patient] {
            if rows::resolve(conn, level, *id)?.is_some() {
                found.insert(*id, level);
                break;
            }
        }
    }
    Ok(found)
}
