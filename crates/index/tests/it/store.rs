//! Storing: parents, counters, order of changes, duplicates, overwriting, concurrency.

use crate::fixture::*;
use crate::for_each_index;
use model::instance::Overwrite;
use model::ports::index::Expect;
use model::query::{Rule, TagConstraint};
use model::{
    Attachment, AttachmentId, ChangeType, ContentType, ErrorKind, FindRequest, Level, MetadataKind, OrthancId, Reread,
    StoreStatus, tags,
};
use std::collections::BTreeMap;

async fn one_instance_makes_its_parents(db: &mut Fresh) {
    let ids = put(&**db, ["P", "1", "2", "3"]).await;
    let kinds: Vec<_> = feed(&**db).await.iter().map(|c| (c.kind, c.level, c.id)).collect();
    assert_eq!(
        kinds,
        [
            (ChangeType::NewInstance, Level::Instance, ids.instance),
            (ChangeType::NewSeries, Level::Series, ids.series),
            (ChangeType::NewStudy, Level::Study, ids.study),
            (ChangeType::NewPatient, Level::Patient, ids.patient),
        ]
    );
    let found = get(&**db, Level::Instance, ids.instance).await.unwrap();
    assert_eq!(found.lineage, [Some(ids.patient), Some(ids.study), Some(ids.series), Some(ids.instance)]);
    assert_eq!(found.tags[0].get(tags::PATIENT_NAME), Some("DOE^P"));
    assert_eq!(found.tags[3].get(tags::SOP_INSTANCE_UID), Some("3"));
    assert_eq!((found.pixel_offset, found.tail_offset, found.index_in_series), (Some(700), None, None));
    assert_eq!(
        (found.attachments.len(), found.attachments[0].content_type, found.attachments[0].revision),
        (1, ContentType::DICOM, 0)
    );
    assert_eq!(found.metadata[&MetadataKind::MAIN_DICOM_TAGS_SIGNATURE].value, "i");
    assert!(!found.metadata.contains_key(&MetadataKind::LAST_UPDATE));
    let study = get(&**db, Level::Study, ids.study).await.unwrap();
    assert_eq!((study.modalities, study.sop_classes), (vec!["CT".to_owned()], vec![CT.to_owned()]));
    assert_eq!(study.metadata[&MetadataKind::LAST_UPDATE].value.len(), 15);
    assert_eq!(study.metadata[&MetadataKind::MAIN_DICOM_TAGS_SIGNATURE].value, "st");
    assert!(!study.is_stable && found.is_stable);
}

async fn a_second_instance_touches_its_parents_only(db: &mut Fresh) {
    let first = put(&**db, ["P", "1", "2", "3"]).await;
    let mut other = instance(&**db, ["P", "1", "4", "5"]).await;
    other.tags[2].put(tags::MODALITY, "MR");
    other.sop_class_uid = MR.into();
    let second = put_new(&**db, other).await;
    assert_eq!((first.patient, first.study), (second.patient, second.study));
    let kinds: Vec<_> = feed(&**db).await.iter().skip(4).map(|c| c.kind).collect();
    assert_eq!(kinds, [ChangeType::NewInstance, ChangeType::NewSeries]);
    let study = get(&**db, Level::Study, first.study).await.unwrap();
    assert_eq!(study.modalities, ["CT", "MR"]);
    assert_eq!(study.sop_classes, [CT, MR]);
    let patient = get(&**db, Level::Patient, first.patient).await.unwrap();
    assert_eq!((patient.counts.studies, patient.counts.series, patient.counts.instances), (1, 2, 2));
}

async fn a_series_that_is_there_grows(db: &mut Fresh) {
    let first = put(&**db, ["P", "1", "2", "3"]).await;
    let mut other = instance(&**db, ["P", "1", "2", "4"]).await;
    other.sop_class_uid = MR.into();
    put_new(&**db, other).await;
    let kinds: Vec<_> = feed(&**db).await.iter().skip(4).map(|c| c.kind).collect();
    assert_eq!(kinds, [ChangeType::NewInstance]);
    for (level, id) in [(Level::Study, first.study), (Level::Series, first.series)] {
        let found = get(&**db, level, id).await.unwrap();
        assert_eq!((found.counts.instances, found.sop_classes), (2, vec![CT.to_owned(), MR.to_owned()]));
    }
    // It is new after it was deleted, also for who stored into it before.
    db.delete(Level::Series, first.series).await.unwrap();
    put(&**db, ["P", "1", "2", "5"]).await;
    let series = get(&**db, Level::Series, first.series).await.unwrap();
    assert_eq!((series.counts.instances, series.sop_classes), (1, vec![CT.to_owned()]));
    let totals = db.totals().await.unwrap();
    assert_eq!((totals.patients, totals.studies, totals.series, totals.instances), (1, 1, 1, 1));
}

