//! Several processes in one thread, on a real index and a storage area in memory, with time that the test moves.
//!
//! Each process is a whole runner (`engine::jobs::start`) on a paused clock of its own. The simulation lets one process after the other live
//! through a short piece of time. Each call to a port passes a gate (`ports.rs`) that can kill the process, stop it as SIGSTOP does,
//! fail the call, or let somebody else act, before the call has an effect or after it: between two calls nothing is visible to others,
//! so this covers every moment. Afterwards the invariants of the registry are checked ([`Sim::check`]).

mod archives;
mod faults;
mod housekeeping;
pub(super) mod kind;
mod poison;
mod ports;
mod races;
mod random;
mod turns;

use crate::jobs::{self, JobKind, JobsConfig};
use crate::{Engine, EngineConfig, Parts};
use dataset::Tag;
use kind::{Steps, sent};
use model::event::{EventKind, EventKinds, Subject};
use model::job::*;
use model::ports::hooks::NoHooks;
use model::ports::http::NoHttp;
use model::{AttachmentId, Level, MainTags};
use ports::{Area, Database, Fault, Halt, Shared, What, When, lock};
use serde_json::Value;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(12);
/// What one process lives through before the next one does.
const PIECE: Duration = Duration::from_millis(20);
/// Nothing is trimmed.
const KEEP: JobLimits = JobLimits { history: 10_000, outputs: 10_000 };

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits without letting the simulated time go on.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A process.
struct Process {
    runtime: Option<Runtime>,
    eng: Option<Arc<Engine>>,
    jobs: Arc<Mutex<Option<jobs::Jobs>>>,
    /// It has lived so far.
    lived: Duration,
}

/// How a simulation begins.
#[derive(Clone, Copy)]
struct Setup {
    processes: usize,
    workers: usize,
    /// All notifications are lost.
    deaf: bool,
    /// `ExtraMainDicomTags`
    declared: Option<(Level, Tag)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { processes: 2, workers: 2, deaf: false, declared: None }
    }
}

struct Sim {
    shared: Arc<Shared>,
    processes: Vec<Process>,
    setup: Setup,
    now: Duration,
    /// For reads of the test itself.
    outside: Runtime,
    submitted: BTreeMap<JobId, Option<Steps>>,
    resubmitted: Cell<usize>,
    /// Since when a job runs without a live owner.
    orphaned: BTreeMap<JobId, Duration>,
}

impl Sim {
    fn new(setup: Setup) -> Self {
        let outside = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let storage = wait(::storage::open(::storage::StorageConfig::Memory)).unwrap();
        let shared = Arc::new(Shared::new(setup.processes, setup.deaf, storage));
        let kinds = [EventKind::JobSubmitted, EventKind::JobSuccess, EventKind::JobFailure];
        let kinds = kinds.into_iter().fold(EventKinds::default(), EventKinds::with);
        wait(shared.index.listen(NodeId::random(), kinds)).unwrap();
        let mut sim = Self {
            shared,
            processes: vec![],
            setup,
            now: Duration::ZERO,
            outside,
            submitted: BTreeMap::new(),
            resubmitted: Cell::new(0),
            orphaned: BTreeMap::new(),
        };
        for at in 0..setup.processes {
            sim.processes.push(sim.start(at));
        }
        sim.run_for(PIECE);
        sim
    }

    /// With things that go wrong.
    fn with(setup: Setup, faults: Vec<Fault>) -> Self {
        let sim = Self::new(setup);
        *lock(&sim.shared.faults) = faults;
        lock(&sim.shared.calls).clear();
        sim
    }

