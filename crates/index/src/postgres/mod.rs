//! The index on PostgreSQL: any number of processes share one schema of their own (`pleiad`), which `open.rs` makes and migrates.
//!
//! The files are named as in `sqlite/`; what each does is the same, the shape of the statements is not: here they take whole sets.

mod annotations;
mod batch;
mod blobs;
mod bus;
mod delete;
mod error;
mod events;
mod feed;
mod find;
pub(crate) mod functions;
mod job_rows;
mod jobs;
#[cfg(test)]
mod jobs_tests;
mod key_values;
mod load;
mod node;
mod nodes;
mod notes;
mod open;
#[cfg(test)]
mod plans;
mod pool;
mod quota;
mod readers;
mod remotes;
mod reread;
mod rows;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod trigrams;
mod upkeep;
mod uploaded;
mod uploads;
mod writer;

pub use pool::Server;

use async_trait::async_trait;
use bus::Bus;
use model::ports::Index;
use model::ports::index::{Annotations, BlobBlock, Deleted, Expect, Feed, Resources, Stability, Upkeep};
use model::{
    Attachment, AttachmentId, ChangeType, ChangesPage, ChangesRequest, ContentType, ErrorKind, Exported, ExportsPage,
    FindRequest, Level, MetadataKind, NewInstance, OrthancId, Quota, Reread, Resource, ResourceStatistics, Result, Stored,
    Totals,
};
use node::Node;
use nodes::Beats;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::Stores;
use writer::Writer;

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

/// An open index. It is closed by [`Upkeep::close`], or when it is dropped.
struct PostgresIndex {
    pool: deadpool_postgres::Pool,
    node: Node,
    beats: Beats,
    bus: Bus,
    stores: Arc<Stores>,
    writer: Writer,
}

/// Rows of the totals (`stat_shard`).
const SHARDS: u8 = 32;

/// Opens the index in a schema, and creates it if it is not there.
///
/// # Errors
/// `DatabaseUnavailable` if the server cannot be reached; `Database` if it is too old, behind a transaction pooler, holds somebody
/// else's tables, or a schema of a later version, and then it was not touched.
pub async fn open(config: &PostgresConfig) -> Result<Arc<dyn Index>> {
    Ok(Arc::new(assemble(config).await?))
}

async fn assemble(config: &PostgresConfig) -> Result<PostgresIndex> {
    let session = pool::Session::new(&config.server, &config.schema, &config.application_name)?;
    let pool = session.pool(config.connections)?;
    let mut retries = config.retries;
    let node = loop {
        let joined = async {
            open::prepare(&session).await?;
            Node::join(&pool).await
        };
        match joined.await {
            Err(error) if error.kind() == ErrorKind::DatabaseUnavailable && retries > 0 => {
                retries -= 1;
                tracing::warn!(%error, retries, "the database is not available; trying again");
                tokio::time::sleep(config.retry_interval).await;
            }
            joined => break joined?,
        }
    };
    let stores = Arc::new(Stores {
        pool: pool.clone(),
        node: node.id,
        shard: i32::from(node.id.as_bytes()[0] % SHARDS),
        stable_age_ms: AtomicI64::new(milliseconds(config.stable_age)),
        quota: Mutex::new(Quota::NONE),
        series: Mutex::default(),
    });
    let (beats, bus) = (Beats::new(session.clone()), Bus::start(session, node.id));
    Ok(PostgresIndex { pool, node, beats, bus, writer: Writer::start(stores.clone()), stores })
}

/// At most some thousand years, so that deadlines can be computed.
fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).min(1 << 50)
}

#[async_trait]
impl Resources for PostgresIndex {
    async fn store_instance(&self, new: NewInstance) -> Result<Stored> {
        self.writer.store(new).await
    }

    async fn reread_instance(&self, reread: Reread) -> Result<()> {
        reread::reread(&self.pool, &reread).await
    }

    async fn find(&self, request: &FindRequest) -> Result<Vec<Resource>> {
        find::find(&self.pool, request).await
    }

    async fn walk(&self, level: Level, after: i64, limit: usize) -> Result<Vec<(i64, OrthancId)>> {
        rows::walk(&self.pool, level, after, limit).await
    }

    async fn count(&self, request: &FindRequest) -> Result<u64> {
        find::count(&self.pool, request).await
    }

    async fn lookup_identifier(&self, text: &str) -> Result<Vec<(Level, OrthancId)>> {
        find::lookup(&self.pool, text).await
    }

    async fn levels_of(&self, ids: &[OrthancId]) -> Result<HashMap<OrthancId, Level>> {
        find::levels_of(&self.pool, ids).await
    }

    async fn delete(&self, level: Level, id: OrthancId) -> Result<Deleted> {
        delete::delete(&self.stores, level, id).await
    }

