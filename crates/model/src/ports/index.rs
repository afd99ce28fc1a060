//! The index: which resources exist, what is known about them, and what changed.
//!
//! Each method is one transaction. Everything that an answer needs travels in one argument; nothing reads before it
//! writes from outside. Methods may be called by any number of processes at once.

use super::{Events, Jobs};
use crate::job::JobId;
use crate::upload::{NewPiece, NewUploaded, PieceAdded, UploadLimits, Uploaded};
use crate::{
    Attachment, AttachmentId, ChangeType, ChangesPage, ChangesRequest, ContentType, Exported, ExportsPage, FindRequest, Level,
    MetadataKind, NewInstance, OrthancId, Quota, Reread, Resource, ResourceStatistics, Result, Stored, Totals,
};
use async_trait::async_trait;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// What a client knows about the value that it changes (Orthanc: `CheckRevisions`, `If-Match`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Anything,
    /// Nothing is there, or the client knows this revision. `None`: nothing may be there.
    Revision(Option<i64>),
}

/// What remains after a deletion (Orthanc: `RemainingAncestor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The nearest ancestor that still exists.
    pub remaining: Option<(Level, OrthancId)>,
}

/// Whether a resource waits for more instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    Stable,
    /// From now on for the time of [`Upkeep::set_stable_age`].
    Unstable,
}

/// A block of blob names that this process may use.
#[derive(Clone, Debug)]
pub struct BlobBlock(pub Vec<AttachmentId>);

/// Storing, finding and deleting resources.
#[async_trait]
pub trait Resources: Send + Sync {
    /// Stores one instance and creates the parents that it lacks. Calls that come at the same moment are committed together;
    /// each gets its own outcome. Durable when it returns.
    ///
    /// The intent of the blob is deleted in the same transaction. An overwritten instance gives its blob to the deletion
    /// list. Appends `NewInstance` and, for each parent that it created, `NewSeries`, `NewStudy`, `NewPatient`
    /// (the instance first, as Orthanc does), and `CompletedSeries` when the expected number is reached.
    ///
    /// The totals never exceed the quota ([`Upkeep::set_quota`]): in the same transaction patients go that are in the way, but none
    /// that is protected or stored into. One process at a time makes room.
    ///
    /// # Errors
    /// `StorageFull` if there is no room, and then nothing went.
    /// `Busy` if the intent of the blob is gone (the process slept past the sweep): the caller stores again.
    /// After any other error the commit may have happened: the caller must not delete the blob.
    async fn store_instance(&self, new: NewInstance) -> Result<Stored>;

    /// Writes again what rows repeat of the file of an instance: the tags of the levels that are named (with a study's, its copy
    /// of the patient's), what searches compare, the lists of modalities and SOP classes, and those metadata that are given.
    /// Appends no change; `LastUpdate`, stability, revisions of other metadata and counters stay.
    ///
    /// # Errors
    /// `UnknownResource` if the instance is not there or has another file by now, `Corrupted` if its parents are not those of `reread`.
    async fn reread_instance(&self, reread: Reread) -> Result<()>;

    /// Searches. An unknown id in `related_to` finds nothing.
    async fn find(&self, request: &FindRequest) -> Result<Vec<Resource>>;

    /// Up to `limit` resources of a level in order of creation, each with its position, which is above 0: those behind `after`.
    async fn walk(&self, level: Level, after: i64, limit: usize) -> Result<Vec<(i64, OrthancId)>>;

    /// How many [`Self::find`] would return without `since` and `limit`.
    async fn count(&self, request: &FindRequest) -> Result<u64>;

    /// Finds resources of any level whose PatientID, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID or AccessionNumber
    /// equals `text` after normalisation (Orthanc: `/tools/lookup`): the level and the tag are in the answer's order of levels.
    async fn lookup_identifier(&self, text: &str) -> Result<Vec<(Level, OrthancId)>>;

    /// The level of a public id, if any resource has it.
    async fn level_of(&self, id: OrthancId) -> Result<Option<Level>> {
        Ok(self.levels_of(&[id]).await?.remove(&id))
    }

