//! An index that remembers what it was told to store, and fails on request. Everything else is not implemented.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use model::event::{Event, EventKinds};
use model::job::{
    Acted, Beat, Checkpoint, Claim, ClaimedJob, Hint, Job, JobAction, JobEnd, JobId, JobKey, JobLimits, JobOutput, JobQuery,
    JobStep, KeyedJob, NewJob, NewNode, Node, NodeId, Tick, Turn, Waiting,
};
use model::ports::index::{
    Annotations, BlobBlock, Deleted, Expect, Feed, KeyValues, Note, Notes, RemoteKind, Remotes, Resources, SettingsSnapshot,
    SharedSettings, Stability, Upkeep, Uploads,
};
use model::ports::{Events, Jobs};
use model::upload::{NewPiece, NewUploaded, PieceAdded, UploadLimits, Uploaded};
use model::{
    Attachment, AttachmentId, ChangeType, ChangesPage, ChangesRequest, ContentType, Error, ErrorKind, Exported, ExportsPage,
    FindRequest, Level, MetadataKind, NewInstance, OrthancId, Quota, Reread, Resource, ResourceStatistics, Result, StoreStatus,
    Stored, Totals,
};
use serde_json::Value;

#[derive(Default)]
pub struct RememberingIndex {
    pub instances: Mutex<HashMap<OrthancId, NewInstance>>,
    /// How the next store fails.
    pub failure: Mutex<Option<ErrorKind>>,
    pub remotes: Mutex<BTreeMap<String, Value>>,
    pub settings: Mutex<SettingsSnapshot>,
}

fn unused<T>() -> Result<T> {
    Err(Error::new(ErrorKind::NotImplemented, "not for these tests"))
}

#[async_trait]
impl Resources for RememberingIndex {
    async fn store_instance(&self, new: NewInstance) -> Result<Stored> {
        if let Some(kind) = self.failure.lock().unwrap().take() {
            return Err(Error::new(kind, "as the test wants"));
        }
        let ids = new.ids;
        let status = match self.instances.lock().unwrap().insert(ids.instance, new) {
            None => StoreStatus::Success,
            Some(_) => StoreStatus::AlreadyStored,
        };
        Ok(Stored { status, ids, keeps_blob: true, recycled: 0 })
    }

    async fn reread_instance(&self, _: Reread) -> Result<()> {
        unused()
    }

    async fn find(&self, _: &FindRequest) -> Result<Vec<Resource>> {
        unused()
    }

    async fn walk(&self, _: Level, _: i64, _: usize) -> Result<Vec<(i64, OrthancId)>> {
        unused()
    }

    async fn count(&self, _: &FindRequest) -> Result<u64> {
        unused()
    }

    async fn lookup_identifier(&self, _: &str) -> Result<Vec<(Level, OrthancId)>> {
        unused()
    }

    async fn levels_of(&self, _: &[OrthancId]) -> Result<HashMap<OrthancId, Level>> {
        unused()
    }

    async fn delete(&self, _: Level, _: OrthancId) -> Result<Deleted> {
        unused()
    }

    async fn resource_statistics(&self, _: Level, _: OrthancId) -> Result<ResourceStatistics> {
        unused()
    }

    async fn totals(&self) -> Result<Totals> {
        unused()
    }
}

#[async_trait]
impl Annotations for RememberingIndex {
    async fn set_metadata(&self, _: Level, _: OrthancId, _: MetadataKind, _: &str, _: Expect) -> Result<i64> {
        unused()
    }

    async fn delete_metadata(&self, _: Level, _: OrthancId, _: MetadataKind, _: Expect) -> Result<()> {
        unused()
    }

    async fn set_attachment(&self, _: Level, _: OrthancId, _: Attachment, _: Expect) -> Result<i64> {
        unused()
    }

    async fn delete_attachment(&self, _: Level, _: OrthancId, _: ContentType, _: Expect) -> Result<()> {
        unused()
    }

    async fn note_md5s(&self, _: Level, _: OrthancId, _: Attachment) -> Result<()> {
        unused()
    }

    async fn change_labels(&self, _: Level, _: OrthancId, _: &BTreeSet<String>, _: &BTreeSet<String>) -> Result<()> {
        unused()
    }

    async fn labels(&self) -> Result<BTreeSet<String>> {
        unused()
    }

