//! The change feed and the log of exports (Orthanc: `/changes`, `/exports`).

use crate::{Ctx, Engine};
use model::{ChangesPage, ChangesRequest, Exported, ExportsPage, Fields, FindRequest, Level, OrthancId, Result, tags, time};

/// A page of the change feed.
pub async fn page(eng: &Engine, _ctx: &Ctx, request: &ChangesRequest) -> Result<ChangesPage> {
    eng.index.changes(request).await
}

/// The newest change.
pub async fn last(eng: &Engine, _ctx: &Ctx) -> Result<ChangesPage> {
    eng.index.last_change().await
}

/// Empties the feed.
pub async fn clear(eng: &Engine, _ctx: &Ctx) -> Result<()> {
    eng.writable()?;
    eng.index.clear_changes().await
}

/// A page of the log of exports.
pub async fn exports(eng: &Engine, _ctx: &Ctx, since: i64, limit: u32) -> Result<ExportsPage> {
    eng.index.exports(since, limit).await
}

/// The newest export.
pub async fn last_export(eng: &Engine, _ctx: &Ctx) -> Result<ExportsPage> {
    eng.index.last_export().await
}

/// Empties the log of exports.
pub async fn clear_exports(eng: &Engine, _ctx: &Ctx) -> Result<()> {
    eng.writable()?;
    eng.index.clear_exports().await
}

/// Notes that resources are sent to a remote, if that is wanted (Orthanc: `LogExportedResources`).
pub(crate) async fn log_exports(eng: &Engine, resources: &[(Level, OrthancId)], remote: &str) -> Result<()> {
    if !eng.config.log_exported {
        return Ok(());
    }
    let fields = Fields { parent_tags: true, ..Fields::NONE };
    for (level, id) in resources {
        let Some(found) = eng.index.find(&FindRequest::one(*level, *id, fields)).await?.pop() else { continue };
        let uid = |level: Level, tag| found.tags[level as usize].get(tag).unwrap_or_default().to_owned();
        let export = Exported {
            seq: 0,
            level: *level,
            id: *id,
            remote: remote.to_owned(),
            date: time::now_iso(),
            patient_id: uid(Level::Patient, tags::PATIENT_ID),
            study_uid: uid(Level::Study, tags::STUDY_INSTANCE_UID),
            series_uid: uid(Level::Series, tags::SERIES_INSTANCE_UID),
            sop_uid: uid(Level::Instance, tags::SOP_INSTANCE_UID),
        };
        eng.index.append_export(export).await?;
    }
    Ok(())
}
