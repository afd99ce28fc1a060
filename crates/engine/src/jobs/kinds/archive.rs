//! `Archive`: a ZIP of patients, studies, series and instances, kept as the output `archive` or sent while it is made.
//! With a DICOMDIR it is [`Media`].

use super::Media;
use crate::archive::{self, Characters, Layout, Plan, Progress, Request};
use crate::jobs::submit::{self, create_pinned, error_of};
use crate::jobs::{JobHandle, JobKind, JobOptions};
use crate::{Ctx, Engine, files};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use model::job::{JobId, JobOutcome, NewOutput};
use model::{Error, ErrorKind, Level, OrthancId, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The key of the output (Orthanc: `/jobs/{id}/archive`).
const KEY: &str = "archive";
/// Pieces that wait for a slow client.
const PIECES_AHEAD: usize = 4;
/// The header and the first bytes of the first file: the client gets them even if its job is cancelled meanwhile, as it gets the
/// first step of a job of Orthanc's, and so an archive that ends early instead of an error.
const SURE_PIECES: usize = 2;
/// How often a run looks at how far it is.
const REPORT: Duration = Duration::from_millis(250);

/// What goes into an archive, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Archive {
    resources: Vec<(String, String)>,
    file_name: String,
    utf8: bool,
    #[serde(default)]
    transcode: Option<String>,
    #[serde(default)]
    lossy_quality: Option<u8>,
    /// It is sent while it is made.
    #[serde(default)]
    streamed: bool,
    #[serde(default)]
    form: Form,
}

/// What kind of archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Folders with names.
    #[default]
    Archive,
    /// Files with numbers, and a DICOMDIR.
    Media,
    /// With more keys in the DICOMDIR.
    ExtendedMedia,
}

/// What a client may say about an archive.
#[derive(Clone, Debug, Default)]
pub struct ArchiveOptions {
    pub form: Form,
    /// `Filename`
    pub file_name: Option<String>,
    /// `Utf8`: names of entries keep all letters.
    pub utf8: bool,
    /// `Transcode`: a transfer syntax.
    pub transcode: Option<String>,
    /// `LossyQuality`
    pub lossy_quality: Option<u8>,
}

impl Archive {
    /// An archive of these resources. `default_name` is the name of the file without `.zip`.
    ///
    /// # Errors
    /// `InexistentItem` names a resource that does not exist, `OutOfRange` what is no transfer syntax.
    pub async fn new(eng: &Engine, ids: &[&str], default_name: &str, options: ArchiveOptions) -> Result<Self> {
        options.transcode.as_deref().map_or(Ok(()), archive::check_syntax)?;
        let missing =
            |id: &str| Error::new(ErrorKind::InexistentItem, format!("Missing resource while creating an archive: {id}"));
        let parsed: Vec<OrthancId> = ids.iter().map(|id| id.trim().parse().map_err(|_| missing(id))).collect::<Result<_>>()?;
        let found = files::levels(eng, &Ctx::default(), &parsed).await.map_err(|error| match error.kind() {
            ErrorKind::UnknownResource => Error::new(ErrorKind::InexistentItem, error.message()),
            _ => error,
        })?;
        let resources = found.into_iter().map(|(level, id)| (level.name().to_owned(), id.to_string())).collect();
        Ok(Self {
            resources,
            file_name: options.file_name.unwrap_or_else(|| format!("{default_name}.zip")),
            utf8: options.utf8,
            transcode: options.transcode,
            lossy_quality: options.lossy_quality,
            streamed: false,
            form: options.form,
        })
    }

    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    async fn plan(&self, eng: &Arc<Engine>) -> Result<Plan> {
        let damaged = || Error::new(ErrorKind::Database, "the stored arguments of this archive name no resources");
        let resource = |(level, id): &(String, String)| Ok((Level::parse(level).ok_or_else(damaged)?, id.parse::<OrthancId>()?));
        let resources: Vec<_> = self.resources.iter().map(resource).collect::<Result<_>>()?;
        let characters = if self.utf8 { Characters::Utf8 } else { Characters::Ascii };
        let layout = match self.form {
            Form::Archive => Layout::Folders(characters),
            Form::Media => Layout::Media { extended: false },
            Form::ExtendedMedia => Layout::Media { extended: true },
        };
        let request = Request { resources, layout, transcode: self.transcode.clone() };
        archive::plan(eng, &Ctx::default(), &request).await
    }

