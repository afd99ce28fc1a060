//! Blocking file work on the runtime's threads for it.

use model::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;

/// Runs `work` on a thread that may block.
///
/// # Errors
/// Those of `work`; `Internal` if it panicked or the runtime is going down.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let mut task = tokio::task::spawn_blocking(work);
    join(&mut task).await
}

/// Waits for such work. May be cancelled and called again.
pub(crate) async fn join<T>(task: &mut JoinHandle<Result<T>>) -> Result<T> {
    match task.await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Internal, "file work did not end").caused_by(error)),
    }
}
