//! What the registry keeps of jobs that have ended: records, steps and outputs.

use crate::fixture::*;
use crate::for_each_index;
use crate::jobs::*;
use model::job::*;
use model::ports::Index;
use model::{AttachmentId, ErrorKind};
use std::collections::BTreeSet;

async fn the_history_is_exact(db: &mut Fresh) {
    let me = join(&**db).await;
    let limits = JobLimits { history: 3, outputs: 9 };
    let mut all = vec![];
    for n in 0..6 {
        let claim = running(&**db, me).await;
        let outcome = if n % 2 == 0 { failure() } else { JobOutcome::Success(vec![]) };
        assert!(db.finish_job(claim, end(outcome), limits).await.unwrap());
        all.push(claim.job);
        assert_eq!(ids_of(&**db).await, all.iter().rev().take(3).copied().collect());
    }
    // A cancel of what does not run is an end as any other. What has not ended is not counted.
    let waiting = submit(&**db, job()).await;
    let canceled = submit(&**db, job()).await;
    db.act_on_job(canceled, JobAction::Cancel, limits).await.unwrap();
    assert_eq!(ids_of(&**db).await, [all[4], all[5], canceled, waiting].into());
    // A resubmitted job ends anew.
    db.act_on_job(all[4], JobAction::Resubmit, limits).await.unwrap();
    db.act_on_job(all[4], JobAction::Cancel, limits).await.unwrap();
    db.act_on_job(waiting, JobAction::Cancel, limits).await.unwrap();
    assert_eq!(ids_of(&**db).await, [canceled, all[4], waiting].into());
    let nothing = JobLimits { history: 0, outputs: 0 };
    db.act_on_job(submit(&**db, job()).await, JobAction::Cancel, nothing).await.unwrap();
    assert!(ids_of(&**db).await.is_empty());
}

async fn ids_of(db: &dyn Index) -> BTreeSet<JobId> {
    let ids = db.job_ids().await.unwrap();
    assert!(ids.is_sorted_by_key(JobId::to_string));
    assert_eq!(db.jobs(None).await.unwrap().into_iter().map(|j| j.id).collect::<Vec<_>>(), ids);
    ids.into_iter().collect()
}

async fn waiters_keep_records_and_outputs(db: &mut Fresh) {
    let (me, other) = (join(&**db).await, join(&**db).await);
    let nothing = JobLimits { history: 0, outputs: 0 };
    let waited = NewJob { waiter: Some(other), claim: Some(me), ..job() };
    let id = waited.id;
    let claim = db.submit_job(waited).await.unwrap().unwrap().claim;
    let output = output(&**db, "archive").await;
    let blob = output.blob.id;
    assert!(db.finish_job(claim, end(JobOutcome::Success(vec![output])), nothing).await.unwrap());
    for _ in 0..2 {
        let unwaited = running(&**db, me).await;
        assert!(db.finish_job(unwaited, end(failure()), nothing).await.unwrap());
        assert_eq!(db.job_ids().await.unwrap(), [id]);
    }
    db.forget_waiters(me, &[id], nothing).await.unwrap();
    assert_eq!(db.job_output(id, "archive").await.unwrap().blob, blob, "another process waits");
    db.forget_waiters(other, &[JobId::random(), id], nothing).await.unwrap();
    assert!(db.job_ids().await.unwrap().is_empty());
    assert_eq!(deleted(&**db).await, [blob].into());
}

async fn outputs_go_least_recently_read_first(db: &mut Fresh) {
    let me = join(&**db).await;
    let limits = JobLimits { history: 100, outputs: 2 };
    let (a, blob_a) = with_output(&**db, me, limits).await;
    let (b, blob_b) = with_output(&**db, me, limits).await;
    let read = db.job_output(a, "archive").await.unwrap();
    let expected = JobOutput { blob: blob_a, size_bytes: 77, mime: "application/zip".into(), file_name: "A.zip".into() };
    assert_eq!(read, expected);
    assert!(deleted(&**db).await.is_empty());
    let (c, blob_c) = with_output(&**db, me, limits).await;
    assert_eq!(deleted(&**db).await, [blob_b].into(), "a was read after b was made");
    assert_eq!(db.job_output(b, "archive").await.unwrap_err().kind(), ErrorKind::InexistentItem);
    assert_eq!(show(&**db, b).await.state, JobState::Success, "the record survives");
    let (d, blob_d) = with_output(&**db, me, limits).await;
    assert_eq!(deleted(&**db).await, [blob_a, blob_b].into());
    // One output, or the job with all of them.
    for key in ["other", "ARCHIVE", ""] {
        assert_eq!(db.job_output(c, key).await.unwrap_err().kind(), ErrorKind::InexistentItem);
        assert_eq!(db.delete_job_output(c, key).await.unwrap_err().kind(), ErrorKind::InexistentItem);
    }
    db.delete_job_output(c, "archive").await.unwrap();
    assert_eq!(db.delete_job_output(c, "archive").await.unwrap_err().kind(), ErrorKind::InexistentItem);
    db.delete_job(d).await.unwrap();
    assert_eq!(db.delete_job(d).await.unwrap_err().kind(), ErrorKind::InexistentItem);
    assert_eq!(db.job_output(d, "archive").await.unwrap_err().kind(), ErrorKind::InexistentItem);
    assert_eq!(deleted(&**db).await, [blob_a, blob_b, blob_c, blob_d].into());
}

