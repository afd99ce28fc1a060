//! Events of jobs: written with what happened, delivered at least once, by one process at a time.

use crate::fixture::*;
use crate::for_each_index;
use crate::jobs::*;
use model::job::*;
use model::ports::Index;
use std::collections::BTreeSet;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

async fn take(db: &dyn Index, node: NodeId) -> Vec<(JobId, JobEventKind)> {
    let events = db.take_job_events(node, 100, LONG).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.seq));
    events.into_iter().map(|event| (event.job, event.kind)).collect()
}

async fn every_way_to_begin_and_end_is_told_once(db: &mut Fresh) {
    use JobEventKind::{Failure, Submitted, Success};
    let me = join(&**db).await;
    let good = running(&**db, me).await;
    let bad = running(&**db, me).await;
    let waiting = submit(&**db, job()).await;
    let expected = [(good.job, Submitted), (bad.job, Submitted), (waiting, Submitted)];
    assert_eq!(take(&**db, me).await, expected);
    finish(&**db, good, JobOutcome::Success(vec![])).await;
    finish(&**db, bad, failure()).await;
    db.act_on_job(waiting, JobAction::Cancel, KEEP).await.unwrap();
    let shown = show(&**db, good.job).await;
    let events = db.take_job_events(me, 1, LONG).await.unwrap();
    assert_eq!((events[0].job, events[0].kind), (good.job, Success));
    assert_eq!(Some(events[0].at), shown.completed_at);
    assert_eq!(take(&**db, me).await, [(bad.job, Failure), (waiting, Failure)], "also what did not run");
    // Not what is no beginning and no end.
    db.act_on_job(bad.job, JobAction::Resubmit, KEEP).await.unwrap();
    let again = db.claim_jobs(me, 1).await.unwrap().remove(0).claim;
    finish(&**db, again, JobOutcome::Released).await;
    db.act_on_job(bad.job, JobAction::Pause, KEEP).await.unwrap();
    assert!(!db.finish_job(again, end(failure()), KEEP).await.unwrap());
    assert!(take(&**db, me).await.is_empty());
    db.act_on_job(bad.job, JobAction::Cancel, KEEP).await.unwrap();
    assert_eq!(take(&**db, me).await, [(bad.job, Failure)]);
    // The history may forget the job before: the event stays.
    let nothing = JobLimits { history: 0, outputs: 0 };
    let gone = submit(&**db, job()).await;
    db.act_on_job(gone, JobAction::Cancel, nothing).await.unwrap();
    assert!(db.job_ids().await.unwrap().is_empty());
    assert_eq!(take(&**db, me).await, [(gone, Submitted), (gone, Failure)]);
}

async fn one_process_at_a_time_and_at_least_once(db: &mut Fresh) {
    let (me, other) = (join(&**db).await, join(&**db).await);
    for _ in 0..5 {
        submit(&**db, job()).await;
    }
    let mine = db.take_job_events(me, 2, Duration::ZERO).await.unwrap();
    let theirs = db.take_job_events(other, 10, LONG).await.unwrap();
    assert_eq!((mine.len(), theirs.len()), (2, 5), "the first process took too long");
    assert_eq!(mine, theirs[..2]);
    assert!(db.take_job_events(me, 10, LONG).await.unwrap().is_empty());
    let seqs: Vec<i64> = theirs.iter().map(|event| event.seq).collect();
    db.forget_job_events(me, &seqs).await.unwrap();
    db.forget_job_events(other, &seqs[1..]).await.unwrap();
    db.forget_job_events(other, &seqs[1..]).await.unwrap();
    let late = submit(&**db, job()).await;
    let left = db.take_job_events(me, 10, LONG).await.unwrap();
    assert_eq!(left.iter().map(|event| event.job).collect::<Vec<_>>(), [late], "one is still held by the other");
    // Several take at once.
    for _ in 0..60 {
        submit(&**db, job()).await;
    }
    let mut takers = vec![];
    for node in [me, other, me, other] {
        let db = db.shared();
        takers.push(tokio::spawn(async move {
            let mut taken = vec![];
            for _ in 0..40 {
                taken.extend(db.take_job_events(node, 2, LONG).await.unwrap());
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

for_each_index!(every_way_to_begin_and_end_is_told_once, one_process_at_a_time_and_at_least_once);
