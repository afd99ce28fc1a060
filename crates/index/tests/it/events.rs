//! Events: written with what happened if somebody listens, delivered at least once, by one process at a time, in the order of each subject.

use crate::fixture::*;
use crate::for_each_index;
use crate::jobs::*;
use model::event::*;
use model::instance::InstanceIds;
use model::job::*;
use model::ports::Index;
use model::{ChangeType, Level};
use std::collections::BTreeSet;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

fn kinds(all: &[EventKind]) -> EventKinds {
    all.iter().copied().fold(EventKinds::default(), EventKinds::with)
}

fn jobs_only() -> EventKinds {
    kinds(&[EventKind::JobSubmitted, EventKind::JobSuccess, EventKind::JobFailure])
}

fn seqs(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.seq).collect()
}

/// Takes all that there is, and delivers it.
async fn take(db: &dyn Index, node: NodeId) -> Vec<(Subject, EventKind)> {
    let events = db.take_events(node, 100, LONG).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.seq));
    db.settle_events(node, &seqs(&events), &[]).await.unwrap();
    events.into_iter().map(|event| (event.subject, event.kind)).collect()
}

async fn every_way_to_begin_and_end_a_job_is_told_once(db: &mut Fresh) {
    use EventKind::{JobFailure as Failure, JobSubmitted as Submitted, JobSuccess as Success};
    let me = join(&**db).await;
    submit(&**db, job()).await;
    assert!(take(&**db, me).await.is_empty(), "nobody listens");
    let unheard = db.claim_jobs(me, 1).await.unwrap().remove(0).claim;
    db.listen(me, jobs_only()).await.unwrap();
    let job_of = |claim: Claim| Subject::Job(claim.job);
    finish(&**db, unheard, JobOutcome::Success(vec![])).await;
    assert_eq!(take(&**db, me).await, [(job_of(unheard), Success)]);
    let good = running(&**db, me).await;
    let bad = running(&**db, me).await;
    let waiting = submit(&**db, job()).await;
    let expected = [(job_of(good), Submitted), (job_of(bad), Submitted), (Subject::Job(waiting), Submitted)];
    assert_eq!(take(&**db, me).await, expected);
    finish(&**db, good, JobOutcome::Success(vec![])).await;
    finish(&**db, bad, failure()).await;
    db.act_on_job(waiting, JobAction::Cancel, KEEP).await.unwrap();
    assert_eq!(take(&**db, me).await, [(job_of(good), Success), (job_of(bad), Failure), (Subject::Job(waiting), Failure)]);
    // Not what is no beginning and no end.
    db.act_on_job(bad.job, JobAction::Resubmit, KEEP).await.unwrap();
    let again = db.claim_jobs(me, 1).await.unwrap().remove(0).claim;
    finish(&**db, again, JobOutcome::Released).await;
    db.act_on_job(bad.job, JobAction::Pause, KEEP).await.unwrap();
    assert!(!db.finish_job(again, end(failure()), KEEP).await.unwrap());
    assert!(take(&**db, me).await.is_empty());
    db.act_on_job(bad.job, JobAction::Cancel, KEEP).await.unwrap();
    assert_eq!(take(&**db, me).await, [(job_of(bad), Failure)]);
    // The history may forget the job before: the event stays.
    let nothing = JobLimits { history: 0, outputs: 0 };
    let gone = submit(&**db, job()).await;
    db.act_on_job(gone, JobAction::Cancel, nothing).await.unwrap();
    assert!(db.job_ids().await.unwrap().is_empty());
    assert_eq!(take(&**db, me).await, [(Subject::Job(gone), Submitted), (Subject::Job(gone), Failure)]);
}

