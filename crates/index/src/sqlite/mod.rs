//! The embedded index: one SQLite file in WAL mode, one thread that writes (`writer.rs`), several connections that read
//! (`readers.rs`). For one process; several need PostgreSQL.
//!
//! Every write is a job of the writer, every read one snapshot. The port below only hands arguments on.

mod annotations;
mod batch;
mod blobs;
mod delete;
mod error;
mod events;
mod feed;
mod find;
mod job_rows;
mod jobs;
mod key_values;
mod load;
mod nodes;
mod notes;
mod open;
#[cfg(test)]
mod plans;
mod quota;
mod readers;
mod remotes;
mod reread;
mod rows;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod uploaded;
mod uploads;
mod writer;

pub use open::is_orthanc_index;

use crate::hints::Hints;
use crate::jobs::in_micros;
use async_trait::async_trait;
use batch::{Batch, Clock};
use model::job::{
    Acted, Beat, Checkpoint, Claim, ClaimedJob, Hint, Job, JobAction, JobEnd, JobId, JobKey, JobLimits, JobOutput, JobQuery,
    JobStep, KeyedJob, NewJob, NewNode, Node, NodeId, Tick, Turn, Waiting,
};
use model::ports::index::{
    Annotations, BlobBlock, Deleted, Expect, Feed, KeyValues, Note, Notes, RemoteKind, Remotes, Resources, SettingsSnapshot,
    SharedSettings, Stability, Upkeep, Uploads,
};
use model::ports::{Index, Jobs};
use model::upload::{NewPiece, NewUploaded, PieceAdded, UploadLimits, Uploaded};
use model::{
    Attachment, AttachmentId, ChangeType, ChangesPage, ChangesRequest, ContentType, Error, ErrorKind, Exported, ExportsPage,
    FindRequest, Level, MetadataKind, NewInstance, OrthancId, Quota, Reread, Resource, ResourceStatistics, Result, Stored,
    Totals,
};
use open::Durability;
use readers::Readers;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use writer::Writer;

/// How to open an index.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long after its last instance a resource is stable (`StableAge`).
    pub stable_age: Duration,
    /// Connections that read, at least one.
    pub readers: usize,
    /// Microseconds since 1970 for jobs and leases, instead of the system's clock. For simulations.
    pub clock: Option<&'static AtomicI64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { stable_age: Duration::from_secs(60), readers: 4, clock: None }
    }
}

/// An open index. It is closed by [`Upkeep::close`], or when it is dropped.
struct SqliteIndex {
    writer: Writer,
    readers: Readers,
    reader_count: usize,
    clock: Arc<Clock>,
    hints: Hints,
    /// Released when the index is closed.
    lock: Mutex<Option<File>>,
    /// The folder of an index that does not outlive the process.
    folder: Mutex<Option<tempfile::TempDir>>,
}

/// Opens the index in a file, and creates it if it is not there. Commits are on the disk when they return. The folder must exist.
///
/// # Errors
/// `DatabaseUnavailable` if another process uses it; `Database` if the file is not ours, damaged, or of a later version, and
/// then it was not touched; `CannotWrite`, `StorageFull`.
pub fn open(path: &Path, options: Options) -> Result<Arc<dyn Index>> {
    Ok(Arc::new(assemble(path, options, Durability::Full, None)?))
}

/// Opens an empty index in a private folder of the system's temporary folder. It is gone when it is closed.
///
/// # Errors
/// `CannotWrite`, `StorageFull`.
pub fn open_temporary(options: Options) -> Result<Arc<dyn Index>> {
    let folder = tempfile::Builder::new()
        .prefix("pleiad-index-")
        .tempdir()
        .map_err(|e| Error::new(ErrorKind::CannotWrite, "no temporary folder for the index").caused_by(e))?;
    let path = folder.path().join("pleiad.sqlite");
    Ok(Arc::new(assemble(&path, options, Durability::None, Some(folder))?))
}

