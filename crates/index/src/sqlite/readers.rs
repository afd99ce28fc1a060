//! The connections that read, each used by one caller at a time.

use super::error::sql;
use model::{Error, ErrorKind, Result};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Mutex::new(connections)), permits }
    }

    /// Runs `work` on one snapshot of the database, on a thread that may block.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let closed = || Error::new(ErrorKind::DatabaseUnavailable, "the index is closed");
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let idle = self.idle.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = lock(&idle).pop().ok_or_else(closed)?;
            let result = snapshot(&connection, work);
            lock(&idle).push(connection);
            drop(permit);
            result
        });
        task.await.map_err(|e| Error::new(ErrorKind::Internal, "a read of the index failed").caused_by(e))?
    }

    /// Refuses new reads and closes the connections once the current ones are done.
    pub(super) async fn close(&self, count: usize) {
        if let Ok(all) = self.permits.acquire_many(count as u32).await {
            all.forget();
        }
        self.permits.close();
        lock(&self.idle).clear();
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

fn snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let tx = connection.unchecked_transaction().map_err(sql)?;
    let result = work(&tx);
    tx.finish().map_err(sql)?;
    result
}
