//! The database and the storage area of a simulation, behind the engine's ports: real ones, with a gate in front of each call.

use super::wait;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use model::event::{Event, EventKinds};
use model::job::*;
use model::ports::index::*;
use model::ports::{BlobWriter, Events, Index, Jobs, StorageArea};
use model::upload::{NewPiece, NewUploaded, PieceAdded, UploadLimits, Uploaded};
use model::{
    Attachment, AttachmentId, ChangeType, ChangesPage, ChangesRequest, ContentType, Error, ErrorKind, Exported, ExportsPage,
    FindRequest, Level, MetadataKind, NewInstance, OrthancId, Quota, Reread, Resource, ResourceStatistics, Result, Stored,
    Totals,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// A blob that nobody may ask for: whose process asks, dies.
pub const DEADLY: AttachmentId = AttachmentId(uuid::Uuid::nil());

/// Before a call has an effect, or after it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// What goes wrong at a call.
#[derive(Clone)]
pub enum What {
    /// The process dies.
    Kill,
    /// The process sleeps, as one that was stopped by a signal or whose machine is paused.
    Freeze(Duration),
    /// The call fails as if the database were away.
    Fail,
    /// Somebody else does something at this moment.
    Do(Arc<dyn Fn(&Shared) + Send + Sync>),
}

/// One thing that goes wrong.
#[derive(Clone)]
pub struct Fault {
    pub process: usize,
    /// The number of the call, from 0.
    pub call: usize,
    pub when: When,
    pub what: What,
}

/// What a process is made to do by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    Killed,
    /// Until then.
    Frozen(Duration),
}

/// One call, for the enumeration of crash points.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Duration,
    pub process: usize,
    pub name: &'static str,
    pub blob: Option<AttachmentId>,
}

/// What one process has of the simulation.
pub struct Place {
    /// When its clock began, in both times.
    pub began: Mutex<Option<(Instant, Duration)>>,
    pub halt: Mutex<Option<Halt>>,
    pub halted: Notify,
    pub thaw: Notify,
    hints: (mpsc::UnboundedSender<Hint>, tokio::sync::Mutex<mpsc::UnboundedReceiver<Hint>>),
    /// Between these moments its calls to the database fail.
    pub cut: Mutex<Option<(Duration, Duration)>>,
}

