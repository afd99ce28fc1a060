//! Deletion at each level, small and large, and what comes after it.

use crate::fixture::*;
use crate::for_each_index;
use model::ports::Index;
use model::{ChangeType, ContentType, ErrorKind, FindRequest, Level, MetadataKind, OrthancId, tags};
use std::collections::BTreeSet;

/// Two patients with two studies of two series of two instances each.
async fn fill(db: &dyn Index) {
    for n in 0..16 {
        let path = [n & 1, n & 3, n & 7, n].map(|n| n.to_string());
        put(db, [&path[0], &path[1], &path[2], &path[3]]).await;
    }
}

async fn each_level_goes_with_what_is_below(db: &mut Fresh) {
    fill(&**db).await;
    let of = ids(["0", "0", "0", "0"]);
    for (level, remaining, left) in [
        (Level::Instance, Some((Level::Series, of.series)), [2, 4, 8, 15]),
        (Level::Series, Some((Level::Study, of.study)), [2, 4, 7, 14]),
        (Level::Study, Some((Level::Patient, of.patient)), [2, 3, 6, 12]),
        (Level::Patient, None, [1, 2, 4, 8]),
    ] {
        assert_eq!(db.delete(level, of.at(level)).await.unwrap().remaining, remaining);
        let totals = db.totals().await.unwrap();
        assert_eq!([totals.patients, totals.studies, totals.series, totals.instances], left);
        assert_eq!(db.delete(level, of.at(level)).await.unwrap_err().kind(), ErrorKind::UnknownResource);
        assert_eq!(db.level_of(of.at(level)).await.unwrap(), None);
        assert_consistent(&**db).await;
    }
    assert_eq!(db.deleted_blobs(100, std::time::Duration::ZERO).await.unwrap().len(), 8);
}

async fn empty_ancestors_go_too(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let other = put(&**db, ["P", "9", "8", "7"]).await;
    assert_eq!(db.delete(Level::Instance, of.instance).await.unwrap().remaining, Some((Level::Patient, of.patient)));
    assert_eq!(db.delete(Level::Instance, other.instance).await.unwrap().remaining, None);
    assert_eq!(db.totals().await.unwrap(), Default::default());
    assert!(feed(&**db).await.is_empty());
}

async fn numbers_of_changes_never_go_back(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let last = db.last_change().await.unwrap();
    assert_eq!((last.changes[0].kind, last.last_seq), (ChangeType::NewPatient, last.changes[0].seq));
    db.delete(Level::Patient, of.patient).await.unwrap();
    let page = db.last_change().await.unwrap();
    assert_eq!((page.changes.len(), page.last_seq), (0, last.last_seq));
    db.restart();
    assert_eq!(db.last_change().await.unwrap().last_seq, last.last_seq);
    put(&**db, ["P", "1", "2", "3"]).await;
    assert!(feed(&**db).await.iter().all(|c| c.seq > last.last_seq));
}

async fn lists_of_the_study_shrink(db: &mut Fresh) {
    for (series, sop, modality, class) in [("2", "3", "CT", CT), ("2", "4", "CT", MR), ("5", "6", "MR", MR)] {
        let mut new = instance(&**db, ["P", "1", series, sop]).await;
        new.tags[2].put(tags::MODALITY, modality);
        new.sop_class_uid = class.into();
        new.metadata[3].insert(MetadataKind::SOP_CLASS_UID, class.into());
        put_new(&**db, new).await;
    }
    let study = ids(["P", "1", "", ""]).study;
    assert_eq!(get(&**db, Level::Study, study).await.unwrap().sop_classes, [CT, MR]);
    db.delete(Level::Instance, ids(["P", "1", "2", "3"]).instance).await.unwrap();
    let found = get(&**db, Level::Study, study).await.unwrap();
    assert_eq!((found.sop_classes, found.modalities), (vec![MR.to_owned()], vec!["CT".to_owned(), "MR".into()]));
    db.delete(Level::Series, ids(["P", "1", "5", ""]).series).await.unwrap();
    assert_eq!(get(&**db, Level::Study, study).await.unwrap().modalities, ["CT"]);
}

/// More than one transaction would remove.
async fn fill_large(db: &dyn Index) -> usize {
    const N: usize = 1300;
    let blobs = db.reserve_blobs(N).await.unwrap().0;
    for (n, blob) in blobs.into_iter().enumerate() {
        let (series, sop) = (format!("2.{}", n % 3), format!("3.{n}"));
        let mut new = instance_with(blob, ["P", "1", &series, &sop]);
        if n % 100 == 0 {
            new.tags[0].put(tags::PATIENT_SEX, "O");
        }
        put_new(db, new).await;
    }
    N
}

