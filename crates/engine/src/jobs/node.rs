//! This process as a member of the cluster: its lease, what it runs, and who waits in it.
//!
//! The lease is renewed once a second. The time before a beat is sent counts, on the monotonic clock: two thirds of a lease
//! after the last answered beat no job is claimed any more; after five sixths what runs is interrupted, before others take it over.

use super::handle::{Reason, Stopper};
use super::turns::Ends;
use super::waiting::{Streams, Waiters};
use super::{kinds, turns};
use crate::engine::Metrics;
use crate::{Engine, events, housekeeping, sweeps};
use model::Result;
use model::job::{Beat, Claim, Hint, JobId, JobLimits, NewNode, NodeId, Want};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The time between beats.
const BEAT: Duration = Duration::from_secs(1);
/// How long what is interrupted at the end of the process may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a step may go on after a client asked for a pause.
const PAUSE_GRACE: Duration = Duration::from_secs(1);

/// The options of jobs and of the node.
#[derive(Clone, Debug)]
pub struct JobsConfig {
    /// Jobs that run at once (`ConcurrentJobs`), 0: this process runs none (`RunJobs`).
    pub workers: usize,
    /// `--no-jobs`: jobs that are there at the start are left to others.
    pub new_jobs_only: bool,
    pub limits: JobLimits,
    /// How long the others wait for a beat of this process before they take its jobs over.
    pub lease: Duration,
    /// `Name`
    pub name: String,
    pub version: String,
    /// A hash of the options that must be equal on all processes.
    pub configuration: String,
    /// For people, in `/cluster/nodes`.
    pub details: Value,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            new_jobs_only: false,
            limits: JobLimits { history: 10, outputs: 1 },
            lease: Duration::from_secs(12),
            name: "MyOrthanc".into(),
            version: String::new(),
            configuration: String::new(),
            details: Value::Null,
        }
    }
}