    /// The levels of those of the public ids that some resource has.
    async fn levels_of(&self, ids: &[OrthancId]) -> Result<HashMap<OrthancId, Level>>;

    /// Deletes a resource with all below it, and the ancestors that it leaves empty. Invisible at once to every reader, also in
    /// the change feed; the rows go later.
    ///
    /// # Errors
    /// `UnknownResource`.
    async fn delete(&self, level: Level, id: OrthancId) -> Result<Deleted>;

    /// Sizes and counts of one resource.
    ///
    /// # Errors
    /// `UnknownResource`.
    async fn resource_statistics(&self, level: Level, id: OrthancId) -> Result<ResourceStatistics>;

    async fn totals(&self) -> Result<Totals>;
}

/// What clients attach to resources.
#[async_trait]
pub trait Annotations: Send + Sync {
    /// Sets one metadata and returns its new revision (0 for the first value). User metadata appends `UpdatedMetadata`.
    ///
    /// # Errors
    /// `UnknownResource`, `Revision`.
    async fn set_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, value: &str, expect: Expect) -> Result<i64>;

    /// Deletes one metadata.
    ///
    /// # Errors
    /// `UnknownResource` for the resource, `InexistentItem` for the metadata, `Revision`.
    async fn delete_metadata(&self, level: Level, id: OrthancId, kind: MetadataKind, expect: Expect) -> Result<()>;

    /// Adds or replaces an attachment whose blob is durable, and returns its revision. The replaced blob goes to the deletion
    /// list. Appends `UpdatedAttachment` for user content. `attachment.revision` is ignored. The quota holds as for an instance.
    ///
    /// # Errors
    /// `UnknownResource`, `Revision`, `StorageFull`, `Busy` as in [`Resources::store_instance`].
    async fn set_attachment(&self, level: Level, id: OrthancId, attachment: Attachment, expect: Expect) -> Result<i64>;

    /// Deletes an attachment; its blob goes to the deletion list.
    ///
    /// # Errors
    /// `UnknownResource`, `InexistentItem`, `Revision`.
    async fn delete_attachment(&self, level: Level, id: OrthancId, content_type: ContentType, expect: Expect) -> Result<()>;

    /// Notes the MD5s of an attachment, which nobody had computed yet. Nothing happens if the attachment is gone, or has another
    /// blob by now. Appends no change; the revision stays.
    async fn note_md5s(&self, level: Level, id: OrthancId, attachment: Attachment) -> Result<()>;

    /// Adds (or removes) labels.
    ///
    /// # Errors
    /// `UnknownResource`.
    async fn change_labels(&self, level: Level, id: OrthancId, add: &BTreeSet<String>, remove: &BTreeSet<String>) -> Result<()>;

    /// All labels in use, sorted.
    async fn labels(&self) -> Result<BTreeSet<String>>;

    /// Exempts a patient from recycling, or undoes that: then it is the last to go, as if it had just been stored into.
    async fn set_protected(&self, patient: OrthancId, protected: bool) -> Result<()>;
}

/// The change feed and the log of exports.
#[async_trait]
pub trait Feed: Send + Sync {
    /// A page of changes. Numbers become visible in order: who polls with the last number seen never misses one.
    async fn changes(&self, request: &ChangesRequest) -> Result<ChangesPage>;

    /// The number and line of the newest change that is still listed.
    async fn last_change(&self) -> Result<ChangesPage>;

    async fn append_change(&self, kind: ChangeType, level: Level, id: OrthancId) -> Result<()>;

    /// Empties the feed. The next number goes on from the last.
    async fn clear_changes(&self) -> Result<()>;

    async fn append_export(&self, export: Exported) -> Result<()>;

    async fn exports(&self, since: i64, limit: u32) -> Result<ExportsPage>;

    /// The newest export, if any.
    async fn last_export(&self) -> Result<ExportsPage>;

    async fn clear_exports(&self) -> Result<()>;
}

