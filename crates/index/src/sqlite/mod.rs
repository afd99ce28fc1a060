//! The index in one SQLite file: one writer thread that groups commits, several readers (WAL).
//!
//! Work that queued while the last commit ran is committed together, each piece under its own savepoint, so that a failing
//! piece harms no other. `synchronous=FULL`: what was answered is on disk.

mod annotations;
mod delete;
mod feed;
mod find;
mod functions;
mod open;
mod resources;
mod rows;
mod store;
mod upkeep;

pub(crate) use functions::encode as encode_rule;
pub use open::{Options, is_orthanc_index, open};

use model::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use uuid::Uuid;

/// Pieces of work in one commit.
const BATCH: usize = 64;
/// Pieces of work that may wait; more callers wait for room.
const QUEUE: usize = 1024;

/// A piece of work: it runs inside the batch's transaction and returns what to do once the commit is known.
type Work = Box<dyn FnOnce(&Transaction<'_>) -> Answer + Send>;
/// Tells the caller how the commit ended.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

/// The index of one process.
pub struct SqliteIndex {
    writer: Mutex<Option<mpsc::Sender<Work>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    /// `StableAge` in milliseconds.
    stable_age_ms: AtomicU64,
    /// Random at each start: whose blob intents are whose.
    node: Uuid,
}

/// Maps errors of SQLite (adapter's only place).
pub(crate) fn error(e: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let kind = match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ErrorKind::StorageFull,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        _ => ErrorKind::Database,
    };
    Error::new(kind, "the SQLite index refused").caused_by(e)
}

fn closed() -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, "the index is closed")
}

impl SqliteIndex {
    /// Runs `work` in the next commit and returns its result once that is durable.
    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let (tx, rx) = oneshot::channel();
        let boxed: Work = Box::new(move |transaction| {
            let result = alone(transaction, work);
            let answer = move |committed: Result<()>| {
                let _ = tx.send(match committed {
                    Ok(()) => result,
                    // A piece that failed by itself was rolled back alone: its own error is the better answer.
                    Err(error) => result.and(Err(error)),
                });
            };
            Box::new(answer)
        });
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        writer.send(boxed).await.map_err(|_| closed())?;
        rx.await.map_err(|_| Error::new(ErrorKind::Database, "the writer dropped a piece of work"))?
    }

    /// Runs `work` on a reader: a consistent snapshot of what is committed.
    async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let readers = self.readers.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = readers.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or_else(closed)?;
            let result = work(&connection);
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        });
        task.await.map_err(|e| Error::new(ErrorKind::Internal, "a read of the index stopped").caused_by(e))?
    }
}

/// The writer thread: takes what queued, commits it, answers.
fn write_loop(mut connection: Connection, mut queue: mpsc::Receiver<Work>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(more) = queue.try_recv()
        {
            batch.push(more);
        }
        let mut answers = Vec::with_capacity(batch.len());
        let committed = commit(&mut connection, batch, &mut answers);
        for answer in answers {
            answer(committed.as_ref().map(|()| ()).map_err(|e| Error::new(e.kind(), e.to_string())));
        }
    }
    if let Err(e) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(error = %e, "the index was closed without a checkpoint");
    }
}

fn commit(connection: &mut Connection, batch: Vec<Work>, answers: &mut Vec<Answer>) -> Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(error)?;
    for work in batch {
        answers.push(work(&transaction));
    }
    transaction.commit().map_err(error)
}

/// Runs `work` under a savepoint: what it did before it failed is undone.
fn alone<T>(tx: &Transaction<'_>, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    tx.prepare_cached("SAVEPOINT piece").and_then(|mut s| s.execute([])).map_err(error)?;
    let result = work(tx);
    if result.is_err() {
        tx.execute_batch("ROLLBACK TO piece").map_err(error)?;
    }
    tx.prepare_cached("RELEASE piece").and_then(|mut s| s.execute([])).map_err(error)?;
    result
}