/// What this process knows about itself. Nothing of it must survive.
pub struct LocalNode {
    id: Mutex<NodeId>,
    /// One permit for each job that may start now.
    pub(super) workers: Arc<Semaphore>,
    pub(super) running: Mutex<HashMap<JobId, (Claim, Arc<Stopper>)>>,
    pub(super) waiters: Waiters,
    pub(super) streams: Streams,
    /// When the last answered beat was sent; `None` before the first.
    heard: Mutex<Option<Instant>>,
    /// Jobs may wait.
    pub(super) work: AtomicBool,
    pub(super) look: Notify,
    pub(super) ends: Ends,
    /// A sweep has work.
    pub(crate) sweeps: Notify,
    draining: AtomicBool,
    /// The loops of this process, until it stops.
    pub(super) tasks: TaskTracker,
    /// The jobs that run here.
    pub(super) runs: TaskTracker,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LocalNode {
    pub(crate) fn new(config: &JobsConfig) -> Self {
        Self {
            id: Mutex::new(NodeId::random()),
            workers: Arc::new(Semaphore::new(config.workers)),
            running: Mutex::default(),
            waiters: Waiters::default(),
            streams: Streams::default(),
            heard: Mutex::new(None),
            work: AtomicBool::new(true),
            look: Notify::new(),
            ends: Ends::default(),
            sweeps: Notify::new(),
            draining: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            runs: TaskTracker::new(),
        }
    }

    pub fn id(&self) -> NodeId {
        *lock(&self.id)
    }

    /// Whether this process may claim jobs now.
    pub(super) fn may_claim(&self, lease: Duration) -> bool {
        !self.draining.load(Relaxed) && self.age().is_some_and(|age| age < lease * 2 / 3)
    }

    /// Whether others may soon take over what runs here.
    pub(super) fn is_late(&self, lease: Duration) -> bool {
        self.age().is_some_and(|age| age >= lease * 5 / 6)
    }

    /// The time since the last answered beat was sent.
    fn age(&self) -> Option<Duration> {
        lock(&self.heard).map(|at| at.elapsed())
    }

    /// Jobs may wait: the next turn claims.
    pub(super) fn poke(&self) {
        self.work.store(true, Relaxed);
        self.look.notify_one();
    }

    fn stop_all(&self, reason: Reason) {
        for (_, stopper) in lock(&self.running).values() {
            stopper.interrupt(reason);
        }
    }
}

/// The running loops. Dropping it does not stop them.
pub struct Jobs {
    eng: Arc<Engine>,
    stop: CancellationToken,
}

/// Joins the cluster and begins to beat and to run jobs.
///
/// # Errors
/// `DatabaseUnavailable`, `Database`.
pub async fn start(eng: Arc<Engine>) -> Result<Jobs> {
    join(&eng).await?;
    let stop = CancellationToken::new();
    let node = &eng.node;
    node.tasks.spawn(beat_loop(eng.clone(), stop.clone()));
    node.tasks.spawn(watch_lease(eng.clone(), stop.clone()));
    node.tasks.spawn(hint_loop(eng.clone(), stop.clone()));
    node.tasks.spawn(turns::run(eng.clone(), stop.clone()));
    node.tasks.spawn(sweeps::run(eng.clone(), stop.clone()));
    if eng.hooks.is_on() {
        node.tasks.spawn(events::run(eng.clone(), stop.clone()));
    }
    let undecided = housekeeping::start(&eng).await?;
    node.tasks.spawn(housekeeping::run(eng.clone(), undecided, stop.clone()));
    Ok(Jobs { eng, stop })
}

async fn join(eng: &Engine) -> Result<()> {
    let config = &eng.config.jobs;
    let sent = Instant::now();
    let mut details = config.details.clone();
    let (name, declared) = housekeeping::details(eng);
    details[name] = declared;
    let node = NewNode {
        id: eng.node.id(),
        name: config.name.clone(),
        version: config.version.clone(),
        kinds: if config.workers == 0 { vec![] } else { kinds::capabilities() },
        new_jobs_only: config.new_jobs_only,
        configuration: config.configuration.clone(),
        details,
    };
    eng.index.join(&node, config.lease).await?;
    *lock(&eng.node.heard) = Some(sent);
    Ok(())
}

impl Jobs {
    /// Claims nothing more and lets running steps end, up to `grace`; the jobs go on elsewhere. The process stays a member: callers may still
    /// wait here for jobs, and downloads are still served.
    pub async fn release(&self, grace: Duration) {
        let node = &self.eng.node;
        node.draining.store(true, Relaxed);
        for (_, stopper) in lock(&node.running).values() {
            stopper.ask(Reason::Release);
        }
        node.runs.close();
        if tokio::time::timeout(grace, node.runs.wait()).await.is_err() {
            node.stop_all(Reason::Release);
            // Interrupted runs still say so to the database; if that is away, the end of the lease says it for them.
            let _ = tokio::time::timeout(LAST_WORDS, node.runs.wait()).await;
        }
    }