async fn the_first_patient_wins(db: &mut Fresh) {
    let ids = put(&**db, ["P", "1", "2", "3"]).await;
    let mut other = instance(&**db, ["P", "9", "8", "7"]).await;
    other.tags[0].put(tags::PATIENT_NAME, "ROE^X");
    put_new(&**db, other).await;
    let patient = get(&**db, Level::Patient, ids.patient).await.unwrap();
    assert_eq!(patient.tags[0].get(tags::PATIENT_NAME), Some("DOE^P"));
}

async fn an_instance_is_kept_unless_told_otherwise(db: &mut Fresh) {
    let ids = put(&**db, ["P", "1", "2", "3"]).await;
    let before = (feed(&**db).await, get(&**db, Level::Instance, ids.instance).await.unwrap().attachments);
    for overwrite in [Overwrite::Never, Overwrite::IfChanged] {
        let mut again = instance(&**db, ["P", "1", "2", "3"]).await;
        again.overwrite = overwrite;
        let blob = again.blob.id;
        let stored = db.store_instance(again).await.unwrap();
        assert_eq!((stored.status, stored.keeps_blob), (StoreStatus::AlreadyStored, false));
        assert_eq!(before, (feed(&**db).await, get(&**db, Level::Instance, ids.instance).await.unwrap().attachments));
        // The refused blob still has its intent: the caller removes it and gives the name back.
        db.release_blobs(&[blob]).await.unwrap();
    }
    assert!(db.deleted_blobs(10, std::time::Duration::ZERO).await.unwrap().is_empty());
}

async fn an_overwritten_instance_is_a_new_one(db: &mut Fresh) {
    let ids = put(&**db, ["P", "1", "2", "3"]).await;
    put(&**db, ["P", "1", "2", "4"]).await;
    let old = get(&**db, Level::Instance, ids.instance).await.unwrap().attachments[0].id;
    for (overwrite, bytes, checksum) in
        [(Overwrite::IfChanged, 2000, 1), (Overwrite::IfChanged, 2000, 2), (Overwrite::Always, 2000, 2)]
    {
        let mut new = instance(&**db, ["P", "1", "2", "3"]).await;
        new.overwrite = overwrite;
        new.blob = Attachment { checksum, ..attachment(new.blob.id, ContentType::DICOM, bytes) };
        let blob = new.blob.id;
        put_new(&**db, new).await;
        let found = get(&**db, Level::Instance, ids.instance).await.unwrap();
        assert_eq!((found.attachments[0].id, found.size_bytes), (blob, bytes));
        assert_eq!(feed(&**db).await.last().unwrap().kind, ChangeType::NewInstance);
        assert_consistent(&**db).await;
    }
    let series = get(&**db, Level::Series, ids.series).await.unwrap();
    assert_eq!((series.counts.instances, series.size_bytes), (2, 3000));
    assert_eq!(series.children.last(), Some(&ids.instance), "the order of creation is the order of arrival");
    let deleted = db.deleted_blobs(10, std::time::Duration::ZERO).await.unwrap();
    assert_eq!((deleted.len(), deleted.contains(&old)), (3, true));
}

async fn overwriting_the_only_instance_recreates_its_parents(db: &mut Fresh) {
    let ids = put(&**db, ["P", "1", "2", "3"]).await;
    let last = feed(&**db).await.last().unwrap().seq;
    let mut new = instance(&**db, ["P", "1", "2", "3"]).await;
    new.overwrite = Overwrite::Always;
    put_new(&**db, new).await;
    let changes = feed(&**db).await;
    assert_eq!(changes.len(), 4, "the old instance's changes went with it");
    assert!(changes.iter().all(|c| c.seq > last));
    assert!(get(&**db, Level::Patient, ids.patient).await.is_some());
}

