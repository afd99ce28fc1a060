//! Which processes are alive, as far as their blobs are concerned: the one place that knows the rule.
//!
//! A process has a row with a lease on the database's clock. What it reserved and did not use is an orphan once the lease is over. The
//! lease may be long: orphans are only wasted space. A process that loses its lease and lives is told `Busy`, and reserves anew.

use super::error::sql;
use super::pool;
use super::writer::write;
use deadpool_postgres::Pool;
use model::Result;
use std::time::Duration;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Seconds.
const LEASE: f64 = 60.0;
const RENEWAL: Duration = Duration::from_secs(20);
/// How long a renewal may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// When it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The condition that the process of a row of `blob_intent`, named `intent`, is dead.
pub(super) const IS_DEAD: &str =
    "NOT EXISTS (SELECT FROM blob_node alive WHERE alive.node = intent.node AND alive.alive_until > clock_timestamp())";

/// This process, as an owner of blob names. Random: never used again.
pub(super) struct Node {
    pub(super) id: Uuid,
    renewal: JoinHandle<()>,
}

impl Node {
    /// Registers a new process, and keeps it alive until it is dropped.
    pub(super) async fn join(pool: &Pool) -> Result<Self> {
        let id = Uuid::new_v4();
        renew(pool, id).await?;
        let pool = pool.clone();
        let renewal = tokio::spawn(async move {
            let mut pause = RENEWAL;
            loop {
                tokio::time::sleep(pause).await;
                pause = match tokio::time::timeout(PATIENCE, renew(&pool, id)).await {
                    Ok(Ok(())) => RENEWAL,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "the lease of this process could not be renewed");
                        AGAIN
                    }
                    Err(_) => AGAIN,
                };
            }
        });
        Ok(Self { id, renewal })
    }

    /// Ends the lease: what is still reserved are orphans from now on.
    pub(super) async fn leave(&self, pool: &Pool) -> Result<()> {
        self.renewal.abort();
        let client = pool::get(pool).await?;
        client.execute("DELETE FROM blob_node WHERE node = $1", &[&self.id]).await.map(|_| ()).map_err(sql)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(pool: &Pool, id: Uuid) -> Result<()> {
    let client = pool::get(pool).await?;
    client
        .execute(
            "INSERT INTO blob_node (node, alive_until) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
             ON CONFLICT (node) DO UPDATE SET alive_until = excluded.alive_until",
            &[&id, &LEASE],
        )
        .await
        .map(|_| ())
        .map_err(sql)
}

/// Forgets dead processes that left nothing.
pub(super) async fn forget_dead(pool: &Pool) -> Result<()> {
    let statement = "DELETE FROM blob_node n WHERE n.alive_until < clock_timestamp()
        AND NOT EXISTS (SELECT FROM blob_intent b WHERE b.node = n.node)";
    write(pool, statement, &[]).await.map(|_| ())
}