fn assemble(path: &Path, options: Options, durability: Durability, folder: Option<tempfile::TempDir>) -> Result<SqliteIndex> {
    let lock = open::lock(path)?;
    let connection = open::writer(path, durability)?;
    let reader_count = options.readers.max(1);
    let readers = (0..reader_count).map(|_| open::reader(path)).collect::<Result<Vec<_>>>()?;
    let node = *AttachmentId::random().0.as_bytes();
    let clock = Arc::new(Clock {
        node,
        stable_age_ms: AtomicI64::new(milliseconds(options.stable_age)),
        quota: Mutex::new(Quota::NONE),
        simulated: options.clock,
    });
    Ok(SqliteIndex {
        writer: Writer::start(connection, clock.clone())?,
        readers: Readers::new(readers),
        reader_count,
        clock,
        hints: Hints::default(),
        lock: Mutex::new(Some(lock)),
        folder: Mutex::new(folder),
    })
}

impl SqliteIndex {
    /// A write that other tasks of this process wait for.
    async fn tell<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Batch<'_>) -> jobs::Told<T> + Send + 'static,
    {
        let (value, hints) = self.writer.run(work).await?;
        self.hints.push(hints);
        Ok(value)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Resources for SqliteIndex {
    async fn store_instance(&self, new: NewInstance) -> Result<Stored> {
        self.writer.run(move |batch| store::store(batch, &new)).await
    }

    async fn reread_instance(&self, reread: Reread) -> Result<()> {
        self.writer.run(move |batch| reread::reread(batch, &reread)).await
    }

    async fn find(&self, request: &FindRequest) -> Result<Vec<Resource>> {
        let request = request.clone();
        self.readers.run(move |conn| find::find(conn, &request)).await
    }

    async fn walk(&self, level: Level, after: i64, limit: usize) -> Result<Vec<(i64, OrthancId)>> {
        self.readers.run(move |conn| rows::walk(conn, level, after, limit)).await
    }

    async fn count(&self, request: &FindRequest) -> Result<u64> {
        let request = request.clone();
        self.readers.run(move |conn| find::count(conn, &request)).await
    }

    async fn lookup_identifier(&self, text: &str) -> Result<Vec<(Level, OrthancId)>> {
        let text = text.to_owned();
        self.readers.run(move |conn| find::lookup(conn, &text)).await
    }

    async fn levels_of(&self, ids: &[OrthancId]) -> Result<HashMap<OrthancId, Level>> {
        let ids = ids.to_vec();
        self.readers.run(move |conn| find::levels_of(conn, &ids)).await
    }

    async fn delete(&self, level: Level, id: OrthancId) -> Result<Deleted> {
        self.writer.run(move |batch| delete::delete(batch, level, id)).await
    }

    async fn resource_statistics(&self, level: Level, id: OrthancId) -> Result<ResourceStatistics> {
        self.readers.run(move |conn| load::statistics(conn, level, rows::expect(conn, level, id)?)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.readers.run(load::totals).await
    }
}

#[async_trait]
impl Annotations for SqliteIndex {
    async fn set_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, value: &str, expect: Expect) -> Result<i64> {
        let value = value.to_owned();
        self.writer.run(move |batch| annotations::set_metadata(batch, (level, id), kind, &value, expect)).await
    }

    async fn delete_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, expect: Expect) -> Result<()> {
        self.writer.run(move |batch| annotations::delete_metadata(batch, (level, id), kind, expect)).await
    }

    async fn set_attachment(&self, level: Level, id: OrthancId, attachment: Attachment, expect: Expect) -> Result<i64> {
        self.writer.run(move |batch| annotations::set_attachment(batch, (level, id), &attachment, expect)).await
    }

    async fn delete_attachment(&self, level: Level, id: OrthancId, content_type: ContentType, expect: Expect) -> Result<()> {
        self.writer.run(move |batch| annotations::delete_attachment(batch, (level, id), content_type, expect)).await
    }

    async fn note_md5s(&self, level: Level, id: OrthancId, attachment: Attachment) -> Result<()> {
        self.writer.run(move |batch| annotations::note_md5s(batch, (level, id), &attachment)).await
    }

    async fn change_labels(&self, level: Level, id: OrthancId, add: &BTreeSet<String>, remove: &BTreeSet<String>) -> Result<()> {
        let (add, remove) = (add.clone(), remove.clone());
        self.writer.run(move |batch| annotations::change_labels(batch, (level, id), &add, &remove)).await
    }

    async fn labels(&self) -> Result<BTreeSet<String>> {
        self.readers.run(annotations::labels).await
    }

    async fn set_protected(&self, patient: OrthancId, protected: bool) -> Result<()> {
        self.writer.run(move |batch| annotations::set_protected(batch, patient, protected)).await
    }
}

#[async_trait]
impl Feed for SqliteIndex {
    async fn changes(&self, request: &ChangesRequest) -> Result<ChangesPage> {
        let request = request.clone();
        self.readers.run(move |conn| feed::changes(conn, &request)).await
    }

