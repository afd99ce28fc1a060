//! Both databases decide as `model::job::rules` says: every event in every state that the port can bring a job to.

use crate::fixture::*;
use crate::for_each_index;
use crate::jobs::*;
use crate::nodes::{expire, mortal, rescue};
use model::job::rules::{Cause, Ending, Event, SUSPECT, Standing, Verdict};
use model::job::*;
use model::ports::Index;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Jobs of a test, each with what decides about it.
type World = BTreeMap<JobId, Standing>;

/// What a job is to be brought to. Its owner is `owner`, its pin too.
#[derive(Clone, Copy, Debug)]
struct Goal {
    state: JobState,
    want: Option<Want>,
    pinned: bool,
    crashes: u16,
}

/// Every state that the port can bring a job to. (No kind of job asks for `Retry` yet.)
fn goals() -> Vec<Goal> {
    let mut goals = vec![];
    for crashes in 0..=SUSPECT + 1 {
        for pinned in [false, true] {
            for state in JobState::ALL.into_iter().filter(|s| *s != JobState::Retry) {
                for want in [None, Some(Want::Cancel), Some(Want::Pause)] {
                    // What is pinned ends with its process; only a running job is wanted.
                    if !(pinned && crashes > 0 || want.is_some() && state != JobState::Running) {
                        goals.push(Goal { state, want, pinned, crashes });
                    }
                }
            }
        }
    }
    goals
}

struct Builder<'a> {
    db: &'a dyn Index,
    me: NodeId,
    owner: NodeId,
}

