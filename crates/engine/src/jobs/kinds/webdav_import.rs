//! `WebDavImport`: stores the files that wait in the area for uploads, one step for each.

use crate::import;
use crate::jobs::{JobHandle, JobKind};
use crate::{Ctx, Engine, read};
use async_trait::async_trait;
use model::job::{JobStep, NewOutput};
use model::upload::Uploaded;
use model::{Error, ErrorKind, Origin, RequestOrigin, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Files that are taken at once.
const MANY: u32 = 100;
/// A job that has found files looks for more until none has come for so long, so that a folder of files is one job.
const QUIET: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// So long a file is tried again and again that cannot be read or stored now; then the job fails.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The files are those that it finds. To import one twice is harmless: the second time its instances are stored already. A file that
/// could not be imported stays, and belongs to the job: who resubmits that tries again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebDavImport {}

/// What a run has done and could not do.
#[derive(Default)]
struct Progress {
    /// Behind the last file that could not be imported, in this run.
    after: i64,
    error: Option<Error>,
    found_at: Option<Instant>,
}

#[async_trait]
impl JobKind for WebDavImport {
    const TYPE: &'static str = "WebDavImport";

    fn content(&self) -> Value {
        json!({ "Description": "WebDAV", "FilesCount": 0, "InstancesCount": 0 })
    }

    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        let mut progress = Progress::default();
        let mut position = job.earlier().last().map_or(0, |step| step.position + 1);
        loop {
            job.go_on()?;
            let files = eng.index.take_uploaded(job.id(), progress.after, MANY).await?;
            if files.is_empty() {
                match (progress.error.take(), progress.found_at) {
                    (Some(error), _) => return Err(error),
                    (None, Some(at)) if at.elapsed() < QUIET => {}
                    (None, _) => return Ok(vec![]),
                }
                tokio::time::sleep(LOOK).await;
                continue;
            }
            for (n, file) in files.iter().enumerate() {
                job.go_on()?;
                progress.found_at = Some(Instant::now());
                let importing = import(eng, file);
                match job.stop().run_until_cancelled(importing).await.unwrap_or(Err(ErrorKind::Canceled.into())) {
                    Ok(instances) => {
                        eng.index.forget_uploaded(file.id).await?;
                        add(job.content(), "FilesCount", 1);
                        add(job.content(), "InstancesCount", instances);
                        let share = (n + 1) as f64 / (files.len() + 1) as f64;
                        job.step(JobStep { position, outcome: json!({ "Instances": instances }) }, share).await?;
                        position += 1;
                    }
                    Err(error) => progress.failed(file, error)?,
                }
            }
        }
    }
}

impl Progress {
    /// Goes on with the next file, unless that would fail as well.
    ///
    /// # Errors
    /// What ends this run: it was stopped, or the database is away.
    fn failed(&mut self, file: &Uploaded, error: Error) -> Result<()> {
        if [ErrorKind::Canceled, ErrorKind::DatabaseUnavailable].contains(&error.kind()) {
            return Err(error);
        }
        tracing::warn!(%error, file = file.id, "a file in the area for uploads cannot be imported now");
        self.after = file.id;
        let error = if is_passing(error.kind()) && file.age < PATIENCE {
            Error::new(ErrorKind::Busy, "a file cannot be imported now").caused_by(error)
        } else {
            error
        };
        // What will not pass is what the job ends with.
        if self.error.as_ref().is_none_or(|first| first.kind() == ErrorKind::Busy) {
            self.error = Some(error);
        }
        Ok(())
    }
}

/// Whether the same file may be imported later.
fn is_passing(kind: ErrorKind) -> bool {
    use ErrorKind::{Busy, CannotWrite, Corrupted, InexistentFile, Script, StorageFull};
    matches!(kind, Busy | CannotWrite | Corrupted | InexistentFile | Script | StorageFull)
}

fn add(content: &mut Value, name: &str, number: u64) {
    content[name] = (content[name].as_u64().unwrap_or(0) + number).into();
}

/// Stores what is in a file. How many instances; none if it is not DICOM: file managers put other files beside them (Orthanc drops them too).
async fn import(eng: &Arc<Engine>, file: &Uploaded) -> Result<u64> {
    let origin = Origin {
        door: RequestOrigin::WebDav,
        remote_ip: file.remote_ip.clone(),
        http_user: file.http_user.clone(),
        ..Origin::default()
    };
    let ctx = Ctx { origin, ..Ctx::default() };
    let bytes = read::blob(eng, file.blob, 0..file.size_bytes).await?;
    let mut stored = vec![];
    match import::one(eng, &ctx, bytes, file.size_bytes, &mut stored).await {
        Err(error) if error.kind() == ErrorKind::BadDicom => {
            tracing::info!(%error, file = file.id, "a file that is not DICOM is dropped from the area for uploads");
        }
        other => drop(other?),
    }
    Ok(stored.len() as u64)
}
