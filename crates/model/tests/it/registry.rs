//! The registry of jobs under a model checker: two processes that may die, sleep and come back, two jobs of which one kills whoever
//! runs it, and clients that cancel, pause, resume and resubmit at any moment. Jobs change by [`Standing::after`] alone, as in
//! the databases. What processes do is what `engine::jobs` does: claim when they may, a suspect only when they run nothing else.

use model::job::rules::{Cause, Ending, Event, SUSPECT, Standing, Verdict};
use model::job::{Claim, JobAction, JobId, JobState, NodeId, Want};
use stateright::{Checker, Model, Property};
use uuid::Uuid;

const JOBS: usize = 2;
const PROCESSES: usize = 2;
/// Steps that a job has.
const STEPS: u8 = 1;

/// A job, and what the checker remembers of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Job {
    row: Standing,
    cause: Option<Cause>,
    /// Steps that were kept.
    steps: u8,
    /// Deaths of its runner since the last new step: what `crashes` should be.
    deaths: u16,
    /// The last of them happened while nothing else ran there.
    last_death_alone: bool,
    /// A client was told that its cancel is accepted, and the job was not finished then.
    canceled: bool,
    /// As what it ended, until somebody resubmits it.
    ended: Option<JobState>,
    /// Two processes held the right to write at once.
    shared: bool,
}

/// What a process believes that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Run {
    job: usize,
    claim: Claim,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    /// Times that it started.
    start: u8,
    /// It has a row with a live lease.
    member: bool,
    /// It executes anything at all.
    up: bool,
    runs: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    jobs: Vec<Job>,
    processes: Vec<Process>,
    /// What may still go wrong, and what clients may still do.
    kills: u8,
    sleeps: u8,
    requests: u8,
    lost_answers: u8,
    releases: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Claim {
        process: usize,
        heard: bool,
    },
    ClaimAlone {
        process: usize,
    },
    Step(usize, Run),
    End(usize, Run, Ending),
    /// A run ends well and its worker claims the next job in the same transaction, but nobody hears the answer. (What is heard is an end
    /// and a claim after it.)
    TurnUnheard(usize, Run),
    /// The poison acts.
    Explode(usize),
    Kill(usize),
    /// The lease of a process that does not beat is over, and another process beats.
    Rescue {
        dead: usize,
        by: usize,
    },
    /// A process that sleeps beyond its lease.
    Oversleep(usize),
    /// It beats: a job that it owns without knowing waits again, and a process that was forgotten joins anew.
    Beat(usize),
    Restart(usize),
    Ask(usize, JobAction),
}

/// How much may go wrong.
struct Registry {
    kills: u8,
    sleeps: u8,
    requests: u8,
    lost_answers: u8,
    /// Runs that are given back because their process stops.
    releases: u8,
    /// The first job kills whoever runs it.
    poison: bool,
}

fn node(process: usize, start: u8) -> NodeId {
    NodeId(Uuid::from_u128((process as u128 + 1) * 256 + u128::from(start)))
}

fn job_id(job: usize) -> JobId {
    JobId(Uuid::from_u128(job as u128 + 1))
}

impl State {
    fn id(&self, process: usize) -> NodeId {
        node(process, self.processes[process].start)
    }

    /// The row changes. Whether the event was accepted.
    fn happen(&mut self, job: usize, event: Event) -> bool {
        let job = &mut self.jobs[job];
        let (row, cause) = match job.row.after(event) {
            Verdict::Refused => return false,
            Verdict::Unchanged => return true,
            Verdict::Becomes(row) => (row, None),
            Verdict::Fails(row, cause) => (row, Some(cause)),
        };
        (job.row, job.cause) = (row, cause);
        if row.state.is_final() {
            // "Terminal is final": nothing but a resubmission may follow.
            job.ended = job.ended.or(Some(row.state));
        }
        true
    }

    fn claim(&mut self, process: usize, event: Event, heard: bool) -> bool {
        let id = self.id(process);
        let Some(job) = (0..JOBS).find(|job| matches!(self.jobs[*job].row.after(event), Verdict::Becomes(_))) else {
            return false;
        };
        let others = self.processes.iter().flat_map(|p| &p.runs).filter(|run| run.job == job);
        let held = others.clone().any(|run| self.jobs[job].row.is_held_by(run.claim));
        self.jobs[job].shared |= held;
        self.happen(job, event);
        if heard {
            let claim = Claim { job: job_id(job), node: id, epoch: self.jobs[job].row.epoch };
            self.processes[process].runs.push(Run { job, claim });
        }
        true
    }

    /// A process is gone from the list: whoever beats takes its jobs over.
    fn rescue(&mut self, process: usize) {
        let id = self.id(process);
        self.processes[process].member = false;
        let alone = self.processes[process].runs.len() <= 1;
        let owned: Vec<usize> = (0..JOBS).filter(|job| self.jobs[*job].row.owner == Some(id)).collect();
        for job in owned {
            self.jobs[job].deaths += 1;
            self.jobs[job].last_death_alone = alone;
            self.happen(job, Event::ProcessDied(id));
        }
    }

