//! Periodic work: stability, deleted blobs, orphans, tombstones. Each may run at any time, in any process, and twice.

use crate::{Ctx, Engine, uploads};
use futures_util::{StreamExt, stream};
use model::{AttachmentId, Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Blobs removed per round trip of the index.
const CHUNK: usize = 500;
/// Between two tries of a sweep that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Blobs removed at once.
const AT_ONCE: usize = 16;
/// A file in the area for uploads waits so long for the job that its own process makes.
const UNNOTICED: Duration = Duration::from_secs(2);

/// Runs the sweeps whenever a beat says that one has work, until `stop`.
pub(crate) async fn run(eng: Arc<Engine>, stop: CancellationToken) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = eng.node.sweeps.notified() => {}
            () = tokio::time::sleep(AGAIN), if failing => {}
        }
        let swept = async {
            all(&eng).await?;
            uploads::import(&eng, UNNOTICED).await
        };
        match swept.await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(error = %error, "sweep failed; it tries again each second");
                }
                failing = true;
            }
        }
    }
}

/// Every sweep once: also what processes left that were killed, blobs without a row and rows of deleted resources.
pub async fn all(eng: &Engine) -> Result<()> {
    let orphans = eng.index.sweep_intents().await?;
    if orphans > 0 {
        tracing::info!(orphans, "blobs that an ended process may have left behind are removed");
    }
    eng.blobs.settle_doubts().await?;
    eng.index.sweep_stability().await?;
    eng.index.sweep_uploads().await?;
    while eng.index.sweep_tombstones().await? {}
    remove_deleted(eng).await
}

/// Removes what a request has just deleted, unless that is left to the sweeps (`DelayedDeletion`).
pub(crate) async fn deleted(eng: &Engine) -> Result<()> {
    if eng.config.delayed_deletion.is_some() { Ok(()) } else { remove_deleted(eng).await }
}

/// How many blobs wait for their removal (Orthanc: `FilesPendingDeletion`).
pub async fn pending_deletions(eng: &Engine, _ctx: &Ctx) -> Result<u64> {
    eng.index.count_deleted_blobs().await
}

/// Removes blobs that no row refers to, once nobody who found such a row can still be reading. With a pause between files, it removes
/// what fits into a second: so often the sweeps run while there is work.
async fn remove_deleted(eng: &Engine) -> Result<()> {
    let pause = eng.config.delayed_deletion.unwrap_or_default();
    let a_second = 1000_u128.checked_div(pause.as_millis()).map(|n| usize::try_from(n).unwrap_or(CHUNK).clamp(1, CHUNK));
    loop {
        let blobs = eng.index.deleted_blobs(a_second.unwrap_or(CHUNK), eng.storage.deletion_grace()).await?;
        if blobs.is_empty() {
            return Ok(());
        }
        let (mut removed, mut failed) = (Vec::with_capacity(blobs.len()), None);
        let mut removals = stream::iter(blobs)
            .map(|blob| async move { eng.storage.remove(blob).await.map(|()| blob) })
            .buffer_unordered(AT_ONCE);
        while let Some(removal) = removals.next().await {
            match removal {
                Ok(blob) => removed.push(blob),
                Err(error) => failed = Some(error),
            }
        }
        eng.index.forget_deleted_blobs(&removed).await?;
        // What could be removed is gone; the rest waits for the next sweep.
        if let Some(error) = failed {
            return Err(error);
        }
        if a_second.is_some() {
            return Ok(());
        }
    }
}

/// Removes a blob whose row the index refused. After an error that does not say whether it is committed, the next sweep finds out.
pub(crate) async fn refused(eng: &Engine, blob: AttachmentId, error: &Error) {
    match error.kind() {
        ErrorKind::Busy => {
            // Perhaps others took this process for dead, and swept its names: those that it has not used yet are gone, too, and no
            // sweep comes for this one.
            eng.blobs.forget();
            discard(eng, blob).await;
        }
        ErrorKind::StorageFull | ErrorKind::UnknownResource | ErrorKind::Revision => discard(eng, blob).await,
        _ => {
            eng.blobs.doubt(blob);
            eng.node.sweeps.notify_one();
        }
    }
}

/// Removes a blob that was never referenced and gives its name back.
pub(crate) async fn discard(eng: &Engine, blob: AttachmentId) {
    let result = match eng.storage.remove(blob).await {
        Ok(()) => eng.index.release_blobs(&[blob]).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        tracing::warn!(error = %error, blob = %blob, "an unused blob remains until the next start");
    }
}