    fn start(&self, at: usize) -> Process {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).event_interval(1).build().unwrap();
        let jobs = JobsConfig {
            workers: self.setup.workers,
            limits: KEEP,
            lease: LEASE,
            name: format!("p{at}"),
            ..JobsConfig::default()
        };
        let mut main_tags = MainTags::default();
        if let Some((level, tag)) = self.setup.declared {
            main_tags.add(level, tag);
        }
        let parts = Parts {
            index: Arc::new(Database { shared: self.shared.clone(), process: at }),
            storage: Arc::new(Area { shared: self.shared.clone(), process: at }),
            hooks: Arc::new(NoHooks),
            http: Arc::new(NoHttp),
            config: EngineConfig { jobs, main_tags, ..EngineConfig::default() },
        };
        let eng = Arc::new(Engine::new(parts));
        let slot = Arc::new(Mutex::new(None));
        {
            let _inside = runtime.enter();
            let began = runtime.block_on(async { Instant::now() });
            *lock(&self.shared.places[at].began) = Some((began, self.now));
        }
        let (engine, started) = (eng.clone(), slot.clone());
        runtime.spawn(async move {
            let begun = jobs::start(engine).await.expect("it starts");
            *lock(&started) = Some(begun);
        });
        Process { runtime: Some(runtime), eng: Some(eng), jobs: slot, lived: self.now }
    }

    /// Lets a process live until `until`.
    fn turn(&mut self, at: usize, until: Duration) {
        let place = &self.shared.places[at];
        let process = &mut self.processes[at];
        let mut behind = Duration::ZERO;
        match *lock(&place.halt) {
            Some(Halt::Killed) => return,
            Some(Halt::Frozen(thaw)) if until < thaw => return,
            Some(Halt::Frozen(_)) => behind = until.saturating_sub(process.lived),
            None => {}
        }
        let Some(runtime) = &process.runtime else { return };
        let (began, from) = lock(&place.began).expect("it began");
        if behind > Duration::ZERO {
            *lock(&place.halt) = None;
            place.thaw.notify_one();
        }
        runtime.block_on(async {
            if behind > Duration::ZERO {
                // Everything that it slept through is due at once.
                let lag = (from + began.elapsed()).max(process.lived);
                tokio::time::advance(until.saturating_sub(lag)).await;
            }
            tokio::select! {
                biased;
                () = place.halted.notified() => {}
                () = tokio::time::sleep_until(began + (until - from)) => {}
            }
        });
        process.lived = until;
        if *lock(&place.halt) == Some(Halt::Killed) {
            self.kill(at);
        }
    }

    /// The process is gone, with all that it had in memory.
    fn kill(&mut self, at: usize) {
        *lock(&self.shared.places[at].halt) = Some(Halt::Killed);
        let process = &mut self.processes[at];
        if let Some(runtime) = process.runtime.take() {
            runtime.shutdown_background();
        }
        lock(&process.jobs).take();
        process.eng.take();
    }

    /// The process is asked to stop, and does.
    fn stop(&mut self, at: usize) {
        let process = &self.processes[at];
        let jobs = lock(&process.jobs).take().expect("it has started");
        process.runtime.as_ref().expect("it lives").spawn(async move {
            jobs.release(Duration::from_secs(8)).await;
            jobs.leave().await;
        });
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Goes on until `condition` holds; whether it did before `end`.
    fn run_until(&mut self, end: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        while self.now < end {
            if condition(self) {
                return true;
            }
            self.now += PIECE;
            for at in 0..self.processes.len() {
                self.turn(at, self.now);
            }
            self.shared.set_clock(self.now);
            if self.now.subsec_millis() == 0 {
                self.check_owners();
            }
        }
        condition(self)
    }

    fn read<T>(&self, future: impl Future<Output = model::Result<T>>) -> T {
        let _inside = self.outside.enter();
        wait(future).expect("the database answers")
    }

    fn jobs(&self) -> Vec<Job> {
        self.read(self.shared.index.jobs(None))
    }

    fn job(&self, id: JobId) -> Job {
        self.read(self.shared.index.jobs(Some(&[id]))).pop().expect("the job is there")
    }

    fn ended(&self) -> bool {
        let counts = self.read(self.shared.index.job_counts());
        counts[JobState::Pending as usize] + counts[JobState::Running as usize] + counts[JobState::Paused as usize] == 0
    }

    /// Somebody who is no process of the simulation makes a job.
    fn submit(&mut self, steps: Steps) -> JobId {
        let id = self.submit_raw(Steps::TYPE, 1, serde_json::to_value(steps).unwrap());
        self.submitted.insert(id, Some(steps));
        id
    }

    fn submit_raw(&mut self, kind: &str, version: u16, arguments: Value) -> JobId {
        let new = NewJob::new(kind, version, arguments, Value::Null);
        let id = new.id;
        self.read(self.shared.index.submit_job(new));
        self.shared.spread_hints();
        self.submitted.insert(id, None);
        id
    }

    fn act(&self, id: JobId, action: JobAction) -> Acted {
        let acted = self.read(self.shared.index.act_on_job(id, action, KEEP));
        if acted == Acted::Accepted && action == JobAction::Resubmit {
            self.resubmitted.set(self.resubmitted.get() + 1);
        }
        self.shared.spread_hints();
        acted
    }

    /// How often each step was sent, by which process and when.
    fn sends(&self, id: JobId) -> Vec<(Duration, usize, u32)> {
        let position = |blob: AttachmentId| (0..100).find(|position| sent(id, *position) == blob);
        let calls = lock(&self.shared.calls);
        let puts = calls.iter().filter(|call| call.name == "put");
        puts.filter_map(|call| Some((call.at, call.process, position(call.blob?)?))).collect()
    }

    /// Nothing runs without a live owner for more than 15 s.
    fn check_owners(&mut self) {
        let live: BTreeSet<NodeId> =
            self.read(self.shared.index.nodes()).iter().filter(|n| n.lease > Duration::ZERO).map(|n| n.node.id).collect();
        let awake = |at: usize| self.processes[at].runtime.is_some() && lock(&self.shared.places[at].halt).is_none();
        let any_lives = (0..self.processes.len()).any(awake);
        let mut orphans = BTreeMap::new();
        for job in self.jobs().into_iter().filter(|job| job.state == JobState::Running) {
            if any_lives && !job.owner.is_some_and(|owner| live.contains(&owner)) {
                let since = *self.orphaned.get(&job.id).unwrap_or(&self.now);
                assert!(self.now - since < Duration::from_secs(3), "nobody took over {job:?}");
                orphans.insert(job.id, since);
            }
        }
        self.orphaned = orphans;
    }

    /// Lets everything end, and checks what must hold then. Paused jobs are resumed: nobody else would.
    fn check(&mut self) {
        let end = self.now + Duration::from_secs(300);
        while !self.ended() && self.now < end {
            for job in self.jobs().into_iter().filter(|job| job.state == JobState::Paused) {
                self.act(job.id, JobAction::Resume);
            }
            self.run_for(Duration::from_secs(1));
        }
        let jobs = self.jobs();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        assert_eq!(ids, self.submitted.keys().copied().collect::<Vec<_>>(), "each job is there exactly once");
        self.check_events(&jobs);
        for job in &jobs {
            assert!(job.state.is_final() && job.owner.is_none() && job.completed_at.is_some(), "{job:?}");
            let Some(steps) = self.submitted[&job.id] else { continue };
            let there = (0..steps.steps).filter(|at| wait(self.shared.storage.read(sent(job.id, *at), None)).is_ok()).count();
            if job.state == JobState::Success {
                assert_eq!(there, steps.steps as usize, "what a clean run sends: {job:?}");
                assert_eq!(job.progress, 1.0);
            } else {
                assert_ne!(job.error.code, 0, "a failure has a reason: {job:?}");
            }
        }
    }
}

