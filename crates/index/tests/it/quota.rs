//! The quota: who goes, who stays, and that the totals never exceed it.

use crate::fixture::*;
use crate::for_each_index;
use model::instance::Overwrite;
use model::ports::Index;
use model::ports::index::Expect;
use model::{ContentType, ErrorKind, Level, OrthancId, Quota, StorageMode, StoreStatus};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn patients_at_most(n: u64) -> Quota {
    Quota { patients: Some(n), ..Quota::NONE }
}

fn bytes_at_most(n: u64) -> Quota {
    Quota { bytes: Some(n), ..Quota::NONE }
}

async fn add(db: &dyn Index, patient: &str, sop: &str) -> OrthancId {
    // Whoever was stored into later is told by milliseconds.
    tokio::time::sleep(Duration::from_millis(2)).await;
    put(db, [patient, &format!("{patient}.1"), &format!("{patient}.2"), sop]).await.patient
}

async fn assert_patients(db: &dyn Index, expected: &[&str]) {
    let there: BTreeSet<_> = all(db, Level::Patient).await.iter().map(|r| r.id).collect();
    assert_eq!(there, expected.iter().map(|p| OrthancId::patient(p)).collect(), "{expected:?}");
}

async fn refusal(db: &dyn Index, path: Path<'_>) -> ErrorKind {
    let new = instance(db, path).await;
    let blob = new.blob.id;
    let error = db.store_instance(new).await.unwrap_err();
    db.release_blobs(&[blob]).await.unwrap();
    error.kind()
}

async fn the_patient_stored_into_the_longest_ago_goes(db: &mut Fresh) {
    db.set_quota(patients_at_most(3));
    for patient in ["A", "B", "C"] {
        add(&**db, patient, &format!("{patient}.3")).await;
    }
    add(&**db, "A", "A.4").await;
    let new = instance(&**db, ["D", "1", "2", "3"]).await;
    assert_eq!(db.store_instance(new).await.unwrap().recycled, 1);
    assert_patients(&**db, &["A", "C", "D"]).await;
    add(&**db, "E", "E.3").await;
    assert_patients(&**db, &["A", "D", "E"]).await;
    // Known patients need no room.
    add(&**db, "A", "A.5").await;
    assert_patients(&**db, &["A", "D", "E"]).await;
}

async fn protected_patients_stay(db: &mut Fresh) {
    db.set_quota(patients_at_most(2));
    let a = add(&**db, "A", "A.3").await;
    db.set_protected(a, true).await.unwrap();
    add(&**db, "B", "B.3").await;
    add(&**db, "C", "C.3").await;
    assert_patients(&**db, &["A", "C"]).await;
    // Whoever is not protected any more is the last to go.
    db.set_protected(a, false).await.unwrap();
    add(&**db, "D", "D.3").await;
    assert_patients(&**db, &["A", "D"]).await;
    for patient in ["A", "D"] {
        db.set_protected(OrthancId::patient(patient), true).await.unwrap();
    }
    let before = feed(&**db).await;
    assert_eq!(refusal(&**db, ["E", "1", "2", "3"]).await, ErrorKind::StorageFull);
    assert_eq!(before, feed(&**db).await);
    add(&**db, "A", "A.4").await;
    assert_patients(&**db, &["A", "D"]).await;
}

async fn bytes_are_counted_as_stored(db: &mut Fresh) {
    db.set_quota(bytes_at_most(3000));
    for patient in ["A", "B", "C"] {
        add(&**db, patient, &format!("{patient}.3")).await;
    }
    assert_patients(&**db, &["A", "B", "C"]).await;
    let mut large = instance(&**db, ["D", "1", "2", "3"]).await;
    (large.blob.size_bytes, large.blob.stored_size_bytes) = (9000, 1001);
    assert_eq!(db.store_instance(large).await.unwrap().recycled, 2);
    assert_patients(&**db, &["C", "D"]).await;
    // What can never fit makes nobody go, nor does a patient that only its own data could make room for.
    let mut huge = instance(&**db, ["E", "1", "2", "3"]).await;
    huge.blob.stored_size_bytes = 3001;
    let blob = huge.blob.id;
    assert_eq!(db.store_instance(huge).await.unwrap_err().kind(), ErrorKind::StorageFull);
    db.release_blobs(&[blob]).await.unwrap();
    assert_patients(&**db, &["C", "D"]).await;
    assert!(db.totals().await.unwrap().stored_size_bytes <= 3000);
}

