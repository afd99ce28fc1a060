//! Leases: processes that die, and what becomes of their jobs.

use crate::fixture::*;
use crate::for_each_index;
use crate::jobs::*;
use model::job::*;
use model::ports::Index;
use model::{ErrorKind, Level};
use serde_json::json;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(250);

/// A process that soon dies.
pub async fn mortal(db: &dyn Index, name: &str) -> NodeId {
    let node = node(name);
    db.join(&node, SHORT).await.unwrap();
    node.id
}

/// Waits until the lease is over on the database's clock.
pub async fn expire(db: &dyn Index, id: NodeId) {
    while db.nodes().await.unwrap().iter().any(|n| n.node.id == id && n.lease > Duration::ZERO) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Beats until the jobs of dead processes are rescued, and returns that beat. Not within a lease after the database started: hence again.
pub async fn rescue(db: &dyn Index, me: NodeId) -> Tick {
    for _ in 0..500 {
        let beat = Beat { node: me, running: vec![], lease: Duration::from_secs(2), draining: false, settings: 0, limits: KEEP };
        let tick = db.tick(&beat).await.unwrap();
        if tick.rescued > 0 {
            beat_long(db, me).await;
            return tick;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody was rescued");
}

/// The caller lives long again.
async fn beat_long(db: &dyn Index, me: NodeId) {
    assert!(!beat(db, me, &[]).await.lost);
}

/// A new job that a process ran when it died.
async fn orphan(db: &dyn Index, new: NewJob) -> Claim {
    let node = mortal(db, "dead").await;
    let new = NewJob { claim: Some(node), pinned: new.pinned.map(|_| node), ..new };
    let claim = db.submit_job(new).await.unwrap().expect("claimed").claim;
    expire(db, node).await;
    claim
}

async fn nodes_are_listed(db: &mut Fresh) {
    assert!(db.nodes().await.unwrap().is_empty());
    let (a, b) = (node("a\0b"), NewNode { new_jobs_only: true, kinds: vec![], ..node("b") });
    db.join(&a, Duration::from_secs(100)).await.unwrap();
    db.join(&b, SHORT).await.unwrap();
    assert_eq!(db.join(&a, SHORT).await.unwrap_err().kind(), ErrorKind::Duplicate);
    running(&**db, a.id).await;
    let listed = db.nodes().await.unwrap();
    let kinds = a.kinds.iter().map(|k| k.replace('\0', " ")).collect();
    assert_eq!(listed[0].node, NewNode { name: "a b".into(), kinds, ..a.clone() });
    assert_eq!(listed[1].node, b);
    assert!(listed[0].lease > Duration::from_secs(90) && listed[0].lease <= Duration::from_secs(100));
    assert!(listed[1].lease <= SHORT && listed[0].started_at <= listed[1].started_at);
    assert_eq!((listed[0].running, listed[0].draining, listed[0].settings), (1, false, 0));
    let beat = Beat { node: a.id, running: vec![], lease: Duration::from_secs(200), draining: true, settings: 7, limits: KEEP };
    db.tick(&beat).await.unwrap();
    let listed = db.nodes().await.unwrap();
    assert!(listed[0].lease > Duration::from_secs(150));
    assert_eq!((listed[0].draining, listed[0].settings), (true, 7));
    db.leave(a.id).await.unwrap();
    db.leave(a.id).await.unwrap();
    assert!(db.nodes().await.unwrap().iter().all(|n| n.node.id == b.id));
}

async fn a_dead_node_is_forgotten_and_its_job_waits_again(db: &mut Fresh) {
    let me = join(&**db).await;
    let claim = orphan(&**db, job()).await;
    let part = Checkpoint { steps: vec![JobStep { position: 0, outcome: json!(1) }], ..Checkpoint::default() };
    assert!(db.checkpoint_job(claim, &part).await.unwrap(), "nobody has taken it over yet");
    assert!(db.claim_jobs(claim.node, 1).await.unwrap().is_empty());
    let tick = rescue(&**db, me).await;
    assert_eq!((tick.rescued, tick.work, tick.lost), (1, true, false));
    assert!(!db.checkpoint_job(claim, &part).await.unwrap());
    assert!(!db.finish_job(claim, end(JobOutcome::Success(vec![])), KEEP).await.unwrap());
    assert_eq!(db.nodes().await.unwrap().len(), 1);
    let waiting = show(&**db, claim.job).await;
    assert_eq!((waiting.state, waiting.crashes, waiting.owner), (JobState::Pending, 1, None));
    assert!(waiting.runtime >= Duration::from_millis(100) && waiting.runtime < Duration::from_secs(60), "{:?}", waiting.runtime);
    assert_eq!(beat(&**db, me, &[]).await.rescued, 0);
    let claimed = db.claim_jobs(me, 1).await.unwrap().remove(0);
    assert_eq!((claimed.claim.epoch, claimed.crashes, claimed.steps), (2, 1, part.steps));
    // The dead one wakes up.
    let tick = beat(&**db, claim.node, &[claim.job]).await;
    assert!(tick.lost && !tick.work && tick.wanted.is_empty());
    assert!(db.claim_jobs(claim.node, 1).await.unwrap().is_empty());
    assert!(db.finish_job(claimed.claim, end(JobOutcome::Success(vec![])), KEEP).await.unwrap());
}

async fn two_rescuers_are_no_better_than_one(db: &mut Fresh) {
    let me = join(&**db).await;
    let claim = orphan(&**db, job()).await;
    let mut beats = vec![];
    for _ in 0..6 {
        let db = db.shared();
        let node = join(&*db).await;
        beats.push(tokio::spawn(async move {
            let mut rescued = 0;
            let beat = Beat { node, running: vec![], lease: Duration::from_secs(2), draining: false, settings: 0, limits: KEEP };
            for _ in 0..150 {
                rescued += db.tick(&beat).await.unwrap().rescued;
                if show(&*db, claim.job).await.state == JobState::Pending {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            rescued
        }));
    }
    let mut rescued = 0;
    for beat in beats {
        rescued += beat.await.unwrap();
    }
    assert_eq!((rescued, show(&**db, claim.job).await.crashes), (1, 1));
    assert_eq!(db.claim_jobs(me, 9).await.unwrap().len(), 1);
}

async fn an_expired_lease_claims_nothing(db: &mut Fresh) {
    let me = mortal(&**db, "sleepy").await;
    expire(&**db, me).await;
    let waiting = submit(&**db, job()).await;
    assert!(db.claim_jobs(me, 9).await.unwrap().is_empty());
    let new = submit(&**db, NewJob { claim: Some(me), ..job() }).await;
    beat_long(&**db, me).await;
    let claimed = db.claim_jobs(me, 9).await.unwrap();
    assert_eq!(claimed.iter().map(|j| j.claim.job).collect::<Vec<_>>(), [waiting, new]);
}

async fn a_late_beat_that_nobody_noticed_is_not_too_late(db: &mut Fresh) {
    let me = mortal(&**db, "sleepy").await;
    let claim = running(&**db, me).await;
    expire(&**db, me).await;
    let tick = beat(&**db, me, &[claim.job]).await;
    assert_eq!((tick.lost, tick.rescued), (false, 0));
    finish(&**db, claim, JobOutcome::Success(vec![])).await;
}

async fn a_rescue_does_what_was_wanted(db: &mut Fresh) {
    let me = join(&**db).await;
    let dead = mortal(&**db, "dead").await;
    let canceled = running(&**db, dead).await.job;
    let paused = running(&**db, dead).await.job;
    let new = NewJob { claim: Some(dead), pinned: Some(dead), ..job() };
    let pinned = db.submit_job(new).await.unwrap().unwrap().claim.job;
    let waiting = submit(&**db, NewJob { pinned: Some(dead), ..job() }).await;
    db.act_on_job(canceled, JobAction::Cancel, KEEP).await.unwrap();
    db.act_on_job(paused, JobAction::Pause, KEEP).await.unwrap();
    expire(&**db, dead).await;
    assert_eq!(rescue(&**db, me).await.rescued, 4);
    let canceled = show(&**db, canceled).await;
    assert_eq!((canceled.state, canceled.error), (JobState::Failure, JobError::canceled()));
    let paused = show(&**db, paused).await;
    assert_eq!((paused.state, paused.crashes), (JobState::Paused, 1));
    for id in [pinned, waiting] {
        let job = show(&**db, id).await;
        assert_eq!((job.state, job.error.code, job.completed_at.is_some()), (JobState::Failure, 14, true));
        assert!(!job.error.details.is_empty());
    }
    assert!(!beat(&**db, me, &[]).await.work);
}

async fn the_third_crash_ends_a_job(db: &mut Fresh) {
    let me = join(&**db).await;
    let poison = orphan(&**db, job()).await.job;
    assert_eq!(rescue(&**db, me).await.rescued, 1);
    let harmless = submit(&**db, NewJob { priority: -5, ..job() }).await;
    let mut dead = mortal(&**db, "second").await;
    assert_eq!(db.claim_jobs(dead, 1).await.unwrap()[0].claim.job, poison);
    assert!(db.claim_suspect(dead).await.unwrap().is_none());
    expire(&**db, dead).await;
    assert!(rescue(&**db, me).await.work);
    // Now it runs alone, and those beside it do not suffer.
    dead = mortal(&**db, "third\nof three").await;
    let claimed = db.claim_jobs(me, 9).await.unwrap();
    assert_eq!(claimed.iter().map(|j| j.claim.job).collect::<Vec<_>>(), [harmless]);
    assert!(beat(&**db, me, &[harmless]).await.work, "the suspect waits");
    let suspect = db.claim_suspect(dead).await.unwrap().unwrap();
    assert_eq!((suspect.claim.job, suspect.crashes), (poison, 2));
    expire(&**db, dead).await;
    assert_eq!(rescue(&**db, me).await.rescued, 1);
    let job = show(&**db, poison).await;
    assert_eq!((job.state, job.error.code, job.crashes), (JobState::Failure, -1, 3));
    let details = &job.error.details;
    for part in ["3 processes", "dead (", "second (", "third of three (", &dead.to_string()] {
        assert!(details.contains(part), "{details}");
    }
    // Somebody repaired what was wrong.
    db.act_on_job(poison, JobAction::Resubmit, KEEP).await.unwrap();
    assert_eq!(db.claim_jobs(me, 1).await.unwrap()[0].crashes, 0);
}

async fn a_new_step_clears_crashes(db: &mut Fresh) {
    let me = join(&**db).await;
    let id = orphan(&**db, job()).await.job;
    rescue(&**db, me).await;
    for round in 0..4 {
        let dead = mortal(&**db, "dead").await;
        let claimed = db.claim_jobs(dead, 1).await.unwrap().remove(0);
        assert_eq!((claimed.claim.job, claimed.crashes), (id, 1));
        let steps = |position| Checkpoint { steps: vec![JobStep { position, outcome: json!(0) }], ..Checkpoint::default() };
        if round > 0 {
            db.checkpoint_job(claimed.claim, &steps(round - 1)).await.unwrap();
            assert_eq!(show(&**db, id).await.crashes, 1, "an old step is no progress");
        }
        db.checkpoint_job(claimed.claim, &steps(round)).await.unwrap();
        assert_eq!(show(&**db, id).await.crashes, 0);
        expire(&**db, dead).await;
        assert_eq!(rescue(&**db, me).await.rescued, 1);
    }
}

async fn a_draining_node_claims_nothing(db: &mut Fresh) {
    let me = join(&**db).await;
    let claim = running(&**db, me).await;
    let waiting = submit(&**db, job()).await;
    let drain = |draining| Beat {
        node: me,
        running: vec![claim.job],
        lease: Duration::from_secs(60),
        draining,
        settings: 0,
        limits: KEEP,
    };
    assert!(!db.tick(&drain(true)).await.unwrap().work);
    assert!(db.claim_jobs(me, 9).await.unwrap().is_empty());
    assert!(db.claim_suspect(me).await.unwrap().is_none());
    assert!(db.submit_job(NewJob { claim: Some(me), ..job() }).await.unwrap().is_none());
    let download = db.submit_job(NewJob { claim: Some(me), pinned: Some(me), ..job() }).await.unwrap();
    finish(&**db, download.expect("nobody else could run it").claim, JobOutcome::Success(vec![])).await;
    finish(&**db, claim, JobOutcome::Released).await;
    let released = show(&**db, claim.job).await;
    assert_eq!((released.state, released.crashes), (JobState::Pending, 0));
    assert!(db.tick(&drain(false)).await.unwrap().work);
    let order: Vec<_> = db.claim_jobs(me, 2).await.unwrap().iter().map(|j| j.claim.job).collect();
    assert_eq!(order, [claim.job, waiting], "it keeps its place");
}

async fn what_dead_nodes_waited_for_goes(db: &mut Fresh) {
    let me = join(&**db).await;
    let dead = mortal(&**db, "dead").await;
    let leaving = join(&**db).await;
    let limits = JobLimits { history: 0, outputs: 0 };
    for waiter in [dead, leaving] {
        let id = submit(&**db, NewJob { waiter: Some(waiter), ..job() }).await;
        db.act_on_job(id, JobAction::Cancel, limits).await.unwrap();
    }
    assert_eq!(db.job_ids().await.unwrap().len(), 2);
    orphan(&**db, job()).await;
    expire(&**db, dead).await;
    rescue(&**db, me).await;
    let beat = Beat { node: me, running: vec![], lease: Duration::from_secs(60), draining: false, settings: 0, limits };
    db.tick(&beat).await.unwrap();
    assert_eq!(db.job_ids().await.unwrap().len(), 2);
    db.leave(leaving).await.unwrap();
    db.tick(&beat).await.unwrap();
    assert_eq!(db.job_ids().await.unwrap().len(), 1, "the one that was rescued");
}

async fn the_jobs_of_an_ended_process_go_on(db: &mut Fresh) {
    let old = mortal(&**db, "old").await;
    let (claim, waiting) = (running(&**db, old).await, submit(&**db, job()).await);
    db.restart();
    let me = join(&**db).await;
    assert_eq!(rescue(&**db, me).await.rescued, 1);
    assert_eq!(db.nodes().await.unwrap().len(), 1);
    let order: Vec<_> = db.claim_jobs(me, 9).await.unwrap().iter().map(|j| (j.claim.job, j.crashes)).collect();
    assert_eq!(order, [(claim.job, 1), (waiting, 0)]);
    assert!(!db.finish_job(claim, end(failure()), KEEP).await.unwrap());
}

async fn a_tick_says_whether_sweeps_have_work(db: &mut Fresh) {
    let me = join(&**db).await;
    assert!(!beat(&**db, me, &[]).await.due);
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    assert!(!beat(&**db, me, &[]).await.due, "an hour has not passed");
    db.set_stable_age(Duration::ZERO);
    put(&**db, ["P", "1", "2", "4"]).await;
    assert!(beat(&**db, me, &[]).await.due);
    db.sweep_stability().await.unwrap();
    assert!(!beat(&**db, me, &[]).await.due);
    db.delete(Level::Patient, of.patient).await.unwrap();
    assert!(beat(&**db, me, &[]).await.due);
    while db.sweep_tombstones().await.unwrap() {}
    let blobs = db.deleted_blobs(10, Duration::ZERO).await.unwrap();
    assert_eq!((blobs.len(), beat(&**db, me, &[]).await.due), (2, true));
    db.forget_deleted_blobs(&blobs).await.unwrap();
    assert!(!beat(&**db, me, &[]).await.due);
}

for_each_index!(
    nodes_are_listed,
    a_dead_node_is_forgotten_and_its_job_waits_again,
    two_rescuers_are_no_better_than_one,
    an_expired_lease_claims_nothing,
    a_late_beat_that_nobody_noticed_is_not_too_late,
    a_rescue_does_what_was_wanted,
    the_third_crash_ends_a_job,
    a_new_step_clears_crashes,
    a_draining_node_claims_nothing,
    what_dead_nodes_waited_for_goes,
    the_jobs_of_an_ended_process_go_on,
    a_tick_says_whether_sweeps_have_work,
);