/// What all processes share.
pub struct Shared {
    pub index: Arc<dyn Index>,
    pub storage: Arc<dyn StorageArea>,
    clock: &'static AtomicI64,
    pub places: Vec<Place>,
    pub faults: Mutex<Vec<Fault>>,
    pub calls: Mutex<Vec<Call>>,
    pub deaf: bool,
    /// Writes to the storage area fail once so many bytes are there.
    pub full_at: Mutex<Option<u64>>,
    written: Mutex<u64>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    pub fn new(processes: usize, deaf: bool, storage: Arc<dyn StorageArea>) -> Self {
        let clock: &'static AtomicI64 = Box::leak(Box::new(AtomicI64::new(START_US)));
        let options = index::sqlite::Options { stable_age: Duration::from_secs(3600), readers: 1, clock: Some(clock) };
        let place = || {
            let (sender, receiver) = mpsc::unbounded_channel();
            Place {
                began: Mutex::default(),
                halt: Mutex::default(),
                halted: Notify::new(),
                thaw: Notify::new(),
                hints: (sender, tokio::sync::Mutex::new(receiver)),
                cut: Mutex::default(),
            }
        };
        Self {
            index: index::sqlite::open_temporary(options).unwrap(),
            storage,
            clock,
            places: (0..processes).map(|_| place()).collect(),
            faults: Mutex::default(),
            calls: Mutex::default(),
            deaf,
            full_at: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// The time of a process, since the simulation began.
    fn now(&self, process: usize) -> Duration {
        lock(&self.places[process].began).map_or(Duration::ZERO, |(began, at)| at + began.elapsed())
    }

    /// Sets the database's clock, which never goes back.
    pub fn set_clock(&self, now: Duration) {
        self.clock.fetch_max(START_US + i64::try_from(now.as_micros()).unwrap(), Relaxed);
    }

    /// Hands on what the database has to say.
    pub fn spread_hints(&self) {
        while let Some(hint) = self.index.hint().now_or_never() {
            for place in self.places.iter().filter(|_| !self.deaf) {
                let _ = place.hints.0.send(hint);
            }
        }
    }

    /// Does what goes wrong at this call. Whether it fails.
    async fn gate(&self, process: usize, call: usize, when: When) -> Result<()> {
        let matches = |f: &Fault| f.process == process && f.call == call && f.when == when;
        let due: Vec<Fault> = lock(&self.faults).iter().filter(|f| matches(f)).cloned().collect();
        for fault in due {
            match fault.what {
                What::Kill => self.halt(process, Halt::Killed).await,
                What::Freeze(time) => {
                    let until = self.now(process) + time;
                    self.halt(process, Halt::Frozen(until)).await;
                }
                What::Fail => return Err(away()),
                What::Do(act) => {
                    act(self);
                    self.spread_hints();
                }
            }
        }
        Ok(())
    }

    /// Stops the process at this very await; returns when it goes on, if ever.
    async fn halt(&self, process: usize, halt: Halt) {
        let place = &self.places[process];
        *lock(&place.halt) = Some(halt);
        place.halted.notify_one();
        place.thaw.notified().await;
    }

    fn count(&self, process: usize, name: &'static str, blob: Option<AttachmentId>) -> usize {
        let mut calls = lock(&self.calls);
        let number = calls.iter().filter(|call| call.process == process).count();
        calls.push(Call { at: self.now(process), process, name, blob });
        number
    }

    /// A call to the database: one transaction.
    async fn call<T>(&self, process: usize, name: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.count(process, name, None);
        self.gate(process, number, When::Before).await?;
        let now = self.now(process);
        let cut = lock(&self.places[process].cut).is_some_and(|(from, to)| (from..to).contains(&now));
        if cut {
            // As long as a connection that does not come about.
            tokio::time::sleep(Duration::from_millis(500)).await;
            return Err(away());
        }
        self.set_clock(now);
        let result = wait(work);
        self.spread_hints();
        self.gate(process, number, When::After).await?;
        result
    }
}

/// The database's clock at the beginning, microseconds since 1970.
const START_US: i64 = 1_700_000_000_000_000;

fn away() -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, "simulated")
}

/// The database as one process sees it.
pub struct Database {
    pub shared: Arc<Shared>,
    pub process: usize,
}