    fn stop(&mut self, process: usize, run: Run) {
        self.processes[process].runs.retain(|other| *other != run);
    }
}

impl Model for Registry {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let job = Job {
            row: Standing::submitted(None),
            cause: None,
            steps: 0,
            deaths: 0,
            last_death_alone: false,
            canceled: false,
            ended: None,
            shared: false,
        };
        let process = Process { start: 0, member: true, up: true, runs: vec![] };
        vec![State {
            jobs: vec![job; JOBS],
            processes: vec![process; PROCESSES],
            kills: self.kills,
            sleeps: self.sleeps,
            requests: self.requests,
            lost_answers: self.lost_answers,
            releases: self.releases,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, process) in state.processes.iter().enumerate() {
            let others_up = state.processes.iter().enumerate().filter(|(other, p)| *other != at && p.up && p.member);
            actions.extend(others_up.filter(|_| !process.up && process.member).map(|(by, _)| Action::Rescue { dead: at, by }));
            if !process.up {
                actions.push(Action::Restart(at));
                continue;
            }
            if process.member {
                let alone = process.runs.iter().any(|run| state.jobs[run.job].row.crashes >= SUSPECT);
                if !alone {
                    actions.push(Action::Claim { process: at, heard: true });
                    if state.lost_answers > 0 {
                        actions.push(Action::Claim { process: at, heard: false });
                    }
                }
                if process.runs.is_empty() {
                    actions.push(Action::ClaimAlone { process: at });
                }
            }
            actions.push(Action::Beat(at));
            for run in &process.runs {
                let is_poison = self.poison && run.job == 0;
                if is_poison {
                    actions.push(Action::Explode(at));
                } else {
                    actions.push(Action::Step(at, *run));
                    actions.push(Action::End(at, *run, Ending::Success));
                    if process.member && state.lost_answers > 0 {
                        actions.push(Action::TurnUnheard(at, *run));
                    }
                }
                if state.releases > 0 {
                    actions.push(Action::End(at, *run, Ending::Released));
                }
                // What a client wants reaches the runner; a cancel may come on top of a pause meanwhile.
                if state.jobs[run.job].row.want.is_some() {
                    actions.push(Action::End(at, *run, Ending::Paused));
                }
            }
            if state.kills > 0 {
                actions.push(Action::Kill(at));
            }
            if state.sleeps > 0 && process.member {
                actions.push(Action::Oversleep(at));
            }
        }
        if state.requests > 0 {
            let all = [JobAction::Cancel, JobAction::Pause, JobAction::Resume, JobAction::Resubmit];
            actions.extend((0..JOBS).flat_map(|job| all.map(|action| Action::Ask(job, action))));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Claim { process, heard } => {
                state.lost_answers -= u8::from(!heard);
                let id = state.id(process);
                state.claim(process, Event::Claim(id), heard).then_some(())?;
            }
            Action::ClaimAlone { process } => {
                let id = state.id(process);
                state.claim(process, Event::ClaimAlone(id), true).then_some(())?;
            }
            Action::Step(process, run) => {
                let new_step = state.jobs[run.job].steps < STEPS;
                if state.happen(run.job, Event::Keep { claim: run.claim, new_step }) {
                    if new_step {
                        state.jobs[run.job].steps += 1;
                        state.jobs[run.job].deaths = 0;
                    }
                } else {
                    state.stop(process, run);
                }
            }
            Action::End(process, run, ending) => {
                state.releases -= u8::from(ending == Ending::Released);
                state.happen(run.job, Event::End(run.claim, ending));
                state.stop(process, run);
            }
            // Its runner believes in the run until it asks again.
            Action::TurnUnheard(process, run) => {
                state.lost_answers -= 1;
                let id = state.id(process);
                state.happen(run.job, Event::End(run.claim, Ending::Success)).then_some(())?;
                state.claim(process, Event::Claim(id), false);
            }
            Action::Explode(process) => {
                state.processes[process].up = false;
            }
            Action::Kill(process) => {
                state.kills -= 1;
                state.processes[process].up = false;
            }
            Action::Rescue { dead, .. } => {
                state.rescue(dead);
                state.processes[dead].runs.clear();
            }
            // Its runs go on believing in themselves.
            Action::Oversleep(process) => {
                state.sleeps -= 1;
                state.rescue(process);
            }
            Action::Beat(process) if state.processes[process].member => {
                let id = state.id(process);
                let unknown = |job: &usize| {
                    let known = state.processes[process].runs.iter().any(|run| run.job == *job);
                    state.jobs[*job].row.owner == Some(id) && !known
                };
                let unknown: Vec<usize> = (0..JOBS).filter(unknown).collect();
                for job in unknown {
                    state.happen(job, Event::NotKnownTo(id));
                }
            }
            Action::Beat(process) | Action::Restart(process) => {
                // The rows of a process that comes back under a new id are those of a dead one.
                if state.processes[process].member {
                    state.rescue(process);
                }
                let process = &mut state.processes[process];
                *process = Process { start: process.start + 1, member: true, up: true, runs: vec![] };
            }
            Action::Ask(job, action) => {
                let open = !state.jobs[job].row.state.is_final();
                let accepted = state.happen(job, Event::Ask(action));
                (state != *last).then_some(())?;
                state.requests -= 1;
                let job = &mut state.jobs[job];
                match action {
                    JobAction::Cancel => job.canceled |= open,
                    JobAction::Resubmit if accepted => {
                        (job.ended, job.canceled, job.deaths, job.steps) = (None, false, 0, 0);
                    }
                    _ => {}
                }
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn every(check: impl Fn(&Job) -> bool) -> impl Fn(&State) -> bool {
            move |state| state.jobs.iter().all(&check)
        }
        vec![
            Property::always("one owner per epoch", |_, state: &State| {
                let runs: Vec<Run> = state.processes.iter().flat_map(|p| p.runs.clone()).collect();
                let twice = |run: &Run| runs.iter().filter(|r| (r.job, r.claim.epoch) == (run.job, run.claim.epoch)).count() > 1;
                !runs.iter().any(twice) && every(|job| !job.shared)(state)
            }),
            Property::always("a stale epoch changes nothing", |_, state: &State| {
                let stale = |run: &&Run| !state.jobs[run.job].row.is_held_by(run.claim);
                state.processes.iter().flat_map(|p| &p.runs).filter(stale).all(|run| {
                    let row = state.jobs[run.job].row;
                    let endings = [Ending::Success, Ending::Failure, Ending::Paused, Ending::Released];
                    let writes = endings.map(|ending| Event::End(run.claim, ending)).into_iter();
                    let keeps = [true, false].map(|new_step| Event::Keep { claim: run.claim, new_step });
                    writes.chain(keeps).all(|event| row.after(event) == Verdict::Refused)
                })
            }),
            Property::always("a cancel wins over a pause, and survives the owner", |_, state: &State| {
                every(|job| {
                    !job.canceled
                        || job.row.state.is_final()
                        || job.row.state == JobState::Running && job.row.want == Some(Want::Cancel)
                })(state)
            }),
            Property::always("what has ended stays so", |_, state: &State| {
                every(|job| job.ended.is_none_or(|ended| ended == job.row.state))(state)
            }),
            Property::always("crashes are counted right", |_, state: &State| every(|job| job.row.crashes == job.deaths)(state)),
            Property::always("only a crash alone makes a poison", |_, state: &State| {
                every(|job| job.cause != Some(Cause::Poison) || job.last_death_alone && job.row.crashes == SUSPECT + 1)(state)
            }),
            Property::always("what ran beside a poison never fails", |model: &Self, state: &State| {
                let innocent = |at: usize| !(model.poison && at == 0);
                let calm = model.kills == 0 && model.sleeps == 0;
                !calm || state.jobs.iter().enumerate().all(|(at, job)| !innocent(at) || job.cause != Some(Cause::Poison))
            }),
            Property::always("nothing runs without a live owner for longer than a lease", |_, state: &State| {
                // Whoever beats next finds it: none of the ways out leads back to Running.
                every(|job| match (job.row.state, job.row.owner) {
                    (JobState::Running, Some(owner)) => match job.row.after(Event::ProcessDied(owner)) {
                        Verdict::Becomes(row) | Verdict::Fails(row, _) => row.state != JobState::Running && row.owner.is_none(),
                        Verdict::Refused | Verdict::Unchanged => false,
                    },
                    (state, owner) => state != JobState::Running && owner.is_none() && job.row.want.is_none(),
                })(state)
            }),
            Property::sometimes("a poison ends", |model: &Self, state: &State| {
                !model.poison || state.jobs[0].cause == Some(Cause::Poison)
            }),
            Property::sometimes("both end well", |model: &Self, state: &State| {
                let good = |job: &Job| job.row.state == JobState::Success && job.steps == STEPS;
                state.jobs.iter().skip(usize::from(model.poison)).all(good)
            }),
        ]
    }
}

fn check(registry: Registry) {
    let checker = registry.checker().threads(2).spawn_bfs().join();
    eprintln!("{} states", checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1000, "the checker had something to do");
}

#[test]
fn processes_die_and_sleep() {
    check(Registry { kills: 2, sleeps: 1, requests: 0, lost_answers: 1, releases: 0, poison: false });
}

#[test]
fn clients_ask_while_processes_die_and_sleep() {
    check(Registry { kills: 1, sleeps: 1, requests: 2, lost_answers: 0, releases: 0, poison: false });
}

#[test]
fn a_poison_kills_whoever_runs_it() {
    check(Registry { kills: 0, sleeps: 0, requests: 1, lost_answers: 0, releases: 1, poison: true });
}
