//! Bringing what is stored to what the configuration says now: main DICOM tags that were declared later are filled in, and, with
//! `Housekeeper` (Orthanc's plugin), files follow `StorageCompression`.
//!
//! A process that starts looks at a note that all share ([`state`] decides) and begins a run if one is needed: a job
//! ([`crate::jobs::kinds::Housekeeping`]), which goes through the studies ([`study`]). Each declared set of tags is filled in once, and
//! once more when the last process with other ones is gone: what that stored lacks them.

mod schedule;
mod state;
pub(crate) mod study;
#[cfg(test)]
mod tests;

pub use schedule::Schedule;

use crate::jobs::kinds::Housekeeping;
use crate::jobs::{self, JobOptions};
use crate::{Ctx, Engine};
use model::job::{Job, JobAction, JobKey, JobState, Node};
use model::{Error, ErrorKind, Level, MainTags, Result, time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
pub(crate) use state::Run;
use state::{Me, Seen, State, Wanted};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// The name of the note.
const NOTE: &str = "housekeeping";
/// The member of a node's details that tells the others what it declares.
const DETAILS: &str = "Housekeeping";
/// Between two looks at the note, while something is to be done, and otherwise.
const LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// The section `Housekeeper`, if it is enabled.
#[derive(Clone, Debug)]
pub struct Housekeeper {
    pub force: bool,
    /// `ForceReconstructFiles`
    pub force_files: bool,
    /// `ThrottleDelay`: between studies.
    pub throttle: Duration,
    pub schedule: Schedule,
    pub triggers: Triggers,
    /// `LimitMainDicomTagsReconstructLevel`; `None`: all.
    pub level: Option<Level>,
}

/// `Housekeeper.Triggers`
#[derive(Clone, Copy, Debug)]
pub struct Triggers {
    /// `StorageCompressionChange`
    pub storage_compression: bool,
    /// `MainDicomTagsChange`
    pub main_tags: bool,
    /// `UnnecessaryDicomAsJsonFiles`
    pub dicom_as_json: bool,
}

/// What rows and files are brought to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// `MainDicomTagsSignature` by level.
    pub signatures: [String; 4],
    pub storage_compression: bool,
}

/// What one run does with each study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// `MainDicomTagsSignature` by level.
    signatures: [String; 4],
    /// Levels whose rows are looked at, by number.
    levels: Vec<usize>,
    /// Rows are written again even if they keep these tags, and keep no others.
    anew: bool,
    /// How files are to be stored; `None`: as they are.
    compressed: Option<bool>,
    dicom_as_json: bool,
    pub(crate) throttle_ms: u64,
    pub(crate) schedule: Schedule,
}

impl Task {
    fn new(me: &Me, fill: bool, wanted: Wanted) -> Self {
        let limit = me.housekeeper.and_then(|h| h.level).filter(|_| !wanted.files && !wanted.dicom_as_json);
        let levels = Level::ALL.into_iter().filter(|level| (fill || wanted.anew) && limit.is_none_or(|only| only == *level));
        Self {
            signatures: me.configuration.signatures.clone(),
            levels: levels.map(|level| level as usize).collect(),
            anew: wanted.anew,
            compressed: wanted.files.then_some(me.configuration.storage_compression),
            dicom_as_json: wanted.dicom_as_json,
            throttle_ms: me.housekeeper.map_or(0, |h| u64::try_from(h.throttle.as_millis()).unwrap_or(u64::MAX)),
            schedule: me.housekeeper.map(|h| h.schedule.clone()).unwrap_or_default(),
        }
    }
}

impl Me<'_> {
    fn new(eng: &Engine) -> Me<'_> {
        let config = &eng.config;
        let housekeeper = config.housekeeper.as_ref();
        let digest = config.main_tags.digest();
        let level = housekeeper.and_then(|h| h.level).map_or("", Level::name);
        Me { key: format!("{digest}{level}"), digest, configuration: configuration(eng), housekeeper }
    }
}

fn configuration(eng: &Engine) -> Configuration {
    let signatures = Level::ALL.map(|level| eng.config.main_tags.signature(level));
    Configuration { signatures, storage_compression: eng.config.storage_compression }
}

/// What the other processes must know of this one.
pub(crate) fn details(eng: &Engine) -> (&'static str, Value) {
    let config = &eng.config;
    (DETAILS, json!({ "MainDicomTags": config.main_tags.digest(), "StorageCompression": config.storage_compression }))
}

/// Decides for the first time, once the database can be used: call it before this process stores anything. Returns whether `Housekeeper` must wait.
pub(crate) async fn start(eng: &Arc<Engine>) -> Result<bool> {
    loop {
        match settle(eng, true, true).await {
            // This process is a member already, and lives on.
            Err(error) if jobs::is_transient(error.kind()) => {
                tracing::warn!(%error, "Housekeeper cannot begin now; trying again");
                tokio::time::sleep(LOOK.0).await;
            }
            decided => return Ok(decided?.postponed),
        }
    }
}

/// Decides again and again until `stop`: jobs end, processes come and go.
pub(crate) async fn run(eng: Arc<Engine>, mut undecided: bool, stop: CancellationToken) {
    if undecided {
        tracing::warn!("Housekeeper waits with the files until no process with another StorageCompression runs");
    }
    let mut pause = LOOK.0;
    while tokio::time::timeout(pause, stop.cancelled()).await.is_err() {
        match settle(&eng, false, undecided).await {
            Ok(decided) => {
                undecided = decided.postponed;
                pause = if decided.settled { LOOK.1 } else { LOOK.0 };
            }
            Err(error) => tracing::debug!(%error, "housekeeping is looked at later"),
        }
    }
}

