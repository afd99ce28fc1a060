//! What the handlers share.

use engine::Engine;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use web::metrics::Latencies;

/// What WebDAV may do beside reading.
#[derive(Clone, Copy, Debug)]
pub struct WebDav {
    /// `WebDavDeleteAllowed`
    pub delete: bool,
    /// `WebDavUploadAllowed`
    pub upload: bool,
}

/// What `/system` says about the process that the engine does not know.
#[derive(Clone, Debug, Default)]
pub struct SystemInfo {
    /// `Name`
    pub name: String,
    pub dicom_aet: String,
    pub dicom_port: u16,
    pub http_port: u16,
    pub http_secure: bool,
    pub overwrite_instances: &'static str,
    /// Options that `/system` repeats as they are.
    pub maximum_storage_size_mb: u64,
    pub maximum_patient_count: u64,
    pub maximum_storage_mode: String,
    pub execute_lua_enabled: bool,
    pub check_revisions: bool,
    pub read_only: bool,
    /// The character set as configured, by Orthanc's name.
    pub default_encoding: String,
    /// Transfer syntaxes and SOP classes that the configuration accepts.
    pub accepted_transfer_syntaxes: Vec<String>,
    /// Transfer syntaxes that the C-STORE SCP knows.
    pub known_transfer_syntaxes: Vec<String>,
    pub accepted_sop_classes: Vec<String>,
    pub unknown_sop_class_accepted: bool,
    /// `MetricsEnabled`
    pub metrics_enabled: bool,
    /// What `/plugins` lists.
    pub plugins: Vec<Plugin>,
    /// `SynchronousZipStream`: an archive is sent while it is made.
    pub synchronous_zip_stream: bool,
    /// `HttpThreadsCount`: from how many requests at once on the metrics say that no thread is free.
    pub http_threads: u64,
    /// `WebDavEnabled`
    pub webdav: Option<WebDav>,
}

/// A plugin of Orthanc whose work is built in.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    /// As the plugin names itself.
    pub name: &'static str,
    pub description: &'static str,
}

/// The state of the REST door.
pub struct Rest {
    pub engine: Arc<Engine>,
    pub system: SystemInfo,
    pub latencies: Arc<Latencies>,
    /// Cancelled by `POST /tools/shutdown` and `POST /tools/reset`.
    pub shutdown: CancellationToken,
    /// Set by `POST /tools/reset`: the server starts again when it has stopped.
    pub restart: Arc<AtomicBool>,
    pub started: Instant,
}