async fn blobs_must_be_reserved(db: &mut Fresh) {
    let mut new = instance(&**db, ["P", "1", "2", "3"]).await;
    let reserved = new.blob.id;
    new.blob.id = AttachmentId::random();
    assert_eq!(db.store_instance(new.clone()).await.unwrap_err().kind(), ErrorKind::Busy);
    new.blob.id = reserved;
    db.release_blobs(&[reserved]).await.unwrap();
    assert_eq!(db.store_instance(new).await.unwrap_err().kind(), ErrorKind::Busy);
    let used = instance(&**db, ["P", "1", "2", "3"]).await;
    put_new(&**db, used.clone()).await;
    let mut twice = instance(&**db, ["P", "1", "2", "4"]).await;
    twice.blob.id = used.blob.id;
    assert_eq!(db.store_instance(twice).await.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(db.totals().await.unwrap().instances, 1);
}

async fn one_study_through_eight_tasks(db: &mut Fresh) {
    let mut tasks = vec![];
    for task in 0..8 {
        let db = db.shared();
        tasks.push(tokio::spawn(async move {
            for n in 0..50 {
                let (series, sop) = (format!("2.{}", n % 4), format!("3.{task}.{n}"));
                put(&*db, ["P", "1", &series, &sop]).await;
            }
        }));
    }
    // A client that follows the feed misses nothing and never sees the last number go back.
    let (mut seen, mut last) = (vec![], 0);
    while seen.len() < 400 + 4 + 2 {
        let request = model::ChangesRequest { since: last, limit: 7, ..Default::default() };
        let page = db.changes(&request).await.unwrap();
        assert!(page.last_seq >= page.changes.last().map_or(last, |c| c.seq));
        for change in page.changes {
            assert!(change.seq > last);
            last = change.seq;
            seen.push(change);
        }
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(seen, feed(&**db).await);
    let of = |kind| seen.iter().filter(|c| c.kind == kind).count();
    let new = [ChangeType::NewInstance, ChangeType::NewSeries, ChangeType::NewStudy, ChangeType::NewPatient];
    assert_eq!(new.map(of), [400, 4, 1, 1]);
    let study = get(&**db, Level::Study, ids(["P", "1", "", ""]).study).await.unwrap();
    assert_eq!((study.counts.series, study.counts.instances), (4, 400));
}

async fn the_same_instance_at_the_same_moment(db: &mut Fresh) {
    let mut tasks = vec![];
    for n in 0..32_u64 {
        let db = db.shared();
        tasks.push(tokio::spawn(async move {
            let mut new = instance(&*db, ["P", "1", "2", "3"]).await;
            new.overwrite = if n % 2 == 0 { Overwrite::Never } else { Overwrite::Always };
            new.blob = attachment(new.blob.id, ContentType::DICOM, 1000 + n);
            let blob = new.blob.id;
            (blob, db.store_instance(new).await.unwrap())
        }));
    }
    let mut kept = vec![];
    let mut refused = vec![];
    for task in tasks {
        let (blob, stored) = task.await.unwrap();
        if stored.keeps_blob { kept.push(blob) } else { refused.push(blob) }
    }
    assert!(kept.len() >= 16);
    let current = get(&**db, Level::Instance, ids(["P", "1", "2", "3"]).instance).await.unwrap().attachments[0].id;
    let mut deleted = db.deleted_blobs(100, std::time::Duration::ZERO).await.unwrap();
    assert!(!deleted.contains(&current));
    deleted.push(current);
    deleted.sort_unstable();
    kept.sort_unstable();
    assert_eq!(deleted, kept, "every blob that was accepted is either the current one or on the deletion list");
    assert_eq!(db.totals().await.unwrap().instances, 1);
}

async fn uids_may_collide(db: &mut Fresh) {
    // The same SOPInstanceUID in two studies, the same StudyInstanceUID of two patients.
    for path in [["P", "1", "2", "3"], ["P", "9", "8", "3"], ["Q", "1", "2", "3"]] {
        put(&**db, path).await;
    }
    let found = db.lookup_identifier("3").await.unwrap();
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|(level, _)| *level == Level::Instance));
    assert_eq!(db.lookup_identifier("1").await.unwrap().len(), 2);
    assert_eq!(db.totals().await.unwrap().studies, 3);
}

