//! The processes that share the jobs, and their beats.

use super::error::sql;
use super::pool::Session;
use super::{open, pool};
use crate::jobs::{self, TRIM, UNKNOWN, in_micros, micros, time};
use crate::text::clean;
use deadpool_postgres::Pool;
use model::job::{Beat, Claim, Hint, JobId, NewNode, Node, NodeId, Tick, Want};
use model::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

/// Microseconds since 1970 on the database's clock.
pub(super) const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Registers a process.
pub(super) async fn join(pool: &Pool, node: &NewNode, lease: Duration) -> Result<()> {
    let client = pool::get(pool).await?;
    let kinds: Vec<_> = node.kinds.iter().map(|k| clean(k)).collect();
    let inserted = client
        .execute(
            &format!(
                "INSERT INTO node (id, name, version, kinds, new_jobs_only, configuration, details, started_at, lease_until)
                 SELECT $1, $2, $3, $4, $5, $6, $7, t.now, t.now + $8::bigint FROM (SELECT {NOW} AS now) t ON CONFLICT DO NOTHING"
            ),
            &[
                &node.id.0,
                &clean(&node.name),
                &clean(&node.version),
                &kinds,
                &node.new_jobs_only,
                &clean(&node.configuration),
                &node.details.to_string(),
                &in_micros(lease),
            ],
        )
        .await
        .map_err(sql)?;
    if inserted == 0 {
        return Err(Error::new(ErrorKind::Duplicate, format!("there is a node {} already", node.id)));
    }
    Ok(())
}

/// Takes a process off the list.
pub(super) async fn leave(pool: &Pool, node: NodeId) -> Result<()> {
    let client = pool::get(pool).await?;
    client
        .execute("WITH waits AS (DELETE FROM job_waiter WHERE node = $1) DELETE FROM node WHERE id = $1", &[&node.0])
        .await
        .map(|_| ())
        .map_err(sql)
}

/// All processes, the oldest first.
pub(super) async fn nodes(pool: &Pool) -> Result<Vec<Node>> {
    let client = pool::get(pool).await?;
    let rows = client
        .query(
            &format!(
                "SELECT id, name, version, kinds, new_jobs_only, configuration, details, settings, draining, started_at,
                 lease_until - {NOW}, (SELECT count(*) FROM job j WHERE j.state = 'R' AND j.owner = n.id)
                 FROM node n ORDER BY started_at, id"
            ),
            &[],
        )
        .await
        .map_err(sql)?;
    Ok(rows.iter().map(node).collect())
}

fn node(row: &Row) -> Node {
    let node = NewNode {
        id: NodeId(row.get(0)),
        name: row.get(1),
        version: row.get(2),
        kinds: row.get(3),
        new_jobs_only: row.get(4),
        configuration: row.get(5),
        details: serde_json::from_str(row.get(6)).unwrap_or_default(),
    };
    Node {
        node,
        settings: row.get(7),
        draining: row.get(8),
        started_at: time(row.get(9)),
        lease: micros(row.get(10)),
        running: u64::try_from(row.get::<_, i64>(11)).unwrap_or(0),
    }
}

/// How long the server works on a beat at most.
const STATEMENT_TIMEOUT: &str = "SET statement_timeout TO '2s'";
/// How long a process waits for a connection and the answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// The connection of the beats. It is not of the pool: whatever else goes on, a process can say that it lives.
pub(super) struct Beats {
    session: Session,
    connection: tokio::sync::Mutex<Option<(Client, Statement)>>,
}

impl Beats {
    pub(super) fn new(session: Session) -> Self {
        Self { session, connection: tokio::sync::Mutex::new(None) }
    }

    /// One beat, one statement. After an error the next one connects again.
    pub(super) async fn tick(&self, beat: &Beat) -> Result<(Tick, Vec<Hint>)> {
        let mut connection = self.connection.lock().await;
        let answer = tokio::time::timeout(PATIENCE, async {
            let (client, statement) = match connection.take() {
                Some(open) if !open.0.is_closed() => open,
                _ => self.connect().await?,
            };
            let row = ask(&client, &statement, beat).await?;
            *connection = Some((client, statement));
            Ok(row)
        });
        let late = |_| Error::new(ErrorKind::DatabaseUnavailable, "PostgreSQL did not answer the beat of this process in time");
        answer.await.map_err(late)?.map(|row| read(&row, beat.node))
    }

    async fn connect(&self) -> Result<(Client, Statement)> {
        let client = open::connect(&self.session).await?;
        client.batch_execute(STATEMENT_TIMEOUT).await.map_err(sql)?;
        let statement = client
            .prepare(&format!(
                "SELECT t.*, EXISTS (SELECT FROM upload u WHERE u.until <= {NOW})
                     OR EXISTS (SELECT FROM uploaded_file f WHERE f.taken_by IS NULL) AS late
                 FROM job_tick_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) t"
            ))
            .await
            .map_err(sql)?;
        Ok((client, statement))
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        self.connection.lock().await.take();
    }
}

async fn ask(client: &Client, statement: &Statement, beat: &Beat) -> Result<Row> {
    let running: Vec<Uuid> = beat.running.iter().map(|id| id.0).collect();
    let unpinned = jobs::unpinned();
    client
        .query_one(
            statement,
            &[
                &beat.node.0,
                &running,
                &in_micros(beat.lease),
                &beat.draining,
                &beat.settings,
                &i64::from(beat.limits.history),
                &i64::from(beat.limits.outputs),
                &TRIM,
                &in_micros(UNKNOWN),
                &ErrorKind::Canceled.code(),
                &ErrorKind::Internal.code(),
                &unpinned.code,
                &unpinned.details,
            ],
        )
        .await
        .map_err(sql)
}

fn read(row: &Row, node: NodeId) -> (Tick, Vec<Hint>) {
    let (jobs, epochs, wants): (Vec<Uuid>, Vec<i64>, Vec<&str>) = (row.get("wanted"), row.get("epochs"), row.get("wants"));
    let claims = jobs.into_iter().zip(epochs).map(|(job, epoch)| Claim { job: JobId(job), node, epoch });
    let want = |letter| if letter == "C" { Want::Cancel } else { Want::Pause };
    let tick = Tick {
        lost: row.get("lost"),
        wanted: claims.zip(wants.into_iter().map(want)).collect(),
        work: row.get("work"),
        rescued: u64::try_from(row.get::<_, i64>("rescued")).unwrap_or(0),
        settings: row.get("settings"),
        due: row.get::<_, bool>("due") || row.get::<_, bool>("late"),
    };
    let waiting = row.get::<_, bool>("waiting").then_some(Hint::Work);
    let ended = row.get::<_, Vec<Uuid>>("ended").into_iter().map(|id| Hint::Ended(JobId(id)));
    (tick, waiting.into_iter().chain(ended).collect())
}