    async fn resource_statistics(&self, level: Level, id: OrthancId) -> Result<ResourceStatistics> {
        load::statistics(&self.pool, level, id).await
    }

    async fn totals(&self) -> Result<Totals> {
        load::totals(&self.pool).await
    }
}

#[async_trait]
impl Annotations for PostgresIndex {
    async fn set_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, value: &str, expect: Expect) -> Result<i64> {
        annotations::set_metadata(&self.pool, (level, id), kind, value, expect).await
    }

    async fn delete_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, expect: Expect) -> Result<()> {
        annotations::delete_metadata(&self.pool, (level, id), kind, expect).await
    }

    async fn set_attachment(&self, level: Level, id: OrthancId, attachment: Attachment, expect: Expect) -> Result<i64> {
        annotations::set_attachment(&self.stores, (level, id), &attachment, expect).await
    }

    async fn delete_attachment(&self, level: Level, id: OrthancId, content_type: ContentType, expect: Expect) -> Result<()> {
        annotations::delete_attachment(&self.stores, (level, id), content_type, expect).await
    }

    async fn note_md5s(&self, level: Level, id: OrthancId, attachment: Attachment) -> Result<()> {
        annotations::note_md5s(&self.pool, (level, id), &attachment).await
    }

    async fn change_labels(&self, level: Level, id: OrthancId, add: &BTreeSet<String>, remove: &BTreeSet<String>) -> Result<()> {
        annotations::change_labels(&self.pool, (level, id), add, remove).await
    }

    async fn labels(&self) -> Result<BTreeSet<String>> {
        annotations::labels(&self.pool).await
    }

    async fn set_protected(&self, patient: OrthancId, protected: bool) -> Result<()> {
        annotations::set_protected(&self.stores, patient, protected).await
    }
}

#[async_trait]
impl Feed for PostgresIndex {
    async fn changes(&self, request: &ChangesRequest) -> Result<ChangesPage> {
        feed::changes(&self.pool, request).await
    }

    async fn last_change(&self) -> Result<ChangesPage> {
        feed::last_change(&self.pool).await
    }

    async fn append_change(&self, kind: ChangeType, level: Level, id: OrthancId) -> Result<()> {
        feed::append_change(&self.pool, kind, level, id).await
    }

    async fn clear_changes(&self) -> Result<()> {
        feed::clear_changes(&self.pool).await
    }

    async fn append_export(&self, export: Exported) -> Result<()> {
        feed::append_export(&self.pool, &export).await
    }

    async fn exports(&self, since: i64, limit: u32) -> Result<ExportsPage> {
        feed::exports(&self.pool, since, limit).await
    }

    async fn last_export(&self) -> Result<ExportsPage> {
        feed::last_export(&self.pool).await
    }

    async fn clear_exports(&self) -> Result<()> {
        feed::clear_exports(&self.pool).await
    }
}

#[async_trait]
impl Upkeep for PostgresIndex {
    async fn reserve_blobs(&self, n: usize) -> Result<BlobBlock> {
        blobs::reserve(&self.pool, &self.node, n).await.map(BlobBlock)
    }

    async fn release_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        blobs::release(&self.pool, &self.node, blobs).await
    }

    async fn abandon_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        blobs::abandon(&self.pool, &self.node, blobs).await
    }

    async fn sweep_intents(&self) -> Result<u64> {
        blobs::sweep(&self.pool).await
    }

    async fn deleted_blobs(&self, limit: usize, age: Duration) -> Result<Vec<AttachmentId>> {
        blobs::deleted(&self.pool, limit, age).await
    }

    async fn count_deleted_blobs(&self) -> Result<u64> {
        blobs::count_deleted(&self.pool).await
    }

    async fn forget_deleted_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        blobs::forget(&self.pool, blobs).await
    }

    async fn sweep_stability(&self) -> Result<u64> {
        upkeep::sweep_stability(&self.pool).await
    }

    async fn set_stability(&self, level: Level, id: OrthancId, to: Stability) -> Result<bool> {
        upkeep::set_stability(&self.stores, level, id, to).await
    }

    async fn sweep_tombstones(&self) -> Result<bool> {
        upkeep::sweep_tombstones(&self.pool).await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn set_quota(&self, quota: Quota) {
        *self.stores.quota.lock().unwrap_or_else(PoisonError::into_inner) = quota;
    }

    fn set_stable_age(&self, age: Duration) {
        self.stores.stable_age_ms.store(milliseconds(age), Ordering::Relaxed);
    }

    async fn close(&self) {
        self.writer.close().await;
        if let Err(error) = self.node.leave(&self.pool).await {
            tracing::debug!(%error, node = %self.node.id, "the lease of this process remains until its end");
        }
        self.bus.close();
        self.beats.close().await;
        self.bus.close();
        self.beats.close().await;
        self.pool.close();
    }
}
