//! The registry of jobs: states and actions, claims, checkpoints, ends. History and outputs are in `job_history.rs`, pages and keys in
//! `job_pages.rs`, leases in `nodes.rs`.

use crate::fixture::*;
use crate::for_each_index;
use model::job::*;
use model::ports::Index;
use model::{AttachmentId, ContentType, ErrorKind};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// Nothing is trimmed.
pub const KEEP: JobLimits = JobLimits { history: 10_000, outputs: 10_000 };
const HOUR: Duration = Duration::from_secs(3600);

/// A process that runs jobs of the kind `Test`.
pub fn node(name: &str) -> NewNode {
    NewNode {
        id: NodeId::random(),
        name: name.into(),
        version: "1.2.3".into(),
        kinds: vec!["Test".into(), "Test:3".into(), "Ünï\0'kind".into()],
        new_jobs_only: false,
        configuration: "hash".into(),
        details: json!({"Http": "0.0.0.0:8042"}),
    }
}

/// A process whose lease lasts as long as the test.
pub async fn join(db: &dyn Index) -> NodeId {
    let node = node("a");
    db.join(&node, HOUR).await.unwrap();
    node.id
}

pub fn job() -> NewJob {
    NewJob::new("Test", 1, json!({"Instances": ["a", "b"]}), json!({"Description": "REST API"}))
}

pub async fn submit(db: &dyn Index, job: NewJob) -> JobId {
    let id = job.id;
    assert!(db.submit_job(job).await.unwrap().is_none());
    id
}

/// A new job that `node` runs.
pub async fn running(db: &dyn Index, node: NodeId) -> Claim {
    let job = NewJob { claim: Some(node), ..job() };
    let (id, claimed) = (job.id, db.submit_job(job).await.unwrap().expect("claimed at birth"));
    assert_eq!((claimed.claim.job, claimed.claim.node, claimed.claim.epoch), (id, node, 1));
    claimed.claim
}

pub async fn show(db: &dyn Index, id: JobId) -> Job {
    db.jobs(Some(&[id])).await.unwrap().pop().expect("the job is there")
}

pub fn end(outcome: JobOutcome) -> JobEnd {
    JobEnd { outcome, checkpoint: Checkpoint { content: json!({"Description": "ended"}), progress: 0.5, steps: vec![] } }
}

pub fn failure() -> JobOutcome {
    JobOutcome::Failure(JobError { code: 9, details: "no answer".into(), payload: Some(json!({"Type": "Dimse"})) })
}

pub async fn finish(db: &dyn Index, claim: Claim, outcome: JobOutcome) {
    assert!(db.finish_job(claim, end(outcome), KEEP).await.unwrap());
}

pub fn step(position: u32) -> JobStep {
    JobStep { position, outcome: json!({"n": position}) }
}

pub fn steps(positions: impl Iterator<Item = u32>) -> Checkpoint {
    Checkpoint { steps: positions.map(step).collect(), progress: 0.25, content: json!({}) }
}

pub async fn output(db: &dyn Index, key: &str) -> NewOutput {
    let blob = attachment(blob(db).await, ContentType::DICOM, 77);
    NewOutput { key: key.into(), blob, mime: "application/zip".into(), file_name: "A.zip".into() }
}

pub async fn with_output(db: &dyn Index, node: NodeId, limits: JobLimits) -> (JobId, AttachmentId) {
    let output = output(db, "archive").await;
    let (claim, blob) = (running(db, node).await, output.blob.id);
    assert!(db.finish_job(claim, end(JobOutcome::Success(vec![output])), limits).await.unwrap());
    (claim.job, blob)
}

pub async fn deleted(db: &dyn Index) -> BTreeSet<AttachmentId> {
    db.deleted_blobs(10_000, Duration::ZERO).await.unwrap().into_iter().collect()
}