async fn settle(eng: &Arc<Engine>, starting: bool, undecided: bool) -> Result<state::Decided> {
    let me = Me::new(eng);
    let (state, decided) = loop {
        let (version, before) = read(eng).await?;
        let seen = look(eng, &before, starting, undecided).await?;
        let mut state = before.clone();
        let decided = state.settle(&me, &seen);
        if state == before || write(eng, version, &state).await? {
            break (state, decided);
        }
    };
    for number in &decided.superseded {
        if let Some(job) = job(eng, *number).await? {
            eng.index.act_on_job(job.id, JobAction::Cancel, eng.config.jobs.limits).await?;
        }
    }
    // A process may have died before it made the job of its run. The number is the key of the job, so that there is one.
    for run in &state.open {
        if job(eng, run.number).await?.is_none() {
            jobs::submit(eng, &caller(run.number), &Housekeeping::new(run.clone()), JobOptions::default()).await?;
        }
    }
    Ok(decided)
}

async fn look(eng: &Engine, state: &State, starting: bool, undecided: bool) -> Result<Seen> {
    let (_, own) = details(eng);
    let nodes = eng.index.nodes().await?;
    let others: Vec<&Node> = nodes.iter().filter(|n| !n.lease.is_zero() && n.node.id != eng.node_id()).collect();
    let differ = |key: &str| others.iter().any(|n| n.node.details.get(DETAILS).and_then(|d| d.get(key)) != own.get(key));
    let mut seen = Seen {
        starting,
        undecided,
        other_tags: differ("MainDicomTags"),
        other_compression: differ("StorageCompression"),
        empty: eng.index.walk(Level::Study, 0, 1).await?.is_empty(),
        now: time::iso_micros(SystemTime::now()),
        ..Seen::default()
    };
    for run in &state.open {
        if job(eng, run.number).await?.is_some_and(|job| job.state == JobState::Failure) {
            seen.failed.insert(run.number);
        }
    }
    Ok(seen)
}

/// As whom a run's job is made: the key makes sure that there is one.
fn caller(number: u64) -> Ctx {
    Ctx { idempotency_key: Some(key(number)), ..Ctx::default() }
}

fn key(number: u64) -> String {
    format!("housekeeping {number}")
}

/// The job of a run, unless it is forgotten or was never made.
async fn job(eng: &Engine, number: u64) -> Result<Option<Job>> {
    let Some(keyed) = eng.index.job_of_key(JobKey::of("", &key(number))).await? else { return Ok(None) };
    Ok(eng.index.jobs(Some(&[keyed.id])).await?.pop())
}

async fn read(eng: &Engine) -> Result<(i64, State)> {
    let note = eng.index.note(NOTE).await?;
    if note.value.is_null() {
        return Ok((note.version, State::default()));
    }
    let damaged = |e| Error::new(ErrorKind::Database, "the note about housekeeping cannot be read").caused_by(e);
    Ok((note.version, serde_json::from_value(note.value).map_err(damaged)?))
}

async fn write(eng: &Engine, version: i64, state: &State) -> Result<bool> {
    let value = serde_json::to_value(state).map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
    eng.index.put_note(NOTE, version, &value).await
}

/// Whether a run that began before this one still works. Runs take turns.
pub(crate) async fn must_wait(eng: &Engine, number: u64) -> Result<bool> {
    let (_, state) = read(eng).await?;
    for earlier in state.open.iter().filter(|run| run.number < number) {
        let waits_or_runs = |job: Job| !job.state.is_final() && job.state != JobState::Paused;
        if job(eng, earlier.number).await?.is_some_and(waits_or_runs) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes that a run is done.
pub(crate) async fn finish(eng: &Engine, run: &Run) -> Result<()> {
    loop {
        let (version, before) = read(eng).await?;
        let mut state = before.clone();
        state.finish(run);
        if state == before || write(eng, version, &state).await? {
            return Ok(());
        }
    }
}

/// What `GET /housekeeper/status` tells.
#[derive(Clone, Debug)]
pub struct Status {
    /// Studies that the present run has gone through, and all of them; `None` if none is at work.
    pub progress: Option<(u64, u64)>,
    /// When the last run began.
    pub started: Option<String>,
    pub current: Option<Configuration>,
    /// `None` before the first run.
    pub last: Option<Configuration>,
}

/// What housekeeping is at, in all processes.
pub async fn status(eng: &Engine, _ctx: &Ctx) -> Result<Status> {
    let (_, state) = read(eng).await?;
    let current = state.open.iter().find(|run| run.housekeeper);
    let mut progress = None;
    if let Some(run) = current {
        let content = job(eng, run.number).await?.map(|job| job.content).unwrap_or_default();
        let (done, all) = Housekeeping::progress(&content);
        progress = Some((done, all.max(done + 1)));
    }
    Ok(Status { progress, started: state.started, current: current.map(|run| run.configuration.clone()), last: state.last })
}

/// What is assumed of what was stored before `Housekeeper` ran for the first time.
pub fn unknown() -> Configuration {
    let signatures = Level::ALL.map(|level| MainTags::default().signature(level));
    Configuration { signatures, storage_compression: false }
}
