//! The change feed and the log of exports (Orthanc: `/changes`, `/exports`).

use crate::{Ctx, Engine};
use model::{ChangesPage, ChangesRequest, ExportsPage, Result};

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