    fn describe(&self, content: &mut Value, plan: &Plan) {
        content["InstancesCount"] = plan.instances().into();
        content["UncompressedSize"] = plan.size_bytes().to_string().into();
        content["UncompressedSizeMB"] = (plan.size_bytes() >> 20).into();
    }
}

#[async_trait]
impl JobKind for Archive {
    const TYPE: &'static str = "Archive";

    fn content(&self) -> Value {
        let mut content = json!({
            "ArchiveSize": "0",
            "ArchiveSizeMB": 0,
            "Description": "REST API",
            "InstancesCount": 0,
            "UncompressedSize": "0",
            "UncompressedSizeMB": 0,
            "Utf8": self.utf8,
        });
        if let Some(syntax) = &self.transcode {
            content["Transcode"] = syntax.as_str().into();
        }
        if let Some(quality) = self.lossy_quality {
            content["LossyQuality"] = quality.into();
        }
        content
    }

    async fn run(&self, eng: &Arc<Engine>, job: &mut JobHandle) -> Result<Vec<NewOutput>> {
        // Taken before anything can fail: when it is dropped, the client learns that nothing comes.
        let client = if self.streamed { Some(eng.node.streams.take(job.id()).ok_or_else(gone)?) } else { None };
        let plan = self.plan(eng).await?;
        self.describe(job.content(), &plan);
        match client {
            Some(client) => self.send(eng, job, plan, client).await,
            None => self.keep(eng, job, plan).await,
        }
    }
}

/// Where the pieces of an archive go that is sent while it is made.
type Client = mpsc::Sender<Result<Bytes>>;

fn gone() -> Error {
    Error::new(ErrorKind::CannotWrite, "the client has gone")
}

/// # Errors
/// `Canceled` as soon as the job is to stop.
async fn stopped_by<T>(stop: &CancellationToken, work: impl Future<Output = Result<T>>) -> Result<T> {
    stop.run_until_cancelled(work).await.unwrap_or_else(|| Err(ErrorKind::Canceled.into()))
}

/// How far an archive is, told by the stream that makes it.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Progress>>);

impl Seen {
    fn report(&self) -> impl FnMut(Progress) + Send + 'static {
        let seen = self.0.clone();
        move |progress| *seen.lock().unwrap_or_else(PoisonError::into_inner) = progress
    }

    /// Puts the sizes into `Content`, and returns the share that is done.
    fn show(&self, content: &mut Value, total_bytes: u64) -> f64 {
        let Progress { bytes, archive_bytes, .. } = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        content["ArchiveSize"] = archive_bytes.to_string().into();
        content["ArchiveSizeMB"] = (archive_bytes >> 20).into();
        if total_bytes == 0 { 1.0 } else { (bytes as f64 / total_bytes as f64).min(1.0) }
    }
}

impl Archive {
    /// Sends the archive to the client that waits for it.
    async fn send(&self, eng: &Arc<Engine>, job: &mut JobHandle, plan: Plan, client: Client) -> Result<Vec<NewOutput>> {
        let (seen, total) = (Seen::default(), plan.size_bytes());
        let mut pieces = archive::stream(eng, &Ctx::default(), plan, seen.report(), CancellationToken::new());
        for sent in 0.. {
            let next = async {
                let Some(piece) = pieces.next().await else { return Ok(false) };
                client.send(Ok(piece?)).await.map_err(|_| gone())?;
                Ok(true)
            };
            let is_sent = if sent < SURE_PIECES { next.await } else { stopped_by(job.stop(), next).await };
            if !is_sent? {
                break;
            }
            let share = seen.show(job.content(), total);
            job.progress(share).await?;
        }
        Ok(vec![])
    }

