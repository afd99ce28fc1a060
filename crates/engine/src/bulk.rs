//! Many resources at once (Orthanc: `/tools/bulk-content`, `/tools/bulk-delete`). Ids that no resource has are passed over.

use crate::{Ctx, Engine, Found, delete};
use model::{ErrorKind, Fields, FindRequest, Level, OrthancId, Result};
use std::collections::{BTreeSet, HashMap};

/// The resources themselves, in the order of their ids and as often as these are given. One search a level.
pub async fn named(eng: &Engine, _ctx: &Ctx, ids: &[OrthancId], fields: Fields) -> Result<Vec<Found>> {
    let mut found = HashMap::new();
    for level in Level::ALL.into_iter().rev() {
        let request = FindRequest { among: Some((level, ids.to_vec())), fields, ..FindRequest::all(level) };
        found.extend(eng.index.find(&request).await?.into_iter().map(|r| (r.id, r)));
    }
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).map(Found::bare).collect())
}

/// The resources of one level that are those of the ids, above them or below them: each once, in the order of their ids.
/// Two searches a level at most.
pub async fn at_level(eng: &Engine, _ctx: &Ctx, ids: &[OrthancId], level: Level, fields: Fields) -> Result<Vec<Found>> {
    let known = eng.index.levels_of(ids).await?;
    let at = |home: Level| -> Vec<OrthancId> { known.iter().filter(|(_, l)| **l == home).map(|(id, _)| *id).collect() };
    let mut above = BTreeSet::new();
    for home in Level::ALL.into_iter().filter(|home| *home > level) {
        let request = FindRequest { among: Some((home, at(home))), ..FindRequest::all(home) };
        above.extend(eng.index.find(&request).await?.into_iter().filter_map(|r| r.lineage[level as usize]));
    }
    let mut found = HashMap::new();
    for home in Level::ALL.into_iter().filter(|home| *home <= level) {
        let mut wanted = at(home);
        if home == level {
            wanted.extend(&above);
        }
        let request = FindRequest { among: Some((home, wanted)), fields, ..FindRequest::all(level) };
        found.extend(eng.index.find(&request).await?.into_iter().map(|r| (r.id, r)));
    }
    let mut all: Vec<_> = found.into_values().collect();
    all.sort_unstable_by_key(|r| r.id);
    Ok(all.into_iter().map(Found::bare).collect())
}

/// Deletes resources with all below them. What another process deletes at the same time is not missed.
pub async fn delete(eng: &Engine, ctx: &Ctx, ids: &[OrthancId]) -> Result<()> {
    for (id, level) in eng.index.levels_of(ids).await? {
        match delete::delete(eng, ctx, level, id).await {
            // It was below another of them.
            Err(error) if error.kind() == ErrorKind::UnknownResource => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}
