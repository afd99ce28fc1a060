//! Counts and sizes.

use crate::{Ctx, Engine};
use model::{Level, OrthancId, ResourceStatistics, Result, Totals};

/// Orthanc: `GET /statistics`.
pub async fn totals(eng: &Engine, _ctx: &Ctx) -> Result<Totals> {
    eng.index.totals().await
}

/// Orthanc: `GET /{level}/{id}/statistics`.
///
/// # Errors
/// `UnknownResource`.
pub async fn of(eng: &Engine, _ctx: &Ctx, level: Level, id: OrthancId) -> Result<ResourceStatistics> {
    eng.index.resource_statistics(level, id).await
}
