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
        let news = lock(&self.0).entry(id).or_insert_with(|| watch::channel(None).0).subscribe();
        Waiter { all: self.clone(), id, news }
    }

    /// Wakes who waits for a job; with the end of a run if this process saw it. What was told before is not taken back: a hint
    /// about the same end may come later.
    pub(super) fn announce(&self, id: JobId, end: News) {
        if let Some(sender) = lock(&self.0).get(&id) {
            sender.send_modify(|news| *news = end.or_else(|| news.take()));
        }
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        lock(&self.0).keys().copied().collect()
    }
}

impl Waiter {
    /// How the run of a job ended that only this process can run.
    pub(super) async fn outcome(&mut self) -> Option<JobOutcome> {
        let end = self.news.wait_for(Option::is_some).await.ok()?.clone();
        end.map(|end| end.outcome.clone())
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut all = lock(&self.all.0);
        if all.get(&self.id).is_some_and(|sender| sender.receiver_count() <= 1) {
            all.remove(&self.id);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::job::Checkpoint;

    #[tokio::test]
    async fn a_late_hint_does_not_take_an_end_back() {
        let waiters = Waiters::default();
        let id = JobId::random();
        let mut waiter = waiters.wait_for(id);
        let end = JobEnd { outcome: JobOutcome::Paused, checkpoint: Checkpoint::default() };
        waiters.announce(id, Some(Arc::new(end)));
        waiters.announce(id, None);
        assert!(matches!(waiter.outcome().await, Some(JobOutcome::Paused)));
        let mut second = waiters.wait_for(id);
        drop(waiter);
        assert!(matches!(second.outcome().await, Some(JobOutcome::Paused)));
        drop(second);
        assert!(waiters.ids().is_empty());
    }
}