async fn outputs_settle_their_blobs(db: &mut Fresh) {
    let me = join(&**db).await;
    let (mut one, mut two) = (output(&**db, "one").await, output(&**db, "two").await);
    // Of a block that has more names.
    let block = db.reserve_blobs(3).await.unwrap().0;
    (one.blob.id, two.blob.id) = (block[0], block[1]);
    let claim = running(&**db, me).await;
    let mut stranger = one.clone();
    stranger.blob.id = AttachmentId::random();
    stranger.key = "three".into();
    let bad = [vec![one.clone(), stranger], vec![one.clone(), NewOutput { key: "one".into(), ..two.clone() }]];
    for (outputs, kind) in bad.into_iter().zip([ErrorKind::Busy, ErrorKind::Internal]) {
        let refused = db.finish_job(claim, end(JobOutcome::Success(outputs)), KEEP).await.unwrap_err();
        assert_eq!(refused.kind(), kind);
        assert_eq!(show(&**db, claim.job).await.state, JobState::Running);
    }
    finish(&**db, claim, JobOutcome::Success(vec![one, two.clone()])).await;
    let again = running(&**db, me).await;
    let refused = db.finish_job(again, end(JobOutcome::Success(vec![two])), KEEP).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy, "a name is used once");
    db.release_blobs(&[]).await.unwrap();
    assert!(deleted(&**db).await.is_empty());
}

async fn steps_stay_as_long_as_their_job(db: &mut Fresh) {
    let me = join(&**db).await;
    let claim = running(&**db, me).await;
    assert!(db.job_steps(claim.job, 0, 9).await.unwrap().is_empty());
    assert!(db.checkpoint_job(claim, &steps([0, 5, 2].into_iter())).await.unwrap());
    let positions = |steps: Vec<JobStep>| steps.into_iter().map(|s| s.position).collect::<Vec<_>>();
    for (from, limit, expected) in [(0, 9, vec![0, 2, 5]), (1, 1, vec![2]), (6, 9, vec![]), (u32::MAX, 9, vec![])] {
        assert_eq!(positions(db.job_steps(claim.job, from, limit).await.unwrap()), expected);
    }
    finish(&**db, claim, failure()).await;
    assert_eq!(db.job_steps(claim.job, 2, 1).await.unwrap(), [step(2)]);
    db.act_on_job(claim.job, JobAction::Resubmit, KEEP).await.unwrap();
    assert!(db.job_steps(claim.job, 0, 9).await.unwrap().is_empty(), "it starts from the beginning");
    assert_eq!(db.job_steps(JobId::random(), 0, 9).await.unwrap_err().kind(), ErrorKind::InexistentItem);
}

/// `--no-jobs`: what nobody else could ever run is forgotten; where there may be others, everything stays.
async fn a_process_that_wants_new_jobs_only_may_forget_the_others(db: &mut Fresh) {
    let me = join(&**db).await;
    let (ended, blob) = with_output(&**db, me, KEEP).await;
    let (waiting, claim) = (submit(&**db, job()).await, running(&**db, me).await);
    assert!(db.checkpoint_job(claim, &steps(0..3)).await.unwrap());
    db.restart();
    let picky = NewNode { new_jobs_only: true, ..node("a") };
    db.join(&picky, std::time::Duration::from_secs(60)).await.unwrap();
    if db.is_alone() {
        assert!(ids_of(&**db).await.is_empty());
        assert!(deleted(&**db).await.contains(&blob), "the file goes with its job");
    } else {
        assert_eq!(ids_of(&**db).await, [ended, waiting, claim.job].into());
        assert_eq!(db.job_output(ended, "archive").await.unwrap().blob, blob);
    }
    let new = submit(&**db, job()).await;
    assert_eq!(db.claim_jobs(picky.id, 9).await.unwrap().iter().map(|j| j.claim.job).collect::<Vec<_>>(), [new]);
}

for_each_index!(
    the_history_is_exact,
    waiters_keep_records_and_outputs,
    outputs_go_least_recently_read_first,
    outputs_settle_their_blobs,
    steps_stay_as_long_as_their_job,
    a_process_that_wants_new_jobs_only_may_forget_the_others,
);