    /// Takes this process off the list of those that take part. Call it when nobody asks anything of it any more.
    pub async fn leave(self) {
        let node = &self.eng.node;
        // Downloads that began after the release.
        let _ = tokio::time::timeout(LAST_WORDS, node.runs.wait()).await;
        self.stop.cancel();
        node.tasks.close();
        let _ = tokio::time::timeout(LAST_WORDS, node.tasks.wait()).await;
        if let Err(error) = self.eng.index.leave(node.id()).await {
            tracing::warn!(%error, "the other processes learn of the end of this one when its lease is over");
        }
    }
}

async fn beat_loop(eng: Arc<Engine>, stop: CancellationToken) {
    let mut timer = tokio::time::interval(BEAT);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        match beat(&eng).await {
            Ok(()) if failing => {
                tracing::info!("the database answers again");
                failing = false;
            }
            Ok(()) => {}
            Err(error) if !failing => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the database does not answer the beat of this process");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

/// Beats. Settings that changed are read and obeyed at once, and a second beat says so: whoever changed them waits for it.
async fn beat(eng: &Arc<Engine>) -> Result<()> {
    let obeyed = eng.settings.version();
    if beat_once(eng).await? != obeyed {
        crate::settings::reload(eng).await?;
        beat_once(eng).await?;
    }
    Ok(())
}

/// One beat. Returns the version of the settings.
async fn beat_once(eng: &Arc<Engine>) -> Result<i64> {
    let node = &eng.node;
    // A process that slept may beat before anything else wakes up in it.
    interrupt_if_late(eng);
    let sent = Instant::now();
    let running = lock(&node.running).keys().copied().collect();
    let beat = Beat {
        node: node.id(),
        running,
        lease: eng.config.jobs.lease,
        draining: node.draining.load(Relaxed),
        settings: eng.settings.version(),
        limits: eng.config.jobs.limits,
    };
    let tick = eng.index.tick(&beat).await?;
    if tick.lost {
        tracing::warn!("the other processes took this one for dead; it begins anew");
        node.stop_all(Reason::Lost);
        *lock(&node.id) = NodeId::random();
        join(eng).await?;
        return Ok(tick.settings);
    }
    *lock(&node.heard) = Some(sent);
    if tick.rescued > 0 {
        Metrics::add(&eng.metrics.jobs_rescued, tick.rescued);
        tracing::warn!(jobs = tick.rescued, "taken over from processes that died");
    }
    for (claim, want) in tick.wanted {
        stop_running(eng, claim, want);
    }
    if tick.work {
        node.poke();
    }
    if tick.due {
        node.sweeps.notify_one();
    }
    Ok(tick.settings)
}

/// Passes a client's wish on to a run.
fn stop_running(eng: &Arc<Engine>, claim: Claim, want: Want) {
    let Some((current, stopper)) = lock(&eng.node.running).get(&claim.job).cloned() else { return };
    if current != claim {
        return;
    }
    match want {
        Want::Cancel => stopper.interrupt(Reason::Cancel),
        Want::Pause => {
            stopper.ask(Reason::Pause);
            eng.node.tasks.spawn(async move {
                tokio::time::sleep(PAUSE_GRACE).await;
                stopper.interrupt(Reason::Pause);
            });
        }
    }
}

/// Interrupts what runs before the others may take it over.
async fn watch_lease(eng: Arc<Engine>, stop: CancellationToken) {
    let lease = eng.config.jobs.lease;
    let mut timer = tokio::time::interval(lease / 48);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        interrupt_if_late(&eng);
    }
}

fn interrupt_if_late(eng: &Engine) {
    if eng.node.is_late(eng.config.jobs.lease) && !lock(&eng.node.running).is_empty() {
        tracing::warn!("no beat was answered for long: what runs here is interrupted and goes on elsewhere");
        eng.node.stop_all(Reason::Release);
    }
}

async fn hint_loop(eng: Arc<Engine>, stop: CancellationToken) {
    loop {
        let hint = tokio::select! {
            () = stop.cancelled() => return,
            hint = eng.index.hint() => hint,
        };
        match hint {
            Hint::Work => eng.node.poke(),
            Hint::Ended(job) => eng.node.waiters.announce(job, None),
            Hint::Wanted(job) => {
                if lock(&eng.node.running).contains_key(&job)
                    && let Err(error) = beat(&eng).await
                {
                    tracing::debug!(%error, "the next beat tells what a client wants");
                }
            }
            Hint::Settings => {
                if let Err(error) = beat(&eng).await {
                    tracing::debug!(%error, "the next beat loads the settings");
                }
            }
            Hint::Look => look(&eng).await,
        }
    }
}

/// Hints were lost: looks at everything that they could have told.
async fn look(eng: &Arc<Engine>) {
    eng.node.poke();
    for job in eng.node.waiters.ids() {
        eng.node.waiters.announce(job, None);
    }
    if let Err(error) = beat(eng).await {
        tracing::debug!(%error, "the next beat tells what a client wants");
    }
}