async fn a_series_completes_once(db: &mut Fresh) {
    let completed = |changes: &[model::Change]| changes.iter().filter(|c| c.kind == ChangeType::CompletedSeries).count();
    for (sop, index, expected_events) in [
        ("a", Some(1), 0),
        ("b", Some(1), 0),
        ("c", Some(9), 0),
        ("d", None, 0),
        ("e", Some(2), 0),
        ("f", Some(3), 1),
        ("g", Some(4), 1),
    ] {
        let mut new = instance(&**db, ["P", "1", "2", sop]).await;
        new.expected_instances = Some(3);
        new.index_in_series = index;
        put_new(&**db, new).await;
        assert_eq!(completed(&feed(&**db).await), expected_events, "after {sop}");
    }
    let series = get(&**db, Level::Series, ids(["P", "1", "2", ""]).series).await.unwrap();
    assert_eq!(series.expected_instances, Some(3));
    // Complete again after one was lost and came back.
    db.delete(Level::Instance, ids(["P", "1", "2", "f"]).instance).await.unwrap();
    let mut again = instance(&**db, ["P", "1", "2", "f"]).await;
    again.index_in_series = Some(3);
    put_new(&**db, again).await;
    assert_eq!(completed(&feed(&**db).await), 2);
}

async fn a_failing_neighbour_harms_nobody(db: &mut Fresh) {
    let mut tasks = vec![];
    for n in 0..64_u32 {
        let db = db.shared();
        tasks.push(tokio::spawn(async move {
            let sop = format!("3.{n}");
            let mut new = instance(&*db, ["P", "1", "2", &sop]).await;
            match n % 4 {
                1 => new.blob.id = AttachmentId::random(),
                // More bytes than a database can count.
                2 => new.blob.size_bytes = u64::MAX,
                _ => {}
            }
            (n, db.store_instance(new).await)
        }));
    }
    for task in tasks {
        let (n, stored) = task.await.unwrap();
        match n % 4 {
            1 => assert_eq!(stored.unwrap_err().kind(), ErrorKind::Busy),
            2 => assert_eq!(stored.unwrap_err().kind(), ErrorKind::OutOfRange),
            _ => assert_eq!(stored.unwrap().status, StoreStatus::Success),
        }
    }
    assert_eq!(db.totals().await.unwrap().instances, 32);
}

async fn metadata_come_with_the_row(db: &mut Fresh) {
    let mut first = instance(&**db, ["P", "1", "2", "3"]).await;
    first.metadata[2] = BTreeMap::from([(MetadataKind::REMOTE_AET, "A".to_owned())]);
    let ids = put_new(&**db, first).await;
    let mut second = instance(&**db, ["P", "1", "2", "4"]).await;
    second.metadata[2] = BTreeMap::from([(MetadataKind::REMOTE_AET, "B".to_owned())]);
    put_new(&**db, second).await;
    let series = get(&**db, Level::Series, ids.series).await.unwrap();
    assert_eq!(series.metadata[&MetadataKind::REMOTE_AET].value, "A");
    assert_eq!(series.metadata[&MetadataKind::REMOTE_AET].revision, 0);
}