/// A job in a state that the port can bring it to.
async fn in_state(db: &dyn Index, node: NodeId, state: JobState) -> (JobId, Option<Claim>) {
    let id = match state {
        JobState::Pending | JobState::Paused => submit(db, job()).await,
        _ => {
            let claim = running(db, node).await;
            match state {
                JobState::Success => finish(db, claim, JobOutcome::Success(vec![])).await,
                JobState::Failure => finish(db, claim, failure()).await,
                _ => return (claim.job, Some(claim)),
            }
            claim.job
        }
    };
    if state == JobState::Paused {
        assert_eq!(db.act_on_job(id, JobAction::Pause, KEEP).await.unwrap(), Acted::Accepted);
    }
    (id, None)
}

/// Each row: an action, and what becomes of Pending, Running, Success, Failure, Paused. `!` is a refusal.
const TABLE: [(JobAction, [&str; 5]); 4] = [
    (JobAction::Cancel, ["Failure", "Running", "Success", "Failure", "Failure"]),
    (JobAction::Pause, ["Paused", "Running", "Success", "Failure", "Paused"]),
    (JobAction::Resume, ["!Pending", "!Running", "!Success", "!Failure", "Pending"]),
    (JobAction::Resubmit, ["!Pending", "!Running", "!Success", "Pending", "!Paused"]),
];

async fn every_action_in_every_state(db: &mut Fresh) {
    let db: &dyn Index = &**db;
    let me = join(db).await;
    for (action, row) in TABLE {
        for (state, expected) in JobState::ALL.into_iter().zip(row) {
            let (id, claim) = in_state(db, me, state).await;
            let before = show(db, id).await;
            assert_eq!(before.state, state);
            let acted = db.act_on_job(id, action, KEEP).await.unwrap();
            let after = show(db, id).await;
            assert_eq!(acted == Acted::Refused, expected.starts_with('!'), "{action:?} in {state:?}");
            assert_eq!(after.state.name(), expected.trim_start_matches('!'), "{action:?} in {state:?}");
            if let Some(claim) = claim {
                let want = [(JobAction::Cancel, Want::Cancel), (JobAction::Pause, Want::Pause)];
                let want: Vec<_> = want.into_iter().filter(|(a, _)| *a == action).map(|(_, w)| (claim, w)).collect();
                assert_eq!(beat(db, me, &[id]).await.wanted, want);
                finish(db, claim, failure()).await;
            } else if after.state == before.state {
                assert_eq!(after, before, "{action:?} in {state:?} changes nothing");
            } else if after.state == JobState::Failure {
                assert_eq!(after.error, JobError::canceled());
                assert!(after.completed_at.is_some());
            } else {
                assert_eq!((after.error, after.completed_at, after.owner), (JobError::default(), None, None));
            }
            let gone = db.delete_job(id).await;
            assert_eq!(gone.is_ok(), claim.is_some() || after.state.is_final(), "delete in {:?}", after.state);
        }
    }
    for action in [JobAction::Cancel, JobAction::Pause, JobAction::Resume, JobAction::Resubmit] {
        assert_eq!(db.act_on_job(JobId::random(), action, KEEP).await.unwrap(), Acted::Unknown);
    }
    assert_eq!(db.delete_job(JobId::random()).await.unwrap_err().kind(), ErrorKind::InexistentItem);
}

/// A beat of a process with a long lease. Nobody is rescued: the database may not have run for so long.
pub async fn beat(db: &dyn Index, node: NodeId, running: &[JobId]) -> Tick {
    let beat = Beat { node, running: running.to_vec(), lease: HOUR, draining: false, settings: 0, limits: KEEP };
    db.tick(&beat).await.unwrap()
}