impl Builder<'_> {
    async fn act(&self, id: JobId, action: JobAction) {
        assert_eq!(self.db.act_on_job(id, action, KEEP).await.unwrap(), Acted::Accepted, "{action:?}");
    }

    /// Claims all that waits.
    async fn claim_all(&self, node: NodeId) -> BTreeMap<JobId, Claim> {
        let mut claimed = self.db.claim_jobs(node, 100_000).await.unwrap();
        while let Some(job) = self.db.claim_suspect(node).await.unwrap() {
            claimed.push(job);
        }
        claimed.into_iter().map(|job| (job.claim.job, job.claim)).collect()
    }

    /// All that waits dies with its process once more.
    async fn crash(&self, ids: &[JobId], last: bool) {
        let dead = mortal(self.db, "dead").await;
        beat(self.db, dead, &[]).await;
        assert_eq!(self.claim_all(dead).await.len(), ids.len());
        for id in ids.iter().filter(|_| last) {
            self.act(*id, JobAction::Pause).await;
        }
        self.die(dead).await;
    }

    async fn die(&self, node: NodeId) {
        let (running, lease) = (self.db.job_ids().await.unwrap(), Duration::from_millis(1));
        self.db.tick(&Beat { node, running, lease, draining: false, settings: 0, limits: KEEP }).await.unwrap();
        expire(self.db, node).await;
        rescue(self.db, self.me).await;
    }

    /// One job for each goal.
    async fn build(&self, goals: &[Goal]) -> World {
        let mut made = vec![];
        for crashes in 0..=SUSPECT + 1 {
            let mut ids = vec![];
            for goal in goals.iter().filter(|g| g.crashes == crashes) {
                let id = submit(self.db, NewJob { pinned: goal.pinned.then_some(self.owner), ..job() }).await;
                ids.push(id);
                made.push((id, *goal));
            }
            for n in 1..=crashes {
                self.crash(&ids, n > SUSPECT).await;
            }
            for id in ids.iter().filter(|_| crashes <= SUSPECT) {
                self.act(*id, JobAction::Pause).await;
            }
        }
        let rests = |goal: &Goal| matches!(goal.state, JobState::Pending | JobState::Paused);
        for (id, _) in made.iter().filter(|(_, goal)| !rests(goal)) {
            self.act(*id, JobAction::Resume).await;
        }
        let claims = self.claim_all(self.owner).await;
        for (id, goal) in &made {
            match goal.state {
                JobState::Success => finish(self.db, claims[id], JobOutcome::Success(vec![])).await,
                JobState::Failure => finish(self.db, claims[id], failure()).await,
                JobState::Pending => self.act(*id, JobAction::Resume).await,
                _ => {}
            }
            match goal.want {
                Some(Want::Cancel) => self.act(*id, JobAction::Cancel).await,
                Some(Want::Pause) => self.act(*id, JobAction::Pause).await,
                None => {}
            }
        }
        let mut world = World::new();
        for (id, goal) in made {
            let running = goal.state == JobState::Running;
            let epoch = i64::from(goal.crashes) + i64::from(!rests(&goal));
            let standing = Standing {
                state: goal.state,
                owner: running.then_some(self.owner),
                epoch,
                want: goal.want,
                pinned: goal.pinned.then_some(self.owner),
                crashes: goal.crashes,
            };
            world.insert(id, standing);
        }
        self.check(&world, "as built").await;
        world
    }

    /// The rows are what they should be.
    async fn check(&self, world: &World, what: &str) {
        let rows = self.db.jobs(None).await.unwrap();
        let mut wanted = vec![];
        for node in [self.owner, self.me] {
            let running: Vec<JobId> = rows.iter().filter(|job| job.owner == Some(node)).map(|job| job.id).collect();
            wanted.extend(beat(self.db, node, &running).await.wanted);
        }
        let wanted: BTreeMap<JobId, Want> = wanted.into_iter().map(|(claim, want)| (claim.job, want)).collect();
        for job in rows.iter().filter(|job| world.contains_key(&job.id)) {
            let expected = world[&job.id];
            let found = Standing {
                state: job.state,
                owner: job.owner,
                epoch: job.epoch,
                want: wanted.get(&job.id).copied(),
                pinned: expected.pinned,
                crashes: job.crashes,
            };
            assert_eq!(found, expected, "{what}");
            assert_eq!(job.completed_at.is_some(), job.state.is_final(), "{what}: {job:?}");
        }
        assert_eq!(rows.iter().filter(|job| world.contains_key(&job.id)).count(), world.len());
    }

    /// Compares rows with what the rules make of them.
    async fn expect(&self, before: &World, event: impl Fn(JobId) -> Event) {
        let mut after = World::new();
        let mut causes = vec![];
        for (id, standing) in before {
            let now = match standing.after(event(*id)) {
                Verdict::Refused | Verdict::Unchanged => *standing,
                Verdict::Becomes(now) => now,
                Verdict::Fails(now, cause) => {
                    causes.push((*id, cause));
                    now
                }
            };
            after.insert(*id, now);
        }
        self.check(&after, "after the event").await;
        for (id, cause) in causes {
            let error = show(self.db, id).await.error;
            let code = match cause {
                Cause::Canceled => 37,
                Cause::Unpinned => 14,
                Cause::Poison => -1,
            };
            assert_eq!(error.code, code, "{cause:?}: {error:?}");
        }
    }
}

async fn builder(db: &Fresh) -> Builder<'_> {
    let me = join(&**db).await;
    Builder { db: &**db, me, owner: join(&**db).await }
}

/// Events that one job is asked for, with the claims that its runner, an earlier one and a stranger have.
fn events(id: JobId, standing: Standing, owner: NodeId, stranger: NodeId) -> Vec<Event> {
    let actions = [JobAction::Cancel, JobAction::Pause, JobAction::Resume, JobAction::Resubmit];
    let mut events: Vec<Event> = actions.into_iter().map(Event::Ask).collect();
    for (node, epoch) in [(owner, 0), (owner, -1), (owner, 1), (stranger, 0)] {
        let claim = Claim { job: id, node, epoch: standing.epoch + epoch };
        events.extend([false, true].map(|new_step| Event::Keep { claim, new_step }));
        let endings = [Ending::Success, Ending::Failure, Ending::Paused, Ending::Released];
        events.extend(endings.map(|ending| Event::End(claim, ending)));
    }
    events
}

