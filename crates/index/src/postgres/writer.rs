//! Group commit of stores, and single statements that write.
//!
//! A batch is what queued while the last commit ran, up to [`BATCH`] instances, each public id once: a second one waits for the next
//! batch, where it meets the row of the first. Nobody waits for company. One batch at a time is under way in a process: two would be
//! smaller, cost more, and wait for each other's rows.

use super::error::{is_conflict, sql};
use super::pool;
use super::readers::{Values, prepare};
use super::store::{self, Item, Stores};
use deadpool_postgres::Pool;
use model::{Error, ErrorKind, NewInstance, Result, Stored};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_postgres::Row;

/// Instances that are committed together.
const BATCH: usize = 64;
/// Instances that may wait; then callers wait.
const QUEUE: usize = 1024;
/// How often a statement is repeated that lost against another transaction.
pub(super) const TRIES: usize = 10;

/// Runs one statement that writes, as a transaction of its own. Conflicts with other transactions are solved by repeating it; after any
/// other error the commit may have happened.
pub(super) async fn write(pool: &Pool, statement: &str, values: Values<'_>) -> Result<Vec<Row>> {
    let client = pool::get(pool).await?;
    let mut tries = TRIES;
    loop {
        let run = async {
            let prepared = prepare(&client, statement, &[]).await?;
            client.query(&prepared, values).await
        };
        match run.await {
            Err(error) if is_conflict(&error) && tries > 1 => tries -= 1,
            result => return result.map_err(sql),
        }
    }
}

struct Pending {
    item: Item,
    caller: oneshot::Sender<Result<Stored>>,
}

/// Hands instances to the task that stores them.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Pending>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

fn closed() -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, "the index is closed")
}

impl Writer {
    /// Starts the task. It ends when the writer is closed or dropped, after what it took was answered.
    pub(super) fn start(stores: Arc<Stores>) -> Self {
        let (queue, pending) = mpsc::channel(QUEUE);
        let task = tokio::spawn(serve(stores, pending));
        Self { queue: Mutex::new(Some(queue)), task: Mutex::new(Some(task)) }
    }

    /// Stores one instance, together with its neighbours. Durable when it returns.
    pub(super) async fn store(&self, new: NewInstance) -> Result<Stored> {
        let item = Item::new(new)?;
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        let (caller, answer) = oneshot::channel();
        queue.send(Pending { item, caller }).await.map_err(|_| closed())?;
        drop(queue);
        answer.await.map_err(|_| closed())?
    }

    /// Refuses new instances and finishes those that wait.
    pub(super) async fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

async fn serve(stores: Arc<Stores>, mut queue: mpsc::Receiver<Pending>) {
    // Those whose public id was in the batch already.
    let mut later = VecDeque::new();
    loop {
        if later.is_empty() {
            let Some(first) = queue.recv().await else { return };
            later.push_back(first);
        }
        while later.len() < BATCH {
            match queue.try_recv() {
                Ok(pending) => later.push_back(pending),
                Err(_) => break,
            }
        }
        let mut ids = HashSet::new();
        let mut batch = vec![];
        let mut rest = VecDeque::new();
        for pending in later.drain(..) {
            if batch.len() < BATCH && ids.insert(pending.item.id()) { batch.push(pending) } else { rest.push_back(pending) }
        }
        later = rest;
        let (items, callers): (Vec<Item>, Vec<_>) = batch.into_iter().map(|p| (p.item, p.caller)).unzip();
        let outcomes = store::store(&stores, &items).await;
        for (caller, outcome) in callers.into_iter().zip(outcomes) {
            // The caller may have gone; the work is done all the same.
            let _ = caller.send(outcome);
        }
    }
}
