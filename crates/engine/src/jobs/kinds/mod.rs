//! The kinds of job that this version runs. A new kind is one file here and one line in [`ALL`].

pub mod archive;
mod housekeeping;
mod media;
mod modality_store;
mod peer_store;
mod sequence;
mod webdav_import;

pub use archive::{Archive, ArchiveOptions, Form};
pub use housekeeping::Housekeeping;
pub use media::Media;
pub use modality_store::DicomModalityStore;
pub use peer_store::OrthancPeerStore;
pub use sequence::SequenceOfOperations;
pub use webdav_import::WebDavImport;

use super::JobHandle;
use crate::Engine;
use async_trait::async_trait;
use model::job::{ClaimedJob, JobError, NewOutput, capability};
use model::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a kind of job is: its arguments, stored as JSON, and how to run them.
///
/// A run may be repeated, by this process or another, from the steps that were kept; so each step must be harmless when it
/// happens twice. No password belongs into the arguments: name the remote, and look it up when it is needed.
#[async_trait]
pub trait JobKind: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `Type`
    const TYPE: &'static str;
    /// The version of the arguments. A process runs jobs up to its own version.
    const VERSION: u16 = 1;
    /// Arguments that were looked up when the job was created: a repeated request may find others.
    const LOOKED_UP: &[&str] = &[];
    /// Whether it may wait for long: then it takes no worker away from others.
    const BACKGROUND: bool = false;

    /// `Content` before the first step.
    fn content(&self) -> Value;

    /// Runs, or goes on from [`JobHandle::earlier`]. Look at [`JobHandle::go_on`] between steps; [`JobHandle::stop`] may also
    /// interrupt a step. What it returns after that does not matter. An error ends the job as `Failure`.
    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>>;
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Vec<NewOutput>>> + Send + 'a>>;

/// A kind without its type.
pub(super) struct Entry {
    pub name: &'static str,
    version: u16,
    background: bool,
    run: for<'a> fn(&'a Arc<Engine>, &'a mut JobHandle, Value) -> Running<'a>,
}

const fn entry<K: JobKind>() -> Entry {
    Entry {
        name: K::TYPE,
        version: K::VERSION,
        background: K::BACKGROUND,
        run: |eng, job, arguments| {
            Box::pin(async move {
                let kind: K = serde_json::from_value(arguments).map_err(|e| {
                    Error::new(ErrorKind::BadJson, format!("the stored arguments of this {} cannot be read: {e}", K::TYPE))
                })?;
                kind.run(eng, job).await
            })
        },
    }
}

/// Every kind.
pub(super) const ALL: &[Entry] = &[
    entry::<Archive>(),
    entry::<Media>(),
    entry::<DicomModalityStore>(),
    entry::<OrthancPeerStore>(),
    entry::<SequenceOfOperations>(),
    entry::<WebDavImport>(),
    entry::<Housekeeping>(),
    #[cfg(test)]
    entry::<super::sim::kind::Steps>(),
];

/// What this version can run, as [`capability`] says.
pub(super) fn capabilities() -> Vec<String> {
    ALL.iter().flat_map(|kind| (1..=kind.version).map(|version| capability(kind.name, version))).collect()
}

/// Runs a claimed job.
pub(super) async fn run(eng: &Arc<Engine>, job: &mut JobHandle, claimed: &ClaimedJob) -> Result<Vec<NewOutput>> {
    let entry = ALL.iter().find(|e| e.name == claimed.kind);
    let entry = entry.ok_or_else(|| Error::new(ErrorKind::NotImplemented, format!("no jobs of type {:?} here", claimed.kind)))?;
    if claimed.version > entry.version {
        let message = format!("version {} of {} is newer than this process ({})", claimed.version, entry.name, entry.version);
        return Err(Error::new(ErrorKind::NotImplemented, message));
    }
    (entry.run)(eng, job, claimed.arguments.clone()).await
}

/// Whether jobs of this type run beside the workers.
pub(super) fn is_background(kind: &str) -> bool {
    ALL.iter().any(|e| e.name == kind && e.background)
}

/// What ends a job whose run panicked.
pub(super) fn panicked() -> JobError {
    JobError::new(ErrorKind::Internal, "the job panicked; the log of the process that ran it says where")
}
