//! Hints between processes: one connection that listens, and that tells the others what happened here.
//!
//! Nothing depends on them. They are sent after a commit and outside of transactions, because PostgreSQL serialises commits that
//! notify: at most one notification in [`PAUSE`], with all that happened meanwhile.

use super::error::sql;
use super::pool::Session;
use crate::hints::Hints;
use model::Result;
use model::job::{Hint, JobId};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Statement};
use uuid::Uuid;

/// Between two notifications of one process.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks for work while nobody can be heard.
const POLL: Duration = Duration::from_millis(250);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// PostgreSQL takes payloads of less than 8000 bytes.
const PAYLOAD: usize = 7000;

/// What happened in this process and in the others.
pub(super) struct Bus {
    pub(super) hints: Arc<Hints>,
    outgoing: Arc<Hints>,
    task: JoinHandle<()>,
}

impl Bus {
    /// Connects in the background, again and again.
    pub(super) fn start(session: Session, sender: Uuid) -> Self {
        let hints = Arc::new(Hints::default());
        let outgoing = Arc::new(Hints::default());
        let task = tokio::spawn(run(session, sender, hints.clone(), outgoing.clone()));
        Self { hints, outgoing, task }
    }

    /// Hints of a write that is committed: for this process now, for the others soon.
    pub(super) fn tell(&self, hints: impl IntoIterator<Item = Hint>) {
        let hints: Vec<Hint> = hints.into_iter().collect();
        self.hints.push(hints.iter().copied());
        self.outgoing.push(hints);
    }

    pub(super) fn close(&self) {
        self.task.abort();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(session: Session, sender: Uuid, hints: Arc<Hints>, outgoing: Arc<Hints>) {
    let mut delay = Duration::ZERO;
    loop {
        let error = match polling(&hints, listen(&session, sender, &hints, delay)).await {
            Ok(open) => open.serve(&session, sender, &outgoing).await,
            Err(error) => error,
        };
        tracing::debug!(%error, "other processes cannot be heard; looking for work instead");
        delay = RETRY;
    }
}

/// Looks for work until a connection is there.
async fn polling<T>(hints: &Hints, connecting: impl Future<Output = T>) -> T {
    let mut poll = tokio::time::interval(POLL);
    tokio::pin!(connecting);
    loop {
        tokio::select! {
            result = &mut connecting => return result,
            _ = poll.tick() => hints.push([Hint::Work]),
        }
    }
}

struct Listening {
    client: Client,
    notify: Statement,
    reader: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Opens the connection. What happened before it listened is not known: hence the first hint.
async fn listen(session: &Session, sender: Uuid, hints: &Arc<Hints>, delay: Duration) -> Result<Listening> {
    tokio::time::sleep(delay).await;
    let (client, mut connection) = session.config.connect(session.tls.clone()).await.map_err(sql)?;
    let (own, heard) = (sender.simple().to_string(), hints.clone());
    let reader = tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                heard.push(decode(notification.payload(), &own));
            }
        }
    });
    // The task ends with the client, also if one of these fails.
    session.prepare(&client).await.map_err(sql)?;
    client.batch_execute(&format!("LISTEN {}", session.quoted_schema())).await.map_err(sql)?;
    let notify = client.prepare("SELECT pg_notify($1, $2)").await.map_err(sql)?;
    hints.push([Hint::Look]);
    Ok(Listening { client, notify, reader })
}

impl Listening {
    /// Sends what is outgoing until the connection is lost.
    async fn serve(mut self, session: &Session, sender: Uuid, outgoing: &Hints) -> model::Error {
        let lost = || model::Error::new(model::ErrorKind::DatabaseUnavailable, "the connection was closed");
        loop {
            let first = tokio::select! {
                hint = outgoing.next() => hint,
                _ = &mut self.reader => return lost(),
            };
            let payload = encode([first].into_iter().chain(outgoing.drain()), sender);
            if let Err(error) = self.client.execute(&self.notify, &[&session.schema, &payload]).await {
                return sql(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The sender, then a word for each hint.
fn encode(hints: impl IntoIterator<Item = Hint>, sender: Uuid) -> String {
    let mut payload = sender.simple().to_string();
    for hint in hints {
        payload.push(' ');
        match hint {
            Hint::Work => payload.push('w'),
            Hint::Settings => payload.push('s'),
            Hint::Look => payload.push('l'),
            Hint::Ended(JobId(id)) => payload.extend(["e", &id.simple().to_string()]),
            Hint::Wanted(JobId(id)) => payload.extend(["c", &id.simple().to_string()]),
        }
    }
    if payload.len() <= PAYLOAD { payload } else { format!("{} l", sender.simple()) }
}

/// What others say. Words of later versions are passed over.
fn decode(payload: &str, own: &str) -> Vec<Hint> {
    let mut words = payload.split(' ');
    if words.next() == Some(own) {
        return vec![];
    }
    words
        .filter_map(|word| match (word.get(..1)?, Uuid::parse_str(word.get(1..)?)) {
            ("w", _) => Some(Hint::Work),
            ("s", _) => Some(Hint::Settings),
            ("l", _) => Some(Hint::Look),
            ("e", Ok(id)) => Some(Hint::Ended(JobId(id))),
            ("c", Ok(id)) => Some(Hint::Wanted(JobId(id))),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_survive_the_wire() {
        let (me, other) = (Uuid::new_v4(), Uuid::new_v4().simple().to_string());
        let hints = vec![Hint::Work, Hint::Ended(JobId::random()), Hint::Wanted(JobId::random()), Hint::Settings, Hint::Look];
        let payload = encode(hints.clone(), me);
        assert_eq!(decode(&payload, &other), hints);
        assert_eq!(decode(&payload, &me.simple().to_string()), []);
        let many = encode((0..1000).map(|_| Hint::Ended(JobId::random())), me);
        assert_eq!((decode(&many, &other), many.len() < 8000), (vec![Hint::Look], true));
        for junk in ["", " ", "x", "x é zz e123 w", "x  w"] {
            assert!(decode(junk, &other).iter().all(|h| *h == Hint::Work), "{junk:?}");
        }
    }
}