impl Sim {
    /// Each job was told of once when it began, and once at each end.
    fn check_events(&self, jobs: &[Job]) {
        let events = self.read(self.shared.index.take_events(NodeId::random(), 100_000, Duration::ZERO));
        for job in jobs {
            let of_job: Vec<EventKind> = events.iter().filter(|e| e.subject == Subject::Job(job.id)).map(|e| e.kind).collect();
            let end = if job.state == JobState::Success { EventKind::JobSuccess } else { EventKind::JobFailure };
            assert_eq!((of_job.first(), of_job.last()), (Some(&EventKind::JobSubmitted), Some(&end)), "{job:?}");
        }
        assert_eq!(events.len(), jobs.len() * 2 + self.resubmitted.get());
    }
}

/// A fault of the first process.
fn fault(call: usize, when: When, what: What) -> Fault {
    Fault { process: 0, call, when, what }
}

/// The calls of the first process while it runs one job of five steps and nothing goes wrong.
fn calls_of_a_clean_run() -> usize {
    let mut sim = Sim::with(Setup::default(), vec![]);
    let id = sim.submit(Steps::default());
    assert!(sim.run_until(Duration::from_secs(10), Sim::ended));
    assert_eq!(sim.job(id).state, JobState::Success);
    let calls = lock(&sim.shared.calls).iter().filter(|call| call.process == 0).count();
    assert!(sim.sends(id).iter().all(|(_, process, _)| *process == 0), "the first process runs it");
    assert!((12..60).contains(&calls), "{calls} calls");
    drop(sim);
    calls
}