async fn a_cancel_overrides_a_pause_never_the_reverse(db: &mut Fresh) {
    let me = join(&**db).await;
    for actions in [[JobAction::Pause, JobAction::Cancel], [JobAction::Cancel, JobAction::Pause]] {
        for outcome in [JobOutcome::Paused, JobOutcome::Released] {
            let claim = running(&**db, me).await;
            for action in actions {
                assert_eq!(db.act_on_job(claim.job, action, KEEP).await.unwrap(), Acted::Accepted);
            }
            assert_eq!(beat(&**db, me, &[claim.job]).await.wanted, [(claim, Want::Cancel)]);
            finish(&**db, claim, outcome).await;
            let job = show(&**db, claim.job).await;
            assert_eq!((job.state, job.error), (JobState::Failure, JobError::canceled()));
            assert!(beat(&**db, me, &[]).await.wanted.is_empty());
        }
    }
    // What was done before the cancel was seen, is done.
    let claim = running(&**db, me).await;
    db.act_on_job(claim.job, JobAction::Cancel, KEEP).await.unwrap();
    finish(&**db, claim, JobOutcome::Success(vec![])).await;
    assert_eq!(show(&**db, claim.job).await.state, JobState::Success);
    // A process that stops obeys a pause.
    let claim = running(&**db, me).await;
    db.act_on_job(claim.job, JobAction::Pause, KEEP).await.unwrap();
    finish(&**db, claim, JobOutcome::Released).await;
    assert_eq!(show(&**db, claim.job).await.state, JobState::Paused);
}

async fn what_is_submitted_is_seen_and_claimed(db: &mut Fresh) {
    let me = join(&**db).await;
    let new = NewJob { user_data: Some(json!({"k": [1, null]})), priority: -7, version: 3, ..job() };
    let before = SystemTime::now() - Duration::from_secs(60);
    let id = submit(&**db, new.clone()).await;
    heard(db, Hint::Work).await;
    assert_eq!(db.submit_job(new.clone()).await.unwrap_err().kind(), ErrorKind::Duplicate);
    let shown = show(&**db, id).await;
    let expected = Job {
        id,
        kind: "Test".into(),
        version: 3,
        priority: -7,
        state: JobState::Pending,
        progress: 0.0,
        error: JobError::default(),
        content: new.content.clone(),
        user_data: new.user_data.clone(),
        created_at: shown.created_at,
        completed_at: None,
        runtime: Duration::ZERO,
        owner: None,
        epoch: 0,
        crashes: 0,
    };
    assert_eq!(shown, expected);
    assert!(shown.created_at > before && shown.created_at < SystemTime::now() + Duration::from_secs(60));
    assert!(beat(&**db, me, &[]).await.work);
    let claimed = db.claim_jobs(me, 5).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let claimed = &claimed[0];
    assert_eq!(claimed.claim, Claim { job: id, node: me, epoch: 1 });
    assert_eq!((&claimed.kind, claimed.version, &claimed.arguments), (&new.kind, 3, &new.arguments));
    assert_eq!((&claimed.content, claimed.progress, claimed.pinned, claimed.crashes), (&new.content, 0.0, false, 0));
    assert!(claimed.steps.is_empty());
    let shown = show(&**db, id).await;
    assert_eq!((shown.state, shown.owner, shown.epoch), (JobState::Running, Some(me), 1));
    assert!(!beat(&**db, me, &[id]).await.work);
    assert!(db.claim_jobs(me, 5).await.unwrap().is_empty());
}

async fn claims_are_in_order_of_priority_then_age(db: &mut Fresh) {
    let me = join(&**db).await;
    let mut expected = vec![];
    for (n, priority) in [0, 5, -3, 0, i32::MIN, i32::MAX, 5, -3].into_iter().enumerate() {
        expected.push((-i64::from(priority), n, submit(&**db, NewJob { priority, ..job() }).await));
    }
    expected.sort();
    let mut order = vec![];
    for n in [1, 3, 0, 100] {
        order.extend(db.claim_jobs(me, n).await.unwrap().into_iter().map(|j| j.claim.job));
    }
    assert_eq!(order, expected.into_iter().map(|(_, _, id)| id).collect::<Vec<_>>());
}

