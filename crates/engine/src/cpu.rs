//! Work that keeps a processor busy, away from the threads that serve requests.

use model::{Error, ErrorKind, Result};
use std::sync::LazyLock;
use tokio::sync::Semaphore;

/// How many cores there are.
pub(crate) static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
/// All requests and jobs of the process share the cores, first come, first served.
static FREE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*CORES));

/// Runs `work` on a thread that may block, as soon as a core is free. A caller that goes away lets it end unheard.
///
/// # Errors
/// Those of `work`; `Internal` if it panicked or the runtime is going down.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let stopped = || Error::new(ErrorKind::Internal, "the process is stopping");
    let core = FREE.acquire().await.map_err(|_| stopped())?;
    let task = tokio::task::spawn_blocking(move || {
        let _until_it_ends = core;
        work()
    });
    task.await.map_err(|error| Error::new(ErrorKind::Internal, "a computation did not end").caused_by(error))?
}