async fn a_large_resource_vanishes_at_once(db: &mut Fresh) {
    for level in [Level::Series, Level::Study, Level::Patient] {
        put(&**db, ["P", "9", "9", "9"]).await;
        let n = fill_large(&**db).await;
        let of = ids(["P", "1", "2.0", "3.0"]);
        let labels: BTreeSet<String> = ["l".to_owned()].into();
        for label in Level::ALL {
            db.change_labels(label, of.at(label), &labels, &BTreeSet::new()).await.unwrap();
        }
        if level == Level::Series {
            // Make one series large.
            for n in 0..600 {
                put(&**db, ["P", "1", "2.0", &format!("4.{n}")]).await;
            }
        }
        db.delete(level, of.at(level)).await.unwrap();
        // Nobody sees anything of it, though rows are there.
        for below in Level::ALL.into_iter().skip(level as usize) {
            assert_eq!(db.level_of(of.at(below)).await.unwrap(), None, "{below:?} after {level:?}");
            assert_eq!(get(&**db, below, of.at(below)).await.map(|r| r.id), None);
            assert!(db.lookup_identifier(["P", "1", "2.0", "3.0"][below as usize]).await.unwrap().is_empty());
            let labelled = FindRequest { labels: vec!["l".into()], ..FindRequest::all(below) };
            assert_eq!((db.find(&labelled).await.unwrap().len(), db.count(&labelled).await.unwrap()), (0, 0));
        }
        assert!(!feed(&**db).await.iter().any(|c| c.id == of.instance || c.id == of.at(level)));
        assert_eq!(db.labels().await.unwrap().is_empty(), level == Level::Patient);
        assert_consistent(&**db).await;
        // The same objects can come back before the sweep, and the sweep does not touch them.
        let back = put(&**db, ["P", "1", "2.0", "3.0"]).await;
        assert_consistent(&**db).await;
        db.restart();
        let mut rounds = 0;
        while db.sweep_tombstones().await.unwrap() {
            rounds += 1;
        }
        assert!(rounds >= 1, "the work is done in pieces");
        assert!(get(&**db, Level::Instance, back.instance).await.is_some());
        assert_consistent(&**db).await;
        db.delete(Level::Patient, of.patient).await.unwrap();
        while db.sweep_tombstones().await.unwrap() {}
        assert_eq!(db.totals().await.unwrap(), Default::default());
        // Every blob of every round is on the deletion list exactly once.
        let deleted = db.deleted_blobs(10_000, std::time::Duration::ZERO).await.unwrap();
        let expected = n + 2 + if level == Level::Series { 600 } else { 0 };
        assert_eq!(deleted.len(), expected);
        db.forget_deleted_blobs(&deleted).await.unwrap();
        assert!(db.deleted_blobs(10, std::time::Duration::ZERO).await.unwrap().is_empty());
    }
}

async fn attachments_go_with_their_resource(db: &mut Fresh) {
    let of = put(&**db, ["P", "1", "2", "3"]).await;
    let mut blobs = vec![get(&**db, Level::Instance, of.instance).await.unwrap().attachments[0].id];
    for level in Level::ALL {
        let id = blob(&**db).await;
        let new = attachment(id, ContentType(1024), 7);
        db.set_attachment(level, of.at(level), new, model::ports::index::Expect::Anything).await.unwrap();
        blobs.push(id);
    }
    db.delete(Level::Instance, of.instance).await.unwrap();
    let mut deleted = db.deleted_blobs(10, std::time::Duration::ZERO).await.unwrap();
    deleted.sort_unstable();
    blobs.sort_unstable();
    assert_eq!(deleted, blobs);
    assert_eq!(db.totals().await.unwrap(), Default::default());
}

async fn deleting_and_storing_at_once(db: &mut Fresh) {
    let mut tasks = vec![];
    for task in 0..6_usize {
        let db = db.shared();
        tasks.push(tokio::spawn(async move {
            for n in 0..40_usize {
                let sop = format!("3.{}", n % 5);
                if (task + n).is_multiple_of(3) {
                    let level = Level::ALL[n % 4];
                    let outcome = db.delete(level, ids(["P", "1", "2", &sop]).at(level)).await;
                    assert!(outcome.is_ok() || outcome.is_err_and(|e| e.kind() == ErrorKind::UnknownResource));
                } else {
                    let new = instance(&*db, ["P", "1", "2", &sop]).await;
                    db.store_instance(new).await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let unknown = OrthancId::patient("nobody");
    assert_eq!(db.delete(Level::Study, unknown).await.unwrap_err().kind(), ErrorKind::UnknownResource);
    assert_eq!(db.resource_statistics(Level::Study, unknown).await.unwrap_err().kind(), ErrorKind::UnknownResource);
}

for_each_index!(
    each_level_goes_with_what_is_below,
    empty_ancestors_go_too,
    numbers_of_changes_never_go_back,
    lists_of_the_study_shrink,
    a_large_resource_vanishes_at_once,
    attachments_go_with_their_resource,
    deleting_and_storing_at_once,
);