/// Does what the event says. Whether the database accepted it.
async fn happen(db: &dyn Index, id: JobId, event: Event) -> bool {
    match event {
        Event::Ask(action) => db.act_on_job(id, action, KEEP).await.unwrap() == Acted::Accepted,
        Event::Keep { claim, new_step } => {
            let steps = new_step.then(|| JobStep { position: 7, outcome: json!(null) });
            let checkpoint = Checkpoint { steps: Vec::from_iter(steps), ..Checkpoint::default() };
            db.checkpoint_job(claim, &checkpoint).await.unwrap()
        }
        Event::End(claim, ending) => {
            let outcome = match ending {
                Ending::Success => JobOutcome::Success(vec![]),
                Ending::Failure => failure(),
                Ending::Paused => JobOutcome::Paused,
                Ending::Released => JobOutcome::Released,
            };
            db.finish_job(claim, end(outcome), KEEP).await.unwrap()
        }
        other => panic!("{other:?} is not asked of one job"),
    }
}

async fn every_request_in_every_state(db: &mut Fresh) {
    let build = builder(db).await;
    let count = events(JobId::random(), Standing::submitted(None), build.owner, build.me).len();
    let goals: Vec<Goal> = goals().into_iter().flat_map(|goal| vec![goal; count]).collect();
    let world = build.build(&goals).await;
    // Jobs of one goal are alike: each is asked for another event.
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    let mut asked = BTreeMap::new();
    for (id, standing) in &world {
        let at = next.entry(format!("{standing:?}")).or_default();
        asked.insert(*id, events(*id, *standing, build.owner, build.me)[*at]);
        *at += 1;
    }
    assert!(next.values().all(|n| *n == count), "{next:?}");
    for (id, event) in &asked {
        let accepted = happen(&**db, *id, *event).await;
        let refused = world[id].after(*event) == Verdict::Refused;
        assert_eq!(accepted, !refused, "{event:?} of {:?}", world[id]);
    }
    build.expect(&world, |id| asked[&id]).await;
}

async fn a_claim_in_every_state(db: &mut Fresh) {
    let build = builder(db).await;
    for node in [build.me, build.owner] {
        for alone in [false, true] {
            let world = build.build(&goals()).await;
            if alone {
                while db.claim_suspect(node).await.unwrap().is_some() {}
                build.expect(&world, |_| Event::ClaimAlone(node)).await;
            } else {
                db.claim_jobs(node, 100_000).await.unwrap();
                build.expect(&world, |_| Event::Claim(node)).await;
            }
            // Out of the way of the next.
            for id in world.keys() {
                db.act_on_job(*id, JobAction::Cancel, KEEP).await.unwrap();
            }
        }
    }
}

async fn the_end_of_a_process_in_every_state(db: &mut Fresh) {
    let build = builder(db).await;
    let world = build.build(&goals()).await;
    build.die(build.owner).await;
    build.expect(&world, |_| Event::ProcessDied(build.owner)).await;
}

async fn a_lost_answer_in_every_state(db: &mut Fresh) {
    let build = builder(db).await;
    let world = build.build(&goals()).await;
    let running = |counts: [u64; 6]| counts[JobState::Running as usize];
    assert!(running(db.job_counts().await.unwrap()) > 0);
    // Only what the process has owned for a while without knowing it.
    while running(db.job_counts().await.unwrap()) > 0 {
        beat(&**db, build.owner, &[]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    build.expect(&world, |_| Event::NotKnownTo(build.owner)).await;
}

for_each_index!(
    every_request_in_every_state,
    a_claim_in_every_state,
    the_end_of_a_process_in_every_state,
    a_lost_answer_in_every_state,
);
