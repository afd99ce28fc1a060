//! Ends that are told together, and claims in their place.

use crate::fixture::*;
use crate::for_each_index;
use crate::jobs::*;
use model::job::*;
use model::ports::Index;
use model::{AttachmentId, ErrorKind};
use serde_json::json;

async fn states(db: &dyn Index, claims: &[Claim]) -> Vec<(JobState, i32)> {
    let ids: Vec<JobId> = claims.iter().map(|claim| claim.job).collect();
    db.jobs(Some(&ids)).await.unwrap().iter().map(|job| (job.state, job.error.code)).collect()
}

async fn several(db: &dyn Index, node: NodeId, n: usize) -> Vec<Claim> {
    let mut claims = vec![];
    for _ in 0..n {
        claims.push(running(db, node).await);
    }
    claims
}

async fn ends_that_are_told_together_end_as_each_alone(db: &mut Fresh) {
    let (me, other) = (join(&**db).await, join(&**db).await);
    let mut claims = several(&**db, me, 7).await;
    claims.push(running(&**db, other).await);
    for (at, action) in [(4, JobAction::Cancel), (5, JobAction::Pause), (6, JobAction::Cancel)] {
        db.act_on_job(claims[at].job, action, KEEP).await.unwrap();
    }
    let outputs = [output(&**db, "one").await, output(&**db, "two").await, output(&**db, "one").await];
    let blobs: Vec<AttachmentId> = outputs.iter().map(|o| o.blob.id).collect();
    let [one, two, three] = outputs;
    let outcomes = [
        JobOutcome::Success(vec![one, two]),
        failure(),
        JobOutcome::Paused,
        JobOutcome::Released,
        JobOutcome::Released,
        JobOutcome::Released,
        JobOutcome::Success(vec![]),
        JobOutcome::Success(vec![three]),
    ];
    let mut ends: Vec<_> = claims.iter().copied().zip(outcomes.map(end)).collect();
    ends[3].1.checkpoint.steps = vec![step(1), step(2)];
    ends[7].1.checkpoint.steps = vec![step(0)];
    let turn = db.finish_jobs(&ends, KEEP, None).await.unwrap();
    assert_eq!((turn.ended, turn.claimed.len()), (vec![true; 8], 0));
    use JobState::{Failure, Paused, Pending, Success};
    let expected =
        [(Success, 0), (Failure, 9), (Paused, 0), (Pending, 0), (Failure, 37), (Paused, 0), (Success, 0), (Success, 0)];
    assert_eq!(states(&**db, &claims).await, expected);
    for (claim, key, blob) in [(claims[0], "one", blobs[0]), (claims[0], "two", blobs[1]), (claims[7], "one", blobs[2])] {
        assert_eq!(db.job_output(claim.job, key).await.unwrap().blob, blob);
    }
    assert_eq!(db.job_steps(claims[3].job, 0, 9).await.unwrap(), [step(1), step(2)]);
    assert_eq!(db.job_steps(claims[7].job, 0, 9).await.unwrap(), [step(0)]);
    for claim in &claims {
        let job = show(&**db, claim.job).await;
        assert_eq!((job.owner, job.content, job.progress), (None, json!({"Description": "ended"}), 0.5));
        assert_eq!(job.completed_at.is_some(), job.state.is_final());
    }
}

async fn the_workers_that_ends_leave_get_what_waits(db: &mut Fresh) {
    let me = join(&**db).await;
    let claims = several(&**db, me, 2).await;
    let low = submit(&**db, NewJob { priority: -1, ..job() }).await;
    let high = submit(&**db, NewJob { priority: 1, ..job() }).await;
    // What is released waits again, and may be claimed at once.
    let ends = [(claims[0], end(failure())), (claims[1], end(JobOutcome::Released))];
    let turn = db.finish_jobs(&ends, KEEP, Some((me, 2))).await.unwrap();
    let claimed: Vec<_> = turn.claimed.iter().map(|job| (job.claim.job, job.claim.epoch)).collect();
    assert_eq!((turn.ended, claimed), (vec![true, true], vec![(high, 1), (claims[1].job, 2)]));
    // Without an end it is a claim; a process that may claim nothing still ends its runs.
    let turn = db.finish_jobs(&[], KEEP, Some((me, 9))).await.unwrap();
    assert_eq!(turn.claimed.iter().map(|job| job.claim.job).collect::<Vec<_>>(), [low]);
    submit(&**db, job()).await;
    let stopped = Some((NodeId::random(), 1));
    let turn = db.finish_jobs(&[(turn.claimed[0].claim, end(failure()))], KEEP, stopped).await.unwrap();
    assert_eq!((turn.ended, turn.claimed.len()), (vec![true], 0));
    let turn = db.finish_jobs(&[], KEEP, None).await.unwrap();
    assert_eq!((turn.ended.len(), turn.claimed.len()), (0, 0));
}

