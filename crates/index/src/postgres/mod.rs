//! The index on PostgreSQL: any number of processes share one schema of their own (`pleiad`), which `open.rs` makes and migrates.
//!
//! The files are named as in `sqlite/`; what each does is the same, the shape of the statements is not: here they take whole sets.

mod bus;
mod error;
pub(crate) mod functions;
mod job_rows;
mod jobs;
#[cfg(test)]
mod jobs_tests;
mod node;
mod nodes;
mod open;
mod pool;
mod remotes;
mod settings;
#[cfg(test)]
mod tests;

pub use pool::Server;

use bus::Bus;
use model::{ErrorKind, Result};
use node::Node;
use nodes::Beats;
use std::time::Duration;

/// The name of our schema, unless another is configured.
pub const SCHEMA: &str = "pleiad";

/// How to open an index.
#[derive(Clone)]
pub struct PostgresConfig {
    pub server: Server,
    /// Made if it is not there.
    pub schema: String,
    /// Connections at most (`PostgreSQL.IndexConnectionsCount`).
    pub connections: usize,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// How often a connection is tried at the start, and how long between.
    pub retries: u32,
    pub retry_interval: Duration,
    /// How long after its last instance a resource is stable (`StableAge`).
    pub stable_age: Duration,
}

/// An open index.
pub struct PostgresIndex {
    pool: deadpool_postgres::Pool,
    node: Node,
    beats: Beats,
    bus: Bus,
}

/// Opens the index in a schema, and creates it if it is not there.
///
/// # Errors
/// `DatabaseUnavailable` if the server cannot be reached; `Database` if it is too old, behind a transaction pooler, holds somebody
/// else's tables, or a schema of a later version, and then it was not touched.
pub async fn open(config: &PostgresConfig) -> Result<PostgresIndex> {
    let session = pool::Session::new(&config.server, &config.schema, &config.application_name)?;
    let mut retries = config.retries;
    while let Err(error) = open::prepare(&session).await {
        if error.kind() != ErrorKind::DatabaseUnavailable || retries == 0 {
            return Err(error);
        }
        retries -= 1;
        tracing::warn!(%error, retries, "the database is not available; trying again");
        tokio::time::sleep(config.retry_interval).await;
    }
    let pool = session.pool(config.connections)?;
    let node = Node::join(&pool).await?;
    let (beats, bus) = (Beats::new(session.clone()), Bus::start(session, node.id));
    Ok(PostgresIndex { pool, node, beats, bus })
}

impl PostgresIndex {
    /// Ends the lease of this process and closes its connections.
    pub async fn close(&self) {
        if let Err(error) = self.node.leave(&self.pool).await {
            tracing::debug!(%error, node = %self.node.id, "the lease of this process remains until its end");
        }
        self.bus.close();
        self.beats.close().await;
        self.pool.close();
    }
}