async fn one_process_at_a_time_and_at_least_once(db: &mut Fresh) {
    let (me, other) = (join(&**db).await, join(&**db).await);
    db.listen(me, jobs_only()).await.unwrap();
    for _ in 0..5 {
        submit(&**db, job()).await;
    }
    let mine = db.take_events(me, 2, Duration::ZERO).await.unwrap();
    let theirs = db.take_events(other, 10, LONG).await.unwrap();
    assert_eq!((mine.len(), theirs.len()), (2, 5), "the first process took too long");
    assert_eq!(mine, theirs[..2]);
    assert!(db.take_events(me, 10, LONG).await.unwrap().is_empty());
    let all = seqs(&theirs);
    db.settle_events(me, &all, &[]).await.unwrap();
    db.settle_events(other, &all[2..], &all[1..2]).await.unwrap();
    let late = submit(&**db, job()).await;
    let left = db.take_events(me, 10, LONG).await.unwrap();
    assert_eq!(
        left.iter().map(|event| event.subject).collect::<Vec<_>>(),
        [theirs[1].subject, Subject::Job(late)],
        "given back, and new"
    );
    assert_eq!(db.take_events(me, 10, LONG).await.unwrap(), left, "again, should the answer have been lost");
    db.settle_events(me, &seqs(&left), &[]).await.unwrap();
    // A process that dies holds nothing.
    db.leave(other).await.unwrap();
    assert_eq!(take(&**db, me).await.len(), 1);
    // Several take at once.
    let nodes = [me, join(&**db).await, join(&**db).await, join(&**db).await];
    for _ in 0..60 {
        submit(&**db, job()).await;
    }
    let mut takers = vec![];
    for node in nodes {
        let db = db.shared();
        takers.push(tokio::spawn(async move {
            let mut taken = vec![];
            for _ in 0..200 {
                let events = db.take_events(node, 2, LONG).await.unwrap();
                db.settle_events(node, &seqs(&events), &[]).await.unwrap();
                taken.extend(events);
            }
            taken
        }));
    }
    let mut taken = vec![];
    for taker in takers {
        taken.extend(taker.await.unwrap().into_iter().map(|event| event.seq));
    }
    assert_eq!((taken.len(), taken.iter().collect::<BTreeSet<_>>().len()), (60, 60));
}

async fn resources_tell_what_happens_to_them(db: &mut Fresh) {
    let me = join(&**db).await;
    let change = EventKind::Change;
    let stored = put(&**db, ["P", "1", "1.1", "1.1.1"]).await;
    assert!(take(&**db, me).await.is_empty());
    let wanted =
        [change(ChangeType::NewInstance), change(ChangeType::NewStudy), change(ChangeType::UpdatedMetadata), EventKind::Deleted];
    db.listen(me, kinds(&wanted)).await.unwrap();
    let second = put(&**db, ["P", "2", "2.1", "2.1.1"]).await;
    let of = |level: Level, ids: &InstanceIds| Subject::Resource(level, ids.at(level));
    assert_eq!(
        take(&**db, me).await,
        [
            (of(Level::Instance, &second), change(ChangeType::NewInstance)),
            (of(Level::Study, &second), change(ChangeType::NewStudy))
        ]
    );
    db.delete(Level::Study, second.at(Level::Study)).await.unwrap();
    let gone: BTreeSet<Subject> = take(&**db, me).await.into_iter().map(|(subject, _)| subject).collect();
    let expected = [Level::Study, Level::Series, Level::Instance].map(|level| of(level, &second));
    assert_eq!(gone, BTreeSet::from(expected));
    // An earlier event of the same subject that another process holds keeps the later ones back.
    let other = join(&**db).await;
    let patient = stored.at(Level::Patient);
    for value in ["a", "b"] {
        let expect = model::ports::index::Expect::Anything;
        db.set_metadata(Level::Patient, patient, model::MetadataKind(1024), value, expect).await.unwrap();
        if value == "a" {
            assert_eq!(db.take_events(other, 1, LONG).await.unwrap().len(), 1);
        }
    }
    assert!(take(&**db, me).await.is_empty());
    db.leave(other).await.unwrap();
    assert_eq!(take(&**db, me).await.len(), 2);
    // Nobody listens any more: what waits goes. Another process that lives keeps it.
    let other = join(&**db).await;
    db.listen(me, EventKinds::default()).await.unwrap();
    put(&**db, ["P", "3", "3.1", "3.1.1"]).await;
    assert_eq!(take(&**db, me).await.len(), 2);
    db.leave(other).await.unwrap();
    db.listen(me, EventKinds::default()).await.unwrap();
    put(&**db, ["P", "4", "4.1", "4.1.1"]).await;
    assert!(take(&**db, me).await.is_empty());
    db.listen(me, kinds(&wanted)).await.unwrap();
    assert!(take(&**db, me).await.is_empty());
}

async fn hearts_beat_once_a_period(db: &mut Fresh) {
    assert!(db.heart_beat(LONG).await.unwrap());
    assert!(!db.heart_beat(LONG).await.unwrap());
    assert!(db.heart_beat(Duration::ZERO).await.unwrap());
}

for_each_index!(
    every_way_to_begin_and_end_a_job_is_told_once,
    one_process_at_a_time_and_at_least_once,
    resources_tell_what_happens_to_them,
    hearts_beat_once_a_period
);