async fn a_rejecting_quota_keeps_everybody(db: &mut Fresh) {
    db.set_quota(Quota { mode: StorageMode::Reject, ..patients_at_most(2) });
    add(&**db, "A", "A.3").await;
    add(&**db, "B", "B.3").await;
    assert_eq!(refusal(&**db, ["C", "1", "2", "3"]).await, ErrorKind::StorageFull);
    add(&**db, "B", "B.4").await;
    assert_patients(&**db, &["A", "B"]).await;
    db.set_quota(Quota { mode: StorageMode::Reject, ..bytes_at_most(3500) });
    assert_eq!(refusal(&**db, ["A", "A.1", "A.2", "A.4"]).await, ErrorKind::StorageFull);
    // What is there already needs no room, and what replaces it only the difference.
    let mut again = instance(&**db, ["A", "A.1", "A.2", "A.3"]).await;
    let blob = again.blob.id;
    again.blob.size_bytes = 1400;
    again.blob.stored_size_bytes = 1400;
    assert_eq!(db.store_instance(again.clone()).await.unwrap().status, StoreStatus::AlreadyStored);
    again.overwrite = Overwrite::Always;
    assert_eq!(db.store_instance(again).await.unwrap().status, StoreStatus::Success);
    let there = get(&**db, Level::Instance, OrthancId::instance("A", "A.1", "A.2", "A.3")).await.unwrap();
    assert_eq!((there.attachments[0].id, db.totals().await.unwrap().stored_size_bytes), (blob, 3400));
}

async fn attachments_count_too(db: &mut Fresh) {
    db.set_quota(bytes_at_most(3000));
    let patients = [add(&**db, "A", "A.3").await, add(&**db, "B", "B.3").await];
    let attach = async |db: &dyn Index, bytes| {
        let new = attachment(blob(db).await, ContentType(1024), bytes);
        db.set_attachment(Level::Patient, patients[0], new, Expect::Anything).await
    };
    attach(&**db, 1000).await.unwrap();
    assert_patients(&**db, &["A", "B"]).await;
    attach(&**db, 1001).await.unwrap();
    assert_patients(&**db, &["A"]).await;
    assert_eq!(attach(&**db, 2001).await.unwrap_err().kind(), ErrorKind::StorageFull);
    db.set_quota(Quota { mode: StorageMode::Reject, ..bytes_at_most(2100) });
    assert_eq!(attach(&**db, 1101).await.unwrap_err().kind(), ErrorKind::StorageFull);
    attach(&**db, 1100).await.unwrap();
    assert_eq!(db.totals().await.unwrap().stored_size_bytes, 2100);
}

async fn concurrent_stores_never_exceed_it(db: &mut Fresh) {
    db.set_quota(Quota { bytes: Some(12_000), ..patients_at_most(7) });
    let protected = add(&**db, "SAFE", "SAFE.3").await;
    db.set_protected(protected, true).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let watch = {
        let (db, done) = (db.shared(), done.clone());
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let totals = db.totals().await.unwrap();
                assert!(totals.patients <= 7 && totals.stored_size_bytes <= 12_000, "{totals:?}");
                assert!(db.level_of(protected).await.unwrap().is_some());
            }
        })
    };
    let stores = (0..20).map(|writer| {
        let db = db.shared();
        tokio::spawn(async move {
            for i in 0..10 {
                let path = [format!("P{}", (writer * 7 + i) % 23), format!("1.{i}"), format!("2.{i}"), format!("{writer}.{i}")];
                let new = instance(&*db, [&path[0], &path[1], &path[2], &path[3]]).await;
                let blob = new.blob.id;
                if let Err(error) = db.store_instance(new).await {
                    // One patient may be too large for the rest.
                    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                    db.release_blobs(&[blob]).await.unwrap();
                }
            }
        })
    });
    for store in stores.collect::<Vec<_>>() {
        store.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    watch.await.unwrap();
}

for_each_index!(
    the_patient_stored_into_the_longest_ago_goes,
    protected_patients_stay,
    bytes_are_counted_as_stored,
    a_rejecting_quota_keeps_everybody,
    attachments_count_too,
    concurrent_stores_never_exceed_it,
);
