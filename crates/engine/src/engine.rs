//! The engine: a bag of parts that every use case takes.

use crate::blobs::BlobNames;
use crate::describe::Kept;
use crate::housekeeping::Housekeeper;
use crate::jobs::{JobsConfig, LocalNode};
use crate::logs::LogLevels;
use crate::modality::Modality;
use crate::peer::Peer;
use crate::scu::ScuConfig;
use crate::settings::Settings;
use dataset::{CharacterSet, Dictionary, ReadOptions};
use model::event::EventKinds;
use model::metadata::MetadataNames;
use model::ports::{Hooks, HttpClient, Index, StorageArea};
use model::{Error, ErrorKind, MainTags, Origin, Overwrite, Quota, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who asks: every use case takes it second.
#[derive(Clone, Debug, Default)]
pub struct Ctx {
    pub origin: Origin,
    /// Under which the caller creates a job once, however often it sends the request (`Idempotency-Key`).
    pub idempotency_key: Option<String>,
}

/// The options that use cases depend on, under Orthanc's names.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub overwrite: Overwrite,
    /// `MaximumStorageSize`, `MaximumPatientCount`, `MaximumStorageMode`
    pub quota: Quota,
    /// `StoreMD5ForAttachments`
    pub store_md5: bool,
    /// `StorageCompression`: new attachments are compressed by zlib.
    pub storage_compression: bool,
    /// `CaseSensitivePN`
    pub case_sensitive_pn: bool,
    /// `LimitFindResults` and `LimitFindInstances`, 0 for none.
    pub limit_find_results: u64,
    pub limit_find_instances: u64,
    /// `StorageAccessOnFind`
    pub storage_access_on_find: StorageAccessOnFind,
    /// `CheckRevisions`
    pub check_revisions: bool,
    pub main_tags: MainTags,
    /// `Housekeeper`, if it is enabled.
    pub housekeeper: Option<Housekeeper>,
    pub metadata_names: MetadataNames,
    /// `UserContentType`: name to number and MIME type.
    pub user_content_types: BTreeMap<String, (u16, String)>,
    pub dictionary: Arc<Dictionary>,
    /// `DefaultEncoding` at the start; [`Settings`] may change it.
    pub default_encoding: CharacterSet,
    /// What the command line asks for; [`Settings`] may change it.
    pub log_levels: LogLevels,
    /// `DicomModalities`, by name; `None` if they are kept in the index only (`DicomModalitiesInDatabase`).
    pub modalities: Option<BTreeMap<String, Modality>>,
    /// `OrthancPeers`, by name; `None` if they are kept in the index only (`OrthancPeersInDatabase`).
    pub peers: Option<BTreeMap<String, Peer>>,
    pub scu: ScuConfig,
    pub jobs: JobsConfig,
    /// `LogExportedResources`
    pub log_exported: bool,
    /// `DelayedDeletion`: files of what is deleted are removed by the sweeps, with this pause between them.
    pub delayed_deletion: Option<Duration>,
    /// `LuaHeartBeatPeriod`; zero: never.
    pub heart_beat: Duration,
    /// `RestApiWriteToFileSystemEnabled`: clients may have files written to this computer.
    pub write_to_file_system: bool,
    /// `MaximumFileSizeInArchiveMB` in bytes, 0 for none.
    pub max_file_in_archive_bytes: u64,
    /// `TemporaryDirectory`, where ZIP files wait while they are unpacked or made.
    pub temporary_directory: Option<PathBuf>,
    /// `ReadOnly`: this process writes nothing, neither index nor storage, and runs no jobs.
    pub read_only: bool,
}

