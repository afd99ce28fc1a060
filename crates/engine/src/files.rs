//! The DICOM files of resources, for what hands many of them on: archives and sends.

use crate::{Ctx, Engine};
use model::{Attachment, ContentType, Error, ErrorKind, Fields, FindRequest, Level, OrthancId, Resource, Result};
use std::collections::{HashMap, HashSet};

/// The levels of resources that a client names by their ids alone, in the same order.
///
/// # Errors
/// `UnknownResource` with the first id that no resource has.
pub async fn levels(eng: &Engine, _ctx: &Ctx, ids: &[OrthancId]) -> Result<Vec<(Level, OrthancId)>> {
    let found = eng.index.levels_of(ids).await?;
    ids.iter().map(|id| found.get(id).map(|level| (*level, *id)).ok_or_else(|| unknown(*id))).collect()
}

/// All instances at and below resources of one level, each once, in the order of creation. One search.
///
/// # Errors
/// `UnknownResource` if one of them does not exist.
pub(crate) async fn below(eng: &Engine, _ctx: &Ctx, level: Level, ids: &[OrthancId], fields: Fields) -> Result<Vec<Resource>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let request = FindRequest { among: Some((level, ids.to_vec())), fields, ..FindRequest::all(Level::Instance) };
    let found = eng.index.find(&request).await?;
    // No resource is empty.
    let present: HashSet<_> = found.iter().filter_map(|i| i.lineage[level as usize]).collect();
    match ids.iter().find(|id| !present.contains(id)) {
        Some(id) => Err(unknown(*id)),
        None => Ok(found),
    }
}

/// Instances in the order of their ids, as often as these are given. One search.
///
/// # Errors
/// `UnknownResource` if one of them does not exist.
pub(crate) async fn in_order(eng: &Engine, ctx: &Ctx, ids: &[OrthancId], fields: Fields) -> Result<Vec<Resource>> {
    let found = below(eng, ctx, Level::Instance, ids, fields).await?;
    let found: HashMap<_, _> = found.into_iter().map(|r| (r.id, r)).collect();
    Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect())
}

/// The DICOM file of an instance that was loaded with its attachments.
///
/// # Errors
/// `InexistentItem` if it has none.
pub(crate) fn dicom(instance: Resource) -> Result<Attachment> {
    let file = instance.attachments.into_iter().find(|a| a.content_type == ContentType::DICOM);
    file.ok_or_else(|| Error::new(ErrorKind::InexistentItem, format!("instance {} has no file", instance.id)))
}

fn unknown(id: OrthancId) -> Error {
    Error::new(ErrorKind::UnknownResource, format!("there is no resource with id {id}"))
}
