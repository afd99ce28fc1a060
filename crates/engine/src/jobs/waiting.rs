//! Who waits in this process: for the end of a job, or for the bytes that it makes.

use super::node::lock;
use bytes::Bytes;
use model::Result;
use model::job::{JobEnd, JobId, JobOutcome};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};

/// What a waiting caller has heard: the end of a run, if this process saw it.
pub(super) type News = Option<Arc<JobEnd>>;

/// Callers that wait for jobs.
#[derive(Clone, Default)]
pub(super) struct Waiters(Arc<Mutex<HashMap<JobId, watch::Sender<News>>>>);

/// A place among them. Dropping it gives it up.
pub(super) struct Waiter {
    all: Waiters,
    id: JobId,
    pub(super) news: watch::Receiver<News>,
}

impl Waiters {
    /// Begins to wait: before the job exists, so that no end is missed.
    pub(super) fn wait_for(&self, id: JobId) -> Waiter {
        let (sender, news) = watch::channel(None);
        lock(&self.0).insert(id, sender);
        Waiter { all: self.clone(), id, news }
    }

    /// Wakes who waits for a job; with the end of a run if this process saw it.
    pub(super) fn announce(&self, id: JobId, end: News) {
        if let Some(sender) = lock(&self.0).get(&id) {
            sender.send_replace(end);
        }
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        lock(&self.0).keys().copied().collect()
    }
}

impl Waiter {
    /// How the run of a job ended that only this process can run; `None` if another process took the record away.
    pub(super) async fn outcome(&mut self) -> Option<JobOutcome> {
        let end = self.news.wait_for(Option::is_some).await.ok()?.clone();
        end.map(|end| end.outcome.clone())
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        lock(&self.all.0).remove(&self.id);
    }
}

/// Sockets that wait for the bytes of a job.
#[derive(Default)]
pub(super) struct Streams(Mutex<HashMap<JobId, mpsc::Sender<Result<Bytes>>>>);

impl Streams {
    pub(super) fn put(&self, id: JobId, client: mpsc::Sender<Result<Bytes>>) {
        lock(&self.0).insert(id, client);
    }

    pub(super) fn take(&self, id: JobId) -> Option<mpsc::Sender<Result<Bytes>>> {
        lock(&self.0).remove(&id)
    }
}