    async fn last_change(&self) -> Result<ChangesPage> {
        self.readers.run(feed::last_change).await
    }

    async fn append_change(&self, kind: ChangeType, level: Level, id: OrthancId) -> Result<()> {
        self.writer.run(move |batch| feed::append_change(batch, kind, level, id)).await
    }

    async fn clear_changes(&self) -> Result<()> {
        self.writer.run(feed::clear_changes).await
    }

    async fn append_export(&self, export: Exported) -> Result<()> {
        self.writer.run(move |batch| feed::append_export(batch, &export)).await
    }

    async fn exports(&self, since: i64, limit: u32) -> Result<ExportsPage> {
        self.readers.run(move |conn| feed::exports(conn, since, limit)).await
    }

    async fn last_export(&self) -> Result<ExportsPage> {
        self.readers.run(feed::last_export).await
    }

    async fn clear_exports(&self) -> Result<()> {
        self.writer.run(feed::clear_exports).await
    }
}

#[async_trait]
impl Upkeep for SqliteIndex {
    async fn reserve_blobs(&self, n: usize) -> Result<BlobBlock> {
        self.writer.run(move |batch| blobs::reserve(batch, n)).await.map(BlobBlock)
    }

    async fn release_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        let blobs = blobs.to_vec();
        self.writer.run(move |batch| blobs::release(batch, &blobs)).await
    }