macro_rules! forward {
    ($port:ident { $($rest:item)* } $($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        #[async_trait]
        impl $port for Database {
            $($rest)*
            $(
                async fn $name(&self, $($argument: $type),*) -> Result<$result> {
                    let work = self.shared.index.$name($($argument),*);
                    self.shared.call(self.process, stringify!($name), work).await
                }
            )*
        }
    };
}

forward! { Resources {}
    store_instance(new: NewInstance) -> Stored;
    reread_instance(reread: Reread) -> ();
    find(request: &FindRequest) -> Vec<Resource>;
    walk(level: Level, after: i64, limit: usize) -> Vec<(i64, OrthancId)>;
    count(request: &FindRequest) -> u64;
    lookup_identifier(text: &str) -> Vec<(Level, OrthancId)>;
    levels_of(ids: &[OrthancId]) -> HashMap<OrthancId, Level>;
    delete(level: Level, id: OrthancId) -> Deleted;
    resource_statistics(level: Level, id: OrthancId) -> ResourceStatistics;
    totals() -> Totals;
}

forward! { Annotations {}
    set_metadata(level: Level, id: OrthancId, kind: MetadataKind, value: &str, expect: Expect) -> i64;
    delete_metadata(level: Level, id: OrthancId, kind: MetadataKind, expect: Expect) -> ();
    set_attachment(level: Level, id: OrthancId, attachment: Attachment, expect: Expect) -> i64;
    note_md5s(level: Level, id: OrthancId, attachment: Attachment) -> ();
    delete_attachment(level: Level, id: OrthancId, content_type: ContentType, expect: Expect) -> ();
    change_labels(level: Level, id: OrthancId, add: &BTreeSet<String>, remove: &BTreeSet<String>) -> ();
    labels() -> BTreeSet<String>;
    set_protected(patient: OrthancId, protected: bool) -> ();
}

forward! { Feed {}
    changes(request: &ChangesRequest) -> ChangesPage;
    last_change() -> ChangesPage;
    append_change(kind: ChangeType, level: Level, id: OrthancId) -> ();
    clear_changes() -> ();
    append_export(export: Exported) -> ();
    exports(since: i64, limit: u32) -> ExportsPage;
    last_export() -> ExportsPage;
    clear_exports() -> ();
}

#[async_trait]
impl Upkeep for Database {
    async fn reserve_blobs(&self, n: usize) -> Result<BlobBlock> {
        self.shared.call(self.process, "reserve_blobs", self.shared.index.reserve_blobs(n)).await
    }

    async fn release_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        self.shared.call(self.process, "release_blobs", self.shared.index.release_blobs(blobs)).await
    }

    async fn abandon_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        self.shared.call(self.process, "abandon_blobs", self.shared.index.abandon_blobs(blobs)).await
    }

    async fn sweep_intents(&self) -> Result<u64> {
        self.shared.call(self.process, "sweep_intents", self.shared.index.sweep_intents()).await
    }

    async fn deleted_blobs(&self, limit: usize, age: Duration) -> Result<Vec<AttachmentId>> {
        self.shared.call(self.process, "deleted_blobs", self.shared.index.deleted_blobs(limit, age)).await
    }

    async fn count_deleted_blobs(&self) -> Result<u64> {
        self.shared.call(self.process, "count_deleted_blobs", self.shared.index.count_deleted_blobs()).await
    }

    async fn forget_deleted_blobs(&self, blobs: &[AttachmentId]) -> Result<()> {
        self.shared.call(self.process, "forget_deleted_blobs", self.shared.index.forget_deleted_blobs(blobs)).await
    }

    async fn sweep_stability(&self) -> Result<u64> {
        self.shared.call(self.process, "sweep_stability", self.shared.index.sweep_stability()).await
    }

    async fn set_stability(&self, level: Level, id: OrthancId, to: Stability) -> Result<bool> {
        self.shared.call(self.process, "set_stability", self.shared.index.set_stability(level, id, to)).await
    }

    async fn sweep_tombstones(&self) -> Result<bool> {
        self.shared.call(self.process, "sweep_tombstones", self.shared.index.sweep_tombstones()).await
    }

    fn set_quota(&self, quota: Quota) {
        self.shared.index.set_quota(quota);
    }

    fn set_stable_age(&self, age: Duration) {
        self.shared.index.set_stable_age(age);
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

forward! { Remotes {}
    remotes(kind: RemoteKind) -> BTreeMap<String, Value>;
    remote(kind: RemoteKind, name: &str) -> Option<Value>;
    put_remote(kind: RemoteKind, name: &str, definition: &Value) -> ();
    delete_remote(kind: RemoteKind, name: &str) -> bool;
    seed_remotes(kind: RemoteKind, configured: &BTreeMap<String, Value>) -> ();
}

forward! { KeyValues {}
    value(store: &[u8], key: &[u8]) -> Option<Vec<u8>>;
    put_value(store: &[u8], key: &[u8], value: &[u8]) -> ();
    delete_value(store: &[u8], key: &[u8]) -> ();
}

forward! { SharedSettings {}
    settings() -> SettingsSnapshot;
    set_setting(key: &str, value: &str) -> i64;
    seed_settings(configured: &BTreeMap<String, String>) -> ();
}

forward! { Notes {}
    note(name: &str) -> Note;
    put_note(name: &str, version: i64, value: &Value) -> bool;
}

forward! { Events {}
    listen(node: NodeId, kinds: EventKinds) -> ();
    take_events(node: NodeId, n: usize, time: Duration) -> Vec<Event>;
    settle_events(node: NodeId, delivered: &[i64], back: &[i64]) -> ();
    heart_beat(period: Duration) -> bool;
}

forward! { Uploads {}
    add_piece(piece: &NewPiece, limits: UploadLimits) -> PieceAdded;
    forget_upload(id: i64) -> ();
    sweep_uploads() -> ();
    upload_folders(age: Duration) -> Vec<String>;
    make_upload_folder(path: &str, age: Duration, most: u32) -> bool;
    remove_upload(path: &str) -> bool;
    add_uploaded(file: &NewUploaded) -> ();
    uploaded(limit: u32) -> Vec<Uploaded>;
    take_uploaded(job: JobId, after: i64, limit: u32) -> Vec<Uploaded>;
    forget_uploaded(id: i64) -> ();
    uploads_wait(kind: &str, age: Duration) -> bool;
}

forward! { Jobs {
        async fn hint(&self) -> Hint {
            let mut hints = self.shared.places[self.process].hints.1.lock().await;
            match hints.recv().await {
                Some(hint) => hint,
                None => std::future::pending().await,
            }
        }
    }
    join(node: &NewNode, lease: Duration) -> ();
    tick(beat: &Beat) -> Tick;
    leave(node: NodeId) -> ();
    nodes() -> Vec<Node>;
    submit_job(job: NewJob) -> Option<ClaimedJob>;
    claim_jobs(node: NodeId, n: usize) -> Vec<ClaimedJob>;
    claim_suspect(node: NodeId) -> Option<ClaimedJob>;
    checkpoint_job(claim: Claim, checkpoint: &Checkpoint) -> bool;
    finish_jobs(ends: &[(Claim, JobEnd)], limits: JobLimits, next: Option<(NodeId, usize)>) -> Turn;
    act_on_job(id: JobId, action: JobAction, limits: JobLimits) -> Acted;
    job_ids() -> Vec<JobId>;
    jobs(ids: Option<&[JobId]>) -> Vec<Job>;
    list_jobs(query: &JobQuery) -> Vec<Job>;
    job_of_key(key: JobKey) -> Option<KeyedJob>;
    job_steps(id: JobId, from: u32, limit: u32) -> Vec<JobStep>;
    set_job_priority(id: JobId, priority: i32) -> Acted;
    job_counts() -> [u64; 6];
    waiting_jobs() -> Vec<Waiting>;
    delete_job(id: JobId) -> ();
    job_output(id: JobId, key: &str) -> JobOutput;
    delete_job_output(id: JobId, key: &str) -> ();
    forget_waiters(node: NodeId, ids: &[JobId], limits: JobLimits) -> ();
}

/// The storage area as one process sees it.
pub struct Area {
    pub shared: Arc<Shared>,
    pub process: usize,
}

impl Area {
    async fn call<T>(&self, name: &'static str, id: AttachmentId, work: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.shared.count(self.process, name, Some(id));
        self.shared.gate(self.process, number, When::Before).await?;
        if id == DEADLY {
            self.shared.halt(self.process, Halt::Killed).await;
        }
        let result = work.await;
        self.shared.gate(self.process, number, When::After).await?;
        result
    }
}

impl Shared {
    /// Counts bytes that are to be written.
    fn write(&self, bytes: usize) -> Result<()> {
        let mut written = lock(&self.written);
        if lock(&self.full_at).is_some_and(|full| *written + bytes as u64 > full) {
            return Err(Error::new(ErrorKind::StorageFull, "simulated: no space is left"));
        }
        *written += bytes as u64;
        Ok(())
    }
}

#[async_trait]
impl StorageArea for Area {
    async fn create(&self, id: AttachmentId) -> Result<Box<dyn BlobWriter>> {
        let writer = self.call("create", id, self.shared.storage.create(id)).await?;
        Ok(Box::new(Writer { shared: self.shared.clone(), process: self.process, id, writer }))
    }

    async fn put(&self, id: AttachmentId, bytes: Bytes) -> Result<()> {
        self.shared.write(bytes.len())?;
        self.call("put", id, self.shared.storage.put(id, bytes)).await
    }

    async fn read(&self, id: AttachmentId, range: Option<Range<u64>>) -> Result<Bytes> {
        self.call("read", id, self.shared.storage.read(id, range)).await
    }

    async fn stream(&self, id: AttachmentId, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.call("stream", id, self.shared.storage.stream(id, range)).await
    }

    async fn remove(&self, id: AttachmentId) -> Result<()> {
        self.call("remove", id, self.shared.storage.remove(id)).await
    }
}

struct Writer {
    shared: Arc<Shared>,
    process: usize,
    id: AttachmentId,
    writer: Box<dyn BlobWriter>,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.shared.write(bytes.len())?;
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let area = Area { shared: self.shared, process: self.process };
        area.call("finish", self.id, self.writer.finish()).await
    }

    async fn discard(self: Box<Self>) {
        self.writer.discard().await;
    }
}