    /// Keeps the archive in the storage area.
    async fn keep(&self, eng: &Arc<Engine>, job: &mut JobHandle, plan: Plan) -> Result<Vec<NewOutput>> {
        let (seen, total, cancel) = (Seen::default(), plan.size_bytes(), job.stop().child_token());
        let pieces = archive::stream(eng, &Ctx::default(), plan, seen.report(), cancel.clone());
        let written = archive::into_blob(eng, pieces);
        tokio::pin!(written);
        let blob = loop {
            tokio::select! {
                blob = &mut written => break blob?,
                () = tokio::time::sleep(REPORT) => {}
            }
            let share = seen.show(job.content(), total);
            if job.go_on().is_err() || job.progress(share).await.is_err() {
                // What was written is removed before this ends.
                cancel.cancel();
            }
        };
        seen.show(job.content(), total);
        Ok(vec![NewOutput { key: KEY.into(), blob, mime: "application/zip".into(), file_name: self.file_name.clone() }])
    }
}

/// Creates the job of an archive that is fetched later.
///
/// # Errors
/// As [`submit::submit`].
pub async fn submit(eng: &Arc<Engine>, ctx: &Ctx, archive: Archive, options: JobOptions) -> Result<JobId> {
    match archive.form {
        Form::Archive => submit::submit(eng, ctx, &archive, options).await,
        Form::Media | Form::ExtendedMedia => submit::submit(eng, ctx, &Media(archive), options).await,
    }
}

/// Makes an archive and sends it meanwhile (Orthanc: `SynchronousZipStream`). The job is an ordinary one that only this process
/// can run, under the id that the caller chose; a client that goes away ends it as `Failure` 14. A read-only process sends without a job.
///
/// # Errors
/// What made it fail before the first byte. Later failures end the stream: it lacks the directory of the ZIP then.
pub async fn stream(
    eng: &Arc<Engine>,
    ctx: &Ctx,
    id: JobId,
    mut archive: Archive,
    options: JobOptions,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    if eng.config.read_only {
        let plan = archive.plan(eng).await?;
        return Ok(archive::stream(eng, ctx, plan, |_| {}, CancellationToken::new()));
    }
    archive.streamed = true;
    let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
    eng.node.streams.put(id, sender);
    let mut ended = eng.node.waiters.wait_for(id);
    let created = match archive.form {
        Form::Archive => create_pinned(eng, id, &archive, options).await,
        Form::Media | Form::ExtendedMedia => create_pinned(eng, id, &Media(archive), options).await,
    };
    if let Err(error) = created {
        eng.node.streams.take(id);
        return Err(error);
    }
    // The channel closes when the run ends. Without a first piece, the end of the job says why.
    let Some(first) = pieces.recv().await else {
        return match ended.outcome().await {
            Some(JobOutcome::Failure(error)) => Err(error_of(&error)),
            _ => Ok(futures_util::stream::empty().boxed()),
        };
    };
    let rest = futures_util::stream::unfold((pieces, ended, false), |(mut pieces, mut ended, over)| async move {
        if over {
            return None;
        }
        match pieces.recv().await {
            Some(piece) => Some((piece, (pieces, ended, false))),
            None => match ended.outcome().await {
                Some(JobOutcome::Success(_)) => None,
                Some(JobOutcome::Failure(error)) => Some((Err(error_of(&error)), (pieces, ended, true))),
                _ => Some((Err(gone()), (pieces, ended, true))),
            },
        }
    });
    Ok(futures_util::stream::once(async { first }).chain(rest).boxed())
}