async fn only_what_the_node_may_run(db: &mut Fresh) {
    let me = join(&**db).await;
    let other = join(&**db).await;
    let idle = NewNode { kinds: vec![], ..node("runs nothing") };
    db.join(&idle, HOUR).await.unwrap();
    submit(&**db, NewJob { kind: "Unknown".into(), ..job() }).await;
    // A version that it does not know.
    let newer = submit(&**db, NewJob { version: 4, ..job() }).await;
    let shown = show(&**db, newer).await;
    assert_eq!((shown.kind.as_str(), shown.version), ("Test", 4));
    db.act_on_job(newer, JobAction::Pause, KEEP).await.unwrap();
    db.act_on_job(newer, JobAction::Resume, KEEP).await.unwrap();
    let pinned = submit(&**db, NewJob { pinned: Some(other), ..job() }).await;
    let odd = submit(&**db, NewJob { kind: "Ünï\0'kind".into(), ..job() }).await;
    for stranger in [idle.id, NodeId::random()] {
        assert!(db.claim_jobs(stranger, 9).await.unwrap().is_empty());
        assert!(db.submit_job(NewJob { claim: Some(stranger), kind: "Unknown".into(), ..job() }).await.unwrap().is_none());
    }
    assert!(!beat(&**db, idle.id, &[]).await.work);
    assert_eq!(db.claim_jobs(me, 9).await.unwrap().iter().map(|j| j.claim.job).collect::<Vec<_>>(), [odd]);
    assert!(!beat(&**db, me, &[odd]).await.work);
    assert!(beat(&**db, other, &[]).await.work);
    let claimed = db.claim_jobs(other, 9).await.unwrap();
    assert_eq!(claimed.iter().map(|j| (j.claim.job, j.pinned)).collect::<Vec<_>>(), [(pinned, true)]);
    finish(&**db, claimed[0].claim, failure()).await;
    assert_eq!(db.act_on_job(pinned, JobAction::Resubmit, KEEP).await.unwrap(), Acted::Refused, "its client has gone");
    assert_eq!(db.job_counts().await.unwrap(), [4, 1, 0, 1, 0, 0]);
}

async fn a_node_may_leave_older_jobs_alone(db: &mut Fresh) {
    // Somebody else may run them, also where one process has the database alone.
    join(&**db).await;
    let old = submit(&**db, job()).await;
    let picky = NewNode { new_jobs_only: true, ..node("a") };
    db.join(&picky, HOUR).await.unwrap();
    assert!(!beat(&**db, picky.id, &[]).await.work);
    assert!(db.claim_jobs(picky.id, 9).await.unwrap().is_empty());
    let new = submit(&**db, job()).await;
    assert!(beat(&**db, picky.id, &[]).await.work);
    assert_eq!(db.claim_jobs(picky.id, 9).await.unwrap()[0].claim.job, new);
    assert_eq!(show(&**db, old).await.state, JobState::Pending);
}

async fn steps_are_kept_across_runs(db: &mut Fresh) {
    let me = join(&**db).await;
    let claim = running(&**db, me).await;
    let part = Checkpoint { content: json!({"InstancesCount": 4}), ..steps([3, 0].into_iter()) };
    assert!(db.checkpoint_job(claim, &part).await.unwrap());
    let shown = show(&**db, claim.job).await;
    assert_eq!((shown.content, shown.progress), (json!({"InstancesCount": 4}), 0.25));
    let again = JobStep { position: 3, outcome: json!("another") };
    let part = Checkpoint { steps: vec![again, step(7)], progress: f64::NAN, ..part };
    assert!(db.checkpoint_job(claim, &part).await.unwrap());
    assert_eq!(show(&**db, claim.job).await.progress, 0.0);
    let mut last = end(JobOutcome::Released);
    last.checkpoint.steps = vec![step(1)];
    assert!(db.finish_job(claim, last, KEEP).await.unwrap());
    let claimed = db.claim_jobs(me, 1).await.unwrap().remove(0);
    assert_eq!(claimed.steps, [step(0), step(1), step(3), step(7)]);
    assert_eq!((claimed.claim.epoch, claimed.crashes, claimed.progress), (2, 0, 0.5));
    assert_eq!(claimed.content, json!({"Description": "ended"}));
    // Pause keeps them as well; a resubmission does not.
    finish(&**db, claimed.claim, JobOutcome::Paused).await;
    db.act_on_job(claim.job, JobAction::Resume, KEEP).await.unwrap();
    let claimed = db.claim_jobs(me, 1).await.unwrap().remove(0);
    assert_eq!((claimed.steps.len(), claimed.claim.epoch), (4, 3));
    finish(&**db, claimed.claim, failure()).await;
    let failed = show(&**db, claim.job).await;
    assert_eq!(failed.error, JobError { code: 9, details: "no answer".into(), payload: Some(json!({"Type": "Dimse"})) });
    db.act_on_job(claim.job, JobAction::Resubmit, KEEP).await.unwrap();
    let again = show(&**db, claim.job).await;
    assert_eq!((again.error, again.runtime, again.progress), (JobError::default(), Duration::ZERO, 0.0));
    assert_eq!((again.created_at, again.completed_at, again.crashes), (failed.created_at, None, 0));
    assert!(db.claim_jobs(me, 1).await.unwrap()[0].steps.is_empty());
}

