//! Names of blobs across crashes, stability, closing.

use crate::fixture::*;
use crate::for_each_index;
use model::ports::index::Stability;
use model::{AttachmentId, ChangeType, ContentType, ErrorKind, Level};
use std::collections::BTreeSet;
use std::time::Duration;

async fn names_are_never_given_twice(db: &mut Fresh) {
    let mut all = BTreeSet::new();
    for n in [1, 256, 700] {
        let block = db.reserve_blobs(n).await.unwrap().0;
        assert_eq!(block.len(), n);
        let folders: BTreeSet<String> = block.iter().map(|b| b.to_string()[..4].to_owned()).collect();
        assert!(folders.len() <= n.div_ceil(256), "the blobs of a block share a folder");
        all.extend(block);
    }
    assert_eq!(all.len(), 957);
    assert!(db.reserve_blobs(0).await.unwrap().0.is_empty());
}

async fn a_crash_orphans_exactly_the_unused_names(db: &mut Fresh) {
    let names = db.reserve_blobs(600).await.unwrap().0;
    let mut used = BTreeSet::new();
    for (n, blob) in names.iter().enumerate().filter(|(n, _)| n % 3 == 0) {
        put_new(&**db, instance_with(*blob, ["P", "1", "2", &n.to_string()])).await;
        used.insert(*blob);
    }
    let attached = names[1];
    let of = ids(["P", "1", "2", "0"]);
    let anything = model::ports::index::Expect::Anything;
    db.set_attachment(Level::Study, of.study, attachment(attached, ContentType(1024), 5), anything).await.unwrap();
    db.release_blobs(&[names[2]]).await.unwrap();
    used.extend([attached, names[2]]);
    assert_eq!(db.sweep_intents().await.unwrap(), 0, "this process lives");
    db.restart();
    let orphans = db.sweep_intents().await.unwrap();
    let deleted: BTreeSet<AttachmentId> = db.deleted_blobs(1000, Duration::ZERO).await.unwrap().into_iter().collect();
    let expected: BTreeSet<AttachmentId> = names.iter().copied().filter(|n| !used.contains(n)).collect();
    assert_eq!((deleted, orphans), (expected.clone(), expected.len() as u64));
    assert_eq!(db.sweep_intents().await.unwrap(), 0);
    // A process that slept past the sweep cannot adopt what was removed.
    let late = instance_with(names[4], ["P", "1", "2", "late"]);
    assert_eq!(db.store_instance(late).await.unwrap_err().kind(), ErrorKind::Busy);
}

async fn doubtful_names_go_unless_they_are_used(db: &mut Fresh) {
    let names = db.reserve_blobs(3).await.unwrap().0;
    put_new(&**db, instance_with(names[0], ["P", "1", "2", "0"])).await;
    let late = instance_with(names[1], ["P", "1", "2", "1"]);
    for _ in 0..2 {
        db.abandon_blobs(&names[..2]).await.unwrap();
    }
    assert_eq!(db.deleted_blobs(10, Duration::ZERO).await.unwrap(), [names[1]]);
    assert_eq!(db.store_instance(late).await.unwrap_err().kind(), ErrorKind::Busy, "a row that comes late");
    put_new(&**db, instance_with(names[2], ["P", "1", "2", "2"])).await;
    db.abandon_blobs(&names).await.unwrap();
    assert_eq!(db.deleted_blobs(10, Duration::ZERO).await.unwrap(), [names[1]]);
}

async fn used_blocks_leave_nothing(db: &mut Fresh) {
    let names = db.reserve_blobs(300).await.unwrap().0;
    for (n, blob) in names[..200].iter().enumerate() {
        put_new(&**db, instance_with(*blob, ["P", "1", "2", &n.to_string()])).await;
    }
    db.release_blobs(&names[200..]).await.unwrap();
    db.release_blobs(&names[200..]).await.unwrap();
    db.release_blobs(&[AttachmentId::random()]).await.unwrap();
    db.restart();
    assert_eq!(db.sweep_intents().await.unwrap(), 0);
    assert!(db.deleted_blobs(10, Duration::ZERO).await.unwrap().is_empty());
}

async fn deleted_blobs_are_read_in_pages(db: &mut Fresh) {
    for n in 0..5 {
        let of = put(&**db, ["P", "1", "2", &n.to_string()]).await;
        db.delete(Level::Instance, of.instance).await.unwrap();
    }
    let page = db.deleted_blobs(3, Duration::ZERO).await.unwrap();
    assert_eq!(page.len(), 3);
    db.forget_deleted_blobs(&page).await.unwrap();
    let rest = db.deleted_blobs(3, Duration::ZERO).await.unwrap();
    assert_eq!(rest.len(), 2);
    assert!(rest.iter().all(|b| !page.contains(b)));
    assert!(db.deleted_blobs(3, Duration::from_secs(3600)).await.unwrap().is_empty(), "an hour has not passed");
}

