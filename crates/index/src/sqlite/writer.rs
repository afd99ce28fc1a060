//! The one thread that writes, and group commit.
//!
//! A batch is what queued while the last commit ran, up to [`BATCH`] jobs; nobody waits for company. A job that fails
//! before it wrote anything fails alone. A job that fails later undoes the batch, and each job runs again in a
//! transaction of its own, so that neighbours are unharmed.

use super::batch::{Batch, Clock};
use super::error::sql;
use model::{Error, ErrorKind, Result};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Jobs that are committed together.
const BATCH: usize = 64;
/// Jobs that may wait; then callers wait.
const QUEUE: usize = 1024;

trait Job: Send {
    /// May run twice, each time in a new transaction.
    fn run(&mut self, batch: &mut Batch<'_>);
    /// Whether the last run succeeded.
    fn succeeded(&self) -> bool;
    /// Answers the caller: with the result of the last run, or with `failure` in its place.
    fn answer(self: Box<Self>, failure: Option<Error>);
}

struct Task<T, F> {
    work: F,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnMut(&mut Batch<'_>) -> Result<T> + Send> Job for Task<T, F> {
    fn run(&mut self, batch: &mut Batch<'_>) {
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(batch)));
        self.result = Some(result.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the index panicked"))));
    }

    fn succeeded(&self) -> bool {
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, failure: Option<Error>) {
        let result = match (failure, self.result) {
            (None, Some(result)) | (Some(_), Some(result @ Err(_))) => result,
            (Some(error), _) => Err(error),
            (None, None) => Err(ErrorKind::Internal.into()),
        };
        // The caller may have gone; the work is done all the same.
        let _ = self.caller.send(result);
    }
}

/// Hands jobs to the writing thread.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. It ends, and closes the connection, when the writer is closed or dropped.
    pub(super) fn start(connection: Connection, clock: Arc<Clock>) -> Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("index-writer".into())
            .spawn(move || serve(connection, clock, jobs))
            .map_err(|e| Error::new(ErrorKind::Internal, "no thread for the index").caused_by(e))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `work` in a transaction that it may share with its neighbours, and returns when it is durable.
    ///
    /// `work` may run twice. A logical error must be returned before anything was written.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Batch<'_>) -> Result<T> + Send + 'static,
    {
        let closed = || Error::new(ErrorKind::DatabaseUnavailable, "the index is closed");
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        let (caller, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Task { work, result: None, caller });
        queue.send(job).await.map_err(|_| closed())?;
        drop(queue);
        answer.await.map_err(|_| closed())?
    }

    /// Refuses new jobs, finishes those that wait and ends the thread.
    pub(super) async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn serve(connection: Connection, clock: Arc<Clock>, mut queue: mpsc::Receiver<Box<dyn Job>>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while let Some(first) = queue.blocking_recv() {
        jobs.push(first);
        while jobs.len() < BATCH {
            match queue.try_recv() {
                Ok(job) => jobs.push(job),
                Err(_) => break,
            }
        }
        let outcome = commit(&connection, &clock, &mut jobs);
        let alone = outcome.is_err() && jobs.len() > 1;
        let mut failure = outcome.err();
        for mut job in jobs.drain(..) {
            if alone {
                failure = commit(&connection, &clock, std::slice::from_mut(&mut job)).err();
            }
            job.answer(failure.take());
        }
    }
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%error, "the log of the index remains for the next start");
    }
}

/// One transaction for all jobs. After an error nothing of it is in the database.
fn commit(connection: &Connection, clock: &Clock, jobs: &mut [Box<dyn Job>]) -> Result<()> {
    let tx = rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate).map_err(sql)?;
    let mut batch = Batch::new(&tx, clock)?;
    for job in jobs {
        let before = tx.total_changes();
        job.run(&mut batch);
        // A full disk ends the transaction behind our back.
        if !job.succeeded() && (tx.total_changes() != before || tx.is_autocommit()) {
            return Err(Error::new(ErrorKind::Internal, "a job of the batch failed half-way"));
        }
    }
    batch.flush()?;
    drop(batch);
    tx.commit().map_err(sql)
}
