//! Searches: `find_sql` yields internal ids, and the same statement reads their rows.

use super::load;
use super::readers::{Values, query, query_typed};
use super::rows::{public_id, resolve, table, visible};
use crate::find_sql::{Dialect, Param, Scope, Search, What, build, check, is_bare};
use deadpool_postgres::Pool;
use model::matching::normalize;
use model::{FindRequest, Level, OrthancId, Resource, Result};
use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// Internal ids of `request.related_to`; `None` if one of them is unknown.
async fn related(pool: &Pool, request: &FindRequest) -> Result<Option<Vec<(Level, i64)>>> {
    let mut found = Vec::with_capacity(request.related_to.len());
    for (level, id) in &request.related_to {
        match resolve(pool, *level, *id).await? {
            Some(row) => found.push((*level, row)),
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

async fn run(pool: &Pool, statement: &str, search: &Search) -> Result<Vec<Row>> {
    let mut types = vec![];
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![];
    for param in &search.params {
        match param {
            Param::Text(text) => {
                types.push(Type::TEXT);
                values.push(text);
            }
            Param::Int(number) => {
                types.push(Type::INT8);
                values.push(number);
            }
        }
    }
    let values: Values<'_> = &values;
    query_typed(pool, statement, &types, values).await
}

/// Internal ids of `request.among`.
async fn among(pool: &Pool, request: &FindRequest) -> Result<Option<(Level, Vec<i64>)>> {
    let Some((level, ids)) = &request.among else { return Ok(None) };
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
    let statement = format!("SELECT t.id FROM {} t WHERE t.public_id = ANY ($1) AND {}", table(*level), visible(*level));
    let rows = query(pool, &statement, &[&ids]).await?;
    Ok(Some((*level, rows.iter().map(|row| row.get(0)).collect())))
}

/// Instances of deleted series wait for the sweep, and are always looked for.
fn scope<'r>(related: &'r [(Level, i64)], among: &'r Option<(Level, Vec<i64>)>) -> Scope<'r> {
    Scope { related, among: among.as_ref().map(|(level, rows)| (*level, rows.as_slice())), hidden: true }
}

/// The statement of a search, with all that an answer needs.
pub(super) fn statement(request: &FindRequest, search: &Search) -> String {
    let found = format!(
        "(SELECT f.id, row_number() OVER () AS n FROM ({}) f) f JOIN {} t ON t.id = f.id",
        search.sql,
        table(request.level)
    );
    load::statement(request.level, request.fields, &found, " ORDER BY f.n")
}

/// Answers a search.
pub(super) async fn find(pool: &Pool, request: &FindRequest) -> Result<Vec<Resource>> {
    check(request)?;
    let (level, fields) = (request.level, request.fields);
    // One resource: nothing to search.
    if let ([(of, id)], true) = (request.related_to.as_slice(), is_bare(request))
        && *of == level
    {
        let found = if request.since == 0 { load::one(pool, level, *id, fields).await? } else { None };
        return Ok(found.into_iter().collect());
    }
    let Some(related) = related(pool, request).await? else { return Ok(vec![]) };
    let among = among(pool, request).await?;
    let search = build(Dialect::Postgres, request, scope(&related, &among), What::Ids);
    let rows = run(pool, &statement(request, &search), &search).await?;
    rows.iter().map(|row| load::resource(row, level, fields)).collect()
}

/// How many resources a search finds. Counters answer where they can.
pub(super) async fn count(pool: &Pool, request: &FindRequest) -> Result<u64> {
    check(request)?;
    let level = request.level;
    if is_bare(request) {
        match request.related_to.as_slice() {
            [] => {
                let totals = load::totals(pool).await?;
                return Ok([totals.patients, totals.studies, totals.series, totals.instances][level as usize]);
            }
            [(above, id)] if *above < level => {
                let counts = match load::statistics(pool, *above, *id).await {
                    Err(error) if error.kind() == model::ErrorKind::UnknownResource => return Ok(0),
                    statistics => statistics?.counts,
                };
                return Ok([0, counts.studies, counts.series, counts.instances][level as usize]);
            }
            _ => {}
        }
    }
    let Some(related) = related(pool, request).await? else { return Ok(0) };
    let among = among(pool, request).await?;
    let search = build(Dialect::Postgres, request, scope(&related, &among), What::Count);
    let rows = run(pool, &search.sql, &search).await?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

/// Resources by a DICOM identifier.
pub(super) async fn lookup(pool: &Pool, text: &str) -> Result<Vec<(Level, OrthancId)>> {
    let norm = normalize(text);
    if norm.is_empty() {
        return Ok(vec![]);
    }
    let rows = query(pool, LOOKUP, &[&norm]).await?;
    let mut found = vec![];
    for row in &rows {
        let level = super::rows::level(row.get(0))?;
        found.push((level, public_id(row, 1)?));
    }
    found.dedup();
    Ok(found)
}

/// The statement of [`lookup`].
pub(super) const LOOKUP: &str = "SELECT d.level::int2, d.public_id FROM (
        SELECT 0, 0, id, public_id FROM patient WHERE patient_id = $1 AND deleted = 0
        UNION ALL SELECT 1, 1, id, public_id FROM study WHERE study_uid = $1 AND deleted = 0
        UNION ALL SELECT 1, 2, id, public_id FROM study WHERE accession = $1 AND deleted = 0
        UNION ALL SELECT 2, 3, id, public_id FROM series WHERE series_uid = $1 AND deleted = 0
        UNION ALL SELECT 3, 4, i.id, i.public_id FROM instance i JOIN series se ON se.id = i.series
            WHERE i.sop_uid = $1 AND se.deleted = 0
    ) d (level, part, id, public_id) ORDER BY d.part, d.id";

/// The levels of public ids.
pub(super) async fn levels_of(pool: &Pool, ids: &[OrthancId]) -> Result<HashMap<OrthancId, Level>> {
    let statement = "SELECT 0::int2, public_id FROM patient WHERE public_id = ANY ($1) AND deleted = 0
        UNION ALL SELECT 1::int2, public_id FROM study WHERE public_id = ANY ($1) AND deleted = 0
        UNION ALL SELECT 2::int2, public_id FROM series WHERE public_id = ANY ($1) AND deleted = 0
        UNION ALL SELECT 3::int2, i.public_id FROM instance i JOIN series se ON se.id = i.series
            WHERE i.public_id = ANY ($1) AND se.deleted = 0";
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
    let rows = query(pool, statement, &[&ids]).await?;
    rows.iter().map(|row| Ok((public_id(row, 1)?, super::rows::level(row.get(0))?))).collect()
}
