//! Hints on their way to the one task that reads them ([`model::ports::Jobs::hint`]).

use model::job::Hint;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Hints that may wait; more become one [`Hint::Look`].
const QUEUE: usize = 1024;

#[derive(Default)]
pub(crate) struct Hints {
    queue: Mutex<VecDeque<Hint>>,
    more: Notify,
}

impl Hints {
    /// Adds hints that do not wait already.
    pub(crate) fn push(&self, hints: impl IntoIterator<Item = Hint>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for hint in hints {
            if queue.front() == Some(&Hint::Look) || queue.contains(&hint) {
                continue;
            }
            if hint == Hint::Look || queue.len() == QUEUE {
                queue.clear();
                queue.push_back(Hint::Look);
            } else {
                queue.push_back(hint);
            }
        }
        if !queue.is_empty() {
            self.more.notify_one();
        }
    }

    /// All that wait.
    pub(crate) fn drain(&self) -> Vec<Hint> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// Waits for the next.
    pub(crate) async fn next(&self) -> Hint {
        loop {
            if let Some(hint) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                return hint;
            }
            self.more.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::job::JobId;

    #[tokio::test]
    async fn too_many_become_one_look() {
        let hints = Hints::default();
        hints.push([Hint::Work, Hint::Settings, Hint::Work]);
        assert_eq!((hints.next().await, hints.next().await), (Hint::Work, Hint::Settings));
        hints.push((0..=QUEUE).map(|_| Hint::Ended(JobId::random())));
        hints.push([Hint::Work]);
        assert_eq!(hints.next().await, Hint::Look);
        hints.push([Hint::Work]);
        assert_eq!(hints.next().await, Hint::Work);
        let empty = tokio::time::timeout(std::time::Duration::from_millis(1), hints.next()).await;
        assert!(empty.is_err());
    }
}