async fn stable_exactly_once(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    assert_eq!(db.sweep_stability().await.unwrap(), 0, "an hour has not passed");
    db.set_stable_age(Duration::ZERO);
    put(&**db, ["P", "1", "2", "4"]).await;
    let stable = |kind| matches!(kind, ChangeType::StablePatient | ChangeType::StableStudy | ChangeType::StableSeries);
    let mut sweeps = vec![];
    for _ in 0..4 {
        let db = db.shared();
        sweeps.push(tokio::spawn(async move { db.sweep_stability().await.unwrap() }));
    }
    let mut total = 0;
    for sweep in sweeps {
        total += sweep.await.unwrap();
    }
    assert_eq!(total, 3);
    let changes: Vec<_> = feed(&**db).await.into_iter().filter(|c| stable(c.kind)).map(|c| (c.kind, c.id)).collect();
    assert_eq!(
        changes,
        [(ChangeType::StableSeries, of.series), (ChangeType::StableStudy, of.study), (ChangeType::StablePatient, of.patient)]
    );
    for level in [Level::Patient, Level::Study, Level::Series] {
        assert!(get(&**db, level, of.at(level)).await.unwrap().is_stable);
    }
    // A deletion does not disturb; a new instance does, in its own parents only.
    let other = put(&**db, ["P", "9", "8", "7"]).await;
    db.delete(Level::Instance, ids(["P", "1", "2", "4"]).instance).await.unwrap();
    assert!(get(&**db, Level::Study, of.study).await.unwrap().is_stable);
    assert!(!get(&**db, Level::Study, other.study).await.unwrap().is_stable);
    db.restart();
    assert_eq!(db.sweep_stability().await.unwrap(), 3, "deadlines survive the process");
    assert_eq!(db.sweep_stability().await.unwrap(), 0);
}

async fn clients_decide_what_is_stable(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let told = async |db: &Fresh| {
        let stable = [ChangeType::StablePatient, ChangeType::StableStudy, ChangeType::StableSeries];
        feed(&**db).await.into_iter().filter(|c| stable.contains(&c.kind)).map(|c| (c.kind, c.id)).collect::<Vec<_>>()
    };
    assert!(db.set_stability(Level::Study, of.study, Stability::Stable).await.unwrap());
    assert!(!db.set_stability(Level::Study, of.study, Stability::Stable).await.unwrap());
    assert_eq!(told(db).await, [(ChangeType::StableStudy, of.study)], "once, and of this resource alone");
    assert!(get(&**db, Level::Study, of.study).await.unwrap().is_stable);
    assert!(!get(&**db, Level::Series, of.series).await.unwrap().is_stable);
    db.set_stable_age(Duration::ZERO);
    assert!(db.set_stability(Level::Study, of.study, Stability::Unstable).await.unwrap());
    assert!(!db.set_stability(Level::Study, of.study, Stability::Unstable).await.unwrap());
    assert!(!get(&**db, Level::Study, of.study).await.unwrap().is_stable);
    assert_eq!(db.sweep_stability().await.unwrap(), 1, "the deadlines of the others are as they were");
    assert_eq!(told(db).await.len(), 2);
    for (level, id) in [(Level::Instance, of.instance), (Level::Study, of.patient)] {
        let error = db.set_stability(level, id, Stability::Stable).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownResource);
    }
}

async fn many_become_stable(db: &mut Fresh) {
    db.set_stable_age(Duration::ZERO);
    let blobs = db.reserve_blobs(1100).await.unwrap().0;
    let mut tasks = vec![];
    for (n, blob) in blobs.into_iter().enumerate() {
        let (db, n) = (db.shared(), n.to_string());
        tasks.push(tokio::spawn(async move { put_new(&*db, instance_with(blob, ["P", "1", &n, "3"])).await }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(db.sweep_stability().await.unwrap(), 1102);
    assert_eq!(db.sweep_stability().await.unwrap(), 0);
}

async fn a_closed_index_refuses(db: &mut Fresh) {
    put(&**db, ["P", "1", "2", "3"]).await;
    let new = instance(&**db, ["P", "1", "2", "4"]).await;
    db.close().await;
    db.close().await;
    assert_eq!(db.store_instance(new).await.unwrap_err().kind(), ErrorKind::DatabaseUnavailable);
    assert_eq!(db.totals().await.unwrap_err().kind(), ErrorKind::DatabaseUnavailable);
    db.restart();
    assert_eq!(db.totals().await.unwrap().instances, 1);
}

for_each_index!(
    names_are_never_given_twice,
    a_crash_orphans_exactly_the_unused_names,
    doubtful_names_go_unless_they_are_used,
    used_blocks_leave_nothing,
    deleted_blobs_are_read_in_pages,
    stable_exactly_once,
    clients_decide_what_is_stable,
    many_become_stable,
    a_closed_index_refuses,
);