async fn one_bad_end_of_several_leaves_all_as_they_were(db: &mut Fresh) {
    let me = join(&**db).await;
    let claims = several(&**db, me, 3).await;
    submit(&**db, job()).await;
    let mut unreserved = output(&**db, "archive").await;
    unreserved.blob.id = AttachmentId::random();
    let good = output(&**db, "archive").await;
    let ends = |bad: JobOutcome| {
        let good = JobOutcome::Success(vec![good.clone()]);
        [(claims[0], end(good)), (claims[1], end(bad)), (claims[2], end(failure()))]
    };
    let refused = db.finish_jobs(&ends(JobOutcome::Success(vec![unreserved])), KEEP, Some((me, 1))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert_eq!(states(&**db, &claims).await, [(JobState::Running, 0); 3]);
    assert_eq!(db.job_counts().await.unwrap()[JobState::Pending as usize], 1, "nothing was claimed");
    // Nothing of it was settled.
    let turn = db.finish_jobs(&ends(JobOutcome::Paused), KEEP, Some((me, 1))).await.unwrap();
    assert_eq!((turn.ended, turn.claimed.len()), (vec![true; 3], 1));
}

async fn a_stale_claim_among_others_changes_nothing(db: &mut Fresh) {
    let me = join(&**db).await;
    let claims = several(&**db, me, 3).await;
    let stale = Claim { epoch: claims[1].epoch - 1, ..claims[1] };
    let outputs = [output(&**db, "archive").await, output(&**db, "archive").await];
    let [good, lost] = outputs.map(|output| end(JobOutcome::Success(vec![output])));
    let ends = [(claims[0], good), (stale, lost), (claims[2], end(failure()))];
    // One database says which, the other that each must be told alone.
    let told = match db.finish_jobs(&ends, KEEP, None).await {
        Ok(turn) => turn.ended,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Busy);
            assert_eq!(states(&**db, &claims).await, [(JobState::Running, 0); 3]);
            let mut told = vec![];
            for (claim, end) in ends {
                told.push(db.finish_job(claim, end, KEEP).await.unwrap());
            }
            told
        }
    };
    assert_eq!(told, [true, false, true]);
    assert_eq!(states(&**db, &claims).await, [(JobState::Success, 0), (JobState::Running, 0), (JobState::Failure, 9)]);
    assert!(db.job_output(claims[1].job, "archive").await.is_err());
}

async fn many_ends_at_once_leave_an_exact_history(db: &mut Fresh) {
    let me = join(&**db).await;
    let limits = JobLimits { history: 3, outputs: 2 };
    for n in [1, 2, 60] {
        let claims = several(&**db, me, n).await;
        let mut ends = vec![];
        for claim in &claims {
            ends.push((*claim, end(JobOutcome::Success(vec![output(&**db, "archive").await]))));
        }
        assert_eq!(db.finish_jobs(&ends, limits, None).await.unwrap().ended, vec![true; n]);
        let kept = db.job_ids().await.unwrap();
        let newest: Vec<JobId> = claims.iter().rev().take(3).map(|claim| claim.job).collect();
        assert!(newest.iter().all(|id| kept.contains(id)), "the order of ends is that in which they were told");
    }
    assert_eq!(db.job_ids().await.unwrap().len(), 3);
    assert_eq!(deleted(&**db).await.len(), 61);
}

for_each_index!(
    ends_that_are_told_together_end_as_each_alone,
    the_workers_that_ends_leave_get_what_waits,
    one_bad_end_of_several_leaves_all_as_they_were,
    a_stale_claim_among_others_changes_nothing,
    many_ends_at_once_leave_an_exact_history,
);