    async fn set_protected(&self, _: OrthancId, _: bool) -> Result<()> {
        unused()
    }
}

#[async_trait]
impl Feed for RememberingIndex {
    async fn changes(&self, _: &ChangesRequest) -> Result<ChangesPage> {
        unused()
    }

    async fn last_change(&self) -> Result<ChangesPage> {
        unused()
    }

    async fn append_change(&self, _: ChangeType, _: Level, _: OrthancId) -> Result<()> {
        unused()
    }

    async fn clear_changes(&self) -> Result<()> {
        unused()
    }

    async fn append_export(&self, _: Exported) -> Result<()> {
        unused()
    }

    async fn exports(&self, _: i64, _: u32) -> Result<ExportsPage> {
        unused()
    }

    async fn last_export(&self) -> Result<ExportsPage> {
        unused()
    }

    async fn clear_exports(&self) -> Result<()> {
        unused()
    }
}

#[async_trait]
impl Upkeep for RememberingIndex {
    async fn reserve_blobs(&self, n: usize) -> Result<BlobBlock> {
        Ok(BlobBlock((0..n).map(|_| AttachmentId::random()).collect()))
    }

    async fn release_blobs(&self, _: &[AttachmentId]) -> Result<()> {
        Ok(())
    }

    async fn abandon_blobs(&self, _: &[AttachmentId]) -> Result<()> {
        unused()
    }

    async fn sweep_intents(&self) -> Result<u64> {
        unused()
    }

    async fn deleted_blobs(&self, _: usize, _: Duration) -> Result<Vec<AttachmentId>> {
        unused()
    }

    async fn count_deleted_blobs(&self) -> Result<u64> {
        unused()
    }

    async fn forget_deleted_blobs(&self, _: &[AttachmentId]) -> Result<()> {
        Ok(())
    }

    async fn sweep_stability(&self) -> Result<u64> {
        unused()
    }

    async fn set_stability(&self, _: Level, _: OrthancId, _: Stability) -> Result<bool> {
        unused()
    }

    async fn sweep_tombstones(&self) -> Result<bool> {
        unused()
    }

    fn set_quota(&self, _: Quota) {}

    fn set_stable_age(&self, _: Duration) {}

    fn is_shared(&self) -> bool {
        false
    }

    async fn close(&self) {}
}

#[async_trait]
impl Remotes for RememberingIndex {
    async fn remotes(&self, _: RemoteKind) -> Result<BTreeMap<String, Value>> {
        Ok(self.remotes.lock().unwrap().clone())
    }

    async fn remote(&self, _: RemoteKind, name: &str) -> Result<Option<Value>> {
        Ok(self.remotes.lock().unwrap().get(name).cloned())
    }

    async fn put_remote(&self, _: RemoteKind, name: &str, definition: &Value) -> Result<()> {
        self.remotes.lock().unwrap().insert(name.to_owned(), definition.clone());
        Ok(())
    }

    async fn delete_remote(&self, _: RemoteKind, _: &str) -> Result<bool> {
        unused()
    }

    async fn seed_remotes(&self, _: RemoteKind, configured: &BTreeMap<String, Value>) -> Result<()> {
        self.remotes.lock().unwrap().extend(configured.clone());
        Ok(())
    }
}

#[async_trait]
impl SharedSettings for RememberingIndex {
    async fn settings(&self) -> Result<SettingsSnapshot> {
        Ok(self.settings.lock().unwrap().clone())
    }

    async fn set_setting(&self, key: &str, value: &str) -> Result<i64> {
        let mut settings = self.settings.lock().unwrap();
        settings.version += 1;
        settings.values.insert(key.to_owned(), value.to_owned());
        Ok(settings.version)
    }

    async fn seed_settings(&self, _: &BTreeMap<String, String>) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Notes for RememberingIndex {
    async fn note(&self, _: &str) -> Result<Note> {
        unused()
    }

    async fn put_note(&self, _: &str, _: i64, _: &Value) -> Result<bool> {
        unused()
    }
}

#[async_trait]
impl KeyValues for RememberingIndex {
    async fn value(&self, _: &[u8], _: &[u8]) -> Result<Option<Vec<u8>>> {
        unused()
    }

