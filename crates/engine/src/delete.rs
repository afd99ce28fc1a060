//! Deletion.

use crate::{Ctx, Engine, sweeps};
use model::ports::index::Deleted;
use model::{Level, OrthancId, Result};

/// Deletes a resource with all below it. Gone for every reader when this returns; blobs are removed right after.
///
/// # Errors
/// `UnknownResource`.
pub async fn delete(eng: &Engine, _ctx: &Ctx, level: Level, id: OrthancId) -> Result<Deleted> {
    eng.writable()?;
    let deleted = eng.index.delete(level, id).await?;
    // A failure here is not the caller's: the periodic sweep tries again.
    if let Err(error) = sweeps::deleted(eng).await {
        tracing::warn!(error = %error, "blobs of a deleted resource remain for the next sweep");
    }
    Ok(deleted)
}