/// Orthanc: `StorageAccessOnFind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageAccessOnFind {
    /// Files may be read to filter and to answer.
    Always,
    /// The same here: Orthanc, too, reads files for tags that its index does not keep at any level.
    Answers,
    Never,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            overwrite: Overwrite::Never,
            quota: Quota::NONE,
            store_md5: true,
            storage_compression: false,
            case_sensitive_pn: false,
            limit_find_results: 0,
            limit_find_instances: 0,
            storage_access_on_find: StorageAccessOnFind::Always,
            check_revisions: false,
            main_tags: MainTags::default(),
            housekeeper: None,
            metadata_names: MetadataNames::default(),
            user_content_types: BTreeMap::new(),
            dictionary: Arc::new(Dictionary::standard()),
            default_encoding: CharacterSet::parse("Latin1").unwrap_or_default(),
            log_levels: LogLevels::default(),
            modalities: Some(BTreeMap::new()),
            peers: Some(BTreeMap::new()),
            scu: ScuConfig::default(),
            jobs: JobsConfig::default(),
            log_exported: false,
            delayed_deletion: None,
            heart_beat: Duration::ZERO,
            write_to_file_system: false,
            max_file_in_archive_bytes: 0,
            temporary_directory: None,
            read_only: false,
        }
    }
}

/// What the engine is built from.
pub struct Parts {
    pub index: Arc<dyn Index>,
    pub storage: Arc<dyn StorageArea>,
    pub hooks: Arc<dyn Hooks>,
    pub http: Arc<dyn HttpClient>,
    pub config: EngineConfig,
}

/// Counters for `/tools/metrics-prometheus`.
#[derive(Debug, Default)]
pub struct Metrics {
    pub stored: AtomicU64,
    pub already_stored: AtomicU64,
    pub store_failures: AtomicU64,
    /// Patients that went because this process needed room.
    pub recycled: AtomicU64,
    pub received_bytes: AtomicU64,
    pub finds: AtomicU64,
    /// Runs of this process that ended their job well, or as a failure.
    pub jobs_success: AtomicU64,
    pub jobs_failed: AtomicU64,
    /// Jobs of dead processes that this one set free.
    pub jobs_rescued: AtomicU64,
    /// Writes about jobs that this process did not own any more: none, unless it slept or was cut off.
    pub jobs_fenced: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// The parts, wired. Cheap to share behind an `Arc`.
pub struct Engine {
    pub(crate) index: Arc<dyn Index>,
    pub(crate) storage: Arc<dyn StorageArea>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) blobs: BlobNames,
    pub config: EngineConfig,
    pub settings: Settings,
    pub metrics: Metrics,
    pub(crate) node: LocalNode,
    /// What scripts listen to, as this process told the others; `None` before the first time.
    pub(crate) listening: Mutex<Option<EventKinds>>,
    /// The tags of [`EngineConfig::main_tags`].
    pub(crate) kept: Kept,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        parts.index.set_quota(parts.config.quota);
        Self {
            blobs: BlobNames::new(parts.index.clone()),
            kept: Kept::new(parts.config.main_tags.clone()),
            settings: Settings::new(&parts.config),
            node: LocalNode::new(&parts.config.jobs),
            index: parts.index,
            storage: parts.storage,
            hooks: parts.hooks,
            http: parts.http,
            config: parts.config,
            metrics: Metrics::default(),
            listening: Mutex::default(),
        }
    }

    /// How data sets are read now: dictionary and default character set.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            default_charset: self.settings.default_encoding(),
            dictionary: self.config.dictionary.clone(),
            ..ReadOptions::default()
        }
    }

    /// Whether other processes may work on the same index: what a client sees must then not depend on which one it asks.
    pub fn is_shared(&self) -> bool {
        self.index.is_shared()
    }

    /// # Errors
    /// `ReadOnly`.
    pub(crate) fn writable(&self) -> Result<()> {
        if self.config.read_only { Err(Error::new(ErrorKind::ReadOnly, "this process is read-only (ReadOnly)")) } else { Ok(()) }
    }

    /// This process among those that share the database.
    pub fn node_id(&self) -> model::job::NodeId {
        self.node.id()
    }

    /// Gives back what this process holds and closes the index. Call it last.
    pub async fn close(&self) -> Result<()> {
        let released = if self.config.read_only { Ok(()) } else { self.blobs.release().await };
        self.index.close().await;
        released
    }
}