    async fn put_value(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<()> {
        unused()
    }

    async fn delete_value(&self, _: &[u8], _: &[u8]) -> Result<()> {
        unused()
    }
}

#[async_trait]
impl Uploads for RememberingIndex {
    async fn add_piece(&self, _: &NewPiece, _: UploadLimits) -> Result<PieceAdded> {
        unused()
    }

    async fn forget_upload(&self, _: i64) -> Result<()> {
        unused()
    }

    async fn sweep_uploads(&self) -> Result<()> {
        unused()
    }

    async fn upload_folders(&self, _: Duration) -> Result<Vec<String>> {
        unused()
    }

    async fn make_upload_folder(&self, _: &str, _: Duration, _: u32) -> Result<bool> {
        unused()
    }

    async fn add_uploaded(&self, _: &NewUploaded) -> Result<()> {
        unused()
    }

    async fn uploaded(&self, _: u32) -> Result<Vec<Uploaded>> {
        unused()
    }

    async fn take_uploaded(&self, _: JobId, _: i64, _: u32) -> Result<Vec<Uploaded>> {
        unused()
    }

    async fn forget_uploaded(&self, _: i64) -> Result<()> {
        unused()
    }

    async fn uploads_wait(&self, _: &str, _: Duration) -> Result<bool> {
        unused()
    }

    async fn remove_upload(&self, _: &str) -> Result<bool> {
        unused()
    }
}

#[async_trait]
impl Jobs for RememberingIndex {
    async fn join(&self, _: &NewNode, _: Duration) -> Result<()> {
        unused()
    }

    async fn tick(&self, _: &Beat) -> Result<Tick> {
        unused()
    }

    async fn leave(&self, _: NodeId) -> Result<()> {
        unused()
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        Ok(vec![])
    }

    async fn submit_job(&self, _: NewJob) -> Result<Option<ClaimedJob>> {
        unused()
    }

    async fn claim_jobs(&self, _: NodeId, _: usize) -> Result<Vec<ClaimedJob>> {
        unused()
    }

    async fn claim_suspect(&self, _: NodeId) -> Result<Option<ClaimedJob>> {
        unused()
    }

    async fn checkpoint_job(&self, _: Claim, _: &Checkpoint) -> Result<bool> {
        unused()
    }

    async fn finish_jobs(&self, _: &[(Claim, JobEnd)], _: JobLimits, _: Option<(NodeId, usize)>) -> Result<Turn> {
        unused()
    }

    async fn act_on_job(&self, _: JobId, _: JobAction, _: JobLimits) -> Result<Acted> {
        unused()
    }

    async fn job_ids(&self) -> Result<Vec<JobId>> {
        unused()
    }

    async fn jobs(&self, _: Option<&[JobId]>) -> Result<Vec<Job>> {
        unused()
    }

    async fn list_jobs(&self, _: &JobQuery) -> Result<Vec<Job>> {
        unused()
    }

    async fn job_of_key(&self, _: JobKey) -> Result<Option<KeyedJob>> {
        unused()
    }

    async fn job_steps(&self, _: JobId, _: u32, _: u32) -> Result<Vec<JobStep>> {
        unused()
    }

    async fn set_job_priority(&self, _: JobId, _: i32) -> Result<Acted> {
        unused()
    }

    async fn job_counts(&self) -> Result<[u64; 6]> {
        unused()
    }

    async fn waiting_jobs(&self) -> Result<Vec<Waiting>> {
        unused()
    }

    async fn delete_job(&self, _: JobId) -> Result<()> {
        unused()
    }

    async fn job_output(&self, _: JobId, _: &str) -> Result<JobOutput> {
        unused()
    }

    async fn delete_job_output(&self, _: JobId, _: &str) -> Result<()> {
        unused()
    }

    async fn forget_waiters(&self, _: NodeId, _: &[JobId], _: JobLimits) -> Result<()> {
        unused()
    }

    async fn hint(&self) -> Hint {
        std::future::pending().await
    }
}

#[async_trait]
impl Events for RememberingIndex {
    async fn listen(&self, _: NodeId, _: EventKinds) -> Result<()> {
        unused()
    }

    async fn take_events(&self, _: NodeId, _: usize, _: Duration) -> Result<Vec<Event>> {
        unused()
    }

    async fn settle_events(&self, _: NodeId, _: &[i64], _: &[i64]) -> Result<()> {
        unused()
    }

    async fn heart_beat(&self, _: Duration) -> Result<bool> {
        unused()
    }
}