    async fn abandon_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        let blobs = blobs.to_vec();
        self.writer.run(move |batch| blobs::abandon(batch, &blobs)).await
    }

    async fn sweep_intents(&self) -> Result<u64> {
        self.writer.run(blobs::sweep).await
    }

    async fn deleted_blobs(&self, limit: usize, age: Duration) -> Result<Vec<AttachmentId>> {
        self.readers.run(move |conn| blobs::deleted(conn, limit, milliseconds(age))).await
    }

    async fn count_deleted_blobs(&self) -> Result<u64> {
        self.readers.run(blobs::count_deleted).await
    }

    async fn forget_deleted_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        let blobs = blobs.to_vec();
        self.writer.run(move |batch| blobs::forget(batch.conn, &blobs)).await
    }

    async fn sweep_stability(&self) -> Result<u64> {
        let mut total = 0;
        loop {
            let (swept, more) = self.writer.run(upkeep::sweep_stability).await?;
            total += swept;
            if !more {
                return Ok(total);
            }
        }
    }

    async fn set_stability(&self, level: Level, id: OrthancId, to: Stability) -> Result<bool> {
        self.writer.run(move |batch| upkeep::set_stability(batch, level, id, to)).await
    }

    async fn sweep_tombstones(&self) -> Result<bool> {
        self.writer.run(delete::sweep).await
    }

    fn set_quota(&self, quota: Quota) {
        *self.clock.quota.lock().unwrap_or_else(PoisonError::into_inner) = quota;
    }

    fn set_stable_age(&self, age: Duration) {
        self.clock.stable_age_ms.store(milliseconds(age), Ordering::Relaxed);
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn close(&self) {
        self.readers.close(self.reader_count).await;
        self.writer.close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[async_trait]
impl Remotes for SqliteIndex {
    async fn remotes(&self, kind: RemoteKind) -> Result<BTreeMap<String, Value>> {
        self.readers.run(move |conn| remotes::all(conn, kind)).await
    }

    async fn remote(&self, kind: RemoteKind, name: &str) -> Result<Option<Value>> {
        let name = name.to_owned();
        self.readers.run(move |conn| remotes::one(conn, kind, &name)).await
    }

    async fn put_remote(&self, kind: RemoteKind, name: &str, definition: &Value) -> Result<()> {
        let (name, definition) = (name.to_owned(), definition.to_string());
        self.writer.run(move |batch| remotes::put(batch, kind, &name, &definition)).await
    }

    async fn delete_remote(&self, kind: RemoteKind, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.writer.run(move |batch| remotes::delete(batch, kind, &name)).await
    }

    async fn seed_remotes(&self, kind: RemoteKind, configured: &BTreeMap<String, Value>) -> Result<()> {
        let configured = configured.clone();
        self.writer.run(move |batch| remotes::seed(batch, kind, &configured)).await
    }
}

#[async_trait]
impl SharedSettings for SqliteIndex {
    async fn settings(&self) -> Result<SettingsSnapshot> {
        self.readers.run(settings::all).await
    }

    async fn set_setting(&self, key: &str, value: &str) -> Result<i64> {
        let (key, value) = (key.to_owned(), value.to_owned());
        let version = self.writer.run(move |batch| settings::set(batch, &key, &value)).await?;
        self.hints.push([Hint::Settings]);
        Ok(version)
    }

    async fn seed_settings(&self, configured: &BTreeMap<String, String>) -> Result<()> {
        let configured = configured.clone();
        self.writer.run(move |batch| settings::seed(batch, &configured)).await
    }
}

#[async_trait]
impl Notes for SqliteIndex {
    async fn note(&self, name: &str) -> Result<Note> {
        let name = name.to_owned();
        self.readers.run(move |conn| notes::read(conn, &name)).await
    }

    async fn put_note(&self, name: &str, version: i64, value: &Value) -> Result<bool> {
        let (name, value) = (name.to_owned(), value.to_string());
        self.writer.run(move |batch| notes::put(batch, &name, version, &value)).await
    }
}

#[async_trait]
impl KeyValues for SqliteIndex {
    async fn value(&self, store: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>> {
        let (store, key) = (store.to_vec(), key.to_vec());
        self.readers.run(move |conn| key_values::get(conn, &store, &key)).await
    }

    async fn put_value(&self, store: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        let (store, key, value) = (store.to_vec(), key.to_vec(), value.to_vec());
        self.writer.run(move |batch| key_values::put(batch, &store, &key, &value)).await
    }

    async fn delete_value(&self, store: &[u8], key: &[u8]) -> Result<()> {
        let (store, key) = (store.to_vec(), key.to_vec());
        self.writer.run(move |batch| key_values::delete(batch, &store, &key)).await
    }
}

#[async_trait]
impl Uploads for SqliteIndex {
    async fn add_piece(&self, piece: &NewPiece, limits: UploadLimits) -> Result<PieceAdded> {
        let piece = piece.clone();
        self.writer.run(move |batch| uploads::add(batch, &piece, limits)).await
    }

    async fn forget_upload(&self, id: i64) -> Result<()> {
        self.writer.run(move |batch| uploads::forget(batch, id)).await
    }

    async fn sweep_uploads(&self) -> Result<()> {
        self.writer.run(uploads::sweep).await
    }

    async fn upload_folders(&self, age: Duration) -> Result<Vec<String>> {
        let since = self.clock.now_us().saturating_sub(in_micros(age));
        self.readers.run(move |conn| uploads::folders(conn, since)).await
    }

    async fn make_upload_folder(&self, path: &str, age: Duration, most: u32) -> Result<bool> {
        let path = path.to_owned();
        self.writer.run(move |batch| uploads::make_folder(batch, &path, age, most)).await
    }

    async fn remove_upload(&self, path: &str) -> Result<bool> {
        let path = path.to_owned();
        self.writer.run(move |batch| Ok(uploads::remove_folder(batch, &path)? | uploaded::forget_path(batch.conn, &path)?)).await
    }

    async fn add_uploaded(&self, file: &NewUploaded) -> Result<()> {
        let file = file.clone();
        self.writer.run(move |batch| uploaded::add(batch, &file)).await
    }

    async fn uploaded(&self, limit: u32) -> Result<Vec<Uploaded>> {
        let now = self.clock.now_us();
        self.readers.run(move |conn| uploaded::list(conn, limit, now)).await
    }

    async fn take_uploaded(&self, job: JobId, after: i64, limit: u32) -> Result<Vec<Uploaded>> {
        self.writer.run(move |batch| uploaded::take(batch, job, after, limit)).await
    }

    async fn forget_uploaded(&self, id: i64) -> Result<()> {
        self.writer.run(move |batch| uploaded::forget(batch, id)).await
    }

    async fn uploads_wait(&self, kind: &str, age: Duration) -> Result<bool> {
        let (kind, before) = (kind.to_owned(), self.clock.now_us().saturating_sub(in_micros(age)));
        self.readers.run(move |conn| uploaded::wait(conn, &kind, before)).await
    }
}

#[async_trait]
impl Jobs for SqliteIndex {
    async fn join(&self, node: &NewNode, lease: Duration) -> Result<()> {
        let node = node.clone();
        self.writer.run(move |batch| nodes::join(batch, &node, lease)).await
    }

    async fn tick(&self, beat: &Beat) -> Result<Tick> {
        let beat = beat.clone();
        self.tell(move |batch| nodes::tick(batch, &beat)).await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.writer.run(move |batch| nodes::leave(batch, node)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let now = self.clock.now_us();
        self.readers.run(move |conn| nodes::nodes(conn, now)).await
    }

    async fn submit_job(&self, job: NewJob) -> Result<Option<ClaimedJob>> {
        self.tell(move |batch| jobs::submit(batch, &job)).await
    }

    async fn claim_jobs(&self, node: NodeId, n: usize) -> Result<Vec<ClaimedJob>> {
        self.tell(move |batch| jobs::claim(batch, node, jobs::Which::Next(n))).await
    }

    async fn claim_suspect(&self, node: NodeId) -> Result<Option<ClaimedJob>> {
        Ok(self.tell(move |batch| jobs::claim(batch, node, jobs::Which::Suspect)).await?.pop())
    }

    async fn checkpoint_job(&self, claim: Claim, checkpoint: &Checkpoint) -> Result<bool> {
        let checkpoint = checkpoint.clone();
        self.writer.run(move |batch| jobs::checkpoint(batch, claim, &checkpoint)).await
    }

    async fn finish_jobs(&self, ends: &[(Claim, JobEnd)], limits: JobLimits, next: Option<(NodeId, usize)>) -> Result<Turn> {
        let ends = ends.to_vec();
        self.tell(move |batch| jobs::finish_all(batch, &ends, limits, next)).await
    }

    async fn act_on_job(&self, id: JobId, action: JobAction, limits: JobLimits) -> Result<Acted> {
        self.tell(move |batch| jobs::act(batch, id, action, limits)).await
    }

    async fn job_ids(&self) -> Result<Vec<JobId>> {
        self.readers.run(job_rows::ids).await
    }

    async fn jobs(&self, ids: Option<&[JobId]>) -> Result<Vec<Job>> {
        let ids = ids.map(<[JobId]>::to_vec);
        let now = self.clock.now_us();
        self.readers.run(move |conn| job_rows::read(conn, ids.as_deref(), now)).await
    }

    async fn list_jobs(&self, query: &JobQuery) -> Result<Vec<Job>> {
        let (query, now) = (query.clone(), self.clock.now_us());
        self.readers.run(move |conn| job_rows::list(conn, &query, now)).await
    }

    async fn job_of_key(&self, key: JobKey) -> Result<Option<KeyedJob>> {
        self.readers.run(move |conn| job_rows::of_key(conn, key)).await
    }

    async fn job_steps(&self, id: JobId, from: u32, limit: u32) -> Result<Vec<JobStep>> {
        self.readers.run(move |conn| job_rows::steps(conn, id, from, limit)).await
    }

    async fn set_job_priority(&self, id: JobId, priority: i32) -> Result<Acted> {
        self.writer.run(move |batch| jobs::set_priority(batch, id, priority)).await
    }

    async fn job_counts(&self) -> Result<[u64; 6]> {
        self.readers.run(job_rows::counts).await
    }

    async fn waiting_jobs(&self) -> Result<Vec<Waiting>> {
        let now = self.clock.now_us();
        self.readers.run(move |conn| job_rows::waiting(conn, now)).await
    }

    async fn delete_job(&self, id: JobId) -> Result<()> {
        self.writer.run(move |batch| jobs::delete(batch, id)).await
    }

    async fn job_output(&self, id: JobId, key: &str) -> Result<JobOutput> {
        let key = key.to_owned();
        let name = key.clone();
        let (output, newest) = self.readers.run(move |conn| job_rows::output(conn, id, &name)).await?;
        if !newest {
            self.writer.run(move |batch| jobs::use_output(batch, id, &key)).await?;
        }
        Ok(output)
    }

    async fn delete_job_output(&self, id: JobId, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.writer.run(move |batch| jobs::delete_output(batch, id, &key)).await
    }

    async fn forget_waiters(&self, node: NodeId, ids: &[JobId], limits: JobLimits) -> Result<()> {
        let ids = ids.to_vec();
        self.writer.run(move |batch| jobs::forget_waiters(batch, node, &ids, limits)).await
    }

    async fn hint(&self) -> Hint {
        self.hints.next().await
    }
}