/// Work that any process may do at any time, and twice.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Reserves `n` blob names for this process.
    async fn reserve_blobs(&self, n: usize) -> Result<BlobBlock>;

    /// Gives back names that were not used, or whose blob was removed.
    async fn release_blobs(&self, blobs: &[AttachmentId]) -> Result<()>;

    /// Puts those of these blobs on the deletion list whose names are reserved and were never used: a transaction that would still use one
    /// fails. Those that are in use stay. For blobs of whose transaction the end is not known.
    async fn abandon_blobs(&self, blobs: &[AttachmentId]) -> Result<()>;

    /// Names that dead processes reserved and never used: forgets them and puts them on the deletion list. Returns how many.
    async fn sweep_intents(&self) -> Result<u64>;

    /// Up to `limit` blobs to which no row has referred for `age` at least.
    async fn deleted_blobs(&self, limit: usize, age: Duration) -> Result<Vec<AttachmentId>>;

    /// How many blobs are on the deletion list.
    async fn count_deleted_blobs(&self) -> Result<u64>;

    /// Forgets blobs of [`Self::deleted_blobs`] after they were removed from the storage area.
    async fn forget_deleted_blobs(&self, blobs: &[AttachmentId]) -> Result<()>;

    /// Marks due resources stable and appends `StablePatient`, `StableStudy` and `StableSeries`. Returns how many.
    async fn sweep_stability(&self) -> Result<u64>;

    /// Makes a resource stable now, with the change that tells so, or lets its time of quiet begin again. Returns whether it was
    /// in the other state before.
    ///
    /// # Errors
    /// `UnknownResource`, also for instances, which have no such state.
    async fn set_stability(&self, level: Level, id: OrthancId, to: Stability) -> Result<bool>;

    /// Removes a bounded number of the rows of deleted resources. Returns whether more remain.
    async fn sweep_tombstones(&self) -> Result<bool>;

    /// What may be stored, from now on. Processes that share a database must agree.
    fn set_quota(&self, quota: Quota);

    /// How long after its last instance a resource is stable (`StableAge`), for the stores that follow.
    fn set_stable_age(&self, age: Duration);

    /// Whether other processes may use the same database at the same time.
    fn is_shared(&self) -> bool;

    /// Flushes and closes. Calls after it fail.
    async fn close(&self);
}

/// What kind of server a remote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteKind {
    /// A DICOM node (Orthanc: `DicomModalities`).
    Modality,
    /// Another Orthanc (Orthanc: `OrthancPeers`).
    Peer,
    /// A DICOMweb server (Orthanc: `DicomWeb.Servers`).
    DicomWeb,
}

impl RemoteKind {
    pub fn name(self) -> &'static str {
        match self {
            RemoteKind::Modality => "modality",
            RemoteKind::Peer => "peer",
            RemoteKind::DicomWeb => "dicomweb",
        }
    }
}

/// Other servers, by kind and name. Nothing is cached: each read sees what any process wrote before.
#[async_trait]
pub trait Remotes: Send + Sync {
    /// All of a kind, by name.
    async fn remotes(&self, kind: RemoteKind) -> Result<BTreeMap<String, Value>>;

    async fn remote(&self, kind: RemoteKind, name: &str) -> Result<Option<Value>>;

    /// Adds or replaces.
    async fn put_remote(&self, kind: RemoteKind, name: &str, definition: &Value) -> Result<()>;

    /// Returns whether there was one.
    async fn delete_remote(&self, kind: RemoteKind, name: &str) -> Result<bool>;

    /// Brings in the entries of the configuration. One that is new there, or differs from what was seeded last, replaces what
    /// is stored. One that left the configuration goes, unless a client has changed it. Otherwise what clients put or deleted stays.
    async fn seed_remotes(&self, kind: RemoteKind, configured: &BTreeMap<String, Value>) -> Result<()>;
}

/// What clients set while the servers run, for all processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsSnapshot {
    /// Rises with each write. Whoever knows a version knows all writes up to it.
    pub version: i64,
    /// Empty: as configured.
    pub values: BTreeMap<String, String>,
}

/// Settings that all processes share.
#[async_trait]
pub trait SharedSettings: Send + Sync {
    async fn settings(&self) -> Result<SettingsSnapshot>;