/// A file that is read again makes the rows of the levels that are named true again, and nothing else.
async fn rows_are_made_true_again(db: &mut Fresh) {
    let ids = put(&**db, ["P", "1", "2", "3"]).await;
    put(&**db, ["P", "1", "2", "4"]).await;
    put(&**db, ["P", "5", "6", "7"]).await;
    db.set_metadata(Level::Instance, ids.instance, MetadataKind(1024), "mine", Expect::Anything).await.unwrap();
    let (before, changes) = (get(&**db, Level::Study, ids.study).await.unwrap(), feed(&**db).await);
    let like = instance(&**db, ["P", "1", "2", "3"]).await;
    let blob = get(&**db, Level::Instance, ids.instance).await.unwrap().attachments[0].id;
    let mut new = Reread {
        ids,
        blob,
        levels: vec![Level::Instance],
        tags: like.tags,
        sop_class_uid: MR.into(),
        expected_instances: Some(9),
        index_in_series: Some(4),
        metadata: Default::default(),
    };
    new.tags[0].put(tags::PATIENT_NAME, "New^Name");
    new.tags[1].put(tags::STUDY_DESCRIPTION, "Again");
    new.tags[2].put(tags::MODALITY, "MR");
    new.tags[3].put(tags::INSTANCE_NUMBER, "4");
    new.metadata[3] = BTreeMap::from([
        (MetadataKind::TRANSFER_SYNTAX, Some("1.2.840.10008.1.2".to_owned())),
        (MetadataKind::MAIN_DICOM_TAGS_SIGNATURE, None),
    ]);
    db.reread_instance(new.clone()).await.unwrap();
    let one = get(&**db, Level::Instance, ids.instance).await.unwrap();
    assert_eq!((one.tags[3].get(tags::INSTANCE_NUMBER), one.index_in_series), (Some("4"), Some(4)));
    let values: Vec<_> = one.metadata.iter().map(|(k, v)| (k.0, v.value.as_str(), v.revision)).collect();
    assert_eq!(values, [(9, "1.2.840.10008.1.2", 0), (1024, "mine", 0)]);
    let study = get(&**db, Level::Study, ids.study).await.unwrap();
    assert_eq!((study.tags, study.modalities), (before.tags.clone(), before.modalities.clone()), "only the instance was named");
    assert_eq!(study.sop_classes, [CT, MR]);

    new.levels = Level::ALL.to_vec();
    db.reread_instance(new.clone()).await.unwrap();
    let study = get(&**db, Level::Study, ids.study).await.unwrap();
    assert_eq!(study.tags[1].get(tags::STUDY_DESCRIPTION), Some("Again"));
    assert_eq!(study.tags[0].get(tags::PATIENT_NAME), Some("New^Name"));
    assert_eq!(study.modalities, ["MR"]);
    assert_eq!(study.metadata[&MetadataKind::LAST_UPDATE], before.metadata[&MetadataKind::LAST_UPDATE]);
    assert_eq!(get(&**db, Level::Series, ids.series).await.unwrap().expected_instances, Some(9));
    let other = get(&**db, Level::Study, OrthancId::study("P", "5")).await.unwrap();
    assert_eq!(other.tags[0].get(tags::PATIENT_NAME), Some("DOE^P"), "the other study keeps its copy");
    for (level, tag, text) in [
        (Level::Patient, tags::PATIENT_NAME, "new^name"),
        (Level::Study, tags::STUDY_DESCRIPTION, "AGAIN"),
        (Level::Series, tags::MODALITY, "mr"),
    ] {
        let rule = TagConstraint { tag, rule: Rule::Single(text.into()), case_sensitive: false, or_unkept: None };
        assert_eq!(db.count(&FindRequest { tags: vec![rule], ..FindRequest::all(level) }).await.unwrap(), 1, "{text}");
    }
    assert_eq!(feed(&**db).await, changes);

    new.blob = like.blob.id;
    assert_eq!(db.reread_instance(new.clone()).await.unwrap_err().kind(), ErrorKind::UnknownResource, "of another file");
    new.blob = blob;
    new.ids.study = OrthancId::study("P", "5");
    assert_eq!(db.reread_instance(new.clone()).await.unwrap_err().kind(), ErrorKind::Corrupted);
    new.ids.instance = OrthancId::study("P", "5");
    assert_eq!(db.reread_instance(new).await.unwrap_err().kind(), ErrorKind::UnknownResource);
}

for_each_index!(
    one_instance_makes_its_parents,
    a_second_instance_touches_its_parents_only,
    a_series_that_is_there_grows,
    the_first_patient_wins,
    an_instance_is_kept_unless_told_otherwise,
    an_overwritten_instance_is_a_new_one,
    overwriting_the_only_instance_recreates_its_parents,
    blobs_must_be_reserved,
    one_study_through_eight_tasks,
    the_same_instance_at_the_same_moment,
    uids_may_collide,
    a_series_completes_once,
    a_failing_neighbour_harms_nobody,
    metadata_come_with_the_row,
    rows_are_made_true_again,
);