async fn a_stale_claim_changes_nothing(db: &mut Fresh) {
    let (me, other) = (join(&**db).await, join(&**db).await);
    let old = running(&**db, me).await;
    finish(&**db, old, JobOutcome::Released).await;
    let new = db.claim_jobs(other, 1).await.unwrap().remove(0).claim;
    let before = show(&**db, old.job).await;
    let output = output(&**db, "archive").await;
    for stale in [old, Claim { epoch: 2, ..old }, Claim { node: other, ..old }, Claim { job: JobId::random(), ..new }] {
        assert!(!db.checkpoint_job(stale, &steps(0..3)).await.unwrap());
        for outcome in [JobOutcome::Success(vec![output.clone()]), failure(), JobOutcome::Paused, JobOutcome::Released] {
            assert!(!db.finish_job(stale, end(outcome), KEEP).await.unwrap());
        }
    }
    let after = show(&**db, old.job).await;
    assert_eq!(Job { runtime: before.runtime, ..after }, before);
    finish(&**db, new, JobOutcome::Success(vec![output])).await;
    assert!(!db.checkpoint_job(new, &steps(0..3)).await.unwrap(), "it has ended");
    assert!(!db.finish_job(new, end(failure()), KEEP).await.unwrap());
    assert_eq!(show(&**db, old.job).await.state, JobState::Success);
}

async fn runtime_adds_up(db: &mut Fresh) {
    let me = join(&**db).await;
    let claim = running(&**db, me).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let first = show(&**db, claim.job).await.runtime;
    assert!(first >= Duration::from_millis(25), "{first:?}");
    finish(&**db, claim, JobOutcome::Paused).await;
    let paused = show(&**db, claim.job).await.runtime;
    assert!(paused >= first);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(show(&**db, claim.job).await.runtime, paused, "waiting does not count");
    db.act_on_job(claim.job, JobAction::Resume, KEEP).await.unwrap();
    let claim = db.claim_jobs(me, 1).await.unwrap().remove(0).claim;
    tokio::time::sleep(Duration::from_millis(30)).await;
    finish(&**db, claim, JobOutcome::Success(vec![])).await;
    let job = show(&**db, claim.job).await;
    assert!(job.runtime >= paused + Duration::from_millis(25) && job.runtime < paused + HOUR, "{:?}", job.runtime);
    assert!(job.completed_at.unwrap() > job.created_at);
    assert_eq!(show(&**db, claim.job).await, job);
}

