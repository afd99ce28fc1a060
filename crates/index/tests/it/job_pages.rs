//! What only Pleiad has: pages of jobs, keys that make a repeated request one job, priorities that change.

use crate::fixture::*;
use crate::for_each_index;
use crate::jobs::*;
use model::ErrorKind;
use model::job::*;

async fn pages_of_jobs(db: &mut Fresh) {
    let me = join(&**db).await;
    let mut all = vec![];
    for n in 0..12 {
        let kind = if n % 3 == 0 { "Other" } else { "Test" };
        // A later version is another thing to run, but the same type.
        let version = if n % 4 == 0 { 2 } else { 1 };
        let id = submit(&**db, NewJob { kind: kind.into(), version, priority: n % 2, ..job() }).await;
        all.push((id, kind));
    }
    // Some run, end, rest.
    let mut states = std::collections::HashMap::new();
    for claimed in db.claim_jobs(me, 3).await.unwrap() {
        states.insert(claimed.claim.job, JobState::Running);
        if states.len() == 2 {
            finish(&**db, claimed.claim, failure()).await;
            states.insert(claimed.claim.job, JobState::Failure);
        }
    }
    db.act_on_job(all[0].0, JobAction::Pause, KEEP).await.unwrap();
    states.insert(all[0].0, JobState::Paused);
    let state = |id: &JobId| states.get(id).copied().unwrap_or(JobState::Pending);

    for wanted in [vec![], vec![JobState::Pending], vec![JobState::Paused, JobState::Failure], vec![JobState::Retry]] {
        for kind in [None, Some("Test"), Some("Other"), Some("\0")] {
            for newest_first in [false, true] {
                let matches = |(id, k): &&(JobId, &str)| {
                    kind.is_none_or(|kind| *k == kind) && (wanted.is_empty() || wanted.contains(&state(id)))
                };
                let mut expected: Vec<JobId> = all.iter().filter(matches).map(|(id, _)| *id).collect();
                if newest_first {
                    expected.reverse();
                }
                let mut seen: Vec<JobId> = vec![];
                loop {
                    let kind = kind.map(str::to_owned);
                    let query = JobQuery { states: wanted.clone(), kind, since: seen.last().copied(), newest_first, limit: 5 };
                    let page = db.list_jobs(&query).await.unwrap();
                    assert!(page.len() <= 5);
                    assert!(page.iter().all(|j| j.state == state(&j.id)));
                    if page.is_empty() {
                        break;
                    }
                    seen.extend(page.iter().map(|j| j.id));
                }
                assert_eq!(seen, expected, "{wanted:?} {kind:?} {newest_first}");
            }
        }
    }
    let lost = JobQuery { states: vec![], kind: None, since: Some(JobId::random()), newest_first: false, limit: 5 };
    assert_eq!(db.list_jobs(&lost).await.unwrap_err().kind(), ErrorKind::InexistentItem);
}

async fn a_key_creates_one_job(db: &mut Fresh) {
    let key = JobKey::of("alice", "k");
    assert!([JobKey::of("bob", "k"), JobKey::of("alice", "l"), JobKey::of("alicek", "")].iter().all(|other| *other != key));
    assert_eq!(db.job_of_key(key).await.unwrap(), None);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (db, new) = (db.shared(), NewJob { key: Some(key), ..job() });
            tokio::spawn(async move { db.submit_job(new.clone()).await.map(|_| new.id) })
        })
        .collect();
    let mut made = vec![];
    for task in tasks {
        match task.await.unwrap() {
            Ok(id) => made.push(id),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Duplicate),
        }
    }
    assert_eq!((made.len(), db.job_ids().await.unwrap()), (1, made.clone()));
    let found = db.job_of_key(key).await.unwrap().unwrap();
    let expected = KeyedJob { id: made[0], kind: "Test".into(), arguments: job().arguments, user_data: None };
    assert_eq!(found, expected);
    submit(&**db, NewJob { key: Some(JobKey::of("bob", "k")), ..job() }).await;
    submit(&**db, job()).await;
    submit(&**db, job()).await;
    // The key goes with its job.
    db.act_on_job(made[0], JobAction::Cancel, KEEP).await.unwrap();
    assert_eq!(db.job_of_key(key).await.unwrap(), Some(expected));
    db.delete_job(made[0]).await.unwrap();
    assert_eq!(db.job_of_key(key).await.unwrap(), None);
    let other = NewJob { key: Some(key), kind: "Other".into(), version: 2, user_data: Some("u".into()), ..job() };
    let id = submit(&**db, other.clone()).await;
    let NewJob { kind, arguments, user_data, .. } = other;
    assert_eq!(db.job_of_key(key).await.unwrap(), Some(KeyedJob { id, kind, arguments, user_data }));
}

async fn priorities_change_while_jobs_wait(db: &mut Fresh) {
    let me = join(&**db).await;
    let (a, b, c) = (submit(&**db, job()).await, submit(&**db, job()).await, submit(&**db, job()).await);
    assert_eq!(db.set_job_priority(b, i32::MAX).await.unwrap(), Acted::Accepted);
    assert_eq!(db.set_job_priority(a, i32::MIN).await.unwrap(), Acted::Accepted);
    let claimed = db.claim_jobs(me, 3).await.unwrap();
    assert_eq!(claimed.iter().map(|j| j.claim.job).collect::<Vec<_>>(), [b, c, a]);
    assert_eq!(db.set_job_priority(a, 7).await.unwrap(), Acted::Accepted, "it may have to wait again");
    assert_eq!((show(&**db, a).await.priority, show(&**db, b).await.priority), (7, i32::MAX));
    finish(&**db, claimed[0].claim, JobOutcome::Success(vec![])).await;
    assert_eq!(db.set_job_priority(b, 1).await.unwrap(), Acted::Refused);
    assert_eq!(db.set_job_priority(JobId::random(), 1).await.unwrap(), Acted::Unknown);
}

for_each_index!(pages_of_jobs, a_key_creates_one_job, priorities_change_while_jobs_wait);