    /// Sets one and returns the version that has it. The very next read through any process sees it.
    async fn set_setting(&self, key: &str, value: &str) -> Result<i64>;

    /// Says what the configuration wants, in any form. Where that differs from what it was the last time, the value becomes
    /// empty. An index that belongs to one process alone (SQLite) empties all of these: Orthanc forgets them at each start.
    async fn seed_settings(&self, configured: &BTreeMap<String, String>) -> Result<()>;
}

/// What all processes know of common work. Nobody loses what another one wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// Rises with each write; 0 before the first.
    pub version: i64,
    /// Null before the first write.
    pub value: Value,
}

/// Notes by name, which all processes share and which stay.
#[async_trait]
pub trait Notes: Send + Sync {
    async fn note(&self, name: &str) -> Result<Note>;

    /// Writes a note whose version is still `version`. Returns whether it was.
    async fn put_note(&self, name: &str, version: i64, value: &Value) -> Result<bool>;
}

/// What scripts keep, by the names of a store and of a key (Orthanc: key-value stores): any bytes. Nothing is cached: each read sees what
/// any process wrote before.
#[async_trait]
pub trait KeyValues: Send + Sync {
    async fn value(&self, store: &[u8], key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Adds or replaces.
    async fn put_value(&self, store: &[u8], key: &[u8], value: &[u8]) -> Result<()>;

    /// Deletes it, if it is there.
    async fn delete_value(&self, store: &[u8], key: &[u8]) -> Result<()>;
}

/// Files that clients send piece by piece, and those that wait for their import.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// Adds a piece to its file, or begins the file. The intent of its blob is deleted in the same transaction if the piece is kept.
    /// A file that waited too long is not there any more.
    ///
    /// # Errors
    /// `Busy` as in [`Resources::store_instance`]. After any other error the commit may have happened.
    async fn add_piece(&self, piece: &NewPiece, limits: UploadLimits) -> Result<PieceAdded>;

    /// Forgets a complete file; its blobs go to the deletion list.
    async fn forget_upload(&self, id: i64) -> Result<()>;

    /// Forgets what waited too long. [`Jobs::tick`] says when there is something to do.
    async fn sweep_uploads(&self) -> Result<()>;

    /// Folders that clients made, not longer than `age` ago, in order of their paths.
    async fn upload_folders(&self, age: Duration) -> Result<Vec<String>>;

    /// Makes a folder, and forgets those made longer than `age` ago. False if there is one of this path, or there are `most` already.
    async fn make_upload_folder(&self, path: &str, age: Duration, most: u32) -> Result<bool>;

    /// Forgets a folder, or the files of a path, with all that is below it. Returns whether there was anything.
    async fn remove_upload(&self, path: &str) -> Result<bool>;

    /// Adds a file to the area for uploads. The intent of its blob is deleted in the same transaction.
    ///
    /// # Errors
    /// `Busy` as in [`Resources::store_instance`]. After any other error the commit may have happened.
    async fn add_uploaded(&self, file: &NewUploaded) -> Result<()>;

    /// The first files of the area, in order of their numbers.
    async fn uploaded(&self, limit: u32) -> Result<Vec<Uploaded>>;

    /// Gives files with higher numbers than `after` to a job: those that are its own already, and those of no job that exists.
    async fn take_uploaded(&self, job: JobId, after: i64, limit: u32) -> Result<Vec<Uploaded>>;

    /// Forgets a file that was imported; its blob goes to the deletion list.
    async fn forget_uploaded(&self, id: i64) -> Result<()>;

    /// Whether a file of no job has waited for `age`, and no job of this kind waits or runs.
    async fn uploads_wait(&self, kind: &str, age: Duration) -> Result<bool>;
}

/// All of them.
pub trait Index:
    Resources + Annotations + Feed + Upkeep + Remotes + SharedSettings + Notes + Jobs + Events + KeyValues + Uploads
{
}

impl<T: Resources + Annotations + Feed + Upkeep + Remotes + SharedSettings + Notes + Jobs + Events + KeyValues + Uploads> Index
    for T
{
}