async fn ten_thousand_steps(db: &mut Fresh) {
    let me = join(&**db).await;
    let ids: Vec<Value> = (0..10_000).map(|n| json!(format!("{n:044}"))).collect();
    let big = NewJob { arguments: json!({"Instances": ids}), claim: Some(me), ..job() };
    let arguments = big.arguments.clone();
    let claim = db.submit_job(big).await.unwrap().unwrap().claim;
    for n in 0..10 {
        assert!(db.checkpoint_job(claim, &steps(n * 1000..(n + 1) * 1000)).await.unwrap());
    }
    finish(&**db, claim, JobOutcome::Released).await;
    let claimed = db.claim_jobs(me, 1).await.unwrap().remove(0);
    assert_eq!(claimed.arguments, arguments);
    assert_eq!(claimed.steps, (0..10_000).map(step).collect::<Vec<_>>());
    finish(&**db, claimed.claim, failure()).await;
}

async fn hostile_texts_come_back(db: &mut Fresh) {
    let me = join(&**db).await;
    let texts = ["\0", "'; DROP TABLE job; --", "\u{10FFFF}\u{1}\\\"", "{", ""].map(String::from);
    for text in texts.into_iter().chain(["é\0".repeat(400_000)]) {
        let user_data = Some(json!({text.clone(): [text.clone()]}));
        let new = NewJob { user_data: user_data.clone(), arguments: json!(text), content: json!([text]), ..job() };
        let id = submit(&**db, new).await;
        let claimed = db.claim_jobs(me, 1).await.unwrap().remove(0);
        assert_eq!((&claimed.arguments, &claimed.content), (&json!(text), &json!([text])));
        let error = JobError { code: -1, details: text.clone(), payload: Some(json!(text)) };
        let steps = vec![JobStep { position: u32::MAX, outcome: json!(text) }];
        let checkpoint = Checkpoint { steps, progress: 7.0, content: json!({"c": text}) };
        assert!(db.checkpoint_job(claimed.claim, &checkpoint).await.unwrap());
        let end = JobEnd { outcome: JobOutcome::Failure(error.clone()), checkpoint };
        assert!(db.finish_job(claimed.claim, end, KEEP).await.unwrap());
        let shown = show(&**db, id).await;
        assert_eq!((shown.user_data, shown.content, shown.progress), (user_data, json!({"c": text}), 1.0));
        assert_eq!(shown.error, JobError { details: text.replace('\0', " "), ..error });
        let mut output = output(&**db, &text).await;
        (output.mime, output.file_name) = (text.clone(), text.clone());
        let claim = running(&**db, me).await;
        finish(&**db, claim, JobOutcome::Success(vec![output])).await;
        let read = db.job_output(claim.job, &text).await.unwrap();
        let clean = text.replace('\0', " ");
        assert_eq!((&read.mime, &read.file_name), (&clean, &clean));
        db.delete_job_output(claim.job, &text).await.unwrap();
    }
}

async fn asked_ids_come_in_order(db: &mut Fresh) {
    let (a, b) = (submit(&**db, job()).await, submit(&**db, job()).await);
    for asked in [vec![a, b], vec![b, a], vec![]] {
        let with_strangers: Vec<_> = asked.iter().flat_map(|id| [*id, JobId::random()]).collect();
        let found = db.jobs(Some(&with_strangers)).await.unwrap();
        assert_eq!(found.iter().map(|j| j.id).collect::<Vec<_>>(), asked);
    }
}

async fn nothing_is_lost_or_run_twice(db: &mut Fresh) {
    let nodes = [join(&**db).await, join(&**db).await];
    let mut submitters = vec![];
    for _ in 0..4 {
        let db = db.shared();
        submitters.push(tokio::spawn(async move {
            let mut ids = vec![];
            for _ in 0..50 {
                ids.push(submit(&*db, job()).await);
            }
            ids
        }));
    }
    let mut workers = vec![];
    for n in 0..4 {
        let (db, node) = (db.shared(), nodes[n % 2]);
        workers.push(tokio::spawn(async move {
            let (mut ran, mut idle) = (vec![], 0);
            while idle < 20 {
                let claimed = db.claim_jobs(node, 3).await.unwrap();
                idle = if claimed.is_empty() { idle + 1 } else { 0 };
                for job in claimed {
                    assert_eq!(job.claim.epoch, 1, "claimed twice");
                    finish(&*db, job.claim, JobOutcome::Success(vec![])).await;
                    ran.push(job.claim.job);
                }
                tokio::task::yield_now().await;
            }
            ran
        }));
    }
    let (mut submitted, mut ran) = (BTreeSet::new(), vec![]);
    for task in submitters {
        submitted.extend(task.await.unwrap());
    }
    for task in workers {
        ran.extend(task.await.unwrap());
    }
    // What came after a worker had given up.
    for job in db.claim_jobs(nodes[0], 1000).await.unwrap() {
        finish(&**db, job.claim, JobOutcome::Success(vec![])).await;
        ran.push(job.claim.job);
    }
    assert_eq!(ran.len(), 200);
    assert_eq!(ran.into_iter().collect::<BTreeSet<_>>(), submitted);
    assert_eq!(db.job_counts().await.unwrap(), [0, 0, 200, 0, 0, 0]);
}

async fn a_cancel_may_race_the_end(db: &mut Fresh) {
    let me = join(&**db).await;
    for n in 0..40 {
        let claim = running(&**db, me).await;
        let (outcome, expected) = match n % 2 {
            0 => (JobOutcome::Released, JobState::Failure),
            _ => (JobOutcome::Success(vec![]), JobState::Success),
        };
        let (here, there) = (db.shared(), db.shared());
        let ends = tokio::spawn(async move { here.finish_job(claim, end(outcome), KEEP).await.unwrap() });
        let cancels = tokio::spawn(async move { there.act_on_job(claim.job, JobAction::Cancel, KEEP).await.unwrap() });
        assert_eq!((ends.await.unwrap(), cancels.await.unwrap()), (true, Acted::Accepted));
        let job = show(&**db, claim.job).await;
        assert_eq!((job.state, job.completed_at.is_some()), (expected, true), "whoever came first");
    }
}

/// Passes over other hints until this one comes, or one to look at everything.
async fn heard(db: &Fresh, expected: Hint) {
    loop {
        let hint = tokio::time::timeout(Duration::from_secs(5), db.hint()).await.expect("a hint");
        if [expected, Hint::Look].contains(&hint) {
            return;
        }
    }
}

async fn hints_tell_what_happened(db: &mut Fresh) {
    if !db.is_alone() {
        // Now other processes can be heard.
        heard(db, Hint::Look).await;
    }
    let me = join(&**db).await;
    let id = submit(&**db, job()).await;
    let claim = db.claim_jobs(me, 1).await.unwrap().remove(0).claim;
    db.act_on_job(id, JobAction::Pause, KEEP).await.unwrap();
    finish(&**db, claim, JobOutcome::Released).await;
    db.act_on_job(id, JobAction::Cancel, KEEP).await.unwrap();
    db.set_setting("k", "v").await.unwrap();
    let expected = BTreeSet::from(["Work".to_owned(), format!("{:?}", Hint::Wanted(id)), format!("{:?}", Hint::Ended(id))]);
    let mut heard = BTreeSet::new();
    loop {
        let hint = tokio::time::timeout(Duration::from_secs(5), db.hint()).await.expect("a hint");
        if hint == Hint::Settings {
            break;
        }
        heard.insert(format!("{hint:?}"));
    }
    assert_eq!(heard, expected);
    let version = beat(&**db, me, &[]).await.settings;
    db.set_setting("k", "w").await.unwrap();
    assert!(beat(&**db, me, &[]).await.settings > version);
}

for_each_index!(
    every_action_in_every_state,
    a_cancel_overrides_a_pause_never_the_reverse,
    what_is_submitted_is_seen_and_claimed,
    claims_are_in_order_of_priority_then_age,
    only_what_the_node_may_run,
    a_node_may_leave_older_jobs_alone,
    steps_are_kept_across_runs,
    a_stale_claim_changes_nothing,
    runtime_adds_up,
    ten_thousand_steps,
    hostile_texts_come_back,
    asked_ids_come_in_order,
    nothing_is_lost_or_run_twice,
    a_cancel_may_race_the_end,
    hints_tell_what_happened,
);
